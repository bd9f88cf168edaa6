"""Point clouds to voxels, and back to the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor
from spconv.cached import cached_property
from spconv.checks import check_int
from spconv.compat import is_cupy
from spconv.data.clouds import check_clouds, check_features, few
from spconv.data.interpolate import interpolate, multilinear_weights, spread
from spconv.data.reductions import REDUCTIONS
from spconv.geometry import check_cells
from spconv.sites import SiteSet
from spconv.tensor import SparseConvTensor

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Reduce = Literal["mean", "sum", "max", "first"]
OWNER = "voxelize"


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels that hold points, of a batch of point clouds.

    Parameters
    ----------
    indices : int32 array (M, 1 + ndim)
        Column 0 is the cloud, the others are the voxel's coordinates, in the order of the points'
        columns; sorted.
    features : array (M, C)
    rows : int64 array (N,)
        Voxel of every point of all clouds, one cloud after another; -1 outside the grid.
    lengths : tuple of ints
        Points of each cloud; they add up to N.
    lower, voxel_size : float64 array (ndim,)
        Voxel (0, ..., 0) begins at ``lower``.
    spatial_shape : tuple of ndim ints
    points : float array (N, ndim)
        Of all clouds, one after another.
    """

    indices: NDArray[np.int32]
    features: NDArray
    rows: NDArray[np.int64]
    lengths: tuple[int, ...]
    lower: NDArray[np.float64]
    voxel_size: NDArray[np.float64]
    spatial_shape: tuple[int, ...]
    points: NDArray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Points (M,) of every voxel."""
        return np.bincount(self.rows[self.rows >= 0], minlength=len(self))

    @property
    def centers(self) -> NDArray[np.float64]:
        """Middle (M, ndim) of every voxel, in the units of the points."""
        return self.lower + (self.indices[:, 1:] + 0.5) * self.voxel_size

    def tensor(self, ground_state: Any = None) -> SparseConvTensor:
        """The voxels as the input of a network."""
        return SparseConvTensor(
            self.features,
            self.indices,
            self.spatial_shape,
            len(self.lengths),
            ground_state,
            check=False,
        )

    def labels(
        self, labels: Sequence[Any], num_classes: int, ignore_index: int = -1
    ) -> NDArray[np.int64]:
        """The most frequent label (M,) among the points of every voxel, on a tie the smallest.

        Parameters
        ----------
        labels : sequence of int arrays
            One for each cloud, a label in ``0..num_classes - 1`` for each of its points.
        num_classes : int
        ignore_index : int
            Label of points that have no vote, and of voxels that have no other;
            :func:`spconv.functional.cross_entropy` takes it as well.

        Examples
        --------
        >>> voxels = voxelize([[[0.1], [0.2], [0.3], [1.5]]], voxel_size=1.0)
        >>> voxels.labels([[2, 1, 2, -1]], num_classes=3)
        array([ 2, -1])
        """
        num_classes = check_int("Voxels.labels", "num_classes", num_classes, 1)
        ignore_index = check_int("Voxels.labels", "ignore_index", ignore_index, -(2**63))
        arrays = map(np.asarray, labels)  # empty lists become floats
        parts = [part if part.size else part.astype(np.uint8) for part in arrays]
        shapes = [part.shape for part in parts]
        if shapes != [(length,) for length in self.lengths]:
            raise ValueError(
                f"Voxels.labels: expected one array for each cloud, of {few(self.lengths)} "
                f"points, got arrays of shapes {few(shapes)}; put those of a single cloud into a "
                "list"
            )
        flat = np.concatenate(parts)
        if flat.dtype.kind not in "iu":
            raise TypeError(
                f"Voxels.labels: labels must be integers, one for each point, got "
                f"{flat.dtype} of shape {flat.shape}"
            )
        counted = flat != ignore_index
        wrong = counted & ((flat < 0) | (flat >= num_classes))
        if wrong.any():
            raise ValueError(
                f"Voxels.labels: labels must be in 0..{num_classes - 1} or {ignore_index} "
                f"(ignore_index), got {flat[wrong.argmax()]}"
            )
        votes = counted & (self.rows >= 0)
        ballots = self.rows[votes] * num_classes + flat[votes].astype(np.int64)
        ballots, counts = np.unique(ballots, return_counts=True)
        row, label = np.divmod(ballots, num_classes)
        # A stable sort by votes, then the first of every voxel: labels come in rising order.
        order = np.lexsort((-counts, row))
        voted, first = np.unique(row[order], return_index=True)
        result = np.full(len(self), ignore_index, np.int64)
        result[voted] = label[order[first]]
        return result

    def to_points(self, values: Any, outside: Any = None) -> list[Any]:
        """What the voxels say of their points: one array for each cloud.

        Parameters
        ----------
        values : Tensor or array_like (M, ...)
            Such as logits or classes. Gradients go through a Tensor, which gives Tensors.
        outside : scalar or array_like (...)
            For points outside the grid, one for all or a row; needed if there are any.

        Examples
        --------
        >>> voxels = voxelize([[[0.1], [1.5]], [[1.7]]], voxel_size=1.0)
        >>> voxels.to_points([7, 8, 9])
        [array([7, 8]), array([9])]
        """
        owner = "Voxels.to_points"
        _refuse_sparse(owner, values)
        if isinstance(values, Tensor):
            self._check_values(owner, values.shape, outside)
            tensor = spread(values, self.rows, 0 if outside is None else outside)
            starts = np.cumsum([0, *self.lengths]).tolist()
            return [tensor[first:last] for first, last in pairwise(starts)]
        values = np.asarray(values)
        self._check_values(owner, values.shape, outside)
        inside = self.rows >= 0
        points = np.empty((len(self.rows), *values.shape[1:]), values.dtype)
        if outside is not None:
            points[~inside] = _fitting(outside, values.dtype)
        points[inside] = values[self.rows[inside]]
        return np.split(points, np.cumsum(self.lengths)[:-1])

    def interpolate(self, values: Any, outside: float | None = None) -> list[Any]:
        """What the voxels around say of each point, the nearer the more: one array for each cloud.

        Multilinear (in space trilinear) between the middles of the 2^ndim voxels around a point.
        Inactive ones have no value: they are left out, whatever a ground state says, and the
        weights of the others divided by their sum, as in SPVNAS (Tang et al. 2020, arXiv
        2007.16100), so that what is constant stays so. A point's own voxel always counts.

        Parameters
        ----------
        values : Tensor or float array (M, ...)
            Such as logits. Gradients go through a Tensor. Those on a GPU are copied to the host,
            where the sums are taken, and the result back.
        outside : float, optional
            For points outside the grid; needed if there are any.

        Returns
        -------
        list of Tensor or of arrays (N_i, ...)
            As ``values`` is one, in its dtype. Sums, those of the gradient too, are taken in
            float64 and in one fixed order. For a loss :func:`spconv.functional.concatenate` joins
            the clouds again.

        Raises
        ------
        TypeError
            For values that are no floats.
        ValueError
            For values of another number of voxels, and for points outside without a value.

        Examples
        --------
        >>> voxels = voxelize([[[0.5], [0.75], [1.75]]], voxel_size=1.0, lower=0)
        >>> voxels.interpolate(np.array([4.0, 8.0]))
        [array([4., 5., 8.])]
        """
        owner = "Voxels.interpolate"
        tensor = values
        _refuse_sparse(owner, values)
        if not isinstance(values, Tensor):
            array = values if is_cupy(values) else np.asarray(values)
            if array.dtype.kind != "f":
                raise TypeError(
                    f"{owner}: values must be floats, got {array.dtype}; classes come to the "
                    "points by to_points, or by the largest of interpolated logits"
                )
            tensor = Tensor(array)
        self._check_values(owner, tensor.shape, outside)
        clouds = [
            interpolate(weights, tensor, first, 0.0 if outside is None else outside)
            for weights, first in self._weights
        ]
        return clouds if isinstance(values, Tensor) else [cloud.data for cloud in clouds]

    @cached_property
    def _weights(self) -> list[tuple[csr_array, int]]:
        """Weights of each cloud's voxels for its points, and the first row of those voxels."""
        clouds = len(self.lengths)
        voxels = np.searchsorted(self.indices[:, 0], np.arange(clouds + 1)).tolist()
        points = np.cumsum([0, *self.lengths]).tolist()
        made = []
        for (first, last), (a, b) in zip(pairwise(voxels), pairwise(points), strict=True):
            with np.errstate(over="ignore"):
                places = (self.points[a:b] - self.lower) / self.voxel_size
            sites = SiteSet(self.indices[first:last], self.spatial_shape, clouds)
            made.append((multilinear_weights(places, self.rows[a:b] - first, sites), first))
        return made

    def _check_values(self, owner: str, shape: tuple[int, ...], outside: Any) -> None:
        if shape[:1] != (len(self),):
            raise ValueError(f"{owner}: expected values of {len(self)} voxels, got shape {shape}")
        missing = int((self.rows < 0).sum())
        if outside is None and missing:
            raise ValueError(
                f"{owner}: {missing} points are outside the grid; say what they get, such as "
                "outside=-1 for classes"
            )


