"""Max and average pooling, over windows and over whole grids.

With a ground state, a window that holds an inactive site (or reaches over the border) takes the
ground state into the maximum or the mean, exactly as pooling the whole grid would. Without one,
active sites alone count.
"""

from __future__ import annotations

from math import prod

from spconv.autograd import Tensor, record
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._arguments import check_input
from spconv.functional._common import (
    cast,
    check_sparse,
    common_dtype,
    rulebook_of,
)
from spconv.geometry import Geometry
from spconv.ops import get_ops
from spconv.rulebook import Rulebook
from spconv.tensor import SparseConvTensor, all_channels


def sparse_max_pool(
    x: SparseConvTensor,
    geometry: Geometry,
    *,
    indice_key: str | None = None,
    owner: str = "sparse_max_pool",
) -> SparseConvTensor:
    """Largest value of every window that holds an active site; of equal values the first wins."""
    check_input(owner, x, geometry, indice_key, of_grid="MaxPool2d and MaxPool3d")
    rulebook = rulebook_of(x, geometry, owner, indice_key)
    features = _max_pool(x.features, x.ground_state, rulebook)
    return x.derive(features, x.ground_state, rulebook.out_sites, x.channels)


def _max_pool(x: Tensor, ground: Tensor | None, rulebook: Rulebook) -> Tensor:
    ops, dtype = get_ops(x.data), common_dtype(x, ground)
    g = None if ground is None else cast(ground, dtype)
    data, winner = ops.max_pairs(cast(x, dtype), rulebook, g)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = ops.max_pairs_gradient(gradient, winner, rulebook)
        return dx, None if g is None else ops.max_ground_gradient(gradient, winner)

    return record(data, (x, ground), backward)


def sparse_avg_pool(
    x: SparseConvTensor,
    geometry: Geometry,
    *,
    indice_key: str | None = None,
    owner: str = "sparse_avg_pool",
) -> SparseConvTensor:
    """Mean of every window: of all its sites with a ground state, of the active ones without."""
    check_input(owner, x, geometry, indice_key)
    rulebook = rulebook_of(x, geometry, owner, indice_key)
    features = _avg_pool(x.features, x.ground_state, rulebook)
    return x.derive(features, x.ground_state, rulebook.out_sites, x.channels)


def _avg_pool(x: Tensor, ground: Tensor | None, rulebook: Rulebook) -> Tensor:
    ops = get_ops(x.data)
    xp = array_module(x.data)
    dtype = common_dtype(x, ground)
    wide = math_type(dtype)
    count = xp.asarray(rulebook.pairs_per_output)[:, None].astype(wide)
    data = ops.sum_pairs(cast(x, dtype), rulebook)
    inactive = None
    if ground is None:
        scale = 1 / count
        data *= scale
    else:
        scale = wide(1 / rulebook.volume)
        inactive = (rulebook.volume - count) * scale
        data = data * scale + _share(inactive, cast(ground, dtype))
    data = data.astype(dtype, copy=False)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = ops.sum_pairs(gradient * scale, rulebook.inverse)
        return dx, None if inactive is None else ops.sum_rows(_share(inactive, gradient))

    return record(data, (x, ground), backward)


def _share(inactive: Array, values: Array) -> Array:
    """Inactive sites' share of means; nothing, not even of infinity, where there are none."""
    return inactive * array_module(values).where(inactive > 0, values, values.dtype.type(0))


def global_avg_pool(x: SparseConvTensor, *, owner: str = "global_avg_pool") -> Tensor:
    """Mean over each sample, (batch_size, C): the grid with a ground state, else active sites.

    A sample without active sites gives the ground state, or 0.
    """
    check_sparse(owner, x)
    x = all_channels(x)
    xp = array_module(x.features.data)
    ground, dtype = x.ground_state, common_dtype(x.features, x.ground_state)
    ops, sites, wide = get_ops(x.features.data), x.sites, math_type(dtype)
    counts = ops.sample_counts(sites)[:, None]
    data = ops.sum_samples(cast(x.features, dtype), sites)
    inactive = None
    if ground is not None:
        cells = prod(x.spatial_shape)
        scale = xp.full((x.batch_size, 1), 1 / cells, wide)
        inactive = ((cells - counts) / cells).astype(wide)
        data = data * scale + _share(inactive, cast(ground, dtype))
    else:
        scale = (1 / xp.maximum(counts, 1)).astype(wide)
        data = data * scale
    data = data.astype(dtype, copy=False)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = ops.spread_samples((gradient * scale).astype(dtype, copy=False), sites)
        return dx, None if inactive is None else ops.sum_rows(_share(inactive, gradient))

    return record(data, (x.features, ground), backward)


def global_max_pool(x: SparseConvTensor, *, owner: str = "global_max_pool") -> Tensor:
    """Maximum over each sample, (batch_size, C): the grid with a ground state, else active sites.

    A sample without active sites gives the ground state, or 0. Of equal values the first wins.
    """
    check_sparse(owner, x)
    x = all_channels(x)
    xp = array_module(x.features.data)
    ground, dtype = x.ground_state, common_dtype(x.features, x.ground_state)
    ops = get_ops(x.features.data)
    data, winner = ops.max_samples(cast(x.features, dtype), x.sites)
    lost = None
    if ground is not None:
        g = cast(ground, dtype)
        inactive = ops.sample_counts(x.sites)[:, None] < prod(x.spatial_shape)
        lost = inactive & ((~(data >= g) & (data == data)) | (winner < 0))
        data = xp.where(lost, g, data)
        winner = xp.where(lost, -1, winner)
    num_sites = len(x.sites)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = ops.max_samples_gradient(gradient, winner, num_sites)
        return dx, None if lost is None else ops.sum_rows(xp.where(lost, gradient, 0))

    return record(data, (x.features, ground), backward)
