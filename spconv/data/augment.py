"""Random translations, affine maps and smooth distortions of whole batches of images.

An augmentation is a callable ``(images, rng) -> images`` that keeps the dtype and takes all its
randomness from ``rng``, a `numpy.random.Generator`. Images are (B, H, W) or (B, C, H, W); all
channels of one are moved alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spconv.checks import check_float, check_int
from spconv.data.encode import check_images
from spconv.kernels import resample as kernels

SPLINE_DEVIATION = 151 / 315  # of a bicubic B-spline with standard normal knots, over all places
MOST_DEVIATIONS = 2.0  # knots are cut off there


@dataclass(frozen=True)
class Translate:
    """Move each image by a random whole number of pixels along each axis.

    The output is larger by ``max_shift`` pixels on each side, so that nothing is cut off and the
    middle of the output is the middle of the input.

    Parameters
    ----------
    max_shift : int
        The shifts are uniform over -max_shift, ..., max_shift.

    Examples
    --------
    >>> images = np.ones((2, 3, 3), np.uint8)
    >>> moved = Translate(2)(images, np.random.default_rng(0))
    >>> moved.shape, moved.sum(axis=(1, 2))
    ((2, 7, 7), array([9, 9], dtype=uint64))
    """

    max_shift: int = 2

    def __post_init__(self) -> None:
        check_int("Translate", "max_shift", self.max_shift, 0)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = _checked("Translate", images)
        batch, (height, width) = len(images), images.shape[-2:]
        corners = rng.integers(0, 2 * self.max_shift + 1, size=(batch, 2))
        grow = 2 * self.max_shift
        moved = np.zeros((*images.shape[:-2], height + grow, width + grow), images.dtype)
        if images.size:
            windows = np.lib.stride_tricks.sliding_window_view(
                moved, (height, width), axis=(-2, -1), writeable=True
            )
            channels = [slice(None)] * (images.ndim - 3)
            places: tuple[Any, ...] = (np.arange(batch), *channels, *corners.T)
            windows[places] = images
        return moved


@dataclass(frozen=True)
class Elastic:
    r"""Displace each pixel by a smooth random field (Simard, Steinkraus & Platt, ICDAR 2003).

    The displacements along x and y are uniform cubic B-splines through independent normally
    distributed knots on a coarse grid, which has the effect of Simard's white noise smoothed by a
    Gaussian of standard deviation spacing / sqrt(3). Knots beyond two standard deviations are cut
    off, so that the images need a finite padding: no pixel moves further than `reach`.

    Alone or, in the same resampling pass, as ``Affine(elastic=Elastic())``.

    Parameters
    ----------
    strength : float
        The standard deviation of the displacement along each axis, in pixels (a little less with
        the knots cut off).
    spacing : float
        Between the knots, in pixels.

    Examples
    --------
    >>> images = np.zeros((2, 5, 5), np.uint8)
    >>> Elastic(strength=0.5)(images, np.random.default_rng(0)).shape
    (2, 11, 11)
    """

    strength: float = 0.8
    spacing: float = 6.0

    def __post_init__(self) -> None:
        check_float("Elastic", "strength", self.strength)
        check_float("Elastic", "spacing", self.spacing, 1)

    @property
    def reach(self) -> float:
        """The greatest displacement along an axis, in pixels."""
        return self.strength / SPLINE_DEVIATION * MOST_DEVIATIONS

    def num_knots(self, size: int) -> int:
        """How many knots cover ``size`` pixels."""
        return int((size - 1) / self.spacing) + 4

    def draw(self, batch: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Knots (batch, Ky, Kx, 2) for outputs of height x width."""
        knots = rng.standard_normal((batch, self.num_knots(height), self.num_knots(width), 2))
        np.clip(knots, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=knots)
        knots *= self.strength / SPLINE_DEVIATION
        return knots

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = _checked("Elastic", images)
        batch, (height, width) = len(images), images.shape[-2:]
        padding = math.ceil(self.reach)
        knots = self.draw(batch, height + 2 * padding, width + 2 * padding, rng)
        still = np.broadcast_to(np.eye(2), (batch, 2, 2))
        return resample(images, still, np.zeros((batch, 2)), padding, knots, self.spacing)


