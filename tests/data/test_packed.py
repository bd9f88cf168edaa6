import numpy as np
import pytest

from spconv.data import encode_strokes
from spconv.data.packed import PackedStrokes, checked_box, pack_strokes
from spconv.data.strokes import make_strokes


@pytest.fixture(scope="module")
def samples():
    return make_strokes(30, num_classes=7)[0]


def assert_same(ours, theirs):
    assert [len(sample) for sample in ours] == [len(sample) for sample in theirs]
    for sample, other in zip(ours, theirs, strict=True):
        for stroke, expected in zip(sample, other, strict=True):
            np.testing.assert_array_equal(stroke, expected)
            assert stroke.dtype == np.float32


def test_round_trip(samples):
    packed = pack_strokes(samples)
    assert len(packed) == 30
    assert packed.points.dtype == np.float64
    assert_same(packed.unpack(), samples)
    assert pack_strokes(packed) is packed


def test_take(samples):
    rows = [3, 0, 29, 3]
    assert_same(pack_strokes(samples).take(rows).unpack(), [samples[row] for row in rows])
    assert len(pack_strokes(samples).take([])) == 0
    with pytest.raises(IndexError, match=r"rows must be in 0\.\.29, got -1\.\.2"):
        pack_strokes(samples).take([-1, 2])


def test_empty_strokes_are_left_out():
    nothing, dot = np.empty((0, 2)), np.ones((1, 2))
    packed = pack_strokes([[], [nothing], [nothing, dot, nothing, dot], [dot]])
    assert [len(sample) for sample in packed.unpack()] == [0, 0, 2, 1]
    assert packed.point_starts().tolist() == [0, 0, 0, 2, 3]
    assert len(packed.fit(3.0)) == 4
    assert pack_strokes([]).fit(2.0).points.shape == (0, 2)


def test_fit_keeps_the_aspect_or_stretches(samples):
    for box, sides in ((10.0, None), ((6.0, 8.0), (8.0, 6.0))):
        for sample in pack_strokes(samples).fit(box).unpack():
            points = np.concatenate(sample)
            extent = np.ptp(points, axis=0)
            if sides is None:
                assert extent.max() == pytest.approx(10, rel=1e-5)
            else:
                assert extent.tolist() == pytest.approx(sides, rel=1e-5)
            assert np.abs(points.max(0) + points.min(0)).max() < 1e-5
    flat = pack_strokes([[np.array([[0, 5], [2, 5]])]]).fit((6.0, 8.0))
    assert flat.points.tolist() == [[-4, 0], [4, 0]]


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 1e-290, 1e-20, 1e20, 1e290])
@pytest.mark.parametrize("box", [10, (10, 10)])
def test_fit_in_any_unit(unit, box):
    points = np.array([[0, 0], [unit, unit]])
    fitted = pack_strokes([[points]]).fit(box).points
    side = 10 if unit > 1e-300 else 0
    assert np.allclose(fitted, [[-side / 2] * 2, [side / 2] * 2], rtol=1e-12)


def test_box():
    assert checked_box("x", None, (90, 60)) == 40
    assert checked_box("x", 10, (90, 60)) == 10
    assert checked_box("x", (80, 50), (90, 60)) == (80, 50)
    for box in (0, -1, 60, float("nan"), (60, 60), (10,), (1, 2, 3)):
        with pytest.raises(ValueError, match="x: box must be one size"):
            checked_box("x", box, (90, 60))


@pytest.mark.parametrize(
    ("stroke", "message"),
    [
        (np.zeros((3, 3)), r"who: a stroke must have shape \(n, 2\), got \(3, 3\)"),
        (np.zeros(4), r"shape \(n, 2\), got \(4,\)"),
        (np.array([[0, np.nan]]), "coordinates must be finite"),
    ],
)
def test_errors(stroke, message):
    with pytest.raises(ValueError, match=message):
        pack_strokes([[stroke]], "who")


@pytest.mark.parametrize(
    "damaged",
    [
        PackedStrokes(np.zeros((2, 2)), np.array([0, 5]), np.array([0, 1])),
        PackedStrokes(np.zeros((2, 2)), np.array([0, 0, 2]), np.array([0, 2])),
        PackedStrokes(np.zeros((2, 2)), np.array([0, 2]), np.array([0, 2])),
        PackedStrokes(np.zeros((2, 2)), np.array([1, 2]), np.array([0, 1])),
    ],
)
def test_starts_that_do_not_fit_are_refused(damaged):
    with pytest.raises(ValueError, match="do not fit together"):
        encode_strokes(damaged, 24, fit=False)


def test_characters_may_come_from_a_generator():
    strokes, _ = make_strokes(3)
    assert len(pack_strokes(character for character in strokes)) == 3
