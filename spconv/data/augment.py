"""Random translations and affine maps of whole batches of images, in plain NumPy.

An augmentation is a callable ``(images, rng) -> images`` that keeps the dtype and takes all its
randomness from ``rng``, a `numpy.random.Generator`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# So many output pixels at a time keep the intermediate arrays in the processor's cache.
PIXELS_PER_PASS = 1 << 16


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
        if self.max_shift != int(self.max_shift) or self.max_shift < 0:
            raise ValueError(
                f"Translate: max_shift must be a whole number >= 0, got {self.max_shift}"
            )

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = _checked("Translate", images)
        batch, height, width = images.shape
        corners = rng.integers(0, 2 * self.max_shift + 1, size=(batch, 2))
        grow = 2 * self.max_shift
        moved = np.zeros((batch, height + grow, width + grow), images.dtype)
        if images.size:
            windows = np.lib.stride_tricks.sliding_window_view(
                moved, (height, width), axis=(1, 2), writeable=True
            )
            windows[np.arange(batch), corners[:, 0], corners[:, 1]] = images
        return moved


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

    def __post_init__(self) -> None:
        for name in ("max_translation", "max_rotation", "max_shear"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"Affine: {name} must be >= 0, got {getattr(self, name)}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(
                f"Affine: scale must be (least, greatest), both positive, got {self.scale}"
            )
        if self.pad is not None and (self.pad != int(self.pad) or self.pad < 0):
            raise ValueError(f"Affine: pad must be a whole number >= 0 or None, got {self.pad}")

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
        return max(0, math.ceil(beyond + self.max_translation - 1e-9) - 1)

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
        return resample(images, inverse, shift.T, self.padding(*images.shape[1:]))


def resample(
    images: np.ndarray, inverse: np.ndarray, shift: np.ndarray, padding: int
) -> np.ndarray:
    """Read each image at affinely mapped positions, bilinearly; outside of it there are zeros.

    The value at p of the output is that of the input at ``inverse @ (p - shift)``, where p and
    the result are positions (x, y) relative to the middles of the output and the input.

    Parameters
    ----------
    images : uint8 or float array (B, H, W)
    inverse : float array (B, 2, 2)
    shift : float array (B, 2)
    padding : int
        The output is larger by so many pixels on each side.

    Returns
    -------
    array (B, H + 2 * padding, W + 2 * padding) of the same dtype
        uint8 values are rounded.
    """
    batch, height, width = images.shape
    out_height, out_width = height + 2 * padding, width + 2 * padding
    resampled = np.empty((batch, out_height, out_width), images.dtype)
    step = max(1, PIXELS_PER_PASS // max(1, out_height * out_width))
    for first in range(0, batch, step):
        part = slice(first, first + step)
        resampled[part] = _resample(images[part], inverse[part], shift[part], padding)
    return resampled


def _resample(
    images: np.ndarray, inverse: np.ndarray, shift: np.ndarray, padding: int
) -> np.ndarray:
    batch, height, width = images.shape
    value_type = np.float64 if images.dtype == np.float64 else np.float32
    # Zeros all around: one row and column before, two after, for the far neighbours of the last.
    source = np.zeros((batch, height + 3, width + 3), value_type)
    source[:, 1:-2, 1:-2] = images
    stride = width + 3

    xs = np.arange(width + 2 * padding) - (width + 2 * padding - 1) / 2 - shift[:, :1]
    ys = np.arange(height + 2 * padding) - (height + 2 * padding - 1) / 2 - shift[:, 1:]

    def positions(row: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole part (int32) and fraction of source positions along one axis, (B, H', W')."""
        along_x = (row[:, :1] * xs + ((size - 1) / 2 + 1)).astype(value_type)
        along_y = (row[:, 1:] * ys).astype(value_type)
        place = along_x[:, None, :] + along_y[:, :, None]
        np.clip(place, 0, size + 1, out=place)
        whole = place.astype(np.int32)  # truncation is the floor: no position is negative
        place -= whole
        return whole, place

    at, fraction_x = positions(inverse[:, 0], width)
    rows, fraction_y = positions(inverse[:, 1], height)
    rows += (np.arange(batch, dtype=np.int32) * (height + 3))[:, None, None]
    rows *= stride
    at += rows

    flat = source.reshape(-1)
    near = _between(flat, flat[1:], at, fraction_x)
    far = _between(flat[stride:], flat[stride + 1 :], at, fraction_x)
    far -= near
    far *= fraction_y
    near += far
    return np.rint(near, out=near) if images.dtype == np.uint8 else near


def _between(
    left: np.ndarray, right: np.ndarray, at: np.ndarray, fraction: np.ndarray
) -> np.ndarray:
    value = left.take(at)
    change = right.take(at)
    change -= value
    change *= fraction
    value += change
    return value


def _checked(who: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 3:
        raise ValueError(f"{who}: images must have shape (B, H, W), got {images.shape}")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"{who}: images must be uint8 or floats, got {images.dtype}")
    return images
