"""Softplus and the logarithm of the sigmoid: digits, extremes, sparse tensors."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.dtypes import math_type
from spconv.testing import assert_twin, random_sparse_tensor, reference

DEFINITIONS = {
    "softplus": lambda x: np.logaddexp(0, x),
    "log_sigmoid": lambda x: -np.logaddexp(0, -x),
}
ANALYTIC = {  # of complex numbers too, which the derivative steps along
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "log_sigmoid": lambda x: -np.log(1 + np.exp(-x)),
}
SLOPES = {
    "softplus": lambda x: np.exp(-np.logaddexp(0, -x)),
    "log_sigmoid": lambda x: np.exp(-np.logaddexp(0, x)),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_values_and_slopes_keep_their_digits(name, dtype):
    values = np.array([-80, -20, -5, -1e-3, 0, 1e-3, 5, 20, 80], dtype)
    x = spconv.Tensor(values, requires_grad=True)
    y = getattr(functional, name)(x)
    y.backward(np.ones_like(values))
    assert y.dtype == x.grad.dtype == dtype
    exact, least = values.astype(np.float64), np.finfo(dtype).smallest_subnormal
    # An exponent of 80 has the rounding of 80 digits.
    relative = max(80 * np.finfo(math_type(np.dtype(dtype))).eps, np.finfo(dtype).eps)
    np.testing.assert_allclose(y.data, DEFINITIONS[name](exact), relative, least)
    np.testing.assert_allclose(x.grad, SLOPES[name](exact), relative, least)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(dtype):
    values = np.array([-np.inf, -1e30, 1e30, np.inf, np.nan], dtype)
    for name, expected, slopes in (
        ("softplus", np.maximum(values, 0), [0, 0, 1, 1, np.nan]),
        ("log_sigmoid", np.minimum(values, 0), [1, 1, 0, 0, np.nan]),
    ):
        x = spconv.Tensor(values, requires_grad=True)
        y = getattr(functional, name)(x)
        np.testing.assert_array_equal(y.data, expected)
        y.backward(np.ones_like(values))
        np.testing.assert_array_equal(x.grad, slopes)


@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_sites_and_ground_state_go_through(name, ground):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(rng, (5, 4), density=0.4, ground=ground, shuffle=True)

    def twin(grid, _):
        return reference.pointwise(grid, ANALYTIC[name])

    assert_twin(getattr(functional, name), twin, x, rng=rng, keeps_sites=True)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_dropped_channels_are_zeros_that_go_through(name):
    x = random_sparse_tensor(np.random.default_rng(0), (4, 5), channels=4, ground=True)
    kept = functional.draw_channels(4, 0.5, np.random.default_rng(0))
    dropped = functional.batchwise_dropout(x, kept)
    y = getattr(functional, name)(dropped)
    expected = DEFINITIONS[name](dropped.dense().data)
    np.testing.assert_allclose(y.dense().data, expected, rtol=1e-12)
