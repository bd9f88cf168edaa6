"""Activations and dropout of arrays of any shape in plain array code: the specification."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from spconv.compat import Array, array_module, erfc
from spconv.dtypes import math_type

FAR = {"silu": 800.0, "gelu": 40.0}
"""Nothing changes beyond there, and infinity times 0 would be NaN."""


def leaky_relu(xp: ModuleType, x: Array, slope: float) -> Array:
    """``x`` where positive, else ``slope * x``."""
    if slope == 0:  # 0 * -inf would be NaN
        return xp.where(x < 0, x.dtype.type(0), x)
    return xp.where(x > 0, x, x.dtype.type(slope) * x)


def leaky_relu_gradient(xp: ModuleType, y: Array, dy: Array, slope: float) -> Array:
    """From the result of :func:`leaky_relu`."""
    low = dy.dtype.type(slope) * dy if slope else dy.dtype.type(0)  # 0 * inf would be NaN
    return xp.where(y > 0, dy, low)


def logistic(x: Array) -> Array:
    """``1 / (1 + exp(-x))``."""
    # exp does not overflow, and small values keep their digits.
    small = np.exp(-abs(x))
    # 1 from 0 on: a choice with where() takes longer than the exponential.
    return array_module(small).maximum(small, x >= 0) / (1 + small)


def gate(x: Array, kind: str) -> Array:
    """``x`` times its share: a logistic function ("silu"), or a normal distribution's ("gelu")."""
    values = x.astype(math_type(x.dtype), copy=False)
    near = array_module(values).maximum(values, -FAR[kind])
    return (near * _share(values, kind)).astype(x.dtype, copy=False)


def gate_gradient(x: Array, dy: Array, kind: str) -> Array:
    """Gradient of :func:`gate` at ``x``."""
    far = FAR[kind]
    near = array_module(x).clip(x.astype(math_type(x.dtype), copy=False), -far, far)
    share = _share(near, kind)
    if kind == "silu":
        slope = share * (1 - share)
    else:
        slope = np.exp(-0.5 * near * near) / math.sqrt(2 * math.pi)
    return (dy * (share + near * slope)).astype(x.dtype, copy=False)


def _share(x: Array, kind: str) -> Array:
    return logistic(x) if kind == "silu" else 0.5 * erfc(-math.sqrt(0.5) * x)


def dropout(xp: ModuleType, x: Array, threshold: int, scale: float, key: tuple[int, int]) -> Array:
    """See :meth:`spconv.ops.Ops.dropout`."""
    position = xp.arange(x.size, dtype=xp.uint64).reshape(x.shape)
    salt = key[1] + (position >> 32) * 0x9E3779B9
    drawn = _mixed((position & 0xFFFFFFFF) ^ key[0])
    drawn = _mixed((drawn + salt) & 0xFFFFFFFF)
    return xp.where(drawn >= threshold, x * x.dtype.type(scale), x.dtype.type(0))


def _mixed(x: Array) -> Array:
    """Well mixed 32-bit integers, held in 64 bits (Wellons 2018, "lowbias32")."""
    x = ((x ^ x >> 16) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ x >> 15) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ x >> 16
