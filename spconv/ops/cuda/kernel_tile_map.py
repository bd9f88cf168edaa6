"""Tile maps made on the GPU, without asking it for a count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array
from spconv.ops.cuda.compiler import NULL, kernel
from spconv.ops.cuda.launch import THREADS
from spconv.ops.cuda.scratch import Scratch
from spconv.ops.cuda.tile_map import TileMap


def kernel_tile_map(
    scratch: Scratch,
    table: Array,
    offset_starts: NDArray[np.int64],
    tile_rows: int,
    counts: Array | None = None,
) -> TileMap:
    """As :func:`~spconv.ops.cuda.tile_map.build_tile_map`, through kernels/cuda/tile_map.cu.

    Nothing is copied to the host: ``offsets``, ``in_rows`` and ``groups`` have as many entries
    as there can be, and what lies behind ``starts[-1]`` is undefined.

    Parameters
    ----------
    scratch : Scratch
        Of ``cupy``.
    table : int32 array (K, N_out) on the device
        Input row of every output and offset, -1 where there is none.
    offset_starts : int64 ndarray (K + 1,) on the host
    tile_rows : int
        Rows of a tile, a multiple of 32 up to 512.
    counts : int32 array (K,) on the device, optional
        Differences of ``offset_starts``, which are uploaded without it.
    """
    xp, (volume, count) = scratch.xp, table.shape
    num_tiles = -(-count // tile_rows)
    cells = num_tiles * volume
    entries = min(cells, int(offset_starts[-1]))
    tiles = TileMap(
        out_rows=xp.empty(count, np.int32),
        starts=xp.empty(num_tiles + 1, np.int32) if cells else xp.zeros(num_tiles + 1, np.int32),
        offsets=xp.empty(entries, np.int32),
        in_rows=xp.empty((entries, tile_rows), np.int32),
        groups=xp.empty(entries, np.uint32),
    )
    if not cells:
        return tiles
    if counts is None:
        counts = xp.asarray(np.diff(offset_starts).astype(np.int32))
    # A radix sort takes twice as many passes over keys of twice the size.
    macros = {"TILE_ROWS": tile_rows, "KEY": "u32" if volume <= 32 else "u64"}
    order = _sorted_rows(xp, table, counts, macros)
    groups = xp.empty(cells, np.uint32)
    sizes = np.int64(count), np.int32(volume)
    made = groups, tiles.out_rows, tiles.starts, scratch.of(0, 1)[1]
    _run("cell_groups", num_tiles, (table, order, *made, *sizes), macros)
    arguments = table, tiles.out_rows, groups, tiles.starts
    targets = tiles.offsets, tiles.in_rows, tiles.groups
    _run("fill_entries", num_tiles, (*arguments, *targets, *sizes), macros)
    return tiles


def _sorted_rows(xp: Any, table: Array, counts: Array, macros: dict[str, Any]) -> Array:
    """Output rows (N_out,) int64 in the Gray order of their offset masks, ties in order of rows."""
    volume, count = table.shape
    words, ranks = -(-volume // 64), NULL
    if words > 1:
        ranks = xp.empty(volume, np.int32)
        _run("rank_offsets", -(-volume // THREADS), (counts, ranks, np.int32(volume)), macros)
    shape = count if words == 1 else (words, count)
    keys = xp.empty(shape, np.uint32 if macros["KEY"] == "u32" else np.uint64)
    arguments = table, counts, ranks, keys, np.int64(count), np.int32(volume), np.int32(words)
    _run("gray_keys", -(-count // THREADS), arguments, macros)
    return xp.argsort(keys, kind="stable") if words == 1 else xp.lexsort(keys[::-1])


def _run(entry: str, blocks: int, arguments: tuple, macros: dict[str, Any]) -> None:
    kernel("tile_map.cu", entry, **macros)((blocks,), (THREADS,), arguments)
