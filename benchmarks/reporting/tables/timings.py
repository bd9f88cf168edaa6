"""Tables of layers, rulebooks, whole networks and the two trainings on MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.measuring import Record, select

from reporting.findings.timings import duration_text
from reporting.table import NOTHING, Table
from reporting.views.timings import (
    BASELINES,
    TIMES,
    Gain,
    baselines_text,
    dense_curve,
    gain_at,
    median_ms,
    percent_text,
    rulebook_scenes,
    shape_text,
    times_text,
    values,
)


def layer_tables(records: Sequence[Record]) -> list[Table]:
    """A table for every sweep, dimension and operation."""
    return [
        table
        for experiment in ("grid", "density", "channels", "kinds")
        for ndim in (2, 3)
        for operation in ("forward", "training step")
        for table in _layer_table(records, experiment, ndim, operation)
    ]


def _layer_table(
    records: Sequence[Record], experiment: str, ndim: int, operation: str
) -> list[Table]:
    chosen = select(records, experiment=experiment, ndim=ndim, operation=operation)
    sparse = select(chosen, implementation="sparse", rulebook="cold")
    if not sparse:
        return []
    rows, gains = [], []
    for record in sparse:
        case = record.case
        same = {"kind": case["kind"], "x": case["x"]}
        cold = median_ms([record])
        warm = median_ms(chosen, rulebook="warm", **same)
        baselines = {
            name: _dense_ms(chosen, name, case["x"], case["baseline"]) for name in BASELINES
        }
        gains.append(gain_at(case["x"], cold, baselines))
        rows.append(
            [
                _x_text(experiment, case),
                case["kind"],
                f"{case['sites']:,}",
                percent_text(case["density"]),
                f"{case['pairs']:,}",
                _ms(cold),
                _ms(warm),
                *(_ms(baselines[name]) for name in BASELINES),
                _gain_text(gains[-1]),
            ]
        )
    columns = [
        {"grid": "grid", "density": "grid", "channels": "channels", "kinds": "grid"}[experiment],
        "layer",
        "active sites",
        "active",
        "pairs",
        "rulebook + layer (ms)",
        "rulebook reused (ms)",
        *(f"{name} (ms)" for name in BASELINES.values()),
        "speed-up",
    ]
    title = f"{TITLES[experiment]}, {ndim}-D, {operation}"
    return [Table(f"layers_{experiment}", title, columns, rows, _notes(chosen, gains), num_words=2)]


TITLES = {
    "grid": "Grid size",
    "density": "Share of active sites",
    "channels": "Channels",
    "kinds": "Kinds of layers",
}


def _dense_ms(records: Sequence[Record], name: str, x: Any, baseline: str) -> float | None:
    return dict(dense_curve(records, name, [x], baseline=baseline)).get(x)


def _x_text(experiment: str, case: dict[str, Any]) -> str:
    if experiment == "channels":
        return str(case["channels"])
    return f"{case['batch_size']} {TIMES} {shape_text(case['spatial_shape'])}"


def rulebook_tables(records: Sequence[Record]) -> list[Table]:
    """One table per dimension and workload."""
    tables = []
    for ndim, workload in rulebook_scenes(records):
        rows = [
            [
                record.case["kind"],
                f"{record.case['sites']:,}",
                f"{record.case['out_sites']:,}",
                f"{record.case['pairs']:,}",
                _ms(median_ms([record])),
                _per_pair(record),
            ]
            for record in select(records, ndim=ndim, workload=workload)
        ]
        columns = ["layer", "active sites", "output sites", "pairs", "time (ms)", "per pair (ns)"]
        tables.append(Table("rulebooks", f"Rulebooks, {ndim}-D, {workload}", columns, rows))
    return tables


def _per_pair(record: Record) -> str:
    if record.timing is None or not record.case["pairs"]:
        return NOTHING
    return f"{1e6 * record.timing.median_ms / record.case['pairs']:.3g}"


def network_tables(records: Sequence[Record]) -> list[Table]:
    """One table per operation."""
    tables = []
    for operation in ("training step", "inference"):
        rows, gains = [], []
        for record in select(records, implementation="sparse", operation=operation):
            case = record.case
            baselines = {
                name: median_ms(records, implementation=name, operation=operation, x=case["x"])
                for name in BASELINES
            }
            sparse = median_ms([record])
            gains.append(gain_at(case["x"], sparse, baselines))
            rows.append(
                [
                    f"DeepCNet({case['l']}, {case['k']})",
                    shape_text([case["field"]] * 2),
                    f"{case['parameters']:,}",
                    f"{case['sites'] / case['batch_size']:.0f}",
                    percent_text(case["density"]),
                    _ms(sparse),
                    *(_ms(baselines[name]) for name in BASELINES),
                    _gain_text(gains[-1]),
                ]
            )
        columns = [
            "network",
            "field",
            "parameters",
            "sites per sample",
            "active",
            "sparse (ms)",
            *(f"{name} (ms)" for name in BASELINES.values()),
            "speed-up",
        ]
        batch = records[0].case["batch_size"]
        title = f"Whole networks, {operation}, batch of {batch}"
        note = _notes(select(records, operation=operation), gains)
        tables.append(Table("networks", title, columns, rows, note))
    return [*tables, *_work_table(records)]


def _work_table(records: Sequence[Record]) -> list[Table]:
    """Counted multiply-adds of whole networks."""
    rows = []
    dense = {
        record.case["x"]: record.case["multiply_adds"]
        for record in select(records, experiment="work", implementation="dense")
    }
    for record in select(records, experiment="work", implementation="sparse"):
        case = record.case
        samples = case["batch_size"]
        own, other = case["multiply_adds"], dense.get(case["x"])
        rows.append(
            [
                shape_text([case["field"]] * 2),
                f"{case['sites'] / samples:.0f}",
                f"{case['field'] ** 2:,}",
                f"{own / samples / 1e6:,.2f}",
                NOTHING if other is None else f"{other / samples / 1e6:,.2f}",
                NOTHING if other is None else times_text(other / own),
            ]
        )
    columns = ["field", "ink (sites)", "area (sites)", "sparse", "dense", "dense / sparse"]
    title = "Multiply-adds of a forward pass, million per sample"
    return [Table("networks_growth", title, columns, rows)] if rows else []


def mnist_tables(records: Sequence[Record]) -> list[Table]:
    """Errors and times of the training runs."""
    rows = []
    for record in records:
        case = record.case
        low, high = case["interval"]
        samples = case["train_samples"] * len(case["epochs"])
        rows.append(
            [
                case["description"],
                f"{case['parameters']:,}",
                str(len(case["epochs"])),
                f"{100 * case['test_error']:.2f} %",
                f"{100 * low:.2f} to {100 * high:.2f} %",
                f"{case['test_errors']:,} of {case['test_samples']:,}",
                duration_text(case["train_seconds"]),
                f"{samples / case['train_seconds']:,.0f}",
                f"{case['test_samples'] / case['test_seconds']:,.0f}",
            ]
        )
    columns = [
        "network",
        "parameters",
        "epochs",
        "test error",
        "95 % interval",
        "errors",
        "training time",
        "training samples/s",
        "test samples/s",
    ]
    data = " and ".join(values(records, "data"))
    return [Table("mnist", f"Training on {data}", columns, rows)]


def _ms(value: float | None) -> str:
    """Milliseconds with three digits."""
    if value is None:
        return NOTHING
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _gain_text(gain: Gain | None) -> str:
    return NOTHING if gain is None else times_text(gain.times)


def _notes(records: Sequence[Record], gains: Sequence[Gain | None]) -> str:
    """Why cells are empty, and which baseline the speed-ups are over."""
    skipped = {
        f"{shape_text(shape)} {record.note}"
        for record in records
        if record.timing is None and record.note
        for shape in [record.case.get("spatial_shape") or [record.case.get("field")] * 2]
    }
    texts = []
    if baseline := baselines_text(gain.baseline for gain in gains if gain is not None):
        texts.append(f"Speed-up: over {baseline}, rulebook included.")
    if not any(record.implementation == "torch" for record in records):
        texts.append("PyTorch was not installed.")
    return " ".join([*texts, *(f"Dense left out: {why}." for why in sorted(skipped))])
