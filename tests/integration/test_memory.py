"""What a convolution allocates: rows in and rows out, never a row for every pair."""

import tracemalloc

import numpy as np
import pytest

import spconv
from spconv import Tensor


def peak(function):
    """Bytes that `function` held at once, beyond what was there before."""
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = function()
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["SubMConv3d", "SparseConv3d"])
def test_convolution_gathers_nothing(kind):
    rng = np.random.default_rng(0)
    channels = 32
    indices = np.argwhere(rng.random((1, 32, 32, 32)) < 0.7)
    features = Tensor(rng.standard_normal((len(indices), channels), np.float32), True)
    x = spconv.SparseConvTensor(features, indices, (32,) * 3, 1)
    layer = getattr(spconv, kind)(channels, channels, 3)
    layer(x).features.sum().backward()  # builds the rulebook and its inverse
    rows = max(len(x), len(layer(x)))
    one = rows * channels * 4  # features of one layer
    pairs = 27 * one  # what gathering the rows of all pairs would take

    def step():
        y = layer(x)
        y.features.backward(np.ones(y.features.shape, np.float32))
        return y

    used, y = peak(step)
    assert y.features.data.nbytes < pairs / 20
    # output, its gradient, input gradient, and slack of as much again
    assert used < 6 * one < pairs / 4


def test_the_measure_sees_a_gather_buffer():
    """The specification does gather, one offset at a time: the bound is not vacuous."""
    x = spconv.from_dense(np.ones((1, 16, 12, 12, 12), np.float32))
    layer = spconv.SubMConv3d(16, 16, 3)
    layer(x)
    compiled, _ = peak(lambda: layer(x))
    with spconv.use_engine("numpy"):
        gathered, _ = peak(lambda: layer(x))
    assert gathered > 1.5 * compiled


def test_a_training_step_leaves_nothing_behind():
    rng = np.random.default_rng(0)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(1, 16, 3), spconv.BatchNorm(16), spconv.ReLU(), spconv.SparseMaxPool2d(2)
    )
    array = (rng.random((4, 1, 64, 64)) < 0.3).astype(np.float32)

    def step():
        net.zero_grad()
        net(spconv.from_dense(array)).features.sum().backward()

    step()
    tracemalloc.start()
    try:
        step()
        after_one = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            step()
        assert tracemalloc.get_traced_memory()[0] < after_one + 20_000
    finally:
        tracemalloc.stop()
