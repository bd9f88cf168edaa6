"""Ctrl-C in a training loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Holds Ctrl-C back while a step runs, so that no checkpoint sees half an update.

    A second Ctrl-C is not held. Only Python's own handler is replaced, and only in the main
    thread, where signals arrive.
    """

    def __init__(self) -> None:
        self.between_steps = True
        self._pending = False
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.between_steps or self._pending:
            raise KeyboardInterrupt
        self._pending = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """A part that is done as a whole; whatever else fails in it leaves the state torn."""
        self.between_steps = False
        yield
        self.between_steps = True
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
