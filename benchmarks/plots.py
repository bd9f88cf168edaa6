"""All plots of the report: one function each, and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import plots_comparison
import plots_layers
import plots_networks
import plots_pictures
import plots_strokes
import plots_training
import style
from harness import Record
from matplotlib.figure import Figure
from results import Results
from summary import (
    duration_text,
    error_text,
    network_gains,
    networks_finding,
    rulebooks_finding,
)
from views import BASELINES, count_text, curve, measured_baselines, times_text, values

RULEBOOK_LINES = (
    ("submanifold, size 3", style.GREEN, "s", False),
    ("submanifold, size 3, shuffled sites", style.GREEN, "s", True),
    ("regular, size 3", style.BLUE, "o", False),
    ("strided, size 2", style.ORANGE, "D", False),
)


@dataclass(frozen=True)
class Plot:
    """A plot: its file name, its section, how it is drawn and how it is to be read."""

    name: str
    section: str
    draw: Callable[[Sequence[Record]], Figure]
    caption: str
    needs: str = ""
    """An experiment that the section may lack, and the plot with it."""


def draw_all(results: Results, folder: Path) -> list[Plot]:
    """Draw the plots of the sections that there are; returns those."""
    drawn = [plot for plot in PLOTS if _can_be_drawn(plot, results)]
    with style.style():
        for plot in drawn:
            style.save(plot.draw(results[plot.section].records), folder, plot.name)
    return drawn


def _can_be_drawn(plot: Plot, results: Results) -> bool:
    if plot.section not in results:
        return False
    records = results[plot.section].records
    kinds = {f"{r.experiment} {r.case.get('name', '')}".strip() for r in records}
    return not plot.needs or plot.needs in kinds


def rulebooks(records: Sequence[Record]) -> Figure:
    """Time to build rulebooks over the number of sites."""
    figure, panels = style.figure(1, 3, 4.3, sharey=True)
    for axes, ndim in zip(panels[0], (2, 3, 4), strict=True):
        chosen = [r for r in records if r.case["ndim"] == ndim]
        for kind, color, marker, dashed in RULEBOOK_LINES:
            points = curve(chosen, "sites", kind=kind)
            look = style.line(color, kind, marker, dashed=dashed)
            axes.plot([x for x, _ in points], [y for _, y in points], **look)
        sites = sorted(values(chosen, "sites"))
        style.log_axes(axes, sites, [count_text(n) for n in sites])
        axes.margins(x=0.12)
        workload = values(chosen, "workload")
        axes.set_title(f"{ndim}-D, {workload[0] if workload else ''}", loc="left")
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


PLOTS = (
    Plot(
        "climb",
        "pictures",
        plots_pictures.climb,
        "One digit on its way through DeepCNet: the input, and the output of every convolution "
        "(C) and max-pooling (MP). Only the blue sites are stored and computed. Slow pooling "
        "keeps them few until the field is small.",
    ),
    Plot(
        "samples",
        "pictures",
        plots_pictures.samples,
        "The first training sample of every class, and augmented copies of it as the network "
        "trains on them.",
    ),
    Plot(
        "assamese_strokes",
        "pictures",
        plots_strokes.assamese,
        "Characters as the network gets them: an active site holds 1 and the pen's direction, "
        "which the colours show. The copies are distorted strokes, not distorted bitmaps.",
        needs="strokes assamese",
    ),
    Plot(
        "pendigits_strokes",
        "pictures",
        plots_strokes.pendigits,
        "Pen-written digits as the network gets them, and distorted copies.",
        needs="strokes pendigits",
    ),
    Plot(
        "encodings",
        "pictures",
        plots_strokes.encodings,
        "The encoders of spconv.data on one character: 1 where the pen passes; its mean direction; "
        "the histogram of its directions; the iterated integrals of its path around the site, "
        "order by order.",
        needs="encodings",
    ),
    Plot(
        "assamese_confusions",
        "pictures",
        plots_strokes.confusions,
        "The pairs of characters that the shipped network mistakes for one another most often, "
        "by the numbers of the data set's files, counted over augmented copies of the test "
        "samples of both.",
        needs="confusions",
    ),
    Plot(
        "filters",
        "pictures",
        plots_pictures.filters,
        "The weights of the first layer of the network whose weights are shipped.",
        needs="filters",
    ),
    Plot(
        "pretrained",
        "pretrained",
        plots_training.pretrained,
        "Training and test error after every epoch of the trainings whose weights are shipped. "
        "The training error is that of augmented samples, under dropout, as the epoch goes on.",
    ),
    Plot(
        "networks",
        "networks",
        networks,
        "A whole network on characters that fill the middle third of the field. The sparse times "
        "include all rulebooks, which are built anew for every batch; the dense times do not "
        "include making the input dense.",
    ),
    Plot(
        "networks_growth",
        "networks",
        plots_networks.growth_plot,
        "What a network costs, relative to the smallest field: multiply-adds of a forward pass, "
        "counted, and the time of a training step. The dense network is left out where it would "
        "need more than 2 GB.",
        needs="work",
    ),
    Plot(
        "mnist",
        "mnist",
        mnist,
        "Test error after every epoch over the time spent on training steps (evaluation left "
        "out). Intervals are Wilson's, at 95 %.",
    ),
    Plot(
        "mnist_dropout",
        "mnist-dropout",
        plots_training.dropout,
        "Elementwise dropout zeroes single entries; batchwise dropout leaves whole channels of a "
        "batch out, and does not compute them. Constant: in front of all layers but the first; "
        "rising: evenly from 0 at the input.",
    ),
    Plot(
        "mnist_slow_pooling",
        "mnist-slow-pooling",
        plots_training.pooling,
        "C: convolution, MP: max-pooling, FMP: fractional max-pooling, with their sizes. The "
        "dense network has the same weights and gives the same outputs.",
    ),
    Plot(
        "mnist_slow_pooling_layers",
        "mnist-slow-pooling",
        plots_training.pooling_layers,
        "What every convolution has to do for a sample, on average over a batch of test images.",
    ),
    Plot(
        "assamese_vgg",
        "assamese-vgg",
        plots_comparison.comparison,
        "Sparse networks of submanifold convolutions against a dense CNN on the same strokes.",
    ),
    Plot(
        "assamese_vgg_curves",
        "assamese-vgg",
        plots_comparison.curves,
        "Learning curves of these networks, and how long they take to get there.",
    ),
    Plot(
        "assamese_features",
        "assamese-features",
        plots_comparison.comparison,
        "The same network and strokes; what differs is the features of an active site.",
    ),
    Plot(
        "assamese_features_curves",
        "assamese-features",
        plots_comparison.curves,
        "Learning curves with each encoding.",
    ),
    Plot(
        "pendigits",
        "pendigits",
        plots_comparison.comparison,
        "DeepCNet with four encodings of the strokes, against a dense CNN.",
    ),
    Plot(
        "layers_grid",
        "layers",
        plots_layers.grid,
        "One layer, by the size of the grid. Solid lines build the rulebook every time, dashed "
        "lines reuse it, as the second of two stacked layers does. A training step is forward "
        "and backward, the gradient of the input included.",
    ),
    Plot(
        "layers_density",
        "layers",
        plots_layers.density,
        "The same layer on random sites. The dotted line marks the share of active sites at which "
        "the regular layer, rulebook included, takes as long as the faster dense one.",
    ),
    Plot(
        "layers_channels",
        "layers",
        plots_layers.channels,
        "Time of the faster dense baseline divided by sparse time; the grey line at 1 is equality.",
    ),
    Plot(
        "layers_kinds",
        "layers",
        plots_layers.kinds,
        "Each kind of layer against the faster dense baseline with the same kernel, stride and "
        "padding. Size is the kernel's; strided layers and pooling have stride 2.",
    ),
    Plot(
        "rulebooks",
        "rulebooks",
        rulebooks,
        "Rulebooks over sites that no earlier call has seen. Dashed: sites given in random order.",
    ),
)
