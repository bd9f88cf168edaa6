"""How close are the convolutions to what the processor can do?

    python benchmarks/cpu_roofline.py --out out
    python benchmarks/cpu_roofline.py --quick --check       # half a minute, for CI

The useful rate of each layer, 2 * pairs * C_in * C_out / time, is printed next to the machine's
own sgemm rate on one core, measured in turns with it, and its copy bandwidth. ``--check`` compares
the ratios with ``FLOORS`` and exits with 1 if one is missed; times are never compared, and what
misses is measured again before it counts, so that a busy machine does not fail it. On a processor
with AMX the precisions of ``set_cpu_precision`` are further rows.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from harness import command_line
from harness.machine import cpu_precisions
from harness.measuring import Budget, measure
from reporting.table import markdown
from workloads.lidar import lidar_scan
from workloads.sites import Sites, pen_strokes, surfaces

import spconv
from spconv.geometry import Geometry
from spconv.ops import get_ops
from spconv.rulebook import build
from spconv.sites import SiteSet

BUDGET = Budget(seconds=0.7, least=5, most=40)
ROUNDS, SECONDS = 7, 0.7
SGEMM_SIZE = 1024
SGEMM = np.random.default_rng(0).standard_normal((SGEMM_SIZE, SGEMM_SIZE), np.float32)
PRODUCT = np.empty_like(SGEMM)
CHANNELS = (16, 32, 64, 128)
FLOORS = {16: 0.28, 32: 0.45, 64: 0.47, 128: 0.56}
"""Least share of the sgemm rate by channels, of 3-D layers on one thread.

Seven tenths of the smallest share in ``cpu_roofline.json`` of ``results/cpu`` and ``xeon-amx``
(AVX-512) and ``epyc-avx2`` there, for any scene and operation: what falls below is no noise but a
slower kernel. Raise them when the kernels get better.
"""
ATTEMPTS = 3
OPERATIONS = ("forward", "input gradient", "weight gradient")


def copy_rate() -> float:
    """GB/s of copying 256 MB on one core, counting bytes read and written."""
    source = np.ones(32 * 2**20, np.float64)
    target = np.empty_like(source)
    return 2 * source.nbytes / measure(lambda: np.copyto(target, source), BUDGET).median_ms / 1e6


def sgemm_rate() -> float:
    """GFLOP/s of one float32 product of SGEMM_SIZE by NumPy's BLAS on one core, caches warm."""
    np.matmul(SGEMM, SGEMM, out=PRODUCT)
    began = time.perf_counter()
    np.matmul(SGEMM, SGEMM, out=PRODUCT)
    return 2 * SGEMM_SIZE**3 / (time.perf_counter() - began) / 1e9


def rates(function: Callable[[], object], gigaflop: float) -> dict[str, float]:
    """Useful GFLOP/s, and the median of its shares of the sgemm rate.

    The two are measured in turns: other guests of a shared machine slow both down together.
    """
    function()
    pairs = []
    began = time.perf_counter()
    while len(pairs) < ROUNDS or (time.perf_counter() - began < SECONDS and len(pairs) < 40):
        sgemm, start = sgemm_rate(), time.perf_counter()
        function()
        pairs.append((gigaflop / (time.perf_counter() - start), sgemm))
    return {
        "rate": statistics.median(rate for rate, _ in pairs),
        "share": statistics.median(rate / sgemm for rate, sgemm in pairs),
    }


@dataclass(frozen=True)
class LayerCalls:
    """The three convolutions of a submanifold layer of size 3, and the work of each."""

    calls: dict[str, Callable[[], object]]
    gigaflop: float


