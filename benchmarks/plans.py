"""What to train: a network with its inputs and its training, all in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import spconv
from spconv.data import Affine, SparseLoader
from spconv.models import DeepCNet, SimpleCNN

NUM_DIGITS = 10
TEST_BATCH = 200


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


class Plan(Protocol):
    """All that the result of one training run depends on, except the data's content.

    A frozen dataclass of plain values: equal plans on equal data give equal bits.
    """

    @property
    def name(self) -> str:
        """For folders and files."""

    @property
    def title(self) -> str:
        """For tables and plots: the kind of network."""

    @property
    def sparse(self) -> bool:
        """Whether it computes on active sites only."""

    @property
    def training(self) -> Training: ...

    def describe(self) -> str:
        """The network and its field, in words."""

    def model(self) -> spconv.Module:
        """The network, with its initial weights."""

    def loader(self, split: tuple[Any, np.ndarray], *, training: bool) -> Any:
        """Batches of one split, augmented and shuffled for training."""

    def views(self, split: tuple[Any, np.ndarray]) -> Any:
        """Batches of one split in its order, augmented: another view in every epoch."""

    def prepare(self, x: Any) -> Any:
        """A batch as the network takes it."""


@dataclass(frozen=True)
class DeepCNetRun:
    """DeepCNet(l, k) on images in fields of 3 * 2**l, on active sites only.

    ``dropout`` is one number for rates that rise from 0, or l + 2 rates; see
    `spconv.models.DeepCNet`.
    """

    l: int  # noqa: E741 - the paper's name
    k: int
    dropout: float | tuple[float, ...]
    training: Training
    batchwise: bool = False
    name: str = "deepcnet"

    title = "DeepCNet"
    sparse = True

    @property
    def field(self) -> int:
        return 3 * 2**self.l

    def describe(self) -> str:
        return f"DeepCNet({self.l}, {self.k}), sparse, {self.field}x{self.field}"

    def model(self) -> spconv.Module:
        return DeepCNet(
            self.l,
            self.k,
            1,
            NUM_DIGITS,
            dropout=self.dropout,
            batchwise=self.batchwise,
            seed=self.training.seed,
        )

    def loader(self, split: tuple[np.ndarray, np.ndarray], *, training: bool) -> SparseLoader:
        return image_loader(split, self.field, self.training, training=training)

    def views(self, split: tuple[np.ndarray, np.ndarray]) -> SparseLoader:
        return image_loader(split, self.field, self.training, training=False, augment=True)

    def prepare(self, x: Any) -> Any:
        return x


@dataclass(frozen=True)
class SimpleCNNRun:
    """The simple dense CNN on images in the middle of a field just large enough."""

    field: int
    width: int
    hidden: int
    dropout: float
    training: Training
    name: str = "simple-cnn"

    title = "simple CNN"
    sparse = False

    def describe(self) -> str:
        return f"simple CNN, dense, {self.field}x{self.field}"

    def model(self) -> spconv.Module:
        return SimpleCNN(
            1,
            NUM_DIGITS,
            field=self.field,
            width=self.width,
            hidden=self.hidden,
            dropout=self.dropout,
            seed=self.training.seed,
        )

    def loader(self, split: tuple[np.ndarray, np.ndarray], *, training: bool) -> SparseLoader:
        return image_loader(split, self.field, self.training, training=training)

    def views(self, split: tuple[np.ndarray, np.ndarray]) -> SparseLoader:
        return image_loader(split, self.field, self.training, training=False, augment=True)

    def prepare(self, x: Any) -> Any:
        return x.dense()


def image_loader(
    split: tuple[np.ndarray, np.ndarray],
    field: int,
    settings: Training,
    *,
    training: bool,
    augment: bool | None = None,
) -> SparseLoader:
    """Batches of images in the middle of the field; augmented for training, or if so asked."""
    images, labels = split
    count = settings.num_train if training else settings.num_test
    augmented = training if augment is None else augment
    return SparseLoader(
        images[:count],
        labels[:count],
        settings.batch_size if training else TEST_BATCH,
        field,
        augment=settings.augment.make() if augmented and settings.augment else None,
        shuffle=training,
        seed=settings.seed,
    )
