"""Submanifold layers and a U-Net's training step against the other spconv on one GPU.

    python benchmarks/compare_gpu.py --python other-venv/bin/python

``--python`` is an interpreter with PyTorch and the other ``spconv`` for CUDA, which cannot share an
environment with this package. Writes peers.json and peers.md to benchmarks/results/<name of the
GPU>/. What fails, or does not fit into ``--seconds``, is left out, and the results say so.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np
from gpu import LAYERS, RESULTS, folder_name, levels, require_device
from on_gpu import ours
from on_gpu.peer_table import describe, mismatches, rounded, table
from peers.blocks import OPERATIONS, milliseconds, reason
from peers.exported import write as write_network
from workloads.lidar import lidar_scan
from workloads.sites import Sites

import spconv
from spconv.compat import import_cupy
from spconv.ops import get_ops

WORKER = Path(__file__).parent / "peers" / "gpu_worker.py"
KINDS = {"float16": "float16", "float32": "float32", "tf32": "float32"}
"""Arithmetic -> dtype of the arrays."""
GRACE = 20.0
"""Seconds beyond its share after which the other interpreter is ended."""
OWN_SHARE = 0.5


@dataclass(frozen=True)
class Plan:
    """What is compared; the small one rehearses everything on a CPU."""

    device: str
    layers: list[tuple[int, int, int]]
    widths: tuple[int, ...]
    algorithms: tuple[str, ...]
    scan: dict[str, Any]


GPU = Plan("cuda", LAYERS, (32, 64, 128, 256), ("MaskImplicitGemm", "MaskSplitImplicitGemm"), {})
REHEARSAL = Plan(
    "cpu", [(0, 4, 8), (1, 8, 8)], (8, 16), ("Native",), {"voxel": 1.6, "beams": 8, "columns": 40}
)


class Comparison:
    """Collects the results of both sides, and prints every measurement when it is there."""

    def __init__(self, plan: Plan, python: str, seconds: float) -> None:
        self.plan, self.ends = plan, time.monotonic() + seconds
        # It starts in another folder. A link stays one: behind it is no virtual environment.
        self.python = os.path.abspath(python) if os.sep in python else python
        xp = import_cupy() if plan.device == "cuda" else np
        scans = levels(
            get_ops(xp.zeros(1)),
            lidar_scan(**plan.scan),
            1 + max(level for level, *_ in plan.layers),
        )
        self.scans = [Sites("", s.indices, s.spatial_shape, s.batch_size) for s in scans]
        self.scene = lidar_scan(seed=1, **plan.scan)
        self.result: dict[str, Any] = {"versions": {}, "notes": [], "layers": [], "networks": []}

    def synchronize(self) -> None:
        if self.plan.device == "cuda":
            import_cupy().cuda.Device().synchronize()

    def run(self, kind: str, ends: float) -> None:
        """Everything in one arithmetic: this package, then the other one."""
        layers, network = self._empty(kind)
        middle = time.monotonic() + OWN_SHARE * (ends - time.monotonic())
        spconv.set_cuda_precision("tf32" if kind == "tf32" else "float32")
        with tempfile.TemporaryDirectory() as name:
            rows: dict[int, np.ndarray] = {}
            for index, row in enumerate(layers):
                self.guarded(row, lambda i=index, row=row: self._own_layer(i, row, rows, middle))
            self.guarded(network, lambda: self._own_network(network, middle))
            spconv.set_cuda_precision("float32")
            try:
                for answer in self._answers(Path(name), kind, ends):
                    self._take(answer, layers, network, rows)
            except Exception as error:
                self.note(f"{kind}, other spconv: {reason(error)}")
        for text in mismatches([*layers, network]):
            self.note(text)

    def note(self, text: str) -> None:
        print(text, flush=True)
        self.result["notes"].append(text)

    def guarded(self, row: dict[str, Any], call: Callable[[], None]) -> None:
        """What goes wrong is noted, and the comparison goes on."""
        try:
            call()
        except Exception as error:
            self.note(f"{describe(row)}, this package: {reason(error)}")

    def _empty(self, kind: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        layers = [
            {"sites": len(self.scans[level]), "cin": cin, "cout": cout, "kind": kind}
            for level, cin, cout in self.plan.layers
        ]
        network = {"voxels": len(self.scene), "kind": kind}
        for row in (*layers, network):
            row.update(ours={}, theirs={})
        self.result["layers"] += layers
        self.result["networks"].append(network)
        return layers, network

    def _own_layer(
        self, index: int, row: dict[str, Any], rows: dict[int, np.ndarray], ends: float
    ) -> None:
        level, cin, cout = self.plan.layers[index]
        dtype, device = KINDS[row["kind"]], self.plan.device
        calls = ours.layer_calls(self.scans[level], cin, cout, dtype, device)
        rows[index] = calls["rows"]()
        for operation in OPERATIONS:
            self._own(row, operation, calls[operation], ends)

    def _own_network(self, row: dict[str, Any], ends: float) -> None:
        step = ours.network_step(self.scene, self.plan.widths, row["kind"], self.plan.device)
        row["our loss"] = float(step().item())
        self._own(row, "step", step, ends)

    def _own(
        self, row: dict[str, Any], operation: str, call: Callable[[], object], ends: float
    ) -> None:
        if time.monotonic() > ends:
            self.note(f"{describe(row)}, {operation}, this package: left out: no time left")
            return

        def measured() -> None:
            row["ours"][operation] = value = rounded(milliseconds(call, self.synchronize))
            print(f"{describe(row)}, {operation}, this package: {value} ms", flush=True)

        self.guarded(row, measured)

    def _answers(self, folder: Path, kind: str, ends: float) -> Iterator[dict[str, Any]]:
        """What gpu_worker.py says, line by line; it is ended when its time is over.

        After a crash another one goes on behind what it happened in.
        """
        job = self._job(folder, kind)
        while job["units"] and (left := ends - time.monotonic()) > 0:
            path, errors = folder / "job.json", folder / "errors.txt"
            path.write_text(json.dumps({**job, "seconds": left}))
            command = [self.python, str(WORKER.resolve()), str(path)]
            unit, finished = len(job["units"]), False
            with errors.open("w") as stream, started(command, stream, left + GRACE) as lines:
                for line in lines:
                    answer = parsed(line)
                    unit = answer.get("begins", unit)
                    finished = finished or "done" in answer
                    yield answer
            if finished:
                break
            words = errors.read_text(errors="replace").strip()[-1500:]
            self.note(f"{kind}, the other interpreter ended early: {words or 'no words'}")
            job["units"] = job["units"][unit + 1 :]

    def _job(self, folder: Path, kind: str) -> dict[str, Any]:
        """What gpu_worker.py is told to do, and its files."""
        for level in {level for level, *_ in self.plan.layers}:
            scan = self.scans[level]
            np.savez(
                folder / f"level{level}.npz",
                indices=scan.indices,
                spatial_shape=scan.spatial_shape,
                batch_size=scan.batch_size,
            )
        features, labels = ours.batch(self.scene)
        network = folder / "network.npz"
        write_network(network, ours.network(self.plan.widths), self.scene.tensor(features), labels)
        layers = [
            {
                "sites": str(folder / f"level{level}.npz"),
                "rows": str(folder / f"rows{index}.npy"),
                "cin": cin,
                "cout": cout,
                "dtype": KINDS[kind],
            }
            for index, (level, cin, cout) in enumerate(self.plan.layers)
        ]
        return {
            "kind": kind,
            "device": self.plan.device,
            "units": [
                (algorithm, layer)
                for algorithm in self.plan.algorithms
                for layer in (*range(len(layers)), None)
            ],
            "layers": layers,
            "network": str(network),
        }

    def _take(
        self,
        answer: dict[str, Any],
        layers: list[dict[str, Any]],
        network: dict[str, Any],
        rows: dict[int, np.ndarray],
    ) -> None:
        """Put one answer of gpu_worker.py where it belongs."""
        self.result["versions"] |= answer.get("versions", {})
        if "note" in answer:
            self.note(answer["note"])
        if "algorithm" not in answer:
            return
        index, algorithm = answer["layer"], answer["algorithm"]
        row, whole = (network, "step") if index is None else (layers[index], "all")
        operation = answer.get("operation", whole)
        name = f"{describe(row)}, {operation}, other spconv, {algorithm}"
        if "error" in answer:
            self.note(f"{name}: {answer['error']}")
        elif "ms" in answer:
            value = rounded(answer["ms"])
            row["theirs"].setdefault(operation, {})[algorithm] = value
            print(f"{name}: {value} ms", flush=True)
        elif "loss" in answer:
            row.setdefault("their loss", answer["loss"])
        elif "rows" in answer and index in rows:
            found, own = np.load(answer["rows"]), rows[index]
            share = float(np.abs(found - own).max() / np.abs(own).max())
            row["difference"] = max(rounded(share), row.get("difference", 0.0))


@contextmanager
def started(command: list[str], errors: IO[str], seconds: float) -> Iterator[Iterable[str]]:
    """The lines that a command prints; it and what it started end after so many seconds."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=Path(command[-1]).parent,
        env=environment,
        start_new_session=True,
    ) as process:

        def end() -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            timer.cancel()
            end()


