"""What a device holds of sites and rulebooks, built and kept there, in plain array code.

A kernel offset k joins each output to at most one input, so all pairs fit in a table (K, N_out) of
input rows. The table comes from a search among sorted keys; read in order without its empty
entries it is the list of pairs, grouped by offset and sorted by output row: the arrays of the
CPU's :func:`spconv.build_rulebook`.
"""

from __future__ import annotations

from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array, to_device
from spconv.geometry import Geometry, check_cells
from spconv.ops.cuda.memo import DeviceMemo
from spconv.ops.cuda.rulebook import DeviceRulebook, DeviceSites
from spconv.rulebook import Rulebook, check_rows
from spconv.sites import SiteSet

NO_KEY = 2**62
"""Larger than every key: sorts behind all sites."""


class RulebookStore:
    """Builds rulebooks, and keeps keys, tables and pairs of what came from the host.

    The specification of kernels/cuda/rulebook.cu: :mod:`spconv.ops.cuda.kernel_store`.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``cupy``.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self.memo = DeviceMemo(xp)

    def build(self, sites: SiteSet, geometry: Geometry, owner: str) -> DeviceRulebook:
        """Build the rulebook of a checked site set.

        One copy to the host: the ends of the offsets, and the number of output sites unless they
        are the input's.
        """
        out_shape = geometry.output_shape(sites.spatial_shape, owner)
        check_cells(out_shape, sites.batch_size, owner)
        in_keys, in_order, keys = self.site_keys(sites)
        shapes = sites.spatial_shape, out_shape
        out_sites: SiteSet = sites
        if geometry.submanifold:
            table, counts = self.lookup(keys, in_keys, in_order, geometry, *shapes)
            starts = starts_of(to_device(counts, "cpu"))
        else:
            out_keys, starts = self.reached(in_keys, geometry, *shapes, sites.batch_size)
            table, counts = self.lookup(out_keys, in_keys, in_order, geometry, *shapes)
            out_sites = DeviceSites(out_keys, out_shape, sites.batch_size)
        check_rows(len(sites), len(out_sites), owner)
        return DeviceRulebook(lambda: table, counts, starts, sites, out_sites, geometry, self)

    def site_keys(self, sites: SiteSet) -> tuple[Array, Array | None, Array]:
        """Ascending keys of the sites, their rows (None: the same), and the keys in row order."""
        if isinstance(sites, DeviceSites):
            return sites.device_keys, None, sites.device_keys
        kept = self.memo.of(sites)
        if "keys" not in kept:
            keys = self.xp.asarray(sites.keys)
            if sites.order is None:
                kept["keys"] = keys, None, keys
            else:
                order = self.xp.asarray(sites.order)
                kept["keys"] = keys[order], order, keys
        return kept["keys"]

    def union(self, sets: tuple[SiteSet, ...]) -> DeviceSites:
        """All sites of any of the sets, sorted. Their number is copied to the host."""
        keys = self.xp.concatenate([self.site_keys(sites)[0] for sites in sets])
        return DeviceSites(self.xp.unique(keys), sets[0].spatial_shape, sets[0].batch_size)

    def sample_starts(self, sites: SiteSet) -> Array:
        """Where the samples begin (B + 1,) among the sites in ascending order, int64."""
        firsts = self.xp.arange(sites.batch_size + 1, dtype=np.int64) * prod(sites.spatial_shape)
        return self.xp.searchsorted(self.site_keys(sites)[0], firsts)

    def table(self, rulebook: Rulebook) -> Array:
        """Input row (K, N_out) of every output and offset, on the device."""
        if isinstance(rulebook, DeviceRulebook):
            return rulebook.device_table
        return self._uploaded(rulebook)["table"]

    def counts(self, rulebook: Rulebook) -> Array | None:
        """Number (K,) of pairs of every offset, int32, where the device has it."""
        return rulebook.device_counts if isinstance(rulebook, DeviceRulebook) else None

    def pairs(self, rulebook: Rulebook) -> tuple[Array, Array]:
        """Input rows and output rows (P,) of all pairs, on the device."""
        if isinstance(rulebook, DeviceRulebook):
            return rulebook.device_pairs
        return self._uploaded(rulebook)["pairs"]

    def complete_taps(self, rulebook: Rulebook) -> Array | None:
        """``pairs_per_output`` (N_out,) on the device; None where the table's rows tell it."""
        if not rulebook.windows_differ:
            return None
        kept = self.memo.of(rulebook)
        if "taps" not in kept:
            kept["taps"] = self.xp.asarray(rulebook.pairs_per_output)
        return kept["taps"]

    def _uploaded(self, rulebook: Rulebook) -> dict[str, Any]:
        kept = self.memo.of(rulebook)
        if "table" not in kept:
            in_rows, out_rows = (
                self.xp.asarray(rows) for rows in (rulebook.in_rows, rulebook.out_rows)
            )
            table = self.table_of_pairs(
                in_rows, out_rows, rulebook.offset_starts, len(rulebook.out_sites)
            )
            kept.update(pairs=(in_rows, out_rows), table=table)
        return kept

    def reached(
        self,
        keys: Array,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        batch_size: int,
    ) -> tuple[Array, NDArray[np.int64]]:
        """Keys of the outputs that some input feeds, ascending, and the starts of the offsets.

        One copy to the host.
        """
        return self._distinct(self.candidate_keys(keys, geometry, in_shape, out_shape))

    def candidate_keys(
        self,
        keys: Array,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
    ) -> Array:
        """Key (K, N) of the output that every input feeds, ``NO_KEY`` where there is none."""
        xp = self.xp
        rest, total, cell = keys, xp.zeros((geometry.volume, len(keys)), np.int64), 1
        valid = xp.ones(total.shape, bool)
        for axis in reversed(range(geometry.ndim)):
            x, rest = rest % in_shape[axis], rest // in_shape[axis]
            stride, pad = geometry.stride[axis], geometry.padding[axis]
            tap = self._taps(geometry, axis) * geometry.dilation[axis]
            if geometry.transposed:
                y = x * stride - pad + tap
            else:
                shifted = x + pad - tap
                valid &= shifted % stride == 0
                y = shifted // stride
            valid &= (y >= 0) & (y < out_shape[axis])
            total += y * cell
            cell *= out_shape[axis]
        return xp.where(valid, total + rest * cell, NO_KEY)

    def lookup(
        self,
        out_keys: Array,
        in_keys: Array,
        in_order: Array | None,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
    ) -> tuple[Array, Array]:
        """Row (K, N_out) of the input that feeds every output, -1 where there is none; int32.

        And the number (K,) of rows that there are, int32.
        """
        xp = self.xp
        shape = (geometry.volume, len(out_keys))
        if not len(in_keys):
            return xp.full(shape, -1, np.int32), xp.zeros(geometry.volume, np.int32)
        rest, total, cell = out_keys, xp.zeros(shape, np.int64), 1
        valid = xp.ones(shape, bool)
        for axis in reversed(range(geometry.ndim)):
            y, rest = rest % out_shape[axis], rest // out_shape[axis]
            stride, pad = geometry.stride[axis], geometry.padding[axis]
            tap = self._taps(geometry, axis) * geometry.dilation[axis]
            if geometry.transposed:
                shifted = y + pad - tap
                valid &= shifted % stride == 0
                x = shifted // stride
            else:
                x = y * stride - pad + tap
            valid &= (x >= 0) & (x < in_shape[axis])
            total += x * cell
            cell *= in_shape[axis]
        total += rest * cell
        position = xp.minimum(xp.searchsorted(in_keys, total), len(in_keys) - 1)
        valid &= in_keys[position] == total
        row = position if in_order is None else in_order[position]
        return xp.where(valid, row, -1).astype(np.int32), valid.sum(axis=1).astype(np.int32)

    def compact(self, table: Array, num_pairs: int) -> tuple[Array, Array]:
        """Pairs (P,) of a table, in order."""
        xp = self.xp
        entries = xp.flatnonzero(table >= 0)
        out_rows = entries % max(table.shape[1], 1)
        return table.reshape(-1)[entries], out_rows.astype(np.int32)

    def invert(self, table: Array, in_count: int) -> Array:
        """Output row (K, N_in) of every input and offset, -1 where there is none."""
        xp = self.xp
        inverse = xp.full((table.shape[0], in_count), -1, np.int32)
        offset, out_row = xp.nonzero(table >= 0)
        inverse[offset, table[offset, out_row]] = out_row
        return inverse

    def table_of_pairs(
        self, in_rows: Array, out_rows: Array, starts: NDArray[np.int64], out_count: int
    ) -> Array:
        """Table (K, N_out) of the pairs that end at ``starts[1:]``."""
        xp = self.xp
        table = xp.full((len(starts) - 1, out_count), -1, np.int32)
        offset = xp.asarray(np.repeat(np.arange(len(starts) - 1), np.diff(starts)))
        table[offset, out_rows] = in_rows
        return table

    def _taps(self, geometry: Geometry, axis: int) -> Array:
        """Kernel index (K, 1) of every offset along one axis."""
        return self.xp.asarray(np.array(geometry.offsets(), np.int64)[:, axis, None])

    def _distinct(self, candidates: Array) -> tuple[Array, NDArray[np.int64]]:
        """Distinct keys, ascending, and the starts of the offsets; copies to the host once."""
        xp = self.xp
        keys = xp.sort(candidates.reshape(-1))
        first = keys < NO_KEY
        first[1:] &= keys[1:] != keys[:-1]
        ends = xp.cumsum(first.astype(np.int64))
        active = (candidates < NO_KEY).sum(axis=1)
        counts = to_device(xp.concatenate([active, first.sum().reshape(1)]), "cpu")
        num_keys = int(counts[-1])
        # Everything that is not the first of its kind goes to a spare entry: no second count.
        distinct = xp.empty(num_keys + 1, np.int64)
        distinct[xp.where(first, ends - 1, num_keys)] = keys
        return distinct[:num_keys], starts_of(counts[:-1])


def starts_of(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where the offsets with so many pairs each begin, and the last one ends (K + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
