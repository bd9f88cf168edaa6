"""The dense twin of a network: same logits, same gradient of every parameter."""

import re

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.models import DeepCNet, DeepCNiN, dense_twin
from spconv.testing import assert_close, random_sparse_tensor, randomize

NETWORKS = {
    "DeepCNet(4, 4)": lambda: DeepCNet(4, 4, 2, 5),
    "DeepCNiN(3, 4)": lambda: DeepCNiN(3, 4, 2, 5, negative_slope=0.1),
    "3d": lambda: DeepCNet(1, 3, 2, 5, ndim=3),
    "other layers": lambda: spconv.SparseSequential(
        spconv.SparseConv2d(2, 4, (3, 2), stride=(2, 1), dilation=(1, 2), bias=False),
        spconv.Sigmoid(),
        spconv.SparseMaxPool2d((3, 2), stride=1),
        spconv.Tanh(),
        spconv.Dropout(0.5),
        spconv.Identity(),
        spconv.SparseConv2d(4, 6, 2, groups=2),
        spconv.SiLU(),
        spconv.SparseConv2d(6, 3, 1),
        spconv.GELU(),
        spconv.SparseConv2d(3, 3, 1),
        spconv.ReLU(),
        spconv.Flatten(),
        spconv.Linear(3 * 2 * 6, 5, bias=False),
    ).eval(),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_same_logits_and_gradients(engine, make):
    rng = np.random.default_rng(0)
    net = make()
    randomize(net, rng, scale=0.5)
    twin = dense_twin(net)
    if not net.training:
        twin.eval()
    shape = (net.field,) * net.ndim if isinstance(net, DeepCNet) else (12, 10)
    x = random_sparse_tensor(rng, shape, 3, 2, density=0.1, empty_samples=[1])
    logits, expected = net(x), twin(x.dense())
    assert logits.shape == (3, 5)
    assert_close(logits.data, expected.data, 1e-10, "logits")
    for output in (logits, expected):
        functional.cross_entropy(output, [3, 0, 4]).backward()
    for (name, own), (other, theirs) in zip(
        net.named_parameters(), twin.named_parameters(), strict=True
    ):
        assert name == other
        assert own.dtype == theirs.dtype == np.float64
        assert_close(own.grad, theirs.grad, 1e-10, f"gradient of {name}")


def test_the_twin_has_copies():
    net = DeepCNet(1, 2, 1, 3)
    twin = dense_twin(net)
    for own, other in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(own.data, other.data)
        assert not np.shares_memory(own.data, other.data)
    kinds = [type(layer).__name__ for layer in twin]
    assert kinds == ["Conv2d", "LeakyReLU", "MaxPool2d", "Conv2d", "LeakyReLU", "Flatten", "Linear"]
    assert twin[1].negative_slope == net[1].negative_slope


def test_dropout_becomes_dropout():
    twin = dense_twin(DeepCNet(1, 2, 1, 3, dropout=0.4))
    rates = [layer.p for layer in twin if isinstance(layer, spconv.Dropout)]
    assert rates == [pytest.approx(0.2), 0.4]


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (spconv.SparseConv2d(1, 1, 3, padding=1), ValueError, "needs padding 0 and ndim 2 or 3"),
        (spconv.SparseMaxPool2d(2, padding=1), ValueError, "needs padding 0 and ndim 2 or 3"),
        (spconv.SparseConv1d(1, 1, 3), ValueError, "needs padding 0 and ndim 2 or 3"),
        (spconv.SubMConv2d(1, 1, 3), TypeError, "no dense counterpart for SubMConv2d(1, 1"),
        (spconv.BatchwiseDropout(0.5), TypeError, "no dense counterpart for BatchwiseDropout(p=0."),
        (spconv.SparseAvgPool2d(2), TypeError, "no dense counterpart for SparseAvgPool2d("),
    ],
)
def test_layers_without_a_twin(layer, error, message):
    with pytest.raises(error, match=f"dense_twin: .*{re.escape(message)}"):
        dense_twin(spconv.SparseSequential(layer))
