"""SparseConvTensor: its checks, and the ways from and to dense grids and scipy matrices."""

import copy
import pickle
import re

import numpy as np
import pytest

import spconv
from spconv import Parameter, SparseConvTensor, Tensor, from_dense, from_scipy
from spconv.sites import read_only
from spconv.tensor import KeptChannels
from spconv.testing import assert_sparse_equal, check_gradients, random_sparse_tensor

SITES = [[0, 1, 2], [1, 0, 0], [0, 3, 4]]


def make(features=None, indices=SITES, spatial_shape=(4, 5), batch_size=2, ground=None, **options):
    features = np.ones((len(indices), 2), np.float32) if features is None else features
    return SparseConvTensor(features, indices, spatial_shape, batch_size, ground, **options)


def test_attributes():
    x = make(ground=[1.0, 2.0])
    assert isinstance(x.features, Tensor)
    assert (x.indices.dtype, x.indices.tolist()) == (np.int32, SITES)
    assert (x.spatial_shape, x.batch_size, x.ndim, x.num_channels) == ((4, 5), 2, 2, 2)
    assert (len(x), x.device) == (3, "cpu")
    assert (x.ground_state.dtype, x.ground_state.data.tolist()) == (np.float32, [1, 2])
    assert make().ground_state is None
    assert repr(x) == (
        "SparseConvTensor(3 sites, 2 channels, batch_size=2, spatial_shape=(4, 5), float32, "
        "with ground state)"
    )


def test_tensors_are_taken_as_they_are():
    features, ground = Parameter(np.ones((3, 2))), Parameter(np.zeros(2))
    x = make(features, ground=ground)
    assert x.features is features
    assert x.ground_state is ground


def test_indices_are_read_only():
    indices = np.array(SITES, np.int32)
    with pytest.raises(ValueError, match="read-only"):
        make(indices=indices).indices[0, 0] = 1
    indices[0, 0] = 1  # the caller's array is not


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": np.ones((3, 2), int)}, TypeError, "floating point array, got dtype int64"),
        ({"features": np.ones((3, 2), np.float16)}, TypeError, "float32 or float64, got float16"),
        ({"features": np.ones((2, 2))}, ValueError, "N = 3 sites, got shape (2, 2)"),
        ({"features": np.ones(3)}, ValueError, "N = 3 sites, got shape (3,)"),
        ({"indices": np.ones((3, 3))}, TypeError, "indices must be integers, got dtype float64"),
        ({"indices": [[0, 1]] * 3}, ValueError, "1 + ndim = 3 columns (batch, then coordinates)"),
        ({"indices": [[0, 1, 2]] * 3}, ValueError, "(0, 1, 2) is given twice, in indices rows 0"),
        ({"indices": [[0, 1, 5], *SITES[1:]]}, ValueError, "indices row 0 is (0, 1, 5), outside"),
        ({"indices": [*SITES[:2], [2, 1, 1]]}, ValueError, "indices row 2 is (2, 1, 1), outside"),
        ({"indices": [[0, -1, 1], *SITES[1:]]}, ValueError, "coordinates must be >= 0"),
        ({"indices": [[0, 1, 2**32], *SITES[1:]]}, ValueError, "must fit in int32, got 0 to 4294"),
        ({"spatial_shape": (4, 5, 6)}, ValueError, "1 + ndim = 4 columns"),
        ({"spatial_shape": (4, 0)}, ValueError, "spatial_shape must hold extents >= 1"),
        ({"spatial_shape": 20}, TypeError, "spatial_shape must be a sequence of ints"),
        ({"spatial_shape": (2**31, 2**31)}, ValueError, "cells, more than the"),
        ({"spatial_shape": (2**31 + 1, 4)}, ValueError, "an extent above 2147483648"),
        ({"batch_size": -1}, ValueError, "batch_size must be >= 0, got -1"),
        ({"batch_size": 1}, ValueError, "indices row 1 is (1, 0, 0), outside batch_size 1"),
        ({"batch_size": 0}, ValueError, "indices row 0 is (0, 1, 2), outside batch_size 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size an int, got (4, 5) and 2.0"),
        ({"ground": [1.0]}, ValueError, "one entry per channel, shape (2,), got (1,)"),
        ({"ground": [[1.0, 2.0]]}, ValueError, "one entry per channel, shape (2,), got (1, 2)"),
        ({"ground": Tensor(np.ones(3))}, ValueError, "shape (2,), got (3,)"),
    ],
)
def test_constructor_refuses(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as info:
        make(**arguments)
    assert str(info.value).startswith(("SparseConvTensor: ", "Tensor: "))


def test_check_false_trusts_the_sites():
    twice = np.array([[0, 1, 2]] * 2, np.int32)
    assert len(make(indices=twice, check=False)) == 2
    with pytest.raises(ValueError, match="N = 2 sites"):  # costs nothing to look at
        make(np.ones((3, 2)), twice, check=False)


@pytest.mark.parametrize("batch_size", [0, 3])
@pytest.mark.parametrize("ground", [None, [5.0, 6.0]])
def test_no_sites(batch_size, ground):
    x = make(np.empty((0, 2)), [], batch_size=batch_size, ground=ground)
    assert x.indices.shape == (0, 3)
    dense = x.dense()
    assert dense.shape == (batch_size, 2, 4, 5)
    for channel in range(2):
        assert (dense.data[:, channel] == (0 if ground is None else ground[channel])).all()
    again = from_dense(dense, ground)
    assert_sparse_equal(again, x)


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 2), (2, 3, 2, 3)])
def test_dense_and_back(shape, ground):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, shape, 3, 2, ground=ground, shuffle=True, empty_samples=[1])
    dense = x.dense().data
    assert dense.shape == (3, 2, *shape)
    expected = np.zeros((3, 2, *shape))
    if ground:
        expected += x.ground_state.data.reshape(2, *[1] * len(shape))
    for site, row in zip(x.indices, x.features.data, strict=True):
        batch, *place = site
        expected[(batch, slice(None), *place)] = row
    np.testing.assert_array_equal(dense, expected)
    again = from_dense(dense, x.ground_state)
    order = np.lexsort(x.indices.T[::-1])
    in_order = make(x.features.data[order], x.indices[order], shape, 3, x.ground_state)
    assert_sparse_equal(again, in_order, tolerance=0)


