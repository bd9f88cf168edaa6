"""Sparse convolution layers; the numbered classes fix the number of dimensions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from spconv import functional, initializers
from spconv.autograd import Parameter
from spconv.checks import check_bool, check_float, check_int, check_optional_generator
from spconv.geometry import Geometry, IntOrTuple
from spconv.layers.module import Module
from spconv.tensor import KeptChannels, SparseConvTensor


class Convolution(Module):
    """Weights, checks and text that all convolutions share, sparse and dense."""

    ndim: ClassVar[int]
    submanifold: ClassVar[bool] = False
    transposed: ClassVar[bool] = False
    negative_slope: float | None = None
    """Of a rectifier that is part of the layer; :func:`spconv.inference.freeze` sets it."""

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
        indice_key: str | None = None,
        output_padding: IntOrTuple = 0,
        rng: np.random.Generator | None = None,
    ) -> None:
        owner = type(self).__name__
        self.in_channels = in_channels = check_int(owner, "in_channels", in_channels, 1)
        self.out_channels = out_channels = check_int(owner, "out_channels", out_channels, 1)
        self.groups = groups = check_int(owner, "groups", groups, 1)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value % groups:
                raise ValueError(f"{owner}: groups={groups} must divide {name}={value}")
        check_optional_generator(owner, rng)
        has_bias = check_bool(owner, "bias", bias)
        self.indice_key = indice_key
        self.geometry = Geometry.make(
            self.ndim,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            submanifold=self.submanifold,
            transposed=self.transposed,
            owner=owner,
        )
        volume, rows = self.geometry.volume, in_channels // groups
        weight = initializers.he_normal((volume, rows, out_channels), volume * rows, rng=rng)
        self.weight = Parameter(weight)
        self.bias = Parameter(initializers.zeros((out_channels,))) if has_bias else None

    def describe(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, {self._kernel_text()}"
        text += f", groups={self.groups}" if self.groups > 1 else ""
        text += "" if self.bias is not None else ", bias=False"
        text += "" if self.negative_slope is None else f", negative_slope={self.negative_slope:g}"
        return text + (f", indice_key={self.indice_key!r}" if self.indice_key else "")

    def _kernel_text(self) -> str:
        return self.geometry.describe()


class SparseConvolution(Convolution):
    """One convolution over the rulebook of its geometry."""

    def forward(
        self,
        x: SparseConvTensor,
        *,
        keep: KeptChannels | None = None,
        negative_slope: float | None = None,
        residual: SparseConvTensor | None = None,
    ) -> SparseConvTensor:
        """Convolve, and what comes behind while the sums are at hand.

        Parameters
        ----------
        x : SparseConvTensor
        keep : KeptChannels, optional
            Compute these output channels only.
        negative_slope : float, optional
            As if a :class:`LeakyReLU` came behind.
        residual : SparseConvTensor, optional
            Added in front of that, as ``+`` would: on the output's sites, with its channels.
        """
        return functional.sparse_conv(
            x,
            self.weight,
            self.bias,
            self.geometry,
            groups=self.groups,
            indice_key=self.indice_key,
            keep=keep,
            negative_slope=self._slope(negative_slope),
            residual=residual,
            owner=type(self).__name__,
        )

    def _slope(self, asked: float | None) -> float | None:
        """The slope that a call asks for, else the layer's own."""
        if asked is None:
            return self.negative_slope
        return check_float(type(self).__name__, "negative_slope", asked)


class SparseConv(SparseConvolution):
    """Regular sparse convolution: an output wherever the kernel touches an active site.

    Equal to the dense layer on the whole grid when the input carries a ground state
    (Graham 2014, arXiv 1409.6070).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of ndim ints
    stride, padding, dilation : int or sequence of ndim ints
        1, 0 and 1 by default. Padding reads the ground state (0 without one).
    groups : int
    bias : bool
    indice_key : str, optional
        Name of the rulebook, for :class:`SparseInverseConv`.
    rng : numpy.random.Generator, optional
        For the initial weights (He et al. 2015, normal).

    Attributes
    ----------
    weight : Parameter (K, in_channels / groups, out_channels)
        K = prod(kernel_size), row-major.
    bias : Parameter (out_channels,) or None
    geometry : Geometry
        Has ``kernel_size``, ``stride``, ``padding`` and ``dilation``.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(5, dtype="float32")[None, None])
    >>> spconv.SparseConv2d(1, 8, kernel_size=3, stride=2, padding=1)(x)
    SparseConvTensor(7 sites, 8 channels, batch_size=1, spatial_shape=(3, 3), float32)
    """


