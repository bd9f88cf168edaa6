"""Layers of the user's own, beside and instead of the library's, do what their forward says."""

import numpy as np
import pytest

import spconv
from spconv.testing import random_sparse_tensor


def example(channels=2):
    return random_sparse_tensor(np.random.default_rng(0), (6, 7), 2, channels, 0.5, np.float32)


class Doubled(spconv.SubMConv2d):
    def forward(self, x):
        y = super().forward(x)
        return y.replace_feature(y.features * 2.0, y.ground_state * 2.0)


class Kept(spconv.BatchwiseDropout):
    def forward(self, x):
        return x


class Replacing(spconv.ReLU):
    def forward(self, x):
        return x.replace_feature(x.features * 1.0, x.ground_state * 1.0)


class Ones(spconv.Linear):
    def forward(self, x):
        return super().forward(x.replace_feature(x.features + 1.0, x.ground_state + 1.0))


@pytest.mark.parametrize("behind", [spconv.ReLU, lambda: spconv.BatchwiseDropout(0.5), None])
def test_a_convolution_needs_to_know_no_options(behind):
    layer, x = Doubled(2, 4, 3), example()
    plain = spconv.SubMConv2d.forward(layer, x).features.data * 2
    net = spconv.SparseSequential(layer, *([behind()] if behind else []))
    y = net.seed(0)(x).features.data
    if behind is spconv.ReLU:
        plain = np.maximum(plain, 0)
    elif behind:
        dropped = (y == 0).all(0)
        assert 0 < dropped.sum() < 4
        plain = np.where(dropped, 0, 2 * plain)
    np.testing.assert_allclose(y, plain, rtol=1e-6)


def test_a_forward_of_one_object():
    conv, x = spconv.SubMConv2d(2, 4, 3), example()
    expected = conv(x).features.data
    conv.forward = lambda x: spconv.SubMConv2d.forward(conv, x)
    np.testing.assert_array_equal(spconv.SparseSequential(conv)(x).features.data, expected)


@pytest.mark.parametrize("neighbour", ["conv", "norm", "pool"])
@pytest.mark.parametrize("rectifier", [spconv.ReLU, spconv.LeakyReLU])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_forward_of_one_rectifier(rectifier, neighbour, frozen):
    own, layers = rectifier(), [spconv.SubMConv2d(2, 4, 3)]
    layers += [spconv.BatchNorm(4)] if neighbour == "norm" else []
    layers += [own, spconv.SparseMaxPool2d(2)] if neighbour == "pool" else [own]
    own.forward = lambda x: x.replace_feature(x.features * -1.0, x.ground_state * -1.0)
    net, y = spconv.SparseSequential(*layers).eval(), example()
    for layer in net:
        y = layer(y)
    net = spconv.inference.freeze(net) if frozen else net
    np.testing.assert_allclose(net(example()).features.data, y.features.data, rtol=1e-5, atol=1e-6)


def test_a_rectifier_with_another_slope_than_its_attribute_says():
    class Named(spconv.ReLU):
        negative_slope = 0.5

    layers, x = [spconv.SubMConv2d(2, 4, 3), Named()], example()
    expected = layers[1](layers[0](x)).features.data
    net = spconv.SparseSequential(*layers)
    for run in (net, spconv.inference.freeze(net)):
        np.testing.assert_array_equal(run(x).features.data, expected)


def test_a_dropout_that_keeps_all_is_asked():
    conv, x = spconv.SubMConv2d(2, 4, 3), example()
    y = spconv.SparseSequential(conv, Kept(0.5), spconv.SubMConv2d(4, 1, 1))[:2](x)
    np.testing.assert_array_equal(y.features.data, conv(x).features.data)


@pytest.mark.parametrize("inner", [Replacing, lambda: Ones(4, 4)], ids=["rectifier", "linear"])
@pytest.mark.parametrize("first", [True, False])
def test_they_see_all_channels_beside_a_batchwise_dropout(inner, first):
    pair = [inner(), spconv.BatchwiseDropout(0.5)]
    net = spconv.SparseSequential(
        spconv.SubMConv2d(2, 4, 3), *(pair if first else pair[::-1]), spconv.SubMConv2d(4, 3, 1)
    )
    x = example()
    together = net.seed(0)(x).features.data
    y = x
    net.seed(0)
    for layer in net:
        y = layer(y)
    np.testing.assert_allclose(together, y.features.data, rtol=1e-5, atol=1e-6)


def test_part_of_a_sequence_is_a_sequence_of_the_same_layers():
    net = spconv.SparseSequential(spconv.SubMConv2d(2, 4, 3), spconv.ReLU(), spconv.Linear(4, 1))
    part = net[:2]
    assert isinstance(part, spconv.SparseSequential)
    assert list(part) == list(net)[:2]
    assert part(example()).num_channels == 4


def test_an_array_does_not_take_a_parameters_place():
    layer = spconv.SubMConv2d(2, 4, 3)
    with pytest.raises(TypeError, match=r"SubMConv2d: weight is a Parameter, got numpy\.ndarray"):
        layer.weight = np.zeros(layer.weight.shape)
    layer.bias = None
    layer.weight = spconv.Parameter(np.zeros(layer.weight.shape, np.float32))
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_a_part_wants_no_gradient():
    net = spconv.SparseSequential(spconv.BatchNorm(4), spconv.Linear(4, 2))
    assert net[0].requires_grad_(False) is net[0]
    y = net(example(4))
    y.features.sum().backward()
    learns = {path for path, p in net.named_parameters() if p.grad is not None}
    assert learns == {"1.weight", "1.bias"}
    net.requires_grad_(False)
    assert all(p.grad is None for p in net.parameters())  # an optimizer would follow them
    assert all(p.requires_grad for p in net.requires_grad_().parameters())
