"""Pen strokes of many characters in three flat arrays, and their fit into a box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Stroke = np.ndarray
Sample = Sequence[Stroke]
POINT = 1e-300
"""An extent, in any unit, that is none: a field's size divided by it is no number."""


@dataclass(frozen=True)
class PackedStrokes:
    """Characters as flat arrays, which batches are cut from and drawn at little cost.

    Parameters
    ----------
    points : float64 array (P, 2)
        All points (x, y), y downwards.
    stroke_starts : int64 array (S + 1,)
        Stroke s is ``points[stroke_starts[s]:stroke_starts[s + 1]]``; none is empty.
    sample_starts : int64 array (B + 1,)
        Character b has the strokes from ``sample_starts[b]`` up to ``sample_starts[b + 1]``.

    Examples
    --------
    >>> packed = pack_strokes([[np.zeros((3, 2)), np.ones((1, 2))], []])
    >>> len(packed), packed.stroke_starts, packed.sample_starts
    (2, array([0, 3, 4]), array([0, 2, 2]))
    >>> len(packed.take([1, 0]).unpack()[1])
    2
    """

    points: np.ndarray
    stroke_starts: np.ndarray
    sample_starts: np.ndarray

    def __len__(self) -> int:
        """The number of characters."""
        return len(self.sample_starts) - 1

    def point_starts(self) -> np.ndarray:
        """Where each character's points begin, int64 (B + 1,)."""
        return self.stroke_starts[self.sample_starts]

    def take(self, rows: Sequence[int] | np.ndarray) -> PackedStrokes:
        """The characters ``rows``, integers (B',) from 0 to B - 1, in this order."""
        rows = np.asarray(rows, np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"PackedStrokes: rows must be in 0..{len(self) - 1}, got {rows.min()}..{rows.max()}"
            )
        strokes, sample_starts = _ranges(self.sample_starts, rows)
        points, stroke_starts = _ranges(self.stroke_starts, strokes)
        return PackedStrokes(self.points.take(points, axis=0), stroke_starts, sample_starts)

    def unpack(self) -> list[list[np.ndarray]]:
        """Lists of strokes, float32 arrays (n, 2)."""
        points = self.points.astype(np.float32)
        ends = self.stroke_starts.tolist()
        strokes = [points[first:end] for first, end in pairwise(ends)]
        starts = self.sample_starts.tolist()
        return [strokes[first:end] for first, end in pairwise(starts)]

    def fit(self, box: float | tuple[float, float]) -> PackedStrokes:
        """Scale each character into a box around (0, 0).

        With one number, the longer side of the character's bounding box becomes ``box``. With two,
        (height, width), both sides are stretched to them; a side without extent stays so.
        """
        if not len(self.points):
            return self
        starts = self.point_starts()
        counts = np.diff(starts)
        first = starts[:-1][counts > 0]
        low = np.minimum.reduceat(self.points, first)
        high = np.maximum.reduceat(self.points, first)
        extent = high - low
        if isinstance(box, tuple):
            scale = np.array(box[::-1], np.float64) / np.where(extent > POINT, extent, 1)
        else:
            extent = extent.max(axis=1, keepdims=True)
            scale = np.broadcast_to(box / np.where(extent > POINT, extent, 1), low.shape)
        repeats = counts[counts > 0]
        middle = np.repeat((low + high) / 2, repeats, axis=0)
        points = (self.points - middle) * np.repeat(scale, repeats, axis=0)
        return PackedStrokes(points, self.stroke_starts, self.sample_starts)


def pack_strokes(
    samples: Sequence[Sample] | PackedStrokes, who: str = "pack_strokes"
) -> PackedStrokes:
    """Characters, each a sequence of strokes (n, 2), as `PackedStrokes`; those pass through.

    Strokes without points are left out.

    Raises
    ------
    ValueError
        If a stroke is not (n, 2) or a coordinate is not finite. The message begins with ``who``.
    """
    if isinstance(samples, PackedStrokes):
        _check(samples, who)
        return samples
    samples = list(samples)
    strokes = [np.asarray(stroke) for sample in samples for stroke in sample]
    for stroke in strokes:
        if stroke.ndim != 2 or stroke.shape[1] != 2:
            raise ValueError(f"{who}: a stroke must have shape (n, 2), got {stroke.shape}")
    sizes = np.array([len(stroke) for stroke in strokes], np.int64)
    sample_sizes = np.array([len(sample) for sample in samples], np.int64)
    points = np.concatenate([np.empty((0, 2)), *strokes])
    if not np.isfinite(points).all():
        raise ValueError(f"{who}: coordinates must be finite, got nan or infinity")
    kept = np.concatenate([[0], np.cumsum(sizes > 0)])
    return PackedStrokes(
        np.ascontiguousarray(points, np.float64),
        _starts(sizes[sizes > 0]),
        kept[_starts(sample_sizes)],
    )


def _check(packed: PackedStrokes, who: str) -> None:
    """Kernels read and write where the starts say."""
    strokes, samples = np.asarray(packed.stroke_starts), np.asarray(packed.sample_starts)
    whole = (
        strokes.ndim == samples.ndim == 1
        and np.shape(packed.points)[1:] == (2,)
        and min(len(strokes), len(samples)) > 0
        and strokes[0] == samples[0] == 0
        and strokes[-1] == len(packed.points)
        and samples[-1] == len(strokes) - 1
        and bool((np.diff(strokes) > 0).all() and (np.diff(samples) >= 0).all())
    )
    if not whole:
        raise ValueError(
            f"{who}: the PackedStrokes do not fit together: stroke_starts must rise from 0 to the "
            f"{len(packed.points)} points, sample_starts from 0 to the {len(strokes) - 1} strokes; "
            "make them with pack_strokes"
        )


def checked_box(
    who: str, box: float | Sequence[float] | None, grid: tuple[int, int]
) -> float | tuple[float, float]:
    """The box for characters in a grid of (height, width); by default 2/3 of the smaller side."""
    if box is None:
        return min(grid) * 2 / 3
    sides = tuple(float(side) for side in np.ravel(box))
    one = np.ndim(box) == 0
    limits = (min(grid),) if one else grid
    if len(sides) != len(limits) or not all(
        0 < s < limit and math.isfinite(s) for s, limit in zip(sides, limits, strict=True)
    ):
        raise ValueError(
            f"{who}: box must be one size or (height, width), positive and less than the field's "
            f"{grid}, got {box}"
        )
    return sides[0] if one else (sides[0], sides[1])


def _starts(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def _ranges(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers in the ranges ``rows`` of ``starts``, and where each range begins among them."""
    sizes = starts[rows + 1] - starts[rows]
    new_starts = _starts(sizes)
    return np.arange(new_starts[-1]) + np.repeat(starts[rows] - new_starts[:-1], sizes), new_starts
