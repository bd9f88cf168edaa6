"""SparseSequential as a list of layers: what changes, and what follows."""

from itertools import pairwise

import numpy as np
import pytest

import spconv
from spconv.testing import random_sparse_tensor


def make(*sizes):
    rng = np.random.default_rng(0)
    sizes = sizes or (3, 3, 3, 3)
    return [spconv.SubMConv2d(a, b, 3, rng=rng) for a, b in pairwise(sizes)]


def example():
    return random_sparse_tensor(np.random.default_rng(0), (7, 8), 2, 3, 0.4, np.float64)


def one_by_one(net, x):
    for layer in net:
        x = layer(x)
    return x


CHANGES = {
    "a rectifier behind a convolution": lambda net: net.insert(1, spconv.ReLU()),
    "a pooling behind a rectifier": lambda net: net.extend(
        [spconv.LeakyReLU(0.1), spconv.SparseMaxPool2d(2)]
    ),
    "no rectifier any more": lambda net: net.__delitem__(3),
    "another in its place": lambda net: net.__setitem__(3, spconv.Tanh()),
    "a normalization between them": lambda net: net.insert(3, spconv.BatchNorm(3).eval()),
    "a normalization instead": lambda net: net.__setitem__(2, spconv.BatchNorm(3).eval()),
    "a slice of others": lambda net: net.__setitem__(
        slice(1, 3), [spconv.SparseAvgPool2d(2), spconv.ReLU(), spconv.SparseMaxPool2d(2)]
    ),
    "all but the last": lambda net: net.__delitem__(slice(0, -1)),
    "a dropout in evaluation": lambda net: net.insert(1, spconv.BatchwiseDropout(0.5).eval()),
    "nothing": lambda net: net.__delitem__(slice(None)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_computed_together_follows_a_change(change, frozen):
    one, two, three = make()
    net, x = spconv.SparseSequential(one, two, three, spconv.ReLU()), example()
    net(x)
    CHANGES[change](net)
    expected = one_by_one(net, x)
    if frozen:
        net = spconv.inference.freeze(net)
    np.testing.assert_allclose(net(x).dense().data, expected.dense().data, rtol=1e-5, atol=1e-6)


def test_channels_to_drop_follow_a_change():
    net = spconv.SparseSequential(*make(3, 8, 4))
    net.insert(1, spconv.BatchwiseDropout(0.5))
    y = net.seed(0)(example())
    assert y.num_channels == 4
    dropped = net.seed(0)[:2](example()).features.data
    assert ((dropped == 0).all(0)).sum() == 4


def test_a_residual_is_added_by_the_layer_that_is_last_now():
    x = example()
    branch = spconv.SparseSequential(*make(3, 3))
    for change in (
        lambda: branch.append(spconv.ReLU()),
        lambda: branch.append(make(3, 3)[0]),
        lambda: branch.__delitem__(-1),
    ):
        change()
        total = spconv.layers.residual_sum(branch, x, x, negative_slope=0.0)
        expected = spconv.functional.relu(x + one_by_one(branch, x))
        np.testing.assert_allclose(total.features.data, expected.features.data, rtol=1e-6)


def names(net):
    return list(net.state_dict())


def test_names_are_positions():
    one, two, three = make()
    net = spconv.SparseSequential(one)
    assert net.append(two) is net
    assert names(net) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert net.insert(1, spconv.ReLU()) is net
    assert names(net) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net.extend(iter([three, spconv.ReLU()])) is net
    assert names(net)[-2:] == ["3.weight", "3.bias"]
    del net[:2]
    assert names(net) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert net[0] is two
    assert net[1] is three
    again = spconv.SparseSequential(*make(3, 3, 3), spconv.ReLU())
    again.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(again[1].weight.data, three.weight.data)


def test_positions_from_the_end():
    one, two, three = make()
    net = spconv.SparseSequential(one, two)
    assert (net[-1], net[-2]) == (two, one)
    net[-1] = three
    assert list(net) == [one, three]
    net[-2] = two
    assert list(net) == [two, three]
    net.insert(-1, one)
    assert list(net) == [two, one, three]
    net.insert(3, one)
    net.insert(np.int64(0), three)
    assert list(net) == [three, two, one, three, one]
    del net[-2]
    assert list(net) == [three, two, one, one]


def test_slices_are_sequences_of_the_same_layers():
    one, two, three = make()
    net = spconv.SparseSequential(one, two, three)
    part = net[::-1]
    assert isinstance(part, spconv.SparseSequential)
    assert list(part) == [three, two, one]
    del part[0]
    assert list(net) == [one, two, three], "the layers are shared, the list is not"
    net[1:] = spconv.SparseSequential(three)
    assert list(net) == [one, three]
    assert len(net.extend(net)) == 4


def test_attributes_of_a_sequence_of_ones_own_stay():
    class Net(spconv.SparseSequential):
        def __init__(self):
            super().__init__(*make(3, 3))
            self.head = spconv.Linear(3, 2)

    net = Net()
    net.insert(0, spconv.ReLU())
    assert names(net) == ["1.weight", "1.bias", "head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda net: net[2], IndexError, r"expected a position in -2\.\.1 of 2 layers, got 2"),
        (lambda net: net[-3], IndexError, r"expected a position in -2\.\.1 of 2 layers, got -3"),
        (lambda net: net.__setitem__(2, net[0]), IndexError, r"-2\.\.1 of 2 layers, got 2"),
        (lambda net: net.__delitem__(5), IndexError, r"-2\.\.1 of 2 layers, got 5"),
        (lambda net: net.insert(3, net[0]), IndexError, r"-2\.\.2 of 2 layers, got 3"),
        (lambda net: net["0"], TypeError, "a position must be an int or a slice, got str"),
        (lambda net: net.__delitem__(1.0), TypeError, "must be an int or a slice, got float"),
        (lambda net: net.append(np.tanh), TypeError, r"layer 2 must be a Module, got numpy\.ufunc"),
        (lambda net: net.append([net[0]]), TypeError, "layer 2 .* got list; give them one by one"),
        (lambda net: net.insert(1, None), TypeError, "layer 1 must be a Module, got NoneType"),
        (lambda net: net.__setitem__(-1, 3), TypeError, "layer -1 must be a Module, got int"),
        (lambda net: net.extend([net[0], 3]), TypeError, "layer 3 must be a Module, got int"),
        (
            lambda net: net.extend(net[0]),
            TypeError,
            "expected an iterable of layers, got SubMConv2d",
        ),
        (lambda net: net.__setitem__(slice(1), net[0]), TypeError, "iterable of layers, got SubMC"),
        (
            lambda net: spconv.SparseSequential([*net]),
            TypeError,
            r"layer 0 .* list; .* as \*layers",
        ),
    ],
)
def test_what_is_no_change(call, error, message):
    net = spconv.SparseSequential(*make(3, 3, 3))
    before = list(net)
    with pytest.raises(error, match=f"^SparseSequential: .*{message}"):
        call(net)
    assert list(net) == before
