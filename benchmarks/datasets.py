"""The images that the experiments train on: MNIST, or synthetic pen strokes in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spconv.data import load_mnist, load_strokes

MNIST, SYNTHETIC = "MNIST", "synthetic strokes"


@dataclass(frozen=True)
class DataSet:
    """Images and labels of both splits, and what they are."""

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def load_images(
    folder: str | None, echo: Callable[[str], object], download: bool = True
) -> DataSet:
    """MNIST, or synthetic strokes where there are neither files nor a network."""
    try:
        splits = [load_mnist(split, folder, download) for split in ("train", "test")]
    except FileNotFoundError as error:
        echo(f"{error}\nTraining on {SYNTHETIC} instead.")
        return DataSet(SYNTHETIC, load_strokes("train"), load_strokes("test"))
    return DataSet(MNIST, *splits)


def few_images() -> DataSet:
    """Synthetic strokes, for a check that everything runs."""
    return DataSet(SYNTHETIC, load_strokes("train", 100), load_strokes("test", 40))


def load_required(name: str, folder: str | None) -> DataSet:
    """A data set by name; where its files are missing, the loader's error says what to do."""
    return DataSet(MNIST, *(load_mnist(split, folder) for split in ("train", "test")))
