"""Maximum, minimum, where, concatenate, stack, softmax: values, gradients, ties, broadcasting."""

import numpy as np
import pytest

from spconv import Tensor
from spconv.functional import (
    concatenate,
    log_softmax,
    maximum,
    minimum,
    softmax,
    stack,
    where,
)
from spconv.testing import check_gradients


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


SHAPES = [((3,), (3,)), ((4, 3), (3,)), ((4, 1), (1, 3)), ((), (2, 3)), ((2, 0), (1,))]
CHOICES = {
    "maximum": (maximum, np.maximum),
    "minimum": (minimum, np.minimum),
    "where": (lambda a, b: where(a > b, a * 2.0, b), lambda a, b: np.where(a > b, 2 * a, b)),
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_operands_broadcast(name, left, right):
    function, expected = CHOICES[name]
    a, b = leaf(*left), leaf(*right, seed=1)
    np.testing.assert_array_equal(function(a, b).data, expected(a.data, b.data))
    check_gradients(lambda: function(a, b), {"a": a, "b": b}, rng=np.random.default_rng(2))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("other", [0, 0.1, np.float32(0.1), np.array([0.1, -0.1])], ids=str)
def test_numbers_and_arrays_on_either_side(name, other):
    function, expected = CHOICES[name]
    x = Tensor(np.array([[1.0, 2.0], [-1.0, -2.0]], np.float32), requires_grad=True)
    for y in (function(x, other), function(other, x)):
        np.testing.assert_array_equal(y.data, expected(x.data, other))
        y.sum().backward()
    assert y.dtype == np.result_type(np.float32, other)
    np.testing.assert_array_equal(x.grad, 2 * (y.data == x.data))


def test_equal_elements_get_half_each_as_in_pytorch():
    for function, left in ((maximum, [0, 0.5, 1]), (minimum, [1, 0.5, 0])):
        a = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
        b = Tensor(np.array([2.0, 2.0, 2.0]), requires_grad=True)
        function(a, b).sum().backward()
        assert (a.grad.tolist(), b.grad.tolist()) == (left, left[::-1])


def test_a_nan_wins():
    a, b = Tensor(np.array([np.nan, 1.0])), Tensor(np.array([1.0, np.nan]))
    assert np.isnan(maximum(a, b).data).all()
    assert np.isnan(minimum(a, b).data).all()


def test_what_is_not_chosen_gets_no_gradient_of_anything():
    a, b = leaf(2), leaf(2)
    where(np.array([True, False]), a, b).backward(np.array([np.inf, np.nan]))
    np.testing.assert_array_equal(a.grad, [np.inf, 0])
    np.testing.assert_array_equal(b.grad, [0, np.nan])


def test_the_mask_may_change_and_broadcast():
    mask, a = np.array([[True], [False]]), leaf(3)
    y = where(mask, a, 0)
    np.testing.assert_array_equal(y.data, np.where(mask, a.data, 0))
    mask[:] = False
    y.sum().backward()
    np.testing.assert_array_equal(a.grad, 1)
    for mask in (True, np.bool_(True), [True, True, True]):
        np.testing.assert_array_equal(where(mask, a, 0).data, a.data)


def check_join(join, twin, x, axis):
    """Values against NumPy's, gradients against differences, one of the tensors taken twice."""
    np.testing.assert_array_equal(join(iter(x), axis).data, twin([t.data for t in x], axis))
    inputs = dict(zip("abc", x, strict=True))
    rng = np.random.default_rng(0)
    check_gradients(lambda: join([*x, x[0]], axis), inputs, rng=rng)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate(axis):
    shapes = [[2, 3, 4] for _ in range(3)]
    shapes[1][axis], shapes[2][axis] = 5, 0
    x = [leaf(*shape, seed=i) for i, shape in enumerate(shapes)]
    check_join(concatenate, np.concatenate, x, axis)


def test_concatenate_takes_the_widest_dtype():
    a, b = Tensor(np.ones(2, np.float32), requires_grad=True), leaf(1)
    y = concatenate([a, b])
    y.sum().backward()
    assert (y.dtype, a.grad.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_stack(axis):
    x = [leaf(2, 3, seed=i) for i in range(3)]
    check_join(stack, np.stack, x, axis)


def test_stack_of_scalars_and_other_dtypes():
    a, b = Tensor(np.float32(1), requires_grad=True), leaf()
    y = stack([a, b, a])
    y.backward(np.array([1.0, 2.0, 4.0]))
    assert (y.shape, y.dtype, a.grad.dtype) == ((3,), np.float64, np.float32)
    assert (a.grad, b.grad) == (5, 2)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis):
    x = leaf(4, 3, 2)
    exponentials = np.exp(x.data)
    expected = exponentials / exponentials.sum(axis, keepdims=True)
    np.testing.assert_allclose(softmax(x, axis).data, expected, rtol=1e-14)
    np.testing.assert_allclose(log_softmax(x, axis).data, np.log(expected), atol=1e-14)
    for function in (softmax, log_softmax):
        rng = np.random.default_rng(0)
        check_gradients(lambda function=function: function(x, axis), {"x": x}, rng=rng)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_softmax_of_huge_and_many_logits(dtype):
    x = Tensor(np.array([[3e4, 0, -3e4], [0, 0, 0]], dtype), requires_grad=True)
    y = log_softmax(x, 1)
    np.testing.assert_allclose(y.data[:, 0], [0, -np.log(3)], rtol=1e-3)
    (y[:, 0].sum() + softmax(x, 1)[:, 1].sum()).backward()
    assert y.dtype == x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad[0], 0)
    many = Tensor(np.zeros(200_000, dtype))  # their number is beyond half precision
    np.testing.assert_allclose(log_softmax(many, 0).data, -np.log(200_000), rtol=1e-3)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_softmax_of_nothing(function, shape):
    x = leaf(*shape)
    function(x, 1).sum().backward()
    assert x.grad.shape == shape
