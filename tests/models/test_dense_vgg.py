"""The dense VGG: sizes, gradients, batches, threads, states, errors."""

import itertools
import re

import numpy as np
import pytest

import spconv
from spconv import Tensor, functional
from spconv.inference import freeze
from spconv.models import DenseVGG
from spconv.testing import assert_close, check_gradients, randomize


def small(**options):
    return DenseVGG(2, 5, field=8, widths=(3, 4), depth=1, readout=6, **options)


def images(rng, count=3, size=8, dtype=np.float64):
    return rng.standard_normal((count, 2, size, size)).astype(dtype)


def settle(net, rng):
    for layer in net:
        if isinstance(layer, spconv.BatchNorm):
            layer.running_mean, layer.running_var = rng.random((2, layer.num_features)) + 0.5
    return randomize(net.eval(), rng, scale=0.5)


@pytest.mark.parametrize(("size", "left"), [(64, 4), (96, 6)])
def test_sizes(size, left):
    net = DenseVGG(3, 183, field=size)
    assert net(Tensor(np.zeros((1, 3, size, size), np.float32))).shape == (1, 183)
    widths = [3, 16, 16, 32, 32, 48, 48, 64, 64]
    expected = [(9, a, b) for a, b in itertools.pairwise(widths)]
    expected += [(left**2, 64, 128)]
    assert [p.shape for p in net.parameters() if p.ndim == 3] == expected
    assert net[-1].weight.shape == (128, 183)
    pairs = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(widths))
    assert net.num_parameters() == pairs + left**2 * 64 * 128 + 256 + 128 * 183 + 183


@pytest.mark.parametrize("training", [False, True])
def test_gradients(engine, training):
    rng = np.random.default_rng(0)
    net = small(dropout=0)
    parameters = settle(net, rng)
    net.train(training)
    x = Tensor(images(rng), requires_grad=True)
    check_gradients(
        lambda: functional.cross_entropy(net(x), [0, 2, 4]), {"x": x, **parameters}, rng=rng
    )


def test_a_sample_does_not_see_the_others():
    rng = np.random.default_rng(1)
    net = small()
    settle(net, rng)
    x = images(rng)
    x[1] = 0
    together = net(Tensor(x)).data
    for sample in range(3):
        alone = net(Tensor(x[sample : sample + 1])).data[0]
        assert_close(alone, together[sample], 1e-12, f"sample {sample}")
    assert net(Tensor(x[:0])).shape == (0, 5)


def test_same_bits_at_any_number_of_threads():
    results = []
    x = images(np.random.default_rng(2), 4, 32, np.float32)
    try:
        for threads in (1, 2):
            spconv.set_num_threads(threads)
            net = DenseVGG(2, 5, field=32, widths=(16, 24)).seed(3)
            loss = functional.cross_entropy(net(Tensor(x)), [0, 1, 2, 3])
            loss.backward()
            results.append([loss.data, *(p.grad for p in net.parameters())])
            results[-1] += [array for _, array in net.named_buffers()]
    finally:
        spconv.set_num_threads(None)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_state_and_freezing():
    rng = np.random.default_rng(4)
    one, two = small(), small(seed=1)
    settle(one, rng)
    x = Tensor(images(rng))
    two.eval().load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(x).data, two(x).data)
    assert_close(freeze(one)(x).data, one(x).data, 1e-12, "frozen")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field": 40}, "DenseVGG: field must be a multiple of 2**4, which the poolings"),
        ({"field": 0}, "DenseVGG: field must be at least 1, got 0"),
        ({"field": 32, "widths": ()}, "DenseVGG: widths must hold at least one, got none"),
        ({"widths": (4, 0)}, "DenseVGG: widths[1] must be at least 1, got 0"),
        ({"depth": 0}, "DenseVGG: depth must be at least 1, got 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DenseVGG(1, 10, **({"depth": 1} | options))
