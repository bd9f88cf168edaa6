"""The gradient check accepts right gradients and refuses wrong ones, kinks and misuse."""

import numpy as np
import pytest

import spconv
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
    ("x", "got"),
    [
        (Tensor(np.ones(2)), "float64 with False; make it with requires_grad=True"),
        (
            Tensor(np.ones(2, np.float32), requires_grad=True),
            "float32 with True; make it of a float64 array",
        ),
        (
            Parameter(np.ones(2, np.float32)),
            r"float32 with True; call layer\.astype\('float64'\)",
        ),
    ],
)
def test_inputs_have_to_be_differentiable_float64(x, got):
    with pytest.raises(ValueError, match=f"expected x to be a float64 Tensor .*, got {got}$"):
        check_gradients(lambda: x, {"x": x}, rng=np.random.default_rng(0))


X = spconv.SparseConvTensor(Parameter(np.ones((2, 4))), [[0, 1], [0, 2]], (5,), 1)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"function": lambda: X},
            TypeError,
            r"function must return a Tensor, got SparseConvTensor; return its \.features",
        ),
        (
            {"function": lambda: X.features.data},
            TypeError,
            r"function must return a Tensor, got numpy\.ndarray; compute it from the inputs",
        ),
        ({"function": X.features}, TypeError, r"function must be a function, .*, got Parameter"),
        (
            {"inputs": X.features},
            TypeError,
            r"inputs must be a mapping of names to Tensors, got Parameter; pass \{'x': x\}, or",
        ),
        (
            {"inputs": spconv.Linear(2, 2).named_parameters()},
            TypeError,
            r"got generator; pass .*, or dict\(layer\.named_parameters\(\)\)",
        ),
        (
            {"inputs": {"x": X}},
            TypeError,
            r"x must be a Tensor, got SparseConvTensor; pass its \.f",
        ),
        (
            {"inputs": {"x": np.ones(2)}},
            TypeError,
            r"x must be a Tensor, got numpy\.ndarray; wrap an array in spconv\.Tensor",
        ),
        ({"inputs": {}}, ValueError, "inputs must name a Tensor at least, got none"),
        ({"rng": 0}, TypeError, r"rng must be a numpy\.random\.Generator, got int; pass numpy"),
        ({"eps": 0.0}, ValueError, "eps must be finite and > 0, got 0"),
    ],
)
def test_what_is_wrong_is_named(changed, error, message):
    call = {
        "function": lambda: X.features * 2,
        "inputs": {"x": X.features},
        "rng": np.random.default_rng(0),
    }
    check_gradients(**call)
    with pytest.raises(error, match=f"^check_gradients: .*{message}"):
        check_gradients(**{**call, **changed})


def test_a_function_that_draws_anew_is_named():
    net = spconv.SparseSequential(spconv.Linear(4, 50), spconv.Dropout(0.5)).astype("float64")
    call = {"inputs": {"x": X.features}, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=r"must be deterministic, got two .* \.eval\(\) .*dropout"):
        check_gradients(lambda: net(X).features, **call)
    check_gradients(lambda: net.seed(0)(X).features, **call)
    net.eval()
    check_gradients(lambda: net(X).features, **call)


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
