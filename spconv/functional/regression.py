"""Losses of numbers: a function of the difference, its mean over all elements by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spconv.autograd import Tensor, needs_gradient, record
from spconv.checks import check_float
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._arguments import as_targets, check_reduction, check_tensor
from spconv.functional._common import common_dtype


def mse_loss(x: Tensor, targets: Any, reduction: str = "mean") -> Tensor:
    """Mean of ``(x - targets) ** 2`` over all elements, or their sum, or each of them.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    targets : Tensor or array_like
        Of the same shape; a Tensor may require a gradient too.
    reduction : "mean", "sum" or "none"
        "none" leaves the losses of the elements as they are, in the shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` is no Tensor, targets are no numbers, or a Tensor on another device.
    ValueError
        If shapes differ, or there is no such reduction.

    Examples
    --------
    >>> import numpy as np
    >>> mse_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0])).item()
    5.0
    >>> mse_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0]), reduction="none")
    Tensor(array([1., 9.]))
    """
    return _loss("mse_loss", x, targets, reduction, lambda d: d * d, lambda d: 2 * d)


def l1_loss(x: Tensor, targets: Any, reduction: str = "mean") -> Tensor:
    """Mean of ``abs(x - targets)`` over all elements, see :func:`mse_loss`; no gradient at 0.

    Examples
    --------
    >>> import numpy as np
    >>> l1_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0])).item()
    2.0
    """
    return _loss("l1_loss", x, targets, reduction, abs, lambda d: array_module(d).sign(d))


def smooth_l1_loss(x: Tensor, targets: Any, beta: float = 1.0, reduction: str = "mean") -> Tensor:
    """Mean of ``d * d / (2 * beta)`` where ``d = abs(x - targets) < beta``, else ``d - beta / 2``.

    Girshick 2015 (arXiv 1504.08083), equation 3.

    Parameters
    ----------
    x, targets : Tensor, array
        See :func:`mse_loss`.
    beta : float
        From which difference on the loss is linear; with 0 it is :func:`l1_loss`.
    reduction : str
        See :func:`mse_loss`.

    Raises
    ------
    TypeError, ValueError
        As :func:`mse_loss`, and for a ``beta`` that is no number or below 0.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_l1_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0]), beta=2.0).item()
    1.125
    """
    beta = check_float("smooth_l1_loss", "beta", beta)

    def value(d: Array) -> Array:
        xp, size = array_module(d), abs(d)
        if is_sharp(d):
            return size
        near = xp.minimum(size, beta)
        return xp.where(size < beta, near * (near * (0.5 / beta)), size - 0.5 * beta)

    def slope(d: Array) -> Array:
        xp = array_module(d)
        return xp.sign(d) if is_sharp(d) else xp.clip(d, -beta, beta) / beta

    def is_sharp(d: Array) -> bool:
        """Whether 1 / beta is beyond the numbers of this type."""
        return beta < np.finfo(d.dtype).tiny

    return _loss("smooth_l1_loss", x, targets, reduction, value, slope)


def _loss(
    owner: str,
    x: Tensor,
    targets: Any,
    reduction: str,
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
) -> Tensor:
    """Of the values of differences; sums are accumulated in float64, the mean of nothing is 0."""
    check_tensor(owner, "x", x, "of any shape")
    check_reduction(owner, reduction)
    t = as_targets(owner, targets, x)
    dtype = common_dtype(x, t) if t is targets else x.dtype
    wide = math_type(dtype)
    difference = x.data.astype(wide, copy=False) - t.data.astype(wide, copy=False)
    count = max(difference.size, 1) if reduction == "mean" else 1
    wanted = needs_gradient(x), needs_gradient(t)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        scale = gradient.astype(wide, copy=False) / wide(count)
        dx = (slope(difference) * scale).astype(dtype, copy=False)
        return dx if wanted[0] else None, -dx if wanted[1] else None

    losses = value(difference)
    if reduction != "none":
        losses = losses.sum(dtype=np.float64) / count
    return record(losses.astype(dtype, copy=False), (x, t), backward)
