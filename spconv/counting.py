"""What every layer of a network computes: active sites, pairs, multiply-adds, against dense."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from spconv import layers
from spconv.autograd import no_grad
from spconv.checks import type_name
from spconv.layers import Module
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.modes import modes_kept
from spconv.layers.pool import SparseAvgPool, SparseMaxPool
from spconv.rulebook import Rulebook
from spconv.tensor import SparseConvTensor

WITH_RULEBOOK = (SparseConv, SubMConv, SparseConvTranspose, SparseMaxPool, SparseAvgPool)
DENSE_CONVOLUTIONS = (layers.Conv2d, layers.Conv3d)
DENSE_UPWARDS = (layers.ConvTranspose2d, layers.ConvTranspose3d)


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
        Active sites of the output, and all sites of its grid, over the whole batch; rows of what
        is neither sparse nor a grid.
    pairs : int
        Of the layer's rulebook; 0 for layers without one, and where it is not known.
    multiply_adds, dense_multiply_adds : int
        Of the layer, and of the same layer on the whole grid; both 0 where they are not known. The
        product that gives the ground state, one row for a batch, is left out.
    parameters : int
        Learned values of the layer.
    """

    path: str
    layer: str
    channels: int
    sites: int
    grid: int
    pairs: int
    multiply_adds: int
    dense_multiply_adds: int
    parameters: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What all layers of a network do; printed, a table.

    Parameters
    ----------
    layers : tuple of LayerCount
        In the order in which they run.
    parameters : int
        Learned values of the network, those that layers share counted once.
    """

    layers: tuple[LayerCount, ...]
    parameters: int

    @property
    def multiply_adds(self) -> int:
        """Of a forward pass; a training step takes some three times as many."""
        return sum(count.multiply_adds for count in self.layers)

    @property
    def dense_multiply_adds(self) -> int:
        """Of a forward pass over whole grids."""
        return sum(count.dense_multiply_adds for count in self.layers)

    def __repr__(self) -> str:
        heads = ("path", "layer", "channels", "sites", "active", "pairs", "multiply-adds", "dense")
        rows = [(*heads, "parameters")] + [
            (
                count.path,
                count.layer,
                f"{count.channels:,}",
                f"{count.sites:,}",
                f"{count.sites / max(count.grid, 1):.1%}",
                f"{count.pairs:,}",
                f"{count.multiply_adds:,}",
                f"{count.dense_multiply_adds:,}",
                f"{count.parameters:,}",
            )
            for count in self.layers
        ]
        work = f"{self.multiply_adds:,} multiply-adds, {self.dense_multiply_adds:,} on whole grids"
        return f"{_aligned(rows, num_words=2)}\n{work}; {self.parameters:,} parameters"


def summary(model: Module, x: Any) -> Summary:
    """Run ``model`` on ``x``, in evaluation mode and off the tape, and count what every layer does.

    Parameters
    ----------
    model : Module
        Its layers' modes are restored afterwards. Other threads must not run it meanwhile.
    x : SparseConvTensor or Tensor
        As the model takes it.

    Returns
    -------
    Summary
        Of the innermost modules; one that runs twice is there twice. Of a module of your own that
        holds no others its output is counted, not its arithmetic; so, too, of a layer with a
        ``forward`` of your own that convolves on other sites than its input's.

    Raises
    ------
    TypeError
        If ``model`` is no Module.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> net = spconv.SparseSequential(spconv.SubMConv2d(1, 8, 3), spconv.SparseMaxPool2d(2))
    >>> spconv.summary(net, x)
    path  layer            channels  sites  active  pairs  multiply-adds  dense  parameters
    0     SubMConv2d              8      4   25.0%     10             80  1,152          80
    1     SparseMaxPool2d         8      2   50.0%      4              0      0           0
    80 multiply-adds, 1,152 on whole grids; 80 parameters
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a Module, got {type_name(model)}")
    counts: list[LayerCount] = []
    with observed(model, lambda *seen: counts.append(_count(*seen))), modes_kept(model), no_grad():
        model.eval()
        model(x)
    return Summary(tuple(counts), model.num_parameters())


