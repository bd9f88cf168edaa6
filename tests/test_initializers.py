import numpy as np
import pytest

from spconv.initializers import glorot_uniform, he_normal, he_uniform, zeros

SHAPE = (27, 32, 64)


@pytest.mark.parametrize(
    ("draw", "variance"),
    [
        (lambda rng: he_normal(SHAPE, 864, rng), 2 / 864),
        (lambda rng: he_normal(SHAPE, 864, rng, negative_slope=0.5), 2 / 864 / 1.25),
        (lambda rng: he_uniform(SHAPE, 864, rng), 2 / 864),
        (lambda rng: he_uniform(SHAPE, 864, rng, negative_slope=0.5), 2 / 864 / 1.25),
        (lambda rng: glorot_uniform(SHAPE, 864, 1728, rng), 2 / (864 + 1728)),
    ],
)
def test_mean_and_variance(draw, variance):
    weight = draw(np.random.default_rng(0)).astype(np.float64)
    deviation = variance**0.5
    assert weight.shape == SHAPE
    assert abs(weight.mean()) < 4 * deviation / weight.size**0.5
    assert weight.var() == pytest.approx(variance, rel=4 * (2 / weight.size) ** 0.5)


def test_uniform_stays_within_its_bound():
    assert np.abs(he_uniform(SHAPE, 6, 0)).max() <= 1
    assert np.abs(glorot_uniform(SHAPE, 2, 4, 0)).max() <= 1


@pytest.mark.parametrize("draw", [he_normal, he_uniform])
def test_a_seed_means_the_same_network_in_every_precision(draw):
    single, double = draw((5, 7), 5, 3), draw((5, 7), 5, 3, np.float64)
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    np.testing.assert_array_equal(single, double.astype(np.float32))
    np.testing.assert_array_equal(single, draw((5, 7), 5, np.random.default_rng(3)))


def test_a_generator_is_advanced():
    rng = np.random.default_rng(0)
    assert not np.array_equal(he_normal((4,), 1, rng), he_normal((4,), 1, rng))


def test_zeros():
    assert zeros((2, 3)).dtype == np.float32
    assert not zeros((2, 3), np.float64).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: he_normal((2,), 0), "he_normal: fan_in must be at least 1, got 0"),
        (lambda: he_uniform((2,), -1), "he_uniform: fan_in must be at least 1"),
        (lambda: glorot_uniform((2,), 1, 0), "glorot_uniform: fan_out must be at least 1"),
        (lambda: he_normal((2,), 1, negative_slope=-1), "he_normal: negative_slope must be finite"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
