"""A full grid with an activity mask: what every reference function takes and returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EVERY = (slice(None),)
"""An axis taken whole, for indices that are put together as tuples."""


@dataclass(frozen=True)
class Grid:
    """The dense picture of a sparse tensor.

    Attributes
    ----------
    values : (batch, C, *spatial_shape) array, real or complex
        Inactive sites hold the ground state, or 0 without one.
    active : (batch, *spatial_shape) bool array
    ground : (C,) array or None
    """

    values: np.ndarray
    active: np.ndarray
    ground: np.ndarray | None = None

    @property
    def ndim(self) -> int:
        return self.values.ndim - 2

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self.values.shape[2:]

    @property
    def num_channels(self) -> int:
        return self.values.shape[1]

    def background(self) -> np.ndarray:
        """The (C,) vector that an inactive site holds."""
        return np.zeros(self.num_channels) if self.ground is None else self.ground

    def indices(self) -> np.ndarray:
        """The active sites as int32 rows (batch, coordinates), sorted."""
        return np.argwhere(self.active).astype(np.int32)

    def rows(self, indices: np.ndarray | None = None) -> np.ndarray:
        """The (N, C) values at `indices`, by default at the sorted active sites."""
        sites = tuple((self.indices() if indices is None else indices).T)
        return np.moveaxis(self.values, 1, -1)[sites]


def ntuple(value: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """`value` once per dimension."""
    result = tuple(value) if isinstance(value, tuple) else (value,) * ndim
    if len(result) != ndim:
        raise ValueError(f"reference: expected {ndim} values, got {value}")
    return result


def scatter(features, indices, spatial_shape, batch_size, ground=None) -> Grid:
    """The grid of a sparse tensor's parts: `features` (N, C) at `indices` (N, 1 + ndim)."""
    kind = features.dtype if ground is None else np.result_type(features, ground)
    values = np.zeros((batch_size, *spatial_shape, features.shape[1]), kind)
    active = np.zeros((batch_size, *spatial_shape), bool)
    if ground is not None:
        values[:] = ground
    for row, site in zip(features, indices, strict=True):
        values[tuple(site)] = row
        active[tuple(site)] = True
    return Grid(np.moveaxis(values, -1, 1), active, ground)


def full_grid(values) -> Grid:
    """An ordinary dense array (batch, C, *spatial): all sites active, zeros outside."""
    active = np.ones((values.shape[0], *values.shape[2:]), bool)
    return Grid(values, active, np.zeros(values.shape[1], values.dtype))


def pad(x: Grid, before: tuple[int, ...], after: tuple[int, ...]) -> Grid:
    """Extend the grid by inactive sites, which hold the background."""
    inner = tuple(slice(b, b + n) for b, n in zip(before, x.spatial_shape, strict=True))
    shape = tuple(b + n + a for b, n, a in zip(before, x.spatial_shape, after, strict=True))
    batch, channels = x.values.shape[:2]
    values = np.zeros((batch, channels, *shape), np.result_type(x.values, x.background()))
    values += x.background().reshape(-1, *[1] * x.ndim)
    values[2 * EVERY + inner] = x.values
    active = np.zeros((batch, *shape), bool)
    active[EVERY + inner] = x.active
    return Grid(values, active, x.ground)


def only_where(x: Grid, active: np.ndarray) -> Grid:
    """`x` with the sites outside `active` put back to the background."""
    background = x.background().reshape(-1, *[1] * x.ndim)
    return Grid(np.where(active[:, None], x.values, background), active, x.ground)
