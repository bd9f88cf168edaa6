"""Synthetic pen strokes: characters that nobody ever wrote, for use without any download."""

from __future__ import annotations

import numpy as np

from spconv.checks import check_int, check_split
from spconv.data.rasterize import rasterize_strokes

MAX_STROKES = 4
CONTROLS = 4  # control points of a stroke
TRAIN_WRITERS = 100  # writers 0..99; `load_strokes("test")` has the next ones
TEST_WRITERS = 50
# A stroke's extent in the unit square, by the number of strokes: many strokes are shorter.
EXTENTS = np.array([1.0, 0.85, 0.7, 0.6])
# Standard deviations of a writer's habits (slant, turn, log width, log height, wobble) ...
HABITS = np.array([0.18, 0.12, 0.14, 0.14, 0.07])
# ... and of what changes from sample to sample.
JITTER_TURN, JITTER_STROKE, JITTER_CONTROL = 0.06, 0.02, 0.03
CLASSES, WRITERS, SAMPLES = range(3)  # streams of random numbers, by spawn key


def make_strokes(
    num_samples: int,
    num_classes: int = 10,
    seed: int = 0,
    *,
    num_writers: int = TRAIN_WRITERS,
    first_writer: int = 0,
    points_per_stroke: int = 24,
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Characters of an invented script, as on-line handwriting.

    A class is 1 to 4 smooth strokes through control points in the unit square; every second class
    is its predecessor with the end of one stroke changed, so that some are easily confused. A
    writer distorts all that he writes in the same way (slant, turn, width, height, a smooth
    wobble), and each sample jitters.

    Sample i has class ``i % num_classes`` and writer ``first_writer + (i // num_classes) %
    num_writers``. It depends on nothing but i, those two and ``seed``: a larger set begins with
    the smaller one's samples, and the classes are the same for all sets of one seed.

    Parameters
    ----------
    num_samples, num_classes, num_writers : int
    seed : int
        Chooses the script, the writers and the jitter.
    first_writer : int
        The number of the first writer: sets of disjoint writers make training and test sets.
    points_per_stroke : int
        At least 2.

    Returns
    -------
    samples : list of `num_samples` lists of 1 to 4 float32 arrays (points_per_stroke, 2)
        The strokes' points (x, y), y downwards, about in the unit square.
    labels : int64 array (num_samples,)

    Examples
    --------
    >>> samples, labels = make_strokes(20)
    >>> samples[0][0].shape, labels[:4]
    ((24, 2), array([0, 1, 2, 3]))
    """
    for name, value, least in (
        ("num_samples", num_samples, 0),
        ("num_classes", num_classes, 1),
        ("num_writers", num_writers, 1),
        ("first_writer", first_writer, 0),
        ("points_per_stroke", points_per_stroke, 2),
    ):
        check_int("make_strokes", name, value, least)
    controls, num_strokes = _script(num_classes, seed)
    labels = np.arange(num_samples) % num_classes
    writers = first_writer + np.arange(num_samples) // num_classes % num_writers
    points = _write(controls[labels], writers, seed, first_writer)
    points = np.einsum("tp,nspd->nstd", _curve(points_per_stroke), points).astype(np.float32)
    samples = [
        list(strokes[:count]) for strokes, count in zip(points, num_strokes[labels], strict=True)
    ]
    return samples, labels


def load_strokes(
    split: str = "train",
    num_samples: int | None = None,
    num_classes: int = 10,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """`make_strokes` as bitmaps in MNIST's form: a stand-in where nothing can be downloaded.

    Parameters
    ----------
    split : "train" or "test"
        100 writers, or 50 others.
    num_samples : int, optional
        By default 10,000 for training and 2,000 for testing.
    num_classes, seed : int
        The same for both splits, so that they are of one script.

    Returns
    -------
    images : uint8 array (N, 28, 28)
        0 is paper, 255 is full ink; the characters fill a box of 20 x 20 in the middle.
    labels : int64 array (N,)

    Examples
    --------
    >>> images, labels = load_strokes("test", num_samples=30)
    >>> images.shape, images.dtype, labels[:4]
    ((30, 28, 28), dtype('uint8'), array([0, 1, 2, 3]))
    """
    check_split("load_strokes", split)
    first, count, default = (
        (0, TRAIN_WRITERS, 10_000) if split == "train" else (TRAIN_WRITERS, TEST_WRITERS, 2_000)
    )
    samples, labels = make_strokes(
        default if num_samples is None else num_samples,
        num_classes,
        seed,
        num_writers=count,
        first_writer=first,
    )
    writers = first + np.arange(len(labels)) // num_classes % count
    pen_width = 1.6 + 0.2 * (writers % 7)
    return rasterize_strokes(samples, pen_width=pen_width), labels


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def _script(num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Control points (num_classes, MAX_STROKES, CONTROLS, 2) and numbers of strokes.

    One row of random numbers belongs to one class, so class c does not depend on `num_classes`.
    """
    draws = _generator(seed, CLASSES).random((num_classes, 1 + MAX_STROKES * (CONTROLS + 1) * 2))
    num_strokes = 1 + (draws[:, 0] * MAX_STROKES).astype(np.int64)
    places = draws[:, 1:].reshape(num_classes, MAX_STROKES, CONTROLS + 1, 2)
    extent = EXTENTS[num_strokes - 1][:, None, None, None]
    controls = places[:, :, :1] * (1 - extent) + places[:, :, 1:] * extent

    odd = np.arange(1, num_classes, 2)
    last = num_strokes[odd - 1] - 1
    num_strokes[odd] = last + 1
    changed_end = controls[odd, last, CONTROLS // 2 :]
    controls[odd] = controls[odd - 1]
    controls[odd, last, CONTROLS // 2 :] = changed_end
    return controls, num_strokes


def _write(controls: np.ndarray, writers: np.ndarray, seed: int, first_writer: int) -> np.ndarray:
    """Distort the control points (N, strokes, controls, 2) by writer's habits and by jitter."""
    count = len(writers)
    jitter = _generator(seed, SAMPLES, first_writer).standard_normal(
        (count, 1 + MAX_STROKES * (CONTROLS + 1) * 2)
    )
    moves = jitter[:, 1:].reshape(count, MAX_STROKES, CONTROLS + 1, 2)
    points = controls - 0.5
    points += JITTER_STROKE * moves[:, :, :1] + JITTER_CONTROL * moves[:, :, 1:]

    # Row w of the draws is writer w, whoever else is in the set.
    last = int(writers.max(initial=0))
    draws = _generator(seed, WRITERS).standard_normal((last + 1, len(HABITS) + 4))[writers]
    slant, turn, log_width, log_height, wobble = draws[:, : len(HABITS)].T * HABITS[:, None]
    phase = 2 * np.pi * draws[:, len(HABITS) :].reshape(count, 1, 1, 2, 2)
    wave = np.sin(4 * points[..., ::-1] + phase[..., 0]) + np.sin(3 * points + phase[..., 1])
    points += wobble[:, None, None, None] * wave

    turn = turn + JITTER_TURN * jitter[:, 0]
    cos, sin = np.cos(turn), np.sin(turn)
    width, height = np.exp(log_width), np.exp(log_height)
    rows = np.stack(
        [cos * width, cos * slant - sin * height, sin * width, sin * slant + cos * height]
    )
    return np.einsum("nij,nspj->nspi", rows.T.reshape(count, 2, 2), points) + 0.5


def _curve(num_points: int) -> np.ndarray:
    """Catmull-Rom weights (num_points, CONTROLS): a smooth curve through all control points."""
    place = np.linspace(0, CONTROLS - 1, num_points)
    segment = np.minimum(place.astype(np.int64), CONTROLS - 2)
    t = (place - segment)[:, None] ** np.arange(4)
    basis = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    # The missing neighbours of the ends: the curve is extended straight on.
    extended = np.zeros((CONTROLS + 2, CONTROLS))
    extended[1:-1] = np.eye(CONTROLS)
    extended[0, :2] = extended[-1, :-3:-1] = 2, -1
    neighbours = extended[segment[:, None] + np.arange(4)]
    return np.einsum("tk,tkc->tc", t @ basis, neighbours)
