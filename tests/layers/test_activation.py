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
    "silu": (spconv.SiLU, {}, reference.silu),
    "gelu": (spconv.GELU, {}, reference.gelu),
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


def test_the_identity_is_no_layer():
    x, identity = spconv.Tensor(np.ones((2, 3))), spconv.Identity()
    assert identity(x) is x
    assert repr(identity) == "Identity()"
    sparse = random_sparse_tensor(np.random.default_rng(6), (5, 4))
    assert spconv.SparseSequential(identity)(sparse) is sparse
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 4, 3), identity, spconv.ReLU())
    frozen = spconv.inference.freeze(net)
    assert len(frozen) == 1
    np.testing.assert_allclose(
        frozen(sparse).features.data, net(sparse).features.data, rtol=1e-6, atol=1e-6
    )


KEEP_ZERO = [
    spconv.ReLU,
    spconv.LeakyReLU,
    spconv.Tanh,
    spconv.SiLU,
    spconv.GELU,
    spconv.Identity,
]


@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
@pytest.mark.parametrize("layer", KEEP_ZERO)
def test_channels_that_were_dropped_stay_so(layer, ground, monkeypatch):
    """And the convolution in front of it does not compute them, as one by one it does."""
    conv_of_functional, computed = spconv.functional.sparse_conv, []

    def counted(*arguments, **options):
        y = conv_of_functional(*arguments, **options)
        computed.append(y.num_channels)
        return y

    monkeypatch.setattr(spconv.functional, "sparse_conv", counted)
    x = random_sparse_tensor(np.random.default_rng(4), (6, 5), ground=ground)
    conv = spconv.SubMConv2d(3, 8, 3, rng=np.random.default_rng(0))
    drop = spconv.BatchwiseDropout(0.5)
    net = spconv.SparseSequential(conv, layer(), drop, spconv.SubMConv2d(8, 2, 1))
    y = net.seed(1)(x)
    assert computed == [4, 2]
    drop.rng = np.random.default_rng(np.random.SeedSequence((1, 3)))
    expected = net[3](drop(layer()(conv(x))))
    np.testing.assert_allclose(y.dense().data, expected.dense().data, atol=1e-12)
    kept = spconv.functional.draw_channels(3, 0.5, np.random.default_rng(0))
    dropped = spconv.functional.batchwise_dropout(x, kept)
    assert layer()(dropped).channels is kept


@pytest.mark.parametrize("layer", [spconv.SiLU, spconv.GELU])
def test_a_smooth_rectifier_is_left_alone_in_a_frozen_network(layer):
    rng = np.random.default_rng(5)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(3, 4, 3), spconv.BatchNorm(4), layer(), spconv.SparseMaxPool2d(2)
    )
    randomize(net, rng)
    x = random_sparse_tensor(rng, (6, 5))
    net(x)
    frozen = spconv.inference.freeze(net.eval())
    kinds = ["FrozenConvolution", layer.__name__, "SparseMaxPool2d"]
    assert [type(each).__name__ for each in frozen] == kinds
    np.testing.assert_allclose(frozen(x).dense().data, net(x).dense().data, atol=1e-12)


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
