"""The data that the experiments train on; synthetic pen strokes where MNIST is not to be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spconv.data import load_assamese, load_mnist, load_pendigits, load_strokes, make_strokes

MNIST, ASSAMESE, PENDIGITS = "MNIST", "Assamese characters", "pen-written digits"
SYNTHETIC = "synthetic strokes"


@dataclass(frozen=True)
class DataSet:
    """Samples (images or pen strokes) and labels of both splits, and what they are."""

    name: str
    train: tuple[Any, np.ndarray]
    test: tuple[Any, np.ndarray]


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


def image_data(size: str, folder: str | None, echo: Callable[[str], object]) -> DataSet:
    """What a benchmark of this size trains on, see :func:`load_images`."""
    return few_images() if size == "tiny" else load_images(folder, echo)


def stroke_data(name: str, size: str, folder: str | None) -> DataSet:
    """What a benchmark of this size trains on, see :func:`load_required`."""
    return few_strokes() if size == "tiny" else load_required(name, folder)


def few_images() -> DataSet:
    """Synthetic strokes, for a check that everything runs."""
    return DataSet(SYNTHETIC, load_strokes("train", 100), load_strokes("test", 40))


def few_strokes() -> DataSet:
    """Synthetic pen strokes, as strokes, for a check that everything runs."""
    samples, labels = make_strokes(140)
    return DataSet(SYNTHETIC, (samples[:100], labels[:100]), (samples[100:], labels[100:]))


def load_required(name: str, folder: str | None) -> DataSet:
    """A data set by name; where its files are missing, the loader's error says what to do."""
    title, load = REAL_DATA[name]
    return DataSet(title, load("train", folder), load("test", folder))


REAL_DATA: dict[str, tuple[str, Callable[..., tuple[Any, np.ndarray]]]] = {
    "mnist": (MNIST, load_mnist),
    "assamese": (ASSAMESE, load_assamese),
    "pendigits": (PENDIGITS, load_pendigits),
}
