"""Gradients of what arrays do by themselves: broadcasting and indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spconv.compat import Array, array_module


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


def scattered(gradient: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Gradient of an array of ``shape`` from that of ``array[index]``."""
    xp, dtype = array_module(gradient), gradient.dtype
    if not _may_repeat(index):
        dx = xp.zeros(shape, dtype)
        dx[index] = gradient
        return dx
    if xp is np and np.ndim(index) == 1 and not isinstance(index, tuple):
        # A product with a selection takes a fraction of the time of add.at.
        from scipy.sparse import csr_array

        rows, places = np.asarray(index) % shape[0], np.arange(len(index) + 1)
        flat = gradient.reshape(len(rows), math.prod(shape[1:]))
        select = csr_array((np.ones(len(rows)), rows, places), (len(rows), shape[0]))
        return (select.T @ flat).astype(dtype).reshape(shape)
    dx = xp.zeros(shape, np.float64)
    xp.add.at(dx, index, gradient)
    return dx.astype(dtype)


def _may_repeat(index: Any) -> bool:
    """Whether there are integer arrays in an index: they may take an element twice."""
    entries = index if isinstance(index, tuple) else (index,)
    arrays = [e for e in entries if not isinstance(e, int | slice | type(None) | type(Ellipsis))]
    return any((e if hasattr(e, "dtype") else np.asarray(e)).dtype.kind in "iu" for e in arrays)