@dataclass(frozen=True)
class Affine:
    """Map each image by a random affine map about its middle, resampled bilinearly.

    Graham 2014 (arXiv 1409.6070, section 4) trains on translations and on affine distortions:
    scalings, rotations and shears. Each image draws, all uniformly, two scale factors (along x
    and y: their ratio stretches), a shear, a rotation and a translation, applied in this order.

    The output is larger by `padding` pixels on each side, which is enough for the strongest map,
    so that nothing is cut off, and the middle of the output is the middle of the input.

    Parameters
    ----------
    max_translation : float
        Greatest shift along each axis, in pixels.
    max_rotation : float
        Greatest angle, in radians.
    scale : (float, float)
        Least and greatest scale factor.
    max_shear : float
        Greatest shear: x moves by up to this fraction of y.
    pad : int, optional
        Padding of the output on each side, instead of `padding`'s safe number: a smaller one is
        faster where the images have a wide empty margin.
    elastic : Elastic, optional
        A smooth distortion after the affine map, in the same pass.

    Examples
    --------
    >>> images = np.zeros((2, 5, 5), np.uint8)
    >>> images[:, 2, 2] = 200
    >>> Affine()(images, np.random.default_rng(0)).shape
    (2, 13, 13)
    >>> same = Affine(max_translation=0, max_rotation=0, scale=(1, 1), max_shear=0)
    >>> bool((same(images, np.random.default_rng(0)) == images).all())
    True
    """

    max_translation: float = 2.0
    max_rotation: float = 0.2
    scale: tuple[float, float] = (0.85, 1.15)
    max_shear: float = 0.2
    pad: int | None = None
    elastic: Elastic | None = None

    def __post_init__(self) -> None:
        check_strengths(self, "max_translation", "max_rotation", "max_shear")
        if self.pad is not None:
            check_int("Affine", "pad", self.pad, 0)

    def padding(self, height: int, width: int) -> int:
        """How far, in whole pixels, the strongest map can carry ink beyond the image's edge."""
        if self.pad is not None:
            return self.pad
        # Bilinear weights vanish one pixel beyond the outermost pixels' middles.
        half_y, half_x = ((size + 1) / 2 * self.scale[1] for size in (height, width))
        half_x += self.max_shear * half_y
        # |x cos a + y sin a| is largest at the angle of the corner (x, y), where it is allowed.
        reach_x, reach_y = (
            math.hypot(p, q) * math.cos(max(0.0, math.atan2(q, p) - self.max_rotation))
            for p, q in ((half_x, half_y), (half_y, half_x))
        )
        beyond = max(reach_x - (width - 1) / 2, reach_y - (height - 1) / 2)
        beyond += self.max_translation + (self.elastic.reach if self.elastic else 0.0)
        return max(0, math.ceil(beyond - 1e-9) - 1)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = _checked("Affine", images)
        draws = rng.random((len(images), 6)).T
        scale_x, scale_y = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[:2]
        shear, angle = (2 * draws[2:4] - 1) * [[self.max_shear], [self.max_rotation]]
        shift = (2 * draws[4:] - 1) * self.max_translation
        # The inverse of rotation(angle) @ [[1, shear], [0, 1]] @ diag(scale_x, scale_y), in (x, y).
        cos, sin = np.cos(angle), np.sin(angle)
        inverse = np.empty((len(images), 2, 2))
        inverse[:, 0] = np.stack([cos + shear * sin, sin - shear * cos], axis=1) / scale_x[:, None]
        inverse[:, 1] = np.stack([-sin, cos], axis=1) / scale_y[:, None]
        batch, (height, width) = len(images), images.shape[-2:]
        padding = self.padding(height, width)
        if self.elastic is None:
            return resample(images, inverse, shift.T, padding)
        knots = self.elastic.draw(batch, height + 2 * padding, width + 2 * padding, rng)
        return resample(images, inverse, shift.T, padding, knots, self.elastic.spacing)


def resample(
    images: np.ndarray,
    inverse: np.ndarray,
    shift: np.ndarray,
    padding: int,
    knots: np.ndarray | None = None,
    spacing: float = 1.0,
) -> np.ndarray:
    """Read each image at mapped positions, bilinearly; outside of it there are zeros.

    The value at p of the output is that of the input at ``inverse @ (p - shift - u(p))``, where p
    and the result are positions (x, y) relative to the middles of the output and the input, and u
    is the uniform cubic B-spline through the knots (0 without any).

    Parameters
    ----------
    images : uint8 or float array (B, H, W) or (B, C, H, W)
    inverse : float array (B, 2, 2)
    shift : float array (B, 2)
    padding : int
        The output is larger by so many pixels on each side.
    knots : float array (B, Ky, Kx, 2), optional
        Displacements (x, y); knot (1, 1) is at the output's corner. `Elastic.num_knots` tells how
        many cover a side.
    spacing : float
        Between knots, in pixels.

    Returns
    -------
    array (B, H + 2 * padding, W + 2 * padding) of the same dtype
        With as many channels as the images; uint8 values are rounded.
    """
    if images.ndim == 4:
        count, channels, height, width = images.shape
        inverse, shift = (np.repeat(a, channels, axis=0) for a in (inverse, shift))
        knots = None if knots is None else np.repeat(knots, channels, axis=0)
        flat = images.reshape(count * channels, height, width)
        flat = resample(flat, inverse, shift, padding, knots, spacing)
        return flat.reshape(count, channels, *flat.shape[1:])
    dtype = images.dtype
    if dtype not in (np.uint8, np.float32, np.float64):
        images = images.astype(np.float32)
    batch, height, width = images.shape
    out = np.empty((batch, height + 2 * padding, width + 2 * padding), images.dtype)
    if not images.size:
        out[:] = 0
        return out.astype(dtype, copy=False)
    if knots is None:
        knots = np.empty((batch, 0, 0, 2))
    size = (height + 3) * (width + 3) + 7 * out.shape[2] + 2 * knots.shape[2]
    kernels.resample(
        np.ascontiguousarray(images),
        np.ascontiguousarray(inverse, np.float64),
        np.ascontiguousarray(shift, np.float64),
        np.ascontiguousarray(knots, np.float64),
        spacing,
        np.empty(size, np.float64 if images.dtype == np.float64 else np.float32),
        out,
    )
    return out.astype(dtype, copy=False)


def check_strengths(augmentation: Any, *names: str) -> None:
    """Raise unless the named numbers are >= 0, and ``scale`` is a positive (least, greatest)."""
    owner, scale = type(augmentation).__name__, augmentation.scale
    for name in names:
        check_float(owner, name, getattr(augmentation, name))
    if np.shape(scale) != (2,):
        raise ValueError(f"{owner}: scale must be (least, greatest), got {scale!r}")
    least = check_float(owner, "scale[0]", scale[0], positive=True)
    check_float(owner, "scale[1]", scale[1], least)


def _checked(who: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    check_images(who, images.shape)
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"{who}: images must be uint8 or floats, got {images.dtype}")
    return images
