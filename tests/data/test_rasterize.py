from itertools import pairwise

import numpy as np
import pytest

from spconv.data.encode import encode_images
from spconv.data.packed import pack_strokes
from spconv.data.rasterize import rasterize_strokes, strokes_to_sites
from spconv.data.strokes import make_strokes


def line(*points):
    return np.array(points, float)


def test_a_line_has_the_pen_width_and_the_box_length():
    image = rasterize_strokes([[line((0, 0), (50, 0))]], size=31, box=20, pen_width=3)[0]
    rows, columns = np.nonzero(image == 255)
    assert np.unique(rows).tolist() == [14, 15, 16]
    assert (columns.min(), columns.max()) == (4, 26)  # the length and the round ends
    assert image.sum() / 255 == pytest.approx(3 * 20 + np.pi * 1.5**2, rel=0.02)


def test_ink_against_the_distance_to_the_strokes():
    rng = np.random.default_rng(0)
    strokes = [rng.random((4, 2)), rng.random((3, 2))]
    image = rasterize_strokes([strokes], size=40, box=30, pen_width=2.5)[0]
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    ys, xs = np.indices((40, 40))
    distance = np.full((40, 40), np.inf)
    for stroke in strokes:
        stroke = (stroke - (low + high) / 2) * 30 / (high - low).max() + 19.5
        for start, end in pairwise(stroke):
            along = (xs - start[0]) * (end - start)[0] + (ys - start[1]) * (end - start)[1]
            along = np.clip(along / ((end - start) ** 2).sum(), 0, 1)
            near = start + along[..., None] * (end - start)
            distance = np.minimum(distance, np.hypot(xs - near[..., 0], ys - near[..., 1]))
    expected = 255 * np.clip(1.25 + 0.5 - distance, 0, 1)
    # Dots 0.5 pixels apart leave the edge at most a few hundredths of a pixel short.
    assert np.abs(image - expected).max() < 0.05 * 255


def test_units_do_not_matter():
    strokes = [line((0, 0), (0.25, 1), (0.5, 0.5))]
    moved = [strokes[0] * 1024 + 100]
    images = rasterize_strokes([strokes, moved])
    np.testing.assert_array_equal(images[0], images[1])
    integers = [(strokes[0] * 4).astype(int)]
    np.testing.assert_array_equal(rasterize_strokes([integers])[0], images[0])


def test_dots_empty_strokes_and_empty_characters():
    dot, nothing = [line((3, 3))], np.empty((0, 2))
    images = rasterize_strokes([[], dot, [nothing], [nothing, *dot], []], size=9, pen_width=1)
    assert images[[0, 2, 4]].max() == 0
    assert (images[1, 4, 4], np.count_nonzero(images[1])) == (255, 1)
    np.testing.assert_array_equal(images[3], images[1])
    assert rasterize_strokes([]).shape == (0, 28, 28)


def test_one_sample_does_not_touch_another():
    samples, _ = make_strokes(300, num_classes=7)
    images = rasterize_strokes(samples)
    for i in (0, 255, 256, 299):
        np.testing.assert_array_equal(rasterize_strokes([samples[i]])[0], images[i])


def test_pen_width_for_each_sample():
    samples, _ = make_strokes(3)
    images = rasterize_strokes(samples, pen_width=np.array([1, 2, 4]))
    for i, width in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(
            rasterize_strokes([samples[i]], pen_width=width)[0], images[i]
        )


def test_sites():
    samples, _ = make_strokes(600, num_classes=7)
    indices, features = strokes_to_sites(samples, 48, box=20)
    expected = encode_images(rasterize_strokes(samples, 48, box=20), 48)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_array_equal(features, expected[1])
    assert (indices.dtype, features.dtype) == (np.int32, np.float32)
    assert np.ptp(strokes_to_sites(samples, 96)[0][:, 1]) <= 32 + 2
    assert strokes_to_sites([], 96)[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([[np.zeros((3, 3))]], {}, r"a stroke must have shape \(n, 2\), got \(3, 3\)"),
        ([np.zeros((3, 2))], {}, r"a stroke must have shape \(n, 2\), got \(2,\)"),
        ([[np.full((3, 2), np.nan)]], {}, "coordinates must be finite"),
        ([[np.zeros((3, 2))]], {"box": 27}, r"box \+ pen_width <= size, got 27 \+ 2 and size 28"),
        ([[np.zeros((3, 2))]], {"box": 0}, "expected box > 0"),
        ([[np.zeros((3, 2))]], {"pen_width": 0}, "pen_width must be > 0"),
        ([[np.zeros((3, 2))]], {"pen_width": np.ones(2)}, r"one width or 1, got .* \(2,\)"),
    ],
)
def test_errors(samples, options, message):
    for draw in (rasterize_strokes, strokes_to_sites):
        with pytest.raises(ValueError, match=f"{draw.__name__}: .*{message}"):
            draw(samples, 28, **options)


def test_sizes_are_ints():
    with pytest.raises(TypeError, match=r"rasterize_strokes: size must be an int, got 28\.0"):
        rasterize_strokes([], 28.0)
    with pytest.raises(TypeError, match=r"strokes_to_sites: field must be an int, got 28\.0"):
        strokes_to_sites([], 28.0)


def test_packed_strokes():
    samples, _ = make_strokes(300)
    samples[7] = [np.empty((0, 2)), *samples[7]]
    images = rasterize_strokes(samples)
    np.testing.assert_array_equal(rasterize_strokes(pack_strokes(samples)), images)
