"""What the optimizers share: numbers that are checked whenever they change, and what is updated."""

import numpy as np
import pytest

from spconv import Parameter
from spconv.optim import SGD, Adam, AdamW

KINDS = {
    "sgd": lambda named: SGD(named, lr=0.1),
    "momentum": lambda named: SGD(named, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda named: Adam(named, lr=0.1),
    "adamw": lambda named: AdamW(named, lr=0.1),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def make(**options):
    weight = Parameter(np.ones(2))
    return weight, SGD([("w", weight)], lr=0.1, **options)


def run(optimizer, *weights, steps=3):
    for _ in range(steps):
        for weight in weights:
            weight.grad = np.full(weight.shape, 0.5, weight.dtype)
        optimizer.step()


def test_a_momentum_that_is_assigned_counts():
    weight, sgd = make()
    run(sgd, weight)
    sgd.momentum = 0.9
    other, expected = make(momentum=0.9)
    other.data = weight.data.copy()
    run(sgd, weight)
    run(expected, other)
    np.testing.assert_array_equal(weight.data, other.data)
    np.testing.assert_array_equal(
        sgd.state_dict()["w/momentum"], expected.state_dict()["w/momentum"]
    )
    sgd.momentum = 0.0
    before = weight.data.copy()
    run(sgd, weight, steps=1)
    np.testing.assert_array_equal(weight.data, before - 0.1 * 0.5)
    assert sgd.state_dict().keys() == make()[1].state_dict().keys()


def test_a_momentum_of_a_group_that_is_assigned_counts():
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    sgd = SGD([{"params": [("a", a)]}, {"params": [("b", b)], "weight_decay": 0.0}], lr=0.1)
    sgd.groups[1].options["momentum"] = 0.9
    run(sgd, a, b)
    for weight, options in ((a, {}), (b, {"momentum": 0.9})):
        other, expected = make(**options)
        run(expected, other)
        np.testing.assert_array_equal(weight.data, other.data)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("momentum", "x", TypeError),
        ("momentum", -1, ValueError),
        ("weight_decay", -3, ValueError),
        ("weight_decay", np.nan, ValueError),
        ("nesterov", "no", TypeError),
        ("lr", None, TypeError),
        ("rate", 1, ValueError),
    ],
)
def test_numbers_are_checked_when_they_are_assigned(name, value, error):
    weight, sgd = make(momentum=0.5)
    before = sgd.hyperparameters
    if name != "rate":
        with pytest.raises(error, match=f"SGD: {name} must be "):
            setattr(sgd, name, value)
    assert sgd.hyperparameters == before
    sgd.groups[0].options[name] = value
    with pytest.raises(error, match=rf"SGD:? .*{name}"):
        run(sgd, weight)
    assert weight.data.tolist() == [1, 1]


def test_betas_are_checked_when_they_are_assigned():
    adam = Adam([("w", Parameter(np.ones(2)))])
    with pytest.raises(ValueError, match=r"Adam: beta2 must be in \[0, 1\), got 1"):
        adam.beta2 = 1.0
    adam.beta2 = 0.5
    assert adam.hyperparameters["beta2"] == 0.5


def test_nesterov_needs_a_momentum_when_it_steps():
    weight, sgd = make(momentum=0.9, nesterov=True)
    sgd.momentum = 0
    with pytest.raises(ValueError, match="SGD: nesterov=True needs a momentum above 0"):
        run(sgd, weight)
    assert weight.data.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kind", "change", "error", "message"),
    [
        ("adam", {"beta2": 1.0}, ValueError, r"beta2 must be in \[0, 1\), got 1"),
        ("adam", {"w/step": 1.7}, TypeError, r"w/step must be an int, got 1\.7"),
        ("adam", {"w/step": -3}, ValueError, "w/step must be at least 0, got -3"),
        ("momentum", {"momentum": 0.0}, ValueError, "nesterov=True needs a momentum above 0"),
        ("momentum", {"nesterov": "no"}, TypeError, "nesterov must be True or False, got 'no'"),
        (
            "momentum",
            {"w/momentum": np.array([1, 2], "M8[D]")},
            TypeError,
            "w/momentum must be an array of numbers, got numpy.ndarray",
        ),
    ],
)
def test_states_with_numbers_that_nothing_takes(kind, change, error, message):
    optimizer = KINDS[kind]([("w", Parameter(np.ones(2)))])
    before = optimizer.state_dict()
    with pytest.raises(error, match=f"{type(optimizer).__name__}: {message}"):
        optimizer.load_state_dict({**before, "lr": 0.7, **change})
    assert optimizer.lr == 0.1
    assert optimizer.state_dict().keys() == before.keys()


def test_betas_of_a_group_in_a_state():
    named = [("w", Parameter(np.ones(2)))]
    adam = Adam([{"params": named, "beta2": 0.5}])
    state = adam.state_dict()
    state["groups"][0]["beta2"] = 1.0
    with pytest.raises(ValueError, match=r"Adam: group 0: beta2 must be in \[0, 1\)"):
        adam.load_state_dict(state)


def test_a_group_that_is_to_stand_still_does():
    """Also where the rate of the others starts at 0, as that of a schedule may."""
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    sgd = SGD([{"params": [("a", a)]}, {"params": [("b", b)], "lr": 0.0}], lr=0.0)
    sgd.lr = 0.1
    run(sgd, a, b)
    assert (a.data != 1).all()
    assert b.data.tolist() == [1, 1]


@each_kind
def test_all_or_nothing_where_a_parameter_is_read_only(kind):
    first, second = Parameter(np.ones(2)), Parameter(np.broadcast_to(np.float64(1), 2))
    optimizer = KINDS[kind]([("a", first), ("b", second)])
    with pytest.raises(ValueError, match=r"b cannot be updated in place.*\.data\.copy\(\)"):
        run(optimizer, first, second)
    assert first.data.tolist() == [1, 1]
    assert optimizer.state_dict()["a/step"] == 0
    second.data = second.data.copy()
    run(optimizer, first, second)
    np.testing.assert_array_equal(first.data, second.data)


@each_kind
def test_a_state_in_any_order_of_memory(kind):
    weights = [Parameter(np.ones((3, 2))) for _ in range(2)]
    optimizer, other = (KINDS[kind]([("w", weight)]) for weight in weights)
    run(optimizer, weights[0])
    state = {
        name: np.asfortranarray(value) if np.ndim(value) else value
        for name, value in optimizer.state_dict().items()
    }
    other.load_state_dict(state)
    weights[1].data = weights[0].data.copy()
    for o, weight in ((optimizer, weights[0]), (other, weights[1])):
        run(o, weight)
    np.testing.assert_array_equal(weights[0].data, weights[1].data)
