"""Plots of the training experiments: dropout, and the speed of pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from harness.measuring import Record, select
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from reporting import style
from reporting.findings.training import dropout_finding, pooling_finding, pretrained_finding
from reporting.views.timings import count_text, values
from reporting.views.training import (
    DROPOUT,
    VARIANT,
    Summary,
    by_setting,
    multiply_adds,
    per_sample,
    step_ms,
)

CURVES = (
    ("constant", "elementwise", style.BLUE, "o", False),
    ("rising", "elementwise", style.BLUE, "o", True),
    ("constant", "batchwise", style.ORANGE, "s", False),
    ("rising", "batchwise", style.ORANGE, "s", True),
)
APART = 0.008
COLORS = (style.VERMILLION, style.SKY, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE)
MARKERS = "sovD^P*"


def dropout(records: Sequence[Record]) -> Figure:
    """Test error and time of an epoch over the level of dropout."""
    summaries = by_setting(records, DROPOUT)
    figure, panels = style.figure(1, 2, 4.4)
    left, right = panels[0]
    without = summaries[("none", "elementwise", 0.0)]
    for number, (depth, kind, color, marker, dashed) in enumerate(CURVES):
        points = [(0.0, without)]
        points += [(key[2], s) for key, s in summaries.items() if key[:2] == (depth, kind)]
        look = style.line(color, f"{kind}, {depth}", marker, dashed=dashed)
        rates = [rate for rate, _ in points]
        errors = [s.error.value for _, s in points]
        bars = _bars([s for _, s in points])
        # Side by side: intervals at one rate would hide each other.
        places = [rate + APART * (number - 1.5) * (rate > 0) for rate in rates]
        left.errorbar(places, errors, yerr=bars, capsize=3, elinewidth=1, **look)
        right.plot(rates, [s.epoch_seconds for _, s in points], **look)
    curves = right.get_lines()
    for key, summary in summaries.items():
        if key[0] == "last layer":  # the dense network comes last: an unfinished study has none
            color = style.BASELINE_COLORS["dense"]
            for axes, value in ((left, summary.error.value), (right, summary.epoch_seconds)):
                axes.axhline(value, color=color, linestyle=":", label="simple dense CNN")
    left.set_ylabel("test error (%)")
    left.set_title(_what_is_shown(records), loc="left")
    right.set_ylabel("time of an epoch (s)")
    right.set_ylim(bottom=0)
    right.set_title("time", loc="left")
    for axes in (left, right):
        axes.set_xlabel("dropout (rising: at the last layer)")
    dense = right.get_lines()[len(curves) :]
    style.legend(figure, [*curves[: len(CURVES)], *dense], 3 if dense else 2)
    first = without.records[0].case
    setting = (
        f"{first['data']}, {first['description']}, {len(first['epochs'])} epochs, "
        f"{_seeds_text(records)}"
    )
    style.title(figure, dropout_finding(records), setting)
    return figure


def pretrained(records: Sequence[Record]) -> Figure:
    """Learning curves of the shipped weights, one panel for each network."""
    chosen = select(records, experiment="pretrained")
    figure, panels = style.figure(1, len(chosen), 3.9)
    for record, axes in zip(chosen, panels[0], strict=True):
        case = record.case
        epochs = range(1, len(case["epochs"]) + 1)
        for name, label, color, marker in (
            ("error", "training samples, augmented", style.GREY, ""),
            ("test_error", "test samples", style.SPARSE, "o"),
        ):
            errors = [100 * epoch[name] for epoch in case["epochs"]]
            axes.plot(epochs, errors, **{**style.line(color, label, marker), "markersize": 3.5})
        axes.set_yscale("log")
        style.few_minor_labels(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_title(f"{case['network']}: {100 * case['results'][0]['error']:.2f} %", loc="left")
        axes.set_xlabel("epoch")
    panels[0][0].set_ylabel("error (%)")
    style.legend(figure, panels[0][0].get_lines(), 2)
    setting = "Sparse networks, trained by the recipes of benchmarks/plans/recipes.py"
    style.title(figure, pretrained_finding(records), setting)
    return figure


def pooling(records: Sequence[Record]) -> Figure:
    """Test error, multiply-adds, and the time of a training step, sparse and dense."""
    summaries = by_setting(records, VARIANT)
    names = [key[0] for key in summaries]
    figure, panels = style.figure(1, 3, 4.8, sharey=True, width_ratios=(1.2, 0.9, 1.2))
    errors, costs, times = panels[0]
    for position, name in enumerate(names):
        summary = summaries[(name,)]
        look = {"color": style.SPARSE, "marker": "o", "capsize": 4}
        errors.errorbar(summary.error.value, position, xerr=_bars([summary]), **look)
        millions = multiply_adds(records, name) / 1e6
        costs.barh(position, millions, 0.5, color=style.SPARSE)
        costs.annotate(f" {millions:.2g}", (millions, position), va="center", fontsize=8.5)
        for implementation, color, shift in (
            ("sparse", style.SPARSE, -0.2),
            ("dense", style.BASELINE_COLORS["dense"], 0.2),
        ):
            milliseconds = step_ms(records, name, implementation=implementation)
            if isnan(milliseconds):
                times.annotate(" not run densely", (0, position + shift), va="center", fontsize=8.5)
                continue
            times.barh(position + shift, milliseconds, 0.38, color=color)
            text = f" {milliseconds:.2g}"
            times.annotate(text, (milliseconds, position + shift), va="center", fontsize=8.5)
    errors.set_yticks(range(len(names)), names)
    errors.set_ylim(len(names) - 0.4, -0.6)
    seeds = "mean over seeds" if len(values(records, "seed")) > 1 else "one run"
    for axes, title, label in (
        (errors, "test error", f"%, {seeds}, 95 % interval"),
        (costs, "multiply-adds, sparse", "million per sample"),
        (times, "training step", "ms per sample"),
    ):
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.18)
        axes.set_xlim(left=0)
        axes.set_title(title, loc="left")
        axes.set_xlabel(label)
    bars = {"sparse network": style.SPARSE, "dense network": style.BASELINE_COLORS["dense"]}
    style.legend(figure, [Patch(color=color, label=name) for name, color in bars.items()], 2)
    first = select(records, experiment="training")[0].case
    setting = (
        f"{first['data']}, {len(first['epochs'])} epochs, {_seeds_text(records)}; "
        f"k = {first['settings']['k']} filters, twice, three times... as many on higher levels"
    )
    style.title(figure, pooling_finding(records), setting)
    return figure


def pooling_layers(records: Sequence[Record]) -> Figure:
    """Active sites and multiply-adds of every convolution, from the input to the end."""
    figure, panels = style.figure(1, 2, 4.4)
    names = [r.case["variant"] for r in select(records, experiment="layers")]
    for name, color, marker in _looks(names):
        layers = [x for x in per_sample(records, name) if x["layer"] == "SparseConv2d"]
        numbers = range(1, len(layers) + 1)
        look = {**style.line(color, name, marker), "linewidth": 1.5}
        panels[0][0].plot(numbers, [layer["sites"] for layer in layers], **look)
        panels[0][1].plot(numbers, [layer["multiply_adds"] for layer in layers], **look)
    for axes, what in zip(panels[0], ("active sites", "multiply-adds"), strict=True):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: count_text(value))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("convolution, counted from the input")
        axes.set_title(f"{what} per sample", loc="left")
    style.legend(figure, panels[0][0].get_lines(), 3)
    title = "Slow pooling keeps many active sites through many layers"
    style.title(figure, title, "Counted on test images")
    return figure


def _bars(summaries: Sequence[Summary]) -> list[list[float]]:
    """How far the intervals reach below and above the errors."""
    intervals = [(summary.error.value, *summary.interval) for summary in summaries]
    below = [value - low for value, low, _ in intervals]
    return [below, [high - value for value, _, high in intervals]]


def _what_is_shown(records: Sequence[Record]) -> str:
    several = len(values(records, "seed")) > 1
    return f"{'mean over seeds' if several else 'one run each'}, with 95 % interval"


def _seeds_text(records: Sequence[Record]) -> str:
    count = len(values(records, "seed"))
    return "1 seed" if count == 1 else f"{count} seeds"


def _looks(names: Sequence[str]) -> list[tuple[str, str, str]]:
    colors = (*COLORS, style.GREY)
    return [(name, colors[n % 7], MARKERS[n % 7]) for n, name in enumerate(names)]
