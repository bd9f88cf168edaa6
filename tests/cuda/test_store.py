"""Rulebooks built in array code and by kernels: the arrays of the compiled builder."""

import gc
import itertools
import weakref

import numpy as np
import pytest
from fake_cupy import COPIES, RawKernel
from hypothesis import given
from hypothesis import strategies as st

import spconv
from spconv.geometry import Geometry
from spconv.ops.cuda import CudaOps, kernel_store
from spconv.ops.cuda.kernel_store import KernelRulebookStore
from spconv.ops.cuda.store import RulebookStore
from spconv.rulebook import build
from spconv.sites import SiteSet

STORE = RulebookStore(np)


def some_sites(shape, batch_size=2, density=0.4, seed=0, sort=False):
    rng = np.random.default_rng(seed)
    indices = np.argwhere(rng.random((batch_size, *shape)) < density).astype(np.int32)
    indices = indices if sort else rng.permutation(indices)
    return SiteSet(np.ascontiguousarray(indices), shape, batch_size)


def on_host(array):
    return array.get() if hasattr(array, "get") else array


def check_equal(actual, expected):
    """All arrays of two rulebooks, of their inverses, and of what can be asked of them."""
    for one, two in ((actual, expected), (actual.inverse, expected.inverse)):
        for name in ("offset_starts", "in_rows", "out_rows", "table", "pairs_per_output"):
            value, reference = on_host(getattr(one, name)), getattr(two, name)
            assert value.dtype == reference.dtype, name
            np.testing.assert_array_equal(value, reference, name)
        assert one.num_pairs == two.num_pairs
        assert one.volume == two.volume
        for sites, reference in ((one.in_sites, two.in_sites), (one.out_sites, two.out_sites)):
            assert len(sites) == len(reference)
            assert sites.same_as(reference)
            np.testing.assert_array_equal(sites.keys, reference.keys)
    assert actual.inverse.inverse is actual


@st.composite
def cases(draw):
    ndim = draw(st.integers(1, 4))
    small = st.integers
    kind = draw(st.sampled_from(["regular", "submanifold", "transposed"]))
    each = lambda low, high: draw(st.tuples(*[small(low, high)] * ndim))  # noqa: E731
    kernel, dilation = each(1, 3), each(1, 2)
    submanifold = kind == "submanifold"
    stride = (1,) * ndim if submanifold else each(1, 3)
    geometry = Geometry.make(
        ndim,
        kernel,
        stride,
        0 if submanifold else each(0, 2),
        dilation,
        submanifold=submanifold,
        transposed=kind == "transposed",
    )
    shape = each(1, 7 if ndim < 3 else 4)
    sites = some_sites(
        shape, draw(small(0, 3)), draw(st.sampled_from([0.0, 0.3, 1.0])), draw(small(0, 99)),
        draw(st.booleans()),
    )  # fmt: skip
    return sites, geometry


def is_possible(sites, geometry):
    try:
        geometry.output_shape(sites.spatial_shape)
    except ValueError:
        return False
    return True


@given(cases())
def test_array_code(case):
    sites, geometry = case
    if is_possible(sites, geometry):
        check_equal(STORE.build(sites, geometry, "test"), build(sites, geometry, "test"))


GEOMETRIES = [
    *(Geometry.make(ndim, 3, submanifold=True) for ndim in (1, 2, 3, 4)),
    Geometry.make(2, (2, 3), dilation=(2, 1), submanifold=True),
    Geometry.make(3, 2, 2),
    Geometry.make(2, 3, 2, 1),
    Geometry.make(2, 3, 1, 2, 2),
    Geometry.make(1, 3, 3),
    Geometry.make(3, 2, 2, transposed=True),
    Geometry.make(2, 3, (2, 1), 1, 2, transposed=True, output_padding=1),
]


