"""A set of active sites as a checked, comparable value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from operator import index
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.cached import cached_property
from spconv.compat import Array, is_cupy
from spconv.geometry import check_cells
from spconv.kernels import sites as kernels
from spconv.kernels.memory import empty
from spconv.kernels.sites import Bitmap
from spconv.threads import threads_for

BITMAP_CELLS_PER_SITE = 512
"""Above this many grid cells per site rows are found in a sorted list of keys instead."""
BITMAP_CELLS_ALWAYS = 2**22
"""Grids up to this size (a bitmap of 512 KB) always get a bitmap."""


class SiteSet:
    """Active sites of a batch of grids: the constant part of a sparse tensor.

    Parameters
    ----------
    indices : int32 ndarray (N, 1 + ndim)
        Column 0 is the sample in the batch, the others are coordinates. Read-only from then on.
    spatial_shape : tuple of ndim ints
    batch_size : int
    """

    def __init__(
        self, indices: NDArray[np.int32], spatial_shape: tuple[int, ...], batch_size: int
    ) -> None:
        self.indices = read_only(indices)
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size

    @classmethod
    def of_keys(
        cls, keys: NDArray[np.int64], spatial_shape: tuple[int, ...], batch_size: int
    ) -> SiteSet:
        """The sites with these ascending keys."""
        sites = cls(sites_of(keys, (batch_size, *spatial_shape)), spatial_shape, batch_size)
        sites.keys, sites.order = keys, None
        return sites

    @classmethod
    def of_grid(cls, spatial_shape: tuple[int, ...], batch_size: int) -> SiteSet:
        """All sites of a grid."""
        return cls.of_keys(np.arange(batch_size * prod(spatial_shape)), spatial_shape, batch_size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copies are as little to be written to."""
        vars(self).update(state)
        self.indices = read_only(self.indices)

    def __repr__(self) -> str:
        return f"SiteSet({self.describe()})"

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def ndim(self) -> int:
        return len(self.spatial_shape)

    @property
    def extents(self) -> NDArray[np.int64]:
        """Extents (1 + ndim,) of the grid, batch first."""
        return np.array((self.batch_size, *self.spatial_shape), np.int64)

    @property
    def num_cells(self) -> int:
        """Number of sites of the whole grid, active or not."""
        return self.batch_size * prod(self.spatial_shape)

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """Row-major position (N,) of every site in the (batch, *spatial_shape) grid."""
        return self._encoded[0]

    @cached_property
    def order(self) -> NDArray[np.int64] | None:
        """Rows in ascending order of their keys; None where they are in that order already."""
        keys, inside, ascending = self._encoded
        if ascending:
            return None
        if inside and fits_bitmap(self.num_cells, len(self)):
            bits = Bitmap(self.num_cells)
            bits.mark(keys)
            if bits.total == len(keys):  # none is given twice
                return bits.rows_of(keys)
        return np.argsort(keys, kind="stable")

    @property
    def sorted_keys(self) -> NDArray[np.int64]:
        return self.keys if self.order is None else self.keys[self.order]

    @cached_property
    def _encoded(self) -> tuple[NDArray[np.int64], bool, bool]:
        """The keys, whether all sites are in the grid, and whether their keys ascend."""
        extents = self.batch_size, *self.spatial_shape
        return kernels.site_keys_of(self.indices, extents, threads_for(3.0 * len(self)))

    @cached_property
    def sorted_indices(self) -> NDArray[np.int32]:
        return self.indices if self.order is None else sites_of(self.sorted_keys, self.extents)

    def columns(self, xp: ModuleType) -> tuple[Array, ...]:
        """Sample and coordinates of every site: 1 + ndim arrays (N,) of ``xp``, integers."""
        return tuple(xp.asarray(column) for column in self.indices.T)

    @cached_property
    def rows_per_sample(self) -> NDArray[np.int64]:
        """Number of active sites (batch_size,) of every sample."""
        return np.bincount(self.indices[:, 0], minlength=self.batch_size).astype(np.int64)

    @cached_property
    def sample_slices(self) -> list[tuple[int, slice]] | None:
        """The rows of every sample that has some; None where a sample's do not lie together."""
        samples = self.indices[:, 0]
        if (samples[1:] < samples[:-1]).any():
            return None
        starts = enumerate(pairwise([0, *np.cumsum(self.rows_per_sample).tolist()]))
        return [(sample, slice(start, end)) for sample, (start, end) in starts if end > start]

    def rows_at(self, indices: NDArray[np.int32]) -> NDArray[np.int64]:
        """The row (M,) of each of these sites (M, 1 + ndim); -1 for one that is not among them."""
        rows = np.full(len(indices), -1, np.int64)
        if len(self):
            inside = ((indices >= 0) & (indices < self.extents)).all(axis=1)
            wanted = SiteSet(indices[inside], self.spatial_shape, self.batch_size).keys
            keys = self.sorted_keys
            places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            found = places if self.order is None else self.order[places]
            rows[inside] = np.where(keys[places] == wanted, found, -1)
        return rows

    def same_as(self, other: SiteSet) -> bool:
        """Whether both hold the same sites in the same order of the same grid."""
        return self is other or (
            self.spatial_shape == other.spatial_shape
            and self.batch_size == other.batch_size
            and np.array_equal(self.indices, other.indices)
        )

    def check_same_grid(self, other: SiteSet, owner: str) -> None:
        """Raise ValueError for sites of another grid."""
        if (other.spatial_shape, other.batch_size) != (self.spatial_shape, self.batch_size):
            raise ValueError(
                f"{owner}: the tensors live on different grids: {self.describe()} and "
                f"{other.describe()}"
            )

    def check(self, owner: str) -> None:
        """Raise ValueError for sites outside the grid or given twice."""
        self.check_range(owner)
        self.check_distinct(owner)

    def check_range(self, owner: str) -> None:
        """Raise ValueError for sites outside the grid: kernels would write out of bounds."""
        check_cells(self.spatial_shape, self.batch_size, owner)
        if not self._encoded[1]:
            bad = kernels.first_out_of_range(self.indices, self.extents)
            site = tuple(int(c) for c in self.indices[bad])
            raise ValueError(
                f"{owner}: indices row {bad} is {site}, outside batch_size {self.batch_size} x "
                f"spatial_shape {self.spatial_shape}; coordinates must be >= 0 and smaller than "
                "the extent"
            )

    def check_distinct(self, owner: str) -> None:
        """Raise ValueError for sites given twice."""
        order = self.order
        if order is None:
            return
        keys = self.keys[order]
        repeated = np.flatnonzero(keys[1:] == keys[:-1])
        if len(repeated):
            first = int(repeated[0])
            rows = order[first : first + 2].tolist()
            site = tuple(int(c) for c in self.indices[rows[0]])
            raise ValueError(
                f"{owner}: site {site} is given twice, in indices rows {rows[0]} and {rows[1]}; "
                "sum or average the features of duplicate sites first (spconv.data.voxelize does)"
            )

    def describe(self) -> str:
        return (
            f"{len(self)} sites in batch_size {self.batch_size} x "
            f"spatial_shape {self.spatial_shape}"
        )


