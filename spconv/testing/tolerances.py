"""The one table of numerical tolerances. It is not loosened anywhere else."""

from __future__ import annotations

import math

import numpy as np

# kind: (rounding of operands and result, rounding of the sum)
ROUNDING = {
    "float64": (2.0**-52, 2.0**-52),
    "float32": (2.0**-23, 2.0**-23),
    "tf32": (2.0**-10, 2.0**-23),
    "bfloat16x3": (2.0**-23, 2.0**-23),
    "bfloat16x2": (2.0**-15, 2.0**-23),
    "float16": (2.0**-10, 2.0**-23),
    "bfloat16": (2.0**-7, 2.0**-23),
}


def tolerance(dtype, reduction_length: int = 1) -> float:
    """Largest error of a sum of `reduction_length` products, relative to the largest result.

    Rounding errors of a sum accumulate as a random walk, hence the square root; half and reduced
    precision products are summed in float32.

    Parameters
    ----------
    dtype : NumPy dtype, or the name of one, or a precision of the CPU or a GPU
    reduction_length : int
        Number of products in one output, K * C_in for a convolution.

    Examples
    --------
    >>> tolerance("float64", 9 * 16) < 1e-12 < tolerance("float32", 9 * 16) < 1e-4
    True
    """
    name = dtype if dtype in ROUNDING else np.dtype(dtype).name
    if name not in ROUNDING:
        raise ValueError(f"tolerance: expected one of {sorted(ROUNDING)}, got {dtype!r}")
    rounding, accumulation = ROUNDING[name]
    return 4 * rounding + 8 * accumulation * math.sqrt(max(reduction_length, 1))
