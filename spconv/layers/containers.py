"""Containers of layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spconv.layers.module import Module


class SparseSequential(Module):
    """Layers in a row, sparse and dense ones alike.

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
        for layer in self.layers:
            x = layer(x)
        return x
