"""Plans for images: DeepCNet on active sites, and a simple dense CNN."""

from __future__ import annotations

from dataclasses import dataclass

import spconv
from plans.plan import Plan, Split, Training
from spconv.data import SparseLoader
from spconv.models import DeepCNet, SimpleCNN

NUM_DIGITS = 10


class ImageRun(Plan):
    """What all networks on images in the middle of a field share."""

    field: int

    def batches(self, split: Split, *, shuffle: bool, augment: bool) -> SparseLoader:
        settings = self.training
        return SparseLoader(
            *settings.part_of(split, training=shuffle),
            self.field,
            augment=settings.augment.make() if augment and settings.augment else None,
            shuffle=shuffle,
            seed=settings.seed,
        )


@dataclass(frozen=True)
class DeepCNetRun(ImageRun):
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


@dataclass(frozen=True)
class SimpleCNNRun(ImageRun):
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
