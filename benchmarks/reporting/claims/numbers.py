"""The numbers that the page of claims quotes, from the records and the shipped recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from harness.measuring import Record, select
from plans.recipes import RECIPES

from reporting.views.training import DROPOUT, VARIANT, Summary, by_setting, step_ms

GRAHAM_MNIST = 0.0031
FAST_POOLING = "fast: MP3"
DEEPCNET = "DeepCNet, l = "
KINDS = ("sparse", "dense")
MOTION = ("direction", "octogram", "signature")


@dataclass(frozen=True)
class Error:
    """A test error in percent, with its 95 % interval and the number of runs."""

    value: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        """
        >>> str(Error(0.4, 0.29, 0.54, 1)), str(Error(0.4, 0.29, 0.54, 3))
        ('0.40 % (0.29 to 0.54)', '0.40 % (0.29 to 0.54, 3 runs)')
        """
        runs = "" if self.runs == 1 else f", {self.runs} runs"
        return f"{self.value:.2f} % ({self.low:.2f} to {self.high:.2f}{runs})"


@dataclass(frozen=True)
class Network:
    """A network of a comparison."""

    name: str
    error: Error
    epoch_seconds: float

    def __str__(self) -> str:
        return f"{self.name} {self.error}, {self.epoch_seconds:.1f} s an epoch"


@dataclass(frozen=True)
class Pooling:
    """A DeepCNet of the study of pooling: milliseconds of a training step per sample."""

    name: str
    error: Error
    sparse_ms: float
    dense_ms: float

    def __str__(self) -> str:
        dense = "not timed" if isnan(self.dense_ms) else f"{self.dense_ms:.2g}"
        return f"{self.name} {self.error}, {self.sparse_ms:.2g} ms sparse, {dense} dense"


def shipped(name: str) -> dict[str, Any]:
    """The test errors in the recipe beside the shipped weights."""
    found: dict[str, Any] = RECIPES[name].info()["test_errors"]
    return found


def shipped_text(name: str) -> str:
    found = shipped(name)
    low, high = (100 * bound for bound in found["interval"])
    counts = f"{found['errors']:,} of {found['samples']:,}"
    info = RECIPES[name].info()
    how = f"{info['network']}, {info['epochs_done']} epochs, one run"
    return f"{Error(100 * found['error'], low, high, 1)}, {counts}: {how}"


def errors(records: Sequence[Record]) -> dict[str, Error]:
    """Of every variant of a comparison."""
    return {key[0]: _error(summary) for key, summary in by_setting(records, VARIANT).items()}


def errors_text(of: Mapping[str, Error]) -> str:
    return "; ".join(f"{name} {error}" for name, error in of.items())


def knows_motion(variant: str) -> bool:
    """Whether the variant is a sparse network on an encoding of the pen's motion."""
    return "dense" not in variant and any(kind in variant for kind in MOTION)


def dropout(records: Sequence[Record]) -> tuple[Error, Error, Error]:
    """Without dropout, and the best level rising with depth and constant."""
    summaries = by_setting(records, DROPOUT)
    best = [
        min(
            (_error(summary) for key, summary in summaries.items() if key[0] == depth),
            key=lambda error: error.value,
        )
        for depth in ("rising", "constant")
    ]
    return _error(summaries[("none", "elementwise", 0.0)]), best[0], best[1]


def dropout_at_most(records: Sequence[Record]) -> tuple[Error, Error]:
    """At the highest level that both were trained with, elementwise: rising and constant."""
    summaries = by_setting(records, DROPOUT)
    levels = [
        {key[2] for key in summaries if key[:2] == (depth, "elementwise")}
        for depth in ("rising", "constant")
    ]
    level = max(levels[0] & levels[1])
    rising, constant = (
        _error(summaries[(depth, "elementwise", level)]) for depth in ("rising", "constant")
    )
    return rising, constant


def dense_dropout(records: Sequence[Record]) -> tuple[Network | None, Network]:
    """The simple dense CNN, where it was trained, and the best DeepCNet."""
    dense, sparse = [], []
    for (depth, kind, rate), summary in by_setting(records, DROPOUT).items():
        if depth == "last layer":
            dense.append(Network("simple dense CNN", _error(summary), summary.epoch_seconds))
            continue
        name = f"DeepCNet, {depth} {kind} dropout {rate:g}" if rate else "DeepCNet without dropout"
        sparse.append(Network(name, _error(summary), summary.epoch_seconds))
    return dense[0] if dense else None, min(sparse, key=lambda network: network.error.value)


def sparse_and_dense(records: Sequence[Record]) -> tuple[list[Network], list[Network]]:
    """The networks of a comparison."""
    sparse: list[Network] = []
    dense: list[Network] = []
    for (name,), summary in by_setting(records, VARIANT).items():
        kind = dense if summary.records[0].implementation == "dense" else sparse
        kind.append(Network(name, _error(summary), summary.epoch_seconds))
    return sparse, dense


def pooling_rows(records: Sequence[Record]) -> list[Pooling]:
    """DeepCNets, by their number of poolings."""
    return [
        Pooling(name, error, *(step_ms(records, name, implementation=i) for i in KINDS))
        for name, error in sorted(errors(records).items())
        if name.startswith(DEEPCNET)
    ]


def climb(records: Sequence[Record]) -> tuple[str, float]:
    """The network that a digit climbs through, and dense multiply-adds by sparse ones."""
    (record,) = select(records, experiment="climb")
    return record.case["network"], record.case["dense_multiply_adds"] / record.case["multiply_adds"]


def _error(summary: Summary) -> Error:
    return Error(summary.error.value, *summary.interval, summary.error.count)