@pytest.mark.parametrize("cells", [0, spconv.sites.BITMAP_CELLS_ALWAYS], ids=["keys", "bits"])
@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("density", [0.0, 0.35])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_kernels(cupy, geometry, density, sort, cells, monkeypatch):
    """Whether outputs are found by a bit for each cell or by sorting their keys."""
    monkeypatch.setattr(spconv.sites, "BITMAP_CELLS_ALWAYS", cells)
    monkeypatch.setattr(spconv.sites, "BITMAP_CELLS_PER_SITE", 0)
    monkeypatch.setattr(kernel_store, "BITMAP_CELLS", cells)
    sites = some_sites((6, 7, 5, 3)[: geometry.ndim], density=density, sort=sort)
    RawKernel.launches.clear()
    book = KernelRulebookStore(cupy).build(sites, geometry, "test")
    check_equal(book, build(sites, geometry, "test"))
    if density and hasattr(cupy, "emulated"):
        assert "lookup" in RawKernel.launches
        for kernel, used in (("mark_cells", cells > 0), ("candidate_keys", cells == 0)):
            assert (kernel in RawKernel.launches) == (used and not geometry.submanifold)


@pytest.mark.parametrize("shape", [(40, 700), (3, 3, 3, 2000), (31,)])
def test_more_cells_than_a_block_has(cupy, shape):
    """One block of threads has 8,192 cells."""
    sites = some_sites(shape, density=0.03)
    geometry = Geometry.make(len(shape), 3, 2, 1)
    book = KernelRulebookStore(cupy).build(sites, geometry, "test")
    check_equal(book, build(sites, geometry, "test"))


def test_a_rulebook_of_the_host_is_uploaded_once(cupy):
    book = build(some_sites((9, 7)), Geometry.make(2, 3, 2), "test")
    store = KernelRulebookStore(cupy)
    for one in (book, book.inverse):
        np.testing.assert_array_equal(store.table(one).get(), one.table.T)
        in_rows, out_rows = store.pairs(one)
        np.testing.assert_array_equal(in_rows.get(), one.in_rows)
        np.testing.assert_array_equal(out_rows.get(), one.out_rows)
        assert store.pairs(one)[0] is in_rows
    kept = weakref.ref(in_rows)
    del in_rows, out_rows, one, book
    gc.collect()
    assert kept() is None, "the copy outlives its rulebook"


@pytest.mark.parametrize("geometry", [GEOMETRIES[1], GEOMETRIES[6]], ids=str)
def test_one_copy_to_the_host(emulated, geometry):
    """Building, both directions, and the next layer on the output's sites."""
    store = KernelRulebookStore(emulated)
    sites = some_sites((9, 7))
    before = COPIES["to_host"]
    book = store.build(sites, geometry, "test")
    store.pairs(book), store.table(book), store.table(book.inverse), store.pairs(book.inverse)
    assert COPIES["to_host"] == before + 1
    store.build(book.out_sites, Geometry.make(2, 3, submanifold=True), "test")
    assert COPIES["to_host"] == before + 2


def test_sites_far_apart():
    """Keys near the largest that a grid may have."""
    shape = (2**29, 2**30)
    indices = list(itertools.product(range(2), (0, 5, 2**29 - 1), (0, 7, 2**30 - 1)))
    sites = SiteSet(np.array(indices, np.int32), shape, 2)
    for geometry in (GEOMETRIES[1], GEOMETRIES[5 + 1]):
        check_equal(STORE.build(sites, geometry, "test"), build(sites, geometry, "test"))


def test_errors_are_those_of_the_host(cupy):
    sites = some_sites((3, 3))
    for builder in (build, CudaOps().build_rulebook):
        with pytest.raises(ValueError, match="SparseConv2d: the output would have size -1"):
            builder(sites, Geometry.make(2, 5), "SparseConv2d")


def test_a_cache_asks_the_engine_that_the_features_live_on():
    calls = []

    def builder(*arguments):
        calls.append(arguments)
        return build(*arguments)

    x = spconv.from_dense(np.eye(4)[None, None])
    geometry = Geometry.make(2, 3, submanifold=True)
    book = x.rulebooks.get(x.sites, geometry, "test", builder=builder)
    assert x.rulebooks.get(x.sites, geometry, "test", builder=builder) is book
    assert calls == [(x.sites, geometry, "test")]
