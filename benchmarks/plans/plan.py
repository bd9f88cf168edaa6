"""What to train: a network with its inputs and its training, all in plain values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

import spconv
from spconv.data import Affine, SparseLoader, StrokeLoader

TEST_BATCH = 200
Split = tuple[Any, np.ndarray]
"""Samples and their labels."""


@dataclass(frozen=True)
class Augmentation:
    """Random affine maps of the training images; see `spconv.data.Affine`."""

    max_translation: float = 2.0
    max_rotation: float = 0.2
    scale: tuple[float, float] = (0.85, 1.15)
    max_shear: float = 0.2
    pad: int = 4

    def make(self) -> Affine:
        return Affine(self.max_translation, self.max_rotation, self.scale, self.max_shear, self.pad)


@dataclass(frozen=True)
class Training:
    """SGD with Nesterov's momentum under half a cosine, after a linear warm-up."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    warmup_steps: int
    seed: int = 0
    num_train: int | None = None
    num_test: int | None = None
    augment: Augmentation | None = None

    def part_of(self, split: Split, *, training: bool) -> tuple[Any, np.ndarray, int]:
        """The samples and labels that are used, and how many go into a batch."""
        samples, labels = split
        count = self.num_train if training else self.num_test
        return samples[:count], labels[:count], self.batch_size if training else TEST_BATCH


class Plan(ABC):
    """All that the result of one training run depends on, except the data's content.

    Subclasses are frozen dataclasses of plain values: equal plans on equal data give equal bits.
    """

    name: str
    """For folders and files."""
    title: str
    """For tables and plots: the kind of network."""
    sparse: bool
    """Whether it computes on active sites only."""
    training: Training

    @abstractmethod
    def describe(self) -> str:
        """The network and its field, in words."""

    @abstractmethod
    def model(self) -> spconv.Module:
        """The network, with its initial weights."""

    @abstractmethod
    def batches(self, split: Split, *, shuffle: bool, augment: bool) -> SparseLoader | StrokeLoader:
        """Batches of one split; shuffled ones are for training."""

    def loader(self, split: Split, *, training: bool) -> SparseLoader | StrokeLoader:
        """Batches of one split, augmented and shuffled for training."""
        return self.batches(split, shuffle=training, augment=training)

    def views(self, split: Split) -> SparseLoader | StrokeLoader:
        """Batches of one split in its order, augmented: another view in every epoch."""
        return self.batches(split, shuffle=False, augment=True)

    def prepare(self, x: spconv.SparseConvTensor) -> Any:
        """A batch as the network takes it."""
        return x if self.sparse else x.dense()
