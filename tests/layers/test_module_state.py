"""States of a module: dtypes, parts of them, and what may stand in a parameter's place."""

import numpy as np
import pytest

import spconv


def make():
    rng = np.random.default_rng(0)
    return spconv.SparseSequential(
        spconv.SubMConv2d(1, 4, 3, rng=rng),
        spconv.BatchNorm(4),
        spconv.SubMConv2d(4, 2, 3, rng=rng),
    )


def example(dtype):
    image = np.zeros((1, 1, 8, 8), dtype)
    image[0, 0, np.arange(8), np.arange(8)] = 1
    return spconv.from_dense(image, ground_state=[0.0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, "float64"])
def test_a_network_is_converted(dtype):
    net = make()
    net[0].weight.grad = np.ones(net[0].weight.shape, np.float32)
    assert net.astype(dtype) is net
    assert {array.dtype for array in net.state_dict().values()} == {np.dtype(dtype)}
    assert net[0].weight.grad is None
    y = net(example(dtype))
    assert y.features.dtype == np.dtype(dtype)
    np.testing.assert_allclose(
        y.features.data, make()(example(np.float32)).features.data, rtol=1e-4, atol=1e-5
    )


def test_statistics_of_half_precision_stay_single():
    net = make().astype(np.float16)
    assert net[0].weight.dtype == net[1].weight.dtype == np.float16
    assert net[1].running_mean.dtype == net[1].running_var.dtype == np.float32


def test_a_part_of_a_state_is_named_as_one_and_taken_over_so():
    net, other = make(), make()
    part = {"0.weight": np.zeros(net[0].weight.shape, np.float32)}
    with pytest.raises(ValueError, match=r"missing 0\.bias.*\{\*\*net\.state_dict\(\), \*\*part"):
        net.load_state_dict(part)
    net.load_state_dict({**net.state_dict(), **part})
    assert not net[0].weight.data.any()
    np.testing.assert_array_equal(net[2].weight.data, other[2].weight.data)


def test_a_result_does_not_take_a_parameters_place():
    net = make()
    with pytest.raises(TypeError, match="weight is a Parameter, got Tensor; assign"):
        net[0].weight = net[0].weight * 0.5
    net[0].weight = spconv.Tensor(net[0].weight.data)  # frozen
    assert "0.weight" not in net.state_dict()
