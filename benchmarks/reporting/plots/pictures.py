"""The pictures: samples and augmentation, active sites of every layer, first-layer filters."""

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
from reporting.views.timings import TIMES, count_text, percent_text, times_text

ACTIVE_SITES = ListedColormap(["#eef1f4", style.BLUE])
FILTERS_PER_ROW = 12
GAP = 2  # pixels between the images of a mosaic
FINE = 5
BETWEEN = "#c9ced4"
FINEST_GRID = 23  # sites along an edge, above which lines between them would hide them


def samples(records: Sequence[Record]) -> Figure:
    """One training sample of every class, and augmented copies under it."""
    (record,) = select(records, experiment="samples")
    case = record.case
    rows = [unpack(case["samples"]), *unpack(case["views"])]
    names = ["as it is", *(f"copy {number}" for number in range(1, len(rows)))]
    edge = max(row.shape[1] for row in rows)
    margins = [(edge - row.shape[1]) // 2 for row in rows]
    padded = [np.pad(row, ((0, 0), *[(m, m)] * 2)) for row, m in zip(rows, margins, strict=True)]
    figure, panels = style.figure(1, 1, 0.8 + 0.78 * len(rows))
    axes = panels[0][0]
    mosaic(axes, np.stack(padded), cmap="gray_r")
    axes.set_yticks((np.arange(len(rows)) + 0.5) * (edge + GAP) - 0.5, names)
    setting = (
        f"{case['data']}: {case['train_samples']:,} training and {case['test_samples']:,} test "
        "images; a new copy is drawn in every epoch"
    )
    finding = "Random shifts, rotations, shears and scalings make new samples of each"
    style.title(figure, finding, setting)
    return figure


def climb(records: Sequence[Record]) -> Figure:
    """The active sites behind every layer, as one digit passes through DeepCNet."""
    (record,) = select(records, experiment="climb")
    case = record.case
    steps = case["steps"]
    columns = -(-len(steps) // 2)
    figure, panels = style.figure(2, columns, 4.5)
    for axes in panels.flat:
        axes.set_visible(False)
    for step, axes in zip(steps, panels.flat, strict=False):
        active = unpack(step["active"])
        axes.set_visible(True)
        _image(axes, active, cmap=ACTIVE_SITES, vmin=0, vmax=1)
        edge = len(active)
        if edge <= FINEST_GRID:
            lines = np.arange(edge + 1) - 0.5
            axes.hlines(lines, -0.5, edge - 0.5, color="white", linewidth=0.6)
            axes.vlines(lines, -0.5, edge - 0.5, color="white", linewidth=0.6)
        axes.set_title(f"{step['name']}: {edge}{TIMES}{edge}", loc="left", fontsize=9.5)
        channels = "1 channel" if step["channels"] == 1 else f"{step['channels']} channels"
        axes.set_xlabel(f"{channels}\n{percent_text(active.mean())} active", fontsize=9, loc="left")
    finding = (
        f"{case['network']} on one digit: active sites cost "
        f"{count_text(case['multiply_adds'])} multiply-adds, the whole grid "
        f"{count_text(case['dense_multiply_adds'])}"
    )
    gain = times_text(case["dense_multiply_adds"] / case["multiply_adds"])
    setting = (
        f"Blue sites hold something else than the layer's ground state; {gain} fewer "
        "multiply-adds, with the same result"
    )
    style.title(figure, finding, setting)
    return figure


def filters(records: Sequence[Record]) -> Figure:
    """The filters of the first layer."""
    (record,) = select(records, experiment="filters")
    weights = unpack(record.case["weights"])
    # Opposite filters look alike in strength: the strongest first.
    weights = weights[np.argsort(-np.abs(weights).max(axis=(1, 2)), kind="stable")]
    most = float(np.abs(weights).max())
    height, width = weights.shape[1:]
    missing = -len(weights) % FILTERS_PER_ROW
    tiles = np.pad(weights, ((0, missing), (0, 0), (0, 0)), constant_values=np.nan)
    tiles = tiles.reshape(-1, FILTERS_PER_ROW, height, width)
    figure, panels = style.figure(1, 1, 1.1 + 0.62 * len(tiles))
    # Whole sites as gaps would look like weights: each weight gets several pixels.
    fine = tiles.repeat(FINE, axis=2).repeat(FINE, axis=3)
    image = mosaic(panels[0][0], fine, background="white", cmap="RdBu_r", vmin=-most, vmax=most)
    figure.colorbar(image, ax=panels, fraction=0.02, label="weight")
    setting = (
        f"All {len(weights)} filters of {height}{TIMES}{width} pixels of the network whose weights "
        "are shipped, the strongest first"
    )
    style.title(figure, "What the first layer of the trained DeepCNet looks for", setting)
    return figure


def mosaic(axes: Axes, tiles: np.ndarray, background: str = BETWEEN, **options: Any) -> Any:
    """Draw images (rows, columns, height, width) side by side, with gaps between them."""
    gapped = np.pad(
        tiles.astype(np.float32), ((0, 0), (0, 0), (0, GAP), (0, GAP)), constant_values=np.nan
    )
    rows, columns, height, width = gapped.shape
    whole = gapped.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    image = axes.imshow(whole[:-GAP, :-GAP], interpolation="nearest", **options)
    axes.set_facecolor(background)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _image(axes: Axes, image: np.ndarray, **options: Any) -> Any:
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=BETWEEN, linewidth=0.8)
    return axes.imshow(image, interpolation="nearest", **options)
