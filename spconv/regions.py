"""The rulebook of regions that differ in size, those of fractional max-pooling.

A region has one, two or three sites along an axis: region i is [a_i, a_{i+1}) where regions are
disjoint, and [a_i, a_{i+1}] where they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spconv.cached import cached_property
from spconv.geometry import Geometry
from spconv.rulebook import Rulebook
from spconv.sites import SiteSet

TABLE_CELLS_PER_KEY = 64
"""Above this many grid cells per pair outputs are found by sorting instead of in a table."""


@dataclass(frozen=True, eq=False)
class RegionRulebook(Rulebook):
    """A rulebook whose windows have fewer sites than there are kernel offsets.

    Parameters
    ----------
    region_sizes : int64 ndarray (N_out,)
        True number of sites of every output's region.
    """

    region_sizes: NDArray[np.int64] = field(kw_only=True)
    windows_differ: ClassVar[bool] = True

    @cached_property
    def pairs_per_output(self) -> NDArray[np.int64]:
        """Number of taps (N_out,) that are no inactive site: active, or beyond the region.

        So that a region is complete where it is ``volume``, as the engines ask.
        """
        pairs = np.bincount(self.out_rows, minlength=len(self.out_sites)).astype(np.int64)
        return pairs + self.volume - self.region_sizes


def region_rulebook(
    sites: SiteSet, regions: Sequence[NDArray[np.int64]], overlapping: bool
) -> RegionRulebook:
    """Pairs of every site with the regions it lies in; an offset is its place in the region."""
    reach = 3 if overlapping else 2
    shape = tuple(len(a) - 1 for a in regions)
    coordinates = sites.sorted_indices
    tables = [
        _region_at(a, extent, overlapping, reach)
        for a, extent in zip(regions, sites.spatial_shape, strict=True)
    ]
    # Axes: place along each axis, then sites. Ascending in the last, as regions are in the sites.
    ndim = len(shape)
    key: NDArray[np.int64] = coordinates[:, 0].astype(np.int64)
    inside: NDArray[np.bool_] = np.ones(1, bool)
    for axis, table in enumerate(tables):
        ones = (1,) * (ndim - 1 - axis)
        region = table[:, coordinates[:, 1 + axis]].reshape(*(1,) * axis, reach, *ones, -1)
        key = key * shape[axis] + region
        inside = inside & (region >= 0)
    volume, num_sites = reach**ndim, len(sites)
    inside = inside.reshape(volume, num_sites)
    keys, in_rows = key.reshape(volume, num_sites)[inside], np.nonzero(inside)[1]
    out_keys, out_rows = _ranked(keys, sites.batch_size * prod(shape))
    out = SiteSet.of_keys(out_keys, shape, sites.batch_size)
    if sites.order is not None:
        in_rows = sites.order[in_rows]
    sizes = np.ones(len(out), np.int64)
    for axis, a in enumerate(regions):
        sizes *= (np.diff(a) + overlapping)[out.indices[:, 1 + axis]]
    return RegionRulebook(
        in_rows.astype(np.int32),
        out_rows.astype(np.int32),
        np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int64),
        sites,
        out,
        Geometry.make(ndim, reach),
        region_sizes=sizes,
    )


def _ranked(keys: NDArray[np.int64], num_cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys in ascending order, and the position of every key among them."""
    if num_cells > TABLE_CELLS_PER_KEY * len(keys):
        distinct = np.sort(keys)
        distinct = distinct[np.diff(distinct, prepend=-1) > 0]
        return distinct, np.searchsorted(distinct, keys)
    table = np.zeros(num_cells, bool)
    table[keys] = True
    return np.flatnonzero(table), (np.cumsum(table) - 1)[keys]


def _region_at(
    a: NDArray[np.int64], extent: int, overlapping: bool, reach: int
) -> NDArray[np.int64]:
    """(reach, extent): the region in which a coordinate has that place, or -1."""
    table = np.full((reach, extent), -1, np.int64)
    sizes = np.diff(a) + overlapping
    for place in range(reach):
        regions = np.flatnonzero(sizes > place)
        table[place, a[regions] + place] = regions
    return table
