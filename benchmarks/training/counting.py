"""Active sites, pairs and multiply-adds of every layer of a network, sparse and dense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import spconv
from spconv import layers
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.pool import SparseAvgPool, SparseMaxPool
from spconv.rulebook import Rulebook

WITH_RULEBOOK = (SparseConv, SubMConv, SparseConvTranspose, SparseMaxPool, SparseAvgPool)
DENSE_CONVOLUTIONS = (layers.Conv2d, layers.Conv3d)


@dataclass(frozen=True)
class LayerCount:
    """What one layer does in a forward pass over a batch.

    Parameters
    ----------
    path, layer : str
        Its place in the network, and its class.
    channels : int
        Of its output; 0 where the output has none.
    sites, grid : int
        Active sites of the output, and all sites of its grid, over the whole batch.
    pairs : int
        Of the layer's rulebook; 0 for layers without one.
    multiply_adds, dense_multiply_adds : int
        Of the layer, and of the same layer on the whole grid. The product that gives the ground
        state, one row for a batch, is left out.
    """

    path: str
    layer: str
    channels: int
    sites: int
    grid: int
    pairs: int
    multiply_adds: int
    dense_multiply_adds: int


def count_network(model: spconv.Module, x: Any) -> list[LayerCount]:
    """Run ``model`` on ``x`` in evaluation and count what every layer does, in the order they run.

    Parameters
    ----------
    model : Module
        Any tree of layers.
    x : SparseConvTensor or Tensor
        As the model takes it.

    Returns
    -------
    list of LayerCount
        Of the innermost layers; one that is used twice comes twice.

    Examples
    --------
    >>> import numpy as np
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> for count in count_network(spconv.SubMConv2d(1, 8, 3), x):
    ...     print(count.layer, count.sites, count.grid, count.pairs, count.multiply_adds)
    SubMConv2d 4 16 10 80
    """
    counts: list[LayerCount] = []
    was_training = model.training
    model.eval()
    try:
        with observed(model, lambda *seen: counts.append(_count(*seen))), spconv.no_grad():
            model(x)
    finally:
        model.train(was_training)
    return counts


@contextmanager
def observed(model: spconv.Module, see: Callable[..., object]) -> Iterator[None]:
    """Have every innermost layer's calls seen as ``see(path, layer, input, output)``."""
    leaves = [(path, layer) for path, layer in model.named_modules() if not any(layer.children())]

    def seen_by(path: str, layer: spconv.Module) -> Callable[..., Any]:
        forward = layer.forward

        def seen(x: Any, *others: Any, **options: Any) -> Any:
            y = forward(x, *others, **options)
            see(path, layer, x, y)
            return y

        return seen

    for path, layer in leaves:
        vars(layer)["forward"] = seen_by(path, layer)
    try:
        yield
    finally:
        for _, layer in leaves:
            del vars(layer)["forward"]


def _count(path: str, layer: Any, x: Any, y: Any) -> LayerCount:
    sites, grid = _sites(y)
    cost = dense_cost = 0
    rulebook = rulebook_of(layer, x)
    pairs = 0 if rulebook is None else rulebook.num_pairs
    weight = getattr(layer, "weight", None)
    if isinstance(layer, layers.Linear):
        cost, dense_cost = sites * weight.size, grid * weight.size
    elif isinstance(layer, DENSE_CONVOLUTIONS):
        cost = dense_cost = grid * weight.size
    elif pairs and weight is not None:
        upwards = isinstance(layer, (SparseConvTranspose, SparseInverseConv))
        windows = min(_sites(x)[1], grid) if upwards else grid
        cost, dense_cost = pairs * prod(weight.shape[1:]), windows * weight.size
    channels = y.num_channels if isinstance(y, spconv.SparseConvTensor) else y.shape[1]
    name = type(layer).__name__
    return LayerCount(path, name, channels, sites, grid, pairs, cost, dense_cost)


def rulebook_of(layer: Any, x: Any) -> Rulebook | None:
    """The rulebook that a layer of this input has used; None for layers without one."""
    if isinstance(layer, WITH_RULEBOOK):
        return x.rulebooks.get(x.sites, layer.geometry)
    if isinstance(layer, SparseInverseConv):
        return x.rulebooks.named(layer.indice_key, "rulebook_of")
    return None


def _sites(y: Any) -> tuple[int, int]:
    """Active sites and sites of the grid, over the batch; all are active in a dense array."""
    if isinstance(y, spconv.SparseConvTensor):
        return len(y.indices), y.batch_size * prod(y.spatial_shape)
    total = len(y) * prod(y.shape[2:])
    return total, total
