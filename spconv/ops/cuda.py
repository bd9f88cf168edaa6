"""The GPU engine: CuPy arrays through the specification's plain array code."""

from __future__ import annotations

from spconv.compat import import_cupy
from spconv.ops.base import Ops


class CudaOps(Ops):
    """CuPy arrays; every operation runs as the specification writes it."""

    def __init__(self) -> None:
        super().__init__(import_cupy())
