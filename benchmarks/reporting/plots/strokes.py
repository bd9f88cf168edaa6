"""The pictures of pen strokes: samples, encodings, and the characters mistaken most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from harness.measuring import Record, select
from harness.packing import unpack
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from reporting import style
from reporting.plots.pictures import BETWEEN, GAP, mosaic
from reporting.views.timings import TIMES

NO_INK = "#d5d9de"
INK = ListedColormap(["white", "#222222", style.VERMILLION])
COLUMNS_OF_PAIRS = 2


def assamese(records: Sequence[Record]) -> Figure:
    return _strokes(records, "assamese")


def pendigits(records: Sequence[Record]) -> Figure:
    return _strokes(records, "pendigits")


def _strokes(records: Sequence[Record], name: str) -> Figure:
    """Characters as sites with the pen's direction, and distorted copies under them."""
    (record,) = select(records, experiment="strokes", name=name)
    case = record.case
    views = unpack(case["views"])
    names = ["as it is", *(f"copy {number}" for number in range(1, len(views)))]
    figure, panels = style.figure(1, 1, 1.15 + 0.78 * len(views))
    axes = panels[0][0]
    angles = np.where(views > 0, (views.astype(np.float32) - 1) / 254 * 360, np.nan)
    image = mosaic(axes, angles, background="white", cmap="hsv", vmin=0, vmax=360)
    edge = views.shape[-1] + GAP
    axes.set_yticks((np.arange(len(views)) + 0.5) * edge - 0.5, names)
    lines: dict[str, Any] = {"color": BETWEEN, "linewidth": 0.8}
    for number in range(1, views.shape[1]):
        axes.axvline(number * edge - 1.5, **lines)
    for number in range(1, len(views)):
        axes.axhline(number * edge - 1.5, **lines)
    bar = figure.colorbar(image, ax=panels, fraction=0.02, label="direction of the pen")
    bar.set_ticks([0, 90, 180, 270, 360], labels=["right", "down", "left", "up", "right"])
    setting = (
        f"{case['data']}: {case['train_samples']:,} training and {case['test_samples']:,} test "
        f"samples of {case['classes']} classes; ten of them in a field of "
        f"{views.shape[-1]}{TIMES}{views.shape[-1]} sites"
    )
    style.title(figure, "Pen strokes become sites that know where the pen is going", setting)
    return figure


def encodings(records: Sequence[Record]) -> Figure:
    """Every channel of every encoder at the sites of one character, a row for each encoder."""
    (record,) = select(records, experiment="encodings")
    case = record.case
    rows = _rows_of_channels(case["encoded"])
    most = max(len(images) for _, _, images in rows)
    figure, panels = style.figure(len(rows), 1, 0.9 + 1.03 * len(rows))
    image = None
    for (name, channels, images), axes in zip(rows, panels[:, 0], strict=True):
        edge = images.shape[-1] + GAP
        tiles = np.full((1, most, *images.shape[1:]), np.nan, np.float32)
        tiles[0, : len(images)] = images
        image = mosaic(axes, tiles, background="white", cmap="RdBu_r", vmin=-1, vmax=1)
        for number in range(len(images)):
            start = number * edge - 0.5
            corners = (start, start + edge - GAP, edge - GAP - 0.5, -0.5)
            axes.imshow([[0]], extent=corners, cmap=ListedColormap([NO_INK]), zorder=-1)
        axes.set_xlim(-0.5, most * edge - GAP - 0.5)
        axes.set_ylim(edge - GAP - 0.5, -0.5)
        axes.set_yticks([edge / 2 - 0.5], [name])
        axes.set_xticks((np.arange(len(images)) + 0.5) * edge - 0.5, channels, fontsize=8.5)
        axes.tick_params(pad=1)
    bar = figure.colorbar(image, ax=panels, fraction=0.02, label="value of the channel")
    bar.set_ticks([-1, 0, 1])
    setting = (
        f"The first training sample of {case['data']}, {case['box']:g} sites wide or high; x to "
        "the right, y downwards; grey sites are inactive, windows of signatures are "
        f"{case['window']:g} sites of path"
    )
    style.title(figure, "What each encoding knows of the pen, channel by channel", setting)
    return figure


def _rows_of_channels(encoded: Sequence[dict[str, Any]]) -> list[tuple[str, list[str], np.ndarray]]:
    """Name, channels and images of each row; a signature has one for each order."""
    rows = []
    for entry in encoded:
        name, channels, images = entry["name"], entry["channels"], unpack(entry["images"])
        if not name.startswith("signature"):
            rows.append((name, channels, images))
            continue
        for order in range(int(name.split()[1]) + 1):
            part = slice((1 << order) - 1, (2 << order) - 1)
            rows.append((f"signature,\norder {order}", channels[part], images[part]))
    return rows


def confusions(records: Sequence[Record]) -> Figure:
    """The worst pairs: samples of the one, of the other, and the one mistaken most."""
    (record,) = select(records, experiment="confusions")
    case = record.case
    pairs = case["pairs"]
    rows = -(-len(pairs) // COLUMNS_OF_PAIRS)
    figure, panels = style.figure(rows, COLUMNS_OF_PAIRS, 1.1 + 1.12 * rows)
    for axes in panels.flat:
        axes.set_visible(False)
    for pair, axes in zip(pairs, panels.T.flat, strict=False):
        axes.set_visible(True)
        _pair(axes, pair)
    first = pairs[0]
    finding = (
        f"Mistaken most: characters {_names(first)}, in {first['mistaken']} of {first['of']} copies"
    )
    setting = (
        f"{case['data']}: {case['network']}; {case['errors']} mistakes in "
        f"{case['test_samples']:,} test samples, {case['errors_of_copies']} in "
        f"{case['copies']} augmented copies of each. Black: two training samples of each; red: "
        "the test sample mistaken most often"
    )
    style.title(figure, finding, setting)
    return figure


def _pair(axes: Axes, pair: dict[str, Any]) -> None:
    images = unpack(pair["images"])
    images[-1] *= 2
    mosaic(axes, images[None], background="white", cmap=INK, vmin=0, vmax=2)
    edge = images.shape[-1] + GAP
    for number in range(2, len(images), 2):
        axes.axvline(number * edge - GAP / 2 - 0.5, color=BETWEEN, linewidth=1)
    axes.set_title(f"{_names(pair)}: {pair['mistaken']} of {pair['of']}", loc="left", fontsize=9.5)
    text = f"{pair['label'] + 1} read as {pair['guess'] + 1}"
    axes.set_xticks([(len(images) - 0.5) * edge - 0.5], [text], fontsize=8.5)
    axes.tick_params(pad=1)


def _names(pair: dict[str, Any]) -> str:
    """The numbers of the data set's files, which begin at 1."""
    return " and ".join(str(label + 1) for label in pair["classes"])
