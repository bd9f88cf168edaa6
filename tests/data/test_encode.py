import numpy as np
import pytest

from spconv.data.encode import encode_images


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    images = rng.integers(1, 256, size=(5, 6, 7), dtype=np.uint8)
    images[rng.random(images.shape) < 0.7] = 0
    return images


def dense(indices, features, batch, shape):
    grid = np.zeros((batch, *shape), features.dtype)
    grid[tuple(indices.T)] = features[:, 0]
    return grid


def test_center(images):
    indices, features = encode_images(images, (16, 21))
    expected = np.zeros((5, 16, 21), np.float32)
    expected[:, 5:11, 7:14] = images.astype(np.float32) / 255
    np.testing.assert_allclose(dense(indices, features, 5, (16, 21)), expected, rtol=1e-6)
    assert (indices.dtype, features.dtype) == (np.int32, np.float32)
    assert features.shape == (np.count_nonzero(images), 1)


def test_mnist_in_the_middle():
    image = np.full((1, 28, 28), 255, np.uint8)
    for field, corner in ((48, 10), (96, 34)):
        indices, features = encode_images(image, field)
        assert indices[:, 1:].min() == corner
        assert indices[:, 1:].max() == corner + 27
        assert (features == 1).all()


def test_sorted(images):
    indices, _ = encode_images(images, 16, position=np.arange(10).reshape(5, 2))
    order = np.lexsort(indices.T[::-1])
    np.testing.assert_array_equal(order, np.arange(len(indices)))


def test_one_position_for_all_or_one_for_each(images):
    base, features = encode_images(images, 20, position=(0, 0))
    moved, _ = encode_images(images, 20, position=(3, 11))
    np.testing.assert_array_equal(moved - base, np.tile([0, 3, 11], (len(base), 1)))
    corners = np.arange(10).reshape(5, 2)
    each, same = encode_images(images, 20, position=corners)
    np.testing.assert_array_equal(each[:, 1:] - base[:, 1:], corners[base[:, 0]])
    np.testing.assert_array_equal(features, same)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(dtype):
    images = np.array([[[0, -1], [0.5, 3]]], dtype)
    indices, features = encode_images(images, 2)
    assert indices.tolist() == [[0, 1, 0], [0, 1, 1]]
    assert features.ravel().tolist() == [0.5, 3]
    assert features.dtype == (np.float64 if dtype == np.float64 else np.float32)


def test_threshold(images):
    _, features = encode_images(images, 16, threshold=0.5)
    assert len(features) == np.count_nonzero(images > 127)
    assert features.min() > 0.5
    negative = encode_images(np.array([[[0, -1], [-3, 3.0]]]), 2, threshold=-2)[1]
    assert negative.ravel().tolist() == [0, -1, 3]


def test_margin_without_ink_may_lie_outside():
    image = np.zeros((1, 50, 50), np.uint8)
    image[0, 25, 25] = 255
    assert encode_images(image, 48)[0].tolist() == [[0, 24, 24]]


@pytest.mark.parametrize("shape", [(0, 28, 28), (3, 28, 28), (2, 0, 5)])
def test_no_ink(shape):
    indices, features = encode_images(np.zeros(shape, np.uint8), 48)
    assert (indices.shape, features.shape) == ((0, 3), (0, 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": np.zeros((3, 4))}, ValueError, r"or \(B, C, H, W\), got \(3, 4\)"),
        ({"images": np.zeros((1, 0, 3, 4))}, ValueError, r"\(B, C, H, W\), got \(1, 0, 3, 4\)"),
        ({"images": np.ones((1, 2, 3, 4)), "field": 3}, ValueError, "use a larger field"),
        ({"images": np.zeros((1, 3, 4), int)}, TypeError, "uint8 or floats, got int64"),
        ({"field": 5}, ValueError, r"the field \(5, 5\), got one of image 0 at \(-1, -1\)"),
        ({"field": 0}, ValueError, "encode_images: field must be at least 1, got"),
        ({"field": (9, 9, 9)}, ValueError, "field must be an int or have ndim = 2 entries"),
        ({"position": "left"}, ValueError, "position must be 'center' or integers"),
        ({"position": (0.5, 1)}, TypeError, "position must hold integers, got float64"),
        ({"position": (1, 2, 3)}, ValueError, r"shape \(2,\) or \(5, 2\), got \(3,\)"),
        ({"position": (15, 0)}, ValueError, "use a larger field or another position"),
    ],
)
def test_errors(change, error, message):
    arguments = {"images": np.full((5, 6, 7), 9, np.uint8), "field": 16, **change}
    with pytest.raises(error, match=message):
        encode_images(**arguments)


def pictures(dtype, seed=2):
    """Three channels, each with ink of its own; some pixels have ink in several."""
    rng = np.random.default_rng(seed)
    made = rng.integers(1, 256, size=(5, 3, 6, 7))
    made[rng.random(made.shape) < 0.7] = 0
    return made.astype(np.uint8) if dtype == np.uint8 else (made / 255 - 0.1).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.25, float(np.float32(0.3))])
@pytest.mark.parametrize("position", ["center", np.arange(10).reshape(5, 2)])
def test_channels_have_the_sites_of_any(dtype, threshold, position):
    images = pictures(dtype)
    indices, features = encode_images(images, (16, 21), position, threshold)
    corners = np.broadcast_to([5, 7] if isinstance(position, str) else position, (5, 2))
    values = (images.astype("f4") if dtype in (np.uint8, np.float16) else images) * (
        np.float32(1 / 255) if dtype == np.uint8 else 1
    )
    expected = [
        ((b, *(corners[b] + (y, x))), values[b, :, y, x])
        for b, y, x in np.ndindex(5, 6, 7)
        if (values[b, :, y, x] > np.float64(threshold)).any()
    ]
    assert indices.tolist() == [list(map(int, site)) for site, _ in expected]
    np.testing.assert_array_equal(features, [channels for _, channels in expected])
    assert features.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert (features <= threshold).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_equal_channels_are_the_single_one(dtype):
    image = pictures(dtype)[:, 1]
    indices, features = encode_images(image, 16, threshold=0.1)
    for channels in (1, 4):
        same, repeated = encode_images(
            np.repeat(image[:, None], channels, axis=1), 16, threshold=0.1
        )
        np.testing.assert_array_equal(same, indices)
        np.testing.assert_array_equal(repeated, np.repeat(features, channels, axis=1))
        assert (same.dtype, repeated.dtype) == (indices.dtype, features.dtype)


def test_channels_that_come_last_can_be_moved():
    images = pictures(np.uint8)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    for ours, theirs in zip(
        encode_images(last.transpose(0, 3, 1, 2), 9), encode_images(images, 9), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(0, 3, 28, 28), (3, 2, 28, 28), (2, 3, 0, 5)])
def test_no_ink_in_any_channel(shape):
    indices, features = encode_images(np.zeros(shape, np.uint8), 48)
    assert (indices.shape, features.shape) == ((0, 3), (0, shape[1]))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_what_is_no_number_is_seen_in_any_channel(channel):
    images = np.zeros((1, 3, 3, 3), np.float32)
    images[0, channel, 1, 2] = np.nan
    indices, features = encode_images(images, 3)
    assert indices.tolist() == [[0, 1, 2]]
    assert np.flatnonzero(np.isnan(features[0])).tolist() == [channel]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_number_is_seen(dtype):
    images = np.zeros((1, 3, 3), dtype)
    images[0, 1, 2] = np.nan
    indices, features = encode_images(images, 3)
    assert indices.tolist() == [[0, 1, 2]]
    assert np.isnan(features).all()
