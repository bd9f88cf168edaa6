"""What tensors compute beside arithmetic: values as NumPy's, gradients as differences say."""

import numpy as np
import pytest

import spconv
from spconv import Tensor
from spconv.testing import check_gradients, tolerance

pytestmark = pytest.mark.usefixtures("engine")


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def gradient_of(function, *values):
    x = Tensor(np.array(values), requires_grad=True)
    function(x).sum().backward()
    return x.grad.tolist()


UNARY = {
    "abs": (abs, np.abs),
    "abs method": (lambda x: x.abs(), np.abs),
    "sqrt": (lambda x: (x * x).sqrt(), np.abs),
    "clip": (lambda x: x.clip(-0.5, 0.7), lambda a: np.clip(a, -0.5, 0.7)),
    "clip below": (lambda x: x.clip(0.1), lambda a: np.maximum(a, 0.1)),
    "clip above": (lambda x: x.clip(max=0), lambda a: np.minimum(a, 0)),
    "max": (lambda x: x.max(), np.max),
    "max of all, kept": (lambda x: x.max(keepdims=True), lambda a: a.max(keepdims=True)),
    "max of the first": (lambda x: x.max(0), lambda a: a.max(0)),
    "max of the last": (lambda x: x.max(axis=-1), lambda a: a.max(-1)),
    "max, kept": (lambda x: x.max(1, True), lambda a: a.max(1, keepdims=True)),
    "min": (lambda x: x.min(), np.min),
    "min of all, kept": (lambda x: x.min(keepdims=True), lambda a: a.min(keepdims=True)),
    "min of the first": (lambda x: x.min(0), lambda a: a.min(0)),
    "min, kept": (lambda x: x.min(-2, True), lambda a: a.min(1, keepdims=True)),
    "flatten": (lambda x: x.flatten(), np.ravel),
    "flatten from the second": (lambda x: x.flatten(1), lambda a: a.reshape(4, 6)),
    "flatten the last": (lambda x: x.permute(2, 0, 1).flatten(-2), lambda a: a.reshape(12, 2).T),
    "a power of 2": (lambda x: 2**x, np.exp2),
    "a power of a small number": (lambda x: np.float64(0.3) ** x, lambda a: 0.3**a),
    "permute": (lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
    "permute from behind": (lambda x: x.permute((0, -1, 1)), lambda a: a.transpose(0, 2, 1)),
    "T": (lambda x: x[0].T, lambda a: a[0].T),
}


@pytest.mark.parametrize("name", UNARY)
def test_of_one(name):
    function, expected = UNARY[name]
    x = leaf(4, 3, 2)
    y = function(x)
    assert type(y) is Tensor
    assert y.shape == np.shape(expected(x.data))
    np.testing.assert_allclose(y.data, expected(x.data), rtol=1e-15)
    check_gradients(lambda: function(x), {"x": x}, rng=np.random.default_rng(1))
    for dtype in (np.float16, np.float32):
        half = Tensor(x.data.astype(dtype), requires_grad=True)
        y = function(half)
        y.sum().backward()
        assert y.dtype == half.grad.dtype == dtype


KINKS = {
    "abs": (abs, [-2.0, 0.0, 3.0], [-1, 0, 1]),
    "clip": (lambda x: x.clip(0, 1), [-1.0, 0.0, 0.5, 1.0, 2.0], [0, 1, 1, 1, 0]),
    "clip of NaN": (lambda x: x.clip(0, 1), [np.nan], [0]),
    "max along an axis": (lambda x: x.max(0), [1.0, 5.0, 5.0, 2.0], [0, 1, 0, 0]),
    "max of all": (lambda x: x.max(), [1.0, 5.0, 5.0, 2.0], [0, 0.5, 0.5, 0]),
    "min along an axis": (lambda x: x.min(0), [5.0, 1.0, 1.0, 2.0], [0, 1, 0, 0]),
    "min of all": (lambda x: x.min(), [5.0, 1.0, 1.0, 2.0], [0, 0.5, 0.5, 0]),
    "min of a NaN": (lambda x: x.min(0), [1.0, np.nan, 5.0, np.nan], [0, 1, 0, 0]),
    "a power of 0": (lambda x: 0**x, [0.0, 1.0, 2.5], [0, 0, 0]),
    "a power of 1": (lambda x: 1**x, [-1.0, 0.0, 2.5], [0, 0, 0]),
    "max of a NaN": (lambda x: x.max(0), [1.0, np.nan, 5.0, np.nan], [0, 1, 0, 0]),
    "max of all with a NaN": (lambda x: x.max(), [1.0, np.nan, 5.0, np.nan], [0, 0.5, 0, 0.5]),
}


@pytest.mark.parametrize("name", KINKS)
def test_gradients_at_kinks_are_those_of_pytorch(name):
    function, values, expected = KINKS[name]
    assert gradient_of(function, *values) == expected


def test_the_square_root_of_zero_has_an_infinite_gradient():
    with np.errstate(divide="ignore"):
        assert gradient_of(lambda x: x.sqrt(), 0.0, 4.0) == [np.inf, 0.25]


def test_the_largest_may_be_nan():
    x = Tensor(np.array([[1.0, np.nan], [3.0, 2.0]]))
    np.testing.assert_array_equal(x.max(1).data, [np.nan, 3])
    assert np.isnan(x.max().item())


def test_the_smallest_may_be_nan():
    x = Tensor(np.array([[1.0, np.nan], [3.0, 2.0]]))
    np.testing.assert_array_equal(x.min(1).data, [np.nan, 2])
    assert np.isnan(x.min().item())


def test_negative_powers_of_zero_fall_from_infinity():
    with np.errstate(divide="ignore"):
        assert gradient_of(lambda x: 0**x, -1.5, -1e-3, 0.0) == [-np.inf, -np.inf, 0]


def test_powers_of_negative_numbers():
    y = (-2) ** Tensor(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(y.data, [4, -8])


def test_argmax_is_of_the_values():
    x = leaf(4, 3, 2)
    for axis in (0, 1, -1):
        places = x.argmax(axis)
        assert type(places) is np.ndarray
        np.testing.assert_array_equal(places, x.data.argmax(axis))
    assert x.argmax() == x.data.argmax()
    assert Tensor([1.0, 5.0, 5.0]).argmax(0) == 1
    assert Tensor([1.0, np.nan, 5.0]).argmax() == 1


def test_flatten_of_nothing_and_of_a_scalar():
    assert leaf(0, 3, 2).flatten(1).shape == (0, 6)
    assert leaf(2, 0, 3).flatten().shape == (0,)
    x = leaf()
    x.flatten().backward(np.ones(1))
    assert x.flatten(-1).shape == (1,)
    assert x.grad == 1


def test_bounds_that_half_precision_does_not_reach():
    x = Tensor(np.array([-1, 6e4], np.float16))
    np.testing.assert_array_equal(x.clip(0, 1e6).data, np.array([0, 6e4], np.float16))


PRODUCTS = [
    ((5, 4), (4, 3)),
    ((4,), (4, 3)),
    ((5, 4), (4,)),
    ((4,), (4,)),
    ((2, 5, 4), (4, 3)),
    ((2, 3, 5, 4), (4, 3)),
    ((2, 5, 4), (4,)),
    ((2, 5, 4), (2, 4, 3)),
    ((2, 3, 5, 4), (2, 3, 4, 6)),
    ((1, 5, 4), (1, 4, 3)),
    ((0, 4), (4, 3)),
    ((5, 0), (0, 3)),
    ((5, 4), (4, 0)),
    ((0, 5, 4), (0, 4, 3)),
    ((0, 5, 0), (0, 3)),
]


@pytest.mark.parametrize(("left", "right"), PRODUCTS)
def test_products(left, right):
    a, b = leaf(*left), leaf(*right, seed=1)
    expected = a.data @ b.data
    y = a @ b
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, atol=1e-13)
    check_gradients(lambda: a @ b, {"a": a, "b": b}, rng=np.random.default_rng(2))
    np.testing.assert_array_equal((a.data @ b).data, y.data)
    np.testing.assert_array_equal((a @ b.data).data, y.data)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_products_of_other_dtypes(dtype):
    a, b = (Tensor(leaf(6, 6).data.astype(dtype), requires_grad=True) for _ in range(2))
    y = a @ b
    np.testing.assert_allclose(
        y.data, a.data.astype("f8") @ b.data.astype("f8"), atol=8 * tolerance(dtype, 6)
    )
    y.sum().backward()
    assert y.dtype == a.grad.dtype == b.grad.dtype == dtype
    assert (a @ leaf(6, 6)).dtype == np.float64


def test_products_of_views():
    a, b = leaf(5, 4), leaf(3, 4, seed=1)
    check_gradients(
        lambda: a[::2].T.T @ b.permute(1, 0), {"a": a, "b": b}, rng=np.random.default_rng(0)
    )


def test_a_gradient_that_nobody_wants_is_not_computed():
    a, b = leaf(5, 4), Tensor(np.ones((4, 3)))
    (a @ b).sum().backward()
    assert b.grad is None
    assert a.grad.shape == (5, 4)


X = Tensor(np.ones((2, 3)))
REFUSED = {
    "axis": (lambda: X.max(2), ValueError, r"Tensor.max: axis must be in -2..1, got 2"),
    "axes": (lambda: X.max((0, 1)), TypeError, r"Tensor.max: axis must be an int, got \(0, 1\)"),
    "nothing": (lambda: X[:0].max(0), ValueError, r"at least one element .* got shape \(0, 3\)"),
    "no element": (lambda: X[:0].max(), ValueError, r"Tensor.max: .* got shape \(0, 3\)"),
    "axis of min": (lambda: X.min(2), ValueError, r"Tensor.min: axis must be in -2..1, got 2"),
    "no least": (lambda: X[:0].min(0), ValueError, r"Tensor.min: .* got shape \(0, 3\)"),
    "no place": (lambda: X[:0].argmax(0), ValueError, r"Tensor.argmax: .* got shape \(0, 3\)"),
    "axes of places": (lambda: X.argmax((0, 1)), TypeError, "Tensor.argmax: axis must be an int"),
    "start": (lambda: X.flatten(2), ValueError, "Tensor.flatten: start_axis must be in -2..1"),
    "base": (lambda: [2.0] ** X, TypeError, r"Tensor \*\*: the base .* a number, got list; .*exp"),
    "no bound": (lambda: X.clip(), ValueError, "Tensor.clip: .* got min=None and max=None"),
    "bounds": (lambda: X.clip(2, 1), ValueError, "expected bounds min <= max.* got min=2 and max"),
    "NaN": (lambda: X.clip(np.nan), ValueError, "Tensor.clip: min must be a number or None"),
    "text": (lambda: X.clip("1"), TypeError, "Tensor.clip: min must be a number.*, got str"),
    "tensor": (lambda: X.clip(max=X), TypeError, "got Tensor; .* spconv.functional.maximum"),
    "too few": (lambda: X.permute(0), ValueError, r"each of the 2 axes of shape \(2, 3\) once"),
    "twice": (lambda: X.permute(0, -2), ValueError, r"Tensor.permute: .* got \(0, -2\)"),
    "far": (lambda: X.permute(0, 2), ValueError, "Tensor.permute: axis must be in -2..1, got 2"),
    "no int": (lambda: X.permute(0.5, 1), TypeError, "Tensor.permute: axis must be an int"),
    "no matrix": (lambda: X[0].T, ValueError, r"Tensor.T: expected a matrix, got shape \(3,\)"),
    "inner": (lambda: X @ X, ValueError, r"Tensor @: expected .* shapes \(2, 3\) and \(2, 3\)"),
    "number": (lambda: X @ 2.0, ValueError, r"Tensor @: .* got shapes \(2, 3\) and \(\)"),
    "left number": (lambda: 2.0 @ X, ValueError, r"Tensor @: .* got shapes \(\) and \(2, 3\)"),
    "stacks": (
        lambda: Tensor(np.ones((4, 2, 3))) @ Tensor(np.ones((5, 3, 2))),
        ValueError,
        r"equal leading axes, got shapes \(4, 2, 3\) and \(5, 3, 2\)",
    ),
    "sparse": (
        lambda: X @ spconv.SparseConvTensor(np.ones((1, 3)), [[0, 1]], (3,), 1),
        TypeError,
        "compute with its features",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
