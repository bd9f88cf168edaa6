"""Batch normalization (Ioffe & Szegedy 2015, arXiv 1502.03167) over active sites or whole grids.

Two operations on the tape: the moments, and the affine map that uses them. The ground state
goes through the same map as the active sites.
"""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, record
from spconv.compat import Array
from spconv.functional._common import cast, common_dtype
from spconv.ops import get_ops


def moments(x: Tensor, ground: Tensor | None = None, copies: int = 0) -> Tensor:
    """Mean and biased variance (2, C) of the rows of ``x`` (N, C).

    Parameters
    ----------
    x : Tensor (N, C)
    ground : Tensor (C,), optional
        Counts as ``copies`` more rows.
    copies : int
    """
    dtype = common_dtype(x, ground)
    ops, features = get_ops(x.data), cast(x, dtype)
    count = dtype.type(max(len(x) + copies, 1))
    has_ground = ground is not None
    g = None if ground is None or copies == 0 else cast(ground, dtype)
    total = ops.sum_rows(features)
    mean = (total if g is None else total + copies * g) / count
    centred = features - mean
    squares = ops.sum_squares(centred)
    if g is not None:
        squares = squares + copies * (g - mean) ** 2
    data = ops.xp.stack([mean, squares / count])

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        d_mean, d_variance = gradient / count
        dx = d_mean + 2 * d_variance * centred
        if not has_ground:
            return (dx,)
        return (dx, None if g is None else copies * (d_mean + 2 * d_variance * (g - mean)))

    return record(data, (x, ground) if ground is not None else (x,), backward)


def normalize(x: Tensor, statistics: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` for rows (N, C) or one row (C,)."""
    dtype = common_dtype(x, statistics, weight, bias)
    ops, row = get_ops(x.data), x.ndim == 1
    mean, variance = cast(statistics, dtype)
    inverse = 1 / np.sqrt(variance + dtype.type(eps))
    gamma = cast(weight, dtype)
    scale = gamma * inverse
    centred = cast(x, dtype) - mean
    data = centred * scale + cast(bias, dtype)

    def backward(gradient: Array) -> tuple[Array, ...]:
        product = gradient * centred
        d_bias = gradient if row else ops.sum_rows(gradient)
        d_scale = product if row else ops.sum_rows(product)
        d_variance = -0.5 * d_scale * gamma * inverse**3
        d_statistics = ops.xp.stack([-scale * d_bias, d_variance])
        return gradient * scale, d_statistics, d_scale * inverse, d_bias

    return record(data, (x, statistics, weight, bias), backward)
