"""Pen strokes to bitmaps of a given pen width, or to active sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from spconv.checks import check_int
from spconv.data.encode import encode_images
from spconv.data.packed import PackedStrokes, Sample, pack_strokes

DOT_SPACING = 0.5  # pixels between the stamped dots of a stroke
SAMPLES_PER_PASS = 256  # a pass of 28 x 28 bitmaps stays in the processor's cache


def rasterize_strokes(
    samples: Sequence[Sample] | PackedStrokes,
    size: int = 28,
    box: float | None = None,
    pen_width: float | np.ndarray = 2.0,
) -> np.ndarray:
    """Draw characters given as pen strokes, each scaled into a box in the middle of a bitmap.

    Each character keeps its aspect ratio; its longer side becomes ``box`` pixels, whatever units
    its coordinates have. The pen is round, with a soft edge one pixel wide.

    Parameters
    ----------
    samples : sequence of B characters, or PackedStrokes
        Each a sequence of strokes, each stroke an array (n, 2) of points (x, y), y downwards. A
        stroke of one point is a dot; a character without strokes gives an empty bitmap.
    size : int
        Height and width of the bitmaps.
    box : float, optional
        The longer side of a character between its outermost points; by default 5/7 of ``size``
        (20 of 28, as in MNIST).
    pen_width : float or array (B,)
        In pixels; ``box + pen_width`` is at most ``size``.

    Returns
    -------
    uint8 array (B, size, size)
        0 is paper, 255 is full ink.

    Raises
    ------
    ValueError
        If a stroke is not (n, 2), a coordinate not finite, or the box too large for the bitmap.

    Examples
    --------
    >>> cross = [np.array([[0, 1], [2, 1]]), np.array([[1, 0], [1, 2]])]
    >>> rasterize_strokes([cross], size=5, box=2, pen_width=1)[0]
    array([[  0,   0,   0,   0,   0],
           [  0,   0, 255,   0,   0],
           [  0, 255, 255, 255,   0],
           [  0,   0, 255,   0,   0],
           [  0,   0,   0,   0,   0]], dtype=uint8)
    """
    size = check_int("rasterize_strokes", "size", size, 1)
    box = size * 5 / 7 if box is None else box
    images = np.empty((len(samples), size, size), np.uint8)
    for first, drawn in _bitmaps(samples, size, box, pen_width, "rasterize_strokes"):
        images[first : first + len(drawn)] = drawn
    return images


def strokes_to_sites(
    samples: Sequence[Sample] | PackedStrokes,
    field: int,
    box: float | None = None,
    pen_width: float | np.ndarray = 2.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw characters in the middle of a square field and return the inked sites.

    Equal to ``encode_images(rasterize_strokes(samples, field, box, pen_width), field)``, without
    ever holding all the bitmaps; by default, ``box`` is a third of the field (Graham 2014).

    Returns
    -------
    indices : int32 array (N, 3)
        (character, y, x), sorted.
    features : float32 array (N, 1)
        Ink, greater than 0 and up to 1.

    Examples
    --------
    >>> indices, features = strokes_to_sites([[np.zeros((1, 2))]], field=9, pen_width=1)
    >>> indices, features
    (array([[0, 4, 4]], dtype=int32), array([[1.]], dtype=float32))
    """
    field = check_int("strokes_to_sites", "field", field, 1)
    box = field / 3 if box is None else box
    all_indices, all_features = [np.empty((0, 3), np.int32)], [np.empty((0, 1), np.float32)]
    for first, drawn in _bitmaps(samples, field, box, pen_width, "strokes_to_sites"):
        indices, features = encode_images(drawn, field)
        indices[:, 0] += first
        all_indices.append(indices)
        all_features.append(features)
    return np.concatenate(all_indices), np.concatenate(all_features)


def _bitmaps(
    samples: Sequence[Sample] | PackedStrokes,
    size: int,
    box: float,
    pen_width: float | np.ndarray,
    owner: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Some bitmaps (B', size, size) after the other, and the number of the first of them."""
    packed = pack_strokes(samples, owner)
    widths = _widths(pen_width, len(packed), owner)
    widest = float(widths.max(initial=0))
    if not (box > 0 and box + widest <= size):
        raise ValueError(
            f"{owner}: expected box > 0 and box + pen_width <= size, got {box:g} + {widest:g} and "
            f"size {size}"
        )
    for first in range(0, len(packed), SAMPLES_PER_PASS):
        rows = np.arange(first, min(first + SAMPLES_PER_PASS, len(packed)))
        yield first, _draw(packed.take(rows).fit(box), widths[rows], size)


def _widths(pen_width: float | np.ndarray, count: int, owner: str) -> np.ndarray:
    widths = np.asarray(pen_width, np.float32)
    if widths.shape not in ((), (count,)):
        raise ValueError(
            f"{owner}: pen_width must be one width or {count}, got an array of shape {widths.shape}"
        )
    if widths.size and not widths.min() > 0:
        raise ValueError(f"{owner}: pen_width must be > 0, got {widths.min()}")
    return np.broadcast_to(widths, (count,))


def _draw(packed: PackedStrokes, widths: np.ndarray, size: int) -> np.ndarray:
    dots, sample = _dots(packed)
    radius = widths[sample] / 2
    reach = int(np.ceil(float(widths.max(initial=1)) / 2 + 0.5))
    side = size + 2 * reach  # a frame around the bitmap takes the stamps' empty corners
    canvas = np.zeros(len(packed) * side * side, np.uint8)

    dots += (side - 1) / 2
    nearest = np.rint(dots).astype(np.int64)
    pixel = (sample * side + nearest[:, 1]) * side + nearest[:, 0]
    off_x, off_y = (nearest - dots).T
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            distance = np.hypot(off_x + dx, off_y + dy)
            ink = np.clip(radius + 0.5 - distance, 0, 1) * 255 + 0.5
            np.maximum.at(canvas, pixel + (dy * side + dx), ink.astype(np.uint8))
    inner = slice(reach, reach + size)
    return canvas.reshape(len(packed), side, side)[:, inner, inner]


def _dots(packed: PackedStrokes) -> tuple[np.ndarray, np.ndarray]:
    """Dots along the strokes, `DOT_SPACING` or less apart, and for each the sample's number."""
    points, ends = packed.points, packed.stroke_starts[1:] - 1
    step = np.zeros_like(points)
    step[:-1] = np.diff(points, axis=0)
    step[ends] = 0  # the pen is lifted there
    counts = np.maximum(1, np.ceil(np.hypot(*step.T) / DOT_SPACING)).astype(np.int64)
    starts = np.cumsum(counts) - counts
    along = np.arange(counts.sum()) - np.repeat(starts, counts)
    step /= counts[:, None]
    dots = np.repeat(points, counts, axis=0) + np.repeat(step, counts, axis=0) * along[:, None]
    sample = np.repeat(np.arange(len(packed)), np.diff(packed.point_starts()))
    return dots.astype(np.float32), np.repeat(sample, counts)
