import dataclasses

import numpy as np
import pytest
from scipy import interpolate, ndimage

from spconv.data.augment import Affine, Elastic, Translate, resample
from spconv.data.strokes import load_strokes
from spconv.testing.tolerances import tolerance

STILL = {"max_translation": 0, "max_rotation": 0, "scale": (1, 1), "max_shear": 0}


@pytest.fixture(scope="module")
def images():
    return load_strokes("train", num_samples=40)[0]


def rng():
    return np.random.default_rng(5)


def middle_of_ink(images):
    """The centre of mass of each image, (B, 2) as (x, y) from the image's middle."""
    mass = images.astype(float)
    xs = np.arange(images.shape[2]) - (images.shape[2] - 1) / 2
    ys = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    centre = np.stack([(mass * xs).sum((1, 2)), (mass * ys[:, None]).sum((1, 2))], axis=1)
    return centre / mass.sum((1, 2))[:, None]


@pytest.mark.parametrize("augment", [Translate(3), Affine(), Elastic(), Affine(elastic=Elastic())])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_deterministic_and_keeps_dtype(images, augment, dtype):
    first = augment(images.astype(dtype), np.random.default_rng(1))
    again = augment(images.astype(dtype), np.random.default_rng(1))
    other = augment(images.astype(dtype), np.random.default_rng(2))
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("augment", [Translate(3), Affine(), Elastic(), Affine(elastic=Elastic())])
def test_input_is_not_changed(images, augment):
    before = images.copy()
    augment(images, rng())
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("augment", [Translate(2), Affine(), Elastic()])
@pytest.mark.parametrize("shape", [(0, 28, 28), (3, 0, 0), (2, 1, 1)])
def test_degenerate_shapes(augment, shape):
    augmented = augment(np.zeros(shape, np.uint8), rng())
    assert len(augmented) == shape[0]
    assert not augmented.any()


@pytest.mark.parametrize("augment", [Translate(0), Affine(**STILL), Elastic(0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_identity(augment, dtype):
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 14)).astype(dtype)
    same = augment(images, rng())
    np.testing.assert_array_equal(same, images)


def test_translate_moves_exactly(images):
    moved = Translate(3)(images, rng())
    assert moved.shape == (40, 34, 34)
    shifts = np.rint(middle_of_ink(moved) - middle_of_ink(images)).astype(int)
    for image, result, (x, y) in zip(images, moved, shifts, strict=True):
        expected = np.zeros((34, 34), np.uint8)
        expected[3 + y : 31 + y, 3 + x : 31 + x] = image
        np.testing.assert_array_equal(result, expected)
    assert set(shifts.ravel()) == set(range(-3, 4))


def test_affine_translation_moves_the_mass(images):
    exact = images.astype(np.float64)
    moved = Affine(**{**STILL, "max_translation": 4})(exact, rng())
    np.testing.assert_allclose(moved.sum((1, 2)), exact.sum((1, 2)), rtol=1e-12)
    shifts = middle_of_ink(moved) - middle_of_ink(exact)
    assert np.abs(shifts).max() <= 4
    assert np.abs(shifts).max() > 3
    # A whole-pixel shift along x alone is a plain copy.
    still, one = np.broadcast_to(np.eye(2), (40, 2, 2)), np.tile([1.0, 0.0], (40, 1))
    np.testing.assert_array_equal(resample(images, still, one, 1)[:, 1:-1, 2:], images)


def test_rotation_keeps_the_mass(images):
    rotated = Affine(**{**STILL, "max_rotation": 0.5})(images, rng())
    ratio = rotated.sum((1, 2)) / images.sum((1, 2))
    np.testing.assert_allclose(ratio, 1, atol=0.03)
    pad = (rotated.shape[1] - 28) // 2
    assert (rotated[:, pad:-pad, pad:-pad] != images).any(axis=(1, 2)).all()


def test_scale_multiplies_the_mass(images):
    scaled = Affine(**{**STILL, "scale": (1.5, 1.5)})(images, rng())
    np.testing.assert_allclose(scaled.sum((1, 2)) / images.sum((1, 2)), 2.25, rtol=0.03)


def test_quarter_turn_is_exact(images):
    turn = np.broadcast_to(np.array([[0.0, 1.0], [-1.0, 0.0]]), (40, 2, 2))  # inverse: (x, y)
    turned = resample(images, turn, np.zeros((40, 2)), 0)
    np.testing.assert_array_equal(turned, np.rot90(images, -1, axes=(1, 2)))


def test_equals_scipy(images):
    """Against scipy.ndimage's bilinear resampling, with the map drawn as the class says."""
    augment = Affine(max_translation=3, max_rotation=0.4, scale=(0.7, 1.4), max_shear=0.3)
    exact = images.astype(np.float64)
    ours = augment(exact, np.random.default_rng(8))
    draws = np.random.default_rng(8).random((40, 6))
    pad = (ours.shape[1] - 28) // 2
    for image, result, draw in zip(exact, ours, draws, strict=True):
        sx, sy = 0.7 + 0.7 * draw[:2]
        shear, angle = 0.3 * (2 * draw[2] - 1), 0.4 * (2 * draw[3] - 1)
        shift = 3 * (2 * draw[4:] - 1)
        cos, sin = np.cos(angle), np.sin(angle)
        forward = np.array([[cos, -sin], [sin, cos]]) @ [[1, shear], [0, 1]] @ np.diag([sx, sy])
        inverse = np.linalg.inv(forward)[::-1, ::-1]  # in (y, x), as scipy counts
        middle = np.full(2, 13.5 + pad) + shift[::-1]
        expected = ndimage.affine_transform(
            np.pad(image, pad),
            inverse,
            offset=13.5 + pad - inverse @ middle,
            order=1,
        )
        np.testing.assert_allclose(result, expected, atol=1e-9)


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (13, 4), (1, 1)])
def test_nothing_is_cut_off(shape):
    full = np.ones((300, *shape))
    augment = Affine(max_translation=1.3, max_rotation=0.6, scale=(0.8, 1.7), max_shear=0.4)
    wide = dataclasses.replace(augment, pad=augment.padding(*shape) + 6)
    kept, all_of_it = augment(full, rng()), wide(full, rng())
    np.testing.assert_allclose(kept.sum((1, 2)), all_of_it.sum((1, 2)), rtol=1e-12)


