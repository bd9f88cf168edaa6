"""A tensor on sites that are given: those of another one, or where something is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor, record
from spconv.compat import Array, array_module
from spconv.functional._common import cast, check_sparse, common_dtype
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
    >>> x = SparseConvTensor(np.array([[1.0], [2.0]]), [[0, 1], [0, 3]], (4,), 1)
    >>> on_sites(x, [[0, 3], [0, 0]]).features.data
    array([[2.],
           [0.]])
    """
    check_sparse("on_sites", x)
    target = _target(x, sites)
    features = _rows_or_ground(x.features, x.ground_state, x.sites.rows_at(target.indices))
    result = x.derive(features, x.ground_state, target, x.channels)
    if isinstance(sites, SparseConvTensor):
        result.rulebooks = x.rulebooks.joined([sites.rulebooks])
    else:
        result.rulebooks = x.rulebooks.branch()  # an input used again would keep all sites
    return result


def _target(x: SparseConvTensor, sites: SparseConvTensor | Any) -> SiteSet:
    if not isinstance(sites, SparseConvTensor):
        target = SiteSet(*checked_arguments(sites, x.spatial_shape, x.batch_size, "on_sites"))
        target.check("on_sites")
        return target
    if (sites.spatial_shape, sites.batch_size) != (x.spatial_shape, x.batch_size):
        raise ValueError(
            f"on_sites: the tensors live on different grids: {x.sites.describe()} and "
            f"{sites.sites.describe()}"
        )
    return sites.sites


def _rows_or_ground(x: Tensor, ground: Tensor | None, rows: NDArray[np.int64]) -> Tensor:
    """Rows (M, C) of ``x``, for -1 the ground state (C,) or zeros."""
    dtype, ops = common_dtype(x, ground), get_ops(x.data)
    xp, shape = array_module(x.data), x.shape
    there, away = (xp.asarray(np.flatnonzero(mask)) for mask in (rows >= 0, rows < 0))
    source = xp.asarray(rows[rows >= 0])
    data = xp.zeros((len(rows), shape[1]), dtype)
    data[there] = cast(x, dtype)[source]
    if ground is not None:
        data[away] = cast(ground, dtype)

    def backward(gradient: Array) -> tuple[Array, Array | None]:
        dx = xp.zeros(shape, dtype)
        dx[source] = gradient[there]
        return dx, None if ground is None else ops.sum_rows(gradient[away])

    return record(data, (x, ground), backward)
