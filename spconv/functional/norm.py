"""Batch normalization (Ioffe & Szegedy 2015, arXiv 1502.03167) over active sites or whole grids.

Rows alone are one operation, :func:`batch_norm`. Where a ground state goes through the same map
there are two: the moments, and the affine map that uses them.
"""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, record
from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.functional._common import cast, common_dtype
from spconv.ops import get_ops


def batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, negative_slope: float | None = None
) -> tuple[Tensor, Array, Array]:
    """Normalize rows (N, C) by their own moments, in one pass over memory and one back.

    Parameters
    ----------
    x : Tensor (N, C)
    weight, bias : Tensor (C,)
    eps : float
    negative_slope : float, optional
        Of a leaky rectifier on the result (0: ReLU).

    Returns
    -------
    y : Tensor (N, C)
    mean, variance : ndarray (C,)
        The biased variance; both float32 for float16.
    """
    dtype = common_dtype(x, weight, bias)
    ops, features = get_ops(x.data), cast(x, dtype)
    gamma, beta = cast(weight, math_type(dtype)), cast(bias, math_type(dtype))
    data, statistics = ops.batch_norm(features, gamma, beta, eps, negative_slope)

    def backward(gradient: Array) -> tuple[Array, ...]:
        return ops.batch_norm_gradient(
            gradient, features, data, gamma, statistics, eps, negative_slope
        )

    mean, variance = statistics
    return record(data, (x, weight, bias), backward), mean, variance


def moments(x: Tensor, ground: Tensor | None = None, copies: int = 0) -> Tensor:
    """Mean and biased variance (2, C) of the rows of ``x`` (N, C); float32 for float16.

    Parameters
    ----------
    x : Tensor (N, C)
    ground : Tensor (C,), optional
        Counts as ``copies`` more rows.
    copies : int
    """
    dtype = common_dtype(x, ground)
    ops, features = get_ops(x.data), cast(x, dtype)
    wide = math_type(dtype)
    has_ground = ground is not None
    copies = copies if has_ground else 0
    count = wide(max(len(x) + copies, 1))
    g = None if ground is None or copies == 0 else cast(ground, wide)
    mean, squares = ops.mean_and_squares(features)
    if g is not None:
        share = wide(copies) / count
        if len(x):
            squares = squares + len(x) * share * (g - mean) ** 2
        mean = mean + share * (g - mean)
    data = ops.xp.stack([mean, squares / count])

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        d_mean, d_variance = gradient / count
        dx = ops.moments_gradient(features, mean, d_mean, 2 * d_variance)
        if not has_ground:
            return (dx,)
        return (dx, None if g is None else copies * (d_mean + 2 * d_variance * (g - mean)))

    return record(data, (x, ground) if ground is not None else (x,), backward)


def normalize(x: Tensor, statistics: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` for rows (N, C) or one row (C,).

    ``statistics`` (2, C): mean and variance.
    """
    dtype = common_dtype(x, weight, bias)
    if statistics.dtype != math_type(dtype):
        dtype = np.result_type(dtype, statistics.dtype)
    ops, row, wide = get_ops(x.data), x.ndim == 1, math_type(dtype)
    mean, variance = cast(statistics, wide)
    inverse = 1 / np.sqrt(variance + wide(eps))
    gamma, beta, features = cast(weight, wide), cast(bias, wide), cast(x, dtype)
    scale = gamma * inverse
    if row:
        data = ((features - mean) * scale + beta).astype(dtype, copy=False)
    else:
        data = ops.normalize(features, mean, scale, beta)

    def backward(gradient: Array) -> tuple[Array, ...]:
        if row:
            d_bias, d_scale = gradient, gradient * (features - mean)
        else:
            # Without a rectifier the result is not looked at, and need not be kept.
            d_bias, d_scale = ops.normalize_sums(gradient, features, features, mean, None)
        d_variance = -0.5 * d_scale * gamma * inverse**3
        d_statistics = ops.xp.stack([-scale * d_bias, d_variance])
        dx = (gradient * scale).astype(dtype, copy=False)
        return dx, d_statistics, d_scale * inverse, d_bias

    return record(data, (x, statistics, weight, bias), backward)
