"""Site sets: keys, order, equality, and every complaint about the sites that a user gives."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv.sites as sites_module
from spconv.sites import SiteSet, checked_arguments


def make(indices, shape=(4, 5), batch_size=2):
    return SiteSet(np.array(indices, np.int32).reshape(-1, 1 + len(shape)), shape, batch_size)


SITES = [[1, 0, 3], [0, 2, 2], [0, 0, 4], [1, 3, 4]]


def test_keys_are_row_major_positions():
    sites = make(SITES)
    expected = np.ravel_multi_index(np.transpose(SITES), (2, 4, 5))
    np.testing.assert_array_equal(sites.keys, expected)
    assert sites.keys.dtype == np.int64
    assert sites.num_cells == 40
    assert sites.extents.tolist() == [2, 4, 5]
    assert (len(sites), sites.ndim) == (4, 2)


def test_order_sorts_by_batch_then_coordinates():
    sites = make(SITES)
    assert sites.order.tolist() == [2, 1, 0, 3]
    assert sites.sorted_indices.tolist() == sorted(SITES)
    assert make(sorted(SITES)).order is None
    assert make(sorted(SITES)).sorted_indices.tolist() == sorted(SITES)


@pytest.mark.parametrize("cells", [0, sites_module.BITMAP_CELLS_ALWAYS], ids=["sorted", "ranked"])
def test_order_of_many_sites(monkeypatch, cells):
    """By sorting, and by rank in a bitmap; with a site given twice only the former tells."""
    monkeypatch.setattr(sites_module, "BITMAP_CELLS_ALWAYS", cells)
    monkeypatch.setattr(sites_module, "BITMAP_CELLS_PER_SITE", 0)
    rng = np.random.default_rng(0)
    keys = rng.permutation(100 * 64 * 64)[:20_000]
    rows = np.stack(np.unravel_index(keys, (100, 64, 64)), axis=1)
    sites = make(rows, (64, 64), 100)
    np.testing.assert_array_equal(sites.order, np.argsort(keys))
    np.testing.assert_array_equal(sites.sorted_keys, np.sort(keys))
    np.testing.assert_array_equal(sites.sorted_indices, rows[np.argsort(keys)])
    assert sites.order.dtype == np.int64
    sites.check("Layer")
    with pytest.raises(ValueError, match="is given twice, in indices rows 7 and 20000"):
        make([*rows, rows[7]], (64, 64), 100).check("Layer")


def test_rows_per_sample_counts_empty_samples():
    sites = make(SITES, batch_size=4)
    assert sites.rows_per_sample.tolist() == [2, 2, 0, 0]
    assert sites.rows_per_sample.dtype == np.int64
    assert make([], batch_size=0).rows_per_sample.tolist() == []


@given(data=st.data(), ndim=st.integers(1, 6))
def test_keys_keep_the_order_of_the_sites(data, ndim):
    shape = tuple(data.draw(st.lists(st.integers(1, 2**9), min_size=ndim, max_size=ndim)))
    site = st.tuples(st.integers(0, 2), *(st.integers(0, n - 1) for n in shape))
    indices = data.draw(st.lists(site, unique=True, max_size=8))
    sites = make(indices, shape, 3)
    assert len(set(sites.keys.tolist())) == len(indices)
    assert [tuple(row) for row in sites.sorted_indices.tolist()] == sorted(indices)
    sites.check("Layer")


@pytest.mark.parametrize(
    "extents",
    [
        (1, 7),
        (100, 96, 96),
        (2, 1, 5, 11),
        (3,) * 9,
        (1, 2**31 - 1, 2**20 - 1),  # keys close below 2^51
        (2**17, 2**17, 2**17),
        (2**20, 2**20, 2**19 - 1),
    ],
)
def test_sites_of_keys(extents):
    rng, cells = np.random.default_rng(0), int(np.prod(extents, dtype=object))
    borders = np.arange(1, 9) * extents[-1] * (cells // extents[-1] // 9)
    near_2_51 = 2**51 + np.arange(-9, 9)
    keys = np.concatenate([rng.integers(0, cells, 500), borders - 1, borders, [0, cells - 1]])
    keys = np.unique(np.concatenate([keys, near_2_51[near_2_51 < cells]]).clip(0))
    for part in (keys, keys[: len(keys) // 2]):
        sites = SiteSet.of_keys(part, extents[1:], extents[0])
        np.testing.assert_array_equal(sites.indices, np.transpose(np.unravel_index(part, extents)))
        again = SiteSet(np.array(sites.indices), extents[1:], extents[0])
        np.testing.assert_array_equal(again.keys, part)


@given(data=st.data(), ndim=st.integers(1, 3))
def test_rows_at(data, ndim):
    shape = (3, 4, 2)[:ndim]
    anywhere = st.tuples(*(st.integers(-2, 5) for _ in range(1 + ndim)))
    inside = st.tuples(st.integers(0, 1), *(st.integers(0, n - 1) for n in shape))
    rows = data.draw(st.lists(inside, unique=True, max_size=8))
    wanted = data.draw(st.lists(st.one_of(anywhere, inside), max_size=12))
    found = make(rows, shape).rows_at(np.array(wanted, np.int32).reshape(-1, 1 + ndim))
    assert found.dtype == np.int64
    assert found.tolist() == [rows.index(site) if site in rows else -1 for site in wanted]


def test_same_as_compares_values():
    sites = make(SITES)
    assert sites.same_as(sites)
    assert sites.same_as(make(SITES))
    assert sites.same_as(SiteSet(sites.indices, (4, 5), 2))
    assert not sites.same_as(make(sorted(SITES)))  # the order counts
    assert not sites.same_as(make(SITES[:3]))
    for shape, batch_size in [((4, 6), 2), ((4, 5), 3)]:
        assert not sites.same_as(SiteSet(sites.indices, shape, batch_size))
        assert not sites.same_as(make(SITES, shape, batch_size))


def test_indices_are_read_only_and_the_users_array_is_not():
    indices = np.array(SITES, np.int32)
    sites = SiteSet(indices, (4, 5), 2)
    with pytest.raises(ValueError, match="read-only"):
        sites.indices[0, 0] = 1
    indices[0, 0] = 1


@pytest.mark.parametrize("row", [0, 2, 3])
@pytest.mark.parametrize("site", [(2, 0, 0), (-1, 0, 0), (0, 4, 0), (0, 0, 5), (0, -1, 0)])
def test_check_names_the_site_outside(row, site):
    indices = [list(s) for s in SITES]
    indices[row] = site
    message = f"Layer: indices row {row} is {site}, outside batch_size 2 x spatial_shape (4, 5)"
    with pytest.raises(ValueError, match=re.escape(message)):
        make(indices).check("Layer")


@pytest.mark.parametrize(
    ("rows", "first", "second"),
    [([0, 1, 2, 1], 1, 3), ([2, 2, 1, 0], 0, 1), ([1, 0, 3, 0], 1, 3), ([2, 1, 1, 0], 1, 2)],
)
def test_check_names_the_site_given_twice(rows, first, second):
    indices = [SITES[row] for row in rows]
    site = tuple(indices[first])
    message = f"Layer: site {site} is given twice, in indices rows {first} and {second}"
    with pytest.raises(ValueError, match=re.escape(message)):
        make(indices).check("Layer")


def test_check_refuses_grids_beyond_the_keys():
    with pytest.raises(ValueError, match=f"Layer: batch_size 3 .* has {3 * 2**60} cells"):
        make([], (2**30, 2**30), 3).check("Layer")


def test_describe():
    assert make(SITES).describe() == "4 sites in batch_size 2 x spatial_shape (4, 5)"


def test_checked_arguments_converts():
    indices, shape, batch_size = checked_arguments(
        [[0, 1, 2]], np.array([4, 5]), np.int64(1), "Layer"
    )
    assert (indices.dtype, indices.tolist()) == (np.int32, [[0, 1, 2]])
    assert (shape, batch_size) == ((4, 5), 1)
    assert {type(v) for v in (*shape, batch_size)} == {int}
    unsigned = np.array(SITES, np.uint64)[:, ::-1].copy()[:, ::-1]  # not contiguous
    indices = checked_arguments(unsigned, (4, 5), 2, "Layer")[0]
    assert indices.flags.c_contiguous
    assert indices.tolist() == SITES


@pytest.mark.parametrize("indices", [[], np.empty(0), np.empty((0, 3), np.int64)])
def test_checked_arguments_takes_no_sites(indices):
    assert checked_arguments(indices, (4, 5), 2, "Layer")[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[0.0, 1.0, 2.0]], (4, 5), 1), TypeError, "indices must be integers, got dtype float64"),
        (([[True] * 3], (4, 5), 1), TypeError, "indices must be integers, got dtype bool"),
        (([[0, 1]], (4, 5), 1), ValueError, r"1 \+ ndim = 3 columns .* got shape \(1, 2\)"),
        (([0, 1, 2], (4, 5), 1), ValueError, r"1 \+ ndim = 3 columns .* got shape \(3,\)"),
        (([[0, 1, 2**31]], (4, 5), 1), ValueError, "fit in int32, got 0 to 2147483648"),
        (([[0, 1, -(2**40)]], (4, 5), 1), ValueError, "fit in int32, got -1099511627776 to 1"),
        (([[0, 1]], (), 1), ValueError, r"spatial_shape must hold extents >= 1, got \(\)"),
        (([[0, 1, 1]], (4, 0), 1), ValueError, r"extents >= 1, got \(4, 0\)"),
        (([[0, 1, 1]], (4, 5), -1), ValueError, "batch_size must be >= 0, got -1"),
        (([[0, 1, 1]], (4.0, 5), 1), TypeError, r"sequence of ints .* got \(4.0, 5\) and 1"),
        (([[0, 1]], 4, 1), TypeError, "sequence of ints .* got 4 and 1"),
        (([[0, 1]], (4,), 1.0), TypeError, r"batch_size an int, got \(4,\) and 1.0"),
    ],
)
def test_checked_arguments_refuses(arguments, error, message):
    with pytest.raises(error, match=f"^Layer: .*{message}"):
        checked_arguments(*arguments, "Layer")


def test_columns():
    indices = np.array([[1, 0, 2], [0, 3, 4]], np.int32)
    columns = SiteSet(indices, (4, 5), 2).columns(np)
    assert [column.tolist() for column in columns] == [[1, 0], [0, 3], [2, 4]]
