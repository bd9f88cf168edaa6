"""Frozen networks: what can be computed once is, and nothing is recorded."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from spconv.autograd import Parameter
from spconv.checks import type_name
from spconv.layers import BatchNorm, Identity, Module, SparseSequential
from spconv.layers.dropout import BatchwiseDropout, Dropout
from spconv.layers.frozen import FrozenConvolution, constant
from spconv.layers.fusion import TAKE_RESIDUAL, has_forward_of, rectifier_slope

AnyModule = TypeVar("AnyModule", bound=Module)


def freeze(model: AnyModule) -> AnyModule:
    """Copy a network for inference.

    In every :class:`~spconv.SparseSequential`, at any depth, a batch normalization behind a
    sparse convolution is folded into its weights, the rectifier behind it becomes part of it, and
    dropout disappears, so that its layers can be called together only, not by their positions;
    those that have names keep them.
    What has a ``forward`` of the user's own keeps it, with what it holds frozen. Behind such
    a convolution :func:`~spconv.layers.residual_sum`, and with it every residual block, leaves
    the sum and the last rectifier to it as well. The copy has parameters of its own, which want no
    gradient: training the model further does not change it.

    Parameters
    ----------
    model : Module
        Stays as it is; its running statistics are what is folded.

    Returns
    -------
    Module
        Gives what ``model.eval()`` gives, up to the rounding of the folded products: relative to
        the largest output about 1e-5 with float32 parameters and 1e-13 with float64 ones.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = spconv.SparseSequential(
    ...     spconv.SubMConv2d(1, 4, 3), spconv.BatchNorm(4), spconv.ReLU()
    ... ).eval()
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> len(freeze(net)), np.allclose(freeze(net)(x).features.data, net(x).features.data)
    (1, True)
    """
    if not isinstance(model, Module):
        raise TypeError(f"freeze: expected a Module, got {type_name(model)}")
    frozen: AnyModule = _frozen(model, {})
    return frozen


def _frozen(held: Any, made: dict[int, Any]) -> Any:
    """What is held, modules and parameters in it frozen, at any depth; ``made`` by identity."""
    if id(held) in made:
        return made[id(held)]
    if isinstance(held, Module):
        module = made[id(held)] = copy.copy(held)
        own = dict(held.own_buffers())
        for name, value in vars(held).items():
            setattr(module, name, value.copy() if name in own else _frozen(value, made))
        if isinstance(module, SparseSequential) and has_forward_of(module, (SparseSequential,)):
            before = module.layers
            module.layers, kept = _fold(before)
            module.folded |= len(kept) < len(before)
            if module.layer_names is not None:
                module.layer_names = tuple(module.layer_names[position] for position in kept)
        module.training = False
        return module
    if isinstance(held, Parameter):
        parameter = made[id(held)] = constant(held.data.copy())
        return parameter
    if isinstance(held, list | tuple):
        entries = [_frozen(entry, made) for entry in held]
        named = hasattr(held, "_make")  # a namedtuple takes its entries one by one
        return type(held)(*entries) if named else type(held)(entries)
    if isinstance(held, dict):
        return {key: _frozen(entry, made) for key, entry in held.items()}
    return held


def _fold(layers: list[Module]) -> tuple[list[Module], list[int]]:
    """What is left of them, and where that was."""
    folded: list[Module] = []
    kept: list[int] = []
    for position, layer in enumerate(layers):
        if has_forward_of(layer, (Dropout, BatchwiseDropout, Identity)):
            continue
        merged = _merged(folded[-1], layer) if folded else None
        if merged is not None:
            folded[-1] = merged
            continue
        folded.append(FrozenConvolution(layer) if has_forward_of(layer, TAKE_RESIDUAL) else layer)
        kept.append(position)
    return folded, kept


def _merged(convolution: Module, layer: Module) -> FrozenConvolution | None:
    """A convolution that does what the layer behind it does as well, if it can."""
    if isinstance(convolution, FrozenConvolution) and convolution.layer.negative_slope is None:
        if has_forward_of(layer, (BatchNorm,)):
            return convolution.normalized(layer)
        if (slope := rectifier_slope(layer)) is not None:
            return convolution.rectified(slope)
    return None
