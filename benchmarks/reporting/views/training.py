"""What plots and tables of the training experiments ask of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import median
from typing import Any

from harness.measuring import Record, select

from reporting.spread import Mean, means

Setting = tuple[Any, ...]
DROPOUT = ("depth", "kind", "rate")
VARIANT = ("variant",)


@dataclass(frozen=True)
class Summary:
    """The runs of one setting: their test error in percent, and the time of an epoch."""

    error: Mean
    epoch_seconds: float
    records: list[Record]

    @property
    def interval(self) -> tuple[float, float]:
        """In percent: between seeds, or Wilson's of the one run that there is."""
        if self.error.half == self.error.half:
            return max(0.0, self.error.value - self.error.half), self.error.value + self.error.half
        low, high = self.records[0].case["interval"]
        return 100 * low, 100 * high


def by_setting(records: Sequence[Record], names: Sequence[str]) -> dict[Setting, Summary]:
    """The training runs, grouped by the entries ``names`` of their cases.

    The time of an epoch is that of a training step, measured apart, times the steps, where there
    is such a record; else the median of all epochs.
    """
    groups: dict[Setting, list[Record]] = {}
    for record in select(records, experiment="training"):
        groups.setdefault(setting(record, names), []).append(record)
    errors = means(
        {key: [100 * r.case["test_error"] for r in runs] for key, runs in groups.items()}
    )
    steps = {setting(r, names): r for r in select(records, experiment="step")}
    return {
        key: Summary(errors[key], _epoch_seconds(steps.get(key), runs), runs)
        for key, runs in groups.items()
    }


def setting(record: Record, names: Sequence[str]) -> Setting:
    return tuple(record.case[name] for name in names)


def _epoch_seconds(step: Record | None, runs: Sequence[Record]) -> float:
    if step is not None and step.timing is not None and "steps" in step.case:
        return step.timing.median_ms * step.case["steps"] / 1000
    return median(epoch["seconds"] for run in runs for epoch in run.case["epochs"])


def mean_text(mean: Mean) -> str:
    """
    >>> mean_text(Mean(0.712, 0.04, 3)).split()[::3], mean_text(Mean(0.712, float("nan"), 1))
    (['0.71', '0.04'], '0.71 %')
    """
    text = f"{mean.value:.2f} %"
    return text if mean.half != mean.half else f"{text} \N{PLUS-MINUS SIGN} {mean.half:.2f}"


def multiply_adds(records: Sequence[Record], variant: str, kind: str = "multiply_adds") -> float:
    """Of a forward pass over one sample, on average over a batch."""
    return sum(layer[kind] for layer in per_sample(records, variant))


def step_ms(records: Sequence[Record], variant: str, **wanted: Any) -> float:
    """Milliseconds per sample of a training step; not a number where it was left out."""
    for record in select(records, experiment="step", variant=variant, **wanted):
        if record.timing is not None:
            return record.timing.median_ms / record.case["batch_size"]
    return nan


def per_sample(records: Sequence[Record], variant: str) -> list[dict[str, Any]]:
    """A network's layers, with counts per sample instead of per batch."""
    (record,) = select(records, experiment="layers", variant=variant)
    batch = record.case["batch_size"]
    counted = ("sites", "grid", "pairs", "multiply_adds", "dense_multiply_adds")
    return [
        {**layer, **{name: layer[name] / batch for name in counted}}
        for layer in record.case["layers"]
    ]
