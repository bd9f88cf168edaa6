"""Batches of a data set of one's own, prepared by background threads, the same ones every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spconv.checks import check_function, check_pair
from spconv.data.batches import Batch, Batches

Make = Callable[[np.ndarray, np.random.Generator], Batch]


class BatchLoader(Batches):
    """Batches that a function makes of the numbers of their samples.

    Batch b of epoch e is a function of (seed, e, b) and nothing else, if all that is random in it
    comes from the ``rng`` that is handed over: not of the number of threads, and not of where the
    iteration began. So a run that is interrupted in the middle of an epoch goes on with
    ``loader.epoch(e, start=b)`` to the very same bits. Closing the iterator, or dropping it as
    ``break`` does, ends its threads; what goes wrong in one is raised when the turn of its batch
    has come.

    Parameters
    ----------
    make : callable
        ``make(rows, rng) -> (inputs, labels)`` of the samples ``rows``, an int64 array; more than
        one thread may call it at a time. `collate` joins the tensors of single samples.
    num_samples : int
    batch_size : int
    shuffle : bool
        A new order for each epoch.
    seed : int
    num_threads : int
        Background threads; with 0, batches are prepared where they are used. If
        :func:`spconv.get_num_threads` leaves as many processors, they build the rulebooks of
        waiting batches, too, as soon as a first batch has shown which.
    prefetch : int
        How many batches may be in preparation or waiting.
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Raises
    ------
    TypeError
        If ``make`` is no function, or, when its batch is used, does not return a pair.

    Examples
    --------
    >>> import numpy as np
    >>> from spconv.data import BatchLoader, voxelize
    >>> clouds = np.random.default_rng(0).random((5, 100, 3)).astype("float32")
    >>> def make(rows, rng):
    ...     shifts = rng.random((len(rows), 1, 3), dtype=np.float32)
    ...     return voxelize(clouds[rows] + shifts, voxel_size=0.1).tensor(), rows % 2
    >>> loader = BatchLoader(make, len(clouds), batch_size=2, shuffle=True)
    >>> [(x.batch_size, len(labels)) for x, labels in loader]
    [(2, 2), (2, 2), (1, 1)]
    """

    def __init__(
        self,
        make: Make,
        num_samples: int,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        num_threads: int = 1,
        prefetch: int = 4,
        drop_last: bool = False,
    ) -> None:
        check_function("BatchLoader", "make(rows, rng) -> (inputs, labels)", make)
        super().__init__(
            num_samples,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            num_threads=num_threads,
            prefetch=prefetch,
            drop_last=drop_last,
        )
        self.make = make

    def _batch(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        return check_pair("BatchLoader: make(rows, rng) must return", self.make(rows, rng))
