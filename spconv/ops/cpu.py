"""The compiled CPU engine: Cython adapters over indirect microkernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.kernels import (
    amx,
    convolution,
    elementwise,
    gates,
    layer_norm,
    memory,
    normalization,
    optimizer,
    pooling,
)
from spconv.ops import steps
from spconv.ops.base import Ops
from spconv.ops.epilogue import PLAIN, Epilogue
from spconv.ops.layout import like, mapped
from spconv.ops.matrix_unit import num_parts
from spconv.ops.work import conv_threads, gate_threads, row_threads
from spconv.rulebook import Rulebook
from spconv.sites import SiteSet

INSTRUCTION_SETS: tuple[str, ...] = convolution.ISA_NAMES
COMPILED: frozenset[np.dtype] = frozenset((np.dtype(np.float32), np.dtype(np.float64)))
"""What the kernels are compiled for: float16 and other byte orders are not among them."""

Pairs = tuple[Array, Array, Array]
"""Input rows, output rows and offset starts of a rulebook."""


class CpuOps(Ops):
    """NumPy arrays, float32 or float64.

    Parameters
    ----------
    instruction_set : {"portable", "avx2", "avx512"}, optional
        Default: the best that this processor has.
    """

    def __init__(self, instruction_set: str | None = None) -> None:
        super().__init__(np)
        self.compiled = COMPILED
        best = convolution.best_isa()
        self.isa = best if instruction_set is None else _position(instruction_set)
        self._takes_amx = instruction_set is None
        if self.isa > best:
            raise ValueError(
                f"CpuOps: this processor has no {instruction_set}; its best instruction set is "
                f"{INSTRUCTION_SETS[best]!r}"
            )

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
        pairs, num_out = _pairs_of(rulebook), len(rulebook.out_sites)
        return self._multiply(x_nc, w_kco, pairs, num_out, groups, transposed, epilogue)

    def weight_gradient(
        self, x_nc: Array, dy_no: Array, rulebook: Rulebook, groups: int = 1
    ) -> Array:
        return self._gradient(x_nc, dy_no, _pairs_of(rulebook), groups)

    # Plain products do not go to BLAS: its sums depend on its number of threads.

    def matmul(self, x_nc: Array, w_co: Array, init_o: Array | None = None) -> Array:
        rows = len(x_nc)
        return self._multiply(
            x_nc, w_co[None], _identity_pairs(rows), rows, epilogue=Epilogue(init_o)
        )

    def matmul_gradient(self, x_nc: Array, dy_no: Array) -> Array:
        return self._gradient(x_nc, dy_no, _identity_pairs(len(x_nc)))[0]

    def small_matmul(self, a_gnc: Array, b_gco: Array) -> Array:
        # BLAS's bits depend on the number of its threads.
        return np.einsum("gnc,gco->gno", a_gnc, b_gco)

    def _multiply(
        self,
        x_nc: Array,
        w_kco: Array,
        pairs: Pairs,
        num_out: int,
        groups: int = 1,
        transposed: bool = False,
        epilogue: Epilogue = PLAIN,
    ) -> Array:
        init, residual, slope = epilogue
        width = w_kco.shape[1] * groups if transposed else w_kco.shape[2]
        y = memory.empty((num_out, width), x_nc.dtype)
        parts = num_parts(x_nc, w_kco, groups) if self._takes_amx else 0
        convolve = amx.convolve if parts else convolution.convolve
        convolve(
            np.ascontiguousarray(x_nc),
            np.ascontiguousarray(w_kco),
            y,
            None if init is None else np.ascontiguousarray(init),
            None if residual is None else np.ascontiguousarray(residual),
            *pairs,
            groups,
            transposed,
            slope is not None,
            slope or 0.0,
            parts or self.isa,
            conv_threads(len(pairs[0]), w_kco),
        )
        return y

    def _gradient(self, x_nc: Array, dy_no: Array, pairs: Pairs, groups: int = 1) -> Array:
        in_rows, _, offset_starts = pairs
        shape = len(offset_starts) - 1, x_nc.shape[1] // groups, dy_no.shape[1]
        dw = memory.zeros(shape, x_nc.dtype)
        convolution.weight_gradient(
            np.ascontiguousarray(x_nc),
            np.ascontiguousarray(dy_no),
            *pairs,
            dw,
            groups,
            self.isa,
            conv_threads(len(in_rows), dw),
        )
        return dw

    def sum_pairs(self, x_nc: Array, rulebook: Rulebook) -> Array:
        y = memory.empty((len(rulebook.out_sites), x_nc.shape[1]), x_nc.dtype)
        pooling.sum_pairs(
            np.ascontiguousarray(x_nc),
            rulebook.in_rows,
            rulebook.out_rows,
            rulebook.offset_starts,
            y,
            row_threads(rulebook.num_pairs * x_nc.shape[1]),
        )
        return y

    def max_pairs(
        self, x_nc: Array, rulebook: Rulebook, ground_c: Array | None = None
    ) -> tuple[Array, Array]:
        if x_nc.dtype not in COMPILED:
            return super().max_pairs(x_nc, rulebook, ground_c)
        shape = (len(rulebook.out_sites), x_nc.shape[1])
        y, winner = memory.empty(shape, x_nc.dtype), memory.empty(shape, np.int32)
        pooling.max_pairs(
            np.ascontiguousarray(x_nc),
            rulebook.in_rows,
            rulebook.out_rows,
            rulebook.offset_starts,
            y,
            winner,
            None if ground_c is None else np.ascontiguousarray(ground_c),
            rulebook.pairs_per_output,
            row_threads(rulebook.num_pairs * x_nc.shape[1]),
        )
        return y, winner

    def max_ground_gradient(self, dy_nc: Array, winner_nc: Array) -> Array:
        threads = row_threads(dy_nc.size)
        return pooling.ground_gradient(np.ascontiguousarray(dy_nc), winner_nc, threads)

    def max_pairs_gradient(self, dy_nc: Array, winner_nc: Array, rulebook: Rulebook) -> Array:
        if dy_nc.dtype not in COMPILED:
            return super().max_pairs_gradient(dy_nc, winner_nc, rulebook)
        inverse = rulebook.inverse
        dx = memory.empty((len(rulebook.in_sites), dy_nc.shape[1]), dy_nc.dtype)
        pooling.max_pairs_gradient(
            np.ascontiguousarray(dy_nc),
            winner_nc,
            inverse.in_rows,
            inverse.out_rows,
            inverse.offset_starts,
            dx,
            row_threads(rulebook.num_pairs * dy_nc.shape[1]),
        )
        return dx

    def leaky_relu(self, x: Array, slope: float) -> Array:
        if x.dtype not in COMPILED:
            return super().leaky_relu(x, slope)
        threads = row_threads(x.size)
        return mapped(lambda x, y: elementwise.leaky_relu(x, slope, y, threads), x)

    def leaky_relu_gradient(self, y: Array, dy: Array, slope: float) -> Array:
        if y.dtype not in COMPILED:
            return super().leaky_relu_gradient(y, dy, slope)
        threads = row_threads(y.size)
        return mapped(
            lambda y, dy, dx: elementwise.leaky_relu_gradient(y, dy, slope, dx, threads), y, dy
        )

    def gate(self, x: Array, kind: str) -> Array:
        if x.dtype != np.float32:
            return super().gate(x, kind)
        threads, normal = gate_threads(x.size), kind == "gelu"
        return mapped(lambda x, y: gates.gate(x, normal, y, threads), x)

    def gate_gradient(self, x: Array, dy: Array, kind: str) -> Array:
        if x.dtype != np.float32:
            return super().gate_gradient(x, dy, kind)
        threads, normal = gate_threads(x.size), kind == "gelu"
        return mapped(lambda x, dy, dx: gates.gate_gradient(x, dy, normal, dx, threads), x, dy)

    def dropout(self, x: Array, threshold: int, scale: float, key: tuple[int, int]) -> Array:
        if x.dtype not in COMPILED:
            return super().dropout(x, threshold, scale, key)
        source = np.ascontiguousarray(x)
        y = memory.empty(source.shape, source.dtype)
        threads = row_threads(source.size)
        elementwise.dropout(source.ravel(), *key, threshold, scale, y.ravel(), threads)
        return y.reshape(x.shape)

    def sum_samples(self, x_nc: Array, sites: SiteSet) -> Array:
        slices = sites.sample_slices
        if slices is None or x_nc.dtype not in COMPILED:
            return super().sum_samples(x_nc, sites)
        y = np.zeros((sites.batch_size, x_nc.shape[1]), x_nc.dtype)
        for sample, rows in slices:
            y[sample] = self.sum_rows(x_nc[rows])
        return y

    def normalize_samples(
        self, x_nc: Array, mean_bc: Array, scale_bc: Array, bias_bc: Array, sites: SiteSet
    ) -> Array:
        slices = sites.sample_slices
        if slices is None or x_nc.dtype not in COMPILED:
            return super().normalize_samples(x_nc, mean_bc, scale_bc, bias_bc, sites)
        x, *vectors = like(x_nc, x_nc, mean_bc, scale_bc, bias_bc)
        y = memory.empty(x.shape, x.dtype)
        for sample, rows in slices:
            own = (vector[sample] for vector in vectors)
            normalization.normalize(x[rows], *own, None, y[rows], row_threads(x[rows].size))
        return y

    def sum_rows(self, x_nc: Array) -> Array:
        return elementwise.sum_rows(np.ascontiguousarray(x_nc), row_threads(x_nc.size))

    def mean_and_squares(self, x_nc: Array) -> Array:
        return normalization.mean_and_squares(np.ascontiguousarray(x_nc), row_threads(x_nc.size))

    def batch_norm(
        self, x_nc: Array, weight_c: Array, bias_c: Array, eps: float, slope: float | None
    ) -> tuple[Array, Array]:
        x, weight, bias = like(x_nc, x_nc, weight_c, bias_c)
        y = memory.empty(x.shape, x.dtype)
        threads = row_threads(x.size)
        return y, normalization.batch_norm(x, weight, bias, eps, slope, y, threads)

    def batch_norm_gradient(
        self,
        dy_nc: Array,
        x_nc: Array,
        y_nc: Array,
        weight_c: Array,
        moments: Array,
        eps: float,
        slope: float | None,
    ) -> tuple[Array, Array, Array]:
        arrays = like(x_nc, dy_nc, x_nc, y_nc, weight_c, moments)
        dx = memory.empty(x_nc.shape, x_nc.dtype)
        threads = row_threads(x_nc.size)
        d_weight, d_bias = normalization.batch_norm_gradient(*arrays, eps, slope, dx, threads)
        return dx, d_weight, d_bias

    def normalize(
        self,
        x_nc: Array,
        mean_c: Array,
        scale_c: Array,
        bias_c: Array,
        slope: float | None = None,
    ) -> Array:
        (x,), rows = like(x_nc, x_nc), like(x_nc, mean_c, scale_c, bias_c)
        y = memory.empty(x.shape, x.dtype)
        normalization.normalize(x, *rows, slope, y, row_threads(x.size))
        return y

    def normalize_sums(
        self, dy_nc: Array, x_nc: Array, y_nc: Array, mean_c: Array, slope: float | None
    ) -> tuple[Array, Array]:
        rows = like(x_nc, dy_nc, x_nc, y_nc)
        (mean,) = like(x_nc, mean_c)
        plain, centred = normalization.normalize_sums(*rows, mean, slope, row_threads(x_nc.size))
        return plain, centred

    def moments_gradient(
        self, x_nc: Array, mean_c: Array, shift_c: Array, factor_c: Array
    ) -> Array:
        return self.normalize(x_nc, mean_c, factor_c, shift_c)

    def layer_norm(
        self, x_nc: Array, weight_c: Array, bias_c: Array, eps: float
    ) -> tuple[Array, Array]:
        if x_nc.dtype not in COMPILED:
            return super().layer_norm(x_nc, weight_c, bias_c, eps)
        x, weight, bias = like(x_nc, x_nc, weight_c, bias_c)
        y, statistics = memory.empty(x.shape, x.dtype), np.empty((2, len(x)))
        layer_norm.layer_norm(x, weight, bias, eps, y, statistics, row_threads(x.size))
        return y, statistics

    def layer_norm_gradient(
        self, dy_nc: Array, x_nc: Array, weight_c: Array, statistics_2n: Array
    ) -> tuple[Array, Array, Array]:
        if x_nc.dtype not in COMPILED:
            return super().layer_norm_gradient(dy_nc, x_nc, weight_c, statistics_2n)
        arrays, dx = like(x_nc, dy_nc, x_nc, weight_c), memory.empty(x_nc.shape, x_nc.dtype)
        d_weight, d_bias = layer_norm.layer_norm_gradient(
            *arrays, statistics_2n, dx, row_threads(x_nc.size)
        )
        return dx, d_weight, d_bias

    def scatter_add(self, x_nc: Array, places_n: Array, num_rows: int) -> Array:
        # A product with a selection takes a fraction of the time of add.at.
        from scipy.sparse import csr_array

        ones, starts = np.ones(len(places_n)), np.arange(len(places_n) + 1)
        select = csr_array((ones, places_n, starts), (len(places_n), num_rows))
        return (select.T @ x_nc).astype(math_type(x_nc.dtype), copy=False)

    def sgd_step(
        self,
        learning: Sequence[tuple[Array, Array | None, Array, Array | None]],
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        settings = lr, momentum, nesterov, weight_decay
        for parameter in learning:
            data, master, grad, velocity = parameter
            if not _in_place(data, master, velocity):
                steps.sgd(np, *parameter, *settings)
                continue
            state = None if velocity is None else velocity.reshape(-1)
            (gradient,) = like(data, grad)
            threads = row_threads(data.size)
            optimizer.sgd(data.reshape(-1), gradient.reshape(-1), state, *settings, threads)

    def adam_step(
        self,
        learning: Sequence[tuple[Array, Array | None, Array, Array, Array]],
        factors: dict[str, float],
    ) -> None:
        for parameter in learning:
            data, master, grad, mean, square = parameter
            if not _in_place(data, master, mean, square):
                steps.adam(np, *parameter, factors)
                continue
            flat = (array.reshape(-1) for array in (data, *like(data, grad), mean, square))
            optimizer.adam(*flat, **factors, num_threads=row_threads(data.size))


def _in_place(data: Array, master: Array | None, *state: Array | None) -> bool:
    """Whether the compiled steps can update the arrays where they are."""
    dtype = data.dtype
    if master is not None or dtype not in COMPILED:
        return False
    for array in (data, *state):
        if array is not None and (array.dtype != dtype or not array.flags.c_contiguous):
            return False
    return True


def _pairs_of(rulebook: Rulebook) -> Pairs:
    return rulebook.in_rows, rulebook.out_rows, rulebook.offset_starts


def _identity_pairs(count: int) -> Pairs:
    """Of the rulebook of a 1x1 convolution."""
    rows = np.arange(count, dtype=np.int32)
    return rows, rows, np.array([0, count], np.int64)


def _position(instruction_set: str) -> int:
    if instruction_set not in INSTRUCTION_SETS:
        raise ValueError(
            f"CpuOps: instruction_set must be one of {INSTRUCTION_SETS}, got {instruction_set!r}"
        )
    return INSTRUCTION_SETS.index(instruction_set)
