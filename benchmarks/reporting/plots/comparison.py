"""The plots that all comparisons of networks on one data set share."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measuring import Record, select
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reporting import style
from reporting.findings.training import comparison_finding
from reporting.views.timings import values
from reporting.views.training import VARIANT, by_setting, multiply_adds, step_ms

HEIGHT_OF_A_ROW = 0.42
COLORS = (style.BLUE, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
MARKERS = "osDv^"
DENSE = style.BASELINE_COLORS["dense"]


def comparison(records: Sequence[Record]) -> Figure:
    """Test error, time of a training step and multiply-adds of every network."""
    summaries = {key[0]: summary for key, summary in by_setting(records, VARIANT).items()}
    names = list(summaries)
    figure, panels = style.figure(1, 3, 2.4 + HEIGHT_OF_A_ROW * len(names), sharey=True)
    errors, times, costs = panels[0]
    colors = [_color(summaries[name].records[0]) for name in names]
    for position, (name, color) in enumerate(zip(names, colors, strict=True)):
        low, high = summaries[name].interval
        error = summaries[name].error.value
        bars = [[error - low], [high - error]]
        errors.errorbar(error, position, xerr=bars, color=color, marker="o", capsize=4)
    _bars(times, [step_ms(records, name) for name in names], colors)
    _bars(costs, [multiply_adds(records, name) / 1e6 for name in names], colors)
    errors.set_yticks(range(len(names)), names)
    errors.set_ylim(len(names) - 0.4, -0.6)
    for axes, title, label in (
        (errors, "test error", "%, with 95 % interval"),
        (times, "training step", "ms per sample"),
        (costs, "multiply-adds", "million per sample"),
    ):
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_title(title, loc="left")
        axes.set_xlabel(label)
    used = {"sparse": "sparse network", "dense": "dense network"}
    chosen = {r.implementation for r in select(records, experiment="training")}
    handles = [Patch(color=_colors(n), label=text) for n, text in used.items() if n in chosen]
    style.legend(figure, handles, 2)
    first = select(records, experiment="training")[0].case
    seeds = len(values(records, "seed"))
    epochs = sorted({len(r.case["epochs"]) for r in select(records, experiment="training")})
    setting = (
        f"{first['data']}: {first['train_samples']:,} training and {first['test_samples']:,} test "
        f"samples; {' or '.join(map(str, epochs))} epochs, {seeds} seed{'s' * (seeds > 1)}"
    )
    style.title(figure, comparison_finding(records), setting)
    return figure


def curves(records: Sequence[Record]) -> Figure:
    """Test error after every epoch of the first seed, over epochs and over the time they take."""
    figure, panels = style.figure(1, 2, 4.2, sharey=True)
    left, right = panels[0]
    summaries = by_setting(records, VARIANT)
    for number, ((name,), summary) in enumerate(summaries.items()):
        run = summary.records[0]
        color = DENSE if run.implementation == "dense" else COLORS[number % len(COLORS)]
        look = {**style.line(color, name, MARKERS[number % len(MARKERS)]), "markersize": 4}
        errors = [100 * epoch["test_error"] for epoch in run.case["epochs"]]
        epochs = range(1, len(errors) + 1)
        left.plot(epochs, errors, **look)
        right.plot([summary.epoch_seconds * epoch for epoch in epochs], errors, **look)
    left.set_yscale("log")
    style.few_minor_labels(left.yaxis)
    right.set_xscale("log")
    style.few_minor_labels(right.xaxis)
    left.set_ylabel("test error (%)")
    for axes, title, label in (
        (left, "by epochs", "epoch"),
        (right, "by time", "seconds of training steps"),
    ):
        axes.set_title(title, loc="left")
        axes.set_xlabel(label)
    style.legend(figure, left.get_lines(), 3)
    case = select(records, experiment="training")[0].case
    setting = (
        f"{case['data']}, after every epoch of one run each; time: that of a step, measured apart"
    )
    style.title(figure, comparison_finding(records), setting)
    return figure


def _bars(axes: Axes, lengths: Sequence[float], colors: Sequence[str]) -> None:
    axes.barh(range(len(lengths)), lengths, 0.55, color=colors)
    for position, length in enumerate(lengths):
        axes.annotate(f" {length:.2g}", (length, position), va="center", fontsize=8.5)
    axes.margins(x=0.18)


def _color(record: Record) -> str:
    return _colors(record.implementation)


def _colors(implementation: str) -> str:
    return style.SPARSE if implementation == "sparse" else DENSE
