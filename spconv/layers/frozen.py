"""Convolutions of frozen networks."""

from __future__ import annotations

import copy

import numpy as np

from spconv.autograd import Parameter, Tensor, no_grad
from spconv.compat import Array
from spconv.functional._common import check_sparse
from spconv.layers.conv import SparseConvolution
from spconv.layers.module import Module, given
from spconv.layers.norm import BatchNorm
from spconv.tensor import SparseConvTensor


def constant(array: Array) -> Parameter:
    """A parameter that wants no gradient."""
    parameter = Parameter(array)
    parameter.requires_grad = False
    return parameter


def holds_its_parameters(layer: SparseConvolution | BatchNorm) -> bool:
    """Whether weight and bias are what was assigned: properties of a user's may compute them."""
    held = vars(layer)
    return isinstance(held.get("weight"), Tensor) and all(
        name in held and getattr(layer, name) is held[name] for name in ("weight", "bias")
    )


class FrozenConvolution(Module):
    """A convolution with constant weights that records nothing.

    Parameters
    ----------
    layer : a sparse convolution layer
    """

    def __init__(self, layer: SparseConvolution) -> None:
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
        dtype = np.result_type(layer.weight.dtype, norm.weight.dtype)
        result.layer.weight = constant((layer.weight.data * scale).astype(dtype))
        result.layer.bias = constant((bias * scale + norm.bias.data).astype(dtype))
        return result

    def rectified(self, slope: float) -> FrozenConvolution:
        """With a rectifier behind it, computed where the convolution's sums are."""
        result = FrozenConvolution(self.layer)
        result.layer.negative_slope = slope
        return result

    def forward(
        self,
        x: SparseConvTensor,
        negative_slope: float | None = None,
        residual: SparseConvTensor | None = None,
    ) -> SparseConvTensor:
        """Convolve, with the options of :meth:`spconv.layers.conv.SparseConv.forward`."""
        check_sparse(type(self.layer).__name__, x)
        with no_grad():
            return self.layer(x, **given(negative_slope=negative_slope, residual=residual))
