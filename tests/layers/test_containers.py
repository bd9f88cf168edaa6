"""SparseSequential computes rectifiers with the layer in front of them: only the time changes."""

import numpy as np
import pytest

import spconv
from spconv import layers

pytestmark = pytest.mark.usefixtures("engine")


def network(rectifier):
    rng = np.random.default_rng(0)
    return spconv.SparseSequential(
        spconv.SubMConv2d(3, 5, 3, rng=rng),
        rectifier(),
        spconv.SparseConv2d(5, 6, 3, 2, bias=False, indice_key="down", rng=rng),
        spconv.BatchNorm(6),
        rectifier(),
        spconv.SparseInverseConv2d(6, 4, 3, "down", rng=rng),
        rectifier(),
        spconv.SparseMaxPool2d(3, 2),
        spconv.SparseConvTranspose2d(4, 3, 2, 2, rng=rng),
        rectifier(),
    )


def image(ground):
    rng = np.random.default_rng(1)
    sites = np.argwhere(rng.random((2, 9, 9)) < 0.3)
    features = spconv.Tensor(rng.standard_normal((len(sites), 3)), requires_grad=True)
    return spconv.SparseConvTensor(features, sites, (9, 9), 2, np.ones(3) if ground else None)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("rectifier", [spconv.ReLU, spconv.LeakyReLU])
def test_the_sequence_gives_what_its_layers_give_one_by_one(rectifier, ground, training):
    results = []
    for sequential in (True, False):
        net, x = network(rectifier), image(ground)
        net.train() if training else net.eval()
        y = x
        if sequential:
            y = net(x)
        else:
            for layer in net:
                y = layer(y)
        (y.features * y.features).sum().backward()
        gradients = [p.grad for _, p in net.named_parameters()] + [x.features.grad]
        results.append((y, gradients, [net[3].running_mean, net[3].running_var]))
    (y, gradients, running), (expected, expected_gradients, expected_running) = results
    np.testing.assert_array_equal(y.features.data, expected.features.data)
    if ground:
        np.testing.assert_array_equal(y.ground_state.data, expected.ground_state.data)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)
    for one, other in zip(running, expected_running, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rectifiers_are_called_where_nothing_in_front_computes_them(monkeypatch):
    calls = []
    forward = layers.ReLU.forward
    monkeypatch.setattr(
        layers.ReLU, "forward", lambda self, x: calls.append(self) or forward(self, x)
    )
    rectified = spconv.SubMConv2d(3, 3, 3)
    rectified.negative_slope = 0.5
    net = spconv.SparseSequential(
        spconv.ReLU(),
        rectified,
        spconv.ReLU(),
        spconv.SparseAvgPool2d(2),
        spconv.ReLU(),
        spconv.SubMConv2d(3, 3, 3),
        spconv.ReLU(),
    )
    net(image(ground=False))
    assert calls == [net[0], net[2], net[4]]


@pytest.mark.parametrize("pool", [spconv.SparseMaxPool2d, spconv.SparseFractionalMaxPool2d])
def test_max_pooling_comes_before_the_rectifier_in_front_of_it(monkeypatch, pool):
    sizes = []
    forward = layers.ReLU.forward
    monkeypatch.setattr(
        layers.ReLU, "forward", lambda self, x: sizes.append(x.spatial_shape) or forward(self, x)
    )
    window = 2 if pool is spconv.SparseMaxPool2d else 1.5
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 3, 3), spconv.ReLU(), pool(window))
    y = net(image(ground=True))
    assert sizes == [y.spatial_shape] != [(9, 9)]


def test_a_negative_slope_in_front_of_a_pooling_is_refused():
    net = spconv.SparseSequential(spconv.LeakyReLU(-1.0), spconv.SparseMaxPool2d(2))
    with pytest.raises(ValueError, match="negative_slope must be >= 0, got -1"):
        net(image(ground=False))


def test_a_negative_slope_is_refused_behind_a_convolution_too():
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 3, 3), spconv.LeakyReLU(-1.0))
    with pytest.raises(ValueError, match="negative_slope must be >= 0, got -1"):
        net(image(ground=False))
