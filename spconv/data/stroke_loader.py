"""Batches of sparse on-line characters, drawn anew in every epoch by background threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spconv.data.field_batches import FieldBatches
from spconv.data.packed import PackedStrokes, Sample, checked_box, pack_strokes
from spconv.data.stroke_encode import Direction, Encoder, encode_strokes

StrokeAugmentation = Callable[[PackedStrokes, np.random.Generator], PackedStrokes]


class StrokeLoader(FieldBatches):
    """Batches of characters, given as pen strokes, as `SparseConvTensor` with their labels.

    Each character is fitted into the box in the middle of the field, once. Then, for each batch,
    it is distorted by ``augment`` and drawn as sites by ``encoder``; what a distortion moves out
    of the field is left out.

    Batch b of epoch e is a function of (seed, e, b) and nothing else: not of the number of
    threads, and not of where the iteration began. So a run that is interrupted in the middle of
    an epoch goes on with ``loader.epoch(e, start=b)`` to the very same bits.

    Parameters
    ----------
    samples : sequence of N characters, or PackedStrokes
        Each a sequence of strokes (n, 2), y downwards, such as `load_assamese` gives.
    labels : integer array (N,)
    batch_size : int
    field : int or (int, int)
        The grid's size.
    encoder : Occupancy, Direction, Octogram or Signature
        The features of a site; ``encoder.channels`` is their number.
    box : float or (float, float), optional
        As in `encode_strokes`.
    augment : callable, optional
        ``(packed, rng) -> packed``, such as `StrokeAffine`, in pixels from the field's middle.
    shuffle, seed, num_threads, prefetch, ground_state, drop_last
        As in `SparseLoader`.

    Examples
    --------
    >>> from spconv.data import Signature, StrokeAffine, StrokeLoader, make_strokes
    >>> samples, labels = make_strokes(50)
    >>> loader = StrokeLoader(samples, labels, 20, 95, Signature(order=2), augment=StrokeAffine())
    >>> for x, y in loader:
    ...     print(x.spatial_shape, x.batch_size, x.features.shape[1], y.shape)
    (95, 95) 20 7 (20,)
    (95, 95) 20 7 (20,)
    (95, 95) 10 7 (10,)
    """

    _sample = "character"

    def __init__(
        self,
        samples: Sequence[Sample] | PackedStrokes,
        labels: np.ndarray,
        batch_size: int,
        field: int | tuple[int, int],
        encoder: Encoder | None = None,
        box: float | tuple[float, float] | None = None,
        augment: StrokeAugmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        num_threads: int = 1,
        prefetch: int = 4,
        ground_state: bool = True,
        drop_last: bool = False,
    ) -> None:
        packed = pack_strokes(samples, "StrokeLoader")
        super().__init__(
            len(packed),
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
        self.encoder = Direction() if encoder is None else encoder
        if not isinstance(self.encoder, Encoder):
            raise TypeError(
                "StrokeLoader: encoder must be Occupancy(), Direction(), Octogram() or "
                f"Signature(...), got {encoder!r}"
            )
        self.box = checked_box("StrokeLoader", box, self.field)
        self.augment = augment
        self.packed = packed.fit(self.box)

    def _sites(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        packed = self.packed.take(rows)
        if self.augment is not None:
            packed = self.augment(packed, rng)
            self._one_for_each(packed, rows)
        return encode_strokes(packed, self.field, features=self.encoder, fit=False)
