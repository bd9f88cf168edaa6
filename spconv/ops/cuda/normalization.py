"""Sums over rows on the GPU, one launch each, and batch normalization, made of such."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.ops.base import Ops
from spconv.ops.cuda.arithmetic import NO_FMA, storage_of
from spconv.ops.cuda.launch import elementwise, sum_columns
from spconv.ops.cuda.scratch import Scratch


class CudaNormalization(Ops):
    """Operations of column_sums.cu and normalization.cu, and what others launch theirs with."""

    def __init__(self, scratch: Scratch) -> None:
        super().__init__(scratch.xp)
        self._scratch = scratch

    def sum_rows(self, x_nc: Array) -> Array:
        return self._sum("sums", x_nc)

    def sum_centred_squares(self, x_nc: Array, mean_c: Array) -> Array:
        return self._sum("centred_squares", x_nc, self._wide(mean_c, x_nc))

    def sum_centred_products(self, dy_nc: Array, x_nc: Array, mean_c: Array) -> Array:
        mean = self._wide(mean_c, dy_nc)
        return self._sum("centred_products", dy_nc, self._dense(x_nc), mean)

    def batch_norm(
        self, x_nc: Array, weight_c: Array, bias_c: Array, eps: float, slope: float | None
    ) -> tuple[Array, Array]:
        x, (rows, channels) = self._dense(x_nc), x_nc.shape
        dtype, wide = x.dtype, math_type(x.dtype)
        count, moments = wide(max(rows, 1)), self.xp.empty((2, channels), wide)
        scale = self.xp.empty(channels, wide)
        sum_columns(self._scratch, "batch_means", (x,), (moments, count), x.shape, dtype)
        weight, macros = self._vector(weight_c, x)
        results = weight, moments, scale, count, wide(eps)
        sum_columns(self._scratch, "batch_variances", (x,), results, x.shape, dtype, **macros)
        y, options = self._new(x, rows, channels), self._rectify(slope, dtype)
        bias, macros = self._vector(bias_c, x)
        self._by_channel("normalize", y, x, moments, scale, bias, y, *options, **macros)
        return y, moments

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
        x, (rows, channels) = self._dense(x_nc), x_nc.shape
        dtype, wide, moments = x.dtype, math_type(x.dtype), self._wide(moments, x)
        dy, y = self._like(dy_nc, x), self._like(y_nc, x)
        weight, macros = self._vector(weight_c, x)
        options, numbers = self._rectify(slope, dtype), (wide(max(rows, 1)), wide(eps))
        vectors, new = self.xp.empty((3, channels), wide), self.xp.empty
        d_weight, d_bias = new(channels, weight.dtype), new(channels, weight.dtype)
        results = weight, vectors, d_weight, d_bias, *numbers
        arguments = (dy, y, x, moments, *options), results, x.shape, dtype, 2
        sum_columns(self._scratch, "batch_gradients", *arguments, **macros)
        dx = self._new(x, rows, channels)
        self._by_channel("batch_normalize_gradient", dx, dy, x, y, moments, vectors, dx, *options)
        return dx, d_weight, d_bias

    def track(
        self, running: tuple[Array, Array], batch: tuple[Array, Array], share: float, factor: float
    ) -> tuple[Array, Array]:
        dtype, channels = np.result_type(running[0].dtype, batch[0].dtype), len(batch[0])
        arrays = (self._dense(a.astype(dtype, copy=False)) for a in (*running, *batch))
        result, wide = self.xp.empty((2, channels), dtype), math_type(dtype)
        numbers = wide(1 - share), wide(share), wide(factor), np.int64(channels)
        arguments = *arrays, result, *numbers
        elementwise(
            "normalization.cu", "track", channels, arguments, NO_FMA, STORAGE=storage_of(dtype)
        )
        return result[0], result[1]

    def normalize(
        self,
        x_nc: Array,
        mean_c: Array,
        scale_c: Array,
        bias_c: Array,
        slope: float | None = None,
    ) -> Array:
        y = self._new(x_nc, *x_nc.shape)
        vectors = (self._wide(vector, y) for vector in (mean_c, scale_c, bias_c))
        options = self._rectify(slope, y.dtype)
        return self._by_channel("normalize", y, self._dense(x_nc), *vectors, y, *options)

    def normalize_sums(
        self, dy_nc: Array, x_nc: Array, y_nc: Array, mean_c: Array, slope: float | None
    ) -> tuple[Array, Array]:
        dtype, dy = dy_nc.dtype, self._dense(dy_nc)
        totals = self.xp.empty((2, dy.shape[1]), math_type(dtype))
        arrays = dy, self._like(y_nc, dy), self._like(x_nc, dy), self._wide(mean_c, dy)
        options = self._rectify(slope, dtype)
        arguments = (*arrays, *options), (totals,), dy.shape, dtype, 2
        sum_columns(self._scratch, "gradient_sums", *arguments)
        return totals[0], totals[1]

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
        dx = self._new(dy_nc, *dy_nc.shape)
        arrays = (self._like(array, dx) for array in (dy_nc, x_nc, y_nc))
        vectors = (self._wide(vector, dx) for vector in (mean_c, scale_c, shift_c, factor_c))
        options = self._rectify(slope, dx.dtype)
        return self._by_channel("normalize_gradient", dx, *arrays, *vectors, dx, *options)

    def moments_gradient(
        self, x_nc: Array, mean_c: Array, shift_c: Array, factor_c: Array
    ) -> Array:
        dx = self._new(x_nc, *x_nc.shape)
        vectors = (self._wide(vector, dx) for vector in (mean_c, shift_c, factor_c))
        return self._by_channel("moments_gradient", dx, self._dense(x_nc), *vectors, dx)

    def _dense(self, array: Array) -> Array:
        return self.xp.ascontiguousarray(array)

    def _like(self, array: Array, other: Array) -> Array:
        """Dense and of the dtype of another array."""
        return self._dense(array.astype(other.dtype, copy=False))

    def _wide(self, vector: Array, like: Array) -> Array:
        """What sums and statistics are: of the math type."""
        return self._dense(vector.astype(math_type(like.dtype), copy=False))

    def _vector(self, vector: Array, like: Array) -> tuple[Array, dict[str, Any]]:
        """A weight or bias as kernels take it: as it is, if its type is that of rows, or wide."""
        if vector.dtype != like.dtype or like.dtype.itemsize > 2:
            return self._wide(vector, like), {}
        return self._dense(vector), {"VECTOR": storage_of(vector.dtype)}

    def _new(self, like: Array, *shape: int) -> Array:
        return self.xp.empty(shape, like.dtype)

    def _run(
        self,
        file: str,
        entry: str,
        count: int,
        dtype: np.dtype,
        arguments: tuple[Any, ...],
        **macros: Any,
    ) -> None:
        elementwise(file, entry, count, arguments, STORAGE=storage_of(dtype), **macros)

    def _by_channel(self, entry: str, y: Array, *arguments: Any, **macros: Any) -> Array:
        """Run an entry point of normalization.cu for each element of ``y``, and return that."""
        rows, channels = y.shape
        arguments = *arguments, np.int64(rows), np.int64(channels)
        self._run("normalization.cu", entry, y.size, y.dtype, arguments, **macros)
        return y

    def _rectify(self, slope: float | None, dtype: np.dtype) -> tuple[np.int32, np.floating]:
        return np.int32(slope is not None), math_type(dtype)(slope or 0.0)

    def _sum(self, entry: str, x_nc: Array, *others: Array) -> Array:
        total = self.xp.empty(x_nc.shape[1], math_type(x_nc.dtype))
        arrays = self._dense(x_nc), *others
        sum_columns(self._scratch, entry, arrays, (total,), x_nc.shape, x_nc.dtype)
        return total
