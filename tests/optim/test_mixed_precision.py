"""float16 parameters: float32 copies of them in the optimizer, and the scale of the loss."""

import numpy as np
import pytest

import spconv
from spconv import Parameter
from spconv.ops import use_engine
from spconv.optim import SGD, Adam, AdamW, LossScaler

KINDS = {
    "sgd": lambda named: SGD(named, lr=2.0**-14),
    "momentum": lambda named: SGD(named, lr=2.0**-14, momentum=0.5, weight_decay=0.01),
    "nesterov": lambda named: SGD(named, lr=2.0**-14, momentum=0.5, nesterov=True),
    "adam": lambda named: Adam(named, lr=2.0**-14, weight_decay=0.01),
    "adamw": lambda named: AdamW(named, lr=2.0**-14),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def start(seed=0):
    return np.random.default_rng(seed).uniform(1, 2, 7).astype(np.float16)


def gradients(count):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(7).astype(np.float16) for _ in range(count)]


def run(optimizer, weight, steps):
    for gradient in steps:
        weight.grad = gradient
        optimizer.step()


@each_kind
def test_steps_are_those_of_float32_rounded(kind):
    half, single = Parameter(start()), Parameter(start().astype(np.float32))
    before = half.data
    run(KINDS[kind]([("w", half)]), half, gradients(50))
    run(KINDS[kind]([("w", single)]), single, [g.astype(np.float32) for g in gradients(50)])
    assert half.dtype == np.float16
    assert half.data is before, "updated in place"
    np.testing.assert_array_equal(half.data, single.data.astype(np.float16))
    assert (single.data != start()).all()


def test_small_updates_add_up():
    """One step is less than half a unit in the last place: float16 alone would stand still."""
    weight = Parameter(np.ones(3, np.float16))
    sgd = SGD([("w", weight)], lr=2.0**-13)
    run(sgd, weight, [np.ones(3, np.float16)] * 3)
    assert weight.data.tolist() == [1 - 2.0**-11] * 3  # 3/4 of a unit, rounded
    run(sgd, weight, [np.ones(3, np.float16)] * 1021)
    assert weight.data.tolist() == [1 - 1024 * 2.0**-13] * 3


@each_kind
def test_state_comes_back_bit_for_bit(kind):
    whole, first = Parameter(start()), Parameter(start())
    steps = gradients(20)
    reference = KINDS[kind]([("w", whole)])
    run(reference, whole, steps)
    optimizer = KINDS[kind]([("w", first)])
    run(optimizer, first, steps[:9])
    state = optimizer.state_dict()
    assert state["w/master"].dtype == np.float32
    second = Parameter(first.data.copy())
    resumed = KINDS[kind]([("w", second)])
    resumed.load_state_dict(state)
    run(resumed, second, steps[9:])
    np.testing.assert_array_equal(second.data, whole.data)
    for key, value in reference.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[key], value)


def test_values_that_somebody_assigns_count():
    weight = Parameter(start())
    sgd = SGD([("w", weight)], lr=2.0**-14)
    run(sgd, weight, gradients(3))
    weight.data = np.zeros(7, np.float16)
    run(sgd, weight, [np.full(7, 4, np.float16)])
    assert weight.data.tolist() == [-(2.0**-12)] * 7


CHANGES = {
    "assigned": lambda weight: setattr(weight, "data", np.full(7, 0.75, np.float16)),
    "multiplied": lambda weight: setattr(
        weight, "data", np.multiply(weight.data, 0.5, weight.data)
    ),
    "one element": lambda weight: weight.data.__setitem__(3, -2),
    "clipped": lambda weight: np.clip(weight.data, 1.25, 1.5, out=weight.data),
    "not finite": lambda weight: weight.data.__setitem__(slice(2), [np.nan, np.inf]),
}


@each_kind
@pytest.mark.parametrize("change", CHANGES)
def test_values_that_somebody_changes_count(kind, change):
    """Element by element: the others keep the digits that they have in float32."""
    weight = Parameter(start())
    optimizer = KINDS[kind]([("w", weight)])
    run(optimizer, weight, gradients(3))
    master, before = optimizer.state_dict()["w/master"], weight.data.copy()
    CHANGES[change](weight)
    same = weight.data == before
    expected = Parameter(np.where(same, master, weight.data.astype(np.float32)))
    reference = KINDS[kind]([("w", expected)])
    state = optimizer.state_dict()
    reference.load_state_dict({key: state[key] for key in state if key != "w/master"})
    with np.errstate(invalid="ignore"):
        run(optimizer, weight, gradients(2))
        run(reference, expected, [gradient.astype(np.float32) for gradient in gradients(2)])
    np.testing.assert_array_equal(optimizer.state_dict()["w/master"], expected.data)
    np.testing.assert_array_equal(weight.data, expected.data.astype(np.float16))
    assert same.any() or change in ("assigned", "multiplied")


