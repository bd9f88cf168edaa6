"""How close are the convolutions to what the processor can do?

    python benchmarks/cpu_roofline.py --out out

The useful rate of each layer, 2 * pairs * C_in * C_out / time, is printed next to the machine's
own sgemm rate on one core and its copy bandwidth, measured in the same run. ``--check`` compares
the ratios with the floors below and exits with 1 if one is missed; times are never compared.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from harness import Budget, measure
from machine import describe_machine
from workloads import Sites, pen_strokes, surfaces

import spconv
from spconv.geometry import Geometry
from spconv.ops import get_ops
from spconv.rulebook import build
from spconv.sites import SiteSet

BUDGET = Budget(seconds=0.7, least=5, most=40)
CHANNELS = (16, 32, 64, 128)
FLOORS = {"forward": 0.75, "input gradient": 0.75, "weight gradient": 0.65}
FLOOR_16 = 0.45
"""Least share of the sgemm rate on one thread, from 32 channels and at 16."""


def sgemm_rate() -> float:
    """GFLOP/s of a 2048^3 float32 product by NumPy's BLAS on one core."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2048, 2048), np.float32)
    return 2 * 2048**3 / measure(lambda: a @ b, BUDGET).median_ms / 1e6


def copy_rate() -> float:
    """GB/s of copying 256 MB on one core, counting bytes read and written."""
    source = np.ones(32 * 2**20, np.float64)
    target = np.empty_like(source)
    return 2 * source.nbytes / measure(lambda: np.copyto(target, source), BUDGET).median_ms / 1e6


def layer_rates(sites: Sites, channels: int, threads: int) -> dict[str, float]:
    """GFLOP/s of useful work of a submanifold layer of size 3."""
    spconv.set_num_threads(threads)
    geometry = Geometry.make(sites.ndim, 3, submanifold=True)
    book = build(
        SiteSet(sites.indices, sites.spatial_shape, sites.batch_size), geometry, "benchmark"
    )
    rng = np.random.default_rng(0)
    x, dy = sites.features(channels), sites.features(channels, seed=1)
    w = rng.standard_normal((book.volume, channels, channels), np.float32)
    ops, work = get_ops(x), 2 * book.num_pairs * channels**2 / 1e6
    inverse = book.inverse
    return {
        name: work / measure(function, BUDGET).median_ms
        for name, function in (
            ("forward", lambda: ops.convolve(x, w, book)),
            ("input gradient", lambda: ops.convolve(dy, w, inverse, transposed=True)),
            ("weight gradient", lambda: ops.weight_gradient(x, dy, book)),
        )
    }


def scenes() -> list[tuple[str, Sites]]:
    return [("2-D pen strokes", pen_strokes(96, 100)), ("3-D surfaces", surfaces(3, 256))]


def shares(rows: list[dict[str, Any]], sgemm: float) -> str:
    lines = [
        "| layer | threads | forward | input gradient | weight gradient |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = (f"{rate:.0f} ({rate / sgemm:.0%})" for rate in row["rates"].values())
        lines.append(f"| {row['layer']} | {row['threads']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def misses(rows: list[dict[str, Any]], sgemm: float) -> list[str]:
    """Single-threaded 3-D layers below their floor."""
    found = []
    for row in rows:
        if row["threads"] > 1 or not row["layer"].startswith("3-D"):
            continue
        for name, rate in row["rates"].items():
            floor = FLOORS[name] if row["channels"] >= 32 else FLOOR_16
            if rate < floor * sgemm:
                found.append(f"{row['layer']}: {name} at {rate / sgemm:.0%}, floor {floor:.0%}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="out", type=Path)
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads")
    parser.add_argument("--check", action="store_true", help="fail below the floors")
    options = parser.parse_args()
    sgemm, copy = sgemm_rate(), copy_rate()
    print(f"sgemm on one core {sgemm:.0f} GFLOP/s, copy {copy:.1f} GB/s")
    rows = []
    for threads in map(int, options.threads.split(",")):
        for name, sites in scenes():
            for channels in CHANNELS:
                rates = layer_rates(sites, channels, threads)
                layer = f"{name}, {len(sites):,} sites, {channels} channels"
                rows.append(
                    {"layer": layer, "channels": channels, "threads": threads, "rates": rates}
                )
    print("GFLOP/s of useful work, and share of the sgemm rate of one core:\n")
    print(shares(rows, sgemm))
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": describe_machine(), "sgemm": sgemm, "copy": copy, "rows": rows}
    Path(options.out, "cpu_roofline.json").write_text(json.dumps(result, indent=1))
    Path(options.out, "cpu_roofline.md").write_text(shares(rows, sgemm) + "\n")
    missed = misses(rows, sgemm)
    for line in missed:
        print("below its floor:", line)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
