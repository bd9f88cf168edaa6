"""Residual networks of submanifold convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from spconv import layers
from spconv.checks import check_int
from spconv.models._layers import (
    CONVOLUTIONS,
    check_field,
    check_ndim,
    check_widths,
    classifier,
    norm_relu,
    submanifold,
)
from spconv.tensor import SparseConvTensor

Readout = Literal["average", "max", "convolution"]


class ResidualBlock(layers.Module):
    """The input plus two submanifold convolutions of size 3; sites and channels stay.

    Parameters
    ----------
    ndim, width : int
    preactivation : bool
        Normalization and ReLU in front of each convolution (He et al. 2016, arXiv 1603.05027),
        or behind them, the last ReLU behind the sum (He et al. 2015, arXiv 1512.03385).
    rng : numpy.random.Generator
    """

    def __init__(
        self, ndim: int, width: int, preactivation: bool, *, rng: np.random.Generator
    ) -> None:
        one, two = (submanifold(ndim, width, width, rng) for _ in range(2))
        self.preactivation = preactivation
        if preactivation:
            self.branch = layers.SparseSequential(*norm_relu(width), one, *norm_relu(width), two)
        else:
            self.branch = layers.SparseSequential(
                one, *norm_relu(width), two, layers.BatchNorm(width)
            )

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        return layers.residual_sum(self.branch, x, x, None if self.preactivation else 0.0)


class SparseResNet(layers.SparseSequential):
    """Residual blocks of submanifold convolutions on levels of half the resolution each.

    A submanifold convolution of size 3 to ``widths[0]`` channels; on every level ``blocks``
    residual blocks; between levels a convolution of size 3, stride 2 and padding 1; at the end a
    read-out over what is left of the grid, and a linear layer. Convolutions have no bias; batch
    normalization is over the active sites.

    Inputs without a ground state are the fast path, and the convention of the point-cloud
    libraries; with one, strided convolutions and the read-out take the background into account. An
    average over whole grids is mostly background, and such a network learns slowly: of loaders
    take ``ground_state=False``, or read out the maximum.

    Parameters
    ----------
    widths : sequence of int
        Channels of the levels, the finest first.
    in_channels, num_classes : int
    ndim : int
        1 to 4.
    blocks : int
        Residual blocks per level.
    preactivation : bool
        See :class:`ResidualBlock`.
    readout : {"average", "max", "convolution"}
        Global pooling, which takes grids of any size, or a valid convolution over the whole grid
        of the last level, followed by normalization and ReLU.
    field : int, optional
        Extent of the input along every axis, for ``readout="convolution"``.
    dropout : float
        Probability in front of the linear layer.
    seed : int
        For the initial weights and the dropout.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = SparseResNet([8, 16], in_channels=1, num_classes=10)
    >>> net(spconv.from_dense(np.eye(12, dtype="float32")[None, None])).shape
    (1, 10)
    """

    def __init__(
        self,
        widths: Sequence[int],
        in_channels: int,
        num_classes: int,
        ndim: int = 2,
        blocks: int = 2,
        preactivation: bool = True,
        readout: Readout = "average",
        field: int | None = None,
        dropout: float = 0.0,
        *,
        seed: int = 0,
    ) -> None:
        widths, ndim = check_widths("SparseResNet", widths), check_ndim("SparseResNet", ndim)
        blocks = check_int("SparseResNet", "blocks", blocks, 0)
        if readout not in ("average", "max", "convolution"):
            raise ValueError(
                f"SparseResNet: readout must be 'average', 'max' or 'convolution', got {readout!r}"
            )
        if (field is None) == (readout == "convolution"):
            raise ValueError(
                f"SparseResNet: readout='convolution' needs field, the others take none; got "
                f"readout={readout!r}, field={field}"
            )
        self.ndim, self.field = ndim, field
        rng = np.random.default_rng(seed)
        sequence: list[layers.Module] = [submanifold(ndim, in_channels, widths[0], rng)]
        sequence += [] if preactivation else norm_relu(widths[0])
        for level, width in enumerate(widths):
            if level:
                above = widths[level - 1]
                down = CONVOLUTIONS[ndim](above, width, 3, 2, 1, bias=False, rng=rng)
                sequence += (
                    [*norm_relu(above), down] if preactivation else [down, *norm_relu(width)]
                )
            sequence += [ResidualBlock(ndim, width, preactivation, rng=rng) for _ in range(blocks)]
        last = widths[-1]
        sequence += norm_relu(last) if preactivation else []
        if field is not None:
            left = field
            for _ in widths[1:]:
                left = (left + 1) // 2
            sequence.append(CONVOLUTIONS[ndim](last, last, left, bias=False, rng=rng))
            sequence += [*norm_relu(last), layers.Flatten()]
        elif readout == "max":
            sequence.append(layers.SparseGlobalMaxPool())
        else:
            sequence.append(layers.SparseGlobalAvgPool())
        sequence += classifier(last, num_classes, dropout, rng, np.random.default_rng((seed, 1)))
        super().__init__(*sequence)

    def _check_input(self, x: Any) -> None:
        check_field("SparseResNet", x, self.ndim, self.field)