def test_equal_values_in_another_array_change_nothing():
    weights = [Parameter(start()) for _ in range(2)]
    for weight in weights:
        sgd = SGD([("w", weight)], lr=2.0**-14)
        for _ in range(20):
            run(sgd, weight, [np.ones(7, np.float16)])
            weight.data = weight.data if weight is weights[0] else weight.data.copy()
    np.testing.assert_array_equal(weights[1].data, weights[0].data)
    assert (weights[0].data < start()).all()


@each_kind
def test_a_state_that_is_loaded_beside_other_values(kind):
    """A parameter's own values count, those of the state where both agree."""
    weight = Parameter(start())
    optimizer = KINDS[kind]([("w", weight)])
    run(optimizer, weight, gradients(3))
    state, before = optimizer.state_dict(), weight.data.copy()
    run(optimizer, weight, gradients(1))
    optimizer.load_state_dict(state)
    weight.data[:3] = before[:3]
    weight.data[3:] = 0
    other = Parameter(weight.data.copy())
    fresh = KINDS[kind]([("w", other)])
    fresh.load_state_dict(state)
    for o, w in ((optimizer, weight), (fresh, other)):
        run(o, w, gradients(2))
    np.testing.assert_array_equal(weight.data, other.data)
    assert (abs(weight.data[3:].astype(float)) < 0.01).all()


def test_a_copy_made_for_other_values_is_not_used():
    """The parameter was float16 while the state was asked for, and is the old array again."""
    weight = Parameter(start().astype(np.float32))
    sgd = SGD([("w", weight)], lr=0.5, momentum=0.5)
    run(sgd, weight, gradients(1))
    before = weight.data
    weight.data = before.astype(np.float16)
    sgd.state_dict()
    weight.data = before
    zero = np.zeros(7, np.float32)
    run(sgd, weight, [zero])
    weight.data += 5
    expected = weight.data - 0.5 * 0.5 * sgd.state_dict()["w/momentum"]
    run(sgd, weight, [zero])
    np.testing.assert_allclose(weight.data, expected, rtol=1e-6)
    assert sgd.state_dict()["w/momentum"].dtype == np.float32


def test_other_dtypes_have_no_second_copy():
    for dtype in (np.float32, np.float64):
        weight = Parameter(np.ones(3, dtype))
        assert [key for key in Adam([("w", weight)]).state_dict() if "master" in key] == []
    weight = Parameter(start())
    sgd = SGD([("w", weight)], lr=0.5)
    run(sgd, weight, gradients(1))
    weight.data = weight.data.astype(np.float32)
    run(sgd, weight, [np.ones(7, np.float32)])
    assert "w/master" not in sgd.state_dict()


def test_scale_keeps_small_gradients():
    """2^-26 is below float16; scaled it survives, and the step is that of exact arithmetic."""
    weight = Parameter(np.zeros(2, np.float16))
    factor = spconv.Tensor(np.full(2, 2.0**-13, np.float16))
    loss = lambda: ((weight * factor) * factor).sum()  # noqa: E731
    loss().backward()
    assert weight.grad.tolist() == [0, 0]
    weight.grad = None
    scaler, sgd = LossScaler(), SGD([("w", weight)], lr=2.0**10)
    scaler.backward(loss())
    assert weight.grad.tolist() == [2.0**-11] * 2
    assert scaler.step(sgd)
    assert weight.grad.dtype == np.float32
    assert weight.data.tolist() == [-(2.0**-16)] * 2


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_steps_that_overflow_are_left_out(bad):
    weight, other = Parameter(np.ones(2, np.float16)), Parameter(np.ones(1, np.float16))
    sgd = SGD([("w", weight), ("v", other), ("u", Parameter(np.ones(1)))], lr=0.5)
    scaler = LossScaler(scale=8.0, interval=2)
    weight.grad, other.grad = np.array([1, bad], np.float16), np.ones(1, np.float16)
    assert not scaler.step(sgd)
    assert (weight.data.tolist(), other.data.tolist(), scaler.scale) == ([1, 1], [1], 4.0)
    for scale in (4.0, 8.0, 8.0, 16.0):
        weight.grad = other.grad = None
        weight.grad = np.full(2, scaler.scale, np.float16)
        assert scaler.step(sgd)
        assert scaler.scale == scale
    assert weight.data.tolist() == [-1, -1]


