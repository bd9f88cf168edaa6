"""Which dtypes tensors have, and what they are computed in."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from spconv.checks import type_name
from spconv.compat import Array, is_cupy


def as_floating(array: Any) -> Array:
    """A floating point array as it is; numbers and lists of integers as float32.

    A copy of one that is not aligned, as of a part of a file: compiled loops may not read it.

    Raises
    ------
    TypeError
        For other dtypes.
    """
    if type(array) is np.ndarray and array.dtype.kind == "f":
        return array if array.flags.aligned else array.copy()
    if not is_cupy(array):
        came_as_array = isinstance(array, np.ndarray | np.generic)
        array = np.asarray(array)
        if not came_as_array and array.dtype.kind in "iuf":
            array = array.astype(np.float32)
    if array.dtype.kind != "f":
        raise TypeError(
            f"Tensor: expected a floating point array, got dtype {array.dtype}; "
            "convert it with .astype('float32')"
        )
    return array


def as_numbers(owner: str, path: str, value: Any) -> Array:
    """An entry of a state as an array of numbers.

    Raises
    ------
    TypeError
        For what NumPy cannot read, and for what is no array of numbers then.
    """
    if is_cupy(value):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # as of a tensor on a GPU
        raise TypeError(
            f"{owner}: NumPy cannot read {path}, {type_name(value)}: {error}; of a tensor pass "
            "tensor.detach().cpu().float().numpy()"
        ) from error
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{owner}: {path} must be an array of numbers, got {type_name(value)}; pass the state "
            "dict itself, with a path for each array"
        )
    return array


@cache  # the name of a dtype takes NumPy longer to make than a launch
def math_type(dtype: np.dtype) -> type[np.floating]:
    """The type of sums, means and statistics: float32 for 16-bit types, else the type itself.

    A sum over sites leaves float16's range long before its terms or the mean do.

    >>> math_type(np.dtype("float16")).__name__, math_type(np.dtype("float64")).__name__
    ('float32', 'float64')
    """
    return np.float64 if np.dtype(dtype).name == "float64" else np.float32
