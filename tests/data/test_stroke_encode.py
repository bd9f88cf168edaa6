"""The encoders against a slow reference: the same definitions, written down in plain Python."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spconv.data.packed import pack_strokes
from spconv.data.stroke_encode import Direction, Occupancy, Octogram, Signature, encode_strokes
from spconv.data.strokes import make_strokes
from spconv.testing.tolerances import tolerance

CLOSE = {"rtol": 0, "atol": tolerance("float32")}
ENCODERS = [Occupancy(), Direction(), Octogram(), *(Signature(k, 5.0) for k in range(4))]


def visits(stroke, height, width):
    """The path's stays in cells: (cell (y, x), [(arc from, arc to, tangent), ...])."""
    found, arc = [], 0.0
    for p, q in pairwise(stroke):
        length = math.dist(p, q)
        if not length:
            continue
        times = {0.0, 1.0}
        for a, b in zip(p, q, strict=True):
            lines = range(math.floor(min(a, b)), math.ceil(max(a, b)) + 1)
            times |= {t for line in lines if a != b and 0 < (t := (line - a) / (b - a)) < 1}
        for t, u in pairwise(sorted(times)):
            x, y = (math.floor(a + (t + u) / 2 * (b - a)) for a, b in zip(p, q, strict=True))
            piece = (arc + t * length, arc + u * length, (q - p) / length)
            if found and found[-1][0] == (y, x):
                found[-1][1].append(piece)
            else:
                found.append(((y, x), [piece]))
        arc += length
    return [v for v in found if 0 <= v[0][0] < height and 0 <= v[0][1] < width]


def integrals(points, order):
    """Iterated integrals of a polygon: Simpson's rule, exact for its piecewise polynomials."""
    levels = [[np.ones(2 * len(points) - 1)]]  # values at the points and in the middles between
    steps = np.diff(points, axis=0)
    for _ in range(order):
        levels.append([])
        for values in levels[-2]:
            left, middle, right = values[:-1:2], values[1::2], values[2::2]
            for axis in range(2):
                half = steps[:, axis] / 24 * (5 * left + 8 * middle - right)
                whole = steps[:, axis] / 6 * (left + 4 * middle + right)
                total = np.concatenate([[0], np.cumsum(whole)])
                filled = np.empty_like(values)
                filled[::2], filled[1::2] = total, total[:-1] + half
                levels[-1].append(filled)
    return [np.array([values[-1] for values in level]) for level in levels]


def cut(stroke, low, high):
    """The part of a polygon between two arc lengths."""
    arc = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))])
    at = np.unique(np.clip(np.concatenate([[low], arc, [high]]), max(low, 0), min(high, arc[-1])))
    kept = np.concatenate([[True], np.diff(arc) > 0])
    return np.stack([np.interp(at, arc[kept], stroke[kept, axis]) for axis in range(2)], axis=1)


def value(encoder, stroke, pieces):
    """The features of one visit."""
    length = pieces[-1][1] - pieces[0][0]
    if isinstance(encoder, Occupancy):
        return np.ones(1)
    if isinstance(encoder, Direction):
        return np.array([1, *sum((b - a) * d for a, b, d in pieces) / length])
    if isinstance(encoder, Octogram):
        total = np.zeros(8)
        for a, b, (dx, dy) in pieces:
            for k in range(8):
                angle = math.acos(
                    np.clip(dx * math.cos(k * math.pi / 4) + dy * math.sin(k * math.pi / 4), -1, 1)
                )
                total[k] += (b - a) / length * max(0, 1 - angle / (math.pi / 4))
        return total
    middle = (pieces[0][0] + pieces[-1][1]) / 2
    part = cut(stroke, middle - encoder.window / 2, middle + encoder.window / 2)
    levels = integrals(part, encoder.order)
    return np.concatenate(
        [math.factorial(k) / encoder.window**k * level for k, level in enumerate(levels)]
    )


