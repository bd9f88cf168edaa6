"""Group normalization (Wu & He 2018, arXiv 1803.08494) over the sites of every sample."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import check_int
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
from spconv.sites import SiteSet
from spconv.tensor import all_channels


def group_norm(
    x: Features,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    *,
    owner: str = "group_norm",
) -> Features:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` for each sample and group of channels.

    The mean and the biased variance are of all active sites of one sample, or of its whole grid,
    and of the neighbouring channels of one group. As many groups as channels are instance
    normalization (Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022). One site alone with one
    channel in a group becomes the bias.

    Parameters
    ----------
    x : SparseConvTensor, or Tensor (N, C, *spatial_shape)
        A sparse tensor without a ground state; its rows in any order.
    num_groups : int
        Divides the number of channels.
    weight, bias : Tensor (C,)
    eps : float

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For other shapes, rows among them, which do not say what sample they are of; for groups of
        different size, and a tensor with a ground state: that would become another vector in every
        sample.

    Examples
    --------
    >>> import numpy as np
    >>> from spconv.tensor import SparseConvTensor
    >>> one, zero = Tensor(np.ones(2)), Tensor(np.zeros(2))
    >>> rows = np.array([[1.0, 3.0], [1.0, 3.0], [50.0, 10.0]])
    >>> x = SparseConvTensor(rows, [[0, 0], [0, 3], [1, 2]], (4,), batch_size=2)
    >>> group_norm(x, 1, one, zero, eps=0.0).features.data
    array([[-1.,  1.],
           [-1.,  1.],
           [ 1., -1.]])
    """
    check_features(owner, x)
    num_groups = check_int(owner, "num_groups", num_groups, 1)
    check_tensor(owner, "weight", weight, "(C,)", 1)
    if len(weight) % num_groups:
        raise ValueError(f"{owner}: num_groups={num_groups} must divide the {len(weight)} channels")
    if isinstance(x, Tensor):
        if x.ndim < 3:
            raise ValueError(
                f"{owner}: expected a SparseConvTensor or a grid (N, C, *spatial_shape), got a "
                f"Tensor of shape {x.shape}; rows do not say what sample they are of"
            )
        sites = _grid_sites(x.shape[2:], len(x))
        return over_rows(
            owner,
            len(weight),
            x,
            lambda rows: _group_norm(owner, rows, sites, num_groups, weight, bias, eps),
        )
    if x.ground_state is not None:
        raise ValueError(
            f"{owner}: expected a tensor without a ground state: samples have statistics of their "
            "own, so that it would become another vector in each; normalize with LayerNorm or "
            "BatchNorm, which keep one for all"
        )
    x = all_channels(x)
    check_channels(owner, len(weight), x)
    rows = _group_norm(owner, x.features, x.sites, num_groups, weight, bias, eps)
    return x.derive(rows, None)


@lru_cache(maxsize=4)
def _grid_sites(spatial_shape: tuple[int, ...], batch_size: int) -> SiteSet:
    """Kept for the next step, as rulebooks of whole grids are."""
    return SiteSet.of_grid(spatial_shape, batch_size)


def _group_norm(
    owner: str,
    x: Tensor,
    sites: SiteSet,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Tensor:
    check_affine(owner, x, weight, bias, eps)
    dtype = common_dtype(x, weight, bias)
    ops, features, wide = get_ops(x.data), cast(x, dtype), math_type(dtype)
    gamma, beta, size = cast(weight, wide), cast(bias, wide), x.shape[1] // num_groups
    share = 1 / ops.xp.maximum(ops.sample_counts(sites) * size, 1)[:, None]

    def means(sums_bc: Array) -> Array:
        """Of every sample's groups, (B, C): each channel has that of its group."""
        grouped = sums_bc.reshape(len(sums_bc), num_groups, size).sum(axis=2, dtype=np.float64)
        return ops.xp.repeat(grouped * share, size, axis=1).astype(wide)

    mean = means(ops.sum_samples(features, sites))
    one, zero = ops.xp.ones_like(mean), ops.xp.zeros_like(mean)
    centred = ops.normalize_samples(features, mean, one, zero, sites)
    variance = means(ops.sum_samples(centred * centred, sites))
    inverse = 1 / ops.xp.sqrt(variance + wide(eps))
    data = ops.normalize_samples(features, mean, inverse * gamma, zero + beta, sites)

    def backward(gradient: Array) -> tuple[Array, ...]:
        normal = ops.normalize_samples(features, mean, inverse, zero, sites)
        dy = gradient.astype(wide, copy=False)
        plain, scaled = (ops.sum_samples(terms, sites) for terms in (dy, dy * normal))
        shift, factor = means(plain * gamma), means(scaled * gamma)
        dx = ops.normalize_samples(dy, zero, inverse * gamma, -inverse * shift, sites)
        dx -= ops.normalize_samples(normal, zero, inverse * factor, zero, sites)
        return dx.astype(dtype, copy=False), ops.sum_rows(scaled), ops.sum_rows(plain)

    return record(data.astype(dtype, copy=False), (x, weight, bias), backward)
