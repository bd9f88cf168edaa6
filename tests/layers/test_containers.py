"""SparseSequential runs a max-pooling before the rectifier in front of it; nothing else changes."""

import numpy as np
import pytest

import spconv
from spconv import functional
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
    rectifier, seen = spconv.ReLU(), []
    forward = rectifier.forward
    monkeypatch.setattr(rectifier, "forward", lambda x: seen.append(len(x)) or forward(x))
    y = spconv.SparseSequential(rectifier, spconv.SparseMaxPool2d(*size))(x)
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
