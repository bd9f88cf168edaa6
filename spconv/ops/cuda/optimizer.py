"""Optimizer steps: one launch for all parameters of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from spconv.compat import Array
from spconv.dtypes import math_type
from spconv.ops.cuda.arithmetic import NO_FMA, storage_of
from spconv.ops.cuda.compiler import kernel
from spconv.ops.cuda.launch import THREADS


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
    kinds: dict[tuple[np.dtype, np.dtype, bool], list[tuple[Array, ...]]] = {}
    for data, master, grad, *state in learning:
        if not all(array is None or array.flags.c_contiguous for array in (data, master, *state)):
            raise ValueError("CudaOps: parameters and their state must be contiguous to be updated")
        arrays = data, master, xp.ascontiguousarray(grad), *state
        kinds.setdefault((data.dtype, grad.dtype, master is not None), []).append(arrays)
    for (dtype, gradient, has_master), tensors in kinds.items():
        sizes = np.array([arrays[0].size for arrays in tensors], np.int64)
        ends = np.cumsum(-(-sizes // THREADS))
        columns = ([_address(array) for array in column] for column in zip(*tensors, strict=True))
        if not ends[-1]:
            continue
        table = xp.asarray(np.array([ends, sizes, *columns], np.int64))
        macros = {"STORAGE": storage_of(dtype), "GRADIENT": storage_of(gradient)}
        function = kernel("optimizer.cu", entry, NO_FMA, MASTER=int(has_master), **macros)
        wide = (math_type(dtype)(number) for number in numbers)
        function((int(ends[-1]),), (THREADS,), (table, np.int32(len(tensors)), *wide, *options))


def _address(array: Array | None) -> int:
    return 0 if array is None else array.data.ptr
