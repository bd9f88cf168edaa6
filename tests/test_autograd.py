"""Tensors and their operators: values, gradients, dtypes, errors, exchange with NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv
from spconv import Parameter, Tensor, no_grad
from spconv.autograd import needs_gradient, record
from spconv.testing import check_gradients, directional_derivative


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((4, 3), (3,)), ((3,), (4, 3)), ((4, 1), (1, 3)), ((), (2, 3)), ((2, 0), (1,))],
)
def test_operators_broadcast(name, left, right):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, left), rng.uniform(1, 2, right)
    x, y = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    np.testing.assert_array_equal(BINARY[name](x, y).data, BINARY[name](a, b))
    check_gradients(lambda: BINARY[name](x, y), {"x": x, "y": y}, rng=rng)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    "other",
    [2, 2.5, np.float64(2.5), np.float32(2.5), np.int64(2), np.array([1.0, 2.0]), True],
    ids=lambda other: type(other).__name__,
)
def test_operators_with_numbers_and_arrays_on_either_side(name, other):
    x = leaf(3.0, 5.0)
    number = float(other) if np.ndim(other) == 0 else other
    for result, expected in [
        (BINARY[name](x, other), BINARY[name](x.data, number)),
        (BINARY[name](other, x), BINARY[name](number, x.data)),
    ]:
        assert type(result) is Tensor
        np.testing.assert_array_equal(result.data, expected)
        assert result.dtype == np.float64
    rng = np.random.default_rng(0)
    check_gradients(lambda: BINARY[name](x, other), {"x": x}, rng=rng)
    check_gradients(lambda: BINARY[name](other, x), {"x": x}, rng=rng)


def test_python_numbers_do_not_widen_float32():
    x = leaf(1.0, 2.0, dtype=np.float32)
    for result in (
        x * 2.5,
        2.5 * x,
        x + 1,
        1 - x,
        x / 3,
        3 / x,
        x.mean(),
        x.sum(),
        -x,
        x**0.5,
        x.exp(),
        x.log(),
    ):
        assert result.dtype == np.float32
    assert (x * Tensor(np.ones(2))).dtype == np.float64
    for number in (np.float64(2), np.int64(2), True):  # float64's scalars are Python's floats too
        assert (x * number).dtype == (number * x).dtype == np.float32
    half = leaf(1.0, dtype=np.float16)
    assert (half * np.float32(2)).dtype == (np.float32(2) * half).dtype == np.float32


@pytest.mark.parametrize(
    "function",
    [
        lambda x: -x,
        lambda x: x.sum(),
        lambda x: x.mean(),
        lambda x: x.reshape(3, 2),
        lambda x: x.reshape(-1),
        lambda x: x.reshape((1, 6)),
        lambda x: x.sum().reshape(1, 1) * x,
        lambda x: x.exp(),
        lambda x: (x * x + 0.5).log(),
        lambda x: x**3,
        lambda x: (x * x + 0.5) ** -0.5,
    ],
)
def test_unary_gradients(function):
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 3)), requires_grad=True)
    check_gradients(lambda: function(x), {"x": x}, rng=rng)


def test_reductions():
    data = np.arange(6.0).reshape(2, 3)
    assert Tensor(data).sum().item() == 15
    assert Tensor(data).mean().item() == 2.5
    assert Tensor(np.ones((0, 3))).sum().item() == 0
    assert Tensor(np.ones((0, 3))).mean().item() == 0
    assert Tensor(data).sum().shape == ()


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_along_axes(axis, keepdims):
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((4, 3, 2)), requires_grad=True)
    for name in ("sum", "mean"):
        expected = getattr(np, name)(x.data, axis=axis, keepdims=keepdims)
        result = getattr(x, name)(axis, keepdims)
        assert result.shape == expected.shape
        np.testing.assert_allclose(result.data, expected, rtol=1e-14)
        check_gradients(lambda name=name: getattr(x, name)(axis, keepdims), {"x": x}, rng=rng)


def test_long_sums_of_float32_keep_their_digits():
    rows = np.full((2_000_000, 2), 0.1, np.float32)
    rows[0] = 1e6
    for result in (Tensor(rows).sum(0).data, np.atleast_1d(Tensor(rows).sum().data) / 2):
        np.testing.assert_allclose(result, rows[:, 0].sum(dtype="f8"), rtol=1e-7)


def test_comparisons_are_of_the_values():
    x, y = Tensor([1.0, 2.0]), Tensor([1.0, 3.0])
    for other in (y, y.data, [1.0, 3.0]):
        assert (x == other).tolist() == [True, False]
        assert (x != other).tolist() == [False, True]
        assert (x < other).tolist() == [False, True]
        assert (x <= other).tolist() == [True, True]
        assert (x > other).tolist() == [False, False]
        assert (x >= other).tolist() == [True, False]
    assert (y.data == x).tolist() == [True, False]
    assert (y.data > x).tolist() == [False, True]
    assert {x: 1, y: 2}[x] == 1  # by identity


def test_a_backward_cannot_change_the_gradient_of_another_branch():
    def in_place(x):
        def backward(gradient):
            gradient[1] = 0
            return (gradient,)

        return record(x.data.copy(), (x,), backward)

    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match="read-only"):
        (in_place(x * 1) + x).sum().backward()


def test_gradients_add_up_over_backward_passes():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [3 + 2, 3 + 4])
    x.grad = None
    (x * 5).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 5])


def test_a_shared_leaf_gets_the_sum():
    x = leaf(2.0)
    (x * x * x + x - 3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [3 * 4 + 1 - 3])


@given(data=st.data(), count=st.integers(1, 12))
def test_random_graphs(data, count):
    """Any way of using results again, against the complex step through the same expression."""
    index = st.integers(0, 30)
    steps = [
        (data.draw(st.sampled_from(sorted(BINARY))), data.draw(index), data.draw(index))
        for _ in range(count)
    ]

    def run(values):
        values = list(values)
        for name, i, j in steps:
            if name == "div":  # by something away from zero
                value = values[i % len(values)] / (values[j % len(values)] * 0.01 + 3.0)
            else:
                value = BINARY[name](values[i % len(values)], values[j % len(values)] * 0.5)
            values.append(value)
        return values[-1]

    rng = np.random.default_rng(count)
    arrays = {name: rng.standard_normal(shape) for name, shape in [("a", (2,)), ("b", (3, 1))]}
    leaves = {name: Tensor(array, requires_grad=True) for name, array in arrays.items()}
    run(leaves.values()).sum().backward()
    for name, tensor in leaves.items():
        direction = rng.standard_normal(tensor.shape)
        slope = directional_derivative(lambda a: run(a.values()).sum(), arrays, {name: direction})
        grad = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        assert (grad * direction).sum() == pytest.approx(slope, rel=1e-9, abs=1e-9)


def test_backward_takes_a_gradient_of_the_shape():
    x = leaf(1.0, 2.0)
    (x * 2).backward(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad, [2, 20])
    x.grad = None
    (x * 2).sum().backward(np.float64(3))
    np.testing.assert_array_equal(x.grad, [6, 6])
    x.grad = None
    (x * 2).sum().reshape(1, 1).backward()  # one element is a scalar
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_gradients_have_the_dtype_of_their_tensor():
    x, y = leaf(1.0, dtype=np.float32), leaf(2.0, dtype=np.float64)
    product = x * y
    assert product.dtype == np.float64
    product.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    x.grad = None
    (x * 2).backward(np.array([3]))  # integers are cast
    assert x.grad.dtype == np.float32
    x.data = np.array([1.0])
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.dtype == np.float64


def test_errors_of_backward():
    x = leaf(1.0, 2.0)
    with pytest.raises(
        ValueError, match=r"a tensor of shape \(2,\) needs a gradient of that shape"
    ):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"a gradient of shape \(2,\), got \(1,\)"):
        (x * 2).backward(np.ones(1))
    for gradient in ([1.0, 1.0], Tensor(np.ones(2)), 1.0):
        with pytest.raises(TypeError, match=f"must be an array, got {type(gradient).__name__}"):
            (x * 2).backward(gradient)
    with pytest.raises(RuntimeError, match="no input required a gradient"):
        Tensor(np.ones(1)).backward()
    with pytest.raises(RuntimeError, match="no input required a gradient"):
        (x.detach() * 2).sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("array", [np.arange(3), np.ones(2, complex), np.array(["a"]), "a", None])
def test_tensors_are_floating_point(array):
    with pytest.raises(TypeError, match="Tensor: expected a floating point array, got dtype"):
        Tensor(array)


def test_numbers_become_float32():
    for values in (3, 3.5, [1, 2], [[1.5], [2.5]]):
        assert Tensor(values).dtype == np.float32
        np.testing.assert_array_equal(Tensor(values).data, values)
    assert Tensor(np.float64(3)).dtype == np.float64
    assert Tensor(np.ones(2, np.float16)).dtype == np.float16


def test_data_is_assignable_in_the_same_shape():
    x = Parameter(np.ones((2, 3), np.float32))
    x.data = np.zeros((2, 3))
    assert x.dtype == np.float64
    x.data = [[1, 2, 3], [4, 5, 6]]
    assert x.dtype == np.float32
    with pytest.raises(ValueError, match=r"Tensor.data: expected shape \(2, 3\), got \(3, 2\)"):
        x.data = np.zeros((3, 2))
    with pytest.raises(TypeError, match="floating point"):
        x.data = np.zeros((2, 3), int)


def test_data_assigned_after_the_forward_pass_does_not_change_its_gradient():
    x = leaf(2.0)
    y = (x * x).sum()
    x.data = np.array([7.0])
    y.backward()
    np.testing.assert_array_equal(x.grad, [4])


def test_an_exponent_is_a_number():
    with pytest.raises(TypeError, match=r"Tensor \*\*: .* got Parameter; .*exp\(\)"):
        leaf(2.0) ** Parameter([2.0])
    x = leaf(0.0, 3.0)
    (x**0 + x ** np.int64(1)).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_a_scalar_has_no_rows():
    assert [row.item() for row in leaf(1.0, 2.0)] == [1, 2]
    for function in (list, sum, len):
        with pytest.raises(TypeError, match="Tensor: a scalar has no length and no rows; item"):
            function(Tensor(3.0))


def test_small_things():
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = Tensor(data)
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert x.numpy() is data
    assert Tensor(x).data is data
    assert (x.requires_grad, Parameter(data).requires_grad) == (False, True)
    assert Tensor(data[1, 1:2]).item() == 4.0
    assert isinstance(Tensor(data[1, 1:2]).item(), float)
    assert repr(Parameter(data[0, :1])) == (
        "Parameter(array([0.], dtype=float32), requires_grad=True)"
    )
    y = leaf(1.0)
    assert y.detach().data is y.data
    assert not y.detach().requires_grad


def test_dlpack_shares_memory_both_ways():
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = Tensor(data, requires_grad=True)
    out = np.from_dlpack(tensor)
    np.testing.assert_array_equal(out, data)
    assert np.shares_memory(out, data)
    assert tensor.__dlpack_device__() == data.__dlpack_device__()
    back = Tensor(np.from_dlpack(data))
    assert np.shares_memory(back.data, data)


def test_no_grad_records_nothing():
    x = leaf(1.0, 2.0)
    with no_grad():
        y = (x * 2).sum()
        with no_grad():
            pass
        assert not (x * 2).requires_grad
    assert not y.requires_grad
    with pytest.raises(RuntimeError, match=r"ran under no_grad\(\)"):
        y.backward()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_needs_gradient():
    assert not needs_gradient(None)
    assert not needs_gradient(Tensor(np.ones(1)))
    assert needs_gradient(leaf(1.0) * 2)


def test_replaced_values_leave_the_graph_its_own():
    w = Parameter(np.array([2.0, 3.0]))
    loss = (w * w).sum()
    w.data = w.data * 5.0
    loss.backward()
    np.testing.assert_array_equal(w.grad, [4.0, 6.0])


def test_a_step_between_forward_and_backward_is_refused():
    first, second = spconv.Linear(2, 2), spconv.Linear(2, 1)
    y = second(first(Tensor(np.ones((4, 2), np.float32)))).sum()
    sgd = spconv.optim.SGD(second.named_parameters(), lr=1.0)
    second.weight.grad = np.ones((2, 1), np.float32)
    sgd.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_gradients_of_what_was_broadcast_over_a_million_rows():
    b = Parameter(np.zeros(3, np.float32))
    gradient = np.random.default_rng(0).random((1_000_000, 3), np.float32)
    (Tensor(np.zeros((1_000_000, 3), np.float32)) + b).backward(gradient)
    np.testing.assert_allclose(b.grad, gradient.sum(0, dtype=np.float64), rtol=2e-7)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_an_array_between_the_bytes_of_a_file_is_copied(dtype):
    """Compiled loops may expect numbers where numbers of their size are."""
    values = np.arange(6, dtype=dtype)
    odd = np.frombuffer(b"?" + values.tobytes(), dtype, offset=1)
    assert not odd.flags.aligned
    x = Tensor(odd)
    assert x.data.flags.aligned
    np.testing.assert_array_equal(x.data, values)
    assert Tensor(values).data is values
