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
