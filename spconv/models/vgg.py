"""VGG-like networks of submanifold convolutions, and the "VGG+" block."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from spconv import functional, layers
from spconv.models._layers import (
    CONVOLUTIONS,
    INVERSE_CONVOLUTIONS,
    MAX_POOLS,
    check_field,
    check_ndim,
    classifier,
    norm_relu,
    submanifold,
)
from spconv.tensor import SparseConvTensor

Entry = str | tuple[Any, ...]
"""``"MP"``, ``("MP", size, stride)``, ``("C", n)``, ``("C", n, m)`` or ``("C3/2", n)``."""


class SparseVGG(layers.SparseSequential):
    """Submanifold convolutions between max-poolings, read out by one valid convolution.

    Graham & van der Maaten 2017 (arXiv 1706.01307), in the notation of SparseConvNet's
    ``SparseVggNet``. Every convolution is without bias and followed by batch normalization over
    the active sites and ReLU. ``spec`` is read from the input to the output:

    ``("C", n)``
        Submanifold convolution of size 3 to n channels.
    ``("C", n, m)``
        The VGG+ block (:class:`PlusBlock`) to n + m channels.
    ``("C3/2", n)``
        Convolution of size 3 and stride 2 to n channels.
    ``"MP"`` or ``("MP", size, stride)``
        Max-pooling, of size 3 and stride 2 by default.

    A valid convolution over all that is left to ``readout`` channels and a linear layer follow.

    Inputs without a ground state (the convention of SparseConvNet: an inactive site is absent,
    and pooling looks at active sites only) are the fast path. With a ground state the network
    equals the dense one whose submanifold layers are masked to the active sites.

    Parameters
    ----------
    spec : sequence of entries
    in_channels, num_classes : int
    field : int
        Extent of the input along every axis; poolings and strided convolutions have to tile it.
    readout : int
        Channels of the last convolution.
    ndim : int
        1 to 4.
    dropout : float
        Probability in front of the linear layer.
    seed : int
        For the initial weights and the dropout.

    Raises
    ------
    ValueError
        For an unknown entry, and for a field that the poolings do not tile.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = SparseVGG([("C", 4), "MP", ("C", 8, 4)], in_channels=1, num_classes=10, field=15)
    >>> net(spconv.from_dense(np.eye(15, dtype="float32")[None, None])).shape
    (1, 10)
    """

    trained_with_ground_state: bool | None = None
    """Of the inputs that the weights were trained on, where that is known: others are refused."""

    def __init__(
        self,
        spec: Sequence[Entry],
        in_channels: int,
        num_classes: int,
        field: int,
        readout: int = 64,
        ndim: int = 2,
        dropout: float = 0.0,
        *,
        seed: int = 0,
    ) -> None:
        entries = [_checked(entry, number) for number, entry in enumerate(spec)]
        self.field, self.ndim = field, check_ndim("SparseVGG", ndim)
        left = _remaining(entries, field)
        rng = np.random.default_rng(seed)
        sequence: list[layers.Module] = []
        width, history = in_channels, ""
        for kind, *numbers in entries:
            if kind == "MP":
                sequence.append(MAX_POOLS[ndim](*numbers))
                history += f"-{numbers[0]}/{numbers[1]}"
                continue
            if kind == "C3/2":
                sequence.append(CONVOLUTIONS[ndim](width, numbers[0], 3, 2, bias=False, rng=rng))
                history += "-3/2"
            elif len(numbers) == 1:
                sequence.append(submanifold(ndim, width, numbers[0], rng))
            else:
                # Submanifold layers keep the sites, so equal histories mean equal rulebooks.
                key = f"VGG+{history}"
                sequence.append(PlusBlock(ndim, width, *numbers, indice_key=key, rng=rng))
            width = sum(numbers)
            sequence += norm_relu(width)
        sequence.append(CONVOLUTIONS[ndim](width, readout, left, bias=False, rng=rng))
        sequence += [*norm_relu(readout), layers.Flatten()]
        sequence += classifier(readout, num_classes, dropout, rng, np.random.default_rng((seed, 1)))
        super().__init__(*sequence)

    def _check_input(self, x: Any) -> None:
        known = self.trained_with_ground_state
        check_field("SparseVGG", x, self.ndim, self.field, ground_state=known)


class PlusBlock(layers.Module):
    """Features of two resolutions: a submanifold convolution beside one at half the size.

    The second branch goes down by a convolution of size 3 and stride 2, convolves there, and
    comes back to the input's sites by the inverse convolution; both are concatenated to
    ``fine + coarse`` channels. With a ground state, that of the second branch is zero: an
    inverse convolution with a stride acts on deviations.

    Parameters
    ----------
    ndim, in_channels, fine, coarse : int
    indice_key : str
        Name of the rulebook that leads down; blocks on the same sites may share it.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        fine: int,
        coarse: int,
        *,
        indice_key: str,
        rng: np.random.Generator,
    ) -> None:
        down = CONVOLUTIONS[ndim](
            in_channels, coarse, 3, 2, bias=False, indice_key=indice_key, rng=rng
        )
        self.branches = [
            layers.SparseSequential(submanifold(ndim, in_channels, fine, rng)),
            layers.SparseSequential(
                down,
                *norm_relu(coarse),
                submanifold(ndim, coarse, coarse, rng),
                *norm_relu(coarse),
                INVERSE_CONVOLUTIONS[ndim](coarse, coarse, 3, indice_key, bias=False, rng=rng),
            ),
        ]

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        return functional.concat([branch(x) for branch in self.branches], owner="PlusBlock")


def _checked(entry: Entry, number: int) -> tuple[Any, ...]:
    """An entry in its full form: (kind, number, ...)."""
    kind, *numbers = (entry,) if isinstance(entry, str) else tuple(entry)
    if kind == "MP" and not numbers:
        numbers = [3, 2]
    lengths = {"MP": (2,), "C": (1, 2), "C3/2": (1,)}
    positive = all(isinstance(n, int) and n >= 1 for n in numbers)
    if len(numbers) not in lengths.get(kind, ()) or not positive:
        raise ValueError(
            f"SparseVGG: entry {number} must be 'MP', ('MP', size, stride), ('C', n), "
            f"('C', n, m) or ('C3/2', n) with positive ints, got {entry!r}"
        )
    return kind, *numbers


def _remaining(entries: Sequence[tuple[Any, ...]], field: int) -> int:
    """Extent of what is left of the field in front of the last convolution."""
    left = _extent(entries, field)
    if left is not None:
        return left
    steps = prod(_step(entry)[1] for entry in entries)
    larger = (
        f for f in range(max(field, 0) + 1, max(field, 0) + 64 * steps) if _extent(entries, f)
    )
    raise ValueError(
        f"SparseVGG: a field of {field} is not tiled by the poolings and strided convolutions of "
        f"the specification; the next larger field that is: {next(larger, 'none')}"
    )


def _extent(entries: Sequence[tuple[Any, ...]], extent: int) -> int | None:
    for entry in entries:
        size, stride = _step(entry)
        plus = entry[0] == "C" and len(entry) == 3
        for width, step in ((size, stride), (3, 2)) if plus else ((size, stride),):
            if extent < width or (extent - width) % step:
                return None
        extent = (extent - size) // stride + 1
    return extent if extent >= 1 else None


def _step(entry: tuple[Any, ...]) -> tuple[int, int]:
    """Size and stride by which an entry shrinks the field."""
    if entry[0] == "MP":
        return entry[1], entry[2]
    return (3, 2) if entry[0] == "C3/2" else (1, 1)
