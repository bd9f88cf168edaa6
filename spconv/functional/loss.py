"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import type_name
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.ops import get_ops


def cross_entropy(logits: Tensor, labels: Any, ignore_index: int | None = None) -> Tensor:
    """Softmax cross-entropy, the mean over the rows that count.

    Parameters
    ----------
    logits : Tensor (N, num_classes)
        Of the samples of a batch, or of its sites.
    labels : int array_like (N,)
    ignore_index : int, optional
        Rows with this label count for nothing, and have no gradient; of no row the loss is 0.

    Examples
    --------
    >>> import numpy as np
    >>> round(cross_entropy(Tensor(np.zeros((1, 4))), [2]).item(), 4)  # log(4)
    1.3863
    """
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"cross_entropy: logits must be a Tensor (N, num_classes), got "
            f"{type_name(logits)}; wrap an array in spconv.Tensor, end a network with Flatten "
            "and Linear"
        )
    labels = np.asarray(labels.get() if hasattr(labels, "get") else labels)
    if logits.ndim != 2 or labels.shape != (len(logits),):
        raise ValueError(
            "cross_entropy: expected logits (N, num_classes) and labels (N,), "
            f"got {logits.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels must be integers, got dtype {labels.dtype}")
    xp, ops, dtype = array_module(logits.data), get_ops(logits.data), logits.dtype
    counted = labels != ignore_index
    known, whole = labels[counted], bool(counted.all())
    if len(known) and not 0 <= known.min() <= known.max() < logits.shape[1]:
        raise ValueError(
            f"cross_entropy: labels must be in 0..{logits.shape[1] - 1}, "
            f"got {known.min()}..{known.max()}; is ignore_index={ignore_index} the label of rows "
            "that do not count?"
        )
    classes = xp.asarray(np.where(counted, labels, 0))
    count, keep = math_type(dtype)(max(len(known), 1)), xp.asarray(counted)
    losses, probability = ops.cross_entropy(logits.data, classes)

    def backward(gradient: Array) -> tuple[Array]:
        dx = ops.cross_entropy_gradient(probability, classes, gradient / count)
        return (dx if whole else xp.where(keep[:, None], dx, dtype.type(0)),)

    total = losses.sum() if whole else xp.where(keep, losses, 0).sum()
    return record((total / count).astype(dtype, copy=False), (logits,), backward)
