"""Gradients of indexing, against NumPy's own sum into places."""

import numpy as np
import pytest

from spconv import Tensor

INDICES = {
    "number": -1,
    "slice": slice(1, 4),
    "tuple": (slice(None), 1),
    "ellipsis": (..., 0),
    "new axis": (None, 2),
    "mask": np.array([True, False, True, True, False]),
    "full mask": np.arange(30).reshape(5, 3, 2) % 3 == 0,
    "repeated rows": np.array([0, 0, 4, -1, 0]),
    "list": [1, 1],
    "nothing": np.zeros(0, int),
    "two arrays": (np.array([0, 0, 1]), np.array([1, 1, 2])),
    "table": np.array([[0, 0], [1, 2]]),
    "numpy integer": np.int64(2),
    "bytes": np.array([1, 1, 4], np.uint8),
    "empty list": [],
    "columns": (slice(None), [0, 1, 1]),
    "rows and a slice": (np.array([0, 0, 3]), slice(1, None)),
    "rows and a number": ([2, 2, 0], 1),
    "a number and columns": (1, [0, 0]),
    "numpy integer and columns": (np.int64(1), [0, 1, 0]),
    "ellipsis and a list": (..., [1, 1]),
    "new axis and rows": (None, [0, 0]),
    "a mask and columns": (np.array([True, False, True, True, False]), [0, 1, 0]),
    "a tuple within": ((0, 0, 2),),
    "arrays around a slice": ([0, 0], slice(None), [1, 1]),
    "arrays that broadcast": (np.array([[0], [4]]), np.array([1, 1, 2])),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_indexing(index, dtype):
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((5, 3, 2)).astype(dtype), requires_grad=True)
    taken = x[index]
    np.testing.assert_array_equal(taken.data, x.data[index])
    weights = rng.standard_normal(taken.shape).astype(dtype)
    (taken * weights).sum().backward()
    expected = np.zeros(x.shape)
    np.add.at(expected, index, weights)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-6)
    assert (taken.dtype, x.grad.dtype) == (dtype, dtype)


@pytest.mark.parametrize("kind", [np.array, list])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("rows", [[0, 0, 1], [True, True, False, False, False]])
def test_an_index_that_changes_before_backward(rows, alone, kind):
    index, x = kind(rows), Tensor(np.zeros((5, 3)), requires_grad=True)
    y = x[index] if alone else x[index, 1:]
    index[0] = index[1] = rows[-1]
    y.sum().backward()
    np.testing.assert_array_equal(x.grad[:, 1], np.bincount(np.arange(5)[rows], minlength=5))


def test_a_wide_tensor_of_many_rows():
    """More rows than an index of few bytes can name."""
    x = Tensor(np.zeros((300, 2)), requires_grad=True)
    x[np.array([7, 255, 7], np.uint8)].sum().backward()
    assert np.flatnonzero(x.grad[:, 0]).tolist() == [7, 255]
    assert x.grad[7].tolist() == [2, 2]


def test_of_no_rows_and_no_channels():
    for shape in ((0, 3), (4, 0)):
        x = Tensor(np.zeros(shape), requires_grad=True)
        x[np.zeros(0, int)].sum().backward()
        assert x.grad.shape == shape
