"""Layers on whole grids, the baselines of the sparse ones, and the ways from sparse to dense."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from spconv import functional
from spconv.autograd import Tensor
from spconv.functional._common import check_features, check_sparse
from spconv.geometry import Geometry, IntOrTuple
from spconv.layers.conv import Convolution
from spconv.layers.module import Module
from spconv.tensor import SparseConvTensor


class ToDense(Module):
    """The whole grid (batch_size, C, *spatial_shape); inactive sites hold the ground state."""

    def forward(self, x: SparseConvTensor) -> Tensor:
        check_sparse("ToDense", x)
        return x.dense()


class Flatten(Module):
    """(batch_size, ...) -> (batch_size, features); a sparse tensor is made dense first."""

    def forward(self, x: SparseConvTensor | Tensor) -> Tensor:
        check_features("Flatten", x)
        x = x.dense() if isinstance(x, SparseConvTensor) else x
        return x.reshape(len(x), int(np.prod(x.shape[1:])))


class DenseConvolution(Convolution):
    """A convolution of whole grids."""

    def forward(self, x: Tensor) -> Tensor:
        owner = type(self).__name__
        return functional.dense_conv(
            x, self.weight, self.bias, self.geometry, self.groups, owner=owner
        )


class DenseConv(DenseConvolution):
    """Dense convolution of grids (batch_size, C, *spatial_shape), zero-padded.

    Parameters as for :class:`SparseConv`, without ``indice_key``; ``weight`` has the same layout
    (K, in_channels / groups, out_channels), so parameters can be exchanged.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            rng=rng,
        )


class DenseConvTranspose(DenseConvolution):
    """Dense transposed convolution of grids (batch_size, C, *spatial_shape).

    Every input reaches the outputs under its kernel; what none reaches holds the bias.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of ndim ints
    stride, padding : int or sequence of ndim ints
    output_padding : int or sequence of ndim ints
        Added to one side of the output shape
        ``(in - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``.
    dilation : int or sequence of ndim ints
    bias : bool
    rng : numpy.random.Generator, optional
        For the initial weights (He et al. 2015, normal).

    Attributes
    ----------
    weight : Parameter (K, in_channels, out_channels)
        K = prod(kernel_size), row-major, as of :class:`SparseConvTranspose`.
    bias : Parameter (out_channels,) or None

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.Tensor(np.zeros((1, 8, 5, 5), "float32"))
    >>> spconv.ConvTranspose2d(8, 4, kernel_size=2, stride=2)(x).shape
    (1, 4, 10, 10)
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        *,
        output_padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            bias=bias,
            output_padding=output_padding,
            rng=rng,
        )


class DenseMaxPool(Module):
    """Dense max-pooling of grids (batch_size, C, *spatial_shape); padding never wins."""

    ndim: ClassVar[int]

    def __init__(
        self, kernel_size: IntOrTuple, stride: IntOrTuple | None = None, padding: IntOrTuple = 0
    ) -> None:
        stride = kernel_size if stride is None else stride
        self.geometry = Geometry.make(
            self.ndim, kernel_size, stride, padding, owner=type(self).__name__
        )

    def describe(self) -> str:
        return self.geometry.describe()

    def forward(self, x: Tensor) -> Tensor:
        return functional.dense_max_pool(x, self.geometry, owner=type(self).__name__)


class Conv2d(DenseConv):
    __doc__ = DenseConv.__doc__
    ndim = 2


class Conv3d(DenseConv):
    __doc__ = DenseConv.__doc__
    ndim = 3


class ConvTranspose2d(DenseConvTranspose):
    __doc__ = DenseConvTranspose.__doc__
    ndim = 2


class ConvTranspose3d(DenseConvTranspose):
    __doc__ = DenseConvTranspose.__doc__
    ndim = 3


class MaxPool2d(DenseMaxPool):
    __doc__ = DenseMaxPool.__doc__
    ndim = 2


class MaxPool3d(DenseMaxPool):
    __doc__ = DenseMaxPool.__doc__
    ndim = 3
