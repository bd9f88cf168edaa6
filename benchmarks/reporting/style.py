"""How all plots look: colours, markers, sizes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

# Okabe and Ito's palette: told apart by all kinds of colour vision, and in grey by lightness.
BLUE, GREEN, SKY = "#0072B2", "#009E73", "#56B4E9"
VERMILLION, PURPLE, ORANGE, GREY = "#D55E00", "#A0528C", "#E69F00", "#666666"

SPARSE, SUBMANIFOLD = BLUE, GREEN
BASELINE_COLORS = {"dense": VERMILLION, "torch": PURPLE}

WIDTH = 8.0  # inches: 800 pixels at the 100 dots per inch of a report page
PNG_DPI = 200

PARAMETERS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2,
    "lines.markersize": 5.5,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "svg.hashsalt": "spconv",
}


def figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of the report's width and its axes, always as a 2-D array of Axes."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def title(figure: Figure, finding: str, setting: str) -> None:
    """What the plot shows, in bold, and under it what was measured, both flush left."""
    finding, setting = _broken(finding, 74), _broken(setting, 118)
    height = figure.get_size_inches()[1]
    below = 0.32 + 0.21 * finding.count("\n")
    room = below + 0.24 + 0.16 * setting.count("\n")
    look: dict[str, Any] = {"x": 0.012, "ha": "left", "va": "top"}
    figure.text(y=1 - 0.08 / height, s=finding, size=12.5, weight="bold", **look)
    figure.text(y=1 - below / height, s=setting, size=9.5, color=GREY, **look)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1 - room / height))


def _broken(text: str, width: int) -> str:
    """Break a text that is too long for a line, at a comma or semicolon if that is enough."""
    if len(text) <= width:
        return text
    place = max(text.rfind(mark, 0, width) for mark in (", ", "; ")) + 1
    if place and len(text) - place <= width:
        return f"{text[:place]}\n{text[place + 1 :]}"
    return textwrap.fill(text, width)


def legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """One legend for all panels, under them."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def line(color: str, label: str, marker: str, *, dashed: bool = False) -> dict[str, Any]:
    """Options of ``Axes.plot``: dashed lines with hollow markers are the reused rulebooks."""
    return {
        "color": color,
        "label": label,
        "marker": marker,
        "linestyle": (0, (4, 2)) if dashed else "-",
        "markerfacecolor": "white" if dashed else color,
    }


def log_axes(axes: Axes, xs: Sequence[float], labels: Sequence[str]) -> None:
    """Two logarithmic axes: ``labels`` at ``xs``, plain numbers on the other."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    named_ticks(axes, xs, labels)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def few_minor_labels(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5, 10, 20, ...; beyond two decades 1, 10, ..."""

    def minor(value: float, _: int | None) -> str:
        low, high = axis.get_view_interval()
        return f"{value:g}" if f"{value:e}"[0] in "25" and high <= 200 * low else ""

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(minor))


def named_ticks(axes: Axes, xs: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks of the x axis at ``xs`` only."""
    axes.xaxis.set_major_locator(FixedLocator(list(xs)))
    axes.xaxis.set_minor_locator(NullLocator())
    names = dict(zip(xs, labels, strict=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(value, "")))


def style() -> Any:
    """The context in which figures are made and saved."""
    return mpl.rc_context(PARAMETERS)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg``; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=PNG_DPI, metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
