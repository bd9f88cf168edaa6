"""Rulebooks built on the GPU through kernels/cuda/rulebook.cu."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array, to_device
from spconv.geometry import Geometry
from spconv.ops.cuda.compiler import NULL
from spconv.ops.cuda.launch import THREADS, check_grid, elementwise
from spconv.ops.cuda.rulebook import DeviceRulebook
from spconv.ops.cuda.scratch import Scratch
from spconv.ops.cuda.store import NO_KEY, RulebookStore, starts_of
from spconv.sites import SiteSet, fits_bitmap

BITMAP_CELLS = 2**28
"""Grids up to this size (a bitmap of 32 MB) always get one: a device is through it before the array
code that sorts candidates is launched."""


class KernelRulebookStore(RulebookStore):
    """The same arrays as those of the plain store; ``xp`` is ``cupy``."""

    def __init__(self, xp: ModuleType) -> None:
        super().__init__(xp)
        self.scratch = Scratch(xp)
        self._kept_numbers = lru_cache(maxsize=256)(self._upload_numbers)

    def build(self, sites: SiteSet, geometry: Geometry, owner: str) -> DeviceRulebook:
        check_grid(owner, "kernel offsets", geometry.volume)
        return super().build(sites, geometry, owner)

    def reached(
        self,
        keys: Array,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        batch_size: int,
    ) -> tuple[Array, NDArray[np.int64]]:
        """By a bit for each cell of the grid, where that is worth its memory."""
        cells, xp = batch_size * prod(out_shape), self.xp
        if cells > BITMAP_CELLS and not fits_bitmap(cells, len(keys)):
            return super().reached(keys, geometry, in_shape, out_shape, batch_size)
        words = np.int64(-(-cells // 32))
        zeros = xp.zeros(int(words) + geometry.volume + 1, np.uint32)
        bits, counts = zeros[: int(words)], zeros[int(words) :].view(np.int32)
        numbers = self._numbers(geometry, in_shape, out_shape)
        arguments = keys, numbers, bits, counts, np.int64(len(keys)), np.int32(geometry.transposed)
        self._run("mark_cells", len(keys), arguments, geometry, geometry.volume)
        found = to_device(counts, "cpu")
        reached = xp.empty(int(found[-1]), np.int64)
        if len(reached):
            ends = xp.empty(-(-int(words) // THREADS), np.int64)
            tallied = bits, ends, self.scratch.of(0, 1)[1], words
            elementwise("rulebook.cu", "tally_cells", int(words), tallied, NDIM=1)
            listed = bits, ends, reached, words
            elementwise("rulebook.cu", "list_cells", int(words), listed, NDIM=1)
        return reached, starts_of(found[:-1])

    def candidate_keys(
        self,
        keys: Array,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
    ) -> Array:
        candidates = self.xp.empty((geometry.volume, len(keys)), np.int64)
        numbers = self._numbers(geometry, in_shape, out_shape)
        sizes = np.int64(len(keys)), np.int32(geometry.transposed), np.int64(NO_KEY)
        arguments = keys, numbers, candidates, *sizes
        self._run("candidate_keys", len(keys), arguments, geometry, geometry.volume)
        return candidates

    def lookup(
        self,
        out_keys: Array,
        in_keys: Array,
        in_order: Array | None,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
    ) -> tuple[Array, Array]:
        table = self.xp.empty((geometry.volume, len(out_keys)), np.int32)
        counts = self.xp.zeros(geometry.volume, np.int32)
        numbers = self._numbers(geometry, in_shape, out_shape)
        sizes = np.int64(len(out_keys)), np.int64(len(in_keys)), np.int32(geometry.transposed)
        order = NULL if in_order is None else in_order
        arguments = out_keys, in_keys, order, numbers, table, counts, *sizes
        lines = geometry.volume // geometry.kernel_size[-1]
        self._run("lookup", len(out_keys), arguments, geometry, lines)
        return table, counts

    def compact(self, table: Array, num_pairs: int) -> tuple[Array, Array]:
        in_rows, out_rows = (self.xp.empty(num_pairs, np.int32) for _ in range(2))
        volume, count = table.shape
        ends, size = self.xp.empty(volume * -(-count // THREADS), np.int64), np.int64(count)
        self._over_table("tally_pairs", table, (table, ends, self.scratch.of(0, 1)[1], size))
        self._over_table("compact_pairs", table, (table, ends, in_rows, out_rows, size))
        return in_rows, out_rows

    def invert(self, table: Array, in_count: int) -> Array:
        inverse = self.xp.empty((table.shape[0], in_count), np.int32)
        inverse.data.memset_async(0xFF, inverse.nbytes)  # -1, sooner than full() makes it
        arguments = table, inverse, np.int64(table.shape[1]), np.int64(in_count)
        self._over_table("invert_table", table, arguments)
        return inverse

    def table_of_pairs(
        self, in_rows: Array, out_rows: Array, starts: NDArray[np.int64], out_count: int
    ) -> Array:
        table = self.xp.full((len(starts) - 1, out_count), -1, np.int32)
        sizes = np.int64(len(in_rows)), np.int64(out_count), np.int32(len(starts) - 1)
        arguments = in_rows, out_rows, self.xp.asarray(starts), table, *sizes
        elementwise("rulebook.cu", "table_of_pairs", len(in_rows), arguments, NDIM=1)
        return table

    def _numbers(
        self, geometry: Geometry, in_shape: tuple[int, ...], out_shape: tuple[int, ...]
    ) -> Array:
        """What the kernels call ``geometry``, (6, ndim): uploaded once."""
        return self._kept_numbers(geometry, in_shape, out_shape, self.memo.device)

    def _upload_numbers(
        self,
        geometry: Geometry,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        device: int,
    ) -> Array:
        rows = (
            geometry.kernel_size,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            in_shape,
            out_shape,
        )
        return self.xp.asarray(np.array(rows, np.int64))

    def _run(self, entry: str, count: int, arguments: tuple, geometry: Geometry, rows: int) -> None:
        macros = {"NDIM": geometry.ndim}
        elementwise("rulebook.cu", entry, count, arguments, rows=rows, **macros)

    def _over_table(self, entry: str, table: Array, arguments: tuple) -> None:
        """One thread for each entry; these kernels know nothing of dimensions."""
        volume, count = table.shape
        elementwise("rulebook.cu", entry, count, arguments, rows=volume, NDIM=1)
