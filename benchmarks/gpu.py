"""How fast are the layers on this GPU, and which share of what it can do is that?

    python benchmarks/gpu.py                  # writes benchmarks/results/<name of the GPU>/

Needs CuPy and a CUDA device; PyTorch, if it is installed, is measured beside it. Times are medians
between CUDA events, after a warm-up that compiles the kernels: of calls as users make them, Python
included, and of the same launches replayed as a CUDA graph, which is what the device needs.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from on_gpu import networks, plots, pytorch
from on_gpu.floors import floors, ratio
from on_gpu.replay import replay_timer
from reporting.table import markdown
from workloads.lidar import lidar_scan
from workloads.sites import Sites

import spconv
from spconv.compat import check_device, import_cupy
from spconv.geometry import Geometry
from spconv.ops import get_ops
from spconv.ops.cuda.tuner import Timer, event_timer
from spconv.ops.settings import CUDA_PRECISIONS
from spconv.sites import SiteSet

SUBMANIFOLD, DOWN = Geometry.make(3, 3, submanifold=True), Geometry.make(3, 2, 2)
LAYERS = [
    (0, 4, 32), (0, 32, 32), (0, 64, 64), (0, 96, 96),
    (1, 96, 96), (2, 128, 128), (3, 256, 256),
]  # fmt: skip
"""(level, input channels, output channels): levels halve the resolution."""
KINDS = {
    "float32": np.float32,
    "tf32": np.float32,
    "bfloat16": np.float32,
    "float16": np.float16,
}
"""Arithmetic -> dtype of the arrays."""
RUNS = 10
PARTS = ("forward", "input gradient", "weight gradient")
TIMED = ("rulebook", *PARTS)
RESULTS = Path(__file__).parent / "results"


def device_rates(cupy: Any, timer: Timer, megabytes: int = 1024, size: int = 8192) -> dict:
    """GB/s of a copy (read and written), and TFLOP/s of large dense products by arithmetic.

    From cuBLAS, and for tf32 and bfloat16 from PyTorch, where they are there.
    """
    source = cupy.ones(megabytes * 2**20 // 4, np.float32)
    target = cupy.empty_like(source)
    rates = {"copy GB/s": 2 * source.nbytes / timer(lambda: cupy.copyto(target, source)) / 1e6}
    for name, dtype in (("float32", np.float32), ("float16", np.float16)):
        a = cupy.ones((size, size), dtype)
        try:
            rates[f"dense {name} TFLOP/s"] = 2 * size**3 / timer(lambda a=a: a @ a) / 1e9
        except (ImportError, RuntimeError) as error:
            print(f"cuBLAS {name}: {error}")
    return rates | pytorch.dense_rates(size)


def levels(ops: Any, sites: Sites, count: int) -> list[SiteSet]:
    """The sites, and what is left of them at half the resolution, again and again."""
    found = [SiteSet(sites.indices, sites.spatial_shape, sites.batch_size)]
    for _ in range(count - 1):
        found.append(ops.build_rulebook(found[-1], DOWN, "benchmark").out_sites)
    return found


def time_layer(
    ops: Any, timer: Timer, replay: Timer, sites: SiteSet, cin: int, cout: int, kind: str
) -> dict[str, Any]:
    """Milliseconds of everything that a submanifold layer of size 3 does in a training step."""
    spconv.set_cuda_precision(kind if kind in CUDA_PRECISIONS else "float32")
    book = ops.build_rulebook(sites, SUBMANIFOLD, "benchmark")
    rng, xp = np.random.default_rng(0), ops.xp

    def random(*shape: int) -> Any:
        return xp.asarray(rng.standard_normal(shape, np.float32).astype(KINDS[kind]))

    # Inputs take turns, so that a layer does not find its own in the cache.
    x, dy = ([random(len(sites), n) for _ in range(3)] for n in (cin, cout))
    w, turn = random(book.volume, cin, cout), [0]

    def take(arrays: list[Any]) -> Any:
        turn[0] += 1
        return arrays[turn[0] % len(arrays)]

    def new_map() -> None:
        fresh = ops.build_rulebook(sites, SUBMANIFOLD, "benchmark")
        ops.convolve(take(x), w, fresh)

    def all_three() -> tuple[Any, ...]:
        return (
            ops.convolve(x[0], w, book),
            ops.convolve(dy[0], w, book.inverse, transposed=True),
            ops.weight_gradient(x[0], dy[0], book),
        )

    parts: dict[str, Callable[[], object]] = {
        "forward": lambda: ops.convolve(take(x), w, book),
        "input gradient": lambda: ops.convolve(take(dy), w, book.inverse, transposed=True),
        "weight gradient": lambda: ops.weight_gradient(take(x), take(dy), book),
    }
    times = {name: timer(part) for name, part in parts.items()} | {
        "rulebook": timer(lambda: ops.build_rulebook(sites, SUBMANIFOLD, "benchmark")),
        "rulebook + forward": timer(new_map),
    }
    repeated = same_bits(all_three)
    result = {
        "sites": len(sites),
        "volume": book.volume,
        "same bits": repeated,
        "pairs": book.num_pairs,
        "pairs per row": round(book.num_pairs / max(len(sites), 1), 2),
        "cin": cin,
        "cout": cout,
        "kind": kind,
        "gflop": 2e-9 * book.num_pairs * cin * cout,
        "ms": times,
        "device ms": {name: replay(part) for name, part in parts.items()},
        "torch gather-matmul ms": pytorch.time_layer(book, cin, cout, kind),
        "torch dense ms": pytorch.time_dense(sites, cin, cout, kind),
    }
    spconv.set_cuda_precision("float32")
    return result


def same_bits(run: Callable[[], tuple[Any, ...]], runs: int = RUNS) -> bool:
    """Whether every run gives the arrays of the first one, bit for bit."""
    first = [array.copy() for array in run()]
    return all(
        bool((one == two).all()) for _ in range(runs) for one, two in zip(first, run(), strict=True)
    )


def folder_name(gpu: str) -> str:
    """A name for the results of one GPU.

    >>> folder_name("NVIDIA H200")
    'nvidia-h200'
    """
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def table(rows: list[dict[str, Any]], rates: dict[str, float]) -> str:
    """Times of every layer and of its floors (:mod:`on_gpu.floors`), as Markdown."""
    columns = ["layer", "arithmetic", "same bits", "sites", "pairs/row", *TIMED]
    columns += [f"{name} on the device" for name in PARTS]
    columns += ["forward TFLOP/s", "memory floor", "gather", "matrix floor", "forward / floor"]
    columns += ["PyTorch gather-matmul forward", "PyTorch dense forward"]
    lines = []
    for row in rows:
        ms, found = row["ms"], floors(row, rates)
        same = "yes" if row["same bits"] else "**no**"
        cells = [f"{row['cin']} -> {row['cout']}", row["kind"], same, f"{row['sites']:,}"]
        cells += [f"{row['pairs per row']}", *(f"{ms[name]:.3f} ms" for name in TIMED)]
        cells += [f"{row['device ms'][name]:.3f} ms" for name in PARTS]
        cells.append(f"{row['gflop'] / row['device ms']['forward']:.1f}")
        cells += [_milliseconds(found[name]) for name in ("memory", "gather", "matrix")]
        cells.append(f"{ratio(row, rates):.1f}")
        cells += [_milliseconds(row[f"torch {name} ms"]) for name in ("gather-matmul", "dense")]
        lines.append(cells)
    return markdown(columns, lines, num_words=3) + "\n"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} ms"


def write(folder: Path, result: dict[str, Any]) -> None:
    """The numbers, the table and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    about = f"Measured on {result['gpu']}, {result['date']}.\n\n"
    tables = table(result["layers"], result["rates"]), networks.table(result["networks"])
    (folder / "gpu.md").write_text(about + "\n".join(tables))
    plots.plot(folder / "plots", result)


