"""The softmax and its logarithm along an axis, for heads and losses of one's own.

:func:`spconv.functional.cross_entropy` takes logits, and needs neither.
"""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import check_int
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._arguments import check_tensor


def softmax(x: Tensor, axis: int) -> Tensor:
    """``exp(x)``, divided by its sum along an axis.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    axis : int
        1 for logits of rows (N, C) and of grids (N, C, *spatial_shape).

    Raises
    ------
    TypeError
        If ``x`` is no Tensor, or the axis no int.
    ValueError
        If there is no such axis.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(Tensor(np.array([[0.0, 0.0], [0.0, 800.0]])), axis=1)
    Tensor(array([[0.5, 0.5],
           [0. , 1. ]]))
    """
    axis, dtype = _checked_axis("softmax", x, axis), x.dtype
    _, exponentials, total = _shifted(x, axis)
    data = (exponentials / total).astype(dtype, copy=False)

    def backward(gradient: Array) -> tuple[Array]:
        p = data.astype(math_type(dtype), copy=False)
        return ((p * (gradient - _sum(gradient * p, axis))).astype(dtype, copy=False),)

    return record(data, (x,), backward)


def log_softmax(x: Tensor, axis: int) -> Tensor:
    """Logarithm of :func:`softmax`, also where that is 0.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(Tensor(np.array([[0.0, -800.0]])), axis=1)
    Tensor(array([[   0., -800.]]))
    """
    axis, dtype = _checked_axis("log_softmax", x, axis), x.dtype
    shifted, exponentials, total = _shifted(x, axis)
    data = (shifted - np.log(total)).astype(dtype, copy=False)
    p = exponentials / total

    def backward(gradient: Array) -> tuple[Array]:
        return ((gradient - p * _sum(gradient, axis)).astype(dtype, copy=False),)

    return record(data, (x,), backward)


def _checked_axis(owner: str, x: Tensor, axis: int) -> int:
    check_tensor(owner, "x", x, "of any shape")
    return check_int(owner, "axis", axis, -x.ndim, x.ndim - 1)


def _shifted(x: Tensor, axis: int) -> tuple[Array, Array, Array]:
    """Elements less the largest one, in the math type; exponentials of them, and their sum."""
    wide = x.data.astype(math_type(x.dtype), copy=False)
    if not wide.size:  # there is no largest
        return wide, wide, wide.dtype.type(1)
    shifted = wide - wide.max(axis=axis, keepdims=True)
    exponentials = array_module(wide).exp(shifted)
    return shifted, exponentials, _sum(exponentials, axis)


def _sum(x: Array, axis: int) -> Array:
    """Accumulated in float64, at least in float32."""
    total = x.sum(axis=axis, keepdims=True, dtype=np.float64)
    return total.astype(math_type(x.dtype), copy=False)
