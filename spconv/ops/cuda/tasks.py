"""The tasks of weight gradients on the device: made there where it knows the numbers of pairs."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spconv.compat import Array
from spconv.ops.cuda.compiler import kernel
from spconv.ops.cuda.launch import THREADS
from spconv.ops.cuda.tiles import split_pairs


class Tasks(NamedTuple):
    """What :func:`~spconv.ops.cuda.tiles.split_pairs` returns, on the device."""

    starts: Array
    offset_tasks: Array


def make_tasks(
    xp: ModuleType, offset_starts: NDArray[np.int64], longest: int, counts: Array | None
) -> Tasks:
    """Tasks of at most ``longest`` pairs; they are uploaded without ``counts``.

    Parameters
    ----------
    xp : module
        ``cupy``.
    offset_starts : int64 ndarray (K + 1,)
    longest : int
    counts : int32 array (K,) on the device or None
        Differences of ``offset_starts``.
    """
    volume = len(offset_starts) - 1
    if counts is None:
        return _upload(xp, *split_pairs(offset_starts, longest))
    num_tasks = int((-(-np.diff(offset_starts) // longest)).sum())
    tasks = Tasks(xp.empty(num_tasks + 1, np.int64), xp.empty(volume + 1, np.int32))
    memory = xp.empty(volume + 1, np.int64)
    arguments = counts, memory, tasks.offset_tasks, tasks.starts
    sizes = np.int32(volume), np.int32(num_tasks), np.int64(longest)
    kernel("tasks.cu", "split_pairs")((1,), (THREADS,), (*arguments, *sizes))
    return tasks


def _upload(
    xp: ModuleType, task_starts: NDArray[np.int64], offset_tasks: NDArray[np.int32]
) -> Tasks:
    """In one upload: each has its price, however little there is."""
    first, volume = len(task_starts), len(offset_tasks)
    packed = np.zeros(first + -(-volume // 2), np.int64)
    packed[:first] = task_starts
    packed[first:].view(np.int32)[:volume] = offset_tasks
    both = xp.asarray(packed)
    return Tasks(both[:first], both[first:].view(np.int32)[:volume])
