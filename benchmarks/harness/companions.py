"""Other processes that run the same calls beside this one: what all cores give without sharing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import spconv

Cases = Callable[[], Iterator[tuple[str, Callable[[], object]]]]
"""Makes (name, call) of everything that is timed; it is pickled for the other processes."""

RUN, REST, NEXT = "run", "rest", "next"


class Companions:
    """So many processes that repeat the present case's call, one thread each, while asked to."""

    def __init__(self, count: int, cases: Cases) -> None:
        self.orders: list[Connection] = []
        spawning = get_context("spawn")  # OpenMP's threads do not survive a fork
        for _ in range(count):
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=_follow, args=(theirs, cases), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process ends our waiting for it
            self.orders.append(ours)

    def prepare(self, name: str) -> None:
        """Wait until the case of this name, the first or the one after the last, is ready."""
        found = [order.recv() for order in self.orders]
        if set(found) - {name}:
            raise RuntimeError(f"Companions: expected the case {name!r}, they have {found}")

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of them compute for as long as the block lasts."""
        self._tell(RUN)
        try:
            yield
        finally:
            self._tell(REST)

    def leave(self) -> None:
        """Go on to the next case; after the last they end."""
        for order in self.orders:
            order.send(NEXT)

    def _tell(self, what: str) -> None:
        for order in self.orders:
            order.send(what)
        for order in self.orders:
            order.recv()


def _follow(orders: Connection, cases: Cases) -> None:
    spconv.set_num_threads(1)
    for name, call in cases():
        call()
        orders.send(name)
        while orders.recv() == RUN:
            orders.send(RUN)
            while not orders.poll():
                call()
            orders.send(orders.recv())
