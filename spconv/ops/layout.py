"""How arrays lie in memory, and as the compiled kernels read them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spconv.compat import Array
from spconv.kernels import memory


def like(first: Array, *arrays: Array) -> list[Array]:
    """The arrays contiguous and in the dtype of the first."""
    return [np.ascontiguousarray(array, first.dtype) for array in arrays]


def memory_order(array: Array) -> list[int]:
    """Axes from the slowest to the fastest in memory: transposed so, a grid is no copy."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


def mapped(kernel: Callable[..., None], *arrays: Array) -> Array:
    """What a kernel makes of flat arrays, in the dtype and the memory order of the first."""
    axes = memory_order(arrays[0])
    sources = [np.asarray(array.transpose(axes), arrays[0].dtype, order="C") for array in arrays]
    target = memory.empty(sources[0].shape, sources[0].dtype)
    kernel(*(source.ravel() for source in sources), target.ravel())
    return target.transpose([axes.index(axis) for axis in range(target.ndim)])
