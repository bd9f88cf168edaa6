"""The U-Net of the benchmarks: its sums are part of its convolutions, and it can be frozen."""

import numpy as np
import pytest
from unet import UNet

import spconv
from spconv.inference import freeze
from spconv.testing import random_sparse_tensor


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (9, 8, 8), 2, 4, 0.3, ground=False)
    net = UNet((4, 6, 8), 5)
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(np.float64)
    net(x)  # running statistics
    return net, x


def sums(monkeypatch, function):
    """How many sums of features a function takes."""
    count, add = [], spconv.Tensor.__add__
    monkeypatch.setattr(spconv.Tensor, "__add__", lambda a, b: count.append(1) or add(a, b))
    function()
    return len(count)


def test_a_frozen_network_adds_within_its_convolutions(monkeypatch, example):
    net, x = example
    expected = net.eval()(x).data
    frozen = freeze(net)
    error = np.abs(frozen(x).data - expected).max()
    assert error <= 1e-12 * np.abs(expected).max()
    assert sums(monkeypatch, lambda: frozen(x)) == 0


def test_skips_are_added_on_the_way_up(monkeypatch, example):
    """In training too; the stages' own sums stand behind a normalization."""
    net, x = example
    assert sums(monkeypatch, lambda: net.train()(x)) == len(net.down_stages) + len(net.up_stages)
