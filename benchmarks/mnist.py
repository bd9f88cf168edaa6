"""Trains DeepCNet on active sites and a simple dense CNN on MNIST; test error and time of both.

    python benchmarks/mnist.py --quick --out out --data folder-with-mnist

Where MNIST is not to be had, synthetic pen strokes take its place, and the report says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import session
from harness import Record

import spconv
from spconv.data import Affine, SparseLoader, load_mnist, load_strokes
from spconv.models import DeepCNet, SimpleCNN
from spconv.schedules import Cosine, Warmup
from spconv.train import Epoch, train, wilson_interval

MNIST, SYNTHETIC = "MNIST", "synthetic strokes"
NUM_CLASSES = 10


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
    """All that the result of one training run depends on."""

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


@dataclass(frozen=True)
class DeepCNetRun:
    """DeepCNet(l, k) on fields of 3 * 2**l, on active sites only."""

    l: int  # noqa: E741 - the paper's name
    k: int
    dropout: float
    training: Training

    name = "deepcnet"
    title = "DeepCNet"

    @property
    def field(self) -> int:
        return 3 * 2**self.l

    def describe(self) -> str:
        return f"DeepCNet({self.l}, {self.k}), sparse, {self.field}x{self.field}"

    def model(self) -> spconv.Module:
        return DeepCNet(
            self.l, self.k, 1, NUM_CLASSES, dropout=self.dropout, seed=self.training.seed
        )

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

    name = "simple-cnn"
    title = "simple CNN"

    def describe(self) -> str:
        return f"simple CNN, dense, {self.field}x{self.field}"

    def model(self) -> spconv.Module:
        return SimpleCNN(
            NUM_CLASSES,
            size=self.field,
            width=self.width,
            hidden=self.hidden,
            dropout=self.dropout,
            seed=self.training.seed,
        )

    def prepare(self, x: Any) -> Any:
        return x.dense()


Run = DeepCNetRun | SimpleCNNRun

TINY = Training(2, 20, 0.02, 0.9, 1e-4, warmup_steps=2, num_train=100, num_test=40)
QUICK = Training(
    epochs=5,
    batch_size=100,
    lr=0.02,
    momentum=0.9,
    weight_decay=1e-4,
    warmup_steps=100,
    augment=Augmentation(),
)
FULL = replace(QUICK, epochs=50)

PLANS: dict[str, tuple[Run, Run]] = {
    "tiny": (DeepCNetRun(4, 2, 0.0, TINY), SimpleCNNRun(28, 2, 8, 0.0, TINY)),
    "quick": (
        DeepCNetRun(4, 32, 0.2, QUICK),
        SimpleCNNRun(36, 16, 64, 0.5, replace(QUICK, epochs=3)),
    ),
    "full": (DeepCNetRun(5, 40, 0.3, FULL), SimpleCNNRun(36, 32, 128, 0.5, FULL)),
}


@dataclass(frozen=True)
class DataSet:
    """Images and labels of both splits, and what they are."""

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def load_data(folder: str | None, echo: Callable[[str], object], download: bool = True) -> DataSet:
    """MNIST, or synthetic strokes where there are neither files nor a network."""
    try:
        splits = [load_mnist(split, folder, download) for split in ("train", "test")]
    except FileNotFoundError as error:
        echo(f"[mnist] {error}\n[mnist] Training on {SYNTHETIC} instead.")
        return DataSet(SYNTHETIC, load_strokes("train"), load_strokes("test"))
    return DataSet(MNIST, *splits)


def run(options: session.Options) -> list[Record]:
    """Train both networks, or go on where an interrupted run ended."""
    if options.size == "tiny":
        data = DataSet(SYNTHETIC, load_strokes("train", 100), load_strokes("test", 40))
    else:
        data = load_data(options.data, options.echo)
    return [_train(one, data, options) for one in PLANS[options.size]]


def _train(plan: Run, data: DataSet, options: session.Options) -> Record:
    settings = plan.training
    folder = options.out / "runs" / f"{plan.name}-{options.size}"
    _prepare_folder(folder, plan, data, options)
    model = plan.model()
    train_loader = _loader(plan, data.train, settings.num_train, training=True)
    test_loader = _loader(plan, data.test, settings.num_test, training=False)
    total = settings.epochs * len(train_loader)

    def on_epoch(epoch: Epoch) -> None:
        options.echo(
            f"[mnist] {plan.describe()}, epoch {epoch.epoch + 1} of {settings.epochs}: {epoch}"
        )

    history = train(
        model,
        train_loader,
        spconv.optim.SGD(
            model.named_parameters(),
            settings.lr,
            settings.momentum,
            nesterov=True,
            weight_decay=settings.weight_decay,
        ),
        epochs=settings.epochs,
        schedule=Warmup(Cosine(settings.lr, total), settings.warmup_steps),
        evaluate=test_loader,
        prepare=plan.prepare,
        log=folder / "log.jsonl",
        checkpoint=folder / "checkpoint.npz",
        checkpoint_every=60.0,
        seed=settings.seed,
        progress=False,
        on_epoch=on_epoch,
    )
    began = time.perf_counter()
    result = spconv.train.evaluate(model, test_loader, prepare=plan.prepare)
    test_seconds = time.perf_counter() - began
    low, high = wilson_interval(result.num_errors, result.num_samples)
    case = {
        "network": plan.title,
        "description": plan.describe(),
        "data": data.name,
        "settings": asdict(plan),
        "parameters": model.num_parameters(),
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "train_samples": len(train_loader.images),
        "train_seconds": sum(epoch.seconds for epoch in history.epochs),
        "test_seconds": test_seconds,
        "test_samples": result.num_samples,
        "test_errors": result.num_errors,
        "test_error": result.error,
        "interval": [low, high],
    }
    implementation = "sparse" if isinstance(plan, DeepCNetRun) else "dense"
    return Record("training", implementation, "training", case)


def _loader(
    plan: Run, split: tuple[np.ndarray, np.ndarray], count: int | None, *, training: bool
) -> SparseLoader:
    settings = plan.training
    images, labels = split
    return SparseLoader(
        images[:count],
        labels[:count],
        settings.batch_size if training else 200,
        plan.field,
        augment=settings.augment.make() if training and settings.augment else None,
        shuffle=training,
        seed=settings.seed,
    )


def _prepare_folder(folder: Path, plan: Run, data: DataSet, options: session.Options) -> None:
    """Keep what an equal run left, to resume from it; start anew where anything differs."""
    settings = json.loads(json.dumps({"data": data.name, **asdict(plan)}))
    path = folder / "settings.json"
    checkpoint = folder / "checkpoint.npz"
    if checkpoint.exists():
        if path.exists() and json.loads(path.read_text()) == settings:
            options.echo(f"[mnist] going on from {checkpoint}")
        else:
            options.echo(f"[mnist] {checkpoint} is of other settings: starting anew")
            checkpoint.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    session.main({"mnist": run}, __doc__)
