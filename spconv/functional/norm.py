"""Batch normalization (Ioffe & Szegedy 2015, arXiv 1502.03167) over active sites or whole grids.

Rows alone are one operation, :func:`batch_norm`. Where a ground state goes through the same map
there are two: the moments, and the affine map that uses them.
"""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import check_int
from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.functional._arguments import check_affine, check_slope, check_tensor, check_vector
from spconv.functional._common import cast, check_compiled, common_dtype
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

    Raises
    ------
    TypeError, ValueError
        For what is no Tensor and for other shapes; here and in the operations below.
    """
    check_tensor("batch_norm", "x", x, "(N, C)", 2)
    check_affine("batch_norm", x, weight, bias, eps)
    check_slope("batch_norm", negative_slope)
    dtype = common_dtype(x, weight, bias)
    ops, features = get_ops(x.data), cast(x, dtype)
    check_compiled("batch_norm", dtype, ops)
    # Those of 16-bit features are widened where they are used.
    alike = weight.dtype == bias.dtype == dtype
    wide = dtype if alike else math_type(dtype)
    gamma, beta = cast(weight, wide), cast(bias, wide)
    data, statistics = ops.batch_norm(features, gamma, beta, eps, negative_slope)

    def backward(gradient: Array) -> tuple[Array, ...]:
        return ops.batch_norm_gradient(
            gradient, features, data, gamma, statistics, eps, negative_slope
        )

    mean, variance = statistics
    return record(data, (x, weight, bias), backward), mean, variance


def moments(x: Tensor, ground: Tensor | None = None, copies: int = 0) -> Tensor:
    """Mean, less the ground state, and biased variance (2, C) of rows; float32 for float16.

    Parameters
    ----------
    x : Tensor (N, C)
    ground : Tensor (C,), optional
        Counts as ``copies`` more rows. The mean is taken from there: on a large grid the two are so
        close that float32 would keep nothing of their difference.
    copies : int
    """
    check_tensor("moments", "x", x, "(N, C)", 2)
    if ground is not None:
        check_vector("moments", "ground", ground, x.shape[1])
    copies = check_int("moments", "copies", copies, 0)
    dtype = common_dtype(x, ground)
    ops, features = get_ops(x.data), cast(x, dtype)
    check_compiled("moments", dtype, ops)
    wide = math_type(dtype)
    copies = 0 if ground is None else copies
    count = max(len(x) + copies, 1)
    active, share = wide(len(x) / count), wide(copies / count)
    mean, squares = ops.mean_and_squares(features)
    offset = mean
    if ground is not None:
        g = cast(ground, wide)
        offset = active * (mean - g)
        if len(x):
            squares = squares + len(x) * share * (mean - g) ** 2
        mean = g + offset
    data = ops.xp.stack([offset, squares / wide(count)])

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        d_offset, d_variance = gradient
        per_row = gradient / wide(count)
        dx = ops.moments_gradient(features, mean, per_row[0], 2 * per_row[1])
        return dx, -active * d_offset - 2 * share * offset * d_variance

    return record(data, (x, ground), backward)


def normalize(
    x: Tensor,
    statistics: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    origin: Tensor | None = None,
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` for rows (N, C) or one row (C,).

    ``statistics`` (2, C): mean, less the ``origin`` (C,) if there is one, and variance.
    """
    check_tensor("normalize", "x", x, "(N, C) or (C,)", 1, 2)
    check_affine("normalize", x, weight, bias, eps)
    check_tensor("normalize", "statistics", statistics, "(2, C)", 2)
    if statistics.shape != (2, x.shape[-1]):
        raise ValueError(
            f"normalize: statistics must have shape (2, {x.shape[-1]}), a mean and a variance for "
            f"each channel, got {statistics.shape}; take them from moments"
        )
    if origin is not None:
        check_vector("normalize", "origin", origin, x.shape[-1])
    dtype = common_dtype(x, weight, bias)
    if statistics.dtype != math_type(dtype):
        dtype = np.result_type(dtype, statistics.dtype)
    ops, row, wide = get_ops(x.data), x.ndim == 1, math_type(dtype)
    check_compiled("normalize", dtype, ops)
    mean, variance = cast(statistics, wide)
    if origin is not None:
        mean = mean + cast(origin, wide)
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
        d_mean = -scale * d_bias
        d_statistics = ops.xp.stack([d_mean, -0.5 * d_scale * gamma * inverse**3])
        dx = (gradient * scale).astype(dtype, copy=False)
        return dx, d_statistics, d_scale * inverse, d_bias, d_mean

    return record(data, (x, statistics, weight, bias, origin), backward)
