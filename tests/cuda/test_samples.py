"""Global pooling of the GPU engine against the specification: emulated, or on a GPU."""

import numpy as np
import pytest
from fake_cupy import COPIES, RawKernel

import spconv
from spconv.dtypes import math_type
from spconv.geometry import Geometry
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.sites import SiteSet
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)


@pytest.fixture
def ops(cupy):
    return CudaOps()


def sites(kind="shuffled", batch_size=4):
    """Sample 1 is empty, 2 has one site, the others a few hundred."""
    rng = np.random.default_rng(3)
    full = rng.random((batch_size, 30, 20)) < 0.5
    full[1] = False
    full[2] = np.arange(600).reshape(30, 20) == 77
    indices = np.argwhere(full if kind != "none" else full[:0]).astype(np.int32)
    if kind == "shuffled":
        indices = rng.permutation(indices)
    return SiteSet(np.ascontiguousarray(indices), (30, 20), batch_size)


def features(dtype, rows, channels):
    """Few values, so that there are ties; NaN and infinities among them."""
    x = np.random.default_rng(0).integers(-5, 3, (rows, channels)).astype(dtype)
    x[::17, 0], x[3::29, -1], x[5::23, 0] = -np.inf, np.nan, np.inf
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", ["shuffled", "sorted", "none"])
@pytest.mark.parametrize("channels", [1, 33])
def test_max(ops, dtype, kind, channels):
    where = sites(kind)
    x = features(dtype, len(where), channels)
    y, winner = ops.max_samples(ops.xp.asarray(x), where)
    expected, expected_winner = SPECIFICATION.max_samples(x, where)
    assert (y.dtype, winner.dtype) == (dtype, np.int64)
    np.testing.assert_array_equal(y.get(), expected)
    np.testing.assert_array_equal(winner.get(), expected_winner)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    dx = ops.max_samples_gradient(ops.xp.asarray(dy), winner, len(where))
    expected = SPECIFICATION.max_samples_gradient(dy, expected_winner, len(where))
    np.testing.assert_array_equal(dx.get(), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", ["shuffled", "sorted", "none"])
@pytest.mark.parametrize("channels", [1, 33])
def test_sums(ops, dtype, kind, channels):
    where = sites(kind)
    x = np.random.default_rng(0).standard_normal((len(where), channels)).astype(dtype)
    y = ops.sum_samples(ops.xp.asarray(x), where)
    expected = SPECIFICATION.sum_samples(x.astype(np.float64), where)
    assert y.dtype == math_type(dtype)
    assert_close(y.get(), expected, tolerance(dtype, 1 if dtype != "float64" else 300), "sums")
    np.testing.assert_array_equal(ops.sample_counts(where).get(), where.rows_per_sample)
    back = ops.spread_samples(y, where)
    np.testing.assert_array_equal(back.get(), SPECIFICATION.spread_samples(y.get(), where))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", ["shuffled", "sorted", "none"])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_group_norm(cupy, dtype, kind, groups):
    where, rng = sites(kind), np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((len(where), 6), 6, 6)]
    gradient, results = rng.standard_normal((len(where), 6)).astype(dtype), []
    for xp, kind in ((np, np.float64), (cupy, dtype)):
        tensors = [spconv.Tensor(xp.asarray(a.astype(kind)), requires_grad=True) for a in arrays]
        zeros = np.zeros(arrays[0].shape, np.float32)
        x = spconv.SparseConvTensor(zeros, where.indices, where.spatial_shape, where.batch_size)
        x = x.derive(tensors[0], None)
        y = spconv.functional.group_norm(x, groups, *tensors[1:], 0.1).features
        y.backward(xp.asarray(gradient.astype(kind)))
        results.append([y.data, *(tensor.grad for tensor in tensors)])
    for actual, expected in zip(*reversed(results), strict=True):
        assert actual.dtype == dtype
        assert_close(actual.get(), expected, tolerance(dtype, 600))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(700, 3), (700, 33), (0, 3), (7, 0)])
