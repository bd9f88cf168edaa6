"""The reference rulebook on cases small enough to write down, and against the dense reference."""

import numpy as np
import pytest

from spconv.testing import reference, reference_rulebook


def pairs(book, k):
    rows = slice(book.offset_starts[k], book.offset_starts[k + 1])
    return list(zip(book.in_rows[rows].tolist(), book.out_rows[rows].tolist(), strict=True))


def test_submanifold_keeps_the_order_of_the_input():
    indices = np.array([[0, 2], [0, 0], [0, 1], [1, 1]], np.int32)
    book = reference_rulebook(indices, (3,), 2, 3, submanifold=True)
    np.testing.assert_array_equal(book.out_indices, indices)
    assert pairs(book, 0) == [(2, 0), (1, 2)]  # reads the left neighbour
    assert pairs(book, 1) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert pairs(book, 2) == [(2, 1), (0, 2)]
    assert book.out_spatial_shape == (3,)
    assert [a.dtype for a in book[:4]] == [np.int32, np.int32, np.int64, np.int32]


def test_even_submanifold_kernel_reads_this_site_and_the_next():
    book = reference_rulebook(np.array([[0, 0], [0, 1]]), (2,), 1, 2, submanifold=True)
    assert pairs(book, 0) == [(0, 0), (1, 1)]
    assert pairs(book, 1) == [(1, 0)]


def test_strided_outputs_are_sorted():
    indices = np.array([[1, 4], [0, 3], [0, 1]], np.int32)
    book = reference_rulebook(indices, (5,), 2, 3, 2)
    np.testing.assert_array_equal(book.out_indices, [[0, 0], [0, 1], [1, 1]])
    assert [pairs(book, k) for k in range(3)] == [[], [(2, 0), (1, 1)], [(0, 2)]]
    assert book.out_spatial_shape == (2,)


def test_a_stride_beyond_the_kernel_drops_sites():
    book = reference_rulebook(np.array([[0, 1], [0, 2]]), (6,), 1, 1, 3)
    assert book.out_indices.shape == (0, 2)
    assert book.offset_starts.tolist() == [0, 0]


def test_transposed_reaches_every_offset():
    book = reference_rulebook(np.array([[0, 1]]), (3,), 1, 3, 2, 1, transposed=True)
    np.testing.assert_array_equal(book.out_indices, [[0, 1], [0, 2], [0, 3]])
    assert [pairs(book, k) for k in range(3)] == [[(0, 0)], [(0, 1)], [(0, 2)]]
    assert book.out_spatial_shape == (5,)


def test_no_sites():
    book = reference_rulebook(np.zeros((0, 3), np.int32), (4, 4), 2, 3)
    assert book.offset_starts.tolist() == [0] * 10
    assert book.out_indices.shape == (0, 3)
    assert book.out_indices.dtype == np.int32


@pytest.mark.parametrize("mode", ["regular", "submanifold", "transposed"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation"),
    [
        ((9,), 3, 2, 1, 1),
        ((6, 5), (2, 3), (2, 1), (0, 2), (2, 1)),
        ((4, 3, 4), (3, 1, 2), (1, 2, 3), 1, 1),
        ((3, 3, 2, 3), 2, (2, 1, 1, 2), 1, 1),
    ],
)
def test_rulebook_convolution_is_the_dense_reference(
    shape, kernel, stride, padding, dilation, mode
):
    rng = np.random.default_rng(3)
    sites = rng.permutation(np.argwhere(rng.random((2, *shape)) < 0.4))
    features = rng.standard_normal((len(sites), 2))
    weight = rng.standard_normal((int(np.prod(np.broadcast_to(kernel, len(shape)))), 2, 3))
    x = reference.scatter(features, sites, shape, 2)
    if mode == "submanifold":
        expected = reference.submanifold(x, weight, kernel_size=kernel, dilation=dilation)
    else:
        layer = getattr(reference, {"regular": "convolution"}.get(mode, f"{mode}_convolution"))
        expected = layer(
            x, weight, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation
        )
    book = reference_rulebook(
        sites,
        shape,
        2,
        kernel,
        stride,
        padding,
        dilation,
        submanifold=mode == "submanifold",
        transposed=mode == "transposed",
    )
    out = np.zeros((len(book.out_indices), 3))
    for k, matrix in enumerate(weight):
        rows = slice(book.offset_starts[k], book.offset_starts[k + 1])
        assert (np.diff(book.out_rows[rows]) > 0).all()
        np.add.at(out, book.out_rows[rows], features[book.in_rows[rows]] @ matrix)
    assert book.out_spatial_shape == expected.spatial_shape
    due = sites if mode == "submanifold" else expected.indices()
    np.testing.assert_array_equal(book.out_indices, due)
    np.testing.assert_allclose(out, expected.rows(book.out_indices), atol=1e-13)
