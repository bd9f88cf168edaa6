"""How the GPU kernels store numbers and multiply them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from spconv.ops.settings import get_cuda_precision

NO_FMA = "--fmad=false"
"""Option of kernels whose sums and products are NumPy's to the bit."""


class Arithmetic(NamedTuple):
    """Arithmetic of products.

    Parameters
    ----------
    storage : str
        What arrays are called in the sources.
    size : int
        Bytes of a number.
    multiply : str or None
        Product of fragments; None where tensor cores have none.
    multiply_packed : str or None
        The same of packed weights, which may have been rounded before.
    """

    storage: str
    size: int
    multiply: str | None
    multiply_packed: str | None


ARITHMETIC = {
    "float16": Arithmetic("float16", 2, "multiply_float16", "multiply_float16"),
    "bfloat16": Arithmetic("bfloat16", 2, "multiply_bfloat16", "multiply_bfloat16"),
    "tf32": Arithmetic("float", 4, "multiply_tf32", "multiply_tf32_packed"),
    "float32": Arithmetic("float", 4, "multiply_tf32x3", "multiply_tf32x3"),
    "float64": Arithmetic("double", 8, None, None),
}
"""By kind: dtypes, and "tf32", which is a way to multiply float32."""


def kind_of(dtype: np.dtype) -> str:
    """Kind of arithmetic for products of arrays of a dtype: for float32, the precision is one."""
    name = _name_of(dtype)
    return get_cuda_precision() if name == "float32" else name


@cache
def storage_of(dtype: np.dtype) -> str:
    """Name in the sources of a floating point dtype.

    Raises
    ------
    TypeError
        For other dtypes.
    """
    return ARITHMETIC[_name_of(dtype)].storage


@cache  # the name of a dtype takes NumPy longer to make than a launch
def _name_of(dtype: np.dtype) -> str:
    name = np.dtype(dtype).name
    if name not in ARITHMETIC:
        raise TypeError(
            "CudaOps: expected arrays of float16, bfloat16, float32 or float64, got dtype "
            f"{name}; convert them first"
        )
    return name
