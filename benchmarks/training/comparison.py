"""Networks on one data set, compared: error, time, work and memory of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.measuring import Budget, Record
from harness.options import Options
from plans.plan import Plan
from workloads.datasets import DataSet, stroke_data

from spconv import summary
from training.fitting import outcome
from training.peak_memory import peak_megabytes
from training.steps import time_step


@dataclass(frozen=True)
class Entry:
    """A network of a comparison; runs of one ``variant`` differ in their seeds only."""

    variant: str
    plan: Plan


def compare_on_strokes(
    entries: Callable[[str], Sequence[Entry]], name: str, section: str, options: Options
) -> list[Record]:
    """Compare the entries of the size that was asked for; there is no quick form.

    Parameters
    ----------
    entries : callable
        Takes the size.
    name : str
        Of the data set.
    section : str
        Of the report.
    options : Options
    """
    if options.size == "quick":
        return []
    return compare(
        entries(options.size),
        stroke_data(name, options.size, options.data),
        options.out / "runs",
        Budget(0.005, 2) if options.size == "tiny" else Budget(2.0),
        options.echo_of(section),
        options.earlier(section),
    )


def compare(
    entries: Sequence[Entry],
    data: DataSet,
    folder: Path,
    budget: Budget,
    echo: Callable[[str], object],
    earlier: Sequence[Record] | None = None,
) -> list[Record]:
    """Train every network, or go on where an interrupted run ended, and measure it.

    With ``earlier`` records, entries whose training has not ended, here or there, are left out.

    Returns
    -------
    list of Record
        For every entry one of the training; for the first entry of every variant also the counts
        of its layers, the time of a training step and the peak memory of training.
    """
    records: list[Record] = []
    seen: set[str] = set()
    for entry in entries:
        plan, variant = entry.plan, entry.variant
        case = {"variant": variant, "seed": plan.training.seed}
        made = outcome(plan, data, folder / plan.name, echo, earlier, **case)
        if made is None:
            continue
        records.append(made)
        if variant not in seen:
            records += _measure(entry, data, budget)
        seen.add(variant)
    return records


def _measure(entry: Entry, data: DataSet, budget: Budget) -> list[Record]:
    plan = entry.plan
    x, labels = next(iter(plan.loader(data.train, training=True)))
    model, implementation = plan.model(), "sparse" if plan.sparse else "dense"
    counts = [asdict(count) for count in summary(model, plan.prepare(x)).layers]
    case = {
        "variant": entry.variant,
        "description": plan.describe(),
        "batch_size": len(labels),
        "steps": len(plan.loader(data.train, training=True)),
    }
    megabytes = peak_megabytes(plan, x, labels)
    timing = time_step(model, plan.prepare(x), labels, budget)
    return [
        Record("layers", implementation, "counts", {**case, "layers": counts}),
        Record("memory", implementation, "training", {**case, "megabytes": megabytes}),
        Record("step", implementation, "training step", case, timing),
    ]
