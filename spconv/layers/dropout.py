"""Dropout layers; they act in training only."""

from __future__ import annotations

import numpy as np

from spconv import functional
from spconv.checks import check_float, check_optional_generator
from spconv.functional._common import Features, check_features, check_sparse
from spconv.layers.module import Module
from spconv.tensor import KeptChannels, SparseConvTensor, all_channels


class DropoutLayer(Module):
    """A probability and its random numbers."""

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None) -> None:
        self.p = check_float(type(self).__name__, "p", p, below=1)
        check_optional_generator(type(self).__name__, rng)
        self.rng = np.random.default_rng(rng)

    def describe(self) -> str:
        return f"p={self.p:g}"

    def acts(self) -> bool:
        """Whether it drops anything now."""
        return self.training and self.p > 0


class Dropout(DropoutLayer):
    """Zero each entry of the active rows with probability ``p``, scale the others up.

    The ground state stays as it is.

    Parameters
    ----------
    p : float
        In [0, 1).
    rng : numpy.random.Generator, optional
        :meth:`Module.seed` replaces it.
    """

    def forward(self, x: Features) -> Features:
        check_features("Dropout", x)
        return functional.dropout(x, self.p, self.rng) if self.acts() else x


class BatchwiseDropout(DropoutLayer):
    """Drop the same channels at every site of a batch, in the ground state too.

    Graham, Reizenstein & Robinson 2015 (arXiv 1502.02478). Inside a :class:`SparseSequential`
    the dropped channels are not even computed: the GEMMs of the convolutions in front of and
    behind this layer shrink.
    """

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        check_sparse("BatchwiseDropout", x)
        if not self.acts():
            return x
        x = all_channels(x)
        return all_channels(functional.batchwise_dropout(x, self.draw(x.num_channels)))

    def draw(self, total: int) -> KeptChannels:
        """Choose which of ``total`` channels a batch keeps."""
        return functional.draw_channels(total, self.p, self.rng)
