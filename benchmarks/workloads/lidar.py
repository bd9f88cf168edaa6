"""A seeded scan of a street by a spinning laser scanner with 64 beams, as voxels.

Rays are cast against the ground, house walls, cars, poles and tree crowns. What matters to sparse
convolutions is how many neighbours a voxel has: uniformly random points have nearly none, scans
have about six in a 3 x 3 x 3 window. State that number beside every time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.sites import Sites

LIDAR = "laser scan of a street"
HEIGHT = 1.73  # metres, of the scanner
RANGE = (2.0, 80.0)
NOISE = 0.02
LOST = 0.05  # share of the rays that do not come back
HOUSES, CARS, POLES, TREES = 26, 20, 14, 18

Rays = NDArray[np.float64]


def scan_points(seed: int = 0, beams: int = 64, columns: int = 2048) -> Rays:
    """Points (N, 3) in metres, the ground at z = 0, the street along x."""
    rng = np.random.default_rng(seed)
    directions = _directions(rng, beams, columns)
    down = np.minimum(directions[:, 2], -1e-9)
    distance = np.where(directions[:, 2] < -1e-3, -HEIGHT / down, np.inf)
    for low, high in _boxes(rng):
        distance = np.minimum(distance, _hit_box(directions, low, high))
    for _ in range(TREES):
        distance = np.minimum(distance, _hit_crown(rng, directions))
    seen = (distance > RANGE[0]) & (distance < RANGE[1]) & (rng.random(len(distance)) > LOST)
    noisy = distance[seen] + rng.normal(0, NOISE, int(seen.sum()))
    return np.array([0, 0, HEIGHT]) + directions[seen] * noisy[:, None]


def lidar_scan(voxel: float = 0.05, batch_size: int = 1, seed: int = 0, **size: int) -> Sites:
    """Voxels of ``voxel`` metres that hold a point, one scan in each sample."""
    samples = [
        np.floor(scan_points(seed + i, **size) / voxel).astype(int) for i in range(batch_size)
    ]
    lowest = np.min([points.min(axis=0) for points in samples], axis=0)
    highest = np.max([points.max(axis=0) for points in samples], axis=0)
    indices = []
    for number, points in enumerate(samples):
        distinct = np.unique(points - lowest, axis=0)
        indices.append(np.insert(distinct, 0, number, axis=1))
    shape = tuple(int(n) for n in highest - lowest + 1)
    sites = np.ascontiguousarray(np.concatenate(indices), np.int32)
    return Sites(LIDAR, sites, shape, batch_size)


def _directions(rng: np.random.Generator, beams: int, columns: int) -> Rays:
    elevation = np.deg2rad(np.linspace(-24.8, 2.0, beams))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    elevation = elevation + rng.normal(0, 2e-4, (beams, columns))
    flat = np.cos(elevation)
    parts = flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)
    return np.stack(parts, axis=-1).reshape(-1, 3)


def _boxes(rng: np.random.Generator) -> list[tuple[Rays, Rays]]:
    """Corners of the houses, cars and poles on both sides of the street."""

    def box(along, across, half_length, half_width, bottom, top):
        low = along - half_length, across - half_width, bottom
        return np.array(low), np.array([along + half_length, across + half_width, top])

    def side(nearest, farthest):
        return rng.choice([-1, 1]) * rng.uniform(nearest, farthest)

    boxes = []
    for _ in range(HOUSES):
        wall = side(12, 19)
        length, height = rng.uniform(4, 12.5), rng.uniform(4, 12)
        boxes.append(box(rng.uniform(-70, 70), wall, length, 3.0, 0.0, height))
    for _ in range(CARS):
        boxes.append(box(rng.uniform(-50, 50), side(2.5, 7), 2.1, 0.9, 0.2, 1.6))
    for _ in range(POLES):
        width = rng.uniform(0.1, 0.3)
        boxes.append(box(rng.uniform(-45, 45), side(6.5, 9), width, width, 0.0, rng.uniform(3, 8)))
    return boxes


def _hit_box(directions: Rays, low: Rays, high: Rays) -> Rays:
    """Distance at which each ray enters a box, infinite where it misses."""
    origin = np.array([0, 0, HEIGHT])
    with np.errstate(divide="ignore"):
        one, two = (low - origin) / directions, (high - origin) / directions
    enter, leave = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
    return np.where((enter < leave) & (enter > 0.5), enter, np.inf)


def _hit_crown(rng: np.random.Generator, directions: Rays) -> Rays:
    """Rays go a random depth into the leaves."""
    along, across = rng.uniform(-50, 50), rng.choice([-1, 1]) * rng.uniform(7, 14)
    center = np.array([along, across, rng.uniform(2.5, 5) - HEIGHT])
    radius = rng.uniform(1, 3)
    middle = directions @ center
    inside = middle**2 - (center @ center - radius**2)
    half = np.sqrt(np.maximum(inside, 0))
    depth = middle - half + rng.exponential(0.6, len(directions))
    return np.where((inside > 0) & (middle > 0) & (depth < middle + half), depth, np.inf)
