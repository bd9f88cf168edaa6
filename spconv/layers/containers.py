"""Containers of layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spconv import functional
from spconv.layers.activation import LeakyReLU, ReLU, Tanh
from spconv.layers.conv import SparseConv, SparseConvTranspose, SubMConv
from spconv.layers.dropout import BatchwiseDropout
from spconv.layers.module import Module
from spconv.layers.pool import SparseAvgPool, SparseMaxPool

CONVOLUTIONS = (SparseConv, SubMConv, SparseConvTranspose)
KEEPS_ZERO = (ReLU, LeakyReLU, Tanh, SparseMaxPool, SparseAvgPool)
"""Layers that act on every channel alone and leave a channel of zeros as it is."""


class SparseSequential(Module):
    """Layers in a row, sparse and dense ones alike.

    Channels that a :class:`BatchwiseDropout` is going to drop are not computed by the
    convolution in front of it either.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = spconv.SparseSequential(
    ...     spconv.SubMConv2d(1, 4, 3), spconv.ReLU(), spconv.SparseMaxPool2d(2)
    ... )
    >>> net(spconv.from_dense(np.eye(4, dtype="float32")[None, None]))
    SparseConvTensor(2 sites, 4 channels, batch_size=1, spatial_shape=(2, 2), float32)
    """

    def __init__(self, *layers: Module) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(
                    f"SparseSequential: layer {position} must be a Module, "
                    f"got {type(layer).__name__}"
                )
        self.layers = list(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        for position, layer in enumerate(self.layers):
            yield str(position), layer

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Module:
        return self.layers[position]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def forward(self, x: Any) -> Any:
        kept = None
        for position, layer in enumerate(self.layers):
            if isinstance(layer, CONVOLUTIONS):
                dropout = self._dropout_behind(position)
                kept = None if dropout is None else dropout.draw(layer.out_channels)
                x = layer(x, kept)
            elif kept is not None and isinstance(layer, BatchwiseDropout):
                x, kept = functional.batchwise_dropout(x, kept), None
            else:
                x = layer(x)
        return x

    def _dropout_behind(self, position: int) -> BatchwiseDropout | None:
        """The acting batchwise dropout that decides which channels a convolution computes."""
        for layer in self.layers[position + 1 :]:
            if isinstance(layer, BatchwiseDropout):
                return layer if layer.training and layer.p else None
            if not isinstance(layer, KEEPS_ZERO):
                return None
        return None
