"""Group and instance normalization."""

from __future__ import annotations

import numpy as np

from spconv import functional, initializers
from spconv.autograd import Parameter
from spconv.checks import check_float, check_int
from spconv.functional._common import Features
from spconv.layers.module import Module


class GroupNorm(Module):
    """Group normalization over the active sites, or the whole grid, of every sample.

    Wu & He 2018 (arXiv 1803.08494), with PyTorch's formula, in training and in evaluation. Of
    grids (N, C, *spatial_shape), and of sparse tensors without a ground state: samples have
    statistics of their own, so that no single vector would be the background of all.

    Parameters
    ----------
    num_groups : int
        Divides ``num_channels``; neighbouring channels are a group.
    num_channels : int
    eps : float

    Attributes
    ----------
    weight, bias : Parameter (num_channels,)

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.SparseConvTensor(
    ...     np.array([[1.0, 3.0], [1.0, 3.0]]), [[0, 1], [0, 2]], (4,), batch_size=1
    ... )
    >>> spconv.GroupNorm(1, 2)(x).features.data.round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
        owner = type(self).__name__
        self.num_groups = check_int(owner, "num_groups", num_groups, 1)
        self.num_channels = num_channels = check_int(owner, "num_channels", num_channels, 1)
        if num_channels % self.num_groups:
            raise ValueError(
                f"{owner}: num_groups={num_groups} must divide num_channels={num_channels}"
            )
        self.eps = check_float(owner, "eps", eps)
        self.weight = Parameter(np.ones(num_channels, np.float32))
        self.bias = Parameter(initializers.zeros((num_channels,)))

    def describe(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps:g}"

    def forward(self, x: Features) -> Features:
        owner = type(self).__name__
        return functional.group_norm(
            x, self.num_groups, self.weight, self.bias, self.eps, owner=owner
        )


class InstanceNorm(GroupNorm):
    """Normalization of every channel over the active sites, or the whole grid, of every sample.

    Ulyanov, Vedaldi & Lempitsky 2016 (arXiv 1607.08022): :class:`GroupNorm` with a channel in each
    group. It learns a factor and a summand for each channel, and has no running statistics.

    Parameters
    ----------
    num_features : int
    eps : float

    Attributes
    ----------
    weight, bias : Parameter (num_features,)

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.SparseConvTensor(
    ...     np.array([[1.0], [3.0], [50.0], [10.0]]), [[0, 1], [0, 2], [1, 0], [1, 3]], (4,), 2
    ... )
    >>> spconv.InstanceNorm(1)(x).features.data.ravel().round(3)
    array([-1.,  1.,  1., -1.])
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        num_features = check_int("InstanceNorm", "num_features", num_features, 1)
        super().__init__(num_features, num_features, eps)

    def describe(self) -> str:
        return f"{self.num_channels}, eps={self.eps:g}"
