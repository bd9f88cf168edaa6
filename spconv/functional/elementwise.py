"""Choices between two tensors, element by element; operands broadcast as those of ``+`` do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spconv.adjoints import unbroadcast
from spconv.autograd import Tensor, record
from spconv.checks import type_name
from spconv.compat import Array, array_module, is_array, is_cupy
from spconv.functional._arguments import check_broadcast, operands


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two elements; NaN is larger than any number.

    Equal elements get half of the gradient each, as in PyTorch.

    Parameters
    ----------
    a, b : Tensor, array or number
        One of them a Tensor at least.

    Raises
    ------
    TypeError
        If none is a Tensor, or they are on different devices.
    ValueError
        If their shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> maximum(Tensor(np.array([1.0, 5.0])), 2.0)
    Tensor(array([2., 5.]))
    """
    return _extreme("maximum", np.maximum, np.less, a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of two elements, see :func:`maximum`; NaN is smaller than any number.

    Examples
    --------
    >>> import numpy as np
    >>> minimum(Tensor(np.array([1.0, 5.0])), 2.0)
    Tensor(array([1., 2.]))
    """
    return _extreme("minimum", np.minimum, np.greater, a, b)


def _extreme(
    owner: str, choose: np.ufunc, loses: Callable[[Array, Array], Array], a: Any, b: Any
) -> Tensor:
    first, second = operands(owner, a, b)
    x, y = first.data, second.data

    def backward(gradient: Array) -> tuple[Array, Array]:
        xp, zero = array_module(gradient), gradient.dtype.type(0)
        shared = xp.where(x == y, gradient * gradient.dtype.type(0.5), gradient)
        return (
            unbroadcast(xp.where(loses(x, y), zero, shared), x.shape),
            unbroadcast(xp.where(loses(y, x), zero, shared), y.shape),
        )

    return record(choose(x, y), (first, second), backward)


def where(mask: Any, a: Any, b: Any) -> Tensor:
    """``a`` where the mask is True, else ``b``; what is not chosen gets no gradient, not even NaN.

    Parameters
    ----------
    mask : bool array
        A comparison of tensors is one.
    a, b : Tensor, array or number
        One of them a Tensor at least.

    Raises
    ------
    TypeError
        If the mask has no bools, neither ``a`` nor ``b`` is a Tensor, or devices differ.
    ValueError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> x = Tensor(np.array([1.0, -5.0]))
    >>> where(x > 0, x, 0.1 * x)
    Tensor(array([ 1. , -0.5]))
    """
    first, second = operands("where", a, b)
    x, y, xp = first.data, second.data, array_module(first.data)
    mask = _checked_mask(mask, first)
    check_broadcast("where", mask, x, y)
    shapes = x.shape, y.shape

    def backward(gradient: Array) -> tuple[Array, Array]:
        zero = gradient.dtype.type(0)
        return (
            unbroadcast(xp.where(mask, gradient, zero), shapes[0]),
            unbroadcast(xp.where(mask, zero, gradient), shapes[1]),
        )

    return record(xp.where(mask, x, y), (first, second), backward)


def _checked_mask(mask: Any, like: Tensor) -> Array:
    """A copy, because the caller's may change."""
    if isinstance(mask, bool | list):
        mask = np.asarray(mask)
    if not is_array(mask) or mask.dtype != bool:
        raise TypeError(
            f"where: mask must be an array of bools, got {type_name(mask)} of dtype "
            f"{getattr(mask, 'dtype', None)}; a comparison such as x > 0 is one"
        )
    if is_cupy(mask) and not is_cupy(like.data):
        raise TypeError(
            "where: the mask is on cuda but the operands are on cpu; pass mask.get(), or move them"
        )
    return array_module(like.data).array(mask)
