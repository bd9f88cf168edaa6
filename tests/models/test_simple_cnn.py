"""The dense baseline: sizes, gradients, errors."""

import numpy as np
import pytest

import spconv
from spconv import Tensor, functional
from spconv.models import SimpleCNN
from spconv.testing import check_gradients, randomize


@pytest.mark.parametrize(("size", "left"), [(16, 1), (28, 4), (64, 13)])
def test_sizes(size, left):
    net = SimpleCNN(3, 10, field=size, width=4, hidden=6)
    assert net(Tensor(np.zeros((2, 3, size, size), np.float32))).shape == (2, 10)
    shapes = [parameter.shape for parameter in net.parameters()]
    assert shapes == [
        (25, 3, 4),
        (4,),
        (25, 4, 8),
        (8,),
        (8 * left**2, 6),
        (6,),
        (6, 10),
        (10,),
    ]


def test_default_network():
    net = SimpleCNN(1, 10)
    assert net[0].weight.shape == (25, 1, 32)
    assert net[-1].weight.shape == (128, 10)
    assert [layer.p for layer in net if isinstance(layer, spconv.Dropout)] == [0.5]
    same, other = SimpleCNN(1, 10), SimpleCNN(1, 10, seed=1)
    np.testing.assert_array_equal(net[0].weight.data, same[0].weight.data)
    assert (net[0].weight.data != other[0].weight.data).any()


def test_gradients():
    rng = np.random.default_rng(0)
    net = SimpleCNN(2, 3, field=16, width=2, hidden=5).eval()
    parameters = randomize(net, rng, scale=0.3)
    x = Tensor(rng.standard_normal((2, 2, 16, 16)), requires_grad=True)
    check_gradients(
        lambda: functional.cross_entropy(net(x), [0, 2]), {"x": x, **parameters}, rng=rng
    )


@pytest.mark.parametrize("field", [12, 15, 27, 30])
def test_fields_that_the_poolings_do_not_tile(field):
    message = f"a multiple of 4, got {field}" if field > 16 else f"at least 16, got {field}"
    with pytest.raises(ValueError, match=f"SimpleCNN: field must be {message}"):
        SimpleCNN(1, 10, field=field)


def test_wrong_inputs():
    net = SimpleCNN(1, 10)
    with pytest.raises(ValueError, match="Conv2d: expected 1 input channels, got"):
        net(Tensor(np.zeros((2, 3, 28, 28), np.float32)))
    with pytest.raises(ValueError, match=r"Conv2d: expected \(batch_size, C, \*spatial_shape\)"):
        net(Tensor(np.zeros((1, 28, 28), np.float32)))
    with pytest.raises(TypeError, match="Conv2d: expected a Tensor, got SparseConvTensor"):
        net(spconv.from_dense(np.ones((1, 1, 28, 28), np.float32)))
