"""Losses of numbers: the mean over all elements of a function of the difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spconv.autograd import Tensor, needs_gradient, record
from spconv.checks import check_float
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._arguments import as_targets, check_tensor
from spconv.functional._common import common_dtype


def mse_loss(x: Tensor, targets: Any) -> Tensor:
    """Mean of ``(x - targets) ** 2`` over all elements.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    targets : Tensor or array_like
        Of the same shape; a Tensor may require a gradient too.

    Raises
    ------
    TypeError
        If ``x`` is no Tensor, targets are no numbers, or a Tensor on another device.
    ValueError
        If shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> mse_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0])).item()
    5.0
    """
    return _mean("mse_loss", x, targets, lambda d: d * d, lambda d: 2 * d)


def l1_loss(x: Tensor, targets: Any) -> Tensor:
    """Mean of ``abs(x - targets)`` over all elements, see :func:`mse_loss`; no gradient at 0.

    Examples
    --------
    >>> import numpy as np
    >>> l1_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0])).item()
    2.0
    """
    return _mean("l1_loss", x, targets, abs, lambda d: array_module(d).sign(d))


def smooth_l1_loss(x: Tensor, targets: Any, beta: float = 1.0) -> Tensor:
    """Mean of ``d * d / (2 * beta)`` where ``d = abs(x - targets) < beta``, else ``d - beta / 2``.

    Girshick 2015 (arXiv 1504.08083), equation 3.

    Parameters
    ----------
    x, targets : Tensor, array
        See :func:`mse_loss`.
    beta : float
        From which difference on the loss is linear; with 0 it is :func:`l1_loss`.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_l1_loss(Tensor(np.array([1.0, 5.0])), np.array([0.0, 2.0]), beta=2.0).item()
    1.125
    """
    beta = check_float("smooth_l1_loss", "beta", beta)

    def value(d: Array) -> Array:
        size = abs(d)
        if not beta:
            return size
        return array_module(d).where(size < beta, size * size * (0.5 / beta), size - 0.5 * beta)

    def slope(d: Array) -> Array:
        xp = array_module(d)
        return xp.clip(d * (1 / beta), -1, 1) if beta else xp.sign(d)

    return _mean("smooth_l1_loss", x, targets, value, slope)


def _mean(
    owner: str,
    x: Tensor,
    targets: Any,
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
) -> Tensor:
    """Mean of the values of differences, accumulated in float64; of no element it is 0."""
    check_tensor(owner, "x", x, "of any shape")
    t = as_targets(owner, targets, x)
    dtype = common_dtype(x, t) if t is targets else x.dtype
    wide = math_type(dtype)
    difference = x.data.astype(wide, copy=False) - t.data.astype(wide, copy=False)
    count = max(difference.size, 1)
    wanted = needs_gradient(x), needs_gradient(t)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        scale = gradient.astype(wide, copy=False) / wide(count)
        dx = (slope(difference) * scale).astype(dtype, copy=False)
        return dx if wanted[0] else None, -dx if wanted[1] else None

    mean = value(difference).sum(dtype=np.float64) / count
    return record(mean.astype(dtype), (x, t), backward)
