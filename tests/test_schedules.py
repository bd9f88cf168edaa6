import math

import numpy as np
import pytest

from spconv.schedules import Constant, Cosine, Exponential, Step, Warmup


def test_exponential_is_a_pure_function_of_the_step():
    schedule = Exponential(0.1, 0.9)
    forward = [schedule(step) for step in range(50)]
    assert forward == [0.1 * 0.9**step for step in range(50)]
    assert [schedule(step) for step in reversed(range(50))] == forward[::-1]


def test_step_multiplies_at_each_milestone():
    schedule = Step(1.0, [3, 5])
    assert [schedule(step) for step in range(7)] == [1, 1, 1, 0.1, 0.1, 0.1**2, 0.1**2]
    assert schedule == Step(1.0, (3, 5))
    assert Step(0.5, ())(10**9) == 0.5


def test_cosine_ends_at_final_and_stays_there():
    schedule = Cosine(2.0, total=10, final=0.5)
    assert schedule(0) == 2.0
    assert schedule(5) == pytest.approx(1.25)
    assert schedule(10) == schedule(1000) == 0.5
    rates = [schedule(step) for step in range(11)]
    assert rates == sorted(rates, reverse=True)
    assert schedule(3) == pytest.approx(0.5 + 0.75 * (1 + math.cos(0.3 * math.pi)))


def test_warmup_reaches_the_unshifted_schedule():
    inner = Cosine(1.0, total=20)
    schedule = Warmup(inner, steps=4)
    assert [schedule(step) / inner(step) for step in range(4)] == pytest.approx(
        [0.25, 0.5, 0.75, 1]
    )
    assert all(schedule(step) == inner(step) for step in range(3, 25))
    assert Warmup(Constant(0.1), 1)(0) == 0.1


def test_any_callable_can_be_warmed_up():
    assert Warmup(lambda step: 2.0, 2)(0) == 1.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Constant(-1.0), "Constant: lr must be finite and >= 0, got -1.0"),
        (lambda: Constant(math.nan), "lr must be finite"),
        (lambda: Exponential(0.1, math.inf), "Exponential: gamma must be finite"),
        (lambda: Step(0.1, (5, 3)), "milestones must increase"),
        (lambda: Step(0.1, (3, 3)), "milestones must increase"),
        (lambda: Cosine(0.1, 0), "Cosine: total must be at least 1, got 0"),
        (lambda: Cosine(0.1, 5, final=-1), "Cosine: final must be finite"),
        (lambda: Warmup(Constant(0.1), 0), "Warmup: steps must be at least 1"),
    ],
)
def test_bad_numbers_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("milestones", "error", "message"),
    [
        (5, TypeError, r"Step: milestones must be a sequence of ints, got 5; .*\(5,\)"),
        (None, TypeError, "Step: milestones must be a sequence of ints, got None"),
        (("a",), TypeError, "Step: milestones must be an int, got 'a'"),
        ("30", TypeError, "Step: milestones must be an int, got '3'"),
        ((1.5, 3), TypeError, r"Step: milestones must be an int, got 1\.5"),
        ((-3, 2), ValueError, "Step: milestones must be at least 0, got -3"),
    ],
)
def test_milestones_are_steps(milestones, error, message):
    with pytest.raises(error, match=message):
        Step(1.0, milestones)


@pytest.mark.parametrize("kind", [list, iter, np.array])
def test_milestones_of_any_kind_are_plain_in_the_end(kind):
    schedule = Step(1.0, kind([10, 20]))
    assert repr(schedule) == repr(Step(1.0, (10, 20)))
    assert [schedule(step) for step in (9, 10, 20)] == [1.0, 0.1, 0.1**2]


def test_warmup_of_a_number_says_what_to_write():
    with pytest.raises(TypeError, match=r"wrap a number as Constant\(lr\)"):
        Warmup(0.1, 5)


@pytest.mark.parametrize(
    "schedule",
    [Constant(1), Exponential(1, 0.5), Step(1, (2,)), Cosine(1, 5), Warmup(Constant(1), 2)],
)
def test_a_negative_step_is_refused(schedule):
    with pytest.raises(ValueError, match="the step must be >= 0, got -1"):
        schedule(-1)
