"""What arrays of a dtype are computed in."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache  # the name of a dtype takes NumPy longer to make than a launch
def math_type(dtype: np.dtype) -> type[np.floating]:
    """The type of sums, means and statistics: float32 for 16-bit types, else the type itself.

    A sum over sites leaves float16's range long before its terms or the mean do.

    >>> math_type(np.dtype("float16")).__name__, math_type(np.dtype("float64")).__name__
    ('float32', 'float64')
    """
    return np.float64 if np.dtype(dtype).name == "float64" else np.float32
