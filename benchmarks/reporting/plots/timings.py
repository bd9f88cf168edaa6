"""Plots of rulebooks, whole networks and the two trainings on MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from harness.measuring import Record, select
from matplotlib.figure import Figure

from reporting import style
from reporting.findings.timings import (
    duration_text,
    error_text,
    network_gains,
    networks_finding,
    rulebooks_finding,
)
from reporting.views.timings import (
    BASELINES,
    count_text,
    curve,
    measured_baselines,
    rulebook_scenes,
    times_text,
    values,
)

RULEBOOK_LINES = (
    ("submanifold, size 3", style.GREEN, "s", False),
    ("submanifold, size 3, shuffled sites", style.GREEN, "s", True),
    ("regular, size 3", style.BLUE, "o", False),
    ("strided, size 2", style.ORANGE, "D", False),
)


def rulebooks(records: Sequence[Record]) -> Figure:
    """Time to build rulebooks over the number of sites."""
    scenes = rulebook_scenes(records)
    figure, panels = style.figure(1, len(scenes), 4.5, sharey=True)
    for axes, (ndim, workload) in zip(panels[0], scenes, strict=True):
        chosen = select(records, ndim=ndim, workload=workload)
        for kind, color, marker, dashed in RULEBOOK_LINES:
            points = curve(chosen, "sites", kind=kind)
            look = style.line(color, kind, marker, dashed=dashed)
            axes.plot([x for x, _ in points], [y for _, y in points], **look)
        sites = sorted(values(chosen, "sites"))
        style.log_axes(axes, sites, [count_text(n) for n in sites])
        axes.margins(x=0.12)
        axes.set_title(f"{ndim}-D\n{workload}", loc="left")
        axes.set_xlabel("active sites")
    panels[0][0].set_ylabel("time (ms)")
    style.legend(figure, panels[0][0].get_lines(), 2)
    setting = "Time to build the pairs of input and output sites, once per batch and resolution"
    style.title(figure, rulebooks_finding(records), setting)
    return figure


def networks(records: Sequence[Record]) -> Figure:
    """Milliseconds per sample of whole networks over the field's size."""
    figure, panels = style.figure(1, 2, 4.2, sharey=True)
    batch, k = records[0].case["batch_size"], records[0].case["k"]
    for axes, operation in zip(panels[0], ("training step", "inference"), strict=True):
        looks = {
            **{
                name: style.line(style.BASELINE_COLORS[name], BASELINES[name], "^")
                for name in measured_baselines(records)
            },
            "sparse": style.line(style.SPARSE, "sparse, rulebooks included", "o"),
        }
        for name, look in looks.items():
            points = curve(records, "x", implementation=name, operation=operation)
            axes.plot([x for x, _ in points], [y / batch for _, y in points], **look)
        gains = {gain.x: times_text(gain.times) for gain in network_gains(records, operation)}
        xs = sorted(values(records, "x"))
        style.log_axes(axes, xs, [f"{x:g}\n{gains.get(x, '')}" for x in xs])
        axes.margins(x=0.08)
        axes.set_title(operation, loc="left")
        axes.set_xlabel("edge of the field (sites) / times faster")
    panels[0][0].set_ylabel("time per sample (ms)")
    style.legend(figure, panels[0][0].get_lines(), 3)
    ls = values(records, "l")
    setting = (
        f"DeepCNet(l, {k}), l = {ls[0]} to {ls[-1]}; batch of {batch} characters of pen strokes "
        "that fill a third of the field"
    )
    style.title(figure, networks_finding(records), setting)
    return figure


def mnist(records: Sequence[Record]) -> Figure:
    """Test error over training time, and the final errors with their intervals."""
    figure, panels = style.figure(1, 2, 4.2, width_ratios=(1.25, 1))
    left, right = panels[0]
    unit = 60 if max(record.case["train_seconds"] for record in records) > 100 else 1
    for position, record in enumerate(records):
        case = record.case
        sparse = record.implementation == "sparse"
        color = style.SPARSE if sparse else style.BASELINE_COLORS["dense"]
        look = style.line(color, case["description"], "o" if sparse else "^")
        seconds = list(accumulate(epoch["seconds"] for epoch in case["epochs"]))
        errors = [100 * epoch["test_error"] for epoch in case["epochs"]]
        left.plot([s / unit for s in seconds], errors, **look)
        low, high = (100 * bound for bound in case["interval"])
        error = 100 * case["test_error"]
        bars = [[max(0.0, error - low)], [max(0.0, high - error)]]
        right.errorbar(
            error, position, xerr=bars, color=color, marker=look["marker"], capsize=4, markersize=7
        )
        right.annotate(
            f"{case['network']}: {error_text(record)}\n"
            f"trained in {duration_text(case['train_seconds'])}",
            (0.02, position - 0.12),
            xycoords=("axes fraction", "data"),
            va="bottom",
            fontsize=9.5,
        )
    left.set_yscale("log")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if value < 10 else "")
    left.tick_params(axis="y", which="minor", labelsize=8)
    left.set_xlim(left=0)
    left.set_xlabel(f"training time ({'minutes' if unit == 60 else 'seconds'})")
    left.set_ylabel("test error (%)")
    left.set_title("after every epoch", loc="left")
    right.set_yticks([])
    right.set_ylim(len(records) - 0.6, -0.75)
    right.set_xlim(left=0)
    right.set_xlabel("test error (%)")
    right.set_title("final, with 95 % interval", loc="left")
    style.legend(figure, left.get_lines(), 2)
    samples = f"{records[0].case['train_samples']:,}"
    tests = f"{records[0].case['test_samples']:,}"
    data = records[0].case["data"]
    setting = f"{data}: {samples} training and {tests} test images; both networks in this library"
    style.title(figure, _title(records), setting)
    return figure


def _title(records: Sequence[Record]) -> str:
    parts = [f"{r.case['network']} {100 * r.case['test_error']:.2f} %" for r in records]
    return f"Test error on {records[0].case['data']}: " + ", ".join(parts)
