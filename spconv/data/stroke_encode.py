"""Pen strokes to active sites with features of the pen's motion.

A picture of all encoders on one character: benchmarks/results/experiments/plots/encodings.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spconv.checks import check_float, check_int
from spconv.data.encode import field_shape
from spconv.data.packed import PackedStrokes, Sample, checked_box, pack_strokes
from spconv.kernels.rasterize import path_sites

MAX_ORDER = 3
MAX_FIELD = 1 << 15  # sites are numbered in 32 bits
LEAST_WINDOW = 1e-6  # of shorter ones the points' rounding would tell


@dataclass(frozen=True)
class Occupancy:
    """One channel: 1 where the pen passes."""

    kind: ClassVar[int] = 0
    channels: ClassVar[int] = 1


@dataclass(frozen=True)
class Direction:
    """Three channels (1, dx, dy): the pen's displacement in the site per length of its path there.

    It is the average of the unit tangent over the path inside of the site, as in the Assamese
    example of SparseConvNet (Graham & van der Maaten 2017, arXiv 1706.01307); (1, 0, 0) for a dot.
    """

    kind: ClassVar[int] = 1
    channels: ClassVar[int] = 3


@dataclass(frozen=True)
class Octogram:
    """Eight channels: the histogram of directions, averaged over the path inside of the site.

    Channel k belongs to the direction (cos k pi/4, sin k pi/4), y downwards. A tangent between two
    of them counts for both, with shares linear in the angle: alpha pi/4 beyond direction k, it
    gives 1 - alpha to k and alpha to k + 1 (Bai & Huo, ICDAR 2005). The channels sum to 1; a dot
    has 1/8 in each.
    """

    kind: ClassVar[int] = 2
    channels: ClassVar[int] = 8


@dataclass(frozen=True)
class Signature:
    r"""Iterated integrals of the path around the site: 1, 3, 7 or 15 channels.

    With the stroke p(s) by arc length s, and the window [a, b] of length `window` around s, cut
    off at the stroke's ends (Chen 1958; Graham 2013, arXiv 1308.0371):

    .. math::
        S^{i_1 \dots i_k} = \frac{k!}{\text{window}^k}
            \int_{a < s_1 < \dots < s_k < b} dp_{i_1}(s_1) \cdots dp_{i_k}(s_k),
            \qquad i_j \in \{x, y\}.

    The channels are 1 and then all S of order 1, 2, ... `order`, each order sorted by its indices,
    x before y: (1, x, y, xx, xy, yx, yy, xxx, xxy, ..., yyy). The factor makes all of them lie in
    [-1, 1]; in the middle of a straight line of direction d, S^{ij} = d_i d_j and so on.

    The path is polygonal and its signature exact: a straight step d has exp(d) = (1, d, d^2/2,
    d^3/6), and consecutive parts are multiplied, S_ac = S_ab (x) S_bc (Chen's identity). A visit of
    the pen to a site counts with the signature in its middle by arc length, by its length.

    Parameters
    ----------
    order : int
        0 to 3.
    window : float
        In pixels of path length, a millionth at least.

    Examples
    --------
    >>> Signature(order=2).channels
    7
    """

    order: int = 2
    window: float = 9.0
    kind: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_int("Signature", "order", self.order, 0, MAX_ORDER)
        check_float("Signature", "window", self.window, LEAST_WINDOW)

    @property
    def channels(self) -> int:
        """The number of features, 2^(order + 1) - 1."""
        return (2 << self.order) - 1


Encoder = Occupancy | Direction | Octogram | Signature


def encode_strokes(
    samples: Sequence[Sample] | PackedStrokes,
    field: int | tuple[int, int],
    box: float | tuple[float, float] | None = None,
    features: str | Encoder = "direction",
    *,
    order: int = Signature.order,
    window: float = Signature.window,
    fit: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The sites that a pen passes, with features of its motion.

    A site is a half-open unit square, and it is active if the polygon through a stroke's points
    has some length inside of it, or if a stroke without length (a dot) lies in it. What is
    averaged over a site is averaged over this length, so the result depends on the path only, not
    on where the points lie on it.

    Parameters
    ----------
    samples : sequence of B characters, or PackedStrokes
        Each a sequence of strokes, each stroke an array (n, 2) of points (x, y), y downwards.
    field : int or (int, int)
        The grid's height and width; one number for a square.
    box : float or (float, float), optional
        In pixels, less than the field: the longer side of each character, or the height and the
        width that it is stretched to. By default two thirds of the field.
    features : "occupancy", "direction", "octogram", "signature", or an encoder
        See `Occupancy`, `Direction`, `Octogram` and `Signature`.
    order, window
        Of ``features="signature"``.
    fit : bool
        With False, the points are pixels from the middle of the field already; what lies outside
        of it is left out.

    Returns
    -------
    indices : int32 array (N, 3)
        The sites (character, y, x), sorted.
    features : float32 array (N, C)

    Raises
    ------
    ValueError
        If a stroke is not (n, 2), a coordinate not finite, or the box not smaller than the field.

    Examples
    --------
    >>> down_right = [[np.array([[0, 0], [3, 3]])]]
    >>> indices, features = encode_strokes(down_right, field=5, box=3)
    >>> indices[:, 1:].tolist(), features[0].round(2).tolist()
    ([[1, 1], [2, 2], [3, 3]], [1.0, 0.7099999785423279, 0.7099999785423279])
    """
    encoder = _encoder(features, order, window)
    grid = field_shape(field, "encode_strokes")
    if max(grid) > MAX_FIELD:
        raise ValueError(f"encode_strokes: field must be at most {MAX_FIELD}, got {grid}")
    packed = pack_strokes(samples, "encode_strokes")
    if fit:
        packed = packed.fit(checked_box("encode_strokes", box, grid))
    elif box is not None:
        raise ValueError(f"encode_strokes: with fit=False, box must be None, got {box}")
    corner = np.array([grid[1] / 2, grid[0] / 2])
    return path_sites(
        packed.points + corner,
        packed.stroke_starts,
        packed.sample_starts,
        *grid,
        encoder.kind,
        getattr(encoder, "order", 0),
        getattr(encoder, "window", 1.0),
    )


def _encoder(features: str | Encoder, order: int, window: float) -> Encoder:
    if isinstance(features, Encoder):
        return features
    if features == "signature":
        return Signature(order, window)
    for encoder in (Occupancy(), Direction(), Octogram()):
        if features == type(encoder).__name__.lower():
            return encoder
    raise ValueError(
        "encode_strokes: features must be 'occupancy', 'direction', 'octogram', 'signature' or an "
        f"encoder, got {features!r}"
    )
