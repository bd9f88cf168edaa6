"""Questions that plots, tables and headlines ask of the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.measuring import Record, select

TIMES = "\N{MULTIPLICATION SIGN}"

Pairs = list[tuple[float, float]]

BASELINES = {"dense": "our dense layers", "torch": "dense PyTorch"}
"""Implementations of the dense baseline; the first is this library's own layers."""


def values(records: Iterable[Record], name: str) -> list[Any]:
    """The distinct entries ``name`` of the cases, None left out, in their order."""
    seen = dict.fromkeys(record.case.get(name) for record in records)
    return [value for value in seen if value is not None]


def rulebook_scenes(records: Iterable[Record]) -> list[tuple[int, str]]:
    """The numbers of dimensions and what sites look like that rulebooks were built for."""
    return list(dict.fromkeys((r.case["ndim"], r.case["workload"]) for r in records))


def strongest(records: Iterable[Record]) -> str:
    """Which dense baseline is faster, "torch" or "dense", by the geometric mean.

    Over the cases that both measured; "dense" where PyTorch measured none.
    """
    times: dict[tuple[Any, ...], dict[str, float]] = {}
    for record in records:
        if record.implementation in BASELINES and record.timing is not None:
            case = tuple(sorted((k, str(v)) for k, v in record.case.items()))
            key = (record.experiment, record.operation, case)
            times.setdefault(key, {})[record.implementation] = record.timing.median_ms
    logs = [
        math.log(both["torch"] / both["dense"])
        for both in times.values()
        if both.keys() == BASELINES.keys()
    ]
    return "torch" if logs and sum(logs) < 0 else "dense"


def median_ms(records: Iterable[Record], **wanted: Any) -> float | None:
    """The median of the one record that fits; None if there is none, or it was skipped."""
    for record in select(records, **wanted):
        if record.timing is not None:
            return record.timing.median_ms
    return None


def curve(records: Iterable[Record], x: str, **wanted: Any) -> Pairs:
    """(case[x], median in ms) of the measured records that fit, by ascending x."""
    return sorted(
        (record.case[x], record.timing.median_ms)
        for record in select(records, **wanted)
        if record.timing is not None and record.case[x] is not None
    )


def dense_curve(
    records: Sequence[Record], implementation: str, xs: Sequence[float], **wanted: Any
) -> Pairs:
    """The dense times at ``xs``; a single record without x stands for all of them."""
    everywhere = median_ms(records, implementation=implementation, x=None, **wanted)
    if everywhere is not None:
        return [(x, everywhere) for x in xs]
    return curve(records, "x", implementation=implementation, **wanted)


@dataclass(frozen=True)
class Gain:
    """How many times faster sparse is at ``x`` than ``baseline``, the faster dense one there."""

    x: Any
    times: float
    baseline: str


def gain_at(x: Any, sparse: float | None, dense: Mapping[str, float | None]) -> Gain | None:
    """The gain of a time over the times of the baselines; None if either was not measured."""
    measured = {name: time for name, time in dense.items() if time is not None}
    if sparse is None or not measured:
        return None
    baseline = min(measured, key=measured.__getitem__)
    return Gain(x, measured[baseline] / sparse, baseline)


def gains_along(sparse: Pairs, dense: Mapping[str, Pairs]) -> list[Gain]:
    """The gains along a curve, where there are any, over those of the baselines."""
    times = {name: dict(pairs) for name, pairs in dense.items()}
    found = [gain_at(x, y, {name: of.get(x) for name, of in times.items()}) for x, y in sparse]
    return [gain for gain in found if gain is not None]


def measured_baselines(records: Iterable[Record]) -> list[str]:
    """The dense baselines that any of the records measured."""
    measured = {record.implementation for record in records if record.timing is not None}
    return [name for name in BASELINES if name in measured]


def baselines_text(names: Iterable[str]) -> str:
    """
    >>> baselines_text(["torch", "torch"]), baselines_text(["torch", "dense"])
    ('dense PyTorch', 'the faster of our dense layers and dense PyTorch')
    """
    found = set(names)
    text = " and ".join(text for name, text in BASELINES.items() if name in found)
    return f"the faster of {text}" if len(found) > 1 else text


def growth(pairs: Pairs) -> Pairs:
    """A curve relative to its first point.

    >>> growth([(24, 2.0), (48, 5.0)])
    [(24, 1.0), (48, 2.5)]
    """
    return [(x, y / pairs[0][1]) for x, y in pairs]


def slope_text(pairs: Pairs) -> str:
    """By what factor a curve grows for every doubling of x, over its whole length."""
    (x0, y0), (x1, y1) = pairs[0], pairs[-1]
    return times_text((y1 / y0) ** (1 / math.log2(x1 / x0)))


def crossing(pairs: Pairs, level: float = 1.0) -> float | None:
    """Where a curve falls from above ``level`` to below it, interpolated on log-log axes."""
    for (x0, y0), (x1, y1) in pairwise(pairs):
        if y0 >= level > y1:
            part = math.log(y0 / level) / math.log(y0 / y1)
            return float(x0 * (x1 / x0) ** part)
    return None


def shape_text(shape: Sequence[float]) -> str:
    """A grid as "96 x 96", with a multiplication sign and no spaces."""
    return TIMES.join(f"{extent:g}" for extent in shape)


def times_text(ratio: float) -> str:
    """A ratio with two digits and a multiplication sign."""
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2
    return f"{ratio:.{digits}f}{TIMES}"


def faster_text(ratio: float) -> str:
    """How a speed-up is said: 12 times "faster", or 2.0 times "slower"."""
    return f"{times_text(ratio)} faster" if ratio >= 1 else f"{times_text(1 / ratio)} slower"


def percent_text(share: float) -> str:
    """
    >>> percent_text(0.301), percent_text(0.0312), percent_text(0.00312)
    ('30 %', '3.1 %', '0.31 %')
    """
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.2g} %"


def count_text(count: float) -> str:
    """A number of sites with two digits.

    >>> count_text(988), count_text(14_600), count_text(1_234_000)
    ('990', '15k', '1.2M')
    """
    rounded = float(f"{count:.2g}")
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if rounded >= unit:
            return f"{rounded / unit:g}{name}"
    return f"{rounded:g}"
