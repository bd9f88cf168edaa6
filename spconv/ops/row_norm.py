"""Layer normalization in plain array code: the specification."""

from __future__ import annotations

from types import ModuleType

from spconv.compat import Array
from spconv.dtypes import math_type


def layer_norm(
    xp: ModuleType, x_nc: Array, weight_c: Array, bias_c: Array, eps: float
) -> tuple[Array, Array]:
    """Rows normalized over their channels; mean and inverse deviation (2, N) of every row."""
    wide = math_type(x_nc.dtype)
    x, channels = x_nc.astype(wide, copy=False), wide(max(x_nc.shape[1], 1))
    mean = x.sum(axis=1, keepdims=True) / channels
    centred = x - mean
    variance = (centred * centred).sum(axis=1, keepdims=True) / channels
    inverse = 1 / xp.sqrt(variance + wide(eps))
    y = (centred * inverse * weight_c + bias_c).astype(x_nc.dtype, copy=False)
    return y, xp.stack([mean[:, 0], inverse[:, 0]])


def layer_norm_gradient(
    dy_nc: Array, x_nc: Array, weight_c: Array, statistics_2n: Array
) -> tuple[Array, Array, Array]:
    """The gradient of the rows, and the terms (N, C) of those of weight and bias."""
    wide = math_type(x_nc.dtype)
    mean, inverse = statistics_2n[0][:, None], statistics_2n[1][:, None]
    dy, channels = dy_nc.astype(wide, copy=False), wide(max(x_nc.shape[1], 1))
    normal = (x_nc.astype(wide, copy=False) - mean) * inverse
    scaled = dy * weight_c
    shift = scaled.sum(axis=1, keepdims=True) / channels
    factor = (scaled * normal).sum(axis=1, keepdims=True) / channels
    dx = (scaled - shift - normal * factor) * inverse
    return dx.astype(x_nc.dtype, copy=False), dy * normal, dy
