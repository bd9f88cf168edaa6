"""The numbers of the training experiments, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from harness import Record, select
from table import NOTHING, Table
from views import percent_text
from views_training import DROPOUT, POOLING, by_setting, mean_text, per_sample

SEEDS_NOTE = (
    "Mean over seeds; the 95 % interval takes the spread between seeds from all rows together. "
    "All runs share one test set, whose own sampling error is not in it."
)


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
                mean_text(summary.error),
                str(summary.error.count),
                str(len(case["epochs"])),
                f"{summary.epoch_seconds:.1f}",
            ]
        )
    columns = ["network", "where", "kind", "dropout", "test error", "runs", "epochs", "s/epoch"]
    return [Table("mnist_dropout", "Dropout", columns, rows, SEEDS_NOTE, num_words=3)]


def pooling_tables(records: Sequence[Record]) -> list[Table]:
    """A row for every network, and one for every layer of each."""
    rows, layer_rows = [], []
    for (name,), summary in by_setting(records, POOLING).items():
        case = summary.records[0].case
        layers = per_sample(records, name)
        cost, dense = (
            sum(layer[kind] for layer in layers)
            for kind in ("multiply_adds", "dense_multiply_adds")
        )
        rows.append(
            [
                name,
                case["description"],
                mean_text(summary.error),
                str(summary.error.count),
                f"{case['parameters']:,}",
                f"{cost / 1e6:.3g}",
                f"{dense / 1e6:.3g}",
                *(_step_text(records, name, kind) for kind in ("sparse", "dense")),
            ]
        )
        for layer in layers:
            if layer["layer"] == "LeakyReLU":
                continue
            layer_rows.append(
                [
                    name,
                    layer["layer"],
                    str(layer["channels"]),
                    f"{layer['sites']:,.1f}",
                    percent_text(layer["sites"] / layer["grid"]),
                    f"{layer['multiply_adds']:,.0f}",
                    f"{layer['dense_multiply_adds']:,.0f}",
                ]
            )
    columns = [
        "network",
        "layers and field",
        "test error",
        "runs",
        "parameters",
        "million multiply-adds",
        "the same densely",
        "sparse step (ms/sample)",
        "dense step (ms/sample)",
    ]
    layer_columns = [
        "network",
        "layer",
        "channels",
        "active sites",
        "active",
        "multiply-adds",
        "the same densely",
    ]
    return [
        Table("mnist_slow_pooling", "Speed of pooling", columns, rows, SEEDS_NOTE, num_words=2),
        Table(
            "mnist_slow_pooling_layers", "Per sample", layer_columns, layer_rows, "", num_words=2
        ),
    ]


def _step_text(records: Sequence[Record], name: str, implementation: str) -> str:
    for record in select(records, experiment="step", variant=name, implementation=implementation):
        if record.timing is not None:
            return f"{record.timing.min_ms / record.case['batch_size']:.3g}"
    return NOTHING


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
