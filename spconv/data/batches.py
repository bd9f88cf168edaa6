"""What all loaders share: the order of samples, background threads, exact resumption."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from spconv.checks import check_int
from spconv.rulebook_cache import Plan
from spconv.tensor import SparseConvTensor
from spconv.threads import available_cpus, get_num_threads, one_thread

Batch = tuple[Any, Any]
ORDER, AUGMENT = range(2)  # streams of random numbers, by spawn key


class Batches(ABC):
    """(inputs, labels) batches of numbered samples; subclasses make them.

    Batch b of epoch e is a function of (seed, e, b) and nothing else: not of the number of
    threads, and not of where the iteration began. Where processors are left, the background
    threads build rulebooks, too: those that the batch before has needed.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        num_threads: int,
        prefetch: int,
        drop_last: bool,
    ) -> None:
        self.num_samples = check_int(self._name, "num_samples", num_samples, 0)
        self.batch_size = check_int(self._name, "batch_size", batch_size, 1)
        self.shuffle = shuffle
        self.seed = check_int(self._name, "seed", seed, 0)
        self.num_threads = check_int(self._name, "num_threads", num_threads, 0)
        self.prefetch = check_int(self._name, "prefetch", prefetch, 1)
        self.drop_last = drop_last
        self._next_epoch = 0
        self._plan: Plan = ()

    @property
    def _name(self) -> str:
        return type(self).__name__

    @abstractmethod
    def _batch(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        """Inputs and labels of the samples ``rows``, all randomness from ``rng``."""

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(self.num_samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __repr__(self) -> str:
        return (
            f"{self._name}({len(self)} batches of {self.batch_size}, "
            f"num_samples={self.num_samples}, shuffle={self.shuffle}, seed={self.seed}, "
            f"num_threads={self.num_threads})"
        )

    def __iter__(self) -> Iterator[Batch]:
        """The next epoch: the first iteration is epoch 0, the second is epoch 1, and so on."""
        self._next_epoch += 1
        return self.epoch(self._next_epoch - 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from batch ``start`` on.

        Closing the iterator early (or dropping it, as ``break`` does) ends its threads. What goes
        wrong in a thread is raised here, when the turn of its batch has come.
        """
        epoch = check_int(self._name, "epoch", epoch, 0)
        start = check_int(self._name, "start", start, 0, len(self))
        return self._batches(epoch, start)

    def _batches(self, epoch: int, start: int) -> Generator[Batch, None, None]:
        order = np.arange(self.num_samples)
        if self.shuffle:
            order = self._generator(ORDER, epoch).permutation(order)
        remaining = iter(range(start, len(self)))
        if self.num_threads == 0:
            for batch in remaining:
                yield self._prepare(order, epoch, batch)
            return
        pending: deque[tuple[int, Future[Batch]]] = deque()
        pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="spconv-loader")
        awaited = start

        def prepare(batch: int) -> Batch:
            with one_thread():  # leaves the others to the training
                made = self._prepare(order, epoch, batch)
                if batch != awaited and self._spare_processor():
                    _build_ahead(made, self._plan)
            return made

        def submit(count: int) -> None:
            for batch in islice(remaining, count):
                pending.append((batch, pool.submit(prepare, batch)))

        try:
            submit(self.prefetch)
            while pending:
                awaited, future = pending.popleft()
                made = future.result()
                submit(1)
                yield made
                self._plan = _plan_of(made)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _spare_processor(self) -> bool:
        """Whether these threads have processors of their own: the training's wait for each other.

        One that is held up by the work that it is spared would hold up all.
        """
        return self.num_threads + get_num_threads() <= available_cpus()

    def _prepare(self, order: np.ndarray, epoch: int, batch: int) -> Batch:
        rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        return self._batch(rows, self._generator(AUGMENT, epoch, batch))

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))


def _plan_of(batch: Batch) -> Plan:
    """How to build the rulebooks that were needed for a batch."""
    inputs = batch[0]
    if not isinstance(inputs, SparseConvTensor):
        return ()
    return inputs.rulebooks.plan(inputs.sites)


def _build_ahead(batch: Batch, plan: Plan) -> None:
    """Build for a batch the rulebooks that the one before has needed."""
    inputs = batch[0]
    if isinstance(inputs, SparseConvTensor):
        try:
            inputs.rulebooks.follow(plan, inputs.sites)
        except ValueError:  # this one's grid is too small for it: the network will say so
            return
