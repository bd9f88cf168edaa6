"""Losses of classes; those of numbers are in :mod:`spconv.functional.regression`."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import check_float, check_int
from spconv.compat import Array, array_module, is_cupy, to_device
from spconv.dtypes import math_type
from spconv.functional._arguments import (
    as_factors,
    as_targets,
    check_reduction,
    check_tensor,
)
from spconv.functional.dense import grid_to_rows
from spconv.ops import get_ops


def cross_entropy(
    logits: Tensor,
    labels: Any,
    ignore_index: int | None = None,
    weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Softmax cross-entropy, the mean over the rows, or the sites of grids, that count.

    Parameters
    ----------
    logits : Tensor (N, num_classes) or (N, num_classes, *spatial_shape)
        Of the samples of a batch or of its sites, or of whole grids.
    labels : int array_like (N,) or (N, *spatial_shape)
    ignore_index : int, optional
        Rows with this label count for nothing, and have no gradient; of no row the loss is 0.
    weight : array_like (num_classes,), optional
        What a row of each class weighs in the mean.
    label_smoothing : float
        Share of the target that is spread over all classes, by their weights (Szegedy and others
        2016, arXiv 1512.00567, section 7).
    reduction : "mean", "sum" or "none"
        "none" gives the losses in the shape of the labels, 0 for those to ignore; they are
        weighted as in the sum, which is not divided by the weights.

    Raises
    ------
    TypeError
        If logits are no Tensor, or labels no integers.
    ValueError
        If shapes do not fit, a label is no class, a weight is negative or not finite, or there is
        no such reduction.

    Examples
    --------
    >>> import numpy as np
    >>> round(cross_entropy(Tensor(np.zeros((1, 4))), [2]).item(), 4)  # log(4)
    1.3863
    """
    check_tensor("cross_entropy", "logits", logits, "(N, num_classes, *spatial_shape)")
    check_reduction("cross_entropy", reduction)
    if ignore_index is not None:
        ignore_index = check_int("cross_entropy", "ignore_index", ignore_index, -(2**63))
    labels = np.asarray(to_device(labels, "cpu"))
    if logits.ndim < 2 or labels.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(
            "cross_entropy: expected logits (N, num_classes) and labels (N,), or of grids "
            "(N, num_classes, *spatial_shape) and (N, *spatial_shape), "
            f"got {logits.shape} and {labels.shape}; labels are numbers of classes, of one-hot "
            "rows argmax(1), and a network of classes ends with Flatten and Linear"
        )
    shape = labels.shape
    if logits.ndim > 2:
        logits, labels = grid_to_rows(logits), labels.reshape(-1)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"cross_entropy: labels must be integers, got dtype {labels.dtype}; targets from 0 to "
            "1 are for binary_cross_entropy_with_logits"
        )
    num_classes = logits.shape[1]
    counted = np.ones(len(labels), bool) if ignore_index is None else labels != ignore_index
    all_count = bool(counted.all())
    known = labels if all_count else labels[counted]
    if len(known) and not 0 <= known.min() <= known.max() < num_classes:
        raise ValueError(
            f"cross_entropy: labels must be in 0..{num_classes - 1}, got {known.min()}.."
            f"{known.max()}; pass the label of rows that do not count as ignore_index (now "
            f"{ignore_index})"
        )
    smoothing = check_float("cross_entropy", "label_smoothing", label_smoothing, below=1.0)
    xp, ops, dtype = array_module(logits.data), get_ops(logits.data), logits.dtype
    wide = math_type(dtype)
    one_by_one, mean = reduction == "none", reduction == "mean"
    if weight is None and not smoothing and all_count and not one_by_one:
        classes = xp.array(labels)  # the caller's may change
        total = wide((mean and len(labels)) or 1)
        losses, probability = ops.cross_entropy(logits.data, classes)

        def plain_backward(gradient: Array) -> tuple[Array]:
            return (ops.cross_entropy_gradient(probability, classes, gradient / total),)

        loss = losses.sum() / total
        return record(loss.astype(dtype, copy=False), (logits,), plain_backward)
    weights = np.ones(num_classes) if weight is None else _class_weights(weight, num_classes)
    classes = np.where(counted, labels, 0)
    row_weights = np.where(counted, weights[classes] if num_classes else 0, 0)
    total = wide((mean and row_weights.sum()) or 1)
    classes = xp.asarray(classes)
    losses, probability = ops.cross_entropy(logits.data, classes)
    # The target is (1 - smoothing) of a row's weight for its label, and ``spread`` for all classes.
    spread = xp.asarray(weights * smoothing / max(num_classes, 1), wide)
    mass = xp.asarray((1 - smoothing) * row_weights, wide) + spread.sum()
    keep = xp.asarray(counted)
    losses = mass * losses
    if smoothing:
        z = logits.data.astype(wide, copy=False)
        away = z[xp.arange(len(z)), classes][:, None] - z
        losses = losses + (away * spread).sum(axis=1)

    def backward(gradient: Array) -> tuple[Array]:
        scale = gradient.reshape(-1).astype(wide, copy=False) / total  # of each row, or of all
        one = np.ones_like(scale, shape=())
        dx = ops.cross_entropy_gradient(probability, classes, one) * (mass * scale)[:, None]
        if smoothing:
            dx -= spread * scale[:, None]
            dx[xp.arange(len(dx)), classes] += spread.sum() * scale
        return (xp.where(keep[:, None], dx, 0).astype(dtype, copy=False),)

    losses = xp.where(keep, losses, 0)
    loss = losses.reshape(shape) if one_by_one else losses.sum() / total
    return record(loss.astype(dtype, copy=False), (logits,), backward)


