"""Tile maps made on the GPU, without asking it for a count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array
from spconv.ops.cuda.launch import elementwise
from spconv.ops.cuda.tile_map import TileMap, offset_ranks

WARP = 32


def kernel_tile_map(
    xp: Any, table: Array, offset_starts: NDArray[np.int64], tile_rows: int
) -> TileMap:
    """As :func:`~spconv.ops.cuda.tile_map.build_tile_map`, through kernels/cuda/tile_map.cu.

    Nothing is copied to the host: ``offsets``, ``in_rows`` and ``groups`` have as many entries
    as there can be, and what lies behind ``starts[-1]`` is undefined.

    Parameters
    ----------
    xp : module
        ``cupy``.
    table : int32 array (K, N_out) on the device
        Input row of every output and offset, -1 where there is none.
    offset_starts : int64 ndarray (K + 1,) on the host
    tile_rows : int
        Rows of a tile, a multiple of 32 up to 512.
    """
    volume, count = table.shape
    num_tiles = -(-count // tile_rows)
    cells = num_tiles * volume
    entries = min(cells, int(offset_starts[-1]))
    sizes = np.int64(count), np.int32(cells), np.int32(volume)
    order = _sorted_rows(xp, table, offset_starts, tile_rows)
    groups = xp.empty(cells, np.uint32)
    _run("cell_groups", cells * WARP, (table, order, groups, *sizes), tile_rows)
    ends = xp.cumsum(groups != 0, dtype=np.int32)
    tiles = TileMap(
        out_rows=order.astype(np.int32),
        starts=xp.zeros(num_tiles + 1, np.int32),
        offsets=xp.empty(entries, np.int32),
        in_rows=xp.empty((entries, tile_rows), np.int32),
        groups=xp.empty(entries, np.uint32),
    )
    targets = tiles.starts, tiles.offsets, tiles.in_rows, tiles.groups
    arguments = table, order, groups, ends, *targets, *sizes
    _run("fill_entries", cells * WARP, arguments, tile_rows)
    return tiles


def _sorted_rows(xp: Any, table: Array, offset_starts: NDArray[np.int64], tile_rows: int) -> Array:
    """Output rows (N_out,) int64 in the Gray order of their offset masks, ties in order of rows."""
    volume, count = table.shape
    words = max(-(-volume // 64), 1)
    keys = xp.empty((words, count), np.uint64)
    ranks = xp.asarray(offset_ranks(offset_starts))
    sizes = np.int64(count), np.int32(volume), np.int32(words)
    _run("gray_keys", count, (table, ranks, keys, *sizes), tile_rows)
    return xp.argsort(keys[0], kind="stable") if words == 1 else xp.lexsort(keys[::-1])


def _run(entry: str, threads: int, arguments: tuple, tile_rows: int) -> None:
    elementwise("tile_map.cu", entry, threads, arguments, TILE_ROWS=tile_rows)