def sites_of(
    keys: NDArray[np.int64], extents: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.int32]:
    """Sites (N, 1 + ndim), read-only, of ascending keys in a grid of these extents."""
    return read_only(kernels.sites_of_keys(keys, extents, threads_for(5.0 * len(keys))))


def read_only(array: NDArray) -> NDArray:
    """A view that cannot be written to: what several tensors and layers share."""
    if array.flags.writeable:
        array = array.view()
        array.setflags(write=False)
    return array


def checked_arguments(
    indices: Any, spatial_shape: Sequence[int], batch_size: int, owner: str
) -> tuple[NDArray[np.int32], tuple[int, ...], int]:
    """What a user gave for a :class:`SiteSet`, in its types; says nothing about the sites yet.

    Raises
    ------
    TypeError
        For indices, extents or a batch size that are no integers.
    ValueError
        For other shapes than (N, 1 + ndim), and for coordinates that do not fit in int32.
    """
    try:
        shape = tuple(index(extent) for extent in spatial_shape)
        batch_size = index(batch_size)
    except TypeError:
        raise TypeError(
            f"{owner}: spatial_shape must be a sequence of ints and batch_size an int, "
            f"got {spatial_shape!r} and {batch_size!r}"
        ) from None
    if not shape or min(shape) < 1:
        raise ValueError(f"{owner}: spatial_shape must hold extents >= 1, got {shape}")
    if batch_size < 0:
        raise ValueError(f"{owner}: batch_size must be >= 0, got {batch_size}")
    return _checked_indices(indices, shape, owner), shape, batch_size


def _checked_indices(indices: Any, spatial_shape: tuple[int, ...], owner: str) -> NDArray[np.int32]:
    if is_cupy(indices):
        raise TypeError(f"{owner}: indices live on the host; pass a NumPy array: indices.get()")
    columns = 1 + len(spatial_shape)
    try:
        indices = np.asarray(indices)
    except ValueError as error:
        raise ValueError(
            f"{owner}: indices must have 1 + ndim = {columns} columns in every row: {error}"
        ) from error
    if indices.size == 0 and indices.ndim < 2:
        indices = indices.reshape(0, columns).astype(np.int32)
    if indices.dtype.kind not in "iu":
        raise TypeError(
            f"{owner}: indices must be integers, got dtype {indices.dtype}; "
            "convert them with .astype('int32')"
        )
    if indices.ndim != 2 or indices.shape[1] != columns:
        raise ValueError(
            f"{owner}: indices must have 1 + ndim = {columns} columns (batch, then coordinates) "
            f"for spatial_shape {spatial_shape}, got shape {indices.shape}"
        )
    # A copy: the kernels trust what was checked, whatever the caller does to the array later.
    narrow = empty(indices.shape, np.int32)
    np.copyto(narrow, indices, casting="unsafe")
    if indices.dtype != np.int32 and not np.array_equal(narrow, indices):
        raise ValueError(
            f"{owner}: indices must fit in int32, got {indices.min()} to {indices.max()}"
        )
    return narrow


def fits_bitmap(num_cells: int, num_sites: int) -> bool:
    """Whether a bit for each cell of a grid is worth its memory."""
    return num_cells <= max(BITMAP_CELLS_ALWAYS, BITMAP_CELLS_PER_SITE * num_sites)
