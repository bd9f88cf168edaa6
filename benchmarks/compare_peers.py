"""Submanifold layers against PyTorch and the other spconv on the CPU, side by side.

    python benchmarks/compare_peers.py --python other-venv/bin/python --out out

``--python`` is an interpreter with PyTorch, and with the other ``spconv`` if it is to take part;
neither can share an environment with this package. Both sides get the same sites, features and
weights; ratios above 1 mean that this package is faster. On a processor with AMX the precisions of
``set_cpu_precision`` are further rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import command_line
from harness.machine import cpu_precisions
from harness.measuring import Budget, measure
from harness.threads import thread_variables
from reporting.table import markdown
from workloads.sites import Sites, pen_strokes, surfaces

import spconv
from spconv import functional
from spconv.geometry import Geometry
from spconv.rulebook import build
from spconv.sites import SiteSet

KERNEL_SIZE = 3
PEERS = {"spconv": "other spconv", "gather-matmul": "PyTorch gather-matmul"}
WORKER = Path(__file__).parent / "peers" / "layers_worker.py"
BUDGET = Budget(seconds=1.0, least=3, most=30)


def workloads() -> list[tuple[str, Sites, int, int]]:
    """(name, sites, C_in, C_out): pen strokes in 2-D, surfaces in a 256^3 grid, also shuffled."""
    strokes, scene = pen_strokes(96, 100), surfaces(3, 256)
    cases = [("2-D pen strokes", strokes, 32, 64)]
    cases += [("3-D surfaces", scene, c, c) for c in (16, 32, 64, 128)]
    return [*cases, ("3-D surfaces, shuffled", scene.shuffled(), 32, 32)]


def time_ours(sites: Sites, x: np.ndarray, w: np.ndarray) -> dict[str, float]:
    """Milliseconds of the rulebook, the warm and cold forward pass, and a warm training pass."""
    geometry = Geometry.make(sites.ndim, KERNEL_SIZE, submanifold=True)
    weight = spconv.Parameter(w)

    def rulebook() -> None:
        build(SiteSet(sites.indices, sites.spatial_shape, sites.batch_size), geometry, "benchmark")

    def cold() -> None:
        functional.sparse_conv(sites.tensor(x), weight, None, geometry)

    def training() -> None:
        weight.grad = None
        leaf = spconv.Tensor(x, requires_grad=True)
        out = functional.sparse_conv(warm.replace_feature(leaf), weight, None, geometry)
        out.features.backward(gradient)

    with spconv.no_grad():
        warm = sites.tensor(x)
        functional.sparse_conv(warm, weight, None, geometry)
        forward = measure(
            lambda: functional.sparse_conv(warm, weight, None, geometry), BUDGET
        ).median_ms
        cold_ms = measure(cold, BUDGET).median_ms
    gradient = np.random.default_rng(2).standard_normal((len(sites), w.shape[2]), np.float32)
    return {
        "rulebook": measure(rulebook, BUDGET).median_ms,
        "forward": forward,
        "cold": cold_ms,
        "training": measure(training, BUDGET).median_ms,
    }


def time_peers(
    python: str, sites: Sites, x: np.ndarray, w: np.ndarray, threads: int
) -> dict[str, Any]:
    """What layers_worker.py measures on the same arrays, in the other interpreter."""
    geometry = Geometry.make(sites.ndim, KERNEL_SIZE, submanifold=True)
    book = build(
        SiteSet(sites.indices, sites.spatial_shape, sites.batch_size), geometry, "benchmark"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "workload.npz")
        np.savez(
            path,
            x=x,
            w=w,
            indices=sites.indices,
            in_rows=book.in_rows,
            out_rows=book.out_rows,
            starts=book.offset_starts,
            spatial_shape=sites.spatial_shape,
            batch_size=sites.batch_size,
            kernel_size=KERNEL_SIZE,
        )
        run = subprocess.run(
            [python, str(WORKER), str(path), str(threads)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, **thread_variables(threads)},
        )
    if run.returncode:
        raise SystemExit(f"{python} failed:\n{run.stderr}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: this package's milliseconds, and how many times longer the best peer takes."""
    cells = []
    for row in rows:
        for operation, own in row["ours"].items():
            peers = [row["peers"].get(name, {}).get(operation) for name in PEERS]
            best = min((p for p in peers if p is not None), default=None)
            times = ["-" if p is None else f"{p:.3g}" for p in peers]
            ratio = "-" if best is None else f"{best / own:.2f}"
            words = [row["layer"], operation]
            cells.append([*words, str(row["threads"]), f"{own:.3g}", *times, ratio])
    peers = [f"{name} (ms)" for name in PEERS.values()]
    columns = ["layer", "operation", "threads", "this package (ms)", *peers, "best peer / this"]
    return markdown(columns, cells, num_words=2)


def main() -> None:
    parser = command_line.sweep_parser(__doc__)
    parser.add_argument("--python", required=True, help="interpreter with PyTorch and spconv")
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        spconv.set_num_threads(threads)
        for name, sites, cin, cout in workloads():
            x = sites.features(cin)
            rng = np.random.default_rng(1)
            w = rng.standard_normal((KERNEL_SIZE**sites.ndim, cin, cout), np.float32)
            layer = f"{name}, {len(sites):,} sites, {cin} -> {cout}"
            print(layer, f"({threads} threads)")
            peers = time_peers(options.python, sites, x, w, threads)
            for precision in cpu_precisions():
                spconv.set_cpu_precision(precision)
                ours = time_ours(sites, x, w)
                name = layer if precision == "float32" else f"{layer}, {precision}"
                rows.append({"layer": name, "threads": threads, "ours": ours, "peers": peers})
            spconv.set_cpu_precision("float32")
    command_line.write(options.out, "peers", {"rows": rows}, table(rows))


if __name__ == "__main__":
    main()
