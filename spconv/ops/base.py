"""Every array operation that has a fast form, in plain array code: the specification.

The class works on any array module with NumPy's interface; ``Ops(numpy)`` is the reference
engine and ``Ops(cupy)`` the fallback on a GPU. Subclasses override the hot operations and
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import ModuleType

import numpy as np

from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.geometry import Geometry
from spconv.memory import combined
from spconv.ops import elementwise, row_norm, steps
from spconv.ops.epilogue import PLAIN, Epilogue
from spconv.ops.groups import grouped_matmul, transposed_weight
from spconv.rulebook import Rulebook, build, union_of
from spconv.sites import SiteSet


class Ops:
    """Array operations; ``xp`` is the array module.

    Suffixes tell the axes: n, m sites, c input and o output channels, k kernel offsets. Sums over
    sites, and the vectors made of them, are of the features' :func:`~spconv.dtypes.math_type`:
    float32 for float16. Who divides them rounds afterwards.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        # What products and batch normalization take; None: all.
        self.compiled: frozenset[np.dtype] | None = None

    def build_rulebook(self, sites: SiteSet, geometry: Geometry, owner: str) -> Rulebook:
        """Build the rulebook of a checked site set where this engine's arrays live."""
        return build(sites, geometry, owner)

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
        """``init + residual + sum of x[in] W_k`` over all pairs, (N_out, C_out), rectified.

        ``transposed`` uses W_k^T: the input gradient is the convolution of the output gradient
        with ``transposed=True`` over ``rulebook.inverse``.
        """
        init, residual, slope = epilogue
        if transposed:
            w_kco = transposed_weight(w_kco, groups)
        y = self.xp.zeros((len(rulebook.out_sites), w_kco.shape[2]), x_nc.dtype)
        if init is not None:
            y += init
        if residual is not None:
            y += residual
        for k in range(rulebook.volume):
            in_rows, out_rows = self._pairs(rulebook, k)
            if len(in_rows):
                y[out_rows] += grouped_matmul(self.xp, x_nc[in_rows], w_kco[k], groups)
        return y if slope is None else self.leaky_relu(y, slope)

    def weight_gradient(
        self, x_nc: Array, dy_no: Array, rulebook: Rulebook, groups: int = 1
    ) -> Array:
        """``sum of x[in]^T dy[out]`` over the pairs of every offset, (K, C_in/groups, C_out)."""
        cin, cout = x_nc.shape[1] // groups, dy_no.shape[1] // groups
        dw = self.xp.zeros((rulebook.volume, cin, groups, cout), x_nc.dtype)
        for k in range(rulebook.volume):
            in_rows, out_rows = self._pairs(rulebook, k)
            x, dy = x_nc[in_rows].reshape(-1, groups, cin), dy_no[out_rows]
            dy = dy.reshape(-1, groups, cout).transpose(1, 0, 2)
            dw[k] = (x.transpose(1, 2, 0) @ dy).transpose(1, 0, 2)
        return dw.reshape(rulebook.volume, cin, groups * cout)

    def matmul(self, x_nc: Array, w_co: Array, init_o: Array | None = None) -> Array:
        """``x w + init``, (N, C_out)."""
        y = x_nc @ w_co
        return y if init_o is None else y + init_o

    def matmul_gradient(self, x_nc: Array, dy_no: Array) -> Array:
        """``x^T dy``, (C_in, C_out)."""
        return x_nc.T @ dy_no

    def small_matmul(self, a_gnc: Array, b_gco: Array) -> Array:
        """Products (G, N, O) of G pairs of matrices, a few rows in all: a ground state's."""
        return a_gnc @ b_gco

    def sum_pairs(self, x_nc: Array, rulebook: Rulebook) -> Array:
        """Sum of the input rows of every output row, (N_out, C)."""
        y = self.xp.zeros((len(rulebook.out_sites), x_nc.shape[1]), math_type(x_nc.dtype))
        for k in range(rulebook.volume):
            in_rows, out_rows = self._pairs(rulebook, k)
            y[out_rows] += x_nc[in_rows]
        return y

    def max_pairs(
        self, x_nc: Array, rulebook: Rulebook, ground_c: Array | None = None
    ) -> tuple[Array, Array]:
        """Largest input of every output row, and the row it came from (int32), both (N_out, C).

        Of equal inputs the first kernel offset wins. With a ground row, windows that hold an
        inactive site take it into the maximum; the row is -1 where it is larger.
        """
        xp = self.xp
        shape = (len(rulebook.out_sites), x_nc.shape[1])
        y, winner = xp.zeros(shape, x_nc.dtype), xp.full(shape, -1, xp.int32)
        for k in range(rulebook.volume):
            in_rows, out_rows = self._pairs(rulebook, k)
            x, best, row = x_nc[in_rows], y[out_rows], winner[out_rows]
            better = (~(x <= best) & (best == best)) | (row < 0)  # the first NaN stays
            y[out_rows] = xp.where(better, x, best)
            winner[out_rows] = xp.where(better, in_rows[:, None], row)
        if ground_c is not None:
            open_window = xp.asarray(rulebook.pairs_per_output < rulebook.volume)[:, None]
            lost = open_window & ~(y >= ground_c) & (y == y)
            y, winner = xp.where(lost, ground_c, y), xp.where(lost, xp.int32(-1), winner)
        return y, winner

    def max_ground_gradient(self, dy_nc: Array, winner_nc: Array) -> Array:
        """Gradient (C,) of the ground row of :meth:`max_pairs`."""
        return self.sum_rows(self.xp.where(winner_nc < 0, dy_nc, 0))

    def max_pairs_gradient(self, dy_nc: Array, winner_nc: Array, rulebook: Rulebook) -> Array:
        """Gradient (N_in, C) of :meth:`max_pairs`; rows that are no winner anywhere get zero."""
        dx = self.xp.zeros((len(rulebook.in_sites), dy_nc.shape[1]), dy_nc.dtype)
        for k in range(rulebook.volume):
            in_rows, out_rows = self._pairs(rulebook, k)
            won = winner_nc[out_rows] == in_rows[:, None]
            dx[in_rows] += self.xp.where(won, dy_nc[out_rows], 0)
        return dx

    def union_sites(self, sets: tuple[SiteSet, ...]) -> SiteSet:
        """All sites of any of the sets, sorted."""
        return union_of(sets)

    def rows_among(self, sites: SiteSet, sorted_sites: SiteSet) -> Array:
        """Row (N,) among ``sorted_sites``, which are in order, of each of ``sites``."""
        return self.xp.asarray(np.searchsorted(sorted_sites.keys, sites.keys))

    def sample_counts(self, sites: SiteSet) -> Array:
        """Number of active sites (B,) of every sample, int64."""
        return self.xp.asarray(sites.rows_per_sample)

    def sum_samples(self, x_nc: Array, sites: SiteSet) -> Array:
        """Sum of the rows of every sample, (B, C), accumulated in float64."""
        y = self.xp.zeros((sites.batch_size, x_nc.shape[1]), math_type(x_nc.dtype))
        for sample, rows in self._rows_by_sample(sites):
            y[sample] = x_nc[rows].sum(axis=0, dtype=self.xp.float64)
        return y

    def max_samples(self, x_nc: Array, sites: SiteSet) -> tuple[Array, Array]:
        """Largest value of every sample, and the row it came from (int64), both (B, C).

        Of equal values, and of several NaN, the first row wins. Without rows: 0, from row -1.
        """
        xp = self.xp
        y = xp.zeros((sites.batch_size, x_nc.shape[1]), x_nc.dtype)
        winner = xp.full(y.shape, -1, xp.int64)
        for sample, rows in self._rows_by_sample(sites):
            part = x_nc[rows]
            best = part.argmax(axis=0)
            y[sample] = xp.take_along_axis(part, best[None], axis=0)[0]
            winner[sample] = rows[best]
        return y, winner

    def max_samples_gradient(self, dy_bc: Array, winner_bc: Array, num_rows: int) -> Array:
        """Gradient (N, C) of :meth:`max_samples`; rows that are no winner anywhere get zero."""
        dx = self.xp.zeros((num_rows, dy_bc.shape[1]), dy_bc.dtype)
        sample, channel = self.xp.nonzero(winner_bc >= 0)
        dx[winner_bc[sample, channel], channel] = dy_bc[sample, channel]
        return dx

    def scatter_add(self, x_nc: Array, places_n: Array, num_rows: int) -> Array:
        """Sum (num_rows, C) of the rows with each place, in their order, accumulated in float64."""
        y = self.xp.zeros((num_rows, x_nc.shape[1]), np.float64)
        self.xp.add.at(y, places_n, x_nc)
        return y.astype(math_type(x_nc.dtype), copy=False)

    def spread_samples(self, y_bc: Array, sites: SiteSet) -> Array:
        """Row (N, C) of its sample for every site: the gradient of :meth:`sum_samples`."""
        return y_bc[self.xp.asarray(sites.indices[:, 0])]

    def normalize_samples(
        self, x_nc: Array, mean_bc: Array, scale_bc: Array, bias_bc: Array, sites: SiteSet
    ) -> Array:
        """``(x - mean) scale + bias``, those of its sample for every site."""
        mean, scale, bias = (self.spread_samples(y, sites) for y in (mean_bc, scale_bc, bias_bc))
        return (x_nc - mean) * scale + bias

    def leaky_relu(self, x: Array, slope: float) -> Array:
        """``x`` where positive, else ``slope * x``; any shape."""
        return elementwise.leaky_relu(self.xp, x, slope)

    def add_rectified(self, a: Array, b: Array, slope: float) -> Array:
        """:meth:`leaky_relu` of a sum."""
        return self.leaky_relu(combined(np.add, a, b), slope)

    def leaky_relu_gradient(self, y: Array, dy: Array, slope: float) -> Array:
        """Gradient of :meth:`leaky_relu` from its result (``slope >= 0`` keeps the sign)."""
        return elementwise.leaky_relu_gradient(self.xp, y, dy, slope)

    def gate(self, x: Array, kind: str) -> Array:
        """``x`` times its logistic ("silu") or normal ("gelu") share; any shape."""
        return elementwise.gate(x, kind)

    def gate_gradient(self, x: Array, dy: Array, kind: str) -> Array:
        """Gradient of :meth:`gate` at ``x``."""
        return elementwise.gate_gradient(x, dy, kind)

    def dropout(self, x: Array, threshold: int, scale: float, key: tuple[int, int]) -> Array:
        """``scale * x`` where a number in [0, 2^32) reaches the threshold, else 0; any shape.

        The number is a hash of the key and the position in row-major order, so that equal keys
        drop the same entries, on every engine.
        """
        return elementwise.dropout(self.xp, x, threshold, scale, key)

    def sum_rows(self, x_nc: Array) -> Array:
        """Sum over the sites, (C,), accumulated in float64."""
        return x_nc.sum(axis=0, dtype=self.xp.float64).astype(math_type(x_nc.dtype))

    def sum_centred_squares(self, x_nc: Array, mean_c: Array) -> Array:
        """Sum over the sites of the squared deviations from ``mean``, (C,)."""
        centred = x_nc - mean_c
        squares = self.xp.einsum("nc,nc->c", centred, centred, dtype=self.xp.float64)
        return squares.astype(math_type(x_nc.dtype))

    def sum_centred_products(self, dy_nc: Array, x_nc: Array, mean_c: Array) -> Array:
        """Sum over the sites of ``dy (x - mean)``, (C,)."""
        return self.sum_rows(dy_nc * (x_nc - mean_c))

    def mean_and_squares(self, x_nc: Array) -> Array:
        """Mean over the sites and sum of the squared deviations from it, (2, C), math type."""
        mean = self.sum_rows(x_nc) / math_type(x_nc.dtype)(max(len(x_nc), 1))
        return self.xp.stack([mean, self.sum_centred_squares(x_nc, mean)])

    def batch_norm(
        self, x_nc: Array, weight_c: Array, bias_c: Array, eps: float, slope: float | None
    ) -> tuple[Array, Array]:
        """Rows normalized by their own moments; the mean and biased variance, (2, C)."""
        wide = math_type(x_nc.dtype)
        moments = self.mean_and_squares(x_nc)
        moments[1] /= wide(max(len(x_nc), 1))
        scale = weight_c / self.xp.sqrt(moments[1] + wide(eps))
        return self.normalize(x_nc, moments[0], scale, bias_c, slope), moments

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
        """Of :meth:`batch_norm`: gradients of rows; of weight and bias, in the weight's dtype."""
        wide = math_type(x_nc.dtype)
        mean, count = moments[0], wide(max(len(x_nc), 1))
        inverse = 1 / self.xp.sqrt(moments[1] + wide(eps))
        scale = weight_c * inverse
        d_bias, d_scale = self.normalize_sums(dy_nc, x_nc, y_nc, mean, slope)
        shift, factor = -scale * d_bias / count, -scale * inverse**2 * d_scale / count
        dx = self.normalize_gradient(dy_nc, x_nc, y_nc, mean, scale, shift, factor, slope)
        return dx, *(d.astype(weight_c.dtype, copy=False) for d in (d_scale * inverse, d_bias))

    def layer_norm(
        self, x_nc: Array, weight_c: Array, bias_c: Array, eps: float
    ) -> tuple[Array, Array]:
        """Rows normalized over their own channels; mean and inverse deviation, (2, N)."""
        return row_norm.layer_norm(self.xp, x_nc, weight_c, bias_c, eps)

    def layer_norm_gradient(
        self, dy_nc: Array, x_nc: Array, weight_c: Array, statistics_2n: Array
    ) -> tuple[Array, Array, Array]:
        """Gradients of rows, weight and bias; the statistics are of :meth:`layer_norm`."""
        terms = row_norm.layer_norm_gradient(dy_nc, x_nc, weight_c, statistics_2n)
        return terms[0], self.sum_rows(terms[1]), self.sum_rows(terms[2])

    def track(
        self, running: tuple[Array, Array], batch: tuple[Array, Array], share: float, factor: float
    ) -> tuple[Array, Array]:
        """Running mean and variance (C,) after a batch with its own, a step of a moving average.

        ``(1 - share) running + share batch``, the batch's variance times ``factor``.
        """
        wide = self.xp.result_type(running[0].dtype, batch[0].dtype)  # 0.9 in float32 is not 0.9
        old_mean, old_variance, mean, variance = (a.astype(wide) for a in (*running, *batch))
        kept = 1 - share
        return kept * old_mean + share * mean, kept * old_variance + share * (variance * factor)

    def normalize(
        self, x_nc: Array, mean_c: Array, scale_c: Array, bias_c: Array, slope: float | None = None
    ) -> Array:
        """``(x - mean) scale + bias``, with a ``slope`` through :meth:`leaky_relu`."""
        y = ((x_nc - mean_c) * scale_c + bias_c).astype(x_nc.dtype, copy=False)
        return y if slope is None else self.leaky_relu(y, slope)

    def normalize_sums(
        self, dy_nc: Array, x_nc: Array, y_nc: Array, mean_c: Array, slope: float | None
    ) -> tuple[Array, Array]:
        """Sums over the sites of ``dy`` and ``dy (x - mean)``, dy in front of the rectifier."""
        dy_nc = dy_nc if slope is None else self.leaky_relu_gradient(y_nc, dy_nc, slope)
        return self.sum_rows(dy_nc), self.sum_centred_products(dy_nc, x_nc, mean_c)

    def normalize_gradient(
        self,
        dy_nc: Array,
        x_nc: Array,
        y_nc: Array,
        mean_c: Array,
        scale_c: Array,
        shift_c: Array,
        factor_c: Array,
        slope: float | None,
    ) -> Array:
        """``dy scale + shift + factor (x - mean)``, dy in front of the rectifier."""
        dy_nc = dy_nc if slope is None else self.leaky_relu_gradient(y_nc, dy_nc, slope)
        dx = dy_nc * scale_c + (shift_c + factor_c * (x_nc - mean_c))
        return dx.astype(x_nc.dtype, copy=False)

    def moments_gradient(
        self, x_nc: Array, mean_c: Array, shift_c: Array, factor_c: Array
    ) -> Array:
        """``shift + factor (x - mean)``."""
        return (shift_c + factor_c * (x_nc - mean_c)).astype(x_nc.dtype, copy=False)

    def cross_entropy(self, logits_nc: Array, labels_n: Array) -> tuple[Array, Array]:
        """Softmax cross-entropy (N,) of every row, math type, and the softmax (N, C)."""
        wide = logits_nc.astype(math_type(logits_nc.dtype), copy=False)
        if not wide.size:  # CuPy's maximum of nothing takes no initial value
            return self.xp.zeros(len(labels_n), wide.dtype), logits_nc.copy()
        rows = self.xp.arange(len(labels_n))
        shifted = wide - wide.max(axis=1, keepdims=True)
        exponentials = self.xp.exp(shifted)
        total = exponentials.sum(axis=1, keepdims=True)
        losses = self.xp.log(total[:, 0]) - shifted[rows, labels_n]
        return losses, (exponentials / total).astype(logits_nc.dtype, copy=False)

    def cross_entropy_gradient(self, probability_nc: Array, labels_n: Array, scale: Array) -> Array:
        """``(probability - one at the label) scale``, (N, C); ``scale`` has one element."""
        difference = probability_nc.astype(math_type(probability_nc.dtype))
        difference[self.xp.arange(len(labels_n)), labels_n] -= 1
        return (difference * scale).astype(probability_nc.dtype, copy=False)

    def sgd_step(
        self,
        learning: Sequence[tuple[Array, Array | None, Array, Array | None]],
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        """Update every (data, master, gradient, velocity), see :class:`spconv.optim.SGD`.

        Data and velocity change in place. With a ``master`` copy in float32 that one is updated,
        and rounded to ``data``.
        """
        for parameter in learning:
            steps.sgd(self.xp, *parameter, lr, momentum, nesterov, weight_decay)

    def adam_step(
        self,
        learning: Sequence[tuple[Array, Array | None, Array, Array, Array]],
        factors: dict[str, float],
    ) -> None:
        """Update every (data, master, gradient, mean, square), see :class:`spconv.optim.Adam`.

        ``factors``: beta1, rest1 = 1 - beta1, beta2, rest2 = 1 - beta2, correction =
        sqrt(1 - beta2^t), eps, rate = lr / (1 - beta1^t), decay (added to the gradient), shrink
        (multiplies the parameter first).
        """
        for parameter in learning:
            steps.adam(self.xp, *parameter, factors)

    def unscale(self, gradients: Sequence[Array], scale: float) -> tuple[list[Array], bool]:
        """Gradients over ``scale``, float32 at least, and whether all of them are finite."""
        return steps.unscale(self.xp, gradients, scale)

    def _rows_by_sample(self, sites: SiteSet) -> Iterator[tuple[int, Array]]:
        """Samples that have sites, and their rows in ascending order."""
        rows = self.xp.asarray(np.argsort(sites.indices[:, 0], kind="stable"))
        for sample, (start, end) in enumerate(pairwise([0, *np.cumsum(sites.rows_per_sample)])):
            if end > start:
                yield sample, rows[start:end]

    def _pairs(self, rulebook: Rulebook, k: int) -> tuple[Array, Array]:
        in_rows, out_rows = rulebook.pairs(k)
        return self.xp.asarray(in_rows), self.xp.asarray(out_rows)
