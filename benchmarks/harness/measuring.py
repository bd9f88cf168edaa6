"""Timing: warm-up, then repeats until a time budget is used; median and minimum, as records."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_DENSE_BYTES = 2 * 10**9
"""Dense baselines that need more memory than this are skipped."""


class BaselineMismatch(RuntimeError):
    """Two implementations that are about to be compared do not compute the same."""


@dataclass(frozen=True)
class Budget:
    """How long one measurement may take.

    Repeats go on until ``seconds`` are used and at least ``least`` are done. ``most`` ends them
    early, and so do ``patience * seconds``: something slow is run once after its warm-up.
    """

    seconds: float = 0.25
    least: int = 3
    most: int = 50
    patience: float = 4.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: median and minimum over ``repeats`` calls."""

    median_ms: float
    min_ms: float
    repeats: int


def measure(
    function: Callable[[], object],
    budget: Budget | None = None,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = True,
) -> Timing:
    """Time ``function``: one call to warm up, then repeats within the budget.

    The garbage collector rests during the measurement.
    """
    budget = Budget() if budget is None else budget
    if warm_up:
        function()
    was_enabled = gc.isenabled()
    gc.disable()
    seconds: list[float] = []
    total = 0.0
    try:
        while len(seconds) < budget.most:
            if total >= budget.seconds and len(seconds) >= budget.least:
                break
            if seconds and total >= budget.patience * budget.seconds:
                break
            began = clock()
            function()
            seconds.append(clock() - began)
            total += seconds[-1]
    finally:
        if was_enabled:
            gc.enable()
    return Timing(1e3 * statistics.median(seconds), 1e3 * min(seconds), len(seconds))


@dataclass(frozen=True)
class Turns:
    """Milliseconds of every round of :func:`measure_in_turns`, by name."""

    milliseconds: dict[str, list[float]]

    def timing(self, name: str) -> Timing:
        """Median and minimum of one of the functions."""
        times = self.milliseconds[name]
        return Timing(statistics.median(times), min(times), len(times))

    def ratio(self, above: str, below: str) -> float:
        """Median over the rounds of one time divided by the other."""
        pairs = zip(self.milliseconds[above], self.milliseconds[below], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure_in_turns(
    functions: Mapping[str, Callable[[], object]],
    budget: Budget | None = None,
    clock: Callable[[], float] = time.perf_counter,
    during: Mapping[str, Callable[[], AbstractContextManager[object]]] | None = None,
) -> Turns:
    """Time functions one after the other, round by round, so that a slow spell meets them all.

    The budget is that of all functions together. Each is called once to warm up; the garbage
    collector rests. ``during`` names what a function runs in; to enter and leave it is not timed.
    """
    budget = Budget() if budget is None else budget
    for function in functions.values():
        function()
    rounds: dict[str, list[float]] = {name: [] for name in functions}

    def one_round() -> None:
        for name, function in functions.items():
            with (during or {}).get(name, nullcontext)():
                began = clock()
                function()
                rounds[name].append(1e3 * (clock() - began))

    measure(one_round, budget, clock, warm_up=False)
    return Turns(rounds)


@dataclass(frozen=True)
class Record:
    """One line of ``results.json``.

    Parameters
    ----------
    experiment : str
        The question, such as "grid" or "density".
    implementation : str
        "sparse", "dense" (this library's dense layers) or "torch".
    operation : str
        What was timed, such as "forward" or "training step".
    case : dict
        The workload in plain values: dimension, shape, number of active sites, channels...
    timing : Timing or None
        None for what was skipped; ``note`` says why.
    note : str
    """

    experiment: str
    implementation: str
    operation: str
    case: dict[str, Any]
    timing: Timing | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Record:
        timing = None if entry["timing"] is None else Timing(**entry["timing"])
        return cls(**{**entry, "timing": timing})


@dataclass
class Recorder:
    """Collects the records of one section and prints a line for each.

    Parameters
    ----------
    section : str
    budget : Budget
        Of every measurement.
    echo : callable
        Takes the progress lines.
    """

    section: str
    budget: Budget
    echo: Callable[[str], object] = print
    records: list[Record] = field(default_factory=list)

    def time(
        self,
        experiment: str,
        implementation: str,
        operation: str,
        case: dict[str, Any],
        function: Callable[[], object],
        note: str = "",
    ) -> None:
        """Measure ``function`` and record it."""
        timing = measure(function, self.budget)
        self._add(Record(experiment, implementation, operation, case, timing, note))

    def skip(
        self, experiment: str, implementation: str, operation: str, case: dict[str, Any], why: str
    ) -> None:
        """Record that a measurement was left out."""
        self._add(Record(experiment, implementation, operation, case, None, why))

    def _add(self, record: Record) -> None:
        self.records.append(record)
        timing = record.timing
        what = f"{record.implementation} {record.operation}"
        text = f"skipped, {record.note}" if timing is None else f"{timing.median_ms:.3g} ms"
        self.echo(f"[{self.section}] {record.case.get('label', '')}: {what} {text}")


def too_large(num_bytes: float) -> str:
    """Why a dense baseline of this size is skipped; empty if it is not."""
    if num_bytes <= MAX_DENSE_BYTES:
        return ""
    limit = MAX_DENSE_BYTES / 1e9
    return f"would need about {num_bytes / 1e9:.1f} GB, more than {limit:.0f} GB"


def select(records: Iterable[Record], **wanted: Any) -> list[Record]:
    """Records whose attributes, or else entries of ``case``, have the wanted values."""
    return [
        record
        for record in records
        if all(_value(record, name) == value for name, value in wanted.items())
    ]


def _value(record: Record, name: str) -> Any:
    return record.case.get(name) if name not in ATTRIBUTES else getattr(record, name)


ATTRIBUTES = ("experiment", "implementation", "operation")
