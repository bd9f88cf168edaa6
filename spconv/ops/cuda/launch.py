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
    """Sums (C,), math type, over rows of what ``entry`` of column_sums.cu makes of ``arrays``.

    The number of parts follows from the number of rows alone, so the sums have the same bits on
    every device.
    """
    total = xp.zeros(channels, math_type(dtype))
    if not rows or not channels:
        return total
    part = max(MIN_ROWS_PER_PART, -(-rows // MAX_PARTS))
    parts, blocks = -(-rows // part), -(-channels // 32)
    partial = xp.empty((parts, channels), np.float64)
    sizes = np.int64(rows), np.int64(channels), np.int64(part)
    storage = storage_of(dtype)
    first = kernel("column_sums.cu", entry, STORAGE=storage)
    first((parts, blocks), (32, 8), (*arrays, partial, *sizes))
    second = kernel("column_sums.cu", "add_parts", STORAGE=storage)
    second((1, blocks), (32, 8), (partial, total, np.int64(parts), np.int64(channels)))
    return total
