"""The tables of compare_gpu.py: this package's milliseconds, the other spconv's, and the ratio."""

from __future__ import annotations

import math
from typing import Any

from peers.blocks import OPERATIONS
from reporting.table import markdown

Row = dict[str, Any]
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "float16": 2e-2}
"""What rounding explains of a difference, as a share of the largest output or of the loss."""


def rounded(value: float) -> float:
    """Four digits.

    >>> rounded(0.123456)
    0.1235
    """
    return float(f"{value:.4g}")


def describe(row: Row) -> str:
    """A layer or a network in a few words."""
    if "cin" in row:
        return f"{row['kind']}, {row['sites']:,} sites, {row['cin']} -> {row['cout']}"
    return f"{row['kind']}, U-Net on {row['voxels']:,} voxels"


def ratio(row: Row, operation: str) -> float | None:
    """How many times longer the other spconv takes with its better algorithm."""
    own, theirs = row["ours"].get(operation), row["theirs"].get(operation)
    return min(theirs.values()) / own if own and theirs else None


def cell(row: Row, operation: str) -> str:
    """Milliseconds here, milliseconds there, and their ratio."""
    own, theirs = row["ours"].get(operation), row["theirs"].get(operation)
    times = ["-" if own is None else f"{own:.3g}", f"{min(theirs.values()):.3g}" if theirs else "-"]
    found = ratio(row, operation)
    return " : ".join(times) + ("" if found is None else f" ({found:.2f})")


def table(result: dict[str, Any]) -> str:
    """All layers, their geometric means, and the network, as Markdown."""
    lines = []
    for row in result["layers"]:
        difference = row.get("difference")
        words = [f"{row['cin']} -> {row['cout']}", row["kind"], f"{row['sites']:,}"]
        cells = [cell(row, operation) for operation in OPERATIONS]
        lines.append([*words, *cells, "-" if difference is None else f"{difference:.1e}"])
    for kind in dict.fromkeys(row["kind"] for row in result["layers"]):
        rows = [row for row in result["layers"] if row["kind"] == kind]
        means = [geometric_mean([ratio(row, name) for row in rows]) for name in OPERATIONS]
        lines.append(["geometric mean", kind, "", *means, ""])
    columns = ["layer", "arithmetic", "sites", *OPERATIONS, "outputs differ by"]
    text = markdown(columns, lines, num_words=2)
    steps = [
        [row["kind"], f"{row['voxels']:,}", cell(row, "step")]
        + [f"{row[key]:.5f}" if key in row else "-" for key in ("our loss", "their loss")]
        for row in result["networks"]
    ]
    columns = ["U-Net training step", "voxels", "step", "first loss here", "first loss there"]
    return f"{text}\n\n{markdown(columns, steps)}\n"


def geometric_mean(ratios: list[float | None]) -> str:
    """Of the ratios that there are.

    >>> geometric_mean([1.0, 4.0, None])
    '2.00'
    """
    found = [math.log(value) for value in ratios if value]
    return f"{math.exp(sum(found) / len(found)):.2f}" if found else "-"


def mismatches(rows: list[Row]) -> list[str]:
    """Layers and networks of which the two sides do not compute the same."""
    found = []
    for row in rows:
        allowed, share = TOLERANCE[row["kind"]], row.get("difference", 0.0)
        if {"our loss", "their loss"} <= row.keys():
            share = abs(row["our loss"] - row["their loss"]) / abs(row["our loss"])
        if not share <= allowed:
            found.append(f"{describe(row)}: the two differ by {share:.1e}, more than rounding")
    return found
