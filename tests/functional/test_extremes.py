"""NaN and infinities go through the layers as they do through NumPy."""

import numpy as np
import pytest

import spconv
from spconv import functional

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
