"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import spconv
from harness.pytorch import torch_version
from spconv.kernels import amx
from spconv.ops.cpu import INSTRUCTION_SETS, CpuOps
from spconv.ops.settings import CPU_PRECISIONS
from spconv.threads import available_cpus


def describe_machine() -> dict[str, Any]:
    """Processor, memory, software, threads and date, as plain values."""
    return {
        "cpu": cpu_model(),
        "cores": available_cpus(),
        "memory_gb": memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "torch": torch_version(),
        "spconv": spconv.__version__,
        "instruction_set": INSTRUCTION_SETS[CpuOps().isa],
        "threads": spconv.get_num_threads(),
        "load": load_average(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def cpu_precisions() -> tuple[str, ...]:
    """Of ``spconv.set_cpu_precision``, those that this processor has."""
    return CPU_PRECISIONS[:1] if amx.missing() else CPU_PRECISIONS


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def memory_gb() -> float | None:
    """Size of the main memory, where the system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


def blas() -> str:
    """Name and version of the BLAS that NumPy was built with."""
    found: Any = np.show_config(mode="dicts")
    details = found.get("Build Dependencies", {}).get("blas", {})
    return f"{details.get('name', 'unknown')} {details.get('version', '')}".strip()


def load_average() -> float | None:
    """Processes that wanted a processor in the last minute: 0 before the start is best."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None
