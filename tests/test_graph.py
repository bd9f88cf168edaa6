"""What a backward gives, who keeps it, and what may have become of the values of its graph."""

import numpy as np
import pytest

import spconv
from spconv import Tensor
from spconv.autograd import record
from spconv.graph import check_results
from spconv.memory import WORTH_KEEPING


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


class Input:
    shape = (2, 3)


@pytest.mark.parametrize(
    ("gradients", "error", "message"),
    [
        (np.zeros((3, 2, 3)), TypeError, r"must return a tuple.* got numpy\.ndarray"),
        (None, TypeError, "must return a tuple.* got NoneType"),
        ((np.zeros((2, 3)), None), ValueError, "for each of 3 inputs, got 2"),
        ((None, np.zeros(3), None), ValueError, r"of shape \(3,\) for an input of shape \(2, 3\)"),
        (
            (None, 1.0, None),
            TypeError,
            r"must return arrays, got float; make one with numpy\.asarr",
        ),
        (
            (Tensor(np.zeros((2, 3))), None, None),
            TypeError,
            r"must return arrays, got Tensor; return its \.data",
        ),
        ((np.zeros((2, 3)), None, np.zeros(5)), None, None),
    ],
)
def test_gradients_are_held_against_the_inputs(gradients, error, message):
    if error is None:
        check_results("b", gradients, [Input, Input, None])
    else:
        with pytest.raises(error, match=f"record: b .*{message}"):
            check_results("b", gradients, [Input, Input, None])


def test_a_result_is_not_copied():
    x = spconv.Parameter(np.ones(3))
    assert record(x.data, (x,), lambda gradient: (gradient,)).data is x.data


def test_nothing_is_added_before_a_stale_value_is_found():
    a, b, c = (spconv.Parameter(np.ones(2)) for _ in range(3))
    loss = (a * b * c).sum()
    a.grad = np.ones(2)
    spconv.optim.SGD([("a", a)], lr=0.1).step()
    for _ in range(2):  # and the second time is told the same
        with pytest.raises(RuntimeError, match=r"parameter of shape \(2,\) was changed in place"):
            loss.backward()
    assert b.grad is None
    assert c.grad is None


def doubled(w):
    w.data *= 2


def seen_anew(w):
    w.data = w.data[:]
    w.data[0] = 5


@pytest.mark.parametrize("change", [doubled, seen_anew, Tensor.changed_in_place])
@pytest.mark.parametrize("use", [lambda w: w, Tensor.detach, lambda w: w.detach().detach()])
def test_values_changed_in_place_are_found_wherever_they_were_used(change, use):
    w, x = spconv.Parameter(np.array([2.0, 3.0])), leaf(1.0, 1.0)
    loss = (x * use(w)).sum()
    change(w)
    with pytest.raises(RuntimeError, match=r"of shape \(2,\) was changed in place"):
        loss.backward()
    assert x.grad is None
    (x * use(w)).sum().backward()
    np.testing.assert_array_equal(x.grad, w.data)


def test_a_step_of_parameters_that_were_frozen_in_the_forward_pass_is_found():
    """As a generator's loss goes through a discriminator that has its own steps."""
    x = leaf(1.0, 2.0)
    judge = spconv.Linear(2, 1)
    for parameter in judge.parameters():
        parameter.requires_grad = False
    loss = judge(x.reshape(1, 2)).sum()
    for parameter in judge.parameters():
        parameter.requires_grad = True
        parameter.grad = np.ones_like(parameter.data)
    spconv.optim.SGD(judge.named_parameters(), lr=1.0).step()
    with pytest.raises(RuntimeError, match="was changed in place"):
        loss.backward()


def test_values_that_were_replaced_may_change():
    w = spconv.Parameter(np.array([2.0, 3.0]))
    loss = (w * w).sum()
    w.data = np.array([5.0, 5.0])
    w.changed_in_place()  # what loss was computed of has not
    loss.backward()
    np.testing.assert_array_equal(w.grad, [4, 6])


def test_nothing_is_added_before_a_consumed_part_is_found():
    x, w = leaf(1.0, 2.0), leaf(1.0, 1.0)
    shared = x * 2.0
    shared.sum().backward()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="consumed"):
            (shared * w).sum().backward()
    assert w.grad is None
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_the_gradient_of_a_scalar_stays_an_array():
    x = Tensor(np.array(2.0), requires_grad=True)
    for expected in (4, 8):
        (x * x).backward()
        assert type(x.grad) is np.ndarray
        assert x.grad == expected


