"""Launches of the plain kernels: one thread for each element, or sums over rows."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.ops.cuda.arithmetic import storage_of
from spconv.ops.cuda.compiler import kernel

THREADS = 256
MAX_PARTS = 1024
MIN_ROWS_PER_PART = 128
MAX_GRID = 65_535
"""Blocks along the second and third axis of a grid."""


def check_grid(owner: str, what: str, count: int) -> None:
    """Raise ValueError for more than a grid takes along its second and third axis."""
    if count > MAX_GRID:
        raise ValueError(
            f"{owner}: a GPU takes at most {MAX_GRID:,} {what} in one launch, got {count:,}; use "
            "fewer, or compute on the CPU (x.to('cpu'), model.to('cpu'))"
        )


def elementwise(
    file: str,
    entry: str,
    count: int,
    arguments: tuple,
    *options: str,
    rows: int = 1,
    **macros: str | int,
) -> None:
    """Run an entry point with one thread for each of ``count`` elements (times ``rows``)."""
    if count and rows:
        function = kernel(file, entry, *options, **macros)
        function((-(-count // THREADS), rows), (THREADS,), arguments)


def column_sums(
    xp: ModuleType, entry: str, arrays: tuple[Array, ...], rows: int, channels: int, dtype: np.dtype
) -> Array:
    """Sums (C,), math type, over rows of what ``entry`` of column_sums.cu makes of ``arrays``."""
    total = xp.empty(channels, math_type(dtype))
    partial = column_parts(xp, entry, arrays, rows, channels, dtype)
    add_parts("add_parts", partial, (total,), dtype)
    return total


def column_parts(
    xp: ModuleType,
    entry: str,
    arrays: tuple[Array, ...],
    rows: int,
    channels: int,
    dtype: np.dtype,
    sums: int = 1,
) -> Array:
    """The first stage of column sums: sums of parts of the rows, (sums, parts, C) float64.

    The number of parts follows from the number of rows alone, so the sums have the same bits on
    every device.
    """
    part = max(MIN_ROWS_PER_PART, -(-rows // MAX_PARTS))
    parts, blocks = -(-rows // part), -(-channels // 32)
    partial = xp.empty((sums, parts, channels), np.float64)
    if partial.size:
        sizes = np.int64(rows), np.int64(channels), np.int64(part)
        function = kernel("column_sums.cu", entry, STORAGE=storage_of(dtype))
        function((parts, blocks), (32, 8), (*arrays, partial, *sizes))
    return partial


def add_parts(entry: str, partial: Array, arguments: tuple, dtype: np.dtype) -> None:
    """The second stage: ``entry`` of column_sums.cu, which may do more with the sums."""
    parts, channels = partial.shape[1:]
    if channels:
        function = kernel("column_sums.cu", entry, STORAGE=storage_of(dtype))
        sizes = np.int64(parts), np.int64(channels)
        function((1, -(-channels // 32)), (32, 8), (partial, *arguments, *sizes))
