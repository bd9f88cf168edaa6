"""The findings of the training experiments in words."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measuring import Record, select

from reporting.views.timings import percent_text, times_text
from reporting.views.training import (
    DROPOUT,
    VARIANT,
    Setting,
    Summary,
    by_setting,
    mean_text,
    multiply_adds,
)


def dropout_finding(records: Sequence[Record]) -> str:
    """The error without dropout and at its best level."""
    summaries = _deepcnets(records)
    none = summaries[("none", "elementwise", 0.0)]
    (depth, kind, rate), best = min(summaries.items(), key=lambda item: item[1].error.value)
    text = f"Test error without dropout {mean_text(none.error)}"
    if rate:
        text += f", at best {mean_text(best.error)} ({kind} {depth} {rate:g})"
    return text


def dropout_time_finding(records: Sequence[Record]) -> str:
    """What batchwise dropout saves at the highest level that was trained with both kinds."""
    summaries = _deepcnets(records)
    rates = [
        {key[2] for key in summaries if key[:2] == ("constant", kind)}
        for kind in ("elementwise", "batchwise")
    ]
    rate = max(rates[0] & rates[1])
    elementwise, batchwise = (
        summaries[("constant", kind, rate)].epoch_seconds for kind in ("elementwise", "batchwise")
    )
    gain = times_text(elementwise / batchwise)
    return f"With dropout {rate:g} everywhere, batchwise trains {gain} as fast as elementwise"


def _deepcnets(records: Sequence[Record]) -> dict[Setting, Summary]:
    summaries = by_setting(records, DROPOUT)
    return {key: summary for key, summary in summaries.items() if key[0] != "last layer"}


def pooling_finding(records: Sequence[Record]) -> str:
    """The network with the lowest error, and its share of the dense cost."""
    summaries = by_setting(records, VARIANT)
    (name,), best = min(summaries.items(), key=lambda item: item[1].error.value)
    share = multiply_adds(records, name) / multiply_adds(records, name, "dense_multiply_adds")
    return (
        f"Lowest test error: {name}, {mean_text(best.error)}, with {percent_text(share)} of the "
        "dense network's multiply-adds"
    )


def pretrained_finding(records: Sequence[Record]) -> str:
    """The test errors of the shipped weights."""
    errors: dict[str, list[str]] = {}
    for record in select(records, experiment="pretrained"):
        error = f"{100 * record.case['results'][0]['error']:.2f} %"
        errors.setdefault(record.case["data"], []).append(error)
    parts = [f"{data} {' and '.join(found)}" for data, found in errors.items()]
    return "Test error of the shipped weights: " + ", ".join(parts)


def pictures_finding(records: Sequence[Record]) -> str:
    """What sparsity saves on one digit."""
    (record,) = select(records, experiment="climb")
    gain = times_text(record.case["dense_multiply_adds"] / record.case["multiply_adds"])
    return f"{record.case['network']} needs {gain} fewer multiply-adds for a digit than densely"


def comparison_finding(records: Sequence[Record]) -> str:
    """The lowest test error of a sparse network, beside the dense one's or else the highest."""
    summaries = {key[0]: summary for key, summary in by_setting(records, VARIANT).items()}
    data = summaries[next(iter(summaries))].records[0].case["data"]
    ranked = sorted(summaries, key=lambda name: summaries[name].error.value)
    dense = [name for name in ranked if summaries[name].records[0].implementation == "dense"]
    best = next(name for name in ranked if name not in dense)
    chosen = [best, dense[0] if dense else ranked[-1]]
    texts = [f"{summaries[name].error.value:.2f} % ({name})" for name in dict.fromkeys(chosen)]
    return f"Test error on {data}: " + ", ".join(texts)
