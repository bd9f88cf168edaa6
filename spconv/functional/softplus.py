"""The softplus and the logarithm of the sigmoid: smooth, and exact where either is small."""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, record
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._common import Features
from spconv.functional.activation import _elementwise
from spconv.ops.elementwise import logistic


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


def _softplus(x: Tensor) -> Tensor:
    dtype = x.dtype
    values = x.data.astype(math_type(dtype), copy=False)
    data = array_module(values).maximum(values, 0) + np.log1p(np.exp(-abs(values)))

    def backward(gradient: Array) -> tuple[Array]:
        return ((gradient * logistic(values)).astype(dtype, copy=False),)

    return record(data.astype(dtype, copy=False), (x,), backward)
