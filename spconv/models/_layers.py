"""Layer classes by number of dimensions, and the block that most networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spconv import layers
from spconv.checks import check_float, check_int
from spconv.functional._common import check_sparse

CONVOLUTIONS = {
    1: layers.SparseConv1d,
    2: layers.SparseConv2d,
    3: layers.SparseConv3d,
    4: layers.SparseConv4d,
}
SUBMANIFOLD_CONVOLUTIONS = {
    1: layers.SubMConv1d,
    2: layers.SubMConv2d,
    3: layers.SubMConv3d,
    4: layers.SubMConv4d,
}
INVERSE_CONVOLUTIONS = {
    1: layers.SparseInverseConv1d,
    2: layers.SparseInverseConv2d,
    3: layers.SparseInverseConv3d,
    4: layers.SparseInverseConv4d,
}
MAX_POOLS = {
    1: layers.SparseMaxPool1d,
    2: layers.SparseMaxPool2d,
    3: layers.SparseMaxPool3d,
    4: layers.SparseMaxPool4d,
}

FRACTIONAL_MAX_POOLS = {
    1: layers.SparseFractionalMaxPool1d,
    2: layers.SparseFractionalMaxPool2d,
    3: layers.SparseFractionalMaxPool3d,
    4: layers.SparseFractionalMaxPool4d,
}


def check_ndim(owner: str, ndim: int) -> int:
    """The number of dimensions, of which there are layers."""
    return check_int(owner, "ndim", ndim, min(CONVOLUTIONS), max(CONVOLUTIONS))


def check_widths(owner: str, widths: Sequence[int]) -> list[int]:
    """The channels of a network's levels, of which there is one at least."""
    if not len(widths):
        raise ValueError(f"{owner}: widths must hold at least one, got none")
    return [check_int(owner, f"widths[{level}]", width, 1) for level, width in enumerate(widths)]


def check_field(
    owner: str,
    x: Any,
    ndim: int,
    field: int | None,
    words: str = "",
    ground_state: bool | None = None,
) -> None:
    """Raise unless ``x`` is a sparse tensor of so many dimensions, ``field`` sites along each.

    ``ground_state`` says whether the weights were trained with one; None: nobody knows.
    """
    check_sparse(owner, x, ndim)
    if ground_state is not None and ground_state != (x.ground_state is not None):
        wrong, fix = "with one", "make it without, ground_state=None"
        if ground_state:
            zeros = f"[0.0] * {x.num_channels}" if x.num_channels > 1 else "[0.0]"
            wrong, fix = "without one", f"give it one, ground_state={zeros}"
        raise ValueError(
            f"{owner}: these weights were trained on inputs {'with' if ground_state else 'without'}"
            f" a ground state, the input is {wrong}: {fix}"
        )
    if field is not None and x.spatial_shape != (field,) * ndim:
        raise ValueError(
            f"{owner}: expected {words}spatial_shape {(field,) * ndim}, got {x.spatial_shape}"
        )


def norm_relu(width: int) -> list[layers.Module]:
    """Batch normalization over the active sites, and a rectifier."""
    return [layers.BatchNorm(width), layers.ReLU()]


def submanifold(
    ndim: int, in_channels: int, out_channels: int, rng: np.random.Generator
) -> layers.Module:
    """Submanifold convolution of size 3 without a bias, which the normalization makes useless."""
    return SUBMANIFOLD_CONVOLUTIONS[ndim](in_channels, out_channels, 3, bias=False, rng=rng)


def with_dropout(
    blocks: Sequence[list[layers.Module]],
    rates: Sequence[float],
    generators: Sequence[np.random.Generator],
    kind: type[layers.Dropout | layers.BatchwiseDropout] = layers.Dropout,
) -> list[layers.Module]:
    """The blocks in a row, a dropout in front of each whose rate is not 0."""
    row: list[layers.Module] = []
    for block, rate, rng in zip(blocks, rates, generators, strict=False):
        row += [*([kind(rate, rng=rng)] if rate else []), *block]
    return row


def classifier(
    in_features: int,
    num_classes: int,
    dropout: float,
    rng: np.random.Generator,
    dropout_rng: np.random.Generator,
) -> list[layers.Module]:
    """A linear layer, behind a dropout if its rate is not 0."""
    linear = layers.Linear(in_features, num_classes, rng=rng)
    return with_dropout([[linear]], [dropout], [dropout_rng])


def dropout_rates(
    dropout: float | Sequence[float], count: int, owner: str, formula: str
) -> list[float]:
    """One rate per place: those given, or rising from 0 to a single number."""
    if np.ndim(dropout) == 0:
        largest = check_float(owner, "dropout", dropout, below=1)
        return [largest * n / (count - 1) for n in range(count)]
    rates = np.ravel(dropout).tolist()
    if len(rates) != count:
        raise ValueError(
            f"{owner}: dropout must be one number or {formula} = {count} of them, got {dropout}"
        )
    return [check_float(owner, f"dropout[{n}]", p, below=1) for n, p in enumerate(rates)]