def test_rows_that_go_to_one_place(ops, dtype, shape):
    """Of many, of one and of no rows; no atomic addition, whose order is another every time."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    places = np.where(rng.random(len(x)) < 0.5, 2, rng.integers(0, 40, len(x)))
    places[places == 5] = 4
    y = ops.scatter_add(ops.xp.asarray(x), ops.xp.asarray(places), 41)
    expected = SPECIFICATION.scatter_add(x.astype(np.float64), places, 41)
    assert y.dtype == math_type(dtype)
    assert_close(y.get(), expected, tolerance(dtype, 1 if dtype != "float64" else 300), "sums")
    assert not y.get()[[5, 40]].any()


def test_one_large_sample_is_cut_into_parts(ops, monkeypatch):
    where = sites("sorted")
    x = features("float32", len(where), 3)
    monkeypatch.setattr("spconv.ops.cuda.samples.ROWS_PER_PART", 16)
    for limit in (2, 256):
        monkeypatch.setattr("spconv.ops.cuda.samples.MAX_PARTS", limit)
        y, winner = ops.max_samples(ops.xp.asarray(x), where)
        expected = SPECIFICATION.max_samples(x, where)
        np.testing.assert_array_equal(y.get(), expected[0])
        np.testing.assert_array_equal(winner.get(), expected[1])
        z = np.nan_to_num(x, posinf=1, neginf=2)
        sums = ops.sum_samples(ops.xp.asarray(z), where)
        np.testing.assert_array_equal(sums.get(), SPECIFICATION.sum_samples(z, where))


def test_coordinates(ops):
    for where in (sites("shuffled"), sites("none")):
        made = ops.build_rulebook(where, Geometry.make(2, 3, 2), "test").out_sites
        expected = SPECIFICATION.build_rulebook(where, Geometry.make(2, 3, 2), "test").out_indices
        columns = [column.get() for column in made.columns(ops.xp)]
        np.testing.assert_array_equal(np.stack(columns, axis=1), expected)
        np.testing.assert_array_equal(np.stack(made.columns(np), axis=1), expected)


def test_grids_of_sites_that_the_device_made(emulated):
    ops, where = CudaOps(), sites("sorted")
    book = ops.build_rulebook(where, Geometry.make(2, 2, 2), "test")
    expected = SPECIFICATION.build_rulebook(where, Geometry.make(2, 2, 2), "test")
    values = np.random.default_rng(0).standard_normal((len(book.out_sites), 3))
    features = spconv.Tensor(ops.xp.asarray(values), requires_grad=True)
    x = spconv.SparseConvTensor(
        np.ones((len(where), 3), np.float32), where.indices, (30, 20), 4
    ).to("cuda")
    before = COPIES["to_host"]
    y = x.derive(features, None, book.out_sites).dense()
    y.backward(y.data)
    assert COPIES["to_host"] == before
    x = spconv.SparseConvTensor(values, expected.out_indices, (15, 10), 4)
    np.testing.assert_array_equal(y.data.get(), x.dense().data)
    np.testing.assert_array_equal(features.grad.get(), values)


def test_pooled_sites_of_the_device_stay_there(emulated):
    """One count for the rulebook, and nothing after it, forward and backward."""
    where = sites("sorted")
    x = spconv.SparseConvTensor(
        np.ones((len(where), 3), np.float32), where.indices, (30, 20), 4
    ).to("cuda")
    ops = CudaOps()
    book = ops.build_rulebook(x.sites, Geometry.make(2, 2, 2), "test")
    features = spconv.Tensor(ops.xp.ones((len(book.out_sites), 3), np.float32), requires_grad=True)
    pooled = x.derive(features, None, book.out_sites)
    RawKernel.launches.clear()
    before = COPIES["to_host"]
    y = spconv.functional.global_avg_pool(pooled) + spconv.functional.global_max_pool(pooled)
    y.backward(ops.xp.ones(y.shape, np.float32))
    assert COPIES["to_host"] == before
    assert "keys" not in vars(book.out_sites)
    assert features.grad.shape == features.shape
