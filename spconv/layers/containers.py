"""Containers of layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeGuard, TypeVar, overload

from spconv import functional
from spconv.checks import type_name
from spconv.functional._common import check_sparse
from spconv.layers.activation import LeakyReLU, ReLU, Tanh
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.dropout import BatchwiseDropout
from spconv.layers.fractional import SparseFractionalMaxPool
from spconv.layers.frozen import FrozenConvolution
from spconv.layers.linear import Linear
from spconv.layers.module import Module, given
from spconv.layers.norm import BatchNorm
from spconv.layers.pool import SparseAvgPool, SparseMaxPool
from spconv.tensor import SparseConvTensor, all_channels

AnyModule = TypeVar("AnyModule", bound=Module)
CONVOLUTIONS = (SparseConv, SubMConv, SparseConvTranspose)
TAKE_RESIDUAL = (*CONVOLUTIONS, SparseInverseConv)
"""Layers that add a residual while their sums are at hand."""
RECTIFY = (*TAKE_RESIDUAL, BatchNorm)
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
                    f"SparseSequential: layer {position} must be a Module, got {type_name(layer)}"
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

    @overload
    def __getitem__(self, position: int) -> Module: ...
    @overload
    def __getitem__(self, position: slice) -> SparseSequential: ...
    def __getitem__(self, position: int | slice) -> Module:
        """A layer, or some of them in a row."""
        if isinstance(position, slice):
            return SparseSequential(*self.layers[position])
        return self.layers[position]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def _check_input(self, x: Any) -> None:
        """Raise for an input that is not for these layers; the library's networks say which."""

    def forward(self, x: Any) -> Any:
        return self._run(x)

    def _run(self, x: Any, **behind: Any) -> Any:
        """The layers in order; the last does what is ``behind`` it, see :func:`residual_sum`."""
        self._check_input(x)
        kept, layers = None, _pooled_first(self.layers)
        for position, layer in enumerate(layers):
            if behind and position == len(layers) - 1:
                return residual_sum(layer, x, **behind)
            if position and _slope_behind(*layers[position - 1 : position + 1]) is not None:
                continue
            slope = _slope_behind(layer, *layers[position + 1 : position + 2])
            if has_forward_of(layer, CONVOLUTIONS):
                dropout = _next(layers, position, (BatchwiseDropout,))
                whole = layer.groups > 1 or not (dropout and dropout.acts())
                kept = None if whole else dropout.draw(layer.out_channels)
                x = layer(x, kept, slope)
            elif has_forward_of(layer, (BatchwiseDropout,)) and layer.acts():
                check_sparse("BatchwiseDropout", x)
                if kept is None and _next(layers, position, (*CONVOLUTIONS, Linear)):
                    x = all_channels(x)
                    kept = layer.draw(x.num_channels)
                x = layer(x) if kept is None else functional.batchwise_dropout(x, kept)
                kept = None
            else:
                dropped = isinstance(x, SparseConvTensor) and x.channels is not None
                if dropped and not has_forward_of(layer, KNOW_CHANNELS):
                    x = all_channels(x)
                x = layer(x, **given(negative_slope=slope))
        return x if not isinstance(x, SparseConvTensor) else all_channels(x)


def residual_sum(
    layer: Module, x: Any, residual: SparseConvTensor, negative_slope: float | None = None
) -> SparseConvTensor:
    """``residual + layer(x)``, rectified if asked for.

    A convolution, alone or at the end of a :class:`SparseSequential`, adds while its own sums are
    at hand, without another pass over memory; behind other layers, and those whose ``forward`` is
    the user's, it is :func:`spconv.functional.add`.

    Parameters
    ----------
    layer : Module
    x : SparseConvTensor
        What the layer is called with.
    residual : SparseConvTensor
        On the sites of ``layer(x)``, with as many channels, and with a ground state if that has
        one.
    negative_slope : float, optional
        Of a leaky rectifier behind the sum (0: ReLU).

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> conv = spconv.SubMConv2d(1, 1, 3)
    >>> y = spconv.layers.residual_sum(conv, x, x, negative_slope=0.0)
    >>> np.allclose(y.features.data, spconv.functional.relu(x + conv(x)).features.data)
    True
    """
    if takes_residual(layer):
        run = layer._run if isinstance(layer, SparseSequential) else layer
        return run(x, **given(residual=residual, negative_slope=negative_slope))
    total = functional.add(residual, layer(x), owner="residual_sum")
    return total if negative_slope is None else functional.leaky_relu(total, negative_slope)


def takes_residual(layer: Module) -> bool:
    """Whether it can add a residual, and rectify the sum."""
    if has_forward_of(layer, (SparseSequential,)):
        return len(layer) > 0 and takes_residual(layer[-1])
    if has_forward_of(layer, (FrozenConvolution,)):
        return takes_residual(layer.layer)
    # A rectifier of its own belongs in front of the sum.
    return has_forward_of(layer, TAKE_RESIDUAL) and layer.negative_slope is None


def rectifier_slope(layer: Module | None) -> float | None:
    """The slope of a rectifier that keeps values in order, else None."""
    if has_forward_of(layer, (ReLU,)):
        return 0.0
    if has_forward_of(layer, (LeakyReLU,)) and layer.negative_slope >= 0:
        return layer.negative_slope
    return None


def _slope_behind(layer: Module, behind: Module | None = None) -> float | None:
    """The slope of the rectifier behind a layer that computes it as well, else None."""
    takes = has_forward_of(layer, RECTIFY) and getattr(layer, "negative_slope", None) is None
    return rectifier_slope(behind) if takes else None


def has_forward_of(
    layer: Module | None, kinds: tuple[type[AnyModule], ...]
) -> TypeGuard[AnyModule]:
    """Whether it is one of the kinds and does what that one does: a user's own may do more."""
    if not isinstance(layer, kinds) or "forward" in vars(layer):
        return False
    called = type(layer)
    return any(called.forward is k.forward and called.__call__ is k.__call__ for k in kinds)


def _next(layers: list[Module], position: int, kinds: tuple[type[Module], ...]) -> Any:
    """The next layer if it is of these kinds, layers between them keeping channels apart."""
    for layer in layers[position + 1 :]:
        if has_forward_of(layer, kinds):
            return layer
        if not has_forward_of(layer, KEEPS_ZERO):
            return None
    return None


def _pooled_first(layers: list[Module]) -> list[Module]:
    """The layers with every max-pooling in front of the rectifier that it is given behind.

    The two commute, and fewer sites are left to rectify, forward and backward, if the windows do
    not overlap. Of values that a slope rounds to one, the largest wins instead of the first.
    """
    order = list(layers)
    for position, (layer, pool) in enumerate(pairwise(layers)):
        if rectifier_slope(layer) is not None and has_forward_of(pool, (SparseMaxPool,)):
            windows = zip(pool.geometry.kernel_size, pool.geometry.stride, strict=True)
            if all(k <= s for k, s in windows):
                order[position : position + 2] = pool, layer
    return order
