"""Plots of single layers: four sweeps, sparse against dense."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measuring import Record, select
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reporting import style
from reporting.findings.timings import (
    CONVOLUTION,
    REGULAR,
    SUBMANIFOLD,
    channels_finding,
    density_finding,
    equal_share,
    grid_finding,
    kind_gains,
    kinds_finding,
    layer_gains,
)
from reporting.views.timings import (
    BASELINES,
    TIMES,
    curve,
    dense_curve,
    measured_baselines,
    percent_text,
    shape_text,
    times_text,
    values,
)

OPERATIONS = ("forward", "training step")
SPARSE_LINES = (
    (REGULAR, "cold", style.SPARSE, "regular, rulebook + layer", "o"),
    (REGULAR, "warm", style.SPARSE, "regular, rulebook reused", "o"),
    (SUBMANIFOLD, "cold", style.SUBMANIFOLD, "submanifold, rulebook + layer", "s"),
    (SUBMANIFOLD, "warm", style.SUBMANIFOLD, "submanifold, rulebook reused", "s"),
)


def grid(records: Sequence[Record]) -> Figure:
    """Time of a 3 x 3 (x 3) layer over the grid's size."""
    chosen = [r for r in records if r.experiment == "grid"]
    figure = _times(chosen, "edge of the grid (sites)")
    style.title(figure, grid_finding(records), _setting(chosen))
    return figure


def density(records: Sequence[Record]) -> Figure:
    """Time of a layer over the share of active sites, and where dense becomes faster."""
    chosen = [r for r in records if r.experiment == "density"]
    figure = _times(chosen, "active sites (% of the grid)", scale=100)
    panels = iter(figure.axes)
    for operation in OPERATIONS:
        for ndim in (2, 3):
            axes = next(panels)
            where = equal_share(layer_gains(records, "density", ndim, operation))
            if where is not None:
                axes.axvline(where, color=style.GREY, linestyle=":", linewidth=1.2)
                axes.annotate(
                    f"equal at {percent_text(where)} ",
                    (where, 0.02),
                    xycoords=("data", "axes fraction"),
                    ha="right",
                    va="bottom",
                    color=style.GREY,
                    fontsize=9,
                )
    style.title(figure, density_finding(records), _setting(chosen))
    return figure


def channels(records: Sequence[Record]) -> Figure:
    """Gain over dense by the number of channels."""
    chosen = [r for r in records if r.experiment == "channels"]
    figure, panels = style.figure(2, 2, 6.4, sharey="row", sharex="col")
    for row, operation in zip(panels, OPERATIONS, strict=True):
        for axes, ndim in zip(row, (2, 3), strict=True):
            for kind, rulebook, color, label, marker in SPARSE_LINES:
                gains = layer_gains(chosen, "channels", ndim, operation, kind, rulebook)
                look = style.line(color, label, marker, dashed=rulebook == "warm")
                axes.plot([g.x for g in gains], [g.times for g in gains], **look)
            xs = sorted(values(chosen, "x"))
            style.log_axes(axes, xs, [f"{x:g}" for x in xs])
            axes.axhline(1, color=style.GREY, linewidth=1.2)
            axes.set_title(f"{ndim}-D, {operation}", loc="left")
        row[0].set_ylabel("times faster than dense")
    for axes in panels[-1]:
        axes.set_xlabel("channels in and out")
    style.legend(figure, panels[0][0].get_lines()[:4], 2)
    style.title(figure, channels_finding(records), _setting(chosen))
    return figure


def kinds(records: Sequence[Record]) -> Figure:
    """Gain over dense for every kind of layer, as bars."""
    chosen = [r for r in records if r.experiment == "kinds"]
    names = values(chosen, "kind")
    figure, panels = style.figure(1, 2, 3.9, sharey=True, sharex=True)
    for axes, ndim in zip(panels[0], (2, 3), strict=True):
        for shift, rulebook in ((-0.2, "cold"), (0.2, "warm")):
            fill = style.SPARSE if rulebook == "cold" else "white"
            look = {"color": fill, "edgecolor": style.SPARSE, "linewidth": 1.2}
            for gain in kind_gains(chosen, ndim, rulebook):
                place = names.index(gain.x) + shift
                axes.barh(place, gain.times - 1, height=0.36, left=1, **look)
                axes.annotate(
                    times_text(gain.times),
                    (max(gain.times, 1), place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}{TIMES}")
        axes.margins(x=0.18)
        axes.axvline(1, color=style.GREY, linewidth=1.2)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"{ndim}-D", loc="left")
        axes.set_xlabel("times faster than dense, training step")
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    handles = [
        Patch(facecolor=style.SPARSE, edgecolor=style.SPARSE, label="rulebook + layer"),
        Patch(facecolor="white", edgecolor=style.SPARSE, label="rulebook reused"),
    ]
    style.legend(figure, handles, 2)
    style.title(figure, kinds_finding(records), _setting(chosen))
    return figure


def _times(records: Sequence[Record], x_label: str, scale: float = 1) -> Figure:
    """Milliseconds of forward and training step in 2-D and 3-D, sparse and dense."""
    figure, panels = style.figure(2, 2, 6.6, sharex="col")
    for row, operation in zip(panels, OPERATIONS, strict=True):
        for axes, ndim in zip(row, (2, 3), strict=True):
            xs = sorted(values([r for r in records if r.case["ndim"] == ndim], "x"))
            _time_lines(axes, records, xs, ndim=ndim, operation=operation)
            style.log_axes(axes, xs, [f"{scale * x:g}" for x in xs])
            axes.set_title(f"{ndim}-D, {operation}", loc="left")
        row[0].set_ylabel("time (ms)")
    for axes in panels[-1]:
        axes.set_xlabel(x_label)
    style.legend(figure, panels[0][0].get_lines(), 3)
    return figure


def _time_lines(
    axes: Axes, records: Sequence[Record], xs: Sequence[float], *, ndim: int, operation: str
) -> None:
    case = {"ndim": ndim, "operation": operation}
    for name in measured_baselines(records):
        dense = dense_curve(records, name, xs, baseline=CONVOLUTION, **case)
        is_one_number = bool(select(records, implementation=name, x=None))
        marker = "" if is_one_number else "^"
        look = style.line(style.BASELINE_COLORS[name], BASELINES[name], marker)
        axes.plot([x for x, _ in dense], [y for _, y in dense], **look)
    for kind, rulebook, color, text, marker in SPARSE_LINES:
        points = curve(records, "x", implementation="sparse", kind=kind, rulebook=rulebook, **case)
        look = style.line(color, text, marker, dashed=rulebook == "warm")
        axes.plot([x for x, _ in points], [y for _, y in points], **look)


def _setting(records: Sequence[Record]) -> str:
    """What all points of a sweep share, in a line."""
    parts = []
    for ndim in (2, 3):
        one = [r for r in records if r.case["ndim"] == ndim]
        if not one:
            continue
        shapes = {shape_text(r.case["spatial_shape"]) for r in one}
        shape = f" on {shapes.pop()}" if len(shapes) == 1 else ""
        batch = one[0].case["batch_size"]
        parts.append(f"{ndim}-D: {batch} {TIMES} {one[0].case['workload']}{shape}")
    widths = values(records, "channels")
    size = "kernel size 3, " if all(r.case["baseline"] == CONVOLUTION for r in records) else ""
    tail = f"{size}{widths[0]} channels" if len(widths) == 1 else "kernel size 3"
    return "; ".join([*parts, tail])
