"""Launches of the plain kernels: one thread for each element, or sums over rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.ops.cuda.arithmetic import storage_of
from spconv.ops.cuda.compiler import kernel
from spconv.ops.cuda.scratch import Scratch

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


def sum_columns(
    scratch: Scratch,
    entry: str,
    arrays: tuple[Any, ...],
    results: tuple[Any, ...],
    shape: tuple[int, ...],
    dtype: np.dtype,
    sums: int = 1,
    **macros: str | int,
) -> None:
    """Run an entry point of column_sums.cu over (rows, channels) arrays.

    The number of parts follows from the number of rows alone, so the sums have the same bits on
    every device.
    """
    rows, channels = shape
    if not channels:
        return
    part = max(MIN_ROWS_PER_PART, -(-rows // MAX_PARTS))
    parts, blocks = max(1, -(-rows // part)), -(-channels // 32)
    partial, finished = scratch.of(sums * parts * channels, blocks)
    sizes = np.int64(rows), np.int64(channels), np.int64(part)
    function = kernel("column_sums.cu", entry, STORAGE=storage_of(dtype), **macros)
    function((parts, blocks), (32, 8), (*arrays, partial, finished, *results, *sizes))
