"""The peak resident memory of training steps, each network in a process of its own."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from plans.plan import Plan

from training.steps import training_step

STEPS = 3
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def peak_megabytes(plan: Plan, x: Any, labels: np.ndarray) -> float:
    """Peak resident memory of a fresh process that trains on one batch, in 10^6 bytes.

    The interpreter and NumPy are part of it.

    Parameters
    ----------
    plan : Plan
    x : SparseConvTensor
        As the plan's loader gives it.
    labels : int array (batch,)
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=pickle.dumps((plan, x, labels)),
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    return float(done.stdout)


def _train(plan: Plan, x: Any, labels: np.ndarray) -> float:
    model = plan.model()
    step = training_step(model, lambda: plan.prepare(x), labels)
    for _ in range(STEPS):
        step()
    return own_peak_megabytes()


def own_peak_megabytes() -> float:
    """Peak resident memory of this process, in 10^6 bytes."""
    return own_peak_bytes() / 1e6


def own_peak_bytes() -> int:
    """Peak resident memory of this process, since its start or :func:`forget_own_peak`."""
    # Linux hands ru_maxrss on to started programs: it would tell the parent's peak.
    peak = _own_status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT if peak is None else peak


def own_resident_bytes() -> int:
    """Resident memory of this process now; its peak where the system does not tell."""
    resident = _own_status("VmRSS")
    return own_peak_bytes() if resident is None else resident


def forget_own_peak() -> None:
    """Let the peak begin at what is resident now, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _own_status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(value) * 1024


if __name__ == "__main__":
    print(_train(*pickle.load(sys.stdin.buffer)))
