"""Limits for the gradients of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np

from spconv.autograd import Tensor
from spconv.checks import type_name
from spconv.compat import Array


def clip_grad_norm(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients together so that their common Euclidean norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : iterable of Tensor, or one
        ``model.parameters()``; those without a gradient are left alone.
    max_norm : float
        Largest norm allowed.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    FloatingPointError
        If the norm is not finite; no gradient is changed then.
    TypeError, ValueError
        For what are no parameters, an iterator that was read before, a limit that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from spconv import Parameter
    >>> weight = Parameter(np.array([3.0, 4.0]))
    >>> weight.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm([weight], max_norm=1.0), weight.grad.round(3)
    (5.0, array([0.6, 0.8]))
    """
    pairs = _with_gradients("clip_grad_norm", parameters, max_norm)
    squares: Any = 0.0
    for _, grad in pairs:
        squares = squares + (grad.astype(np.float64) ** 2).sum()
    norm = math.sqrt(float(squares))
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"clip_grad_norm: the norm of the gradients is {norm}; lower the learning rate or "
            "look for the operation that overflows"
        )
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for tensor, grad in pairs:
            tensor.grad = grad * scale  # out of place: gradient arrays may be shared
    return norm


def clip_grad_value(parameters: Iterable[Tensor] | Tensor, max_value: float) -> None:
    """Clip every element of every gradient to [-``max_value``, ``max_value``].

    >>> import numpy as np
    >>> from spconv import Parameter
    >>> weight = Parameter(np.array([3.0, 4.0]))
    >>> weight.grad = np.array([0.5, -4.0])
    >>> clip_grad_value([weight], max_value=1.0)
    >>> weight.grad
    array([ 0.5, -1. ])
    """
    for tensor, grad in _with_gradients("clip_grad_value", parameters, max_value):
        tensor.grad = grad.clip(-max_value, max_value)


def _with_gradients(
    who: str, parameters: Iterable[Tensor] | Tensor, limit: float
) -> list[tuple[Tensor, Array]]:
    if not isinstance(limit, Real) or not limit > 0:
        raise ValueError(f"{who}: the limit must be positive, got {limit!r}")
    alone = isinstance(parameters, Tensor)
    if not (alone or isinstance(parameters, Iterable)):
        raise TypeError(
            f"{who}: expected parameters, got {type_name(parameters)}; pass model.parameters()"
        )
    tensors = [parameters] if alone else list(parameters)
    if not tensors and isinstance(parameters, Iterator):
        raise ValueError(
            f"{who}: the iterator gives no parameters; was it read before? Call "
            "model.parameters() again for every step"
        )
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{who}: expected parameters, got {type_name(tensor)}; pass model.parameters()"
            )
    return [(tensor, tensor.grad) for tensor in tensors if tensor.grad is not None]
