"""Plans for on-line handwriting: pen strokes drawn as sites, sparse networks and a dense CNN."""

from __future__ import annotations

from dataclasses import dataclass

import spconv
from plans.plan import Plan, Split, Training
from spconv.data import (
    Direction,
    Occupancy,
    Octogram,
    Signature,
    StrokeAffine,
    StrokeLoader,
)
from spconv.models import DeepCNet, DenseVGG, SparseVGG

ENCODERS = {
    "occupancy": Occupancy(),
    "direction": Direction(),
    "octogram": Octogram(),
    "signature 1": Signature(order=1),
    "signature 2": Signature(order=2),
    "signature 3": Signature(order=3),
}
VggSpec = tuple[str | tuple[str | int, ...], ...]


@dataclass(frozen=True)
class Pen:
    """How pen strokes become batches.

    Parameters
    ----------
    field : int
    box : float
        The longer side of a character, in sites.
    features : str
        One of :data:`ENCODERS`.
    augment : StrokeAffine
        Distortion of the training samples.
    ground_state : bool
        Whether sites without ink are 0, or absent.
    """

    field: int
    box: float
    features: str
    augment: StrokeAffine
    ground_state: bool = True

    @property
    def channels(self) -> int:
        return ENCODERS[self.features].channels

    def loader(
        self, split: Split, settings: Training, *, shuffle: bool, augment: bool
    ) -> StrokeLoader:
        return StrokeLoader(
            *settings.part_of(split, training=shuffle),
            self.field,
            ENCODERS[self.features],
            self.box,
            augment=self.augment if augment else None,
            shuffle=shuffle,
            seed=settings.seed,
            ground_state=self.ground_state,
        )


@dataclass(frozen=True)
class StrokeRun(Plan):
    """What all networks on pen strokes share."""

    pen: Pen
    classes: int
    dropout: float
    training: Training
    name: str

    def batches(self, split: Split, *, shuffle: bool, augment: bool) -> StrokeLoader:
        return self.pen.loader(split, self.training, shuffle=shuffle, augment=augment)

    def _text(self, network: str) -> str:
        return f"{network}, {self.pen.field}x{self.pen.field}, {self.pen.features}"


@dataclass(frozen=True)
class StrokeVGGRun(StrokeRun):
    """SparseVGG; ``spec`` is in the notation of `spconv.models.SparseVGG`."""

    spec: VggSpec = ()
    readout: int = 64

    title = "sparse VGG"
    sparse = True

    def describe(self) -> str:
        return self._text("SparseVGG, sparse")

    def model(self) -> spconv.Module:
        return SparseVGG(
            self.spec,
            self.pen.channels,
            self.classes,
            self.pen.field,
            self.readout,
            dropout=self.dropout,
            seed=self.training.seed,
        )


@dataclass(frozen=True)
class StrokeDeepCNetRun(StrokeRun):
    """DeepCNet(l, k); the pen's field must be 3 * 2**l."""

    l: int = 4  # noqa: E741 - the paper's name
    k: int = 40

    title = "DeepCNet"
    sparse = True

    def describe(self) -> str:
        return self._text(f"DeepCNet({self.l}, {self.k}), sparse")

    def model(self) -> spconv.Module:
        return DeepCNet(
            self.l,
            self.k,
            self.pen.channels,
            self.classes,
            dropout=self.dropout,
            seed=self.training.seed,
        )


@dataclass(frozen=True)
class StrokeDenseRun(StrokeRun):
    """The dense VGG-like CNN, on the whole field."""

    widths: tuple[int, ...] = (16, 32, 48, 64)
    depth: int = 1
    readout: int = 128

    title = "dense CNN"
    sparse = False

    def describe(self) -> str:
        return self._text("dense CNN")

    def model(self) -> spconv.Module:
        return DenseVGG(
            self.pen.channels,
            self.classes,
            self.pen.field,
            self.widths,
            self.depth,
            self.readout,
            self.dropout,
            seed=self.training.seed,
        )