def require_device() -> Any:
    """CuPy, or an exit that says what is missing."""
    try:
        check_device()
    except (ImportError, RuntimeError) as error:
        raise SystemExit(f"benchmarks/gpu.py: nothing to measure on. {error}") from error
    return import_cupy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<name of the GPU>")
    parser.add_argument("--repeats", type=int, default=50, help="of every timing (default: 50)")
    parser.add_argument("--batch", type=int, default=1, help="scans in a batch")
    parser.add_argument("--data", type=Path, help="folder with MNIST")
    options = parser.parse_args()
    cupy = require_device()
    timer, ops = event_timer(cupy, warm_ups=3, repeats=options.repeats), get_ops(cupy.zeros(1))
    replay = replay_timer(cupy)
    number = cupy.cuda.Device().id
    gpu = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    result: dict[str, Any] = {"gpu": gpu, "date": date, "cupy": cupy.__version__}
    result["rates"] = device_rates(cupy, timer)
    print(result)
    scans = levels(
        ops, lidar_scan(batch_size=options.batch), 1 + max(level for level, *_ in LAYERS)
    )
    result["layers"] = []
    for level, cin, cout in LAYERS:
        for kind in KINDS:
            row = time_layer(ops, timer, replay, scans[level], cin, cout, kind)
            print(row, "forward / floor:", round(ratio(row, result["rates"]), 1))
            result["layers"].append(row)
    result["networks"] = networks.time_networks(timer, lidar_scan(seed=1), options.data)
    print(result["networks"])
    write(options.out or RESULTS / folder_name(gpu), result)


if __name__ == "__main__":
    main()
