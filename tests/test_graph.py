"""What a backward gives, and what may have become of the values of its graph."""

import numpy as np
import pytest

import spconv
from spconv.graph import check_results


class Input:
    shape = (2, 3)


@pytest.mark.parametrize(
    ("gradients", "error", "message"),
    [
        (np.zeros((3, 2, 3)), TypeError, r"must return a tuple.* got numpy\.ndarray"),
        (None, TypeError, "must return a tuple.* got NoneType"),
        ((np.zeros((2, 3)), None), ValueError, "for each of 3 inputs, got 2"),
        ((None, np.zeros(3), None), ValueError, r"of shape \(3,\) for an input of shape \(2, 3\)"),
        ((None, 1.0, None), ValueError, r"of shape float for an input of shape \(2, 3\)"),
        ((np.zeros((2, 3)), None, np.zeros(5)), None, None),
    ],
)
def test_gradients_are_held_against_the_inputs(gradients, error, message):
    if error is None:
        check_results("b", gradients, [Input, Input, None])
    else:
        with pytest.raises(error, match=f"record: b .*{message}"):
            check_results("b", gradients, [Input, Input, None])


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


def test_what_was_only_moved_to_where_it_is_has_not_changed():
    net = spconv.Linear(2, 1)
    loss = net(spconv.Tensor(np.ones((3, 2), np.float32))).sum()
    net.to("cpu")
    loss.backward()
    assert net.weight.grad is not None


def test_a_step_of_others_does_not_matter():
    first, second = spconv.Linear(2, 2), spconv.Linear(2, 1)
    x = spconv.Tensor(np.ones((3, 2), np.float32))
    loss = second(x).sum()
    first(x).sum().backward()
    spconv.optim.SGD(first.named_parameters(), lr=0.1).step()
    loss.backward()
