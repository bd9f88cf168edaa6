"""SparseSequential moves and merges rectifiers, to the same results."""

import numpy as np
import pytest
from example_networks import Negated, Shifted

import spconv
from spconv import functional, layers
from spconv.testing import random_sparse_tensor

RECTIFIERS = {
    "relu": (spconv.ReLU(), functional.relu),
    "leaky": (spconv.LeakyReLU(0.3), lambda x: functional.leaky_relu(x, 0.3)),
}


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("kind", RECTIFIERS)
@pytest.mark.parametrize("size", [(2, 2), (3, 2), (2, 3)])
def test_values_and_gradients_are_those_of_the_order_given(ground, kind, size):
    layer, rectifier = RECTIFIERS[kind]
    net = spconv.SparseSequential(layer, spconv.SparseMaxPool2d(*size))
    tensors = [
        random_sparse_tensor(np.random.default_rng(0), (9, 8), density=0.5, ground=ground)
        for _ in range(2)
    ]
    for x in tensors:
        for leaf in (x.features, x.ground_state):
            if leaf is not None:
                leaf.requires_grad = True
    actual, expected = net(tensors[0]), net[1](rectifier(tensors[1]))
    np.testing.assert_array_equal(actual.features.data, expected.features.data)
    np.testing.assert_array_equal(actual.indices, expected.indices)
    gradient = np.random.default_rng(1).standard_normal(expected.features.shape)
    for y, x in zip((actual, expected), tensors, strict=True):
        y.features.backward(gradient)
        assert x.features.grad.any()
    np.testing.assert_array_equal(tensors[0].features.grad, tensors[1].features.grad)
    if ground:
        np.testing.assert_array_equal(actual.ground_state.data, expected.ground_state.data)
        np.testing.assert_allclose(
            tensors[0].ground_state.grad, tensors[1].ground_state.grad, rtol=1e-12
        )


@pytest.mark.parametrize(("size", "fewer"), [((2, 2), True), ((3, 2), False)])
def test_the_rectifier_finds_fewer_sites_unless_windows_overlap(monkeypatch, size, fewer):
    x = random_sparse_tensor(np.random.default_rng(0), (9, 8), density=0.5)
    relu, seen = functional.relu, []
    monkeypatch.setattr(functional, "relu", lambda x: seen.append(len(x)) or relu(x))
    y = spconv.SparseSequential(spconv.ReLU(), spconv.SparseMaxPool2d(*size))(x)
    assert seen == [len(y) if fewer else len(x)]
    assert len(y) != len(x)


def test_layers_keep_their_places():
    net = spconv.SparseSequential(spconv.ReLU(), spconv.SparseMaxPool2d(2))
    net(random_sparse_tensor(np.random.default_rng(0), (9, 8)))
    assert [type(layer).__name__ for layer in net] == ["ReLU", "SparseMaxPool2d"]


def test_a_rectifier_of_the_users_own_stays_in_front():
    class Odd(spconv.ReLU):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    seen = []
    x = random_sparse_tensor(np.random.default_rng(0), (9, 8), density=0.5)
    spconv.SparseSequential(Odd(), spconv.SparseMaxPool2d(2))(x)
    assert seen == [len(x)]


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


@pytest.mark.parametrize("slope", [-1.0, np.nan])
def test_a_slope_below_zero_is_refused(slope):
    with pytest.raises(ValueError, match="LeakyReLU: negative_slope must be finite and >= 0, got"):
        spconv.LeakyReLU(slope)


class NegatedPool(spconv.SparseMaxPool2d):
    def forward(self, x):
        y = super().forward(x)
        return y.replace_feature(y.features * -1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (Negated(3, 3, 3), spconv.ReLU()),
        lambda: (spconv.SubMConv2d(3, 3, 3), Shifted(3), spconv.ReLU()),
        lambda: (spconv.ReLU(), NegatedPool(2)),
    ],
)
def test_what_a_users_own_layer_adds_stays_in_its_place(make):
    net, x = spconv.SparseSequential(*make()), image(ground=False)
    y = x
    for layer in net:
        y = layer(y)
    np.testing.assert_array_equal(net(x).features.data, y.features.data)
