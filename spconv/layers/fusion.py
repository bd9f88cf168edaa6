"""What neighbouring layers do together: rectifiers, dropped channels, residuals.

All rules are about the library's own layers: what a user's ``forward`` does is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, TypeGuard, TypeVar

from spconv.layers.activation import GELU, Identity, LeakyReLU, ReLU, SiLU, Tanh
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.dropout import BatchwiseDropout
from spconv.layers.fractional import SparseFractionalMaxPool
from spconv.layers.frozen import FrozenConvolution
from spconv.layers.linear import Linear
from spconv.layers.module import Module
from spconv.layers.norm import BatchNorm
from spconv.layers.pool import SparseAvgPool, SparseMaxPool

AnyModule = TypeVar("AnyModule", bound=Module)
SHRINK = (SparseConv, SubMConv, SparseConvTranspose)
"""Convolutions with fewer products where a batchwise dropout beside them drops channels."""
TAKE_RESIDUAL = (*SHRINK, SparseInverseConv)
"""Layers that add a residual while their sums are at hand."""
RECTIFY = (*TAKE_RESIDUAL, BatchNorm)
"""Layers that compute a rectifier behind them while their result is at hand."""
KEEPS_ZERO = (
    ReLU,
    LeakyReLU,
    SiLU,
    GELU,
    Tanh,
    Identity,
    SparseMaxPool,
    SparseFractionalMaxPool,
    SparseAvgPool,
)
"""Layers that act on every channel alone and leave a channel of zeros as it is."""
KNOW_CHANNELS = (*KEEPS_ZERO, BatchwiseDropout, Linear)
"""Layers that take a tensor with dropped channels; others get all of them."""


def has_forward_of(
    layer: Module | None, kinds: tuple[type[AnyModule], ...]
) -> TypeGuard[AnyModule]:
    """Whether it is one of the kinds and does what that one does: a user's own may do more."""
    if not isinstance(layer, kinds) or "forward" in vars(layer):
        return False
    return _is_of(type(layer).forward, type(layer).__call__, kinds)


@cache
def _is_of(forward: Callable, call: Callable, kinds: tuple[type[Module], ...]) -> bool:
    return any(forward is kind.forward and call is kind.__call__ for kind in kinds)


def takes_residual(layer: Module) -> bool:
    """Whether it can add a residual, and rectify the sum."""
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


def slope_behind(layer: Module, behind: Module | None = None) -> float | None:
    """The slope of the rectifier behind a layer that computes it as well, else None."""
    takes = has_forward_of(layer, RECTIFY) and getattr(layer, "negative_slope", None) is None
    return rectifier_slope(behind) if takes else None


def next_of(layers: list[Module], position: int, kinds: tuple[type[Module], ...]) -> Any:
    """The next layer if it is of these kinds, layers between them keeping channels apart."""
    for layer in layers[position + 1 :]:
        if has_forward_of(layer, kinds):
            return layer
        if not has_forward_of(layer, KEEPS_ZERO):
            return None
    return None


def pooled_first(layers: list[Module]) -> list[Module]:
    """The layers with every max-pooling in front of the rectifier that it is given behind.

    The two commute, and fewer sites are left to rectify, forward and backward, if the windows do
    not overlap. Of values that a slope rounds to one, the largest wins instead of the first.
    """
    order = list(layers)
    for position, (layer, pool) in enumerate(pairwise(layers)):
        if has_forward_of(pool, (SparseMaxPool,)) and rectifier_slope(layer) is not None:
            windows = zip(pool.geometry.kernel_size, pool.geometry.stride, strict=True)
            if all(k <= s for k, s in windows):
                order[position : position + 2] = pool, layer
    return order