def parsed(line: str) -> dict[str, Any]:
    """A line of JSON; nothing where the other library prints something else.

    >>> parsed('{"ms": 2}'), parsed("tuning...")
    ({'ms': 2}, {})
    """
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def write(folder: Path, result: dict[str, Any]) -> None:
    """The numbers and the table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(json.dumps(result, indent=1) + "\n")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    text = (
        f"Measured on {result['device']}, {result['date']}; {versions}.\n\n"
        "Milliseconds of this package : of the other spconv, in its better algorithm, and in\n"
        "parentheses how many times longer that takes: above 1 this package is faster.\n\n"
        f"{table(result)}"
    )
    if result["notes"]:
        text += "\n" + "\n".join(f"- {' '.join(note.split())}" for note in result["notes"]) + "\n"
    (folder / "peers.md").write_text(text, encoding="utf-8")


def name_of_device(plan: Plan) -> str:
    """The GPU's name; a rehearsal says that it is one."""
    if plan.device == "cpu":
        return "no GPU: a rehearsal on the CPU, its numbers mean nothing"
    cupy = import_cupy()
    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="interpreter with PyTorch and spconv")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<name of the GPU>")
    parser.add_argument("--seconds", type=float, default=170.0, help="for everything")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="arithmetic (default: all)"
    )
    parser.add_argument("--tune", action="store_true", help="spconv.set_cuda_tuning(True)")
    parser.add_argument(
        "--rehearse", action="store_true", help="tiny and on the CPU: shows that everything runs"
    )
    options = parser.parse_args()
    plan = REHEARSAL if options.rehearse else GPU
    if plan.device == "cuda":
        require_device()
        spconv.set_cuda_tuning(options.tune)
    device = name_of_device(plan)
    folder = options.out or (Path("out") if options.rehearse else RESULTS / folder_name(device))
    comparison = Comparison(plan, options.python, options.seconds)
    result = comparison.result
    result.update(device=device, date=datetime.now(timezone.utc).strftime("%Y-%m-%d"))
    result["versions"]["this package"] = spconv.__version__
    result["tuned"] = options.tune
    for number, kind in enumerate(options.kinds):
        now = time.monotonic()
        share = (comparison.ends - now) / (len(options.kinds) - number)
        comparison.run(kind, now + share)
        write(folder, result)
    print((folder / "peers.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
