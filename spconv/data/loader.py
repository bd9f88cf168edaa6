"""Batches of sparse images, prepared by background threads, the same ones every time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from spconv.data.encode import encode_images, field_shape
from spconv.tensor import SparseConvTensor

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
ORDER, AUGMENT = range(2)  # streams of random numbers, by spawn key


class SparseLoader:
    """Batches of images as `SparseConvTensor` with their labels.

    Batch b of epoch e is a function of (seed, e, b) and nothing else: not of the number of
    threads, and not of where the iteration began. So a run that is interrupted in the middle of
    an epoch goes on with ``loader.epoch(e, start=b)`` to the very same bits.

    Parameters
    ----------
    images : uint8 or float array (N, H, W)
        May be memory-mapped: only the rows of a batch are read.
    labels : integer array (N,)
    batch_size : int
    field : int or (int, int)
        The grid's size; each image is put in its middle (`encode_images`).
    augment : callable, optional
        ``(images, rng) -> images``, such as `Affine`.
    shuffle : bool
        A new order for each epoch.
    seed : int
    num_threads : int
        Background threads; with 0, batches are prepared where they are used.
    prefetch : int
        How many batches may be in preparation or waiting.
    ground_state : bool
        Whether the tensors carry the ground state 0: a site without ink *is* 0. With False, a
        site without ink is absent.
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Examples
    --------
    >>> from spconv.data import Affine, SparseLoader, load_strokes
    >>> images, labels = load_strokes("train", num_samples=50)
    >>> loader = SparseLoader(images, labels, 20, field=96, augment=Affine(), shuffle=True)
    >>> len(loader)
    3
    >>> for x, y in loader:
    ...     print(x.spatial_shape, x.batch_size, y.shape)
    (96, 96) 20 (20,)
    (96, 96) 20 (20,)
    (96, 96) 10 (10,)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        field: int | tuple[int, int],
        augment: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        num_threads: int = 1,
        prefetch: int = 4,
        ground_state: bool = True,
        drop_last: bool = False,
    ) -> None:
        images, labels = np.asanyarray(images), np.asarray(labels)
        if images.ndim != 3:
            raise ValueError(f"SparseLoader: images must have shape (N, H, W), got {images.shape}")
        if labels.shape != (len(images),):
            raise ValueError(
                f"SparseLoader: labels must have shape ({len(images)},), one for each image, "
                f"got {labels.shape}"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise TypeError(f"SparseLoader: labels must be integers, got {labels.dtype}")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("num_threads", num_threads, 0),
            ("prefetch", prefetch, 1),
        ):
            if value < least:
                raise ValueError(f"SparseLoader: {name} must be >= {least}, got {value}")
        self.images = images
        self.labels = labels.astype(np.int64)
        self.batch_size = batch_size
        self.field = field_shape(field)
        self.augment = augment
        self.shuffle = shuffle
        self.seed = seed
        self.num_threads = num_threads
        self.prefetch = prefetch
        self.ground_state = ground_state
        self.drop_last = drop_last
        self._next_epoch = 0

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[SparseConvTensor, np.ndarray]]:
        """The next epoch: the first iteration is epoch 0, the second is epoch 1, and so on."""
        self._next_epoch += 1
        return self.epoch(self._next_epoch - 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[SparseConvTensor, np.ndarray]]:
        """The batches of one epoch, from batch ``start`` on.

        Closing the iterator early (or dropping it, as ``break`` does) ends its threads. What goes
        wrong in a thread is raised here, when the turn of its batch has come.
        """
        if epoch < 0:
            raise ValueError(f"SparseLoader: epoch must be >= 0, got {epoch}")
        if not 0 <= start <= len(self):
            raise ValueError(f"SparseLoader: start must be in 0..{len(self)}, got {start}")
        return self._tensors(epoch, start)

    def _tensors(self, epoch: int, start: int) -> Iterator[tuple[SparseConvTensor, np.ndarray]]:
        batches = self._arrays(epoch, start)
        try:
            for indices, features, labels in batches:
                ground = np.zeros(features.shape[1], features.dtype) if self.ground_state else None
                yield (
                    SparseConvTensor(
                        features, indices, self.field, len(labels), ground, check=False
                    ),
                    labels,
                )
        finally:
            batches.close()

    def _arrays(self, epoch: int, start: int) -> Generator[Arrays, None, None]:
        """The same batches as arrays: indices, features, labels."""
        order = np.arange(len(self.images))
        if self.shuffle:
            order = self._generator(ORDER, epoch).permutation(order)
        remaining = iter(range(start, len(self)))
        if self.num_threads == 0:
            for batch in remaining:
                yield self._prepare(order, epoch, batch)
            return
        pending: deque[Future[Arrays]] = deque()
        pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="spconv-loader")

        def submit(count: int) -> None:
            for batch in islice(remaining, count):
                pending.append(pool.submit(self._prepare, order, epoch, batch))

        try:
            submit(self.prefetch)
            while pending:
                arrays = pending.popleft().result()
                submit(1)
                yield arrays
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _prepare(self, order: np.ndarray, epoch: int, batch: int) -> Arrays:
        rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        images = self.images[rows]
        if self.augment is not None:
            images = self.augment(images, self._generator(AUGMENT, epoch, batch))
            if len(images) != len(rows):
                raise ValueError(
                    f"SparseLoader: augment must return one image for each of {len(rows)}, "
                    f"got {len(images)}"
                )
        indices, features = encode_images(images, self.field)
        return indices, features, self.labels[rows]

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))
