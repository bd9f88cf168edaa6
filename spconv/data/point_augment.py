"""Random motions of point clouds, and random choices of their points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.checks import check_float
from spconv.data.augment import check_strengths
from spconv.data.clouds import check_clouds

MOST_DEVIATIONS = 5.0  # of the jitter, as in the code of PointNet


@dataclass(frozen=True)
class PointAffine:
    r"""Turn, mirror, scale and shift each cloud, and move its points a little apart.

    A point p becomes

    .. math::
        \sigma \, R_z R_y R_x \, F p + t + w,

    where, drawn once for each cloud, R are rotations about the axes, F mirrors axes, sigma is a
    scale factor and t a translation, angles, sigma and t uniformly from their ranges; w is drawn
    for each coordinate of each point. Points keep their order, so that features and labels still
    belong to them; features that are vectors, such as normals, would have to be turned as well,
    which is not done. All happens about (0, 0, 0), where a scanner usually is. For a grid that
    `voxelize` fits to the points another middle makes no difference.

    Parameters
    ----------
    max_rotation : float or (float, float, float)
        Greatest angle, in radians: about z, or about x, y and z.
    scale : (float, float)
        Least and greatest scale factor.
    flip : (float, float, float)
        The probabilities that x, y and z are mirrored.
    max_translation : float or (float, float, float)
        Greatest shift along each axis, in the units of the points.
    jitter : float
        The standard deviation of w, in the units of the points (Qi et al. 2017, arXiv 1612.00593:
        0.02 of a cloud's radius); what is beyond 5 standard deviations is cut off.

    Examples
    --------
    >>> clouds = [np.array([[2.0, 0.0, 1.0]], np.float32), np.zeros((0, 3))]
    >>> still = PointAffine(max_rotation=0, scale=(1, 1), flip=(0, 0, 0))
    >>> still(clouds, np.random.default_rng(0))[0]
    array([[2., 0., 1.]], dtype=float32)
    >>> moved = PointAffine(scale=(1, 1))(clouds, np.random.default_rng(0))
    >>> [cloud.shape for cloud in moved], round(float(np.hypot(*moved[0][0, :2])), 6)
    ([(1, 3), (0, 3)], 2.0)
    """

    max_rotation: float | tuple[float, float, float] = math.pi
    scale: tuple[float, float] = (0.9, 1.1)
    flip: tuple[float, float, float] = (0.5, 0.0, 0.0)
    max_translation: float | tuple[float, float, float] = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        check_strengths(self, "jitter")
        for name in ("max_rotation", "flip", "max_translation"):
            for number in self._three(name):
                check_float("PointAffine", name, float(number))
        if max(self.flip) > 1:
            raise ValueError(f"PointAffine: flip must hold probabilities, got {self.flip}")

    def __call__(self, clouds: Sequence[Any], rng: np.random.Generator) -> list[NDArray]:
        """Moved clouds, float arrays (N_i, 3), each in its dtype."""
        given = check_clouds("PointAffine", clouds)
        if given[0].shape[1] != 3:
            raise ValueError(
                f"PointAffine: points must have 3 coordinates, got clouds of {given[0].shape[1]}"
            )
        draws = rng.random((len(given), 10))
        angles = (2 * draws[:, :3] - 1) * self._three("max_rotation")
        sigma = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[:, 3]
        signs = np.where(draws[:, 4:7] < self.flip, -1.0, 1.0)
        shifts = (2 * draws[:, 7:] - 1) * self._three("max_translation")
        matrices = sigma[:, None, None] * _rotations(angles) * signs[:, None, :]
        moved = []
        for cloud, matrix, shift in zip(given, matrices, shifts, strict=True):
            xyz = cloud.astype(np.float64)
            # No product of matrices: its sums would have another order on another processor.
            points = xyz[:, :1] * matrix[:, 0] + xyz[:, 1:2] * matrix[:, 1]
            points += xyz[:, 2:] * matrix[:, 2]
            points += shift
            if self.jitter:
                noise = rng.standard_normal(points.shape)
                points += self.jitter * np.clip(noise, -MOST_DEVIATIONS, MOST_DEVIATIONS)
            moved.append(points.astype(cloud.dtype))
        return moved

    def _three(self, name: str) -> NDArray[np.float64]:
        """One number for each axis."""
        value = getattr(self, name)
        numbers = np.asarray(value, np.float64)
        if numbers.shape == () and name == "max_rotation":
            return np.array([0.0, 0.0, numbers])
        if numbers.shape == () and name == "max_translation":
            return np.full(3, numbers)
        if numbers.shape != (3,):
            one = "" if name == "flip" else "one number or "
            raise ValueError(f"PointAffine: {name} must be {one}three, (x, y, z), got {value!r}")
        return numbers


@dataclass(frozen=True)
class DropPoints:
    """Choose the points of each cloud that stay, so that its density differs every time.

    The result are rows, with which points, features and labels are taken alike. Each cloud draws
    a fraction uniformly from its range, and loses each point with that probability, as the
    clouds of PointNet++ do (Qi et al. 2017, arXiv 1706.02413); one point always stays.

    Parameters
    ----------
    fraction : (float, float)
        Least and greatest fraction that is lost, from 0 up to but not including 1.

    Examples
    --------
    >>> scan, labels = np.random.default_rng(0).random((1000, 3)), np.arange(1000) % 5
    >>> (kept,) = DropPoints((0.5, 0.5))([scan], np.random.default_rng(0))
    >>> scan[kept].shape, labels[kept].shape
    ((526, 3), (526,))
    """

    fraction: tuple[float, float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        if np.shape(self.fraction) != (2,):
            raise ValueError(
                f"DropPoints: fraction must be (least, greatest), got {self.fraction!r}"
            )
        least = check_float("DropPoints", "fraction[0]", self.fraction[0], 0, 1)
        check_float("DropPoints", "fraction[1]", self.fraction[1], least, 1)

    def __call__(self, clouds: Sequence[Any], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """Rows that stay, ascending, of each cloud: of an array (N_i, ...) or a list of N_i."""
        least, greatest = self.fraction
        lost = least + (greatest - least) * rng.random(len(clouds))
        rows = []
        for cloud, fraction in zip(clouds, lost, strict=True):
            draws = rng.random(len(cloud))
            if len(draws):
                fraction = min(fraction, draws.max())
            rows.append(np.flatnonzero(draws >= fraction))
        return rows


def _rotations(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rz Ry Rx (B, 3, 3) of angles (B, 3) about x, y and z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles).T, np.cos(angles).T
    return np.stack(
        [
            np.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], axis=1),
            np.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], axis=1),
            np.stack([-sy, cy * sx, cy * cx], axis=1),
        ],
        axis=1,
    )
