"""Plots of gpu.py: useful rate of every layer on the device, by arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reporting import style

PARTS = ("forward", "input gradient", "weight gradient")
COLORS = (style.BLUE, style.GREEN, style.ORANGE)


def plot(folder: Path, result: dict[str, Any]) -> None:
    """One bar chart for each arithmetic: ``rates_<kind>.png``."""
    kinds = list(dict.fromkeys(row["kind"] for row in result["layers"]))
    for kind in kinds:
        rows = [row for row in result["layers"] if row["kind"] == kind]
        with style.style():
            figure, axes = style.figure(1, 1, 3.6)
            ax = axes[0, 0]
            for number, (part, color) in enumerate(zip(PARTS, COLORS, strict=True)):
                rates = [row["gflop"] / row["device ms"][part] for row in rows]
                places = [i + 0.27 * (number - 1) for i in range(len(rows))]
                ax.bar(places, rates, 0.25, color=color, label=part)
            names = [f"{row['cin']}-{row['cout']}\n{row['sites']:,} sites" for row in rows]
            ax.set_xticks(range(len(rows)), names)
            ax.set_ylabel("useful TFLOP/s")
            ax.legend()
            setting = f"{result['gpu']}, {result['date']}; submanifold 3x3x3, rulebook reused"
            style.title(figure, f"Sparse convolutions in {kind}", setting)
            style.save(figure, folder, f"rates_{kind}")
