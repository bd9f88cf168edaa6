"""The tile map: a rulebook as the GPU kernels read it.

Output rows that miss the same kernel offsets are brought together: rows are sorted by their offset
masks, cut into tiles, and a tile lists only the offsets that one of its rows has. The sort key
is the mask with the rarest offset in its highest bit, read as a Gray code: neighbours in Gray order
differ in few offsets (on LiDAR scans this leaves 12-14 % fewer multiplications than the plain
order of the masks).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array

GROUP = 16
"""Rows of one tensor-core fragment, whose multiplications are left out if all are missing."""


@dataclass(frozen=True, eq=False)
class TileMap:
    """Sorted output rows in tiles, and the input rows of every (tile, kernel offset) that exists.

    Parameters
    ----------
    out_rows : int32 array (N_out,)
        Output row of every sorted position; tile t holds positions ``t * tile_rows`` and on.
    starts : int32 array (T + 1,)
        Entries ``starts[t]:starts[t + 1]`` belong to tile t, in ascending order of offsets.
    offsets : int32 array (E,)
        Kernel offset of every entry; there may be room behind the last one, ``starts[-1]``.
    in_rows : int32 array (E, tile_rows)
        Input row of every position of the entry's tile, -1 for none.
    groups : uint32 array (E,)
        Bit i: at least one of the rows ``16 i`` to ``16 i + 15`` is there.
    """

    out_rows: Array
    starts: Array
    offsets: Array
    in_rows: Array
    groups: Array

    @property
    def num_tiles(self) -> int:
        return len(self.starts) - 1

    @property
    def tile_rows(self) -> int:
        return self.in_rows.shape[1]


def build_tile_map(
    xp: ModuleType,
    in_rows: Array,
    out_rows: Array,
    offset_starts: NDArray[np.int64],
    num_out: int,
    tile_rows: int = 64,
) -> TileMap:
    """Build the tile map of a rulebook: the specification of kernels/cuda/tile_map.cu.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    in_rows, out_rows : int32 array (P,)
        Pairs grouped by offset, as in :class:`~spconv.rulebook.Rulebook`; arrays of ``xp``.
    offset_starts : int64 ndarray (K + 1,)
        Always a NumPy array.
    num_out : int
        Number of output rows.
    tile_rows : int
        Rows of a tile, a multiple of 16 up to 512.

    Examples
    --------
    Two output rows with offset 1 only, one with both offsets:

    >>> rows = np.array([7, 4, 5, 6], np.int32), np.array([1, 0, 1, 2], np.int32)
    >>> tiles = build_tile_map(np, *rows, np.array([0, 1, 4]), num_out=3, tile_rows=16)
    >>> tiles.out_rows.tolist(), tiles.offsets.tolist()
    ([0, 2, 1], [0, 1])
    >>> tiles.in_rows[:, :4].tolist()
    [[-1, -1, 7, -1], [4, 6, 5, -1]]
    """
    if tile_rows % GROUP or not 0 < tile_rows <= 32 * GROUP:
        raise ValueError(
            f"build_tile_map: tile_rows must be a multiple of {GROUP} up to {32 * GROUP}, "
            f"got {tile_rows}"
        )
    volume = len(offset_starts) - 1
    num_tiles = -(-num_out // tile_rows)
    order = _sorted_rows(xp, out_rows, offset_starts, num_out)
    position = xp.empty(num_out, xp.int64)
    position[order] = xp.arange(num_out)

    place = position[out_rows]
    pairs = xp.arange(len(out_rows))
    offset = xp.searchsorted(xp.asarray(offset_starts[1:]), pairs, side="right")
    cell = place // tile_rows * volume + offset
    present = xp.zeros(num_tiles * volume, bool)
    present[cell] = True
    entry = xp.cumsum(present) - 1  # of every cell that is present
    counts = present.reshape(num_tiles, volume).sum(axis=1)
    starts = xp.zeros(num_tiles + 1, xp.int32)
    starts[1:] = xp.cumsum(counts)
    cells = xp.flatnonzero(present)

    rows = xp.full((len(cells), tile_rows), -1, xp.int32)
    rows[entry[cell], place % tile_rows] = in_rows
    there = (rows.reshape(len(cells), tile_rows // GROUP, GROUP) >= 0).any(axis=2)
    bits = xp.asarray(1 << np.arange(tile_rows // GROUP, dtype=np.int64))
    groups = (there * bits).sum(axis=1)
    return TileMap(
        out_rows=order.astype(xp.int32),
        starts=starts,
        offsets=(cells % max(volume, 1)).astype(xp.int32),
        in_rows=rows,
        groups=groups.astype(xp.uint32),
    )


def identity_tile_map(xp: ModuleType, rows: int, tile_rows: int = 64) -> TileMap:
    """The tile map of one kernel offset that joins every row to itself: a plain product.

    >>> tiles = identity_tile_map(np, 70)
    >>> tiles.starts.tolist(), tiles.in_rows[1, :7].tolist(), tiles.groups.tolist()
    ([0, 1, 2], [64, 65, 66, 67, 68, 69, -1], [15, 1])
    """
    num_tiles = -(-rows // tile_rows)
    numbers = xp.arange(num_tiles * tile_rows, dtype=np.int32)
    groups = np.full(num_tiles, (1 << tile_rows // GROUP) - 1, np.uint32)
    groups[-1:] >>= tile_rows // GROUP - -(-(rows - (num_tiles - 1) * tile_rows) // GROUP)
    return TileMap(
        out_rows=numbers[:rows],
        starts=xp.arange(num_tiles + 1, dtype=np.int32),
        offsets=xp.zeros(num_tiles, np.int32),
        in_rows=xp.where(numbers < rows, numbers, np.int32(-1)).reshape(num_tiles, tile_rows),
        groups=xp.asarray(groups),
    )


def offset_ranks(offset_starts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Bit (K,) of every offset in the masks that rows are sorted by: the rarest is the highest.

    >>> offset_ranks(np.array([0, 5, 6, 9])).tolist()
    [0, 2, 1]
    """
    ranks = np.empty(len(offset_starts) - 1, np.int32)
    ranks[np.argsort(-np.diff(offset_starts), kind="stable")] = np.arange(len(ranks))
    return ranks


