"""The GPU engine: CuPy arrays, CUDA kernels compiled when they are first used.

Every kernel goes through NVRTC for sm_80, sm_90 and sm_100, and is run on the CPU by an emulation
and compared with the specification; tested and measured on an H100 (sm_90).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from spconv.compat import Array, import_cupy
from spconv.dtypes import math_type
from spconv.geometry import Geometry
from spconv.ops.cuda.compiler import NULL
from spconv.ops.cuda.gemm import CudaGemm
from spconv.ops.cuda.kernel_store import KernelRulebookStore
from spconv.ops.cuda.normalization import CudaNormalization
from spconv.ops.cuda.optimizer import optimizer_step, unscale
from spconv.ops.cuda.samples import max_samples, sum_samples, sum_segments
from spconv.ops.epilogue import PLAIN, Epilogue
from spconv.rulebook import Rulebook
from spconv.sites import SiteSet


class CudaOps(CudaNormalization):
    """CuPy arrays: float32, float64, float16, or bfloat16 where CuPy has it.

    Sums run in float32 (float64 arrays: in float64, and so do all sums over sites) and in a fixed
    order: the same bits every time.

    Arrays that are cached, with a rulebook or for all of one geometry, are made on the stream that
    first needs them: use one stream, or synchronize before another computes. They are kept for
    each device.

    Raises
    ------
    ImportError
        If CuPy is not installed; names the extra to install.
    """

    def __init__(self) -> None:
        self._store = KernelRulebookStore(import_cupy())
        super().__init__(self._store.scratch)
        self._gemm = CudaGemm(self.xp, self._store)

    def build_rulebook(self, sites: SiteSet, geometry: Geometry, owner: str) -> Rulebook:
        return self._store.build(sites, geometry, owner)

    def convolve(
        self,
        x_nc: Array,
        w_kco: Array,
        rulebook: Rulebook,
        groups: int = 1,
        *,
        transposed: bool = False,
        epilogue: Epilogue = PLAIN,
    ) -> Array:
        return self._gemm.convolve(
            x_nc, w_kco, rulebook, groups, transposed=transposed, epilogue=epilogue
        )

    def weight_gradient(
        self, x_nc: Array, dy_no: Array, rulebook: Rulebook, groups: int = 1
    ) -> Array:
        return self._gemm.weight_gradient(x_nc, dy_no, rulebook, groups)

    def matmul(self, x_nc: Array, w_co: Array, init_o: Array | None = None) -> Array:
        return self._gemm.matmul(x_nc, w_co, init_o)

    def matmul_gradient(self, x_nc: Array, dy_no: Array) -> Array:
        return self._gemm.matmul_gradient(x_nc, dy_no)

    def small_matmul(self, a_gnc: Array, b_gco: Array) -> Array:
        # Not CuPy's product: that needs cuBLAS, which its wheels do not bring.
        return (a_gnc[..., None] * b_gco[:, None]).sum(axis=2)

    def sum_pairs(self, x_nc: Array, rulebook: Rulebook) -> Array:
        shape = len(rulebook.out_sites), x_nc.shape[1]
        y = self.xp.empty(shape, math_type(x_nc.dtype))
        self._pool("sum_table", x_nc, rulebook, self._dense(x_nc), self._table(rulebook), y)
        return y

    def max_pairs(
        self, x_nc: Array, rulebook: Rulebook, ground_c: Array | None = None
    ) -> tuple[Array, Array]:
        y = self._new(x_nc, len(rulebook.out_sites), x_nc.shape[1])
        winner = self.xp.empty(y.shape, np.int32)
        ground, taps = NULL, None
        if ground_c is not None:
            ground, taps = self._dense(ground_c), self._store.complete_taps(rulebook)
        arrays = self._table(rulebook), ground, NULL if taps is None else taps, y, winner
        self._pool("max_table", y, rulebook, self._dense(x_nc), *arrays)
        return y, winner

    def max_ground_gradient(self, dy_nc: Array, winner_nc: Array) -> Array:
        return self._sum("ground_sums", dy_nc, self._dense(winner_nc))

    def max_pairs_gradient(self, dy_nc: Array, winner_nc: Array, rulebook: Rulebook) -> Array:
        dx = self._new(dy_nc, len(rulebook.in_sites), dy_nc.shape[1])
        dy, winner = self._dense(dy_nc), self._dense(winner_nc)
        table = self._table(rulebook.inverse)
        self._pool("max_table_gradient", dx, rulebook, dy, winner, table, dx)
        return dx

    def union_sites(self, sets: tuple[SiteSet, ...]) -> SiteSet:
        return self._store.union(sets)

    def rows_among(self, sites: SiteSet, sorted_sites: SiteSet) -> Array:
        keys = self._store.site_keys(sites)[2]
        return self.xp.searchsorted(self._store.site_keys(sorted_sites)[0], keys)

    def sample_counts(self, sites: SiteSet) -> Array:
        return self.xp.diff(self._store.sample_starts(sites))

    def sum_samples(self, x_nc: Array, sites: SiteSet) -> Array:
        return sum_samples(self.xp, self._dense(x_nc), sites, self._store)

    def max_samples(self, x_nc: Array, sites: SiteSet) -> tuple[Array, Array]:
        return max_samples(self.xp, self._dense(x_nc), sites, self._store)

    def max_samples_gradient(self, dy_bc: Array, winner_bc: Array, num_rows: int) -> Array:
        dx = self.xp.zeros((num_rows, dy_bc.shape[1]), dy_bc.dtype)
        sizes = (np.int64(size) for size in dy_bc.shape)
        arguments = self._dense(dy_bc), self._dense(winner_bc), dx, *sizes
        self._run("samples.cu", "max_samples_gradient", dy_bc.size, dx.dtype, arguments)
        return dx

    def scatter_add(self, x_nc: Array, places_n: Array, num_rows: int) -> Array:
        xp = self.xp
        order = xp.argsort(places_n, kind="stable")
        starts = xp.searchsorted(places_n[order], xp.arange(num_rows + 1))
        return sum_segments(xp, self._dense(x_nc), starts, order)

    def spread_samples(self, y_bc: Array, sites: SiteSet) -> Array:
        x = self._new(y_bc, len(sites), y_bc.shape[1])
        keys, cells = self._store.site_keys(sites)[2], np.int64(prod(sites.spatial_shape))
        arguments = self._dense(y_bc), keys, x, cells, *(np.int64(size) for size in x.shape)
        self._run("samples.cu", "spread_samples", x.size, x.dtype, arguments)
        return x

    def leaky_relu(self, x: Array, slope: float) -> Array:
        y = self._new(x, *x.shape)
        self._map("leaky_relu", self._dense(x), math_type(x.dtype)(slope), y)
        return y

    def add_rectified(self, a: Array, b: Array, slope: float) -> Array:
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return super().add_rectified(a, b, slope)
        y = self._new(a, *a.shape)
        self._map("add_rectified", self._dense(a), self._dense(b), math_type(a.dtype)(slope), y)
        return y

    def leaky_relu_gradient(self, y: Array, dy: Array, slope: float) -> Array:
        dx = self._new(dy, *dy.shape)
        factor = math_type(dy.dtype)(slope)
        self._map("leaky_relu_gradient", self._dense(y), self._dense(dy), factor, dx)
        return dx

    def gate(self, x: Array, kind: str) -> Array:
        y, normal = self._new(x, *x.shape), np.int32(kind == "gelu")
        self._map("gate", self._dense(x), normal, y, file="gates.cu")
        return y

    def gate_gradient(self, x: Array, dy: Array, kind: str) -> Array:
        dx, normal = self._new(x, *x.shape), np.int32(kind == "gelu")
        self._map("gate_gradient", self._dense(x), self._dense(dy), normal, dx, file="gates.cu")
        return dx

    def dropout(self, x: Array, threshold: int, scale: float, key: tuple[int, int]) -> Array:
        y = self._new(x, *x.shape)
        numbers = np.uint32(key[0]), np.uint32(key[1]), np.int64(threshold)
        self._map("dropout", self._dense(x), *numbers, math_type(x.dtype)(scale), y)
        return y

    def cross_entropy(self, logits_nc: Array, labels_n: Array) -> tuple[Array, Array]:
        logits, (rows, classes) = self._dense(logits_nc), logits_nc.shape
        probability = self._new(logits, rows, classes)
        losses = self.xp.empty(rows, math_type(logits.dtype))
        sizes = np.int64(rows), np.int64(classes)
        arguments = logits, labels_n.astype(np.int64, copy=False), probability, losses, *sizes
        self._run("cross_entropy.cu", "cross_entropy", 32 * rows, logits.dtype, arguments)
        return losses, probability

    def cross_entropy_gradient(self, probability_nc: Array, labels_n: Array, scale: Array) -> Array:
        dx = self._new(probability_nc, *probability_nc.shape)
        sizes = (np.int64(size) for size in dx.shape)
        labels = labels_n.astype(np.int64, copy=False)
        arguments = self._dense(probability_nc), labels, self._wide(scale, dx), dx, *sizes
        self._run("cross_entropy.cu", "cross_entropy_gradient", dx.size, dx.dtype, arguments)
        return dx

    def sgd_step(
        self,
        learning: Sequence[tuple[Array, Array | None, Array, Array | None]],
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        numbers = lr, momentum, weight_decay
        optimizer_step(self.xp, "sgd", learning, numbers, np.int32(nesterov))

    def adam_step(
        self,
        learning: Sequence[tuple[Array, Array | None, Array, Array, Array]],
        factors: dict[str, float],
    ) -> None:
        names = ("beta1", "rest1", "beta2", "rest2", "correction", "eps", "rate", "decay", "shrink")
        optimizer_step(self.xp, "adam", learning, [factors[name] for name in names])

    def unscale(self, gradients: Sequence[Array], scale: float) -> tuple[list[Array], bool]:
        return unscale(self.xp, gradients, scale)

    def _pairs(self, rulebook: Rulebook, k: int) -> tuple[Array, Array]:
        part = slice(int(rulebook.offset_starts[k]), int(rulebook.offset_starts[k + 1]))
        in_rows, out_rows = self._store.pairs(rulebook)
        return in_rows[part], out_rows[part]

    def _table(self, rulebook: Rulebook) -> Array:
        return self._store.table(rulebook)

    def _pool(self, entry: str, like: Array, rulebook: Rulebook, *arrays: Any) -> None:
        y = arrays[-1]
        sizes = np.int64(y.shape[0]), np.int64(y.shape[1]), np.int32(rulebook.volume)
        self._run("pooling.cu", entry, y.size, like.dtype, (*arrays, *sizes))

    def _map(self, entry: str, *arguments: Any, file: str = "activation.cu") -> None:
        target = arguments[-1]
        arguments = (*arguments, np.int64(target.size))
        self._run(file, entry, target.size, target.dtype, arguments)
