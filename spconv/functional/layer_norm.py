"""Layer normalization (Ba, Kiros & Hinton 2016, arXiv 1607.06450): every site by itself."""

from __future__ import annotations

from spconv.autograd import Tensor, record
from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.functional._arguments import check_affine, check_tensor
from spconv.functional._common import (
    Features,
    cast,
    check_channels,
    check_features,
    common_dtype,
)
from spconv.functional.dense import over_rows
from spconv.ops import get_ops
from spconv.tensor import all_channels


def layer_norm(
    x: Features, weight: Tensor, bias: Tensor, eps: float = 1e-5, *, owner: str = "layer_norm"
) -> Features:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` over the channels of every site.

    The mean and the biased variance are of one site's channels, whatever the other sites hold: the
    ground state is one more site, so that the result equals the dense layer's everywhere.

    Parameters
    ----------
    x : Tensor (N, C) or (N, C, *spatial_shape), or SparseConvTensor
    weight, bias : Tensor (C,)
    eps : float

    Raises
    ------
    TypeError, ValueError
        For anything else, and for other shapes.

    Examples
    --------
    >>> import numpy as np
    >>> one, zero = Tensor(np.ones(2)), Tensor(np.zeros(2))
    >>> layer_norm(Tensor(np.array([[1.0, 3.0], [50.0, 10.0]])), one, zero, eps=0.0)
    Tensor(array([[-1.,  1.],
           [ 1., -1.]]))
    """
    check_features(owner, x)
    check_tensor(owner, "weight", weight, "(C,)", 1)
    if not isinstance(x, Tensor):
        x = all_channels(x)
        check_channels(owner, len(weight), x)
        ground = x.ground_state
        if ground is not None:
            ground = _layer_norm(owner, ground.reshape(1, -1), weight, bias, eps).reshape(-1)
        return x.derive(_layer_norm(owner, x.features, weight, bias, eps), ground)
    return over_rows(
        owner, len(weight), x, lambda rows: _layer_norm(owner, rows, weight, bias, eps)
    )


def _layer_norm(owner: str, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    check_affine(owner, x, weight, bias, eps)
    dtype = common_dtype(x, weight, bias)
    ops, features, wide = get_ops(x.data), cast(x, dtype), math_type(dtype)
    gamma = cast(weight, wide)
    data, statistics = ops.layer_norm(features, gamma, cast(bias, wide), eps)

    def backward(gradient: Array) -> tuple[Array, ...]:
        return ops.layer_norm_gradient(gradient, features, gamma, statistics)

    return record(data, (x, weight, bias), backward)
