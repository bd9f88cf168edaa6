import numpy as np
import pytest

from spconv.autograd import Parameter
from spconv.compat import has_gpu, import_cupy
from spconv.layers import Linear
from spconv.optim import SGD, Adam, AdamW, clip_grad_norm, clip_grad_value

SHAPES = {"0.weight": (9, 3, 4), "0.bias": (4,), "scale": ()}
OPTIONS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "weight_decay": 0.01}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (Adam, {}),
    (Adam, {"lr": 0.02, "betas": (0.5, 0.8), "eps": 1e-3}),
    (Adam, {"weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"lr": 0.02, "weight_decay": 0.3}),
]


def make_parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: Parameter(np.asarray(rng.standard_normal(s), dtype)) for name, s in SHAPES.items()
    }


def make_gradients(steps, seed=1):
    rng = np.random.default_rng(seed)
    return [{name: rng.standard_normal(s) for name, s in SHAPES.items()} for _ in range(steps)]


def run(optimizer, parameters, gradients):
    for grads in gradients:
        for name, parameter in parameters.items():
            parameter.grad = np.asarray(grads[name], parameter.dtype)
        optimizer.step()


def textbook_sgd(p, grads, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    velocity = 0.0
    for grad in grads:
        d = grad + weight_decay * p
        velocity = momentum * velocity + d
        p = p - lr * (d + momentum * velocity if nesterov else velocity)
    return p


def textbook_adam(p, grads, kind, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=None):
    if weight_decay is None:
        weight_decay = 0.01 if kind is AdamW else 0.0
    mean = square = 0.0
    for t, grad in enumerate(grads, 1):
        if kind is AdamW:
            p = p * (1 - lr * weight_decay)
        else:
            grad = grad + weight_decay * p
        mean = betas[0] * mean + (1 - betas[0]) * grad
        square = betas[1] * square + (1 - betas[1]) * grad**2
        mean_hat, square_hat = mean / (1 - betas[0] ** t), square / (1 - betas[1] ** t)
        p = p - lr * mean_hat / (np.sqrt(square_hat) + eps)
    return p


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_the_formulas(kind, options, dtype, rtol):
    parameters, gradients = make_parameters(dtype), make_gradients(20)
    start = {name: p.data.astype(np.float64) for name, p in parameters.items()}
    run(kind(parameters.items(), **options), parameters, gradients)
    for name, parameter in parameters.items():
        grads = [g[name].astype(dtype).astype(np.float64) for g in gradients]
        if kind is SGD:
            expected = textbook_sgd(start[name], grads, **options)
        else:
            expected = textbook_adam(start[name], grads, kind, **options)
        assert parameter.dtype == dtype
        np.testing.assert_allclose(parameter.data, expected, rtol=rtol, atol=rtol)


def test_default_hyperparameters_are_those_of_torch():
    named = [("w", Parameter(np.zeros(2, np.float32)))]
    zero = {"momentum": 0, "nesterov": False, "weight_decay": 0}
    assert SGD(named).hyperparameters == {"lr": 1e-3, **zero}
    adam = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    assert Adam(named).hyperparameters == {**adam, "weight_decay": 0}
    assert AdamW(named).hyperparameters == {**adam, "weight_decay": 0.01}


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_a_reloaded_optimizer_continues_to_the_same_bits(kind, options):
    gradients = make_gradients(9)
    parameters = make_parameters(np.float32)
    run(kind(parameters.items(), **options), parameters, gradients)

    halfway = make_parameters(np.float32)
    first = kind(halfway.items(), **options)
    run(first, halfway, gradients[:4])
    first.lr = 0.7
    state = first.state_dict()
    resumed = {name: Parameter(p.data.copy()) for name, p in halfway.items()}
    second = kind(resumed.items(), **{**options, "lr": 0.3})
    second.load_state_dict(state)
    assert second.lr == 0.7
    second.lr = options.get("lr", 1e-3)
    run(first, halfway, gradients[4:])  # must not reach the copies
    run(second, resumed, gradients[4:])
    for name, parameter in parameters.items():
        assert parameter.data.tobytes() == resumed[name].data.tobytes()


def test_gradients_are_only_read_and_data_is_updated_in_place():
    for kind, options in OPTIONS:
        parameter = Parameter(np.ones(3, np.float32))
        data, grad = parameter.data, np.full(3, 0.5, np.float32)
        grad.flags.writeable = False
        parameter.grad = grad
        optimizer = kind([("w", parameter)], **options)
        optimizer.step()
        optimizer.step()
        assert parameter.data is data
        assert (data != 1).all()
        optimizer.zero_grad()
        assert parameter.grad is None


def test_parameters_without_gradient_are_skipped_with_their_state():
    one, two = Parameter(np.ones(2)), Parameter(np.ones(2))
    optimizer = Adam([("one", one), ("two", two)], weight_decay=0.1)
    one.grad = np.ones(2)
    optimizer.step()
    assert (one.data != 1).all()
    assert (two.data == 1).all()
    state = optimizer.state_dict()
    assert (state["one/step"], state["two/step"]) == (1, 0)
    assert not state["two/mean"].any()


def test_sgd_without_momentum_has_no_state_arrays():
    state = SGD(make_parameters().items(), lr=0.1).state_dict()
    assert not any(isinstance(value, np.ndarray) for value in state.values())


def test_a_shared_parameter_is_updated_once():
    shared = Parameter(np.zeros(1))
    optimizer = SGD([("encoder.weight", shared), ("decoder.weight", shared)], lr=1.0)
    shared.grad = np.ones(1)
    optimizer.step()
    assert shared.data == -1


def test_state_follows_the_dtype_of_replaced_data():
    parameter = Parameter(np.ones(2, np.float32))
    optimizer = SGD([("w", parameter)], lr=0.1, momentum=0.9)
    parameter.grad = np.ones(2, np.float32)
    optimizer.step()
    parameter.data = parameter.data.astype(np.float64)
    parameter.grad = np.full(2, 1e-12)
    optimizer.step()
    assert optimizer.state_dict()["w/momentum"].dtype == np.float64
    np.testing.assert_allclose(optimizer.state_dict()["w/momentum"], 0.9 + 1e-12, rtol=1e-15)


def test_parameters_without_elements_and_strided_ones_work():
    base = np.ones((4, 6), np.float32)
    parameters = {"empty": Parameter(np.zeros((0, 3))), "strided": Parameter(base[:, ::2])}
    optimizer = Adam(parameters.items(), lr=0.5)
    for parameter in parameters.values():
        parameter.grad = np.ones(parameter.shape, parameter.dtype)
    optimizer.step()
    np.testing.assert_allclose(parameters["strided"].data, 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: [p],
        lambda p: [("w",)],
        lambda p: [(p, "w")],
        lambda p: {"w": p},
        lambda p: [("w", p.data)],
        lambda p: 3,
    ],
)
def test_bare_parameters_are_refused(wrong):
    with pytest.raises(TypeError, match=r"SGD: .*pass model\.named_parameters\(\)"):
        SGD(wrong(Parameter(np.ones(2))), lr=0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: SGD([], lr=0.1), "SGD: there are no parameters"),
        (lambda p: SGD([("w", p), ("w", p)], lr=0.1), "the path 'w' comes twice"),
        (lambda p: SGD([("w", p)], lr=-0.1), "SGD: lr must be finite and >= 0, got -0.1"),
        (lambda p: SGD([("w", p)], lr=float("nan")), "lr must be finite"),
        (lambda p: SGD([("w", p)], lr=0.1, momentum=-1), "momentum must be"),
        (lambda p: SGD([("w", p)], lr=0.1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda p: SGD([("w", p)], lr=0.1, weight_decay=-1), "weight_decay must be"),
        (lambda p: Adam([("w", p)], betas=(0.9, 1.0)), r"Adam: betas\[1\] must be in \[0, 1\)"),
        (lambda p: AdamW([("w", p)], eps=-1), "AdamW: eps must be finite"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build(Parameter(np.ones(2)))


def test_a_bad_learning_rate_cannot_be_assigned():
    optimizer = SGD([("w", Parameter(np.ones(2)))], lr=0.1)
    with pytest.raises(ValueError, match="lr must be"):
        optimizer.lr = float("inf")
    assert optimizer.lr == 0.1


def test_a_stale_gradient_is_refused():
    parameter = Parameter(np.ones(2))
    parameter.grad = np.ones(3)
    with pytest.raises(ValueError, match=r"gradient of w has shape \(3,\)"):
        SGD([("w", parameter)], lr=0.1).step()


def without(key):
    return lambda state: {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("0.bias/mean"), "missing 0.bias/mean"),
        (without("lr"), "missing lr"),
        (lambda s: {**s, "1.bias/mean": np.ones(4)}, "unexpected 1.bias/mean"),
        (
            lambda s: {**s, "0.bias/mean": np.ones(5)},
            r"0.bias/mean has shape \(5,\) instead of \(4",
        ),
        (lambda s: {**s, "optimizer": "AdamW"}, "Adam: the state is of another.*optimizer AdamW"),
        (lambda s: SGD(make_parameters().items()).state_dict(), "optimizer SGD.*and [0-9]+ more"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    parameters = make_parameters()
    optimizer = Adam(parameters.items(), lr=0.1)
    run(optimizer, parameters, make_gradients(2))
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(change({**before, "lr": 0.5}))
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_clip_grad_norm_scales_all_gradients_together():
    parameters = [Parameter(np.zeros(2, np.float32)) for _ in range(3)]
    parameters[0].grad = shared = np.array([3, 0], np.float32)
    parameters[1].grad = np.array([0, 4], np.float32)
    assert clip_grad_norm(parameters, 10) == 5.0
    assert parameters[0].grad is shared
    assert clip_grad_norm(iter(parameters), 1) == 5.0
    np.testing.assert_allclose(parameters[0].grad, [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(parameters[1].grad, [0, 0.8], rtol=1e-6)
    assert parameters[1].grad.dtype == np.float32
    assert parameters[2].grad is None
    assert shared[0] == 3, "borrowed gradients are never written to"


def test_clip_grad_norm_does_not_overflow_in_float32():
    parameter = Parameter(np.zeros(2, np.float32))
    parameter.grad = np.array([3e30, 4e30], np.float32)
    assert clip_grad_norm([parameter], 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(parameter.grad, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clip_grad_norm_refuses_a_gradient_that_is_not_finite(bad):
    parameter = Parameter(np.zeros(2))
    parameter.grad = np.array([1.0, bad])
    with pytest.raises(FloatingPointError, match=f"the norm of the gradients is {bad}"):
        clip_grad_norm([parameter], 1.0)


def test_clip_grad_value():
    parameters = [Parameter(np.zeros(3)), Parameter(np.zeros(3))]
    parameters[0].grad = grad = np.array([-2.0, 0.5, 9.0])
    clip_grad_value(parameters, 1.0)
    np.testing.assert_array_equal(parameters[0].grad, [-1, 0.5, 1])
    assert grad[2] == 9


def test_clipping_checks_its_arguments():
    for clip in (clip_grad_norm, clip_grad_value):
        with pytest.raises(ValueError, match="the limit must be positive, got 0"):
            clip([], 0)
        with pytest.raises(TypeError, match=r"got tuple; pass model\.parameters\(\)"):
            clip([("w", Parameter(np.ones(1)))], 1.0)
        for limit in ("1", None, np.nan, -1.0):
            with pytest.raises(ValueError, match=f"the limit must be positive, got {limit!r}"):
                clip([], limit)
        with pytest.raises(TypeError, match=r"got Linear; pass model\.parameters\(\)"):
            clip(Linear(2, 2), 1.0)


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
def test_an_iterator_that_was_read_before_clips_nothing(clip):
    model = Linear(2, 2)
    parameters = model.parameters()
    clip(parameters, 1.0)
    with pytest.raises(ValueError, match=r"was it read before\? Call model\.parameters\(\) again"):
        clip(parameters, 1.0)


def test_one_parameter_is_clipped_alone():
    parameter = Parameter(np.zeros((2, 1)))
    parameter.grad = np.array([[3.0], [4.0]])
    assert clip_grad_norm(parameter, 1.0) == 5.0
    np.testing.assert_allclose(parameter.grad, [[0.6], [0.8]], rtol=1e-6)
    clip_grad_value(parameter, 0.5)
    np.testing.assert_array_equal(parameter.grad, 0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="needs a CUDA device")
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_on_the_gpu(kind, options):
    gradients = make_gradients(6)
    expected = make_parameters()
    run(kind(expected.items(), **options), expected, gradients)

    cupy = import_cupy()
    parameters = make_parameters()
    optimizer = kind(parameters.items(), **options)
    run(optimizer, parameters, gradients[:2])
    for parameter in parameters.values():
        parameter.data = cupy.asarray(parameter.data)
    state = optimizer.state_dict()
    assert not any(isinstance(value, cupy.ndarray) for value in state.values())
    optimizer.load_state_dict(state)
    for grads in gradients[2:]:
        for name, parameter in parameters.items():
            parameter.grad = cupy.asarray(grads[name])
        clip_grad_norm(parameters.values(), 1e9)
        clip_grad_value(parameters.values(), 1e9)
        optimizer.step()
    for name, parameter in parameters.items():
        assert isinstance(parameter.data, cupy.ndarray)
        np.testing.assert_allclose(parameter.numpy(), expected[name].data, rtol=1e-12)


def test_a_step_updates_all_or_nothing():
    first, second = Parameter(np.ones(2)), Parameter(np.ones(3))
    adam = Adam([("a", first), ("b", second)], lr=0.1)
    first.grad, second.grad = np.ones(2), np.ones(4)
    with pytest.raises(ValueError, match="the gradient of b has shape"):
        adam.step()
    np.testing.assert_array_equal(first.data, 1)
    assert adam.state_dict()["a/step"] == 0


def test_what_is_no_state():
    adam = Adam([("a", Parameter(np.ones(2)))], lr=0.1)
    with pytest.raises(TypeError, match=r"Adam\.load_state_dict: expected a dict, .* got NoneType"):
        adam.load_state_dict(None)


def test_an_optimizer_says_what_it_does():
    sgd = SGD([("a", Parameter(np.ones(2)))], lr=0.1, momentum=0.9)
    assert repr(sgd).startswith("SGD(1 parameters, lr=0.1, momentum=0.9")


@pytest.mark.parametrize("lr", ["0.1", None, Parameter(np.ones(1))])
def test_a_learning_rate_is_a_number(lr):
    with pytest.raises(TypeError, match="SGD: lr must be a number, got"):
        SGD([("a", Parameter(np.ones(2)))], lr=lr)


def test_a_state_that_is_half_wrong_changes_nothing():
    parameter = Parameter(np.ones(2))
    sgd = SGD([("a", parameter)], lr=0.1, momentum=0.9)
    before = sgd.state_dict()
    for change, error, message in (
        ({"lr": 0.7, "momentum": np.nan}, ValueError, "momentum must be"),
        ({"lr": 0.7, "a/momentum": np.array(["x", "y"])}, TypeError, "a/momentum must be an array"),
    ):
        with pytest.raises(error, match=message):
            sgd.load_state_dict({**before, **change})
        assert sgd.lr == 0.1
