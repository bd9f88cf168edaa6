"""A tensor on sites that are given: those of another one, or where something is asked for."""

from __future__ import annotations

from typing import Any

from spconv.autograd import record
from spconv.compat import Array, array_module
from spconv.functional._common import check_sparse, common_dtype
from spconv.functional.prune import prune
from spconv.ops import get_ops
from spconv.sites import SiteSet, checked_arguments
from spconv.tensor import SparseConvTensor


def on_sites(x: SparseConvTensor, sites: SparseConvTensor | Any) -> SparseConvTensor:
    """What a tensor holds at given sites, which are the active ones from then on.

    Sites that were inactive come with the ground state, or with zeros without one; what was active
    elsewhere goes, as by :func:`prune`. Behind a convolution it gives the outputs that are asked
    for, and it brings a tensor back to the sites that a sum or an inverse convolution needs.

    Parameters
    ----------
    x : SparseConvTensor
    sites : SparseConvTensor, or int array_like (M, 1 + ndim)
        Distinct sites in the grid of ``x``, in the order of the result's rows; of a tensor its own.

    Raises
    ------
    TypeError
        If ``x`` is no sparse tensor, or the sites are no integers.
    ValueError
        For sites of another grid, outside of it or given twice.

    Examples
    --------
    >>> import numpy as np
    >>> x = SparseConvTensor(np.array([[1.0], [2.0]]), [[0, 1], [0, 3]], (4,), 1)
    >>> on_sites(x, [[0, 3], [0, 0]]).features.data
    array([[2.],
           [0.]])
    """
    check_sparse("on_sites", x)
    target = _target(x, sites)
    rows = target.rows_at(x.indices)
    kept = rows >= 0
    result = onto(prune(x, kept), target, rows[kept])
    if isinstance(sites, SparseConvTensor):
        result.rulebooks = x.rulebooks.joined([sites.rulebooks])
    return result


def _target(x: SparseConvTensor, sites: SparseConvTensor | Any) -> SiteSet:
    if isinstance(sites, SparseConvTensor):
        x.sites.check_same_grid(sites.sites, "on_sites")
        return sites.sites
    target = SiteSet(*checked_arguments(sites, x.spatial_shape, x.batch_size, "on_sites"))
    target.check("on_sites")
    return target


def onto(x: SparseConvTensor, sites: SiteSet, rows: Array) -> SparseConvTensor:
    """The same tensor on more sites, its own at ``rows``; others hold the ground state, or zero."""
    xp, ops = array_module(x.features.data), get_ops(x.features.data)
    ground, features = x.ground_state, x.features
    rows = xp.asarray(rows)
    data = xp.zeros((len(sites), x.num_channels), common_dtype(features, ground))
    if ground is not None:
        data[:] = ground.data
    data[rows] = features.data
    has_ground = ground is not None

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = gradient[rows]
        if not has_ground:
            return dx, None
        # Of the new sites alone: a difference of two sums would be mostly rounding.
        new = gradient.copy()
        new[rows] = 0
        return dx, ops.sum_rows(new)

    result = record(data, (features, ground), backward)
    return x.derive(result, ground, sites, x.channels)
