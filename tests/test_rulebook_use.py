"""What one does with a rulebook: read it, invert it."""

import dataclasses
import gc
import itertools
import weakref

import numpy as np
import pytest

import spconv

OPTIONS = {
    "regular": {"stride": 2, "padding": 1},
    "submanifold": {"submanifold": True},
    "symmetric": {"submanifold": True, "dilation": (1, 2)},
    "transposed": {"stride": 2, "transposed": True},
    "vanishing": {"stride": 5, "padding": 0},
}


@pytest.fixture(params=itertools.product(OPTIONS, ("sorted", "shuffled")), ids="-".join)
def book(request):
    options, order = request.param
    rng = np.random.default_rng(0)
    indices = np.argwhere(rng.random((3, 6, 5)) < 0.3).astype(np.int32)
    if order == "shuffled":
        indices = rng.permutation(indices)
    return spconv.build_rulebook(indices, (6, 5), 3, (3, 2), **OPTIONS[options])


def triples(book):
    """All (offset, input row, output row)."""
    offset = np.repeat(np.arange(book.volume), np.diff(book.offset_starts))
    rows = (offset, book.in_rows, book.out_rows)
    return list(zip(*(r.tolist() for r in rows), strict=True))


def assert_same(book, other):
    assert triples(book) == triples(other)
    assert book.in_sites.same_as(other.in_sites)
    assert book.out_sites.same_as(other.out_sites)


def test_sizes(book):
    assert book.volume == len(book.offset_starts) - 1 == 6
    assert book.num_pairs == len(book.in_rows) == len(book.out_rows) == book.offset_starts[-1]
    assert book.out_indices.shape == (len(book.out_sites), 3)
    assert book.out_sites.spatial_shape == book.out_spatial_shape
    expected = f"Rulebook({book.num_pairs} pairs, 6 offsets, {len(book.in_sites)} -> "
    assert repr(book) == expected + f"{len(book.out_sites)} sites)"


def test_pairs_of_one_offset(book):
    for k in range(book.volume):
        in_rows, out_rows = book.pairs(k)
        expected = [(i, o) for offset, i, o in triples(book) if offset == k]
        assert list(zip(in_rows.tolist(), out_rows.tolist(), strict=True)) == expected
        assert (np.diff(out_rows) > 0).all()


def test_table(book):
    table = book.table
    assert (table.shape, table.dtype) == ((len(book.out_sites), 6), np.int32)
    expected = np.full(table.shape, -1)
    for k, i, o in triples(book):
        expected[o, k] = i
    np.testing.assert_array_equal(table, expected)


def test_pairs_per_output(book):
    np.testing.assert_array_equal(book.pairs_per_output, (book.table >= 0).sum(axis=1))
    assert book.pairs_per_output.dtype == np.int64


def test_to_scipy_multiplies_like_the_pairs(book):
    x = np.random.default_rng(1).standard_normal((len(book.in_sites), 4))
    for k in range(book.volume):
        matrix = book.to_scipy(k)
        assert matrix.shape == (len(book.out_sites), len(book.in_sites))
        assert matrix.dtype == bool
        expected = np.zeros((len(book.out_sites), 4))
        in_rows, out_rows = book.pairs(k)
        expected[out_rows] = x[in_rows]
        np.testing.assert_array_equal(matrix @ x, expected)


def test_inverse_exchanges_the_sides(book):
    inverse = book.inverse
    assert sorted(triples(inverse)) == sorted((k, o, i) for k, i, o in triples(book))
    for k in range(book.volume):
        assert (np.diff(inverse.pairs(k)[1]) > 0).all()
    assert inverse.in_sites is book.out_sites
    assert inverse.out_sites is book.in_sites
    for name in ("in_rows", "out_rows", "offset_starts"):
        assert getattr(inverse, name).dtype == getattr(book, name).dtype


def test_the_inverse_of_sorted_sites_takes_no_memory():
    sites = np.argwhere(np.random.default_rng(0).random((3, 6, 5)) < 0.3)
    book = spconv.build_rulebook(sites, (6, 5), 3, 3, submanifold=True)
    assert np.shares_memory(book.inverse.in_rows, book.out_rows)
    assert np.shares_memory(book.inverse.out_rows, book.in_rows)


def test_inverse_of_the_inverse(book):
    assert book.inverse is book.inverse
    assert book.inverse.inverse is book


def test_inverse_outlives_its_origin(book):
    copy = dataclasses.replace(book)
    inverse = copy.inverse
    gone = weakref.ref(copy)
    del copy
    assert gone() is None
    assert_same(inverse.inverse, book)
    assert_same(inverse.inverse.inverse, inverse)


def test_a_rulebook_and_its_inverse_are_freed_without_the_collector(book):
    gc.disable()
    try:
        copy = dataclasses.replace(book)
        gone = [weakref.ref(copy), weakref.ref(copy.inverse)]
        del copy
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


def test_frozen(book):
    with pytest.raises(dataclasses.FrozenInstanceError):
        book.in_rows = book.out_rows
    for rulebook in (book, book.inverse):
        for array in (
            rulebook.in_rows,
            rulebook.out_rows,
            rulebook.offset_starts,
            rulebook.out_indices,
        ):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
