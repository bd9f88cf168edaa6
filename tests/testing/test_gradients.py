"""The gradient check accepts right gradients and refuses wrong ones, kinks and misuse."""

import numpy as np
import pytest

from spconv.autograd import Parameter, Tensor, record
from spconv.testing import assert_gradients, check_gradients, directional_derivative


def power(x, exponent, claimed=None):
    """x ** exponent with the gradient of x ** claimed."""
    claimed = exponent if claimed is None else claimed

    def backward(grad):
        return (grad * claimed * x.data ** (claimed - 1),)

    return record(x.data**exponent, (x,), backward)


def test_accepts_a_right_gradient_and_leaves_the_inputs_alone():
    rng = np.random.default_rng(0)
    x, w = Parameter(rng.standard_normal((4, 3))), Parameter(rng.standard_normal(3))
    before = x.data
    check_gradients(lambda: power(x, 3) * w + x, {"x": x, "w": w}, rng=rng)
    assert x.data is before
    assert x.grad is None


@pytest.mark.parametrize("claimed", [3.001, 2])
def test_refuses_a_wrong_gradient_with_the_numbers(claimed):
    rng = np.random.default_rng(0)
    x = Parameter(1 + rng.random((4, 3)))
    with pytest.raises(AssertionError, match=r"along x backward gives .* central differences"):
        check_gradients(lambda: power(x, 3, claimed), {"x": x}, rng=rng)


def test_a_missing_gradient_counts_as_zero():
    rng = np.random.default_rng(0)
    x, y = Parameter(rng.standard_normal(3)), Parameter(rng.standard_normal(3))
    check_gradients(lambda: power(x, 2), {"x": x, "y": y}, rng=rng)
    with pytest.raises(AssertionError, match="along y"):
        check_gradients(lambda: power(x, 2) + Tensor(y.data), {"x": x, "y": y}, rng=rng)


def relu(x, weight=1.0, at_zero=0.0):
    """weight * max(x, 0), with a slope of weight * at_zero in 0."""
    slope = weight * np.where(x.data == 0, at_zero, x.data > 0)
    return record(weight * np.maximum(x.data, 0), (x,), lambda grad: (grad * slope,))


@pytest.mark.parametrize("distance", [3e-7, 1e-7, -1e-8])
@pytest.mark.parametrize("jump", [1.0, 1e-3, 1e-5])
def test_steps_back_from_a_kink_nearby(distance, jump):
    weight = np.array([1.0, 1.0, jump])
    for seed in range(20):
        x = Parameter(np.array([1.0, -2.0, distance]))
        check_gradients(lambda x=x: relu(x, weight), {"x": x}, rng=np.random.default_rng(seed))


def test_steps_back_from_kinks_all_around():
    weight = 3e-4 * np.ones(200)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = Parameter(rng.uniform(-2e-6, 2e-6, 200))
        x.data = x.data + np.copysign(1e-8, x.data)
        check_gradients(lambda x=x: relu(x, weight), {"x": x}, rng=rng)


def test_refuses_a_point_on_a_kink():
    x = Parameter(np.zeros(3))
    with pytest.raises(ValueError, match="expected a differentiable point"):
        check_gradients(lambda: relu(x), {"x": x}, rng=np.random.default_rng(0))


@pytest.mark.parametrize("at_zero", [0.25, 2.0])
@pytest.mark.parametrize("jump", [1.0, 1e-2, 1e-3])
def test_refuses_a_wrong_gradient_on_a_kink(jump, at_zero):
    weight = np.array([1.0, 1.0, jump])
    for seed in range(5):
        x = Parameter(np.array([1.0, 2.0, 0.0]))
        with pytest.raises((AssertionError, ValueError), match=r"backward gives|differentiable"):
            check_gradients(
                lambda x=x: relu(x, weight, at_zero), {"x": x}, rng=np.random.default_rng(seed)
            )


@pytest.mark.parametrize(("jump", "least"), [(0.0, 30), (1e-4, 20), (1e-2, 20), (1.0, 20)])
def test_one_entry_wrong_by_a_ten_thousandth_is_seen(jump, least):
    """In most directions, also where kinks nearby and rounding give it an excuse."""
    factor = np.ones(100)
    factor[0] += 1e-4

    def bent(x):
        values, slope = x.data, (x.data + jump * (x.data > 0)) * factor
        return record(
            jump * np.maximum(values, 0) + values**2 / 2, (x,), lambda grad: (grad * slope,)
        )

    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = Parameter(rng.uniform(0.5, 2, 100) * rng.choice([-1, 1], 100))
        x.data[:4] = 1.0, 3e-7, -2e-7, 3e-8
        try:
            check_gradients(lambda x=x: bent(x), {"x": x}, rng=rng)
        except AssertionError:
            found += 1
    assert found >= least


def test_a_gradient_that_is_not_finite_is_wrong():
    x = Parameter(np.ones(3))
    with pytest.raises(AssertionError, match="backward gives nan"):
        check_gradients(
            lambda: record(2 * x.data, (x,), lambda grad: (np.nan * grad,)),
            {"x": x},
            rng=np.random.default_rng(0),
        )


@pytest.mark.parametrize(
    "x", [Tensor(np.ones(2)), Tensor(np.ones(2, np.float32), requires_grad=True)]
)
def test_inputs_have_to_be_differentiable_float64(x):
    with pytest.raises(ValueError, match="expected x to be a float64 Tensor"):
        check_gradients(lambda: x, {"x": x}, rng=np.random.default_rng(0))


def test_complex_step_is_exact():
    arrays = {"a": np.array([0.3, 2.0]), "b": np.array(1.5)}
    directions = {"a": np.array([1.0, -2.0]), "b": np.array(0.5)}
    slope = directional_derivative(lambda v: (np.exp(v["a"]) * v["b"]).sum(), arrays, directions)
    expected = 1.5 * (np.exp(0.3) - 2 * np.exp(2.0)) + 0.5 * (np.exp(0.3) + np.exp(2.0))
    np.testing.assert_allclose(slope, expected, rtol=1e-15)


def test_assert_gradients_sees_one_wrong_entry_and_a_wrong_dtype():
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((5, 4))}

    def loss(values):
        return (values["a"] ** 2).sum()

    gradient = 2 * arrays["a"]
    assert_gradients(loss, arrays, {"a": gradient}, rng=rng)
    with pytest.raises(AssertionError, match="gradient of a: expected float64"):
        assert_gradients(loss, arrays, {"a": gradient.astype(np.float32)}, rng=rng)
    with pytest.raises(AssertionError, match="expected the slope"):
        assert_gradients(loss, arrays, {"a": None}, rng=rng)
    gradient[2, 1] += 1e-7
    with pytest.raises(AssertionError, match="expected the slope"):
        assert_gradients(loss, arrays, {"a": gradient}, rng=rng)
