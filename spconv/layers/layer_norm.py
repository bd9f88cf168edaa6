"""Layer normalization."""

from __future__ import annotations

import numpy as np

from spconv import functional, initializers
from spconv.autograd import Parameter
from spconv.checks import check_float, check_int
from spconv.functional._common import Features
from spconv.layers.module import Module


class LayerNorm(Module):
    """Layer normalization of sparse tensors, of rows (N, C) or of grids (N, C, *spatial_shape).

    Ba, Kiros & Hinton 2016 (arXiv 1607.06450), with PyTorch's formula: over the channels of every
    site by itself, in training and in evaluation. The ground state is one more site.

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
    ...     np.array([[1.0, 3.0]]), [[0, 1]], (3,), batch_size=1, ground_state=np.array([6.0, 2.0])
    ... )
    >>> spconv.LayerNorm(2)(x).dense().data.round(3)
    array([[[ 1., -1.,  1.],
            [-1.,  1., -1.]]])
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        self.num_features = num_features = check_int("LayerNorm", "num_features", num_features, 1)
        self.eps = check_float("LayerNorm", "eps", eps)
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(initializers.zeros((num_features,)))

    def describe(self) -> str:
        return f"{self.num_features}, eps={self.eps:g}"

    def forward(self, x: Features) -> Features:
        return functional.layer_norm(x, self.weight, self.bias, self.eps, owner="LayerNorm")
