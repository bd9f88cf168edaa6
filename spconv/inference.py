"""Frozen networks: what can be computed once is, and nothing is recorded."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np

from spconv.autograd import Parameter, no_grad
from spconv.functional._common import check_sparse
from spconv.layers import BatchNorm, LeakyReLU, Module, ReLU, SparseSequential
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.dropout import BatchwiseDropout, Dropout
from spconv.tensor import SparseConvTensor

AnyModule = TypeVar("AnyModule", bound=Module)
CONVOLUTIONS = (SparseConv, SubMConv, SparseConvTranspose, SparseInverseConv)
Convolution = SparseConv | SubMConv | SparseConvTranspose | SparseInverseConv


def freeze(model: AnyModule) -> AnyModule:
    """Copy a network for inference.

    In every :class:`~spconv.SparseSequential`, at any depth, a batch normalization behind a
    convolution is folded into its weights, the rectifier behind it becomes part of it, and
    dropout disappears. The copy shares the parameters that nothing was folded into with the
    model; convolutions record nothing.

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
    frozen = copy.copy(model)
    if isinstance(frozen, SparseSequential):
        frozen.layers = _fold([freeze(layer) for layer in frozen])
    for name, value in vars(model).items():
        if not (name == "layers" and isinstance(model, SparseSequential)):
            setattr(frozen, name, _freeze_held(value))
    frozen.training = False
    return frozen


def _freeze_held(value: Any) -> Any:
    """An attribute with the modules in it frozen, at any depth of lists, tuples and dicts."""
    if isinstance(value, Module):
        return freeze(value)
    if isinstance(value, list | tuple):
        return type(value)(_freeze_held(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _freeze_held(entry) for key, entry in value.items()}
    return value


def _fold(layers: list[Module]) -> list[Module]:
    folded: list[Module] = []
    for layer in layers:
        if isinstance(layer, Dropout | BatchwiseDropout):
            continue
        last = folded[-1] if folded else None
        if isinstance(layer, CONVOLUTIONS):
            folded.append(FrozenConvolution(layer))
        elif isinstance(last, FrozenConvolution) and last.layer.negative_slope is None:
            if isinstance(layer, BatchNorm):
                folded[-1] = last.normalized(layer)
            elif isinstance(layer, ReLU | LeakyReLU):
                folded[-1] = last.rectified(getattr(layer, "negative_slope", 0.0))
            else:
                folded.append(layer)
        else:
            folded.append(layer)
    return folded


class FrozenConvolution(Module):
    """A convolution with constant weights that records nothing.

    Parameters
    ----------
    layer : a sparse convolution layer
    """

    def __init__(self, layer: Convolution) -> None:
        self.layer = copy.copy(layer)

    def describe(self) -> str:
        return f"{type(self.layer).__name__}: {self.layer.describe()}"

    def __repr__(self) -> str:
        return f"FrozenConvolution({self.describe()})"

    def normalized(self, norm: BatchNorm) -> FrozenConvolution:
        """With ``norm`` behind it: W' = W s and b' = (b - mean) s + beta, s = gamma / sqrt(var)."""
        layer = self.layer
        scale = norm.weight.data / np.sqrt(norm.running_var + norm.eps)
        bias = -norm.running_mean if layer.bias is None else layer.bias.data - norm.running_mean
        result = FrozenConvolution(layer)
        result.layer.weight = Parameter((layer.weight.data * scale).astype(layer.weight.dtype))
        result.layer.bias = Parameter((bias * scale + norm.bias.data).astype(layer.weight.dtype))
        return result

    def rectified(self, slope: float) -> FrozenConvolution:
        """With a rectifier behind it, computed where the convolution's sums are."""
        result = FrozenConvolution(self.layer)
        result.layer.negative_slope = slope
        return result

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        check_sparse(type(self.layer).__name__, x)
        with no_grad():
            return self.layer(x)