def reference(encoder, samples, height, width):
    indices, features = [], []
    for number, sample in enumerate(samples):
        sites = {}
        for stroke in sample:
            for cell, pieces in visits(stroke, height, width):
                length = pieces[-1][1] - pieces[0][0]
                sums = sites.setdefault(cell, [0.0, 0.0])
                sums[0] += length
                sums[1] += length * value(encoder, stroke, pieces)
        for cell, (length, total) in sorted(sites.items()):
            if length > 1e-9:
                indices.append((number, *cell))
                features.append(total / length)
    return np.array(indices), np.array(features)


def placed(samples, height, width):
    """Points in pixels from the corner of the field to points from its middle."""
    return [[stroke - [width / 2, height / 2] for stroke in sample] for sample in samples]


@pytest.fixture(scope="module")
def samples():
    return make_strokes(25, num_classes=12)[0]


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_equals_the_reference(samples, encoder):
    samples = samples[:8]
    indices, features = encode_strokes(samples, (30, 40), box=21.3, features=encoder)
    fitted = pack_strokes(samples).fit(21.3)
    strokes = [
        np.split(
            fitted.take([b]).points + np.array([20.0, 15.0]), fitted.take([b]).stroke_starts[1:-1]
        )
        for b in range(8)
    ]
    expected_indices, expected = reference(encoder, strokes, 30, 40)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(features, expected, **CLOSE)
    assert (indices.dtype, features.dtype) == (np.int32, np.float32)
    assert features.shape == (len(indices), encoder.channels)


coordinates = st.floats(-4, 15).map(lambda value: round(value, 2))
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=7).map(np.array)


@given(polygons, st.sampled_from(ENCODERS))
def test_any_path_that_crosses_the_border_too(stroke, encoder):
    """The field is 9 x 11; the paths go beyond it on all sides, along grid lines and back."""
    if np.ptp(stroke, axis=0).max() == 0:
        return
    indices, features = encode_strokes(
        placed([[stroke]], 9, 11), (9, 11), features=encoder, fit=False
    )
    # Exactly what the kernel sees: away from the corner and back again.
    seen = placed([[stroke]], 9, 11)[0][0] + [5.5, 4.5]
    expected_indices, expected = reference(encoder, [[seen]], 9, 11)
    drawn = {tuple(site) for site in indices.tolist()}
    wanted = {tuple(site) for site in expected_indices.reshape(-1, 3).tolist()}
    assert drawn == wanted
    expected = np.reshape(expected, (-1, encoder.channels))
    np.testing.assert_allclose(features, expected, **CLOSE)


@given(polygons, st.sampled_from(ENCODERS), st.integers(0, 2**32 - 1))
def test_points_on_the_path_do_not_matter(stroke, encoder, seed):
    rng = np.random.default_rng(seed)
    denser = [stroke[:1]]
    for p, q in pairwise(stroke):
        at = np.sort(rng.random(rng.integers(0, 4)))[:, None]
        denser += [p + at * (q - p), q[None], q[None]]
    samples = [[stroke], [np.concatenate(denser)]]
    indices, features = encode_strokes(samples, 37, box=23.7, features=encoder)
    first = indices[:, 0] == 0
    np.testing.assert_array_equal(indices[first, 1:], indices[~first, 1:])
    np.testing.assert_allclose(features[first], features[~first], **CLOSE)


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_whole_pixels_move_the_sites_only(samples, encoder):
    fitted = pack_strokes(samples).fit(20.0).unpack()
    moved = [[stroke + np.array([3, -2]) for stroke in sample] for sample in fitted]
    indices, features = encode_strokes(fitted, 41, features=encoder, fit=False)
    other, same = encode_strokes(moved, 41, features=encoder, fit=False)
    np.testing.assert_array_equal(other, indices + np.array([0, -2, 3]))
    np.testing.assert_allclose(same, features, rtol=0, atol=1e-5)  # float32 points


