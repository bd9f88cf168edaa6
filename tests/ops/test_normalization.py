"""The compiled engine's sums over rows and batch normalization, against the specification."""

import numpy as np
import pytest
from engine_checks import SPECIFICATION, compare, exactly, random

from spconv.ops import CpuOps
from spconv.testing import assert_close, tolerance

CPU = CpuOps()


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 13), (2048, 3), (2049, 3), (5000, 17)])
def test_row_sums(dtype, shape):
    x = random(np.random.default_rng(0), dtype, *shape)
    length = 1 if dtype == np.float32 else len(x)  # they add up in float64
    compare(CPU, dtype, length, "sum_rows", x)
    compare(CPU, dtype, length, "sum_rows", np.asfortranarray(x))


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 13), (2048, 3), (5000, 17), (3, 0)])
def test_normalization(dtype, shape):
    rng = np.random.default_rng(0)
    x = random(rng, dtype, *shape)
    mean, scale, bias = (random(rng, dtype, shape[1]) for _ in range(3))
    for name in ("normalize", "moments_gradient"):
        expected = getattr(SPECIFICATION, name)(x, mean, scale, bias)
        np.testing.assert_array_equal(getattr(CPU, name)(x, mean, scale, bias), expected)
        fortran = getattr(CPU, name)(np.asfortranarray(x), mean, scale, bias)
        np.testing.assert_array_equal(fortran, expected)


ROWS = [(0, 3), (1, 1), (7, 13), (5000, 17), (260, 300), (3, 0), (101, 32), (101, 33)]
"""None, fewer than are summed at once, some more than whole parts, by size or by number, and some
more than are taken as one, or just too wide for it."""


@pytest.mark.parametrize("shape", ROWS)
def test_moments(dtype, shape):
    x = random(np.random.default_rng(0), dtype, *shape)
    length = 1 if dtype == np.float32 else len(x)  # they add up in float64
    compare(CPU, dtype, length, "mean_and_squares", x)
    compare(CPU, dtype, length, "mean_and_squares", np.asfortranarray(x))


@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
@pytest.mark.parametrize("shape", ROWS)
def test_normalization_with_a_rectifier(dtype, shape, slope):
    rng = np.random.default_rng(0)
    x, dy = random(rng, dtype, *shape), random(rng, dtype, *shape)
    mean, scale, shift = (random(rng, dtype, shape[1]) for _ in range(3))
    y = CPU.normalize(x, mean, scale, shift, slope)
    np.testing.assert_array_equal(y, SPECIFICATION.normalize(x, mean, scale, shift, slope))
    length = 1 if dtype == np.float32 else len(x)  # they add up in float64
    sums = CPU.normalize_sums(dy, x, y, mean, slope)
    expected = SPECIFICATION.normalize_sums(*map(exactly, (dy, x, y, mean)), slope)
    for total, exact in zip(sums, expected, strict=True):
        assert total.dtype == dtype
        assert_close(total, exact, tolerance(dtype, length), "normalize_sums")


@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
@pytest.mark.parametrize("shape", ROWS)
def test_batch_norm(dtype, shape, slope):
    rng = np.random.default_rng(0)
    x, dy = random(rng, dtype, *shape), random(rng, dtype, *shape)
    weight, bias = random(rng, dtype, shape[1]), random(rng, dtype, shape[1])
    y, moments = CPU.batch_norm(x, weight, bias, 0.1, slope)
    expected = SPECIFICATION.batch_norm(*map(exactly, (x, weight, bias)), 0.1, slope)
    for actual, exact in zip((y, moments), expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, exact, tolerance(dtype, 4), "batch_norm")
    arguments = dy, x, y, weight, moments, 0.1, slope
    gradients = CPU.batch_norm_gradient(*arguments)
    expected = SPECIFICATION.batch_norm_gradient(*map(exactly, arguments))
    for name, actual, exact in zip(("x", "weight", "bias"), gradients, expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, exact, tolerance(dtype, max(len(x), 4)), f"gradient of {name}")


