import numpy as np
import pytest

from spconv.data.strokes import load_strokes, make_strokes


def assert_same(samples, others):
    assert len(samples) == len(others)
    for strokes, other in zip(samples, others, strict=True):
        assert len(strokes) == len(other)
        for a, b in zip(strokes, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_form():
    samples, labels = make_strokes(60, num_classes=60, points_per_stroke=9)
    np.testing.assert_array_equal(labels, np.arange(60))
    assert labels.dtype == np.int64
    assert {len(strokes) for strokes in samples} == {1, 2, 3, 4}
    for strokes in samples:
        for stroke in strokes:
            assert (stroke.shape, stroke.dtype) == ((9, 2), np.float32)
            assert np.abs(stroke - 0.5).max() < 2


def test_deterministic():
    first, again, other = (make_strokes(30, seed=seed)[0] for seed in (3, 3, 4))
    assert_same(first, again)
    assert any(len(a) != len(b) or (a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_a_larger_set_begins_with_the_smaller_one():
    large, _ = make_strokes(250, num_writers=20)
    small, _ = make_strokes(40, num_writers=20)
    assert_same(small, large[:40])


def test_strokes_are_smooth():
    samples, _ = make_strokes(50, points_per_stroke=200)
    steps = np.concatenate([np.diff(strokes[0], axis=0) for strokes in samples])
    assert np.hypot(*steps.T).max() < 0.06


def test_more_classes_keep_the_first_ones():
    few, _ = make_strokes(10, num_classes=10)
    many, _ = make_strokes(183, num_classes=183)
    assert [len(strokes) for strokes in few] == [len(strokes) for strokes in many[:10]]
    assert_same(few, many[:10])


def test_writers_differ_more_than_their_samples():
    """Two samples of one writer's character are nearer than those of two writers."""
    points = np.array([s[0] for s in make_strokes(20 * 8, num_classes=1, num_writers=20)[0]])
    points = points.reshape(8, 20, -1)
    within = np.linalg.norm(points[0] - points[1], axis=1).mean()
    between = np.linalg.norm(points[0] - np.roll(points[1], 1, axis=0), axis=1).mean()
    assert between > 2 * within


def test_splits():
    train, train_labels = load_strokes("train", num_samples=120)
    test, test_labels = load_strokes("test", num_samples=120)
    for images, labels in ((train, train_labels), (test, test_labels)):
        assert (images.shape, images.dtype) == ((120, 28, 28), np.uint8)
        assert (labels.dtype, labels.min(), labels.max()) == (np.int64, 0, 9)
        assert images.max() == 255
        assert not images[:, :2].any()  # a margin, as in MNIST
    assert (train != test).any(axis=(1, 2)).all()


def test_default_sizes():
    assert len(load_strokes("test")[0]) == 2000


def test_learnable_but_not_trivial():
    """Nearest neighbours get most of other writers' characters right, and not nearly all."""
    (train, labels), (test, truth) = load_strokes("train", 3000), load_strokes("test", 500)
    x, y = train.reshape(3000, -1) / 255.0, test.reshape(500, -1) / 255.0
    distance = (x**2).sum(1) - 2 * y @ x.T
    accuracy = (labels[distance.argmin(1)] == truth).mean()
    assert 0.7 < accuracy < 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": -1}, "num_samples must be at least 0, got -1"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"num_writers": 0}, "num_writers must be at least 1, got 0"),
        ({"points_per_stroke": 1}, "points_per_stroke must be at least 2, got 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        make_strokes(**{"num_samples": 5, **options})


def test_fractions_are_no_numbers_of_samples():
    with pytest.raises(TypeError, match=r"make_strokes: num_samples must be an int, got 5\.0"):
        make_strokes(5.0)


def test_unknown_split():
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        load_strokes("val")


def test_empty():
    assert make_strokes(0)[0] == []
    assert load_strokes("train", num_samples=0)[0].shape == (0, 28, 28)