def test_gradients_are_clipped_after_the_division():
    weight = Parameter(np.zeros(2, np.float16))
    sgd, scaler = SGD([("w", weight)], lr=1.0), LossScaler(scale=1024.0)
    weight.grad = np.array([3, -4], np.float16) * np.float16(1024)
    assert scaler.step(sgd, clip_norm=0.5)
    np.testing.assert_allclose(weight.data, [-0.3, 0.4], rtol=1e-3)
    weight.grad = np.array([0.25, 0], np.float16) * np.float16(1024)
    assert scaler.step(sgd, clip_norm=0.5)
    np.testing.assert_allclose(weight.grad, [0.25, 0])


def test_scale_has_limits():
    weight = Parameter(np.ones(1, np.float16))
    sgd, scaler = SGD([("w", weight)]), LossScaler(interval=1)
    weight.grad = np.zeros(1, np.float16)
    assert scaler.step(sgd)
    assert scaler.scale == 2.0**15
    for _ in range(60):
        weight.grad = np.full(1, np.inf, np.float16)
        assert not scaler.step(sgd)
    assert scaler.scale == 2.0**-24


def test_a_scale_of_a_state_keeps_to_the_limit():
    scaler = LossScaler(scale=4.0, max_scale=8.0)
    scaler.load_state_dict({"scale": 2.0**20, "good_steps": 3})
    assert scaler.state_dict() == {"scale": 8.0, "good_steps": 3}


def test_scaler_state():
    weight = Parameter(np.ones(1, np.float16))
    scaler, other = LossScaler(scale=4.0, interval=3), LossScaler(interval=3)
    weight.grad = np.ones(1, np.float16)
    scaler.step(SGD([("w", weight)]))
    other.load_state_dict(scaler.state_dict())
    assert (other.scale, other.good_steps) == (4.0, 1)
    low = LossScaler(max_scale=2.0)
    low.load_state_dict(scaler.state_dict())
    assert repr(low) == "LossScaler(scale=2.0, interval=2000, max_scale=2.0, good_steps=1)"


@pytest.mark.parametrize("name", ["scale", "max_scale"])
@pytest.mark.parametrize(
    ("value", "limit"),
    [(0, "finite and > 0"), (-2.0, "finite and > 0"), (3.0, "a power of two"), (np.nan, "finite")],
)
def test_scales_are_powers_of_two(name, value, limit):
    with pytest.raises(ValueError, match=f"LossScaler: {name} must be {limit}"):
        LossScaler(**{name: value})


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (None, TypeError, r"expected a dict, as state_dict\(\) returns it, got NoneType"),
        ({"scale": 2.0}, ValueError, r"expected scale and good_steps, got \['scale'\]"),
        ({"scale": -3, "good_steps": 0}, ValueError, "scale must be finite and > 0, got -3"),
        ({"scale": 3, "good_steps": 0}, ValueError, "scale must be a power of two, got 3"),
        ({"scale": 2, "good_steps": -1}, ValueError, "good_steps must be at least 0, got -1"),
        ({"scale": 2, "good_steps": 0.5}, TypeError, r"good_steps must be an int, got 0\.5"),
    ],
)
def test_states_of_no_scaler(state, error, message):
    scaler = LossScaler()
    before = scaler.state_dict()
    with pytest.raises(error, match=rf"LossScaler\.load_state_dict: {message}"):
        scaler.load_state_dict(state)
    assert scaler.state_dict() == before


def test_arguments_of_another_kind():
    weight = Parameter(np.ones(1, np.float16))
    scaler = LossScaler()
    with pytest.raises(TypeError, match=r"LossScaler\.step: expected an Optimizer, got list; call"):
        scaler.step([weight])
    with pytest.raises(TypeError, match=r"LossScaler\.backward: expected the loss, got float"):
        scaler.backward(0.5)


def test_interval_is_positive():
    with pytest.raises(ValueError, match="LossScaler: interval must be at least 1, got 0"):
        LossScaler(interval=0)


def test_a_float16_network_learns():
    """In plain array code: the compiled CPU engine has no float16."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 8)).astype(np.float16)
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    layers = spconv.Linear(8, 32), spconv.Linear(32, 2)
    named = []
    for number, layer in enumerate(layers):
        for path, parameter in layer.named_parameters():
            parameter.data = parameter.data.astype(np.float16)
            named.append((f"{number}.{path}", parameter))
    adam, scaler, losses = Adam(named, lr=0.02), LossScaler(), []
    with use_engine("numpy"):
        for _ in range(150):
            hidden = spconv.functional.relu(layers[0](spconv.Tensor(x)))
            loss = spconv.functional.cross_entropy(layers[1](hidden), labels)
            assert loss.dtype == np.float16
            adam.zero_grad()
            scaler.backward(loss)
            scaler.step(adam)
            losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
