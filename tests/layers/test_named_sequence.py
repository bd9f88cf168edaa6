"""SparseSequential of a dict: names in a state and in the place of positions, and what changes."""

from collections import OrderedDict

import numpy as np
import pytest

import spconv
from spconv.testing import random_sparse_tensor


def layers():
    rng = np.random.default_rng(0)
    return {
        "conv1": spconv.SubMConv2d(3, 4, 3, rng=rng),
        "bn1": spconv.BatchNorm(4),
        "relu": spconv.ReLU(),
        "drop": spconv.BatchwiseDropout(0.5),
        "conv2": spconv.SubMConv2d(4, 2, 3, rng=rng),
    }


def example():
    return random_sparse_tensor(np.random.default_rng(0), (7, 8), 2, 3, 0.4, np.float64)


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_names_in_a_state(kind):
    net = spconv.SparseSequential(kind(layers()))
    names = [name for name, _ in net.named_parameters()]
    assert names == [
        *("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "conv2.weight", "conv2.bias")
    ]
    assert [name for name, _ in net.named_buffers()] == ["bn1.running_mean", "bn1.running_var"]
    assert [name for name, _ in net.children()] == [*layers()]
    assert "(bn1): BatchNorm(4" in repr(net)
    again = spconv.SparseSequential(layers())
    again.load_state_dict(net.state_dict())
    x = example()
    np.testing.assert_array_equal(again.seed(0)(x).dense().data, net.seed(0)(x).dense().data)


def test_it_computes_what_the_unnamed_one_does():
    x = example()
    named = spconv.SparseSequential(layers()).seed(1)(x)
    unnamed = spconv.SparseSequential(*layers().values()).seed(1)(x)
    np.testing.assert_array_equal(named.dense().data, unnamed.dense().data)


def test_names_beside_positions():
    held = layers()
    net = spconv.SparseSequential(held)
    assert net["conv1"] is net[0] is held["conv1"]
    assert net[-1] is net["conv2"]
    part = net[1:3]
    assert part.layer_names == ("bn1", "relu")
    assert part["relu"] is held["relu"]
    assert net[::-2].layer_names == ("conv2", "relu", "conv1")
    assert list(net) == list(held.values())


def test_changes_keep_names_beside_their_layers():
    net, tanh, silu = spconv.SparseSequential(layers()), spconv.Tanh(), spconv.SiLU()
    net["relu"] = tanh
    assert net[2] is tanh
    net[2] = silu
    assert net["relu"] is silu
    head = spconv.Linear(2, 3)
    net["head"] = head
    assert (net[-1], net.layer_names[-1]) == (head, "head")
    del net["bn1"]
    assert net.layer_names == ("conv1", "relu", "drop", "conv2", "head")
    del net[0]
    del net[1:3]
    assert (net.layer_names, list(net)) == (("relu", "head"), [silu, head])
    assert list(net.state_dict()) == ["head.weight", "head.bias"]
    held = layers()
    spconv.SparseSequential(held)["other"] = tanh
    assert [*held] == [*layers()], "the dict stays the caller's"


def test_from_nothing():
    net = spconv.SparseSequential({})
    assert (len(net), list(net.children())) == (0, [])
    net["conv"] = spconv.SubMConv2d(3, 2, 3)
    assert [name for name, _ in net.named_parameters()] == ["conv.weight", "conv.bias"]


def test_a_frozen_copy_keeps_the_names_that_are_left():
    net, x = spconv.SparseSequential(layers()), example()
    net(x)
    frozen = spconv.inference.freeze(net.eval())
    assert frozen.layer_names == ("conv1", "conv2")
    assert [name.partition(".")[0] for name, _ in frozen.named_parameters()][::2] == [
        "conv1",
        "conv2",
    ]
    np.testing.assert_allclose(frozen(x).dense().data, net(x).dense().data, rtol=1e-5, atol=1e-6)
    assert net.layer_names == (*layers(),)


def test_residuals_and_extending_another():
    x = example()
    rng = np.random.default_rng(0)
    branch = spconv.SparseSequential({"conv": spconv.SubMConv2d(3, 3, 3, rng=rng)})
    total = spconv.layers.residual_sum(branch, x, x)
    np.testing.assert_allclose(total.dense().data, (x + branch(x)).dense().data, atol=1e-12)
    plain = spconv.SparseSequential(spconv.ReLU()).extend(branch)
    assert [name for name, _ in plain.named_parameters()] == ["1.weight", "1.bias"]


def test_an_attribute_must_not_have_the_name_of_a_layer():
    class Net(spconv.SparseSequential):
        def __init__(self):
            super().__init__({"head": spconv.Linear(3, 2)})
            self.body = spconv.Linear(3, 2)

    net = Net()
    assert list(net.state_dict())[::2] == ["head.weight", "body.weight"]
    net["body"] = spconv.Linear(3, 2)
    with pytest.raises(ValueError, match=r"SparseSequential: 'body' is an attribute and the name"):
        net.state_dict()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda net: net["conv3"], KeyError, r"no layer is named 'conv3' among \['conv1', 'bn1'"),
        (lambda net: net.__delitem__("x"), KeyError, "no layer is named 'x' among"),
        (lambda net: net.append(spconv.ReLU()), TypeError, r"names, .* add it as net\['name'\] ="),
        (lambda net: net.extend([]), TypeError, r"names, .* add it as net\['name'\] = layer"),
        (
            lambda net: net.insert(0, spconv.ReLU()),
            TypeError,
            r"names, .* a new sequence of a dict",
        ),
        (
            lambda net: net.__setitem__(slice(1), []),
            TypeError,
            r"names, .* as net\['name'\] = layer",
        ),
        (lambda net: net.__setitem__("new", 3), TypeError, "layer 'new' must be a Module, got int"),
        (lambda net: net.__setitem__("conv1", 3), TypeError, "layer 0 must be a Module, got int"),
        (
            lambda net: net.__setitem__("a.b", net[0]),
            ValueError,
            "must be a str without dots.*'a.b'",
        ),
        (lambda net: net[5], IndexError, r"expected a position in -5\.\.4 of 5 layers, got 5"),
        (lambda net: net[None], TypeError, "must be an int or a slice, got NoneType"),
        (
            lambda net: spconv.SparseSequential({"a": 3}),
            TypeError,
            "layer 'a' must be a Module, got int",
        ),
        (
            lambda net: spconv.SparseSequential({1: net[0]}),
            ValueError,
            "a layer's name must be a str without dots, .* got 1",
        ),
        (lambda net: spconv.SparseSequential({"": net[0]}), ValueError, "without dots, .* got ''"),
        (
            lambda net: spconv.SparseSequential({"a": net[0]}, {"b": net[0]}),
            TypeError,
            "layer 0 must be a Module, got dict; give all layers in one dict",
        ),
    ],
)
def test_what_is_no_change(call, error, message):
    net = spconv.SparseSequential(layers())
    before = list(net), net.layer_names
    with pytest.raises(error, match=f"SparseSequential: .*{message}"):
        call(net)
    assert (list(net), net.layer_names) == before
