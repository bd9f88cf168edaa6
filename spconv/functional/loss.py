"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.autograd import Tensor, record
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.ops import get_ops


def cross_entropy(logits: Tensor, labels: Any) -> Tensor:
    """Softmax cross-entropy, the mean over the batch.

    Parameters
    ----------
    logits : Tensor (batch_size, num_classes)
    labels : int array_like (batch_size,)

    Examples
    --------
    >>> import numpy as np
    >>> round(cross_entropy(Tensor(np.zeros((1, 4))), [2]).item(), 4)  # log(4)
    1.3863
    """
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"cross_entropy: logits must be a Tensor (batch_size, num_classes), got "
            f"{type(logits).__name__}; wrap an array in spconv.Tensor, end a network with Flatten "
            "and Linear"
        )
    labels = np.asarray(labels.get() if hasattr(labels, "get") else labels)
    if logits.ndim != 2 or labels.shape != (len(logits),):
        raise ValueError(
            "cross_entropy: expected logits (batch_size, num_classes) and labels (batch_size,), "
            f"got {logits.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels must be integers, got dtype {labels.dtype}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"cross_entropy: labels must be in 0..{logits.shape[1] - 1}, "
            f"got {labels.min()}..{labels.max()}"
        )
    ops = get_ops(logits.data)
    classes = array_module(logits.data).asarray(labels)
    losses, probability = ops.cross_entropy(logits.data, classes)
    count, dtype = math_type(logits.dtype)(max(len(labels), 1)), logits.dtype

    def backward(gradient: Array) -> tuple[Array]:
        return (ops.cross_entropy_gradient(probability, classes, gradient / count),)

    mean = (losses.sum() / count).astype(dtype, copy=False)
    return record(mean, (logits,), backward)
