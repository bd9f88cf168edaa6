"""What a training step holds in memory, next to what it has to hold.

    python benchmarks/step_memory.py --data folder-with-mnist --out out

Each network trains for three steps in a process of its own. Its peak resident size, less that of
the same process before the first step (interpreter, NumPy, batch and weights), is set against the
bytes of the features, of the rulebooks and of the parameters. Nothing here grows with
kernel x sites x channels, the rows that gathering for a matrix product would copy: the last column.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
from harness import command_line
from harness.threads import use_threads
from reporting.table import markdown
from training import subjects
from training.peak_memory import forget_own_peak, own_peak_bytes, own_resident_bytes

import spconv
from spconv.counting import observed, rulebook_of
from spconv.layers.pool import SparseMaxPool

STEPS = 3
WINNER_BYTES = 4  # int32, of every value of a max-pooling
COPIES = 3  # of the weights: themselves, gradients, momentum
SUBJECTS = ("characters", "scan", "layer")


def subject(name: str, size: str, data: str | None) -> subjects.Subject:
    """One of the networks by name."""
    if name == "characters":
        return subjects.characters(size, data)
    return subjects.scan(size) if name == "scan" else subjects.layer(size)


def necessary_bytes(which: subjects.Subject) -> dict[str, int]:
    """Bytes of a step's parts, from the arrays of a forward pass.

    ``features``: what all layers take and give, and the winners of max-pooling. ``rulebooks``:
    pairs, those of inverses if they are others, and sites. ``parameters``: weights, gradients and
    momentum. ``gathered``, which nothing should need: the rows of all pairs of the largest
    convolution.
    """
    x = which.source()
    kept: dict[int, np.ndarray] = {}
    gathered, winners = [0], 0

    def keep(*arrays: np.ndarray) -> None:
        kept.update((array.ctypes.data, array) for array in arrays)  # views of one count once

    features: dict[int, np.ndarray] = {}

    def see(path: str, layer: Any, before: Any, after: Any) -> None:
        nonlocal winners
        for tensor in (before, after):
            rows = tensor.features if isinstance(tensor, spconv.SparseConvTensor) else tensor
            features[id(rows.data)] = rows.data
        rulebook = rulebook_of(layer, before)
        if rulebook is None:
            return
        for book in (rulebook, rulebook.inverse):
            keep(book.in_rows, book.out_rows, book.in_sites.indices, book.out_sites.indices)
        if isinstance(layer, SparseMaxPool):
            winners += after.features.size * WINNER_BYTES
        else:
            widest = max(before.num_channels, after.num_channels)
            gathered.append(rulebook.num_pairs * widest * after.features.dtype.itemsize)

    with observed(which.model, see), spconv.no_grad():
        which.model(x)
    parameters = sum(parameter.data.nbytes for parameter in which.model.parameters())
    return {
        "features": sum(array.nbytes for array in features.values()) + winners,
        "rulebooks": sum(array.nbytes for array in kept.values()),
        "parameters": COPIES * parameters,
        "gathered": max(gathered),
    }


def measured(which: subjects.Subject) -> dict[str, float]:
    """Bytes of this process: resident before the first step, and at most in the steps."""
    step = which.step()
    before = own_resident_bytes()
    forget_own_peak()
    for _ in range(STEPS):
        step()
    return {"before": before, "peak": own_peak_bytes()}


def table(rows: list[dict[str, Any]]) -> str:
    """Megabytes of every network; the peak beyond the start as a multiple of what is necessary."""
    cells = []
    for row in rows:
        parts = [row[name] / 1e6 for name in ("features", "rulebooks", "parameters")]
        used = (row["peak"] - row["before"]) / 1e6
        values = [row["before"] / 1e6, row["peak"] / 1e6, used, *parts]
        numbers = [f"{value:,.1f}" for value in values]
        cells.append(
            [row["name"], *numbers, f"{used / sum(parts):.2f}", f"{row['gathered'] / 1e6:,.1f}"]
        )
    columns = [
        "training step (MB)",
        "before",
        "peak",
        "peak - before",
        "features",
        "rulebooks",
        "parameters x 3",
        "(peak - before) / these three",
        "rows of all pairs of a layer",
    ]
    return markdown(columns, cells)


def _in_own_process(name: str, options: Any) -> dict[str, Any]:
    command = [sys.executable, __file__, f"--{options.size}", "--measure", name]
    data = ["--data", options.data] if options.data else []
    done = subprocess.run([*command, *data], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--measure", choices=SUBJECTS, help="this one, in this process")
    options = parser.parse_args()
    if options.measure is not None:  # PyTorch, whose threads are set below, stays unloaded
        which = subject(options.measure, options.size, options.data)
        memory = measured(which)  # before anything else has been allocated
        print(json.dumps({"name": which.name, **memory, **necessary_bytes(which)}))
        return
    use_threads(options.threads, restart=True)
    rows = [_in_own_process(name, options) for name in SUBJECTS]
    command_line.write(
        options.out, "step_memory", {"size": options.size, "rows": rows}, table(rows)
    )


if __name__ == "__main__":
    main()
