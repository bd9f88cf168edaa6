"""Learning-rate schedules: pure functions of the training step.

A schedule is called with the number of updates made so far and returns the learning rate of the
next one. It has no state, so that a resumed run needs nothing but the step. An optimizer's groups
keep their ratio to that rate. To decay by epochs, multiply the epochs by ``len(loader)``:
``Step(0.1, milestones=(30 * n, 60 * n))`` or ``Exponential(0.1, 0.97 ** (1 / n))``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from spconv.checks import check_float, check_int

Schedule = Callable[[int], float]
"""Maps a step (0 for the first update) to a learning rate."""


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step.

    >>> Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        _check_rate(self, "lr", self.lr)

    def __call__(self, step: int) -> float:
        _check_step(self, step)
        return self.lr


@dataclass(frozen=True)
class Exponential:
    """``lr * gamma ** step``; Graham's SparseConvNet code decays so by epochs.

    >>> schedule = Exponential(0.1, gamma=0.5)
    >>> [schedule(step) for step in range(3)]
    [0.1, 0.05, 0.025]
    """

    lr: float
    gamma: float

    def __post_init__(self) -> None:
        _check_rate(self, "lr", self.lr)
        _check_rate(self, "gamma", self.gamma)

    def __call__(self, step: int) -> float:
        _check_step(self, step)
        return self.lr * self.gamma**step


@dataclass(frozen=True)
class Step:
    """``lr``, multiplied by ``gamma`` once at each of the increasing ``milestones``.

    >>> schedule = Step(1.0, milestones=(10, 20), gamma=0.5)
    >>> [schedule(step) for step in (0, 9, 10, 19, 20, 1000)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    lr: float
    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check_rate(self, "lr", self.lr)
        _check_rate(self, "gamma", self.gamma)
        if not isinstance(self.milestones, Iterable):
            raise TypeError(
                f"Step: milestones must be a sequence of ints, got {self.milestones!r}; write one "
                f"as ({self.milestones!r},)"
            )
        steps = tuple(check_int("Step", "milestones", step, 0) for step in self.milestones)
        object.__setattr__(self, "milestones", steps)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"Step: milestones must increase, got {self.milestones}")

    def __call__(self, step: int) -> float:
        _check_step(self, step)
        return self.lr * self.gamma ** bisect_right(self.milestones, step)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from ``lr`` at step 0 to ``final`` at step ``total``, and ``final`` after it.

    Loshchilov and Hutter 2017, *SGDR* (arXiv 1608.03983), equation 5 without restarts.

    >>> schedule = Cosine(1.0, total=4, final=0.5)
    >>> [round(schedule(step), 3) for step in range(6)]
    [1.0, 0.927, 0.75, 0.573, 0.5, 0.5]
    """

    lr: float
    total: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self, "lr", self.lr)
        _check_rate(self, "final", self.final)
        _check_steps(self, "total", self.total)

    def __call__(self, step: int) -> float:
        _check_step(self, step)
        progress = min(step, self.total) / self.total
        return self.final + (self.lr - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Warmup:
    """``schedule``, scaled up linearly from ``1 / steps`` to 1 over the first ``steps`` steps.

    The schedule's own steps are not shifted: after the warm-up it is where it would have been.
    Goyal and others 2017 (arXiv 1706.02677), section 2.2.

    >>> schedule = Warmup(Constant(0.5), steps=5)
    >>> [round(schedule(step), 3) for step in range(7)]
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
    """

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise TypeError(
                f"Warmup: schedule must map a step to a learning rate, got {self.schedule!r}; "
                "wrap a number as Constant(lr)"
            )
        _check_steps(self, "steps", self.steps)

    def __call__(self, step: int) -> float:
        _check_step(self, step)
        return self.schedule(step) * min(1.0, (step + 1) / self.steps)


def _check_rate(owner: object, name: str, value: float) -> None:
    check_float(type(owner).__name__, name, value)


def _check_steps(owner: object, name: str, value: int) -> None:
    check_int(type(owner).__name__, name, value, 1)


def _check_step(owner: object, step: int) -> None:
    if step < 0:
        raise ValueError(f"{type(owner).__name__}: the step must be >= 0, got {step!r}")
