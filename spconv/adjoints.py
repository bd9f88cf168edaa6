"""Gradients of what arrays do by themselves: broadcasting and indexing."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from spconv.compat import Array, array_module
from spconv.ops import get_ops

_PLAIN = int, slice, type(None), type(Ellipsis), np.generic
"""What takes no element twice."""


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``gradient`` over the axes along which an operand of ``shape`` was broadcast.

    Accumulated in float64: there may be a million sites.
    """
    if gradient.shape == shape:
        return gradient
    first = gradient.ndim - len(shape)
    stretched = tuple(first + axis for axis, size in enumerate(shape) if size == 1)
    total = gradient.sum(axis=(*range(first), *stretched), dtype=np.float64)
    return total.astype(gradient.dtype).reshape(shape)


def own_index(index: Any, xp: ModuleType) -> tuple[Any, ...]:
    """The index as a tuple, its arrays copied to ``xp``: the caller may change his own later."""
    entries = index if isinstance(index, tuple) else (index,)
    return tuple([entry if isinstance(entry, _PLAIN) else _array(entry, xp) for entry in entries])


def scattered(gradient: Array, index: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    """Gradient of an array of ``shape`` from that of ``array[index]``, for an :func:`own_index`."""
    xp, dtype = array_module(gradient), gradient.dtype
    if not any(not isinstance(entry, _PLAIN) and entry.dtype.kind in "iu" for entry in index):
        dx = xp.zeros(shape, dtype)
        dx[index] = gradient
        return dx
    # Integers may take an element twice: of one array of them whole rows, otherwise elements.
    axes = 1 if len(index) == 1 else len(shape)
    count, width = math.prod(shape[:axes]), math.prod(shape[axes:])
    places = xp.arange(count).reshape(shape[:axes])[index].reshape(-1)
    rows = gradient.reshape(places.size, width)
    return get_ops(rows).scatter_add(rows, places, count).astype(dtype, copy=False).reshape(shape)


def _array(entry: Any, xp: ModuleType) -> Array:
    if not hasattr(entry, "dtype"):
        entry = np.array(entry)
        if not entry.size:  # which integers NumPy takes an empty list for
            entry = entry.astype(np.intp)
    return xp.array(entry)
