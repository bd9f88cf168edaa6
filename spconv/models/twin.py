"""The dense network that computes what a sparse one does, on the whole grid."""

from __future__ import annotations

from spconv import layers
from spconv.layers.conv import SparseConv
from spconv.layers.pool import SparseMaxPool

DENSE_CONVOLUTIONS = {2: layers.Conv2d, 3: layers.Conv3d}
ALIKE = (
    layers.ReLU,
    layers.SiLU,
    layers.GELU,
    layers.Sigmoid,
    layers.Tanh,
    layers.Flatten,
    layers.Identity,
)
"""Layers without options, which take grids too."""
DENSE_MAX_POOLS = {2: layers.MaxPool2d, 3: layers.MaxPool3d}


def dense_twin(model: layers.SparseSequential) -> layers.SparseSequential:
    """Make the dense counterpart of a chain of sparse layers, with copies of its parameters.

    On ``x.dense()`` it gives what ``model`` gives on ``x``, if ``x`` carries a ground state:
    the comparison behind every "sparse against dense" number of the benchmarks.

    Parameters
    ----------
    model : SparseSequential
        Of unpadded 2-D or 3-D convolutions and max-poolings, ReLU, LeakyReLU, SiLU, GELU, Sigmoid,
        Tanh, Dropout, Flatten, Identity and Linear.

    Raises
    ------
    TypeError, ValueError
        For a layer that has no dense counterpart here.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> from spconv.models import DeepCNet
    >>> net = DeepCNet(1, 2, in_channels=1, num_classes=3)
    >>> x = spconv.from_dense(np.eye(6, dtype="float32")[None, None], ground_state=[0.0])
    >>> np.allclose(net(x).data, dense_twin(net)(x.dense()).data, atol=1e-6)
    True
    """
    twin = layers.SparseSequential(*(_dense_layer(layer) for layer in model))
    twin.load_state_dict(model.state_dict())
    for own, other in zip(twin.parameters(), model.parameters(), strict=True):
        own.data = other.data.copy()
    return twin


def _dense_layer(layer: layers.Module) -> layers.Module:
    if isinstance(layer, SparseConv | SparseMaxPool):
        geometry = layer.geometry
        if any(geometry.padding) or geometry.ndim not in DENSE_CONVOLUTIONS:
            raise ValueError(
                f"dense_twin: {layer!r} needs padding 0 and ndim 2 or 3, because dense layers "
                "pad with zeros and not with the ground state"
            )
        if isinstance(layer, SparseMaxPool):
            return DENSE_MAX_POOLS[geometry.ndim](geometry.kernel_size, geometry.stride)
        return DENSE_CONVOLUTIONS[geometry.ndim](
            layer.in_channels,
            layer.out_channels,
            geometry.kernel_size,
            geometry.stride,
            dilation=geometry.dilation,
            groups=layer.groups,
            bias=layer.bias is not None,
        )
    if isinstance(layer, layers.Linear):
        return layers.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    if isinstance(layer, layers.LeakyReLU):
        return layers.LeakyReLU(layer.negative_slope)
    if isinstance(layer, layers.Dropout):
        return layers.Dropout(layer.p)
    if isinstance(layer, ALIKE):
        return type(layer)()
    raise TypeError(f"dense_twin: no dense counterpart for {layer!r}")
