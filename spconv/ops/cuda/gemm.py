"""Matrix products on the GPU: sparse convolutions, their gradients, and plain ones among them.

Tile maps and lists of tasks are made once for each rulebook. A plain product is a convolution of
one kernel offset that joins every row to itself, so that nothing but the driver, NVRTC and CuPy
itself is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from spconv.cached import cached_property
from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.ops.cuda.arithmetic import ARITHMETIC, kind_of, storage_of
from spconv.ops.cuda.compiler import NULL, Launch, kernel, source
from spconv.ops.cuda.kernel_store import KernelRulebookStore
from spconv.ops.cuda.kernel_tile_map import kernel_tile_map
from spconv.ops.cuda.launch import check_grid, elementwise
from spconv.ops.cuda.tasks import Tasks, make_tasks
from spconv.ops.cuda.tile_map import TileMap, identity_tile_map
from spconv.ops.cuda.tiles import (
    TILE_ROWS,
    Tile,
    candidate_gradient_tiles,
    candidate_tiles,
    longest_task,
)
from spconv.ops.cuda.tuner import Tuner, cache_file, event_timer
from spconv.ops.epilogue import Epilogue
from spconv.ops.settings import get_cuda_tuning
from spconv.rulebook import Rulebook

ALIGNMENT = 16
STATIC_SHARED = 48 * 1024
"""Dynamic shared memory that a kernel may have without asking."""
TILES = "tile map"
BITS = np.dtype(np.uint16)
"""Of bfloat16 numbers, which neither NumPy nor every CuPy has."""


class CudaGemm:
    """Launches of the convolution kernels; ``xp`` is ``cupy``."""

    def __init__(self, xp: Any, store: KernelRulebookStore) -> None:
        self.xp = xp
        self._store = store
        self._memo = store.memo
        self._identity = lru_cache(maxsize=8)(self._identity_map)
        self._identity_pairs = lru_cache(maxsize=8)(self._make_identity_pairs)
        # A launch takes a few microseconds; looking these up anew would double them.
        self._kernel = lru_cache(maxsize=None)(self._make_kernel)
        self._architecture = lru_cache(maxsize=None)(self._find_architecture)

    def convolve(
        self,
        x_nc: Array,
        w_kco: Array,
        rulebook: Rulebook,
        groups: int,
        *,
        transposed: bool,
        epilogue: Epilogue,
    ) -> Array:
        """As :meth:`spconv.ops.Ops.convolve`."""
        mirrored = self._is_mirrored(rulebook, transposed)
        tiles = self.tile_map(rulebook.inverse if mirrored else rulebook)
        mode, num_out = (int(transposed), int(mirrored)), len(rulebook.out_sites)
        return self._multiply(
            x_nc, w_kco, tiles, num_out, groups=groups, mode=mode, epilogue=epilogue
        )

    def matmul(self, x_nc: Array, w_co: Array, init_o: Array | None) -> Array:
        """``x w + init``."""
        rows = len(x_nc)
        tiles, epilogue = self._identity(rows, self._memo.device), Epilogue(init_o)
        return self._multiply(x_nc, w_co[None], tiles, rows, mode=(0, 0), epilogue=epilogue)

    def weight_gradient(self, x_nc: Array, dy_no: Array, rulebook: Rulebook, groups: int) -> Array:
        """As :meth:`spconv.ops.Ops.weight_gradient`."""
        size = x_nc.shape[1] // groups * dy_no.shape[1]
        longest = longest_task(int(rulebook.offset_starts[-1]), size)
        # Those of an inverse are the same.
        kept, name = self._memo.of(rulebook.origin or rulebook), ("tasks", longest)
        if name not in kept:
            counts = self._store.counts(rulebook)
            kept[name] = make_tasks(self.xp, rulebook.offset_starts, longest, counts)
        pairs = self._store.pairs(rulebook)
        return self._gradient(x_nc, dy_no, pairs, kept[name], groups)

    def matmul_gradient(self, x_nc: Array, dy_no: Array) -> Array:
        """``x^T dy``."""
        size, rows = x_nc.shape[1] * dy_no.shape[1], len(x_nc)
        pairs, tasks = self._identity_pairs(rows, size, self._memo.device)
        return self._gradient(x_nc, dy_no, pairs, tasks)[0]

    def tile_map(self, rulebook: Rulebook) -> TileMap:
        """The tile map of a rulebook, made once."""
        kept = self._memo.of(rulebook)
        if TILES not in kept:
            table, counts = self._store.table(rulebook), self._store.counts(rulebook)
            given = self._store.scratch, table, rulebook.offset_starts, TILE_ROWS, counts
            kept[TILES] = kernel_tile_map(*given)
        return kept[TILES]

    def _is_mirrored(self, rulebook: Rulebook, transposed: bool) -> bool:
        """Whether the tile map of the forward pass serves this input gradient.

        Offset K - 1 - k of a symmetric submanifold kernel leads back from where k led to.
        """
        return (
            transposed
            and not self._memo.has(rulebook, TILES)
            and rulebook.geometry.symmetric
            and self._memo.has(rulebook.inverse, TILES)
        )

    def _multiply(
        self,
        x_nc: Array,
        w_kco: Array,
        tiles: TileMap,
        num_out: int,
        *,
        groups: int = 1,
        mode: tuple[int, int],
        epilogue: Epilogue,
    ) -> Array:
        init, residual, slope = epilogue
        kind, wide = kind_of(x_nc.dtype), math_type(x_nc.dtype)
        volume, cin, width = w_kco.shape
        cout = width // groups
        storage, device = ARITHMETIC[kind].storage, self._memo.device
        architecture = self._architecture(device)
        packed = self._pack(w_kco, groups, mode, kind, architecture)
        if mode[0]:
            cin, cout = cout, cin
        y = self.xp.empty((num_out, groups * cout), x_nc.dtype)
        if not y.size:
            return y
        arguments = (
            self._operand(x_nc, storage),
            packed,
            y,
            NULL if init is None else self._aligned(init.astype(wide, copy=False)),
            NULL if residual is None else self._dense(residual.astype(y.dtype, copy=False)),
            tiles.starts,
            tiles.offsets,
            tiles.in_rows,
            tiles.groups,
            tiles.out_rows,
            np.int32(num_out),
            np.int32(cin),
            np.int32(cout),
            np.int32(volume),
            wide(1 if slope is None else slope),
        )
        output = storage_of(y.dtype)

        def launch(tile: Tile) -> None:
            function = self._kernel(tile, device, output)
            grid = tile.grid(tiles.num_tiles, cout, groups)
            function(grid, (tile.block,), arguments, shared_mem=tile.shared_bytes)

        shape = kind, output, cin, cout, groups, volume, num_out.bit_length()
        self._run(candidate_tiles(kind, cin, cout, architecture), shape, launch)
        return y

    def _run(
        self, tiles: tuple[Tile, ...], shape: tuple[str | int, ...], launch: Callable[[Tile], None]
    ) -> None:
        """Launch the first of the tiles or, if tuning is on, the fastest for this shape."""
        tile = tiles[0]
        if get_cuda_tuning() and len(tiles) > 1:
            text = hashlib.sha256(source(f"{tile.kernel}.cu").encode()).hexdigest()[:12]
            key = " ".join(map(str, (self._device_name, text, *shape)))
            tile = self._tuner.choose(key, tiles, launch)
        launch(tile)

    @cached_property
    def _tuner(self) -> Tuner:
        return Tuner(cache_file(), event_timer(self.xp))

    @property
    def _device_name(self) -> str:
        device = self.xp.cuda.Device()
        return self.xp.cuda.runtime.getDeviceProperties(device.id)["name"].decode()

    def _pack(
        self, w_kco: Array, groups: int, mode: tuple[int, int], kind: str, architecture: int
    ) -> Array:
        """Weights as the kernels read them, (groups, K, rows, row length)."""
        transposed, mirrored = mode
        check_grid("CudaOps", "groups", groups)
        volume, cin, width = w_kco.shape
        cout = width // groups
        rows, columns = (cin, cout) if transposed else (cout, cin)
        storage, weight, dtype = ARITHMETIC[kind].storage, storage_of(w_kco.dtype), w_kco.dtype
        if storage != weight:
            dtype = BITS
        padded = columns + -columns % (ALIGNMENT // dtype.itemsize)
        rounded = kind == "tf32" and architecture >= 80
        in_order = transposed and not mirrored and groups == 1 and padded == columns
        if in_order and storage == weight and not rounded:
            return self._aligned(w_kco)  # packed, they would be the same bytes
        packed = self.xp.empty((groups, volume, rows, padded), dtype)
        if packed.size:
            sizes = map(np.int32, (groups, volume, cin, cout, transposed, mirrored))
            arguments = self._dense(w_kco), packed, *sizes
            elementwise(
                "pack_weights.cu",
                "pack_weights",
                packed.size,
                arguments,
                STORAGE=storage,
                WEIGHT=weight,
                ROUND_TF32=int(rounded),
            )
        return packed

    def _gradient(
        self,
        x_nc: Array,
        dy_no: Array,
        pairs: tuple[Array, Array],
        tasks: Tasks,
        groups: int = 1,
    ) -> Array:
        kind, wide = kind_of(x_nc.dtype), math_type(x_nc.dtype)
        task_starts, offset_tasks = tasks
        cin, cout = x_nc.shape[1] // groups, dy_no.shape[1] // groups
        volume, num_tasks = len(offset_tasks) - 1, len(task_starts) - 1
        check_grid("CudaOps", "kernel offsets", volume)
        check_grid("CudaOps", "groups", groups)
        size = cin * groups * cout
        dw = self.xp.empty((volume, cin, groups * cout), x_nc.dtype)
        if not dw.size:
            return dw
        partials = self.xp.empty((num_tasks, size), wide)
        if num_tasks:
            x, dy = (self._operand(array, ARITHMETIC[kind].storage) for array in (x_nc, dy_no))
            arguments = x, dy, partials, *pairs, task_starts, np.int32(cin), np.int32(cout)
            device = self._memo.device
            architecture = self._architecture(device)

            def launch(tile: Tile) -> None:
                blocks = -(-cin // tile.rows) * -(-cout // tile.columns)
                check_grid("CudaOps", "tiles of a weight's gradient", blocks)
                grid = num_tasks, blocks, groups
                function = self._kernel(tile, device)
                function(grid, (tile.block,), arguments, shared_mem=tile.shared_bytes)

            shape = kind, "gradient", cin, cout, groups, volume, num_tasks.bit_length()
            candidates = candidate_gradient_tiles(kind, cin, cout, architecture)
            self._run(candidates, shape, launch)
        added, output = (partials, dw, offset_tasks, np.int64(size)), storage_of(x_nc.dtype)
        elementwise(
            "reduce_partials.cu", "reduce_partials", size, added, rows=volume, STORAGE=output
        )
        return dw

    def _make_kernel(self, tile: Tile, device: int, output: str | None = None) -> Launch:
        macros = tile.macros if output is None else {**tile.macros, "OUTPUT": output}
        function: Any = kernel(f"{tile.kernel}.cu", tile.kernel, **macros)
        if tile.shared_bytes > STATIC_SHARED:
            function.max_dynamic_shared_size_bytes = tile.shared_bytes
        return function

    def _find_architecture(self, device: int) -> int:
        return int(self.xp.cuda.Device(device).compute_capability)

    def _identity_map(self, rows: int, device: int) -> TileMap:
        return identity_tile_map(self.xp, rows, TILE_ROWS)

    def _make_identity_pairs(
        self, rows: int, size: int, device: int
    ) -> tuple[tuple[Array, Array], Tasks]:
        count, starts = self.xp.arange(rows, dtype=np.int32), np.array([0, rows], np.int64)
        return (count, count), make_tasks(self.xp, starts, longest_task(rows, size), None)

    def _operand(self, array: Array, storage: str) -> Array:
        """As the kernels of a storage type read it: of that type, and aligned."""
        if storage == storage_of(array.dtype):
            return self._aligned(array)
        bits = self.xp.empty(array.shape, BITS)
        arguments = self._dense(array), bits, np.int64(array.size)
        source = storage_of(array.dtype)
        elementwise("convert.cu", "convert", array.size, arguments, STORAGE=storage, FROM=source)
        return bits

    def _dense(self, array: Array) -> Array:
        return self.xp.ascontiguousarray(array)

    def _aligned(self, array: Array) -> Array:
        """Contiguous, and where the kernels' widest copies may start."""
        array = self.xp.ascontiguousarray(array)
        return array.copy() if array.data.ptr % ALIGNMENT else array