@contextmanager
def observed(model: Module, see: Callable[..., object]) -> Iterator[None]:
    """Have every innermost layer's calls seen as ``see(path, layer, input, output)``.

    The input is what ``forward`` names first, however it is passed.
    """
    leaves = [(path, layer) for path, layer in model.named_modules() if not any(layer.children())]
    own = [vars(layer).get("forward") for _, layer in leaves]

    def seen_by(path: str, layer: Module) -> Callable[..., Any]:
        forward = layer.forward

        def seen(*inputs: Any, **options: Any) -> Any:
            y = forward(*inputs, **options)
            see(path, layer, _first(forward, inputs, options), y)
            return y

        return seen

    for path, layer in leaves:
        vars(layer)["forward"] = seen_by(path, layer)
    try:
        yield
    finally:
        for (_, layer), forward in zip(leaves, own, strict=True):
            del vars(layer)["forward"]
            if forward is not None:
                vars(layer)["forward"] = forward


def _first(forward: Callable[..., Any], inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What is given for the parameter that comes first."""
    if inputs:
        return inputs[0]
    names = (*inspect.signature(forward).parameters, *options)
    return next((options[name] for name in names if name in options), None)


def _count(path: str, layer: Any, x: Any, y: Any) -> LayerCount:
    sites, grid = _sites(y)
    cost = dense_cost = 0
    rulebook = rulebook_of(layer, x)
    pairs = 0 if rulebook is None else rulebook.num_pairs
    weight: Any = getattr(layer, "weight", None)
    if isinstance(layer, layers.Linear):
        cost, dense_cost = sites * weight.size, grid * weight.size
    elif isinstance(layer, DENSE_CONVOLUTIONS):
        cost = dense_cost = grid * weight.size
    elif isinstance(layer, DENSE_UPWARDS):
        cost = dense_cost = _sites(x)[1] * weight.size
    elif rulebook is not None and weight is not None:
        upwards = isinstance(layer, (SparseConvTranspose, SparseInverseConv))
        windows = min(_sites(x)[1], grid) if upwards else grid
        cost, dense_cost = pairs * prod(weight.shape[1:]), windows * weight.size
    name, learned = type(layer).__name__, layer.num_parameters()
    return LayerCount(path, name, _channels(y), sites, grid, pairs, cost, dense_cost, learned)


def rulebook_of(layer: Any, x: Any) -> Rulebook | None:
    """The rulebook that a layer of this input has used; None for layers without one.

    It is looked up, not built: None, too, where a ``forward`` of the user's own has asked for
    another one. That of a :class:`SparseInverseConv` is of the layer which it inverts.
    """
    if not isinstance(x, SparseConvTensor):
        return None
    if isinstance(layer, WITH_RULEBOOK):
        return x.rulebooks.find(x.sites, layer.geometry)
    if isinstance(layer, SparseInverseConv):
        return x.rulebooks.named(layer.indice_key, "rulebook_of")
    return None


def _sites(y: Any) -> tuple[int, int]:
    """Active sites and sites of the grid, over the batch; all are active in a dense array."""
    if isinstance(y, SparseConvTensor):
        return len(y.indices), y.batch_size * prod(y.spatial_shape)
    shape = _shape(y)
    total = prod((*shape[:1], *shape[2:])) if shape else 0
    return total, total


def _channels(y: Any) -> int:
    if isinstance(y, SparseConvTensor):
        return y.num_channels
    shape = _shape(y)
    return shape[1] if len(shape) > 1 else 0


def _shape(y: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return shape


def _aligned(rows: Sequence[Sequence[str]], num_words: int) -> str:
    """Columns as wide as their widest cell, words to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(
            cell.ljust(width) if i < num_words else cell.rjust(width)
            for i, (cell, width) in enumerate(cells)
        )

    return "\n".join(map(line, rows))