def test_padding():
    assert Affine(**STILL).padding(28, 28) == 0
    assert Affine(**{**STILL, "max_translation": 2}).padding(28, 28) == 2
    assert Affine(**{**STILL, "scale": (1, 2)}).padding(9, 9) == 5
    assert Affine(pad=3)(np.zeros((2, 28, 20), np.uint8), rng()).shape == (2, 34, 26)


def specification(
    images: np.ndarray, inverse: np.ndarray, shift: np.ndarray, padding: int
) -> np.ndarray:
    """`resample` in plain NumPy."""
    batch, height, width = images.shape
    value_type = np.float64 if images.dtype == np.float64 else np.float32
    # Zeros all around: one row and column before, two after, for the far neighbours of the last.
    source = np.zeros((batch, height + 3, width + 3), value_type)
    source[:, 1:-2, 1:-2] = images
    stride = width + 3

    xs = np.arange(width + 2 * padding) - (width + 2 * padding - 1) / 2 - shift[:, :1]
    ys = np.arange(height + 2 * padding) - (height + 2 * padding - 1) / 2 - shift[:, 1:]

    def positions(row: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole part (int32) and fraction of source positions along one axis, (B, H', W')."""
        along_x = (row[:, :1] * xs + ((size - 1) / 2 + 1)).astype(value_type)
        along_y = (row[:, 1:] * ys).astype(value_type)
        place = along_x[:, None, :] + along_y[:, :, None]
        np.clip(place, 0, size + 1, out=place)
        whole = place.astype(np.int32)  # truncation is the floor: no position is negative
        place -= whole
        return whole, place

    at, fraction_x = positions(inverse[:, 0], width)
    rows, fraction_y = positions(inverse[:, 1], height)
    rows += (np.arange(batch, dtype=np.int32) * (height + 3))[:, None, None]
    rows *= stride
    at += rows

    flat = source.reshape(-1)
    near = between(flat, flat[1:], at, fraction_x)
    far = between(flat[stride:], flat[stride + 1 :], at, fraction_x)
    far -= near
    far *= fraction_y
    near += far
    return np.rint(near, out=near) if images.dtype == np.uint8 else near


def between(
    left: np.ndarray, right: np.ndarray, at: np.ndarray, fraction: np.ndarray
) -> np.ndarray:
    value = left.take(at)
    change = right.take(at)
    change -= value
    change *= fraction
    value += change
    return value


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("padding", [0, 4])
def test_equals_the_specification(images, dtype, padding):
    draws = np.random.default_rng(11)
    inverse = np.eye(2) + draws.normal(0, 0.3, (40, 2, 2))
    shift = draws.normal(0, 3, (40, 2))
    scaled = images if dtype == np.uint8 else images / 255
    values = scaled[:, 3:, :].astype(dtype)
    ours = resample(values, inverse, shift, padding)
    expected = specification(values, inverse, shift, padding)
    assert ours.dtype == dtype
    difference = np.abs(ours.astype(np.float64) - expected)
    if dtype == np.uint8:  # a value next to a half may be rounded either way
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= 1e-4 * difference.size
    else:
        # Positions up to 32 have 32 times the rounding error of numbers near 1.
        assert difference.max() <= 32 * tolerance(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(17, 23), (1, 40), (40, 1)])
def test_the_margin_around_the_ink_may_be_left_out(dtype, shape):
    """Pixels that read nothing but zeros; with a displacement of zero every pixel is read."""
    draws = np.random.default_rng(3)
    images = np.zeros((120, *shape), dtype)
    for image, dots in zip(images, draws.integers(0, 4, len(images)), strict=True):
        places = tuple(draws.integers(0, size, dots) for size in shape)
        image[places] = 200 if dtype == np.uint8 else draws.standard_normal(dots)
    inverse = draws.normal(0, 1, (120, 2, 2)) * draws.integers(0, 2, (120, 2, 2))
    shift = draws.normal(0, 4, (120, 2))
    still = np.zeros((120, (shape[0] + 9) + 4, (shape[1] + 9) + 4, 2))
    everywhere = resample(images, inverse, shift, 5, still, 1.0)
    assert everywhere.any()
    np.testing.assert_array_equal(resample(images, inverse, shift, 5), everywhere)


def test_elastic_equals_scipy(images):
    """Against scipy's map_coordinates, with the B-spline of the knots from scipy too."""
    exact, draws = images[:6].astype(np.float64), np.random.default_rng(2)
    inverse = np.eye(2) + draws.normal(0, 0.1, (6, 2, 2))
    shift, spacing, padding = draws.normal(0, 2, (6, 2)), 5.5, 5
    knots = draws.normal(0, 1.5, (6, *[Elastic(1, spacing).num_knots(38)] * 2, 2))
    ours = resample(exact, inverse, shift, padding, knots, spacing)
    at = np.arange(38)
    centred = np.stack(np.meshgrid(at, at), axis=-1) - 18.5  # (x, y)
    for image, result, inv, move, knot in zip(exact, ours, inverse, shift, knots, strict=True):
        basis = spline_basis(at / spacing, knot.shape[0])
        moved = np.einsum("ia,jb,abk->ijk", basis, basis, knot)
        places = np.einsum("kl,ijl->kij", inv, centred - move - moved) + 13.5
        expected = ndimage.map_coordinates(
            np.pad(image, 1), places[::-1] + 1, order=1, mode="constant"
        )
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


def spline_basis(places, count):
    """The cubic B-spline basis (places, knots), the second knot at 0."""
    spline = interpolate.BSpline(np.arange(-3.0, count + 1), np.eye(count), 3)
    return spline(places)


def test_elastic_has_its_strength_and_keeps_all_ink():
    full = np.ones((200, 20, 20))
    for augment in (Elastic(1.5, 5), Affine(elastic=Elastic(1.5, 5), max_shear=0)):
        moved = augment(full, rng())
        for image in (moved[:, 0], moved[:, -1], moved[:, :, 0], moved[:, :, -1]):
            assert not image.any()
    knots = Elastic(1.5, 5).draw(300, 20, 20, rng())
    steps = np.broadcast_to(np.arange(20.0), (300, 20, 20))
    still, none = np.broadcast_to(np.eye(2), (300, 2, 2)), np.zeros((300, 2))
    moved = resample(np.ascontiguousarray(steps), still, none, 0, knots, 5.0)
    assert (moved - steps)[:, 8:12, 8:12].std() == pytest.approx(1.5, rel=0.2)
    assert np.abs(moved - steps)[:, 8:12, 8:12].max() <= Elastic(1.5, 5).reach


def test_prefix_of_a_batch_is_the_same(images):
    np.testing.assert_array_equal(Affine()(images[:7], rng()), Affine()(images, rng())[:7])


@pytest.mark.parametrize(
    "augment", [Translate(3), Affine(), Affine(pad=1), Elastic(), Affine(elastic=Elastic())]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_all_channels_are_moved_alike(images, augment, dtype):
    values = (images if dtype == np.uint8 else images / 255).astype(dtype)
    pictures = np.stack([values, values[:, ::-1], values // 2], axis=1)[:, :, 2:]
    before = pictures.copy()
    moved = augment(pictures, rng())
    np.testing.assert_array_equal(pictures, before)
    assert moved.dtype == dtype
    for channel in range(3):
        np.testing.assert_array_equal(moved[:, channel], augment(pictures[:, channel], rng()))
    one = augment(pictures[:, :1], rng())
    np.testing.assert_array_equal(one, moved[:, :1])


@pytest.mark.parametrize("augment", [Translate(2), Affine(), Affine(elastic=Elastic())])
@pytest.mark.parametrize("shape", [(0, 3, 28, 28), (3, 2, 0, 0), (2, 3, 1, 1)])
def test_degenerate_shapes_of_channels(augment, shape):
    augmented = augment(np.zeros(shape, np.uint8), rng())
    assert augmented.shape[:2] == shape[:2]
    assert not augmented.any()


def test_fast_enough(images):
    """A background thread must keep up with training; the bar is a tenth of what is usual."""
    import time

    batch = np.concatenate([images] * 3)[:100]
    augment, generator, seconds = Affine(), rng(), []
    for _ in range(5):
        start = time.perf_counter()
        augment(batch, generator)
        seconds.append(time.perf_counter() - start)
    assert 100 / min(seconds) > 3000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translate(-1), "Translate: max_shift must be at least 0, got -1"),
        (lambda: Affine(max_rotation=-0.1), r"max_rotation must be finite and >= 0, got -0\.1"),
        (lambda: Affine(max_shear=float("nan")), "max_shear must be finite and >= 0, got nan"),
        (
            lambda: Affine(scale=(1.2, 0.8)),
            r"Affine: scale\[1\] must be finite and >= 1\.2",
        ),
        (lambda: Affine(scale=(0, 1)), r"scale\[0\] must be finite and > 0, got 0"),
        (lambda: Affine(scale=1.1), r"scale must be \(least, greatest\), got 1\.1"),
        (lambda: Elastic(-1), "strength must be finite and >= 0, got -1"),
        (lambda: Elastic(1, 0.5), r"spacing must be finite and >= 1, got 0\.5"),
        (lambda: Affine(pad=-2), "Affine: pad must be at least 0, got -2"),
        (lambda: Affine()(np.zeros((28, 28), np.uint8), rng()), r"\(B, C, H, W\), got \(28, 28\)"),
        (
            lambda: Translate(1)(np.zeros((2, 0, 5, 5)), rng()),
            r"\(B, C, H, W\), got \(2, 0, 5, 5\)",
        ),
    ],
)
def test_value_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("augment", [Translate(2), Affine(), Elastic()])
def test_type_error(augment):
    with pytest.raises(TypeError, match=r"Translate: max_shift must be an int, got 1\.5"):
        Translate(1.5)
    with pytest.raises(TypeError, match=r"Affine: pad must be an int, got 1\.0"):
        Affine(pad=1.0)
    with pytest.raises(TypeError, match="images must be uint8 or floats, got int64"):
        augment(np.zeros((1, 28, 28), np.int64), rng())


def test_positions_that_are_no_numbers_are_background():
    image = np.ones((1, 9, 9), np.float32)
    assert not resample(image, np.full((1, 2, 2), np.nan), np.zeros((1, 2)), 0).any()
    with np.errstate(all="ignore"):
        Affine(max_shear=4e38, pad=2)(image, np.random.default_rng(0))
