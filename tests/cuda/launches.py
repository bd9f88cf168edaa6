"""Calls of the convolution kernels as the GPU engine makes them, in the emulation."""

from __future__ import annotations

import numpy as np
from convolutions import Pairs, from_storage, kernel_array, pack, to_storage, to_tf32
from emulation import emulate
from numpy.typing import NDArray

from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.ops.cuda.tile_map import TileMap, build_tile_map
from spconv.ops.cuda.tiles import (
    Tile,
    choose_gradient_tile,
    choose_tile,
    longest_task,
    split_pairs,
)

NULL = np.intp(0)


def accumulator(kind: str) -> type:
    return np.float64 if kind == "float64" else np.float32


def tile_map(pairs: Pairs, tile_rows: int = 64) -> TileMap:
    return build_tile_map(np, pairs.in_rows, pairs.out_rows, pairs.starts, pairs.num_out, tile_rows)


def run_convolution(
    kind: str,
    x: NDArray,
    packed: NDArray,
    tiles: TileMap,
    cin: int,
    cout: int,
    groups: int = 1,
    *,
    init: NDArray | None = None,
    residual: NDArray | None = None,
    slope: float = 1,
    tile: Tile | None = None,
    **options,
) -> NDArray[np.float64]:
    """x, packed and residual in the storage format of ``kind``; float64 result."""
    tile = tile or choose_tile(kind, cin, cout)
    y = to_storage(np.full((len(tiles.out_rows), groups * cout), np.nan), ARITHMETIC[kind].storage)
    if not tiles.num_tiles:
        return from_storage(y)
    real = accumulator(kind)
    arguments = (
        kernel_array(x),
        kernel_array(packed),
        kernel_array(y),
        NULL if init is None else init.astype(real),
        NULL if residual is None else kernel_array(residual),
        tiles.starts,
        tiles.offsets,
        tiles.in_rows,
        tiles.groups,
        tiles.out_rows,
        *map(np.int32, (len(y), cin, cout, packed.shape[1])),
        real(slope),
    )
    emulate(
        tile.kernel,
        tile.grid(tiles.num_tiles, cout, groups),
        tile.block,
        arguments,
        defines=tile.macros,
        shared=tile.shared_bytes,
        **options,
    )
    return from_storage(y)


def run_weight_gradient(
    kind: str,
    x: NDArray,
    dy: NDArray,
    pairs: Pairs,
    groups: int = 1,
    *,
    tile: Tile | None = None,
    split=split_pairs,
    **options,
) -> NDArray:
    """x and dy in the storage format of ``kind``; (K, cin, groups * cout) in its accumulator."""
    cin, cout = x.shape[1] // groups, dy.shape[1] // groups
    tile = tile or choose_gradient_tile(kind, cin, cout)
    size = cin * groups * cout
    task_starts, offset_tasks = split(pairs.starts, longest_task(int(pairs.starts[-1]), size))
    real = accumulator(kind)
    partials = np.full((len(task_starts) - 1, size), np.nan, real)
    result = np.full((pairs.volume, cin, groups * cout), np.nan, real)
    if len(partials):
        tiles = -(-cin // tile.rows) * -(-cout // tile.columns)
        emulate(
            tile.kernel,
            (len(partials), tiles, groups),
            tile.block,
            (
                kernel_array(x),
                kernel_array(dy),
                partials,
                pairs.in_rows,
                pairs.out_rows,
                task_starts,
                np.int32(cin),
                np.int32(cout),
            ),
            defines=tile.macros,
            shared=tile.shared_bytes,
            **options,
        )
    emulate(
        "reduce_partials",
        (-(-size // 256), pairs.volume),
        256,
        (partials, result, offset_tasks, np.int64(size)),
        defines={"STORAGE": "double" if kind == "float64" else "float"},
    )
    return result


def convolution_case(rng, kind, pairs, cin, cout, groups=1):
    """Random features and weights, in storage format and as float64."""
    storage = ARITHMETIC[kind].storage
    x = to_storage(rng.standard_normal((pairs.num_in, groups * cin)), storage)
    w = to_storage(rng.standard_normal((pairs.volume, cin, groups * cout)), storage)
    packed = pack(to_tf32(w) if kind == "tf32" else w, groups)
    return x, w, packed, from_storage(x), from_storage(w)