def voxelize(
    points: Sequence[Any],
    features: Sequence[Any] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    lower: float | Sequence[float] | None = None,
    upper: float | Sequence[float] | None = None,
    reduce: Reduce = "mean",
    multiple_of: int = 1,
) -> Voxels:
    """Voxels of a batch of point clouds: the sites of a network and what their points have.

    Parameters
    ----------
    points : sequence of float arrays (N_i, ndim)
        Coordinates of each cloud, in any number of dimensions; columns x, y, z give sites
        (cloud, x, y, z).
    features : sequence of float arrays (N_i, C), optional
        Of every point; without them each point has the one feature 1.
    voxel_size : float or ndim floats
        In the units of the points; 1 by default.
    lower, upper : float or ndim floats, optional
        The grid begins at ``lower`` and has as many voxels as it takes to reach ``upper``; points
        outside of the grid are left out. By default just what holds all points of all clouds.
    reduce : {"mean", "sum", "max", "first"}
        What a voxel has of the features of its points. Sums are taken in float64 and in one fixed
        order, so the result has the same bits every time.
    multiple_of : int
        Extents are raised to a multiple of this, by voxels that hold no points, so that a network
        which halves them n times finds even ones: 2^n.

    Raises
    ------
    TypeError
        For points or features that are no floating point arrays.
    ValueError
        For other shapes, for points that are not finite, and for grids that are too large.

    Examples
    --------
    >>> import numpy as np
    >>> scan = np.array([[0.1, 0.1], [0.2, 0.3], [2.5, 1.5]], np.float32)
    >>> voxels = voxelize([scan], [scan], voxel_size=1.0, lower=0)
    >>> voxels.indices.tolist(), voxels.rows.tolist(), voxels.spatial_shape
    ([[0, 0, 0], [0, 2, 1]], [0, 0, 1], (3, 2))
    >>> voxels.tensor()
    SparseConvTensor(2 sites, 2 channels, batch_size=1, spatial_shape=(3, 2), float32)
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"{OWNER}: reduce must be one of {[*REDUCTIONS]}, got {reduce!r}")
    clouds = check_clouds(OWNER, points)
    lengths = tuple(len(cloud) for cloud in clouds)
    values = check_features(OWNER, features, lengths)
    given = np.concatenate(clouds)
    xyz = given.astype(np.float64, copy=False)
    if not np.isfinite(xyz).all():
        row = int(np.argmin(np.isfinite(xyz).all(1)))
        raise ValueError(f"{OWNER}: points must be finite, got {xyz[row]} in row {row} of all")
    size = _vector("voxel_size", voxel_size, xyz.shape[1])
    if not (size > 0).all():
        raise ValueError(f"{OWNER}: voxel_size must be positive, got {voxel_size}")
    multiple = check_int(OWNER, "multiple_of", multiple_of, 1)
    corner, extents = _bounds(xyz, size, lower, upper)
    shape = tuple(-(-extent // multiple) * multiple for extent in extents)
    check_cells(shape, len(lengths), OWNER)

    with np.errstate(over="ignore"):
        cells = np.floor((xyz - corner) / size)
    inside = ((cells >= 0) & (cells < extents)).all(1)
    cloud = np.repeat(np.arange(len(lengths)), lengths)[inside]
    sites = np.column_stack([cloud, cells[inside]]).astype(np.int32)
    grid = SiteSet(sites, shape, len(lengths))
    order = np.argsort(grid.keys, kind="stable")
    keys = grid.keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    rows, row_of = np.full(len(xyz), -1, np.int64), np.empty(len(keys), np.int64)
    row_of[order] = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
    rows[inside] = row_of
    made = REDUCTIONS[reduce](values[inside][order], first)
    indices = SiteSet.of_keys(keys[first], shape, len(lengths)).indices
    made = made.astype(values.dtype, copy=False)
    return Voxels(indices, made, rows, lengths, corner, size, shape, given)


def _vector(name: str, value: float | Sequence[float], ndim: int) -> NDArray[np.float64]:
    try:
        vector = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        vector = np.full(ndim, np.nan)
    if vector.shape not in ((), (ndim,)) or not np.isfinite(vector).all():
        raise ValueError(f"{OWNER}: {name} must be one or {ndim} finite numbers, got {value}")
    return np.broadcast_to(vector, (ndim,)).copy()


def _bounds(
    xyz: NDArray[np.float64],
    size: NDArray[np.float64],
    lower: float | Sequence[float] | None,
    upper: float | Sequence[float] | None,
) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Where the grid begins, and its extents."""
    ndim = xyz.shape[1]
    if not len(xyz) and (lower is None or upper is None):
        raise ValueError(
            f"{OWNER}: there is no point to take the bounds from; give lower and upper"
        )
    corner = xyz.min(0) if lower is None else _vector("lower", lower, ndim)
    with np.errstate(over="ignore", invalid="ignore"):
        if upper is None:
            extents = np.floor((xyz.max(0) - corner) / size) + 1
        else:
            # What is whole but for rounding, of float32 even, such as 70 / float32(0.7), is whole.
            extents = (_vector("upper", upper, ndim) - corner) / size
            nearest = np.rint(extents)
            close = abs(extents - nearest) <= np.minimum(2.0**-22 * nearest, 0.01)
            extents = np.where(close, nearest, np.ceil(extents))
    if not (extents >= 1).all():
        raise ValueError(
            f"{OWNER}: upper must be above lower in every dimension, and above the points where "
            f"it is not given; got extents {extents.tolist()}"
        )
    return corner, tuple(int(extent) for extent in np.minimum(extents, 2.0**62))


def _refuse_sparse(owner: str, values: Any) -> None:
    if isinstance(values, SparseConvTensor):
        raise TypeError(f"{owner}: expected values, got a SparseConvTensor; pass its features")


def _fitting(outside: Any, dtype: np.dtype) -> NDArray:
    """What points outside get, in the type of those inside."""
    with np.errstate(invalid="ignore"):  # NaN is no integer
        value = np.asarray(outside).astype(dtype)
    if dtype.kind not in "fcO" and np.any(value != outside):
        raise ValueError(
            f"Voxels.to_points: outside={outside} is no {dtype}, which the values are; pass one "
            "or convert them with .astype()"
        )
    return value