def test_one_row_has_no_gradient(dtype):
    """Less its own mean it is zero whatever it holds: not about zero."""
    rng = np.random.default_rng(0)
    x, dy, weight, bias = (random(rng, dtype, *shape) for shape in [(1, 50), (1, 50), (50,), (50,)])
    y, moments = CPU.batch_norm(x, weight, bias, 1e-5, None)
    dx, *_ = CPU.batch_norm_gradient(dy, x, y, weight, moments, 1e-5, None)
    assert not dx.any()


def test_moments_of_rows_far_from_zero():
    """The spread is not lost beside the mean, nor where parts are put together."""
    x = (1e4 + np.random.default_rng(0).standard_normal((20_000, 3))).astype(np.float32)
    compare(CPU, np.float32, 1, "mean_and_squares", x)


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("constant", [0.1, -1e4, 1e-30, 3e38])
def test_moments_of_equal_rows(constant, channels):
    x = np.full((3000, channels), constant, np.float32)
    mean, squares = CPU.mean_and_squares(x)
    np.testing.assert_array_equal(mean, x[0])
    assert not squares.any()


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("far", [1.0, 1e4, 1e15])
def test_moments_of_rows_far_from_the_first(channels, far):
    """What deviations are taken from may be the one row that is unlike the others."""
    x = np.random.default_rng(0).standard_normal((2048, channels)).astype(np.float32)
    x[0] += np.float32(far)
    compare(CPU, np.float32, 1, "mean_and_squares", x)


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("row", [0, 1, 49])
def test_moments_of_infinities(dtype, channels, row):
    """Also where they are what the others are compared with."""
    x = random(np.random.default_rng(0), dtype, 50, channels)
    x[row, :3] = np.inf, -np.inf, np.nan
    mean, squares = CPU.mean_and_squares(x)
    np.testing.assert_array_equal(mean[:3], x[row, :3])
    assert np.isnan(squares[:3]).all()
    compare(CPU, dtype, len(x), "mean_and_squares", np.ascontiguousarray(x[:, 3:]))


@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
@pytest.mark.parametrize("channels", [4, 40])
def test_infinite_and_nan_gradients(dtype, channels, slope):
    """Nothing comes through a rectifier without a slope; they stay what they are elsewhere."""
    rng = np.random.default_rng(0)
    x, dy = random(rng, dtype, 60, channels), random(rng, dtype, 60, channels)
    weight, bias = (random(rng, dtype, channels) for _ in range(2))
    y, moments = CPU.batch_norm(x, weight, bias, 0.1, slope)
    for column, value in enumerate((np.inf, -np.inf, np.nan)):
        dy[np.argmin(y[:, column]), column] = value
    dy[np.argmax(y[:, 3]), 3] = np.nan
    y[np.argmin(y[:, 3]), 3] = np.nan  # not above zero
    with np.errstate(invalid="ignore"):
        sums = CPU.normalize_sums(dy, x, y, moments[0], slope)
        expected = SPECIFICATION.normalize_sums(dy, x, y, moments[0], slope)
        for total, exact in zip(sums, expected, strict=True):
            np.testing.assert_allclose(total, exact, 1e-3, 1e-3)
        arguments = dy, x, y, weight, moments, 0.1, slope
        gradients = CPU.batch_norm_gradient(*arguments)
        expected = SPECIFICATION.batch_norm_gradient(*arguments)
    for gradient, exact in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, exact, 1e-3, 1e-3)


@pytest.mark.parametrize("row", [0, 4_000])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_column_with_an_infinity_has_an_infinite_mean(dtype, row, value):
    """In the first of several parts or in a later one."""
    x = np.ones((5_000, 3), dtype)
    x[row, 1] = value
    mean, squares = CPU.mean_and_squares(x)
    np.testing.assert_array_equal(mean, [1, value, 1])
    np.testing.assert_array_equal(squares, [0, np.nan, 0])
