"""Containers of layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from spconv import functional
from spconv.functional._common import check_sparse
from spconv.layers.activation import LeakyReLU, ReLU, Tanh
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.dropout import BatchwiseDropout
from spconv.layers.fractional import SparseFractionalMaxPool
from spconv.layers.linear import Linear
from spconv.layers.module import Module
from spconv.layers.norm import BatchNorm
from spconv.layers.pool import SparseAvgPool, SparseMaxPool
from spconv.tensor import SparseConvTensor, all_channels

CONVOLUTIONS = (SparseConv, SubMConv, SparseConvTranspose)
RECTIFY = (*CONVOLUTIONS, SparseInverseConv, BatchNorm)
"""Layers that compute a rectifier behind them while their result is at hand."""
KEEPS_ZERO = (ReLU, LeakyReLU, Tanh, SparseMaxPool, SparseFractionalMaxPool, SparseAvgPool)
"""Layers that act on every channel alone and leave a channel of zeros as it is."""


KNOW_CHANNELS = (*KEEPS_ZERO, BatchwiseDropout, Linear)
"""Layers that take a tensor with dropped channels; others get all of them."""


class SparseSequential(Module):
    """Layers in a row, sparse and dense ones alike.

    Channels that a :class:`BatchwiseDropout` is going to drop are not computed by the
    convolution in front of it either. A rectifier right behind a convolution or a
    :class:`BatchNorm` is computed with it, one in front of a max-pooling behind that where windows
    do not overlap: the values are the same, and it finds fewer of them.

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
        for name, child in super().children():
            if not name.startswith("layers."):
                yield name, child

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Module:
        return self.layers[position]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def forward(self, x: Any) -> Any:
        kept, layers = None, _pooled_first(self.layers)
        for position, layer in enumerate(layers):
            if position and _slope_behind(*layers[position - 1 : position + 1]) is not None:
                continue
            slope = _slope_behind(layer, *layers[position + 1 : position + 2])
            if isinstance(layer, CONVOLUTIONS):
                dropout = _next(layers, position, BatchwiseDropout)
                whole = layer.groups > 1 or not (dropout and dropout.acts())
                kept = None if whole else dropout.draw(layer.out_channels)
                x = layer(x, kept) if slope is None else layer(x, kept, negative_slope=slope)
            elif isinstance(layer, BatchwiseDropout) and layer.acts():
                check_sparse("BatchwiseDropout", x)
                if kept is None and _next(layers, position, (*CONVOLUTIONS, Linear)):
                    x = all_channels(x)
                    kept = layer.draw(x.num_channels)
                x = layer(x) if kept is None else functional.batchwise_dropout(x, kept)
                kept = None
            else:
                if isinstance(x, SparseConvTensor) and not isinstance(layer, KNOW_CHANNELS):
                    x = all_channels(x)
                x = layer(x) if slope is None else layer(x, negative_slope=slope)
        return x if not isinstance(x, SparseConvTensor) else all_channels(x)


def _slope_behind(layer: Module, behind: Module | None = None) -> float | None:
    """The slope of the rectifier behind a layer that computes it as well, else None."""
    if type(behind) not in (ReLU, LeakyReLU) or not _has_forward_of(layer, RECTIFY):
        return None
    if getattr(layer, "negative_slope", None) is not None:
        return None
    slope: float = getattr(behind, "negative_slope", 0.0)
    return slope if slope >= 0 else None


def _has_forward_of(layer: Module, kinds: tuple[type[Module], ...]) -> bool:
    """Whether it is one of the kinds and does what that one does: a user's own may do more."""
    return any(
        isinstance(layer, kind) and type(layer).forward is kind.forward for kind in kinds
    ) and "forward" not in vars(layer)


def _next(layers: list[Module], position: int, kind: Any) -> Any:
    """The next layer if it is of that kind, layers between them keeping channels apart."""
    for layer in layers[position + 1 :]:
        if isinstance(layer, kind):
            return layer
        if not isinstance(layer, KEEPS_ZERO):
            return None
    return None


def _pooled_first(layers: list[Module]) -> list[Module]:
    """The layers with every max-pooling in front of the rectifier that it is given behind.

    The two commute, and fewer sites are left to rectify, forward and backward, if the windows do
    not overlap. Of values that a slope rounds to one, the largest wins instead of the first.
    """
    order = list(layers)
    for position, (layer, pool) in enumerate(pairwise(layers)):
        if type(layer) in (ReLU, LeakyReLU) and isinstance(pool, SparseMaxPool):
            windows = zip(pool.geometry.kernel_size, pool.geometry.stride, strict=True)
            if _has_forward_of(pool, (SparseMaxPool,)) and all(k <= s for k, s in windows):
                order[position : position + 2] = pool, layer
    return order