def binary_cross_entropy_with_logits(
    logits: Tensor,
    targets: Any,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of yes-or-no questions, the mean over all elements.

    Of a logit z and a target t it is ``weight (pos_weight t softplus(-z) + (1 - t) softplus(z))``.

    Parameters
    ----------
    logits : Tensor
        Of any shape; a probability is ``sigmoid(logits)``, and need not be computed.
    targets : array_like
        From 0 to 1, of the same shape. On a GPU they are not waited for: what is outside counts as
        NaN, in the loss and in the gradient.
    weight, pos_weight : Tensor, array_like or number, optional
        What an element weighs, and what its answer yes does; from 0 on, of shapes that broadcast
        to that of the logits. The mean is over the number of elements, whatever they weigh.
    reduction : "mean", "sum" or "none"
        "none" leaves the losses of the elements as they are.

    Raises
    ------
    TypeError
        If logits are no Tensor, or the others no numbers.
    ValueError
        If shapes do not fit, what is not on a GPU is outside its range or requires a gradient, or
        there is no such reduction.

    Examples
    --------
    >>> import numpy as np
    >>> logits = Tensor([0.0, 800.0])
    >>> round(binary_cross_entropy_with_logits(logits, [0, 1]).item(), 4)  # log(2) / 2
    0.3466
    """
    owner = "binary_cross_entropy_with_logits"
    check_tensor(owner, "logits", logits, "of any shape")
    check_reduction(owner, reduction)
    dtype, xp = logits.dtype, array_module(logits.data)
    z = logits.data.astype(math_type(dtype), copy=False)
    t = _checked_targets(owner, targets, logits)
    each = as_factors(owner, "weight", weight, logits)
    yes = as_factors(owner, "pos_weight", pos_weight, logits)
    # All terms of a sum are positive: the digits of small losses stay.
    positive, negative = t if yes is None else yes * t, 1 - t
    mass = None if yes is None else positive + negative
    small = xp.exp(-abs(z))
    both = xp.log1p(small) if mass is None else mass * xp.log1p(small)
    losses = positive * xp.maximum(-z, 0) + negative * xp.maximum(z, 0) + both
    losses = losses if each is None else each * losses
    count = z.dtype.type(max(z.size, 1) if reduction == "mean" else 1)

    def backward(gradient: Array) -> tuple[Array]:
        probability = xp.where(z >= 0, 1, small) / (1 + small)
        slope = (probability if mass is None else mass * probability) - positive
        slope = slope if each is None else each * slope
        return ((slope * (gradient / count)).astype(dtype, copy=False),)

    loss = losses if reduction == "none" else losses.sum() / count
    return record(loss.astype(dtype, copy=False), (logits,), backward)


def _checked_targets(owner: str, targets: Any, logits: Tensor) -> Array:
    """From 0 to 1, in the math type and on the device of the logits."""
    t = as_targets(owner, targets, logits)
    if t.requires_grad:
        raise ValueError(f"{owner}: targets get no gradient; pass targets.detach()")
    given = targets.data if isinstance(targets, Tensor) else targets
    array = t.data.astype(math_type(logits.dtype))  # a copy: the caller's may change
    if is_cupy(given):
        return array_module(array).where((array >= 0) & (array <= 1), array, array.dtype.type(nan))
    given = np.asarray(given)
    if given.size and not (given.min() >= 0 and given.max() <= 1):
        raise ValueError(
            f"{owner}: targets must be from 0 to 1, got {given.min():g}..{given.max():g}; numbers "
            "of classes are for cross_entropy, of signs -1 and 1 pass (signs + 1) / 2"
        )
    return array


def _class_weights(weight: Any, num_classes: int) -> np.ndarray:
    try:
        weights = np.asarray(to_device(weight, "cpu"), np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (num_classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            f"cross_entropy: weight must be {num_classes} numbers from 0 on, one for each class, "
            f"got {weight!r}"
        )
    return weights
