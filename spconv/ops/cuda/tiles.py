"""Static choice of tile sizes for the convolution kernels of ``kernels/cuda``.

The sizes are those that were fastest on an H100 for the layers of ``benchmarks/gpu.py``. Every
choice depends on shapes and types only, so results do not either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spconv.ops.cuda.arithmetic import ARITHMETIC, Arithmetic

TILE_ROWS = 64
"""Output rows of a tile: one tile map serves all layers on a rulebook."""

MIN_PAIRS = 512
TARGET_TASKS = 512
MAX_PARTIALS = 1 << 24


@dataclass(frozen=True)
class Tile:
    """How to compile and launch a kernel.

    Parameters
    ----------
    kernel : str
        Name of the source and of the kernel.
    rows, columns : int
        Output elements of one block: ``TILE_M`` and ``TILE_N``.
    block : int
        Threads.
    shared_bytes : int
        Dynamic shared memory; above 48 KB the limit of the kernel has to be raised.
    macros : dict of str to str or int
    """

    kernel: str
    rows: int
    columns: int
    block: int
    shared_bytes: int
    macros: dict[str, str | int] = field(hash=False)

    @property
    def label(self) -> str:
        """Name among the candidates for one product.

        >>> choose_tile("float16", 64, 64).label
        'implicit_gemm 64x64x128 3 stages'
        """
        depth = self.macros.get("TILE_K", self.macros.get("TILE_PAIRS", 0))
        size = f"{self.rows}x{self.columns}x{depth}"
        room = int(self.macros.get("MIN_BLOCKS", 1))
        blocks = f", {room} blocks" if room > 1 else ""
        return f"{self.kernel} {size} {self.macros.get('STAGES', 1)} stages{blocks}"

    def grid(self, outer: int, size: int, groups: int = 1) -> tuple[int, int, int]:
        """Grid of the convolution: tiles of the map, ``cout`` of a group, groups.

        >>> choose_tile("float16", 32, 200).grid(1000, 200)
        (1000, 4, 1)
        """
        return outer, -(-size // self.columns), groups


def choose_tile(kind: str, cin: int, cout: int, architecture: int = 80) -> Tile:
    """Tile of :file:`implicit_gemm.cu` or, without tensor cores, :file:`implicit_gemm_simt.cu`.

    Parameters
    ----------
    kind : {"float16", "bfloat16", "tf32", "float32", "float64"}
        "tf32" and "float32" store float32; "tf32" rounds operands to 11 bits, "float32" splits
        them into two such numbers.
    cin, cout : int
        Channels of one group, of the product at hand: exchanged for the input gradient.
    architecture : int
        Ten times the compute capability; below 80 nothing uses tensor cores.

    Examples
    --------
    >>> tile = choose_tile("bfloat16", 64, 96)
    >>> tile.kernel, tile.columns, tile.shared_bytes, tile.macros["X_WIDTH"]
    ('implicit_gemm', 96, 61440, 16)
    >>> choose_tile("float64", 64, 96).kernel
    'implicit_gemm_simt'
    """
    storage, size, multiply, _ = _arithmetic(kind, "choose_tile")
    if multiply is None or architecture < 80:
        return _simt_tile("implicit_gemm_simt", storage, TILE_ROWS, 32 if cout <= 32 else 64)
    columns = next((n for n in (16, 32, 64, 96) if cout <= n), 64)
    return _gemm_tile(kind, cin, columns, *_depths(cin * size)[0])


def _depths(row_bytes: int) -> list[tuple[int, int]]:
    """Bytes of a row in one stage, and stages: the fastest on an H100 first.

    Long pieces, unless the end of a row would leave the last one half empty.
    """
    if row_bytes <= 32:
        return [(32, 4)]
    shallow, deep = (64, 4), (128, 3)
    if -(-row_bytes // 128) * 128 > -(-row_bytes // 64) * 64:
        return [shallow, deep] if row_bytes > 64 else [shallow, (32, 4)]
    return [deep, shallow]


@cache
def candidate_tiles(kind: str, cin: int, cout: int, architecture: int = 80) -> tuple[Tile, ...]:
    """Tiles among which a tuner may choose, :func:`choose_tile` first.

    They differ in columns, depth and stages. Every sum adds the same fragments of 32 bytes in the
    same order in all of them, so their results have the same bits; other rows of a tile or other
    products of fragments would not.

    >>> [tile.label.split(" ", 1)[1] for tile in candidate_tiles("float16", 32, 64)]
    ['64x64x64 4 stages', '64x64x32 4 stages', '64x32x64 4 stages', '64x32x32 4 stages']
    """
    first = choose_tile(kind, cin, cout, architecture)
    if "STAGES" not in first.macros:
        return (first,)
    other = {64: 32 if cout <= 64 else 128, 96: 64}.get(first.columns)
    wide = [first.columns] if other is None else [first.columns, other]
    shapes = [
        (columns, *depth) for columns in wide for depth in _depths(cin * ARITHMETIC[kind].size)
    ]
    tiles = [_gemm_tile(kind, cin, *shape) for shape in shapes]
    if kind == "float32":
        tiles += [_gemm_tile(kind, cin, *shape, min_blocks=1) for shape in shapes]
    return tuple(dict.fromkeys(tiles))


def choose_gradient_tile(kind: str, cin: int, cout: int, architecture: int = 80) -> Tile:
    """Tile of :file:`weight_gradient.cu` or :file:`weight_gradient_simt.cu`.

    Parameters as for :func:`choose_tile`; its grid is ``(num_tasks, ceil(cin / rows) * ceil(cout
    / columns), groups)``.

    Examples
    --------
    >>> tile = choose_gradient_tile("float16", 64, 128)
    >>> tile.rows, tile.columns, tile.block
    (64, 128, 128)
    """
    storage, size, multiply, _ = _arithmetic(kind, "choose_gradient_tile")
    if multiply is None or architecture < 80:
        return _simt_tile(
            "weight_gradient_simt", storage, 32 if cin <= 32 else 64, 32 if cout <= 32 else 64
        )
    if size == 4 and 64 < cin <= 96 and 64 < cout <= 96:
        columns = 96 if kind == "tf32" else 32  # two tiles of 64 are half empty
        return _gradient_tile(kind, cin, cout, (96, columns), 3)
    widest = 128 if size == 2 else 64
    rows = next((m for m in (16, 32, 64) if cin <= m), widest)
    # 64 x 128 sums and what "float32" holds beside them are more than a thread's registers.
    most = 64 if kind == "float32" and rows == 64 else 128
    columns = next((n for n in (16, 32, 64) if cout <= n), most)
    stages = {"tf32": 2, "float32": 3}.get(kind, 4)
    return _gradient_tile(kind, cin, cout, (rows, columns), stages)


@cache
def candidate_gradient_tiles(
    kind: str, cin: int, cout: int, architecture: int = 80
) -> tuple[Tile, ...]:
    """As :func:`candidate_tiles`, of the weight gradient."""
    first = choose_gradient_tile(kind, cin, cout, architecture)
    if "STAGES" not in first.macros:
        return (first,)
    sizes = [(first.rows, first.columns)]
    halves = (first.rows // 2, first.columns), (first.rows, first.columns // 2)
    sizes += [half for half in halves if min(half) >= 32 and not any(n % 32 for n in half)]
    most = int(first.macros["STAGES"])
    others = (most, most + 1 if most == 2 else most - 1)
    return tuple(
        _gradient_tile(kind, cin, cout, shape, stages) for shape in sizes for stages in others
    )


def longest_task(num_pairs: int, size: int) -> int:
    """Pairs of one task of the weight gradient, at most.

    Parameters
    ----------
    num_pairs : int
        Of all offsets.
    size : int
        Elements of one partial sum, ``cin * groups * cout``: of K offsets there are at most K tasks
        more than fit :data:`MAX_PARTIALS` elements.
    """
    wanted = max(1, min(TARGET_TASKS, MAX_PARTIALS // max(size, 1)))
    return max(MIN_PAIRS, -(-num_pairs // wanted))


def split_pairs(
    offset_starts: NDArray[np.int64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Cut the pairs of every offset into tasks of the weight gradient.

    Parameters
    ----------
    offset_starts : int64 ndarray (K + 1,)
    longest : int
        See :func:`longest_task`.

    Returns
    -------
    task_starts : int64 ndarray (num_tasks + 1,)
        Task t holds the pairs ``task_starts[t]:task_starts[t + 1]``, all of one offset, never
        none.
    offset_tasks : int32 ndarray (K + 1,)
        Tasks of offset k: ``offset_tasks[k]:offset_tasks[k + 1]``.

    Examples
    --------
    >>> split_pairs(np.array([0, 600, 600, 700]), longest=512)
    (array([  0, 300, 600, 700]), array([0, 2, 2, 3], dtype=int32))
    """
    counts = np.diff(offset_starts)
    tasks = -(-counts // longest)
    offset_tasks = np.concatenate([[0], np.cumsum(tasks)])
    offset = np.repeat(np.arange(len(counts)), tasks)
    number = np.arange(len(offset)) - offset_tasks[offset]
    starts = offset_starts[offset] + counts[offset] * number // np.maximum(tasks[offset], 1)
    return (
        np.append(starts, offset_starts[-1]).astype(np.int64),
        offset_tasks.astype(np.int32),
    )


def copy_width(row_bytes: int) -> int:
    """Bytes that one copy may move: rows of ``row_bytes`` bytes start at multiples of it."""
    return next(width for width in (16, 8, 4, 2) if row_bytes % width == 0)


def _arithmetic(kind: str, owner: str) -> Arithmetic:
    if kind not in ARITHMETIC:
        raise ValueError(f"{owner}: expected one of {sorted(ARITHMETIC)}, got {kind!r}")
    return ARITHMETIC[kind]


def _gemm_tile(
    kind: str, cin: int, columns: int, depth: int, stages: int, min_blocks: int | None = None
) -> Tile:
    storage, size, _, multiply = ARITHMETIC[kind]
    warps = (4, 1) if columns == 16 else (2, 2)
    # Left to itself the assembler unrolls what "float32" splits and sums until few blocks fit.
    steps, blocks = (2, 3 if columns <= 64 else 1) if kind == "float32" else (4, 1)
    macros: dict[str, str | int] = {
        "STORAGE": storage,
        "MULTIPLY": str(multiply),
        "TILE_M": TILE_ROWS,
        "TILE_N": columns,
        "TILE_K": depth,
        "WARPS_M": warps[0],
        "WARPS_N": warps[1],
        "STAGES": stages,
        "STEPS_UNROLLED": steps,
        "MIN_BLOCKS": blocks if min_blocks is None else min_blocks,
        "X_WIDTH": copy_width(cin * size),
    }
    shared = stages * (TILE_ROWS + columns) * depth
    return Tile("implicit_gemm", TILE_ROWS, columns, 128, shared, macros)


def _gradient_tile(kind: str, cin: int, cout: int, shape: tuple[int, int], stages: int) -> Tile:
    storage, size, multiply, _ = ARITHMETIC[kind]
    rows, columns = shape
    warps = (1 if rows == 16 else 2, 1 if columns == 16 else 2)
    padding = 16 if size == 2 else 32
    macros: dict[str, str | int] = {
        "STORAGE": storage,
        "MULTIPLY": str(multiply),
        "TILE_M": rows,
        "TILE_N": columns,
        "TILE_PAIRS": 32,
        "WARPS_M": warps[0],
        "WARPS_N": warps[1],
        "STAGES": stages,
        "X_WIDTH": copy_width(cin * size),
        "DY_WIDTH": copy_width(cout * size),
    }
    shared = stages * 32 * ((rows + columns) * size + 2 * padding)
    return Tile("weight_gradient", rows, columns, 32 * warps[0] * warps[1], shared, macros)


def _simt_tile(kernel: str, storage: str, rows: int, columns: int) -> Tile:
    macros: dict[str, str | int] = {"STORAGE": storage, "TILE_M": rows, "TILE_N": columns}
    return Tile(kernel, rows, columns, 256, 0, macros)