def layer_calls(sites: Sites, channels: int) -> LayerCalls:
    """The convolutions of a layer, on arrays in the engine's own memory."""
    geometry = Geometry.make(sites.ndim, 3, submanifold=True)
    book = build(
        SiteSet(sites.indices, sites.spatial_shape, sites.batch_size), geometry, "benchmark"
    )
    rng = np.random.default_rng(0)
    ops = get_ops(sites.indices)
    # As between two layers: what the engine has written, not what a user has.
    x, dy = (ops.leaky_relu(sites.features(channels, seed=seed), 1.0) for seed in (0, 1))
    w = rng.standard_normal((book.volume, channels, channels), np.float32)
    inverse = book.inverse
    calls = (
        lambda: ops.convolve(x, w, book),
        lambda: ops.convolve(dy, w, inverse, transposed=True),
        lambda: ops.weight_gradient(x, dy, book),
    )
    return LayerCalls(
        dict(zip(OPERATIONS, calls, strict=True)), 2 * book.num_pairs * channels**2 / 1e9
    )


def layer_rates(sites: Sites, channels: int, threads: int) -> dict[str, dict[str, float]]:
    """:func:`rates` of the three convolutions of a layer."""
    spconv.set_num_threads(threads)
    layer = layer_calls(sites, channels)
    return {name: rates(call, layer.gigaflop) for name, call in layer.calls.items()}


def scenes() -> list[tuple[str, Sites]]:
    return [
        ("2-D pen strokes", pen_strokes(96, 100)),
        ("3-D surfaces", surfaces(3, 256)),
        ("3-D laser scan", lidar_scan()),
    ]


def shares(rows: list[dict[str, Any]]) -> str:
    """GFLOP/s of useful work, and its share of the sgemm rate."""
    cells = []
    for row in rows:
        rates = (f"{of['rate']:.0f} ({of['share']:.0%})" for of in row["rates"].values())
        cells.append([row["layer"], str(row["threads"]), *rates])
    return markdown(["layer", "threads", *OPERATIONS], cells)


def misses(rows: list[dict[str, Any]]) -> list[str]:
    """Single-threaded 3-D layers on the vector units below their floor."""
    return [
        f"{row['layer']}: {name} at {of['share']:.0%}, floor {FLOORS[row['channels']]:.0%}"
        for row in rows
        if row["threads"] == 1 and row["layer"].startswith("3-D")
        if row.get("precision", "float32") == "float32"
        for name, of in row["rates"].items()
        if of["share"] < FLOORS[row["channels"]]
    ]


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Of two measurements of a layer, the one with the larger share for every operation."""
    rates = {
        name: max(of, other["rates"][name], key=lambda rate: rate["share"])
        for name, of in one["rates"].items()
    }
    return {**one, "rates": rates}


def measure_layer(
    name: str, sites: Sites, channels: int, threads: int, precision: str = "float32"
) -> dict[str, Any]:
    """A row of the table; on one thread, a layer below its floor is measured again."""
    layer = f"{name}, {len(sites):,} sites, {channels} channels"
    if precision != "float32":
        layer += f", {precision}"
    found = {"layer": layer, "channels": channels, "threads": threads, "precision": precision}
    spconv.set_cpu_precision(precision)
    row = {**found, "rates": layer_rates(sites, channels, threads)}
    for _ in range(ATTEMPTS - 1):
        if misses([row]):
            row = better(row, {**found, "rates": layer_rates(sites, channels, threads)})
    return row


def main() -> int:
    parser = command_line.sweep_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="fail below the floors")
    parser.add_argument("--quick", action="store_true", help="3-D layers of 32 and 64 channels")
    options = parser.parse_args()
    sgemm, copy = statistics.median(sgemm_rate() for _ in range(9)), copy_rate()
    print(f"sgemm on one core {sgemm:.0f} GFLOP/s, copy {copy:.1f} GB/s")
    rows = [
        measure_layer(name, sites, channels, threads, precision)
        for threads in options.threads
        for name, sites in (scenes()[1:] if options.quick else scenes())
        for channels in (CHANNELS[1:3] if options.quick else CHANNELS)
        for precision in cpu_precisions()
    ]
    spconv.set_cpu_precision("float32")
    print("GFLOP/s of useful work, and share of the sgemm rate of one core:\n")
    result = {"sgemm": sgemm, "copy": copy, "rows": rows}
    command_line.write(options.out, "cpu_roofline", result, shares(rows))
    missed = misses(rows)
    for line in missed:
        print("below its floor:", line)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