class SubMConv(SparseConvolution):
    """Submanifold convolution: outputs at the input's sites only, in their order.

    Graham & van der Maaten 2017 (arXiv 1706.01307). The kernel is centred (PyTorch's "same"
    phase when even) and ``padding`` is ignored.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, dilation, groups, bias, indice_key, rng
        As for :class:`SparseConv`; ``stride`` must be 1.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(5, dtype="float32")[None, None])
    >>> spconv.SubMConv2d(1, 8, kernel_size=3)(x)
    SparseConvTensor(5 sites, 8 channels, batch_size=1, spatial_shape=(5, 5), float32)
    """

    submanifold = True


class SparseConvTranspose(SparseConvolution):
    """Transposed convolution: every active input reaches the outputs under its kernel.

    With a stride above 1 it acts on deviations and the output's ground state is the bias,
    because the dense layer would make a constant background periodic.

    Parameters
    ----------
    output_padding : int or sequence of ndim ints
        Added to one side of the output shape
        ``(in - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``.
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, indice_key, rng
        As for :class:`SparseConv`.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(2, dtype="float32")[None, None])
    >>> spconv.SparseConvTranspose2d(1, 8, kernel_size=2, stride=2)(x)
    SparseConvTensor(8 sites, 8 channels, batch_size=1, spatial_shape=(4, 4), float32)
    """

    transposed = True


class SparseInverseConv(SparseConvolution):
    """Go back to the sites that the layer with the same ``indice_key`` started from.

    Its pairs are that layer's with input and output exchanged, so a U-Net's decoder returns to
    exactly the encoder's sites. Where a ground state reaches others, the dense layer differs there;
    with a stride above 1 the output's is the bias, as that of :class:`SparseConvTranspose`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of ndim ints
        That of the layer being inverted.
    indice_key : str
        Of the layer being inverted.
    groups, bias, rng
        As for :class:`SparseConv`.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> down = spconv.SparseConv2d(1, 8, 2, stride=2, indice_key="down")
    >>> up = spconv.SparseInverseConv2d(8, 1, 2, indice_key="down")
    >>> np.array_equal(up(down(x)).indices, x.indices)
    True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        indice_key: str,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups=groups, bias=bias, rng=rng)
        self.indice_key: str = indice_key

    def _kernel_text(self) -> str:
        return f"kernel_size={self.geometry.kernel_size}"

    def forward(
        self,
        x: SparseConvTensor,
        *,
        keep: KeptChannels | None = None,
        negative_slope: float | None = None,
        residual: SparseConvTensor | None = None,
    ) -> SparseConvTensor:
        """Convolve, with the options of :meth:`SparseConv.forward`."""
        owner = type(self).__name__
        return functional.inverse_conv(
            x,
            self.weight,
            self.bias,
            self.indice_key,
            kernel_size=self.geometry.kernel_size,
            groups=self.groups,
            keep=keep,
            negative_slope=self._slope(negative_slope),
            residual=residual,
            owner=owner,
        )


class SparseConv1d(SparseConv):
    ndim = 1
    __doc__ = SparseConv.__doc__


class SparseConv2d(SparseConv):
    ndim = 2
    __doc__ = SparseConv.__doc__


class SparseConv3d(SparseConv):
    ndim = 3
    __doc__ = SparseConv.__doc__


class SparseConv4d(SparseConv):
    ndim = 4
    __doc__ = SparseConv.__doc__


class SubMConv1d(SubMConv):
    ndim = 1
    __doc__ = SubMConv.__doc__


class SubMConv2d(SubMConv):
    ndim = 2
    __doc__ = SubMConv.__doc__


class SubMConv3d(SubMConv):
    ndim = 3
    __doc__ = SubMConv.__doc__


class SubMConv4d(SubMConv):
    ndim = 4
    __doc__ = SubMConv.__doc__


class SparseConvTranspose1d(SparseConvTranspose):
    ndim = 1
    __doc__ = SparseConvTranspose.__doc__


class SparseConvTranspose2d(SparseConvTranspose):
    ndim = 2
    __doc__ = SparseConvTranspose.__doc__


class SparseConvTranspose3d(SparseConvTranspose):
    ndim = 3
    __doc__ = SparseConvTranspose.__doc__


class SparseConvTranspose4d(SparseConvTranspose):
    ndim = 4
    __doc__ = SparseConvTranspose.__doc__


class SparseInverseConv1d(SparseInverseConv):
    ndim = 1
    __doc__ = SparseInverseConv.__doc__


class SparseInverseConv2d(SparseInverseConv):
    ndim = 2
    __doc__ = SparseInverseConv.__doc__


class SparseInverseConv3d(SparseInverseConv):
    ndim = 3
    __doc__ = SparseInverseConv.__doc__


class SparseInverseConv4d(SparseInverseConv):
    ndim = 4
    __doc__ = SparseInverseConv.__doc__
