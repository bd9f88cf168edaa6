"""How arrays lie in memory, and as the compiled kernels read them."""

from __future__ import annotations

import numpy as np

from spconv.compat import Array


def like(first: Array, *arrays: Array) -> list[Array]:
    """The arrays contiguous and in the dtype of the first."""
    return [np.ascontiguousarray(array, first.dtype) for array in arrays]


def memory_order(array: Array) -> list[int]:
    """Axes from the slowest to the fastest in memory: transposed so, a grid is no copy."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
