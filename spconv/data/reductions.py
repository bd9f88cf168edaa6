"""What a voxel has of the features of its points, which come sorted by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _mean(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    counts = np.diff(first, append=len(values))
    return _sum(values, first) / counts[:, None]


def _sum(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    return _reduced(np.add, values.astype(np.float64, copy=False), first)


def _max(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    return _reduced(np.maximum, values, first)


def _first(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    return values[first]


def _reduced(operation: np.ufunc, values: NDArray, first: NDArray[np.int64]) -> NDArray:
    """Values of points, sorted by voxel, put together; ``first`` is where each voxel begins."""
    return operation.reduceat(values, first, axis=0) if len(first) else values[:0]


REDUCTIONS = {"mean": _mean, "sum": _sum, "max": _max, "first": _first}