@pytest.mark.parametrize("ground", [True, False])
def test_gradients_through_dense(ground):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (3, 4), ground=ground, shuffle=True, empty_samples=[1])
    inputs = {"features": Parameter(x.features.data)}
    if ground:
        inputs["ground"] = Parameter(x.ground_state.data)

    def dense():
        return make(inputs["features"], x.indices, (3, 4), 2, inputs.get("ground")).dense()

    check_gradients(dense, inputs, rng=rng)


def test_replace_feature():
    x = make(ground=[1.0, 2.0])
    y = x.replace_feature(np.zeros((3, 4)), np.ones(4))
    assert (y.num_channels, y.features.dtype, y.ground_state.data.tolist()) == (
        4,
        np.float64,
        [1, 1, 1, 1],
    )
    assert y.sites is x.sites
    assert y.rulebooks is x.rulebooks
    tensor = Parameter(np.ones((3, 2)))
    assert make().replace_feature(tensor).features is tensor
    assert make().replace_feature(tensor).ground_state is None
    assert make().replace_feature(tensor, [3.0, 4.0]).ground_state.data.tolist() == [3, 4]
    assert (x.features.data == 1).all()


@pytest.mark.parametrize(
    ("features", "ground", "error", "message"),
    [
        (np.ones((3, 2)), None, ValueError, "this tensor has a ground state; give the new one"),
        (np.ones((2, 2)), np.ones(2), ValueError, "N = 3 sites, got shape (2, 2)"),
        (np.ones((3, 2)), np.ones(3), ValueError, "shape (2,), got (3,)"),
        (np.ones((3, 2), int), np.ones(2), TypeError, "floating point"),
        (np.ones((3, 2), np.float16), np.ones(2), TypeError, "float32 or float64, got float16"),
    ],
)
def test_replace_feature_refuses(features, ground, error, message):
    with pytest.raises(error, match=re.escape(message)) as info:
        make(ground=[1.0, 2.0]).replace_feature(features, ground)
    assert str(info.value).startswith(("SparseConvTensor.replace_feature: ", "Tensor: "))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_that_of_the_features(dtype):
    x = make(np.ones((3, 2), dtype))
    assert x.dtype == dtype
    x.features = np.ones((3, 2), np.float64)
    assert x.dtype == np.float64


@pytest.mark.parametrize("ground", [None, [1.0, 2.0]])
def test_detached_values_are_constants(ground):
    features = spconv.Tensor(np.ones((3, 2)), requires_grad=True)
    x = make(features, ground=ground)
    y = spconv.Linear(2, 2)(x).detach()
    assert not y.features.requires_grad
    assert (y.ground_state is None) == (ground is None)
    assert ground is None or not y.ground_state.requires_grad
    assert y.sites is x.sites
    assert y.rulebooks is x.rulebooks
    assert x.detach().features.data is features.data
    dropped = spconv.functional.batchwise_dropout(make(), KeptChannels(np.array([1]), 2))
    assert dropped.detach().channels is dropped.channels


def test_to_cpu_is_the_identity():
    x = make(ground=[1.0, 2.0])
    assert x.to("cpu").features is x.features
    with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda', got 'tpu'"):
        x.to("tpu")


def test_dlpack_out_and_in():
    x = make(np.random.default_rng(0).standard_normal((3, 2)))
    features = np.from_dlpack(x.features)
    assert np.shares_memory(features, x.features.data)
    y = SparseConvTensor(features, x.indices, x.spatial_shape, x.batch_size)
    assert np.shares_memory(y.features.data, x.features.data)
    assert_sparse_equal(spconv.ReLU()(y), spconv.ReLU()(x), tolerance=0)


