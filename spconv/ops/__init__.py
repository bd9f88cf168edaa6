"""Which engine computes: chosen by the array, never by a global device.

NumPy arrays go to the compiled engine, or to the plain NumPy specification inside
``use_engine("numpy")``; CuPy arrays go to the GPU engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import numpy as np

from spconv.compat import Array, is_cupy
from spconv.ops.base import Ops
from spconv.ops.cpu import INSTRUCTION_SETS, CpuOps
from spconv.ops.epilogue import Epilogue
from spconv.ops.settings import (
    get_cpu_precision,
    get_cuda_precision,
    get_cuda_tuning,
    set_cpu_precision,
    set_cuda_precision,
    set_cuda_tuning,
)

ENGINES = ("numpy", "cpu", *INSTRUCTION_SETS)
_cpu_engine = ContextVar("cpu_engine", default="cpu")


def get_ops(array: Array) -> Ops:
    """Return the engine for ``array``."""
    return _cuda_ops() if is_cupy(array) else _host_ops(_cpu_engine.get())


@contextmanager
def use_engine(name: str) -> Iterator[Ops]:
    """Use another engine for NumPy arrays inside a ``with`` block.

    Parameters
    ----------
    name : {"numpy", "cpu", "portable", "avx2", "avx512"}
        "numpy" is the specification, "cpu" the compiled engine, the others the compiled engine
        held to one instruction set.

    Examples
    --------
    >>> with use_engine("numpy") as ops:
    ...     type(ops).__name__
    'Ops'
    """
    ops = _host_ops(name)
    token = _cpu_engine.set(name)
    try:
        yield ops
    finally:
        _cpu_engine.reset(token)


@cache
def _host_ops(name: str) -> Ops:
    if name not in ENGINES:
        raise ValueError(f"use_engine: expected one of {ENGINES}, got {name!r}")
    if name == "numpy":
        return Ops(np)
    return CpuOps(None if name == "cpu" else name)


@cache
def _cuda_ops() -> Ops:
    # Here: who has no GPU need not wait for a third of the package.
    from spconv.ops.cuda import CudaOps

    return CudaOps()


__all__ = [
    "ENGINES",
    "CpuOps",
    "Epilogue",
    "Ops",
    "get_cpu_precision",
    "get_cuda_precision",
    "get_cuda_tuning",
    "get_ops",
    "set_cpu_precision",
    "set_cuda_precision",
    "set_cuda_tuning",
    "use_engine",
]
