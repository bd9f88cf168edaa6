"""The list of all plots of the report, and what draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.measuring import Record
from harness.results import Results
from matplotlib.figure import Figure

from reporting import style
from reporting.plots import comparison, growth, layers, pictures, strokes, timings, training


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


PLOTS = (
    Plot(
        "climb",
        "pictures",
        pictures.climb,
        "One digit on its way through DeepCNet: the input, and the output of every convolution "
        "(C) and max-pooling (MP). Only the blue sites are stored and computed. Slow pooling "
        "keeps them few until the field is small.",
    ),
    Plot(
        "samples",
        "pictures",
        pictures.samples,
        "The first training sample of every class, and augmented copies of it as the network "
        "trains on them.",
    ),
    Plot(
        "assamese_strokes",
        "pictures",
        strokes.assamese,
        "Characters as the network gets them: an active site holds 1 and the pen's direction, "
        "which the colours show. The copies are distorted strokes, not distorted bitmaps.",
        needs="strokes assamese",
    ),
    Plot(
        "pendigits_strokes",
        "pictures",
        strokes.pendigits,
        "Pen-written digits as the network gets them, and distorted copies.",
        needs="strokes pendigits",
    ),
    Plot(
        "encodings",
        "pictures",
        strokes.encodings,
        "The encoders of spconv.data on one character: 1 where the pen passes; its mean direction; "
        "the histogram of its directions; the iterated integrals of its path around the site, "
        "order by order.",
        needs="encodings",
    ),
    Plot(
        "assamese_confusions",
        "pictures",
        strokes.confusions,
        "The pairs of characters that the shipped network mistakes for one another most often, "
        "by the numbers of the data set's files, counted over augmented copies of the test "
        "samples of both.",
        needs="confusions",
    ),
    Plot(
        "filters",
        "pictures",
        pictures.filters,
        "The weights of the first layer of the network whose weights are shipped.",
        needs="filters",
    ),
    Plot(
        "pretrained",
        "pretrained",
        training.pretrained,
        "Training and test error after every epoch of the trainings whose weights are shipped. "
        "The training error is that of augmented samples, under dropout, as the epoch goes on.",
    ),
    Plot(
        "networks",
        "networks",
        timings.networks,
        "A whole network on characters that fill the middle third of the field. The sparse times "
        "include all rulebooks, which are built anew for every batch; the dense times do not "
        "include making the input dense.",
    ),
    Plot(
        "networks_growth",
        "networks",
        growth.growth_plot,
        "What a network costs, relative to the smallest field: multiply-adds of a forward pass, "
        "counted, and the time of a training step. The dense network is left out where it would "
        "need more than 2 GB.",
        needs="work",
    ),
    Plot(
        "mnist",
        "mnist",
        timings.mnist,
        "Test error after every epoch over the time spent on training steps (evaluation left "
        "out). Intervals are Wilson's, at 95 %.",
    ),
    Plot(
        "mnist_dropout",
        "mnist-dropout",
        training.dropout,
        "Elementwise dropout zeroes single entries; batchwise dropout leaves whole channels of a "
        "batch out, and does not compute them. Constant: in front of all layers but the first; "
        "rising: evenly from 0 at the input.",
    ),
    Plot(
        "mnist_slow_pooling",
        "mnist-slow-pooling",
        training.pooling,
        "C: convolution, MP: max-pooling, FMP: fractional max-pooling, with their sizes. The "
        "dense network has the same weights and gives the same outputs.",
    ),
    Plot(
        "mnist_slow_pooling_layers",
        "mnist-slow-pooling",
        training.pooling_layers,
        "What every convolution has to do for a sample, on average over a batch of test images.",
    ),
    Plot(
        "assamese_vgg",
        "assamese-vgg",
        comparison.comparison,
        "Sparse networks of submanifold convolutions against a dense CNN on the same strokes.",
    ),
    Plot(
        "assamese_vgg_curves",
        "assamese-vgg",
        comparison.curves,
        "Learning curves of these networks, and how long they take to get there.",
    ),
    Plot(
        "assamese_features",
        "assamese-features",
        comparison.comparison,
        "The same network and strokes; what differs is the features of an active site.",
    ),
    Plot(
        "assamese_features_curves",
        "assamese-features",
        comparison.curves,
        "Learning curves with each encoding.",
    ),
    Plot(
        "pendigits",
        "pendigits",
        comparison.comparison,
        "DeepCNet with four encodings of the strokes, against a dense CNN.",
    ),
    Plot(
        "layers_grid",
        "layers",
        layers.grid,
        "One layer, by the size of the grid. Solid lines build the rulebook every time, dashed "
        "lines reuse it, as the second of two stacked layers does. A training step is forward "
        "and backward, the gradient of the input included.",
    ),
    Plot(
        "layers_density",
        "layers",
        layers.density,
        "The same layer on random sites. The dotted line marks the share of active sites at which "
        "the regular layer, rulebook included, takes as long as the faster dense one.",
    ),
    Plot(
        "layers_channels",
        "layers",
        layers.channels,
        "Time of the faster dense baseline divided by sparse time; the grey line at 1 is equality.",
    ),
    Plot(
        "layers_kinds",
        "layers",
        layers.kinds,
        "Each kind of layer against the faster dense baseline with the same kernel, stride and "
        "padding. Size is the kernel's; strided layers and pooling have stride 2.",
    ),
    Plot(
        "rulebooks",
        "rulebooks",
        timings.rulebooks,
        "Rulebooks over sites that no earlier call has seen. Dashed: sites given in random order.",
    ),
)
