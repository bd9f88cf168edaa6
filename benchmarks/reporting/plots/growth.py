"""How the cost of a whole network grows with its field, against the ink and the area in it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measuring import Record, select
from matplotlib.figure import Figure

from reporting import style
from reporting.views.timings import (
    BASELINES,
    TIMES,
    Pairs,
    curve,
    growth,
    shape_text,
    slope_text,
    strongest,
    values,
)

WORK, TRAINING = "work", "training step"


def growths(records: Sequence[Record]) -> dict[str, dict[str, Pairs]]:
    """Multiply-adds and times of sparse and dense, relative to the smallest field."""
    baseline = strongest(records)
    work = {
        name: sorted(
            (record.case["x"], record.case["multiply_adds"])
            for record in select(records, experiment=WORK, implementation=name)
        )
        for name in ("sparse", "dense")
    }
    times = {
        name: curve(records, "x", implementation=of, operation=TRAINING)
        for name, of in (("sparse", "sparse"), ("dense", baseline))
    }
    return {
        "multiply-adds": {name: growth(pairs) for name, pairs in work.items()},
        "time of a training step": {name: growth(pairs) for name, pairs in times.items()},
    }


def ink_and_area(records: Sequence[Record]) -> dict[str, Pairs]:
    """Active sites and all sites of the field, relative to the smallest field."""
    cases = {r.case["x"]: r.case for r in select(records, experiment=WORK)}
    return {
        "ink": growth(sorted((x, case["sites"]) for x, case in cases.items())),
        "area": growth(sorted((x, x * x) for x in cases)),
    }


def growth_plot(records: Sequence[Record]) -> Figure:
    """Cost relative to the smallest field, over the field's edge."""
    figure, panels = style.figure(1, 2, 4.4, sharey=True)
    dense = BASELINES[strongest(records)]
    guides = ink_and_area(records)
    xs = sorted(values(records, "x"))
    for axes, (name, lines) in zip(panels[0], growths(records).items(), strict=True):
        for guide, color in (("area", style.GREY), ("ink", style.SKY)):
            look = {"color": color, "linestyle": (0, (1, 1.5)), "linewidth": 2.5}
            axes.plot(*_split(guides[guide]), label=GUIDES[guide], zorder=1, **look)
        colors = {"dense": style.BASELINE_COLORS[strongest(records)], "sparse": style.SPARSE}
        labels = {"dense": f"dense (times: {dense})", "sparse": "sparse, rulebooks included"}
        for of, marker in (("dense", "^"), ("sparse", "o")):
            axes.plot(*_split(lines[of]), **style.line(colors[of], labels[of], marker))
        style.log_axes(axes, xs, [f"{x:g}" for x in xs])
        axes.margins(x=0.08)
        axes.set_title(name, loc="left")
        axes.set_xlabel("edge of the field (sites)")
    panels[0][0].set_ylabel(f"times that of {shape_text([xs[0]] * 2)}")
    style.legend(figure, panels[0][0].get_lines(), 2)
    case = records[0].case
    ls = values(records, "l")
    setting = (
        f"DeepCNet(l, {case['k']}), l = {ls[0]} to {ls[-1]}: every doubling adds a layer; "
        "characters of pen strokes that fill a third of the field"
    )
    style.title(figure, growth_finding(records), setting)
    return figure


GUIDES = {"ink": "ink: active sites of the input", "area": "area: all sites of the field"}


def growth_finding(records: Sequence[Record]) -> str:
    """By how much the cost grows when the field doubles."""
    found = growths(records)["multiply-adds"]
    if min(map(len, found.values())) < 2:
        return "How does the cost of a network grow with its field?"
    sparse, dense = (slope_text(found[name]) for name in ("sparse", "dense"))
    ink = slope_text(ink_and_area(records)["ink"])
    return (
        f"Twice the edge: {ink} the ink and {sparse} the sparse work, but 4{TIMES} the area "
        f"and {dense} the dense work"
    )


def _split(pairs: Pairs) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]
