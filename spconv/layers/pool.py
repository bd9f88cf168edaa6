"""Pooling layers; the numbered classes fix the number of dimensions."""

from __future__ import annotations

from typing import ClassVar

from spconv import functional
from spconv.autograd import Tensor
from spconv.geometry import Geometry, IntOrTuple
from spconv.layers.module import Module
from spconv.tensor import SparseConvTensor


class SparsePool(Module):
    """Windows of active sites."""

    ndim: ClassVar[int]

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        indice_key: str | None = None,
    ) -> None:
        stride = kernel_size if stride is None else stride
        self.geometry = Geometry.make(
            self.ndim, kernel_size, stride, padding, dilation, owner=type(self).__name__
        )
        self.indice_key = indice_key

    def describe(self) -> str:
        key = f", indice_key={self.indice_key!r}" if self.indice_key else ""
        return self.geometry.describe() + key


class SparseMaxPool(SparsePool):
    """Largest value of every window that holds an active site.

    With a ground state, inactive sites of the window count with it, as in the dense layer, and
    so does padding (which never wins in :class:`MaxPool2d`); without one they are absent. There
    is no floor of 0: windows of negative values give their largest.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or sequence of ndim ints
        ``stride`` is ``kernel_size`` by default.
    indice_key : str, optional
        Name of the rulebook, for :class:`SparseInverseConv`.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(-np.eye(4, dtype="float32")[None, None])
    >>> spconv.SparseMaxPool2d(2)(x).features.data.tolist()
    [[-1.0], [-1.0]]
    """

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        return functional.sparse_max_pool(
            x, self.geometry, indice_key=self.indice_key, owner=type(self).__name__
        )


class SparseAvgPool(SparsePool):
    """Mean of every window that holds an active site.

    Over the whole window with a ground state, as in the dense layer; over the active sites
    without one. Parameters as for :class:`SparseMaxPool`.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> eye = np.eye(4, dtype="float32")[None, None]
    >>> spconv.SparseAvgPool2d(2)(spconv.from_dense(eye)).features.data.tolist()
    [[1.0], [1.0]]
    >>> spconv.SparseAvgPool2d(2)(spconv.from_dense(eye, [0.0])).features.data.tolist()
    [[0.5], [0.5]]
    """

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        return functional.sparse_avg_pool(
            x, self.geometry, indice_key=self.indice_key, owner=type(self).__name__
        )


class SparseGlobalMaxPool(Module):
    """Maximum over each sample, a Tensor (batch_size, C).

    Over the whole grid with a ground state, over the active sites without one; a sample without
    active sites gives the ground state, or 0.
    """

    def forward(self, x: SparseConvTensor) -> Tensor:
        return functional.global_max_pool(x, owner="SparseGlobalMaxPool")


class SparseGlobalAvgPool(Module):
    """Mean over each sample, a Tensor (batch_size, C); see :class:`SparseGlobalMaxPool`.

    Of inputs with a ground state over the whole grid, which is mostly background: a network that
    averages learns faster without one (``SparseLoader(..., ground_state=False)``).
    """

    def forward(self, x: SparseConvTensor) -> Tensor:
        return functional.global_avg_pool(x, owner="SparseGlobalAvgPool")


class SparseMaxPool1d(SparseMaxPool):
    ndim = 1
    __doc__ = SparseMaxPool.__doc__


class SparseMaxPool2d(SparseMaxPool):
    ndim = 2
    __doc__ = SparseMaxPool.__doc__


class SparseMaxPool3d(SparseMaxPool):
    ndim = 3
    __doc__ = SparseMaxPool.__doc__


class SparseMaxPool4d(SparseMaxPool):
    ndim = 4
    __doc__ = SparseMaxPool.__doc__


class SparseAvgPool1d(SparseAvgPool):
    ndim = 1
    __doc__ = SparseAvgPool.__doc__


class SparseAvgPool2d(SparseAvgPool):
    ndim = 2
    __doc__ = SparseAvgPool.__doc__


class SparseAvgPool3d(SparseAvgPool):
    ndim = 3
    __doc__ = SparseAvgPool.__doc__


class SparseAvgPool4d(SparseAvgPool):
    ndim = 4
    __doc__ = SparseAvgPool.__doc__