def _sorted_rows(
    xp: ModuleType, out_rows: Array, offset_starts: NDArray[np.int64], num_out: int
) -> Array:
    """Output rows in the Gray order of their offset masks, ties in the order of rows."""
    words = _offset_masks(xp, out_rows, offset_starts, num_out)
    flip = xp.zeros(num_out, bool)  # the parity of all higher bits
    for word in words:
        for shift in (1, 2, 4, 8, 16, 32):
            word ^= word >> xp.uint64(shift)
        word ^= flip * xp.uint64(2**64 - 1)
        flip = (word & xp.uint64(1)).astype(bool)
    if len(words) == 1:
        return xp.argsort(words[0], kind="stable")
    return xp.lexsort(words[::-1])


def _offset_masks(
    xp: ModuleType, out_rows: Array, offset_starts: NDArray[np.int64], num_out: int
) -> Array:
    """Offset mask of every output row, uint64 (words, N_out), most significant word first.

    The rarest offset has the most significant bit.
    """
    num_words = max(-(-(len(offset_starts) - 1) // 64), 1)
    words = xp.zeros((num_words, num_out), xp.uint64)
    for offset, bit in enumerate(offset_ranks(offset_starts).tolist()):
        # No output row occurs twice in one offset, so plain indexing adds every bit.
        rows = out_rows[offset_starts[offset] : offset_starts[offset + 1]]
        words[num_words - 1 - bit // 64, rows] |= xp.uint64(1 << bit % 64)
    return words
