"""Point clouds to voxels, and back to the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spconv.checks import check_int
from spconv.geometry import check_cells
from spconv.sites import SiteSet
from spconv.tensor import SparseConvTensor

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
    """

    indices: NDArray[np.int32]
    features: NDArray
    rows: NDArray[np.int64]
    lengths: tuple[int, ...]
    lower: NDArray[np.float64]
    voxel_size: NDArray[np.float64]
    spatial_shape: tuple[int, ...]

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
        parts = [np.asarray(part) for part in labels]
        shapes = [part.shape for part in parts]
        if shapes != [(length,) for length in self.lengths]:
            raise ValueError(
                f"Voxels.labels: expected one array for each cloud, of {_few(self.lengths)} "
                f"points, got arrays of shapes {_few(shapes)}; put those of a single cloud into a "
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

    def to_points(self, values: Any, outside: Any = None) -> list[NDArray]:
        """What the voxels say of their points: one array for each cloud.

        Parameters
        ----------
        values : array_like (M, ...)
            Such as logits or classes.
        outside : scalar
            For points outside the grid; needed if there are any.

        Examples
        --------
        >>> voxels = voxelize([[[0.1], [1.5]], [[1.7]]], voxel_size=1.0)
        >>> voxels.to_points([7, 8, 9])
        [array([7, 8]), array([9])]
        """
        values = np.asarray(values)
        if values.shape[:1] != (len(self),):
            raise ValueError(
                f"Voxels.to_points: expected values of {len(self)} voxels, got shape {values.shape}"
            )
        inside = self.rows >= 0
        if outside is None and not inside.all():
            raise ValueError(
                f"Voxels.to_points: {int((~inside).sum())} points are outside the grid; say what "
                "they get, such as outside=-1 for classes"
            )
        points = np.empty((len(self.rows), *values.shape[1:]), values.dtype)
        points[~inside] = 0 if outside is None else outside
        points[inside] = values[self.rows[inside]]
        return np.split(points, np.cumsum(self.lengths)[:-1])


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
        Coordinates of each cloud, in any number of dimensions.
    features : sequence of float arrays (N_i, C), optional
        Of every point; without them each point has the one feature 1.
    voxel_size : float or ndim floats
        In the units of the points.
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
    if reduce not in _REDUCTIONS:
        raise ValueError(f"{OWNER}: reduce must be one of {[*_REDUCTIONS]}, got {reduce!r}")
    clouds = _clouds(points)
    lengths = tuple(len(cloud) for cloud in clouds)
    values = _features(features, lengths)
    xyz = np.concatenate(clouds).astype(np.float64, copy=False)
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
    made = _REDUCTIONS[reduce](values[inside][order], first)
    indices = SiteSet.of_keys(keys[first], shape, len(lengths)).indices
    return Voxels(
        indices, made.astype(values.dtype, copy=False), rows, lengths, corner, size, shape
    )


def _clouds(points: Sequence[Any]) -> list[NDArray]:
    clouds = [np.asarray(cloud) for cloud in points]
    if not clouds or any(cloud.ndim != 2 or not cloud.shape[1] for cloud in clouds):
        raise ValueError(
            f"{OWNER}: points must be a sequence of arrays (N, ndim), one for each cloud, got "
            f"arrays of shapes {_few([cloud.shape for cloud in clouds])}; put a single cloud into "
            "a list"
        )
    if len({cloud.shape[1] for cloud in clouds}) > 1:
        raise ValueError(
            f"{OWNER}: all clouds must have the same number of dimensions, got "
            f"{[cloud.shape[1] for cloud in clouds]}"
        )
    for cloud in clouds:
        _check_floats("points", cloud)
    return clouds


def _features(features: Sequence[Any] | None, lengths: tuple[int, ...]) -> NDArray:
    if features is None:
        return np.ones((sum(lengths), 1), np.float32)
    parts = [np.asarray(part) for part in features]
    shapes = [part.shape for part in parts]
    if [shape[:1] for shape in shapes] != [(n,) for n in lengths] or any(
        len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes
    ):
        raise ValueError(
            f"{OWNER}: features must be arrays (N, C), one for each cloud, of {_few(lengths)} "
            f"points, got shapes {_few(shapes)}"
        )
    for part in parts:
        _check_floats("features", part)
    return np.concatenate(parts)


def _few(values: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, values[:3]))}{', ...' if len(values) > 3 else ''}]"


def _check_floats(name: str, array: NDArray) -> None:
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{OWNER}: {name} must be float32 or float64, got {array.dtype}; convert them with "
            ".astype('float32')"
        )


def _vector(name: str, value: float | Sequence[float], ndim: int) -> NDArray[np.float64]:
    vector = np.asarray(value, np.float64)
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


def _mean(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    counts = np.diff(first, append=len(values))
    return _sum(values, first) / counts[:, None]


def _sum(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    return _reduced(np.add, values.astype(np.float64, copy=False), first)


def _max(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    return _reduced(np.maximum, values, first)


def _first(values: NDArray, first: NDArray[np.int64]) -> NDArray:
    return values[first]


def _reduced(operation: np.ufunc, values: NDArray, first: NDArray[np.int64]) -> NDArray:
    """Values of points, sorted by voxel, put together; ``first`` is where each voxel begins."""
    return operation.reduceat(values, first, axis=0) if len(first) else values[:0]


_REDUCTIONS = {"mean": _mean, "sum": _sum, "max": _max, "first": _first}
