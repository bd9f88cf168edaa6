"""Random distortions of pen strokes: the path is moved, no bitmap is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from spconv.data.augment import check_strengths
from spconv.data.packed import PackedStrokes, Sample, pack_strokes
from spconv.kernels.rasterize import affine_points

KNOTS = 32  # of a character's wobble, then it repeats
KNOT_SPACING = 0.25  # path length between knots, in sizes of the character
SPLINE_DEVIATION = 0.692  # of a cubic B-spline with standard normal knots, averaged over its places


@dataclass(frozen=True)
class StrokeAffine:
    r"""Map each character by a random affine map and a smooth wobble of the pen.

    With c the middle of the character's bounding box and h its longer side, a point p becomes

    .. math::
        c + R \begin{pmatrix} 1 & \tau \\ 0 & 1 \end{pmatrix}
        \begin{pmatrix} \sigma e^{u} & 0 \\ 0 & \sigma e^{-u} \end{pmatrix} (p - c)
        + h \, (t + w(s)),

    where, drawn once for each character and uniformly from their ranges, R is a rotation, tau a
    shear, sigma a scale factor, u a stretch and t a translation. The wobble w is a cubic B-spline
    in the arc length s of the path (jumps between strokes not counted) through normally
    distributed knots a quarter of h apart. All parameters are relative to the character's size, so
    that they mean the same in any units.

    Parameters
    ----------
    max_rotation : float
        Greatest angle, in radians.
    scale : (float, float)
        Least and greatest scale factor.
    stretch : float
        Greatest |u|: the sides' ratio changes by up to e^(2 stretch).
    max_shear : float
        Greatest |tau|: x moves by up to this fraction of y.
    max_translation : float
        Greatest shift along each axis, as a fraction of h.
    jitter : float
        The standard deviation of the wobble along each axis, as a fraction of h.

    Examples
    --------
    >>> samples = [[np.array([[0.0, 0.0], [4.0, 2.0]], np.float32)]]
    >>> still = StrokeAffine(0, (1, 1), 0, 0, 0, 0)
    >>> bool((still(samples, np.random.default_rng(0))[0][0] == samples[0][0]).all())
    True
    >>> StrokeAffine()(samples, np.random.default_rng(0))[0][0].shape
    (2, 2)
    """

    max_rotation: float = 0.2
    scale: tuple[float, float] = (0.9, 1.1)
    stretch: float = 0.1
    max_shear: float = 0.2
    max_translation: float = 0.1
    jitter: float = 0.01

    def __post_init__(self) -> None:
        check_strengths(self, "max_rotation", "stretch", "max_shear", "max_translation", "jitter")

    @overload
    def __call__(self, samples: PackedStrokes, rng: np.random.Generator) -> PackedStrokes: ...

    @overload
    def __call__(
        self, samples: Sequence[Sample], rng: np.random.Generator
    ) -> list[list[np.ndarray]]: ...

    def __call__(self, samples, rng):
        """The distorted characters, in the form of ``samples``: packed, or lists of strokes."""
        packed = pack_strokes(samples, "StrokeAffine")
        draws = rng.random((len(packed), 6))
        angle, tau, u = (
            most * (2 * draws[:, i] - 1)
            for i, most in enumerate((self.max_rotation, self.max_shear, self.stretch))
        )
        sigma = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[:, 3]
        cos, sin = np.cos(angle), np.sin(angle)
        wide, high = sigma * np.exp(u), sigma * np.exp(-u)
        matrices = np.empty((len(packed), 2, 2))
        matrices[:, 0, 0], matrices[:, 0, 1] = cos * wide, (cos * tau - sin) * high
        matrices[:, 1, 0], matrices[:, 1, 1] = sin * wide, (sin * tau + cos) * high
        shifts = self.max_translation * (2 * draws[:, 4:] - 1)
        knots = np.empty((len(packed), 0, 2))
        if self.jitter:
            knots = rng.standard_normal((len(packed), KNOTS, 2))
            knots *= self.jitter / SPLINE_DEVIATION
        points = affine_points(
            packed.points,
            packed.stroke_starts,
            packed.sample_starts,
            matrices,
            shifts,
            knots,
            KNOT_SPACING,
        )
        moved = PackedStrokes(points, packed.stroke_starts, packed.sample_starts)
        return moved if isinstance(samples, PackedStrokes) else moved.unpack()
