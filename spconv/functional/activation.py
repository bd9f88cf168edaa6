"""Elementwise activations of a Tensor or of a sparse tensor; the ground state goes through too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import check_float
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._common import Features, check_features
from spconv.ops import get_ops
from spconv.ops.elementwise import logistic
from spconv.tensor import all_channels


def relu(x: Features) -> Features:
    """``max(x, 0)``; the gradient at 0 is 0."""
    return _elementwise("relu", x, lambda t: _leaky_relu(t, 0.0), zero_at_zero=True)


def leaky_relu(x: Features, negative_slope: float = 1 / 3) -> Features:
    """``x`` where positive, else ``negative_slope * x``.

    The slope of 1/3 is that of Graham 2014 (arXiv 1409.6070), "very leaky".

    Raises
    ------
    TypeError
        If ``x`` is no tensor, or ``negative_slope`` no number.
    ValueError
        If ``negative_slope`` is negative.
    """
    slope = check_float("leaky_relu", "negative_slope", negative_slope)
    return _elementwise("leaky_relu", x, lambda t: _leaky_relu(t, slope), zero_at_zero=True)


def sigmoid(x: Features) -> Features:
    """``1 / (1 + exp(-x))``."""
    return _elementwise("sigmoid", x, _sigmoid, zero_at_zero=False)


def tanh(x: Features) -> Features:
    """Hyperbolic tangent."""
    return _elementwise("tanh", x, _tanh, zero_at_zero=True)


def silu(x: Features) -> Features:
    """``x sigmoid(x)``, also called swish (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
    return _elementwise("silu", x, lambda t: _gate(t, "silu"), zero_at_zero=True)


def gelu(x: Features) -> Features:
    """``x`` times the share of a normal distribution below it: ``x erfc(-x / sqrt(2)) / 2``.

    Hendrycks & Gimpel 2016 (arXiv 1606.08415), exact, which is PyTorch's default.
    """
    return _elementwise("gelu", x, lambda t: _gate(t, "gelu"), zero_at_zero=True)


def softplus(x: Features) -> Features:
    """``log(1 + exp(x))``, whose slope is the sigmoid.

    Examples
    --------
    >>> softplus(Tensor(800.0)).item()
    800.0
    """
    return _elementwise("softplus", x, _softplus, zero_at_zero=False)


def log_sigmoid(x: Features) -> Features:
    """``log(sigmoid(x))``, also where that is 0.

    Examples
    --------
    >>> log_sigmoid(Tensor(-800.0)).item()
    -800.0
    """
    return _elementwise("log_sigmoid", x, lambda t: -_softplus(-t), zero_at_zero=False)


def _elementwise(
    owner: str, x: Features, function: Callable[[Tensor], Tensor], *, zero_at_zero: bool
) -> Features:
    check_features(owner, x)
    if isinstance(x, Tensor):
        return function(x)
    if not zero_at_zero:
        x = all_channels(x)
    ground = None if x.ground_state is None else function(x.ground_state)
    return x.derive(function(x.features), ground, channels=x.channels)


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    ops = get_ops(x.data)
    data = ops.leaky_relu(x.data, slope)

    def backward(gradient: Array) -> tuple[Array]:
        return (ops.leaky_relu_gradient(data, gradient, slope),)

    return record(data, (x,), backward)


def _sigmoid(x: Tensor) -> Tensor:
    data = logistic(x.data)

    def backward(gradient: Array) -> tuple[Array]:
        return (gradient * data * (1 - data),)

    return record(data, (x,), backward)


def _softplus(x: Tensor) -> Tensor:
    dtype = x.dtype
    values = x.data.astype(math_type(dtype), copy=False)
    data = array_module(values).maximum(values, 0) + np.log1p(np.exp(-abs(values)))

    def backward(gradient: Array) -> tuple[Array]:
        return ((gradient * logistic(values)).astype(dtype, copy=False),)

    return record(data.astype(dtype, copy=False), (x,), backward)


def _gate(x: Tensor, kind: str) -> Tensor:
    ops, values = get_ops(x.data), x.data
    data = ops.gate(values, kind)

    def backward(gradient: Array) -> tuple[Array]:
        return (ops.gate_gradient(values, gradient, kind),)

    return record(data, (x,), backward)


def _tanh(x: Tensor) -> Tensor:
    data = np.tanh(x.data)

    def backward(gradient: Array) -> tuple[Array]:
        return (gradient * (1 - data * data),)

    return record(data, (x,), backward)
