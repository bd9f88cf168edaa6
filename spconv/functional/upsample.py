"""Larger grids by repetition, for networks that join grids of several scales."""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, record
from spconv.compat import Array, array_module
from spconv.functional._arguments import check_tensor
from spconv.geometry import IntOrTuple, check_cells, ntuple


def upsample(x: Tensor, factor: IntOrTuple) -> Tensor:
    """Every site of a grid becomes a block of sites with its features (nearest neighbour).

    Parameters
    ----------
    x : Tensor (batch_size, C, *spatial_shape)
    factor : int or sequence of ndim ints
        Extents of a block, at least 1.

    Returns
    -------
    Tensor (batch_size, C, *spatial_shape * factor)
        The gradient of a site is the sum over its block, accumulated in float64.

    Raises
    ------
    TypeError
        If ``x`` is no Tensor, or the factor no ints.
    ValueError
        If ``x`` has no spatial axes, or a factor is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> upsample(Tensor(np.array([[[1.0, 2.0]]])), 2)
    Tensor(array([[[1., 1., 2., 2.]]]))
    """
    owner, axes = "upsample", "(batch_size, C, *spatial_shape)"
    check_tensor(owner, "x", x, axes, of_sparse=".dense()")
    if x.ndim < 3:
        raise ValueError(f"{owner}: x must have shape {axes}, got {x.shape}")
    spatial_shape, dtype, xp = x.shape[2:], x.dtype, array_module(x.data)
    factors = ntuple(factor, len(spatial_shape), "factor", 1, owner)
    larger = tuple(n * f for n, f in zip(spatial_shape, factors, strict=True))
    check_cells(larger, x.shape[0], owner)
    # Channels last in memory, as convolutions want them: a block is a few copies of whole rows.
    pairs = [size for pair in zip(spatial_shape, factors, strict=True) for size in pair]
    single = [size for n in spatial_shape for size in (n, 1)]
    batch_size, channels = x.shape[:2]
    sites = xp.moveaxis(x.data, 1, -1).reshape(batch_size, *single, channels)
    blocks = xp.broadcast_to(sites, (batch_size, *pairs, channels))
    data = xp.moveaxis(blocks.reshape(batch_size, *larger, channels), -1, 1)
    within = tuple(range(2, 2 * len(spatial_shape) + 1, 2))

    def backward(gradient: Array) -> tuple[Array]:
        blocks = xp.moveaxis(gradient, 1, -1).reshape(batch_size, *pairs, channels)
        total = blocks.sum(axis=within, dtype=np.float64)
        return (xp.moveaxis(total.astype(dtype), -1, 1),)

    return record(data, (x,), backward)
