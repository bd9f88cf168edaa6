"""What the loaders of characters share: labels, and sites on a field of one size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sized
from typing import Any

import numpy as np

from spconv.data.batches import Batches
from spconv.data.encode import field_shape
from spconv.tensor import SparseConvTensor


class FieldBatches(Batches):
    """Batches of samples on one field as `SparseConvTensor`; subclasses make the sites."""

    def __init__(
        self,
        num_samples: int,
        labels: np.ndarray,
        *,
        field: int | tuple[int, int],
        ground_state: bool,
        **options: Any,
    ) -> None:
        labels = np.asarray(labels)
        if labels.shape != (num_samples,):
            raise ValueError(
                f"{self._name}: labels must have shape ({num_samples},), one for each "
                f"{self._sample}, got {labels.shape}"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise TypeError(f"{self._name}: labels must be integers, got {labels.dtype}")
        super().__init__(num_samples, **options)
        self.labels = labels.astype(np.int64)
        self.field = field_shape(field, self._name)
        self.ground_state = ground_state

    _sample = "sample"  # what one is, for messages

    @abstractmethod
    def _sites(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices and features of the samples ``rows``, all randomness from ``rng``."""

    def _batch(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[SparseConvTensor, np.ndarray]:
        indices, features = self._sites(rows, rng)
        ground = np.zeros(features.shape[1], features.dtype) if self.ground_state else None
        x = SparseConvTensor(features, indices, self.field, len(rows), ground, check=False)
        return x, self.labels[rows]

    def _one_for_each(self, augmented: Sized, rows: np.ndarray) -> None:
        if len(augmented) != len(rows):
            raise ValueError(
                f"{self._name}: augment must return one {self._sample} for each of {len(rows)}, "
                f"got {len(augmented)}"
            )
