"""Values between the middles of voxels: weights of the voxels around points, and their use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor, record
from spconv.compat import Array, is_cupy, to_device
from spconv.ops import get_ops
from spconv.sites import SiteSet

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def multilinear_weights(
    places: NDArray[np.float64], rows: NDArray[np.int64], sites: SiteSet
) -> csr_array:
    """What each voxel counts for each point: a sparse float64 matrix (N, M).

    Of the 2^ndim voxels with the nearest middles, inactive ones are left out and the weights of
    the others divided by their sum, which is at least 2^-ndim: a point's own voxel is among them,
    and its middle is the nearest along every axis.

    Parameters
    ----------
    places : float64 array (N, ndim)
        Points in voxels from the grid's corner, so that voxel (0, ..., 0) has its middle at 0.5.
    rows : int64 array (N,)
        The voxel that a point is in; -1 for a point outside of the grid, whose row has no entries.
    sites : SiteSet
        The M voxels, sorted.
    """
    from scipy.sparse import csr_array

    inside = np.flatnonzero(rows >= 0)
    own, keys = rows[inside], sites.keys
    cells = sites.indices[own, 1:]
    away = places[inside] - cells - 0.5
    side = np.where(away < 0, -1, 1)
    share = np.abs(away)  # of the neighbour on that side
    beyond = (cells + side < 0) | (cells + side >= sites.extents[1:])
    step = side * np.cumprod([1, *sites.spatial_shape[:0:-1]])[::-1]

    # Half of the corners are the other half, one step along an axis further.
    weights, wanted, active = np.ones((1, len(own))), keys[own][None], np.ones((1, len(own)), bool)
    for axis in range(len(sites.spatial_shape)):
        weights = np.concatenate([weights * (1 - share[:, axis]), weights * share[:, axis]])
        wanted = np.concatenate([wanted, wanted + step[:, axis]])
        active = np.concatenate([active, active & ~beyond[:, axis]])
    columns = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    weights *= active & (keys[columns] == wanted)
    weights /= weights.sum(0)
    kept = weights.T > 0
    counts = np.zeros(len(rows) + 1, np.int64)
    counts[inside + 1] = kept.sum(1)
    entries = weights.T[kept], columns.T[kept], np.cumsum(counts)
    return csr_array(entries, (len(rows), len(sites)))


def interpolate(weights: csr_array, values: Tensor, first: int, outside: float) -> Tensor:
    """Products of weights (N, m) and the m rows of ``values`` from ``first`` on: N rows.

    Sums are taken in float64 on the host, each in one fixed order. Rows without weights are
    ``outside``.
    """
    shape, dtype = values.shape, values.dtype
    device = "cuda" if is_cupy(values.data) else "cpu"
    own = slice(first, first + weights.shape[1])
    channels = math.prod(shape[1:])
    rows = to_device(values.data[own], "cpu").reshape(weights.shape[1], channels)
    points = weights @ rows.astype(np.float64)
    points[np.diff(weights.indptr) == 0] = outside

    def backward(gradient: Array) -> tuple[Any]:
        dy = to_device(gradient, "cpu").reshape(weights.shape[0], channels)
        dx = np.zeros((shape[0], channels), dtype)
        dx[own] = weights.T @ dy.astype(np.float64)
        return (to_device(dx.reshape(shape), device),)

    data = points.astype(dtype).reshape(weights.shape[0], *shape[1:])
    return record(to_device(data, device), (values,), backward)


def spread(values: Tensor, rows: NDArray[np.int64], outside: Any) -> Tensor:
    """Row ``rows[n]`` of ``values`` for every n, and ``outside`` for rows below 0."""
    ops, shape, dtype = get_ops(values.data), values.shape, values.dtype
    inside = np.flatnonzero(rows >= 0)
    kept, places = ops.xp.asarray(inside), ops.xp.asarray(rows[inside])
    points = ops.xp.empty((len(rows), *shape[1:]), dtype)
    points[...] = ops.xp.asarray(outside, dtype)
    points[kept] = values.data[places]

    def backward(gradient: Array) -> tuple[Array]:
        dy = gradient[kept].reshape(len(kept), math.prod(shape[1:]))
        dx = ops.scatter_add(dy, places, shape[0])
        return (dx.reshape(shape).astype(dtype, copy=False),)

    return record(points, (values,), backward)
