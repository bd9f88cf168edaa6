"""Sums and maxima over rows on the GPU, such as those of every sample, in two stages."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.ops.cuda.arithmetic import storage_of
from spconv.ops.cuda.compiler import NULL, kernel
from spconv.ops.cuda.store import RulebookStore
from spconv.sites import SiteSet

BLOCK = 32, 8
ROWS_PER_PART = 128
MAX_PARTS = 256


def sum_samples(xp: ModuleType, x_nc: Array, sites: SiteSet, store: RulebookStore) -> Array:
    """As :meth:`spconv.ops.Ops.sum_samples`; ``x_nc`` is contiguous. Sums run in float64."""
    return sum_segments(xp, x_nc, *_starts_and_order(sites, store))


def sum_segments(xp: ModuleType, x_nc: Array, starts: Array, order: Array) -> Array:
    """Sum of the rows ``order[starts[b]]`` up to ``order[starts[b + 1]]`` for every b, in float64.

    ``x_nc`` is contiguous, ``starts`` and ``order`` are int64; without an order, NULL, the
    positions are the rows.
    """
    y = xp.empty((len(starts) - 1, x_nc.shape[1]), math_type(x_nc.dtype))
    if y.size:
        parts = _parts(len(x_nc), len(y))
        sizes = np.int64(parts), np.int64(x_nc.shape[1])
        partial = xp.empty((len(y) * parts, x_nc.shape[1]), np.float64)
        _run("sum_sample_parts", len(partial), x_nc, (x_nc, starts, order, partial, *sizes))
        _run("add_sample_parts", len(y), x_nc, (partial, y, *sizes))
    return y


def max_samples(
    xp: ModuleType, x_nc: Array, sites: SiteSet, store: RulebookStore
) -> tuple[Array, Array]:
    """As :meth:`spconv.ops.Ops.max_samples`; ``x_nc`` is contiguous."""
    y = xp.empty((sites.batch_size, x_nc.shape[1]), x_nc.dtype)
    winner = xp.empty(y.shape, np.int64)
    if y.size:
        parts = _parts(len(sites), sites.batch_size)
        sizes = np.int64(parts), np.int64(x_nc.shape[1])
        values = xp.empty((len(y) * parts, x_nc.shape[1]), x_nc.dtype)
        from_rows = xp.empty(values.shape, np.int64)
        rows = _starts_and_order(sites, store)
        _run("max_sample_parts", len(values), x_nc, (x_nc, *rows, values, from_rows, *sizes))
        _run("join_max_parts", len(y), x_nc, (values, from_rows, y, winner, *sizes))
    return y, winner


def _parts(rows: int, samples: int) -> int:
    """Parts of every sample: enough to keep a device busy with few samples."""
    return min(MAX_PARTS, max(1, -(-rows // (samples * ROWS_PER_PART))))


def _starts_and_order(sites: SiteSet, store: RulebookStore) -> tuple[Array, Array]:
    order = store.site_keys(sites)[1]
    return store.sample_starts(sites), NULL if order is None else order


def _run(entry: str, blocks: int, x_nc: Array, arguments: tuple) -> None:
    grid = blocks, -(-x_nc.shape[1] // BLOCK[0])
    kernel("samples.cu", entry, STORAGE=storage_of(x_nc.dtype))(grid, BLOCK, arguments)
