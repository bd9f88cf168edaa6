"""Optimizer steps: one launch for all parameters of one kind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array, to_device
from spconv.dtypes import math_type
from spconv.ops.cuda.arithmetic import NO_FMA, storage_of
from spconv.ops.cuda.compiler import kernel
from spconv.ops.cuda.launch import THREADS

Tensors = tuple[Array, ...]
"""What belongs to one parameter: contiguous arrays of its size, None for what there is not."""


def optimizer_step(
    xp: ModuleType,
    entry: str,
    learning: Sequence[tuple[Array, ...]],
    numbers: Sequence[float],
    *options: Any,
) -> None:
    """Run an entry point of optimizer.cu over (data, master, gradient, state...) of parameters.

    Raises
    ------
    ValueError
        For parameters or state that are not contiguous; nothing is updated then.
    """
    kinds: dict[tuple[np.dtype, np.dtype, bool], list[Tensors]] = {}
    for data, master, grad, *state in learning:
        if not all(array is None or array.flags.c_contiguous for array in (data, master, *state)):
            raise ValueError("CudaOps: parameters and their state must be contiguous to be updated")
        arrays = data, master, xp.ascontiguousarray(grad), *state
        kinds.setdefault((data.dtype, grad.dtype, master is not None), []).append(arrays)
    for (dtype, gradient, has_master), tensors in kinds.items():
        table, ends = _table(xp, tensors, [data.size for data, *_ in tensors])
        if ends[-1]:
            macros = {"STORAGE": storage_of(dtype), "GRADIENT": storage_of(gradient)}
            function = kernel("optimizer.cu", entry, NO_FMA, MASTER=int(has_master), **macros)
            wide = (math_type(dtype)(number) for number in numbers)
            arguments = table, np.int32(len(tensors)), *wide, *options
            function((int(ends[-1]),), (THREADS,), arguments)


def unscale(xp: ModuleType, gradients: Sequence[Array], scale: float) -> tuple[list[Array], bool]:
    """As :meth:`spconv.ops.Ops.unscale`; one copy to the host."""
    kinds: dict[np.dtype, list[Tensors]] = {}
    results, overflow = [], xp.zeros(1, np.int32)
    for gradient in gradients:
        results.append(xp.empty(gradient.shape, math_type(gradient.dtype)))
        # Kept until the launch: a dense copy has an address of its own.
        pair = xp.ascontiguousarray(gradient), results[-1]
        kinds.setdefault(gradient.dtype, []).append(pair)
    for dtype, pairs in kinds.items():
        table, ends = _table(xp, pairs, [result.size for _, result in pairs])
        if ends[-1]:
            function = kernel("unscale.cu", "unscale", NO_FMA, STORAGE=storage_of(dtype))
            arguments = table, np.int32(len(pairs)), math_type(dtype)(scale), overflow
            function((int(ends[-1]),), (THREADS,), arguments)
    return results, not int(to_device(overflow, "cpu")[0])


def _table(
    xp: ModuleType, tensors: Sequence[Tensors], sizes: list[int]
) -> tuple[Array, NDArray[np.int64]]:
    """What tensors.cuh calls a table, and on the host its ends, in blocks of threads."""
    ends = np.cumsum(-(-np.array(sizes, np.int64) // THREADS))
    columns = [
        [0 if array is None else array.data.ptr for array in column]
        for column in zip(*tensors, strict=True)
    ]
    rows, cuda = np.array([ends, sizes, *columns], np.int64), xp.cuda
    # Another stream, which each thread may have, would not wait for the upload.
    where = threading.get_ident(), cuda.runtime.getDevice(), cuda.get_current_stream().ptr
    return _uploaded(xp, rows.tobytes(), len(rows), where), ends


@lru_cache(maxsize=16)
def _uploaded(xp: ModuleType, table: bytes, rows: int, where: tuple[int, int, int]) -> Array:
    """A table on the device: arrays of equal steps mostly get the same memory again."""
    return xp.asarray(np.frombuffer(table, np.int64).reshape(rows, -1))
