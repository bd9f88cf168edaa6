"""Operators of sparse tensors but +: what is refused says what to write."""

import numpy as np
import pytest

import spconv
from spconv import Tensor


def sparse():
    return spconv.SparseConvTensor(np.ones((3, 3), "float32"), [[0, 0], [0, 1], [0, 3]], (4,), 1)


X, ARRAY, NUMBER = sparse(), np.ones((3, 3), "float32"), np.float32(2)
REFUSED = {
    "x * 2": (lambda: X * 2, r"SparseConvTensor \*: .* got SparseConvTensor and int; "),
    "2 * x": (lambda: 2 * X, r"SparseConvTensor \*: .* got SparseConvTensor and int; "),
    "x * x": (lambda: X * X, r"SparseConvTensor \*: .* and SparseConvTensor; "),
    "x - x": (lambda: X - X, r"SparseConvTensor -: the one operator is \+ of two sparse tensors, "),
    "1 - x": (lambda: 1 - X, "SparseConvTensor -: "),
    "-x": (lambda: -X, "SparseConvTensor -: .* got SparseConvTensor; "),
    "x / 2": (lambda: X / 2, "SparseConvTensor /: "),
    "2 / x": (lambda: 2 / X, "SparseConvTensor /: "),
    "x ** 2": (lambda: X**2, r"SparseConvTensor \*\*: "),
    "2 ** x": (lambda: 2**X, r"SparseConvTensor \*\*: "),
    "x @ array": (lambda: X @ ARRAY, "SparseConvTensor @: .* and numpy.ndarray; "),
    "abs": (lambda: abs(X), "SparseConvTensor abs: "),
    "x + 1": (lambda: X + 1, r"SparseConvTensor \+: .* got SparseConvTensor and int; "),
    "1 + x": (lambda: 1 + X, r"SparseConvTensor \+: "),
    "sum": (lambda: sum([X, X]), r"SparseConvTensor \+: "),
    "x + array": (lambda: X + ARRAY, r"SparseConvTensor \+: .* and numpy.ndarray; "),
    "array + x": (lambda: ARRAY + X, "numpy.add: got a SparseConvTensor; "),
    "array * x": (lambda: ARRAY * X, "numpy.multiply: got a SparseConvTensor; "),
    "scalar * x": (lambda: NUMBER * X, "numpy.multiply: got a SparseConvTensor; "),
    "exp": (lambda: np.exp(X), "numpy.exp: got a SparseConvTensor; "),
    "where": (lambda: np.where([True], X, 0), "numpy.where: got a SparseConvTensor; "),
    "sum of rows": (lambda: np.add.reduce(X), "numpy.add: got a SparseConvTensor; "),
    "x + Tensor": (lambda: X + X.features, r"SparseConvTensor \+: .* and Tensor; "),
    "x * Tensor": (lambda: X * X.features, r"SparseConvTensor \*: .* and Tensor; "),
    "Tensor + x": (lambda: X.features + X, "Tensor: an operand is a SparseConvTensor; "),
    "Tensor * x": (lambda: X.features * X, "Tensor: an operand is a SparseConvTensor; "),
    "number - Tensor": (lambda: Tensor(2.0) - X, "Tensor: an operand is a SparseConvTensor; "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arithmetic_is_that_of_the_features(name):
    call, message = REFUSED[name]
    with pytest.raises(TypeError, match=f"^{message}.*replace_feature.result. puts them back on i"):
        call()


def test_what_is_written_in_its_place():
    x = sparse()
    y = x.replace_feature(2 * x.features)
    np.testing.assert_array_equal((x + x).features.data, y.features.data)
    assert y.dtype == np.float32


def test_an_array_is_not_written_to():
    array = np.ones((3, 3), "float32")
    with pytest.raises(TypeError, match=r"^numpy\.add: got a SparseConvTensor; "):
        array += X
    np.testing.assert_array_equal(array, 1)
