"""Batches of sparse images, prepared by background threads, the same ones every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spconv.data.encode import check_images, encode_images
from spconv.data.field_batches import FieldBatches

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class SparseLoader(FieldBatches):
    """Batches of images as `SparseConvTensor` with their labels.

    Batch b of epoch e is a function of (seed, e, b) and nothing else: not of the number of
    threads, and not of where the iteration began. So a run that is interrupted in the middle of
    an epoch goes on with ``loader.epoch(e, start=b)`` to the very same bits.

    Parameters
    ----------
    images : uint8 or float array (N, H, W) or (N, C, H, W)
        uint8 values are divided by 255, others taken as they are. May be memory-mapped: only the
        rows of a batch are read. A pixel is active that is above 0 in any channel
        (`encode_images`).
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
        Background threads; with 0, batches are prepared where they are used. If
        :func:`spconv.get_num_threads` leaves as many processors, they build the rulebooks of
        waiting batches, too, as soon as a first batch has shown which.
    prefetch : int
        How many batches may be in preparation or waiting.
    ground_state : bool
        Whether the tensors carry the ground state 0 in every channel: a site without ink *is* 0.
        With False, a site without ink is absent: the choice for networks that end in an average
        over the sites.
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

    _sample = "image"

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
        images = np.asanyarray(images)
        check_images("SparseLoader", images.shape, "N")
        super().__init__(
            len(images),
            labels,
            batch_size=batch_size,
            field=field,
            shuffle=shuffle,
            seed=seed,
            num_threads=num_threads,
            prefetch=prefetch,
            ground_state=ground_state,
            drop_last=drop_last,
        )
        self.images = images
        self.augment = augment

    def _sites(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        images = self.images[rows]
        if self.augment is not None:
            images = self.augment(images, rng)
            self._one_for_each(images, rows)
        return encode_images(images, self.field)
