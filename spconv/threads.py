"""How many threads the compiled kernels use. Results do not depend on it, only time does."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from time import monotonic, process_time

from spconv.checks import check_int

WORTH_WAKING = 30_000
"""Nanoseconds of work below which a second thread costs more than it does."""

MOST_THREADS = 1024
LOOK_EVERY = 0.1
"""Seconds between looks at how busy the machine is."""

_state = {"num_threads": 0, "most": MOST_THREADS, "chosen": False}
_load = {"then": 0.0, "busy": 0.0, "own": 0.0, "left": 1.0, "next": 0.0}
_looking = Lock()
_alone = ContextVar("alone", default=False)


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
    """Threads that the kernels use: what was set, else ``OMP_NUM_THREADS``, else all processors.

    In the last case they use down to half as many while other processes keep processors busy (on
    Linux, looked at ten times a second while they run).
    """
    if not _state["num_threads"]:
        requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        _state["chosen"] = requested.isdigit()
        _state["num_threads"] = int(requested) if _state["chosen"] else available_cpus()
    return max(1, min(_state["num_threads"], _state["most"]))


def set_num_threads(num_threads: int | None) -> None:
    """Set the number of threads of the compiled kernels; None leaves it to them again.

    Every sum has one fixed order, so the results are the same bits for any number. In a forked
    child, whose threads of OpenMP are gone, it stays at one.

    Raises
    ------
    ValueError
        If ``num_threads`` is smaller than 1, or greater than 1,024.
    """
    if num_threads is None:
        _state.update(num_threads=0, chosen=False)
        return
    num_threads = check_int("set_num_threads", "num_threads", num_threads, 1, MOST_THREADS)
    _state.update(num_threads=num_threads, chosen=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Wake no others inside the ``with`` block: for work behind the back of what uses them all."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def threads_for(nanoseconds: float) -> int:
    """Threads for work that takes one thread about so long: waking others must pay off.

    Where nobody chose a number, processors that other processes keep busy are left to them, up to
    half of all: to wait for a thread that another process holds up takes longer than its work.
    """
    if nanoseconds <= WORTH_WAKING or _alone.get():
        return 1
    most = get_num_threads()
    return most if _state["chosen"] else min(most, _processors_left())


def _processors_left() -> int:
    now = monotonic()
    if now >= _load["next"] and _looking.acquire(blocking=False):
        try:
            _look(now)
        finally:
            _looking.release()
    return int(_load["left"])


def _look(now: float) -> None:
    """Count the processors that others used since the last look; all are free before the first.

    Half of them are taken whatever others do: two processes would otherwise stay as they began,
    one with all and one with a single thread.
    """
    total, busy, own, most = _processors(), _busy_seconds(), process_time(), get_num_threads()
    left, next_look = most, now + LOOK_EVERY if busy else math.inf
    if busy and _load["busy"] and now > _load["then"]:
        others = (busy - _load["busy"] - (own - _load["own"])) / (now - _load["then"])
        left = max(most // 2, math.floor(total - others + 0.5), 1)
    _load.update(then=now, busy=busy, own=own, left=left, next=next_look)


def _processors() -> int:
    """Those of the machine, whatever this process may use: what :func:`_busy_seconds` is about."""
    try:
        return os.sysconf("SC_NPROCESSORS_ONLN")
    except (AttributeError, OSError, ValueError):
        return os.cpu_count() or 1


def _busy_seconds(path: str = "/proc/stat") -> float:
    """Seconds that all processors have worked; 0 where the system does not tell.

    Without what gives way to others (nice).
    """
    try:
        with open(path, "rb") as file:
            user, _, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    except (OSError, ValueError):
        return 0.0
    return (user + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
