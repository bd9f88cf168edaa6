"""NaN and infinities go through the layers as they do through NumPy."""

import numpy as np
import pytest
from scipy.stats import norm

import spconv
from spconv import functional
from spconv.dtypes import math_type

ENGINES = ["numpy", "cpu"]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("values", [[np.nan, 1.0], [1.0, np.nan], [np.nan, np.nan]])
def test_a_nan_wins_the_maximum(name, values):
    x = spconv.SparseConvTensor(np.array(values)[:, None], [[0, 0], [0, 1]], (2,), 1)
    with spconv.use_engine(name):
        assert np.isnan(spconv.SparseMaxPool1d(2)(x).features.data).all()


@pytest.mark.parametrize("name", ENGINES)
def test_relu_of_infinities_and_nan(name):
    x = spconv.Tensor(np.array([-np.inf, np.inf, np.nan, -1.0, 2.0]))
    with spconv.use_engine(name):
        y = functional.relu(x).data
    np.testing.assert_array_equal(y, [0.0, np.inf, np.nan, 0.0, 2.0])


@pytest.mark.parametrize("name", ENGINES)
def test_leaky_relu_of_infinities(name):
    with spconv.use_engine(name):
        y = functional.leaky_relu(spconv.Tensor(np.array([-np.inf, np.inf])), 0.5).data
    np.testing.assert_array_equal(y, [-np.inf, np.inf])


def test_no_grad_and_engines_belong_to_the_thread_that_set_them():
    from concurrent.futures import ThreadPoolExecutor

    from spconv.ops import get_ops

    def elsewhere():
        x = spconv.Tensor(np.ones(2), requires_grad=True)
        return (x * x).requires_grad, type(get_ops(np.ones(1))).__name__

    with spconv.no_grad(), spconv.use_engine("numpy"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(elsewhere).result() == (True, "CpuOps")


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("slope", [0.0, 0.5])
@pytest.mark.parametrize("huge", [np.inf, np.nan])
def test_the_gradient_of_what_a_rectifier_cut_off_is_zero_of_anything(name, slope, huge):
    x = spconv.Tensor(np.array([-1.0, 2.0]), requires_grad=True)
    with spconv.use_engine(name):
        functional.leaky_relu(x, slope).backward(np.array([huge, 1.0]))
    np.testing.assert_array_equal(x.grad, [huge if slope else 0.0, 1.0])


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("huge", [np.inf, -np.inf, np.nan])
def test_the_rectifier_behind_a_normalization_cuts_anything_off_too(name, huge):
    rows = spconv.Tensor(np.array([[-1.0], [0.0], [1.0]]), requires_grad=True)
    with spconv.use_engine(name):
        y = spconv.BatchNorm(1)(rows, negative_slope=0.0)
        y.backward(np.array([[huge], [0.0], [0.0]]))
    np.testing.assert_array_equal(rows.grad, np.zeros((3, 1)))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("huge", [np.inf, np.nan])
def test_a_leaky_rectifier_behind_a_normalization_keeps_what_is_not_finite(name, huge):
    rows = spconv.Tensor(np.array([[-1.0], [0.0], [1.0]]), requires_grad=True)
    with spconv.use_engine(name), np.errstate(invalid="ignore"):
        y = spconv.BatchNorm(1)(rows, negative_slope=0.5)
        y.backward(np.array([[huge], [0.0], [0.0]]))
    assert not np.isfinite(rows.grad).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_keeps_the_digits_of_small_values(dtype):
    x = spconv.Tensor(np.array([-60, -20, -10, 0, 10, 60, -800, 800], dtype), requires_grad=True)
    y = functional.sigmoid(x)
    from scipy.special import expit

    np.testing.assert_allclose(y.data, expit(x.data), rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(x.grad[:4], (y.data * (1 - y.data))[:4], rtol=1e-6)
    assert y.dtype == x.grad.dtype == dtype


SMOOTH = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * norm.cdf(x),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_rectifiers_keep_the_digits_of_small_values(name, dtype):
    values = np.array([-9, -5, -1e-3, 0, 1e-3, 5, 9], dtype)
    x = spconv.Tensor(values, requires_grad=True)
    y = getattr(functional, name)(x)
    exact, step = values.astype(np.float64), 1e-6
    assert y.dtype == dtype
    least = np.finfo(dtype).smallest_subnormal
    relative = 64 * np.finfo(math_type(np.dtype(dtype))).eps  # that of x^2 / 2, in an exponent
    relative = max(relative, np.finfo(dtype).eps)
    np.testing.assert_allclose(y.data, SMOOTH[name](exact), relative, least)
    y.backward(np.ones_like(values))
    slope = (SMOOTH[name](exact + step) - SMOOTH[name](exact - step)) / (2 * step)
    assert x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad, slope, 8 * np.finfo(dtype).eps, 1e-9 + least)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_rectifiers_far_from_zero_are_rectifiers(name, dtype):
    x = spconv.Tensor(np.array([-np.inf, -1e30, -900, 900, 1e30, np.inf], dtype), True)
    y = getattr(functional, name)(x)
    np.testing.assert_array_equal(y.data, np.maximum(x.data, 0))
    y.backward(np.ones_like(x.data))
    np.testing.assert_array_equal(x.grad, [0, 0, 0, 1, 1, 1])
    assert np.isnan(getattr(functional, name)(spconv.Tensor(np.array([np.nan]))).data)


@pytest.mark.parametrize("size", [41, 47, 61])
def test_full_windows_have_nothing_of_the_ground_state(size):
    sites = np.stack([np.zeros(size, np.int32), np.arange(size, dtype=np.int32)], axis=1)
    for ground in (1e6, np.inf):
        x = spconv.SparseConvTensor(
            np.ones((size, 1), np.float32), sites, (size,), 1, np.array([ground], np.float32)
        )
        mean = spconv.SparseAvgPool1d(size)(x).features.data
        np.testing.assert_allclose(mean, 1, rtol=1e-6)
        np.testing.assert_allclose(functional.global_avg_pool(x).data, 1, rtol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_means_over_many_sites(name):
    n = 300_000
    sites = np.stack([np.zeros(n, np.int32), np.arange(n, dtype=np.int32)], axis=1)
    x = spconv.SparseConvTensor(np.full((n, 2), 0.1, np.float32), sites, (n,), 1)
    with spconv.use_engine(name):
        np.testing.assert_allclose(functional.global_avg_pool(x).data, 0.1, rtol=2e-7)


@pytest.mark.parametrize("name", ENGINES)
def test_no_samples(name):
    x = spconv.SparseConvTensor(np.zeros((0, 2)), np.zeros((0, 3), int), (4, 4), 0)
    with spconv.use_engine(name):
        assert functional.global_avg_pool(x).shape == (0, 2)
        assert functional.global_max_pool(x).shape == (0, 2)
