"""Seeded workloads: pen strokes, surface-like voxels and random sites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from spconv import SparseConvTensor, Tensor
from spconv.data import make_strokes, strokes_to_sites

STROKES = "pen strokes"
SURFACES = "spheres and planes"
RANDOM = "random sites"


@dataclass(frozen=True, eq=False)
class Sites:
    """The active sites of a batch, as yet without features.

    Parameters
    ----------
    name : str
        What the sites look like.
    indices : int32 ndarray (N, 1 + ndim)
    spatial_shape : tuple of ndim ints
    batch_size : int
    """

    name: str
    indices: NDArray[np.int32]
    spatial_shape: tuple[int, ...]
    batch_size: int

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def ndim(self) -> int:
        return len(self.spatial_shape)

    @cached_property
    def num_cells(self) -> int:
        """Sites of the whole grid, active or not, over the batch."""
        return self.batch_size * prod(self.spatial_shape)

    @property
    def density(self) -> float:
        """Share of the grid that is active."""
        return len(self) / self.num_cells

    def features(self, channels: int, seed: int = 0) -> NDArray[np.float32]:
        """Normal float32 values (N, channels)."""
        rng = np.random.default_rng((seed, channels))
        return rng.standard_normal((len(self), channels), dtype=np.float32)

    def tensor(
        self,
        features: Tensor | NDArray[np.float32],
        ground_state: NDArray[np.float32] | None = None,
    ) -> SparseConvTensor:
        """A new tensor: no rulebook, key or order of these sites is cached in it."""
        return SparseConvTensor(
            features, self.indices, self.spatial_shape, self.batch_size, ground_state, check=False
        )

    def shuffled(self, seed: int = 0) -> Sites:
        """The same sites in random order."""
        order = np.random.default_rng(seed).permutation(len(self))
        indices = np.ascontiguousarray(self.indices[order])
        return Sites(f"{self.name}, shuffled", indices, self.spatial_shape, self.batch_size)

    def describe(self) -> str:
        """Batch, shape and share of active sites in one short phrase.

        >>> random_sites((8, 8), 0.25, batch_size=2).describe()
        '2 x 8x8, 25 % active'
        """
        shape = "x".join(map(str, self.spatial_shape))
        return f"{self.batch_size} x {shape}, {100 * self.density:.2g} % active"


def pen_strokes(field: int, batch_size: int, seed: int = 0) -> Sites:
    """Characters of an invented script in the middle third of square fields."""
    samples, _ = make_strokes(batch_size, num_classes=20, seed=seed)
    indices, _ = strokes_to_sites(samples, field)
    return Sites(STROKES, indices, (field, field), batch_size)


def surfaces(ndim: int, extent: int, batch_size: int = 1, seed: int = 0) -> Sites:
    """Thin shells of four spheres and two tilted planes in each sample.

    In 2-D these are circles and lines, in 4-D hyperspheres and hyperplanes; the share of active
    sites falls with 1 / extent, as that of scanned scenes does.
    """
    rng = np.random.default_rng((seed, ndim, extent))
    grid = np.zeros((batch_size,) + (extent,) * ndim, bool)
    axes = [axis.astype(np.float32) for axis in np.ogrid[(slice(0, extent),) * ndim]]
    for sample in grid:
        for _ in range(4):
            center = extent * rng.uniform(0.25, 0.75, ndim)
            radius = extent * rng.uniform(0.1, 0.25)
            square = sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True))
            sample |= np.abs(np.sqrt(square) - radius) < 0.5
        for _ in range(2):
            normal = rng.standard_normal(ndim)
            normal /= np.abs(normal).max()
            place = normal @ (extent * rng.uniform(0.3, 0.7, ndim))
            height = sum(axis * n for axis, n in zip(axes, normal, strict=True))
            sample |= np.abs(height - place) < 0.5
    indices = np.ascontiguousarray(np.argwhere(grid), np.int32)
    return Sites(SURFACES, indices, (extent,) * ndim, batch_size)


def random_sites(
    spatial_shape: tuple[int, ...], density: float, batch_size: int = 1, seed: int = 0
) -> Sites:
    """A uniformly random choice of the grid's sites."""
    shape = (batch_size, *spatial_shape)
    count = round(density * prod(shape))
    rng = np.random.default_rng((seed, count))
    keys = np.sort(rng.choice(prod(shape), count, replace=False))
    indices = np.stack(np.unravel_index(keys, shape), axis=1).astype(np.int32)
    return Sites(RANDOM, indices, spatial_shape, batch_size)
