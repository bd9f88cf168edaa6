"""The findings of the training experiments in words."""

from __future__ import annotations

from collections.abc import Sequence

from harness import Record, select
from views import percent_text, times_text
from views_training import DROPOUT, POOLING, Setting, Summary, by_setting, mean_text, per_sample


def dropout_finding(records: Sequence[Record]) -> str:
    """The error without dropout and at its best level."""
    summaries = _deepcnets(records)
    none = summaries[("none", "elementwise", 0.0)]
    (depth, kind, rate), best = min(summaries.items(), key=lambda item: item[1].error.value)
    text = f"Test error without dropout {mean_text(none.error)}"
    if rate:
        text += f", at best {mean_text(best.error)} ({kind}, {depth}, {rate:g})"
    return text


def dropout_time_finding(records: Sequence[Record]) -> str:
    """What batchwise dropout saves at the highest level."""
    summaries = _deepcnets(records)
    rate = max(key[2] for key in summaries)
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
    summaries = by_setting(records, POOLING)
    (name,), best = min(summaries.items(), key=lambda item: item[1].error.value)
    layers = per_sample(records, name)
    share = sum(x["multiply_adds"] for x in layers) / sum(x["dense_multiply_adds"] for x in layers)
    return (
        f"Lowest test error: {name}, {mean_text(best.error)}, with {percent_text(share)} of the "
        "dense network's multiply-adds"
    )


def pretrained_finding(records: Sequence[Record]) -> str:
    """The test errors of the shipped weights."""
    parts = [
        f"{record.case['data']} {100 * record.case['results'][0]['error']:.2f} %"
        for record in select(records, experiment="pretrained")
    ]
    return "Test error of the shipped weights: " + ", ".join(parts)


def pictures_finding(records: Sequence[Record]) -> str:
    """What sparsity saves on one digit."""
    (record,) = select(records, experiment="climb")
    gain = times_text(record.case["dense_multiply_adds"] / record.case["multiply_adds"])
    return f"{record.case['network']} needs {gain} fewer multiply-adds for a digit than densely"
