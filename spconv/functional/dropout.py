"""Dropout of single activations, and of whole channels for a batch."""

from __future__ import annotations

import numpy as np

from spconv.autograd import record
from spconv.checks import check_generator, check_int
from spconv.compat import Array
from spconv.functional._arguments import check_dropped, check_share
from spconv.functional._common import Features, check_features, check_sparse, select
from spconv.ops import get_ops
from spconv.tensor import KeptChannels, SparseConvTensor


def dropout(x: Features, p: float, rng: np.random.Generator) -> Features:
    """Zero each entry with probability ``p`` and scale the others by ``1 / (1 - p)``.

    Srivastava et al. 2014. The ground state of a sparse tensor stays as it is. Which entries go is
    a hash of their position and of a key drawn from ``rng``, so that backward needs no mask.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1].
    """
    check_features("dropout", x)
    check_share("dropout", p)
    check_generator("dropout", rng)
    if isinstance(x, SparseConvTensor):
        return x.derive(dropout(x.features, p, rng), x.ground_state, channels=x.channels)
    if p == 0:
        return x
    ops, threshold = get_ops(x.data), round(p * 2**32)
    scale = 0.0 if p == 1 else 1 / (1 - p)
    first, second = rng.integers(2**32, size=2).tolist()

    def backward(gradient: Array) -> tuple[Array]:
        return (ops.dropout(gradient, threshold, scale, (first, second)),)

    return record(ops.dropout(x.data, threshold, scale, (first, second)), (x,), backward)


def draw_channels(total: int, p: float, rng: np.random.Generator) -> KeptChannels:
    """Choose the channels of a batch that stay: a share ``1 - p``, rounded, at least one."""
    total = check_int("draw_channels", "total", total, 1)
    check_share("draw_channels", p)
    check_generator("draw_channels", rng)
    count = max(1, round(total * (1 - p)))
    return KeptChannels(np.sort(rng.permutation(total)[:count]), total)


def batchwise_dropout(x: SparseConvTensor, kept: KeptChannels) -> SparseConvTensor:
    """Drop the same channels at every site of a batch, in the ground state too.

    Graham, Reizenstein & Robinson 2015 (arXiv 1502.02478). Dropped channels are not stored, so
    that the next convolution is smaller; kept ones are scaled by ``total / kept``.
    """
    check_sparse("batchwise_dropout", x)
    check_dropped("batchwise_dropout", x, kept)
    scale = kept.total / max(len(kept.slots), 1)
    features, ground = x.features, x.ground_state
    if x.channels is None:
        features = select(features, kept.slots, axis=1)
        ground = None if ground is None else select(ground, kept.slots, axis=0)
    ground = None if ground is None else ground * scale
    return x.derive(features * scale, ground, channels=kept)
