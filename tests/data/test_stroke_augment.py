import math

import numpy as np
import pytest

from spconv.data.packed import pack_strokes
from spconv.data.stroke_augment import StrokeAffine
from spconv.data.strokes import make_strokes

STILL = {
    "max_rotation": 0,
    "scale": (1, 1),
    "stretch": 0,
    "max_shear": 0,
    "max_translation": 0,
    "jitter": 0,
}


@pytest.fixture(scope="module")
def packed():
    return pack_strokes(make_strokes(300, num_classes=12)[0]).fit(50.0)


def rng():
    return np.random.default_rng(3)


def boxes(packed):
    """Middles and longer sides of the characters, (B, 2) and (B,)."""
    points = [np.concatenate(sample) for sample in packed.unpack()]
    low, high = (np.array([f(p, axis=0) for p in points], float) for f in (np.min, np.max))
    return (low + high) / 2, (high - low).max(axis=1)


def test_deterministic_and_input_is_kept(packed):
    before = packed.points.copy()
    first, again = StrokeAffine()(packed, rng()), StrokeAffine()(packed, rng())
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(packed.points, before)
    assert (StrokeAffine()(packed, np.random.default_rng(4)).points != first.points).any()


def test_lists_and_packed_are_the_same(packed):
    lists = packed.unpack()
    moved = StrokeAffine()(lists, rng())
    expected = StrokeAffine()(pack_strokes(lists), rng()).unpack()
    for sample, other in zip(moved, expected, strict=True):
        for a, b in zip(sample, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.float32


def test_equals_the_formula(packed):
    """One affine map for each character, drawn as the class says."""
    augment = StrokeAffine(0.3, (0.8, 1.3), 0.2, 0.25, 0.15, 0)
    moved = augment(packed, rng())
    draws = np.random.default_rng(3).random((300, 6))
    starts = packed.point_starts()
    for b, draw in enumerate(draws):
        part = slice(starts[b], starts[b + 1])
        angle, tau, u = (2 * draw[:3] - 1) * [0.3, 0.25, 0.2]
        sigma, shift = 0.8 + 0.5 * draw[3], 0.15 * (2 * draw[4:] - 1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ [[1, tau], [0, 1]] @ np.diag([sigma * np.exp(u), sigma * np.exp(-u)])
        points = packed.points[part]
        low, high = points.min(0), points.max(0)
        middle, size = (low + high) / 2, (high - low).max()
        expected = middle + (points - middle) @ matrix.T + size * shift
        np.testing.assert_allclose(moved.points[part], expected, rtol=0, atol=1e-11)


def test_units_do_not_matter(packed):
    augment = StrokeAffine(jitter=0.05)
    moved = augment(packed, rng()).points
    larger = type(packed)(packed.points * 1024, packed.stroke_starts, packed.sample_starts)
    np.testing.assert_allclose(augment(larger, rng()).points / 1024, moved, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "most"),
    [("max_translation", 0.2), ("max_rotation", 0.4), ("max_shear", 0.3), ("stretch", 0.2)],
)
def test_each_range_is_used(packed, name, most):
    moved = StrokeAffine(**{**STILL, name: most})(packed, rng())
    middles, sizes = boxes(packed)
    moved_middles, moved_sizes = boxes(moved)
    if name == "max_translation":
        shifts = (moved_middles - middles) / sizes[:, None]
        assert 0.9 * most < np.abs(shifts).max() <= most + 1e-6
        np.testing.assert_allclose(moved_sizes, sizes, rtol=1e-5)
    else:
        assert (np.abs(moved.points - packed.points).max() < 50 * 1.5 * most).all()
        changed = np.abs(moved.points - packed.points).max(axis=1)
        assert np.median(changed) > 50 * 0.02 * most


def test_jitter_has_its_size_and_is_smooth(packed):
    moved = StrokeAffine(**{**STILL, "jitter": 0.04})(packed, rng())
    wobble = (moved.points - packed.points) / 50
    assert wobble.std() == pytest.approx(0.04, rel=0.1)
    starts = packed.stroke_starts
    same = np.ones(len(wobble) - 1, bool)
    same[starts[1:-1] - 1] = False
    steps = np.hypot(*np.diff(packed.points, axis=0)[same].T) / 50
    changes = np.abs(np.diff(wobble, axis=0)[same]).max(axis=1)
    # Knots a quarter of the size apart: the slope's deviation is about 4 times the wobble's.
    assert (changes / steps).max() < 0.04 * 4 * 6
    assert (changes / steps).std() > 0.04


def test_jitter_depends_on_the_path_only():
    line = np.stack([np.linspace(0, 1, 11), np.zeros(11)], axis=1)
    denser = np.stack([np.linspace(0, 1, 21), np.zeros(21)], axis=1)
    augment = StrokeAffine(jitter=0.1)
    coarse = augment(pack_strokes([[line]]), rng()).points
    fine = augment(pack_strokes([[denser]]), rng()).points
    np.testing.assert_allclose(fine[::2], coarse, rtol=0, atol=1e-12)


def test_nothing_to_move():
    augment = StrokeAffine(jitter=0.1)
    assert augment([], rng()) == []
    assert augment([[], [np.empty((0, 2))]], rng()) == [[], []]
    dot = augment([[np.full((1, 2), 3.0)]], rng())[0][0]
    np.testing.assert_array_equal(dot, [[3, 3]])  # it has no size that a shift could be part of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rotation": -1}, "StrokeAffine: max_rotation must be finite and >= 0, got -1"),
        ({"jitter": math.nan}, "jitter must be finite and >= 0, got nan"),
        ({"stretch": math.inf}, "stretch must be finite and >= 0, got inf"),
        ({"scale": (1.2, 0.9)}, r"StrokeAffine: scale\[1\] must be finite and >= 1\.2"),
        ({"scale": (0, 1)}, r"scale\[0\] must be finite and > 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        StrokeAffine(**options)