def whole_path(stroke, order=3):
    """The unnormalized signature of a stroke that stays in one cell."""
    arc = np.hypot(*np.diff(stroke, axis=0).T).sum()
    window = 4 * arc
    _, features = encode_strokes([[stroke]], 1, features=Signature(order, window), fit=False)
    assert len(features) == 1
    powers = np.concatenate(
        [np.full(2**k, window**k / math.factorial(k)) for k in range(order + 1)]
    )
    return features[0].astype(np.float64) * powers


small = st.integers(-40, 40).map(lambda value: value / 100)
inside = (
    st.lists(st.tuples(small, small), min_size=2, max_size=8)
    .map(np.array)
    .filter(lambda stroke: np.ptp(stroke, axis=0).max() > 0.1)
)


@given(inside)
def test_signature_identities(stroke):
    s = whole_path(stroke)
    arc = np.hypot(*np.diff(stroke, axis=0).T).sum()
    near = {"rtol": 0, "atol": tolerance("float32") * (4 * arc) ** 3}
    one, two, three = s[1:3], s[3:7].reshape(2, 2), s[7:].reshape(2, 2, 2)
    np.testing.assert_allclose(one, stroke[-1] - stroke[0], **near)
    # Shuffles: S^i S^j = S^ij + S^ji, and S^i S^jk = S^ijk + S^jik + S^jki.
    np.testing.assert_allclose(np.multiply.outer(one, one), two + two.T, **near)
    for i, j, k in product(range(2), repeat=3):
        shuffled = three[i, j, k] + three[j, i, k] + three[j, k, i]
        np.testing.assert_allclose(one[i] * two[j, k], shuffled, **near)
    # The area between the path and its chord, counterclockwise in (x, y).
    x, y = (stroke - stroke[0]).T
    area = 0.5 * (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()
    np.testing.assert_allclose((two[0, 1] - two[1, 0]) / 2, area, **near)
    # The path backwards is the inverse of the path in the tensor algebra.
    back = whole_path(stroke[::-1])
    np.testing.assert_allclose(back[1:3], -one, **near)
    np.testing.assert_allclose(back[3:7].reshape(2, 2), np.multiply.outer(one, one) - two, **near)


@given(inside, inside)
def test_chens_identity(first, second):
    second = second - second[0] + first[-1]
    shrink = 0.2 * np.concatenate([first, second])
    first, second = shrink[: len(first)], shrink[len(first) :]
    both = whole_path(shrink)
    a, b = whole_path(first), whole_path(second)
    size = 4 * np.hypot(*np.diff(shrink, axis=0).T).sum()
    near = {"rtol": 0, "atol": tolerance("float32") * max(size, 1) ** 3}
    np.testing.assert_allclose(both[1:3], a[1:3] + b[1:3], **near)
    np.testing.assert_allclose(
        both[3:7], a[3:7] + b[3:7] + np.multiply.outer(a[1:3], b[1:3]).ravel(), **near
    )
    mixed = np.multiply.outer(a[3:7], b[1:3]).ravel() + np.multiply.outer(a[1:3], b[3:7]).ravel()
    np.testing.assert_allclose(both[7:], a[7:] + b[7:] + mixed, **near)


def test_straight_line_has_powers_of_its_direction():
    indices, features = encode_strokes(
        [[np.array([[0, 0], [30, 40]])]], 60, box=40, features="signature", order=3, window=6
    )
    d = np.array([0.6, 0.8])
    middle = features[len(indices) // 2]
    two = np.multiply.outer(d, d)
    expected = np.concatenate([[1], d, two.ravel(), np.multiply.outer(two, d).ravel()])
    np.testing.assert_allclose(middle, expected, **CLOSE)
    assert np.abs(features).max() <= 1 + tolerance("float32")


def test_dots():
    dots = [[np.full((n, 2), 7.0)] for n in (1, 3)]
    for encoder in ENCODERS:
        indices, features = encode_strokes(dots, 5, features=encoder)
        assert indices.tolist() == [[0, 2, 2], [1, 2, 2]]
        expected = [0.125] * 8 if encoder == Octogram() else [1] + [0] * (encoder.channels - 1)
        np.testing.assert_array_equal(features, [expected] * 2)
    line = np.array([[-1.0, 0], [1, 0]])
    both, _ = encode_strokes([[line], [line, np.zeros((1, 2))]], 5, fit=False), None
    np.testing.assert_array_equal(both[1][:3], both[1][3:])  # no weight beside a path


def test_octogram_shares():
    for turn in np.linspace(0, 2 * np.pi, 41):
        line = np.array([[0, 0], [np.cos(turn), np.sin(turn)]])
        _, features = encode_strokes([[line * 0.4]], 3, features="octogram", fit=False)
        assert features.sum(axis=1) == pytest.approx(1)
        top = int(np.rint(turn / (np.pi / 4))) % 8
        assert features[0].argmax() in (top, (top + 1) % 8, (top - 1) % 8)
        beyond = abs((turn / (np.pi / 4) + 0.5) % 1 - 0.5)
        assert features[0].max() == pytest.approx(max(1 - beyond, beyond), abs=1e-6)


def test_a_character_does_not_depend_on_its_neighbours(samples):
    for encoder in ENCODERS:
        indices, features = encode_strokes(samples, 95, features=encoder)
        for b in (0, 11, 24):
            own_indices, own = encode_strokes(samples[b : b + 1], 95, features=encoder)
            rows = indices[:, 0] == b
            np.testing.assert_array_equal(indices[rows, 1:], own_indices[:, 1:])
            np.testing.assert_array_equal(features[rows], own)


def test_sites_are_sorted_and_unique(samples):
    indices, _ = encode_strokes(samples, (70, 50))
    keys = np.ravel_multi_index(tuple(indices.T), (25, 70, 50))
    assert (np.diff(keys) > 0).all()


def test_box_of_two_sides_fills_both(samples):
    indices, _ = encode_strokes(samples, 95, box=(62.98, 30.98))
    for b in range(25):
        rows = indices[indices[:, 0] == b, 1:]
        assert (rows.min(0).tolist(), rows.max(0).tolist()) == ([16, 32], [78, 62])


def test_names(samples):
    for name, encoder in [("occupancy", Occupancy()), ("octogram", Octogram())]:
        for ours, theirs in zip(
            encode_strokes(samples, 50, features=name),
            encode_strokes(samples, 50, features=encoder),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert [Signature(k).channels for k in range(4)] == [1, 3, 7, 15]


def test_nothing_and_far_away():
    for samples in ([], [[]], [[np.empty((0, 2))]]):
        indices, features = encode_strokes(samples, 9)
        assert (indices.shape, features.shape) == ((0, 3), (0, 3))
    far = [[np.array([[-1e12, 0.25], [1e12, 0.25]])], [np.array([[1e300, 0], [-1e300, 1e-300]])]]
    far += [[np.array([[50.0, 50.0]])], [np.array([[20.0, -9], [20, 9]])]]
    for encoder in ENCODERS:
        indices, _ = encode_strokes(far, 8, features=encoder, fit=False)
        assert set(indices[:, 0]) <= {0, 1}
        assert np.count_nonzero(indices[:, 0] == 0) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "direktion"}, "features must be 'occupancy'.*got 'direktion'"),
        ({"features": "signature", "order": 4}, r"Signature: order must be in 0\.\.3, got 4"),
        (
            {"features": "signature", "window": 1e-16},
            "Signature: window must be finite and >= 1e-06, got 1e-16",
        ),
        ({"field": 0}, "encode_strokes: field must be at least 1"),
        ({"field": 1 << 16}, "field must be at most 32768"),
        ({"box": 50}, r"less than the field's \(50, 50\), got 50"),
        ({"box": 10, "fit": False}, "with fit=False, box must be None, got 10"),
    ],
)
def test_errors(samples, options, message):
    with pytest.raises(ValueError, match=message):
        encode_strokes(samples, **{"field": 50, **options})
