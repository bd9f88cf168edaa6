"""What a layer cannot take less than, from rates measured in the same run.

- memory: every input row, output row, weight and map entry is moved once, at the rate of a copy;
- matrix: the useful multiplications, at the rate of a large dense product of the same arithmetic;
- gather: every pair's input row is moved from memory. No floor (caches serve most of it), but
  what a layer with few channels is bound by where they do not.
"""

from __future__ import annotations

from typing import Any

STORED = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of an operand inside a product; arrays outside are float32, or float16."""
ARRAYS = {"float32": 4, "tf32": 4, "bfloat16": 4, "float16": 2}
MAP_ENTRY = 4

Rates = dict[str, float]


def matrix_rate(rates: Rates, kind: str) -> float | None:
    """TFLOP/s of dense products in an arithmetic, or None where nothing was measured.

    Without a measurement of its own bfloat16 counts as float16, tf32 as half of that (tensor cores
    are built so), and float32 as the better of its own rate and three tf32 products for one.
    """
    measured = rates.get(f"dense {kind} TFLOP/s")
    if kind == "bfloat16":
        return measured or rates.get("dense float16 TFLOP/s")
    if kind == "tf32":
        half = rates.get("dense float16 TFLOP/s")
        return measured or (None if half is None else half / 2)
    if kind == "float32":
        tf32 = matrix_rate(rates, "tf32")
        return max((rate for rate in (measured, tf32 and tf32 / 3) if rate), default=None)
    return measured


def floors(row: dict[str, Any], rates: Rates) -> dict[str, float | None]:
    """Milliseconds of forward of one row of the benchmark."""
    kind, sites, pairs, cin, cout = (row[k] for k in ("kind", "sites", "pairs", "cin", "cout"))
    moved = sites * (cin + cout) * ARRAYS[kind] + pairs * MAP_ENTRY
    moved += row["volume"] * cin * cout * ARRAYS[kind]
    gathered = pairs * cin * STORED[kind]
    copy, matrix = rates["copy GB/s"], matrix_rate(rates, kind)
    return {
        "memory": moved / copy / 1e6,
        "gather": gathered / copy / 1e6,
        "matrix": None if matrix is None else row["gflop"] / matrix,
    }


def ratio(row: dict[str, Any], rates: Rates) -> float:
    """How many times the larger floor forward takes on the device; 1 is the best there can be."""
    found = floors(row, rates)
    return row["device ms"]["forward"] / max(found["memory"] or 0, found["matrix"] or 0)
