"""Pooling on full grids."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from spconv.testing.reference.conv import taps
from spconv.testing.reference.grid import EVERY, Grid, ntuple, pad


def max_pool(x: Grid, *, kernel_size, stride=None, padding=0, dilation=1) -> Grid:
    """Maximum over each window.

    With a ground state: over all K taps, inactive and out-of-grid ones hold it. Without: over
    the active taps only, whatever their sign. Complex values are compared by their real part.
    """
    windows = iter(_windows(x, kernel_size, stride, padding, dilation))
    best, active = next(windows)
    filled = np.ones_like(active) if x.ground is not None else active
    for read, on in windows:
        counts = np.ones_like(on) if x.ground is not None else on
        better = counts[:, None] & (~filled[:, None] | (read.real > best.real))
        best = np.where(better, read, best)
        active, filled = active | on, filled | counts
    return Grid(best, active, x.ground)


def avg_pool(x: Grid, *, kernel_size, stride=None, padding=0, dilation=1) -> Grid:
    """Mean over all K taps of each window with a ground state, over the active ones without."""
    windows = list(_windows(x, kernel_size, stride, padding, dilation))
    total = sum(read for read, _ in windows)
    active = np.any([on for _, on in windows], axis=0)
    count = sum(1 if x.ground is not None else on[:, None] for _, on in windows)
    return Grid(total / np.maximum(count, 1), active, x.ground)


def fractional_max_pool(x: Grid, regions, *, overlapping=True) -> Grid:
    """Maximum over each box of [a_i, a_{i+1}) per axis, or of [a_i, a_{i+1}] if overlapping.

    `regions` holds the increasing sequence a for every axis. A box is active when one of its
    sites is; the ground state counts as in :func:`max_pool`.
    """
    shape = tuple(len(a) - 1 for a in regions)
    values = np.zeros((*x.values.shape[:2], *shape), x.values.dtype)
    active = np.zeros((len(x.values), *shape), bool)
    for box in itertools.product(*map(range, shape)):
        cut: Any = tuple(
            slice(int(a[i]), int(a[i + 1]) + overlapping) for a, i in zip(regions, box, strict=True)
        )
        here: Any = (slice(None), *box)
        sites = x.active[EVERY + cut]
        inside = Grid(x.values[2 * EVERY + cut], sites, x.ground)
        values[EVERY + here] = global_max_pool(inside)
        active[here] = sites.reshape(len(sites), -1).any(1)
    return Grid(values, active, x.ground)


def global_max_pool(x: Grid) -> np.ndarray:
    """(batch, C): maximum over the grid with a ground state, over the active sites without."""
    return np.stack([_sample(x, b, _max) for b in range(len(x.values))])


def global_avg_pool(x: Grid) -> np.ndarray:
    """(batch, C): mean over the grid with a ground state, over the active sites without."""
    return np.stack([_sample(x, b, _mean) for b in range(len(x.values))])


def _windows(x, kernel_size, stride, padding, dilation):
    kernel_size = ntuple(kernel_size, x.ndim)
    stride = kernel_size if stride is None else ntuple(stride, x.ndim)
    padding = ntuple(padding, x.ndim)
    return taps(pad(x, padding, padding), kernel_size, stride, ntuple(dilation, x.ndim))


def _sample(x, b, reduce):
    rows = np.moveaxis(x.values[b], 0, -1)
    keep = x.active[b] if x.ground is None else np.ones_like(x.active[b])
    rows = rows[keep]
    return reduce(rows) if len(rows) else x.background()


def _max(rows):
    return np.take_along_axis(rows, rows.real.argmax(0)[None], axis=0)[0]


def _mean(rows):
    return rows.sum(0) / len(rows)
