"""Frozen networks: what can be computed once is, and nothing is recorded."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from spconv.autograd import Parameter
from spconv.checks import type_name
from spconv.layers import BatchNorm, LeakyReLU, Module, ReLU, SparseSequential
from spconv.layers.containers import TAKE_RESIDUAL, has_forward_of
from spconv.layers.dropout import BatchwiseDropout, Dropout
from spconv.layers.frozen import FrozenConvolution

AnyModule = TypeVar("AnyModule", bound=Module)


def freeze(model: AnyModule) -> AnyModule:
    """Copy a network for inference.

    In every :class:`~spconv.SparseSequential`, at any depth, a batch normalization behind a
    convolution is folded into its weights, the rectifier behind it becomes part of it, and
    dropout disappears; layers with a ``forward`` of the user's own stay as they are. Behind such
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
    frozen = copy.copy(model)
    if isinstance(frozen, SparseSequential):
        frozen.layers = _fold([freeze(layer) for layer in frozen])
    for name, value in vars(model).items():
        if not (name == "layers" and isinstance(model, SparseSequential)):
            setattr(frozen, name, _freeze_held(value))
    frozen.training = False
    return frozen


def _freeze_held(value: Any) -> Any:
    """An attribute with what is in it frozen, at any depth of lists, tuples and dicts."""
    if isinstance(value, Module):
        return freeze(value)
    if isinstance(value, Parameter):
        constant = Parameter(value.data.copy())
        constant.requires_grad = False
        return constant
    if isinstance(value, list | tuple):
        return type(value)(_freeze_held(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _freeze_held(entry) for key, entry in value.items()}
    return value


def _fold(layers: list[Module]) -> list[Module]:
    folded: list[Module] = []
    for layer in layers:
        if has_forward_of(layer, (Dropout, BatchwiseDropout)):
            continue
        last = folded[-1] if folded else None
        if has_forward_of(layer, TAKE_RESIDUAL):
            folded.append(FrozenConvolution(layer))
        elif isinstance(last, FrozenConvolution) and last.layer.negative_slope is None:
            if has_forward_of(layer, (BatchNorm,)):
                folded[-1] = last.normalized(layer)
            elif has_forward_of(layer, (ReLU, LeakyReLU)):
                folded[-1] = last.rectified(getattr(layer, "negative_slope", 0.0))
            else:
                folded.append(layer)
        else:
            folded.append(layer)
    return folded