@pytest.mark.parametrize("change", [lambda y: setattr(y, "data", [5]), Tensor.changed_in_place])
def test_results_are_not_assigned_to(change):
    """Their graph would be cut, and the gradients of its inputs lost."""
    x = Tensor([2.0], requires_grad=True)
    y = x * 3
    with pytest.raises(RuntimeError, match=r"Tensor: the result of an operation .*\.detach\(\)"):
        change(y)
    (y * y).sum().backward()
    assert x.grad == 36
    with spconv.no_grad():
        result = x * 3
    for free in (y.detach(), result):
        free.data = [7.0]
        assert free.item() == 7


def test_what_was_only_moved_to_where_it_is_has_not_changed():
    net = spconv.Linear(2, 1)
    x = spconv.Tensor(np.ones((3, 2), np.float32))
    net(x).sum().backward()
    loss = net(x).sum()
    net.to("cpu")
    loss.backward()
    np.testing.assert_array_equal(net.weight.grad, 6)


def test_a_step_of_others_does_not_matter():
    first, second = spconv.Linear(2, 2), spconv.Linear(2, 1)
    x = spconv.Tensor(np.ones((3, 2), np.float32))
    loss = second(x).sum()
    first(x).sum().backward()
    spconv.optim.SGD(first.named_parameters(), lr=0.1).step()
    loss.backward()


SIZE = WORTH_KEEPING // 8 + 1  # float64 entries of an array that is worth not to copy
LEAVES = {  # what a backward gives two leaves, and how many of them need a copy
    "new arrays": (lambda gradient: (2 * gradient, 3 * gradient), 0),
    "rows of one new array": (lambda gradient: tuple(np.stack([gradient, gradient])), 0),
    "the gradient": (lambda gradient: (gradient, 2 * gradient), 1),
    "a view of the gradient": (lambda gradient: (gradient[:], gradient.reshape(-1)), 2),
    "one array twice": (lambda gradient: (2 * gradient,) * 2, 2),
    "a view of the other": (lambda gradient: (lambda new: (new, new[:]))(2 * gradient), 2),
    "part of another": (lambda gradient: (np.stack([gradient] * 2, axis=1)[:, 0], gradient + 1), 1),
    "one number spread": (lambda gradient: (np.broadcast_to(gradient[:1], SIZE), gradient + 1), 1),
    "an array not to be written to": (lambda gradient: (fixed(2 * gradient), gradient + 1), 1),
}


def fixed(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("kind", LEAVES)
def test_leaves_get_arrays_of_their_own_and_no_copy_where_they_have_them(kind, monkeypatch):
    backward, expected = LEAVES[kind]
    copies = []
    monkeypatch.setattr(
        spconv.graph, "copied", lambda array: copies.append(1) or np.array(array, order="C")
    )
    a, b = (Tensor(np.ones(SIZE), requires_grad=True) for _ in range(2))
    gradient = np.arange(SIZE, dtype=float)
    record(np.ones(SIZE), (a, b), backward).backward(gradient)
    assert len(copies) == expected
    wanted = [np.array(result) for result in backward(np.arange(SIZE, dtype=float))]
    a.grad *= 7
    np.testing.assert_array_equal(b.grad, wanted[1])
    b.grad *= 7
    np.testing.assert_array_equal(a.grad, 7 * wanted[0])
    np.testing.assert_array_equal(gradient, np.arange(SIZE))


def test_the_caller_keeps_the_gradient_of_a_leaf():
    a, gradient = Tensor(np.ones(SIZE), requires_grad=True), np.ones(SIZE)
    a.backward(gradient)
    a.grad *= 7
    np.testing.assert_array_equal(gradient, 1)


def test_record_takes_none_for_an_input_without_a_gradient():
    x, y = leaf(2.0), leaf(3.0)
    result = record(x.data * y.data, (x, y), lambda gradient: (None, gradient * 2.0))
    result.sum().backward()
    assert x.grad is None
    np.testing.assert_array_equal(y.grad, [2])


def test_record_wants_as_many_gradients_as_inputs():
    x, y = leaf(2.0), leaf(3.0)
    result = record(x.data * y.data, (x, y), lambda gradient: (gradient,))
    with pytest.raises(ValueError, match=r"record: .*one gradient or None for each of 2 .* got 1"):
        result.sum().backward()


def test_record_takes_no_array_for_the_gradients():
    x = leaf([[1.0, 2.0]])
    result = record(x.data * 2, (x,), lambda gradient: gradient * 2)
    with pytest.raises(TypeError, match=r"record: .* must return a tuple.* got numpy.ndarray"):
        result.sum().backward()


@pytest.mark.parametrize("wrong", [np.ones((7, 7)), np.float64(1.0)], ids=["larger", "scalar"])
def test_record_wants_gradients_of_the_inputs_shapes(wrong):
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    result = record(x.data * y.data, (x, y), lambda gradient: [gradient, wrong])
    with pytest.raises(ValueError, match=r"record: .*for an input of shape \(1, 2\)"):
        result.sum().backward()
