"""Networks that climb from an image's field to one site: any convolutions and poolings on the way.

Graham 2014 (arXiv 1409.6070, section 3) writes them C3-MP2-C2-MP2-...-C2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import spconv
from plans.images import NUM_DIGITS, ImageRun
from plans.plan import Training
from spconv import layers

NEGATIVE_SLOPE = 1 / 3


@dataclass(frozen=True)
class MaxPool:
    """Max-pooling over ``size`` x ``size`` sites with this stride; MP3/2 overlaps."""

    size: int = 2
    stride: int = 2

    def describe(self) -> str:
        return f"MP{self.size}" + ("" if self.stride == self.size else f"/{self.stride}")

    def field(self, output: int) -> int:
        """Sites along an edge of the input, for ``output`` sites of the output."""
        return (output - 1) * self.stride + self.size

    def layer(self, output: int, seed: int) -> layers.Module:
        return layers.SparseMaxPool2d(self.size, self.stride)


@dataclass(frozen=True)
class FractionalPool:
    """Fractional max-pooling over overlapping regions (Graham 2014, arXiv 1412.6071)."""

    ratio: float = 2**0.5

    def describe(self) -> str:
        return f"FMP{self.ratio:.2f}"

    def field(self, output: int) -> int:
        return max(output + 1, round(output * self.ratio))

    def layer(self, output: int, seed: int) -> layers.Module:
        return layers.SparseFractionalMaxPool2d(self.ratio, seed=seed)


@dataclass(frozen=True)
class Level:
    """Convolutions of one scale, by filter size, and the pooling behind them."""

    filters: tuple[int, ...]
    pool: MaxPool | FractionalPool | None = None

    def describe(self) -> str:
        parts = [f"C{size}" for size in self.filters]
        return "-".join(parts if self.pool is None else [*parts, self.pool.describe()])

    def field(self, output: int) -> int:
        before_pool = output if self.pool is None else self.pool.field(output)
        return before_pool + sum(size - 1 for size in self.filters)


def edges(levels: Sequence[Level]) -> list[int]:
    """The edge of the field in front of every level, and 1, the edge of the end.

    >>> edges(deepcnet_levels(2))
    [12, 5, 2, 1]
    """
    sizes = [1]
    for level in reversed(levels):
        sizes.append(level.field(sizes[-1]))
    return sizes[::-1]


def deepcnet_levels(l: int) -> tuple[Level, ...]:  # noqa: E741 - the paper's name
    """DeepCNet(l, k): C3-MP2-(C2-MP2) x (l - 1)-C2."""
    middle = [Level((2,), MaxPool())] * (l - 1)
    return (Level((3,), MaxPool()), *middle, Level((2,)))


def deepc2_levels(l: int) -> tuple[Level, ...]:  # noqa: E741 - the paper's name
    """DeepC2(l, k): C3-C2-MP2-(C2-C2-MP2) x (l - 1)-C2."""
    return (Level((3, 2), MaxPool()), *[Level((2, 2), MaxPool())] * (l - 1), Level((2,)))


class Ladder(layers.SparseSequential):
    """The network of some levels: those of number n have n * k filters, valid convolutions.

    Parameters
    ----------
    levels : sequence of Level
    k, num_classes : int
    dropout : float
        Rising from 0 in front of the first level to this in front of the linear layer.
    seed : int
    """

    def __init__(
        self, levels: Sequence[Level], k: int, num_classes: int, dropout: float, seed: int
    ) -> None:
        self.field = edges(levels)[0]
        rng = np.random.default_rng(seed)
        sequence: list[layers.Module] = []
        width = 1
        for number, (level, output) in enumerate(zip(levels, edges(levels)[1:], strict=True)):
            if number and dropout:
                sequence.append(layers.Dropout(dropout * number / len(levels)))
            for size in level.filters:
                sequence.append(layers.SparseConv2d(width, (number + 1) * k, size, rng=rng))
                sequence.append(layers.LeakyReLU(NEGATIVE_SLOPE))
                width = (number + 1) * k
            if level.pool is not None:
                sequence.append(level.pool.layer(output, seed + number))
        sequence.append(layers.Flatten())
        if dropout:
            sequence.append(layers.Dropout(dropout))
        super().__init__(*sequence, layers.Linear(width, num_classes, rng=rng))


@dataclass(frozen=True)
class LadderRun(ImageRun):
    """A ladder on images in the middle of its field, on active sites only."""

    levels: tuple[Level, ...]
    k: int
    dropout: float
    training: Training
    name: str

    title = "ladder"
    sparse = True

    @property
    def field(self) -> int:
        return edges(self.levels)[0]

    def describe(self) -> str:
        return f"{ladder_text(self.levels)}, {self.field}x{self.field}"

    def model(self) -> spconv.Module:
        return Ladder(self.levels, self.k, NUM_DIGITS, self.dropout, self.training.seed)


def ladder_text(levels: Sequence[Level]) -> str:
    """Levels in the paper's notation, repeated ones once.

    >>> ladder_text(deepcnet_levels(4))
    'C3-MP2-(C2-MP2)x3-C2'
    """
    parts: list[str] = []
    texts = [level.describe() for level in levels]
    while texts:
        count = next((n for n, text in enumerate(texts) if text != texts[0]), len(texts))
        parts.append(texts[0] if count == 1 else f"({texts[0]})x{count}")
        texts = texts[count:]
    return "-".join(parts)
