"""Locks that a forked child finds open."""

from __future__ import annotations

import os
import threading


class Lock:
    """For ``with`` blocks. The threads of a parent, one of which may hold it, are not a child's."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._open()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._open)

    def _open(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