def test_the_ground_states_gradient_is_that_of_the_inactive_sites_alone():
    """Not a difference of two large sums, which has no digits left."""
    sites = np.argwhere(np.ones((1, 300, 300), bool))[3:].astype(np.int32)
    ground = Tensor(np.zeros(2, np.float32), requires_grad=True)
    x = SparseConvTensor(np.zeros((len(sites), 2), np.float32), sites, (300, 300), 1, ground)
    gradient = np.random.default_rng(0).random((1, 2, 300, 300), np.float32)
    x.dense().backward(gradient)
    np.testing.assert_allclose(ground.grad, gradient[0, :, 0, :3].sum(1), rtol=1e-6)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("kind", ["writeable", "a read-only view"])
def test_sites_are_copied(kind, check):
    """Kernels trust the range that was checked, whatever becomes of the array."""
    indices = np.array([[0, 1, 1], [0, 2, 2]], np.int32)
    given = indices if kind == "writeable" else read_only(indices)
    x = SparseConvTensor(np.ones((2, 1)), given, (4, 4), 1, check=check)
    indices[:] = 2**30
    assert x.indices.tolist() == [[0, 1, 1], [0, 2, 2]]


def test_copies_of_sites_cannot_be_written_to():
    x = from_dense(np.eye(3)[None, None])
    for copied in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        with pytest.raises(ValueError, match="read-only"):
            copied.indices[0] = 7


@pytest.mark.parametrize(("sample", "channel"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_to_scipy_of_what_is_not_there(sample, channel):
    with pytest.raises(IndexError, match=r"to_scipy: (sample|channel) must be in 0\.\.0, got"):
        from_dense(np.eye(3)[None, None]).to_scipy(sample, channel)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: from_dense(np.zeros((1, 1, 2, 2), np.uint8)),
            "from_dense: array must be a float",
        ),
        (
            lambda: SparseConvTensor(np.ones((1, 1), int), [[0, 0]], (2,), 1),
            "SparseConvTensor: features must be a floating point array, got dtype int64",
        ),
        (lambda: SparseConvTensor(None, [[0, 0]], (2,), 1), "features must be .* got NoneType"),
        (lambda: from_scipy([np.eye(2)]), "expected scipy.sparse matrices.* got list"),
    ],
)
def test_what_are_no_features(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_unchecked_sites_in_any_order_of_memory():
    indices = np.argwhere(np.eye(4)[None])  # Fortran's
    x = SparseConvTensor(np.ones((4, 1)), indices, (4, 4), 1, check=False)
    assert spconv.SubMConv2d(1, 1, 3)(x).indices.tolist() == indices.tolist()


def test_features_assigned_beside_a_ground_state_and_dropped_channels():
    x = make(ground=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"has a ground state, .* use x = x\.replace_feature"):
        x.features = np.ones((3, 2), np.float32)
    y = spconv.functional.batchwise_dropout(make(), KeptChannels(np.array([1]), 2))
    with pytest.raises(ValueError, match=r"1 of 2 channels are stored here, .* got 2"):
        y.features = np.ones((3, 2), np.float32)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([[0, 2**32 + 3, 0]], ValueError, "must fit in int32"),
        ([[0, 1.5, 0]], TypeError, "must be integers"),
        ([[0, np.nan, 0]], TypeError, "must be integers"),
        ([[0, 1]], ValueError, "3 columns"),
        ([[0, 1, 1, 1]], ValueError, "3 columns"),
        ([0, 1, 1], ValueError, "3 columns"),
        ([[0, 4, 0]], ValueError, r"row 0 is \(0, 4, 0\), outside"),
    ],
)
def test_all_but_a_site_given_twice_is_found_without_check_too(bad, error, message):
    with pytest.raises(error, match=message):
        SparseConvTensor(np.ones((1, 1)), np.array(bad), (4, 4), 1, check=False)


def test_a_site_given_twice_in_spite_of_a_promise_ends_in_an_error():
    """Pairs by output row have no place for it."""
    indices = [[0, 2, 1], [0, 1, 1], [0, 2, 1], [0, 1, 1]]
    x = SparseConvTensor(np.ones((4, 1), "float32"), indices, (4, 4), 1, check=False)
    with pytest.raises(ValueError, match="given twice; leave check=True"):
        spconv.SubMConv2d(1, 1, 3)(x)
    for layer in (spconv.SparseConv2d(1, 1, 3), spconv.SparseMaxPool2d(2)):
        assert np.isfinite(layer(x).features.data).all()


def test_rows_at():
    x = random_sparse_tensor(np.random.default_rng(0), (5, 4), shuffle=True)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(x.rows_at(x.indices[order]), order)
    assert x.rows_at(np.zeros((0, 3), int)).tolist() == []
    with pytest.raises(ValueError, match=r"rows_at: indices must have 1 \+ ndim = 3 columns"):
        x.rows_at([[1, 1]])
    with pytest.raises(TypeError, match="rows_at: indices must be integers"):
        x.rows_at([[0.0, 1.0, 1.0]])
