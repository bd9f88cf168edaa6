"""How many threads the compiled kernels use. Results do not depend on it, only time does."""

from __future__ import annotations

import os
from operator import index

WORTH_WAKING = 30_000
"""Nanoseconds of work below which a second thread costs more than it does."""

_state = {"num_threads": 0, "most": 1024}


# OpenMP's threads do not survive a fork: a child that asked for them would wait forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _state.update(most=1))


def available_cpus() -> int:
    """Number of processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def get_num_threads() -> int:
    """Threads that the kernels use: what was set, else ``OMP_NUM_THREADS``, else all processors."""
    if not _state["num_threads"]:
        requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        _state["num_threads"] = int(requested) if requested.isdigit() else available_cpus()
    return max(1, min(_state["num_threads"], _state["most"]))


def set_num_threads(num_threads: int) -> None:
    """Set the number of threads of the compiled kernels.

    Every sum has one fixed order, so the results are the same bits for any number. In a forked
    child, whose threads of OpenMP are gone, it stays at one.

    Raises
    ------
    ValueError
        If ``num_threads`` is smaller than 1, or greater than 1024.
    """
    if not 1 <= index(num_threads) <= 1024:
        raise ValueError(f"set_num_threads: expected at least 1 thread, got {num_threads}")
    _state["num_threads"] = index(num_threads)


def threads_for(nanoseconds: float) -> int:
    """Threads for work that takes one thread about so long: waking others must pay off."""
    return get_num_threads() if nanoseconds > WORTH_WAKING else 1
