"""Elementwise layers map the features and the ground state."""

import numpy as np
import pytest

import spconv
from spconv.testing import assert_twin, random_sparse_tensor, randomize, reference

pytestmark = pytest.mark.usefixtures("engine")

LAYERS = {
    "relu": (spconv.ReLU, {}, reference.relu),
    "leaky_relu": (spconv.LeakyReLU, {}, reference.leaky_relu),
    "leaky_relu_0.1": (
        spconv.LeakyReLU,
        {"negative_slope": 0.1},
        lambda rows: reference.leaky_relu(rows, 0.1),
    ),
    "sigmoid": (spconv.Sigmoid, {}, reference.sigmoid),
    "tanh": (spconv.Tanh, {}, reference.tanh),
}


@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("layer", "options", "function"), LAYERS.values(), ids=LAYERS.keys())
def test_activation(layer, options, function, density, ground):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(rng, (5, 4), density=density, ground=ground, shuffle=True)

    def twin(grid, _):
        return reference.pointwise(grid, function)

    assert_twin(layer(**options), twin, x, rng=rng, keeps_sites=True)


@pytest.mark.parametrize(("layer", "options", "function"), LAYERS.values(), ids=LAYERS.keys())
def test_activation_of_a_dense_tensor(layer, options, function):
    values = np.random.default_rng(2).standard_normal((3, 4))
    out = layer(**options)(spconv.Tensor(values))
    np.testing.assert_allclose(out.numpy(), function(values), atol=1e-15)


def test_sigmoid_and_tanh_do_not_overflow():
    x = spconv.Tensor(np.array([[-800.0, 800.0]]))
    np.testing.assert_array_equal(spconv.Sigmoid()(x).numpy(), [[0, 1]])
    np.testing.assert_array_equal(spconv.Tanh()(x).numpy(), [[-1, 1]])


@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
def test_linear_on_a_sparse_tensor_maps_the_ground(ground):
    rng = np.random.default_rng(3)
    x = random_sparse_tensor(rng, (5, 4), ground=ground)
    layer = spconv.Linear(3, 2)
    parameters = randomize(layer, rng)

    def twin(grid, p):
        return reference.pointwise(
            grid, lambda rows: reference.linear(rows, p["weight"], p["bias"])
        )

    assert_twin(layer, twin, x, parameters, rng=rng, keeps_sites=True)
