"""Layer classes by number of dimensions, and the block that most networks are made of."""

from __future__ import annotations

import numpy as np

from spconv import layers

CONVOLUTIONS = {
    1: layers.SparseConv1d,
    2: layers.SparseConv2d,
    3: layers.SparseConv3d,
    4: layers.SparseConv4d,
}
SUBMANIFOLD_CONVOLUTIONS = {
    1: layers.SubMConv1d,
    2: layers.SubMConv2d,
    3: layers.SubMConv3d,
    4: layers.SubMConv4d,
}
INVERSE_CONVOLUTIONS = {
    1: layers.SparseInverseConv1d,
    2: layers.SparseInverseConv2d,
    3: layers.SparseInverseConv3d,
    4: layers.SparseInverseConv4d,
}
MAX_POOLS = {
    1: layers.SparseMaxPool1d,
    2: layers.SparseMaxPool2d,
    3: layers.SparseMaxPool3d,
    4: layers.SparseMaxPool4d,
}


def norm_relu(width: int) -> list[layers.Module]:
    """Batch normalization over the active sites, and a rectifier."""
    return [layers.BatchNorm(width), layers.ReLU()]


def submanifold(
    ndim: int, in_channels: int, out_channels: int, rng: np.random.Generator
) -> layers.Module:
    """Submanifold convolution of size 3 without a bias, which the normalization makes useless."""
    return SUBMANIFOLD_CONVOLUTIONS[ndim](in_channels, out_channels, 3, bias=False, rng=rng)
