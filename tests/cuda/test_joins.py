"""Joins of tensors on different sites, with sites that the device made: emulated, or on a GPU."""

import numpy as np
import pytest
from fake_cupy import COPIES

import spconv
from spconv.ops.cuda.rulebook import DeviceSites
from spconv.testing import assert_close, tolerance

add, concat = spconv.functional.add, spconv.functional.concat


def branches(device, ground):
    """Two tensors on half the resolution that share some sites, and the input's features."""
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((3, 12, 10)) < 0.2)).astype(np.int32)
    features = spconv.Tensor(rng.standard_normal((len(indices), 2)), requires_grad=True)
    state = spconv.Tensor(rng.standard_normal(2), requires_grad=True) if ground else None
    x = spconv.SparseConvTensor(features, np.ascontiguousarray(indices), (12, 10), 3, state)
    x = x.to(device)
    rng = np.random.default_rng(1)
    one = spconv.SparseConv2d(2, 4, 2, 2, rng=rng)
    two = spconv.SparseConv2d(2, 4, (3, 2), 2, (1, 0), rng=rng)
    for layer in (one, two):
        for parameter in layer.parameters():
            parameter.data = parameter.data.astype(np.float64)
        layer.to(device)
    return one(x), two(x), features, state


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("join", [add, lambda x, y, union: concat([x, y], union=union)])
def test_unions(cupy, join, ground):
    results = []
    for device in ("cpu", "cuda"):
        one, two, features, state = branches(device, ground)
        before = COPIES["to_host"]
        joined = join(one, two, union=True)
        if device == "cuda":
            assert isinstance(joined.sites, DeviceSites)
            assert "keys" not in vars(joined.sites) | vars(one.sites) | vars(two.sites)
            if hasattr(cupy, "emulated"):
                assert COPIES["to_host"] - before <= 2  # are they the same? not of equal length
        gradient = np.random.default_rng(2).standard_normal(joined.features.shape)
        joined.features.backward(gradient if device == "cpu" else cupy.asarray(gradient))
        grads = [tensor.grad for tensor in (features, state) if tensor is not None]
        results.append((joined.features.numpy(), joined.indices, *map(np.asarray, grads)))
    for expected, actual in zip(*results, strict=True):
        assert_close(actual, expected, tolerance("float64", 100))


def test_same_sites_of_the_device(cupy):
    one, two, *_ = branches("cuda", False)
    again, *_ = branches("cuda", False)
    assert one.sites is not again.sites
    assert one.sites.same_as(again.sites)
    assert not one.sites.same_as(two.sites)
    host, *_ = branches("cpu", False)
    assert one.sites.same_as(host.sites)
    assert host.sites.same_as(one.sites)
    np.testing.assert_array_equal((one + again).features.numpy(), 2 * one.features.numpy())


def check_in_front_of_a_convolution(operation, ground):
    """What comes of it on the device, gradients too, is what comes of it on the host."""
    results = []
    for device in ("cpu", "cuda"):
        one, two, features, _ = branches(device, ground)
        conv = spconv.SubMConv2d(4, 3, 3, rng=np.random.default_rng(2)).to(device)
        y = conv(operation(one, two))
        y.features.sum().backward()
        results.append((y.indices, y.dense().numpy(), features.grad, conv.weight.grad))
    bound = 64 * tolerance("float32", 1000)
    for actual, expected in zip(*reversed(results), strict=True):
        assert_close(getattr(actual, "get", lambda a=actual: a)(), expected, bound)


@pytest.mark.parametrize("of_the_device", [True, False])
@pytest.mark.parametrize("ground", [True, False])
def test_pruned_sites(cupy, ground, of_the_device):
    """Of sites that the device made, by a mask of the device or of the host; then a convolution."""

    def pruned(one, two):
        keep = one.features[:, 0] > 0
        if one.device == "cuda" and not of_the_device:
            keep = keep.get()
        return spconv.functional.prune(one, keep)

    check_in_front_of_a_convolution(pruned, ground)


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("of_a_tensor", [True, False])
def test_on_given_sites(cupy, ground, of_a_tensor):
    """Sites of the device's, of the host's, and back to the device's."""

    def asked_for(one, two):
        return spconv.functional.on_sites(one, two if of_a_tensor else two.indices[::2])

    check_in_front_of_a_convolution(asked_for, ground)


def test_pruned_float16(cupy):
    x = branches("cuda", False)[0]
    half = spconv.Tensor(x.features.data.astype(np.float16), requires_grad=True)
    y = spconv.functional.prune(x.derive(half, None), half[:, 1] > 0)
    y.features.sum().backward()
    assert y.features.dtype == half.grad.dtype == np.float16
    np.testing.assert_array_equal(half.grad.get()[:, 0], half.data.get()[:, 1] > 0)


def test_sums_of_two_devices_are_refused(cupy):
    x, y, *_ = branches("cpu", ground=False)
    for options in ({}, {"union": True}, {"negative_slope": 0.0}):
        other = y if options.get("union") else x
        with pytest.raises(TypeError, match="add: expected all on one device, got cuda and cpu"):
            add(x.to("cuda"), other, **options)
