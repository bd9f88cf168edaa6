"""The numbers of the training experiments, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from harness.measuring import Record, select

from reporting.table import NOTHING, Table
from reporting.views.timings import percent_text, values
from reporting.views.training import (
    DROPOUT,
    VARIANT,
    Summary,
    by_setting,
    multiply_adds,
    per_sample,
    step_ms,
)

SEEDS_NOTE = (
    "Mean over seeds; the 95 % interval takes the spread between seeds from all rows together. "
    "All runs share one test set, whose own sampling error is not in it."
)


ERROR_COLUMNS = ["test error", "95 % interval", "runs"]
MEMORY_NOTE = "Peak memory: of a process that makes three training steps, interpreter included."


def dropout_tables(records: Sequence[Record]) -> list[Table]:
    """One row for every level, shape and kind of dropout."""
    rows = []
    for (depth, kind, rate), summary in by_setting(records, DROPOUT).items():
        case = summary.records[0].case
        rows.append(
            [
                case["description"],
                depth,
                kind if rate else "",
                f"{rate:g}",
                *_error_texts(summary),
                str(len(case["epochs"])),
                f"{summary.epoch_seconds:.1f}",
            ]
        )
    columns = ["network", "where", "kind", "dropout", *ERROR_COLUMNS, "epochs", "s/epoch"]
    note = _note(records)
    lost = [
        f"{r.case['depth']} {r.case['kind']} {r.case['rate']:g} (seed {r.case['seed']})"
        for r in select(records, experiment="diverged")
    ]
    if lost:
        note += f" Without trainings whose loss did not stay finite: {', '.join(lost)}."
    return [Table("mnist_dropout", "Dropout", columns, rows, note, num_words=3)]


def pooling_tables(records: Sequence[Record]) -> list[Table]:
    """A row for every network, and one for every layer of each."""
    rows = []
    for (name,), summary in by_setting(records, VARIANT).items():
        case = summary.records[0].case
        rows.append(
            [
                name,
                case["description"],
                *_error_texts(summary),
                f"{case['parameters']:,}",
                *_millions(records, name),
                *(_step_text(records, name, kind) for kind in ("sparse", "dense")),
            ]
        )
    columns = [
        "network",
        "layers and field",
        *ERROR_COLUMNS,
        "parameters",
        "million multiply-adds",
        "the same densely",
        "sparse step (ms/sample)",
        "dense step (ms/sample)",
    ]
    name = "mnist_slow_pooling"
    return [
        Table(name, "Speed of pooling", columns, rows, _note(records), num_words=2),
        layer_table(records, f"{name}_layers"),
    ]


def comparison_tables(name: str, records: Sequence[Record]) -> list[Table]:
    """A row for every network, and one for every layer of each; ``name`` is the plot's."""
    summaries = by_setting(records, VARIANT)
    rows = []
    for (variant,), summary in summaries.items():
        case = summary.records[0].case
        memory = values(select(records, experiment="memory", variant=variant), "megabytes")
        rows.append(
            [
                variant,
                case["description"],
                *_error_texts(summary),
                f"{case['parameters']:,}",
                *_millions(records, variant),
                f"{summary.epoch_seconds:.1f}",
                f"{memory[0]:,.0f}" if memory else NOTHING,
            ]
        )
    columns = [
        "variant",
        "network",
        *ERROR_COLUMNS,
        "parameters",
        "million multiply-adds",
        "the same densely",
        "s/epoch",
        "peak memory (MB)",
    ]
    data = next(iter(summaries.values())).records[0].case["data"]
    return [
        Table(
            name,
            f"Networks on {data}",
            columns,
            rows,
            f"{_note(records)} {MEMORY_NOTE}",
            num_words=2,
        ),
        layer_table(records, name),
    ]


def _error_texts(summary: Summary) -> list[str]:
    low, high = summary.interval
    return [f"{summary.error.value:.2f} %", f"{low:.2f} to {high:.2f} %", str(summary.error.count)]


def _note(records: Sequence[Record]) -> str:
    """What the intervals are."""
    several = len(values(select(records, experiment="training"), "seed")) > 1
    return SEEDS_NOTE if several else "The interval is Wilson's, of one run."


def layer_table(records: Sequence[Record], name: str) -> Table:
    """What every layer that computes or pools does for a sample."""
    rows = []
    for variant in values(select(records, experiment="layers"), "variant"):
        for layer in per_sample(records, variant):
            if not layer["pairs"] and not layer["multiply_adds"]:
                continue
            rows.append(
                [
                    variant,
                    layer["layer"],
                    str(layer["channels"]),
                    f"{layer['sites']:,.1f}",
                    percent_text(layer["sites"] / layer["grid"]),
                    f"{layer['multiply_adds']:,.0f}",
                    f"{layer['dense_multiply_adds']:,.0f}",
                ]
            )
    columns = ["network", "layer", "channels", "active sites", "active"]
    columns += ["multiply-adds", "the same densely"]
    return Table(name, "Layers, per sample", columns, rows, "", num_words=2)


def _millions(records: Sequence[Record], name: str) -> list[str]:
    kinds = ("multiply_adds", "dense_multiply_adds")
    return [f"{multiply_adds(records, name, kind) / 1e6:.3g}" for kind in kinds]


def _step_text(records: Sequence[Record], name: str, implementation: str) -> str:
    milliseconds = step_ms(records, name, implementation=implementation)
    return NOTHING if isnan(milliseconds) else f"{milliseconds:.3g}"


def pretrained_tables(records: Sequence[Record]) -> list[Table]:
    """What the shipped weights reach; the vote in rows of its own."""
    rows = []
    for record in select(records, experiment="pretrained"):
        case = record.case
        for result in case["results"]:
            low, high = result["interval"]
            rows.append(
                [
                    case["description"],
                    case["data"],
                    f"{case['parameters']:,}",
                    "one" if result["views"] == 1 else f"{result['views']} copies",
                    f"{100 * result['error']:.2f} %",
                    f"{100 * low:.2f} to {100 * high:.2f} %",
                    f"{result['errors']:,} of {result['samples']:,}",
                ]
            )
    columns = ["network", "data", "parameters", "views", "test error", "95 % interval", "errors"]
    note = "A vote takes the class with the greatest mean probability over augmented copies."
    return [Table("pretrained", "Shipped weights", columns, rows, note, num_words=2)]
