"""Networks of fractional max-pooling (Graham 2014, arXiv 1412.6071)."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np

from spconv import layers
from spconv.checks import check_int
from spconv.functional.fractional import Randomness
from spconv.models._layers import (
    CONVOLUTIONS,
    FRACTIONAL_MAX_POOLS,
    check_field,
    check_ndim,
    classifier,
    dropout_rates,
    with_dropout,
)


class FMPNet(layers.SparseSequential):
    """The paper's ``(knC2-FMP ratio)_l-C2-C1-output``.

    l convolutions of size 2, the n-th with n * k filters, each followed by fractional
    max-pooling; then convolutions of sizes 2 and 1 with (l + 1) * k and (l + 2) * k filters, and
    a linear layer. Leaky rectifiers follow the convolutions. From one site at the end, the field
    is computed backwards (N in front of a pooling to n is n * ratio, rounded): 36 x 36 for the
    paper's ``(32nC2-FMP sqrt 2)_6`` for MNIST.

    Parameters
    ----------
    l, k : int
        Number of poolings, and filters of the first layer.
    in_channels, num_classes : int
    ratio : float
        1 < ratio <= 2.
    ndim : int
        1 to 4.
    overlapping : bool
    random : {"pseudorandom", "random"}
        See :class:`~spconv.layers.fractional.SparseFractionalMaxPool`.
    dropout : float or sequence of l + 3 floats
        Probabilities in front of the convolutions and of the linear layer; one number p means
        rising from 0 at the input to p at the end.
    negative_slope : float
        Of the leaky rectifiers; 0 gives ReLU.
    seed : int
        For the initial weights, the dropout and the regions.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = FMPNet(6, 32, in_channels=1, num_classes=10)
    >>> net.field
    36
    >>> net(spconv.from_dense(np.eye(36, dtype="float32")[None, None], [0.0])).shape
    (1, 10)
    """

    def __init__(
        self,
        l: int,  # noqa: E741 - the paper's name
        k: int,
        in_channels: int,
        num_classes: int,
        ratio: float = 2**0.5,
        ndim: int = 2,
        overlapping: bool = True,
        random: Randomness = "pseudorandom",
        dropout: float | Sequence[float] = 0.0,
        *,
        negative_slope: float = 1 / 3,
        seed: int = 0,
    ) -> None:
        l = check_int("FMPNet", "l", l, 0)  # noqa: E741
        k = check_int("FMPNet", "k", k, 1)
        if not 1 < ratio <= 2:
            raise ValueError(f"FMPNet: ratio must be above 1 and at most 2, got {ratio}")
        self.field, self.ndim = _field(l, ratio), check_ndim("FMPNet", ndim)
        rng = np.random.default_rng(seed)
        rates = dropout_rates(dropout, l + 3, "FMPNet", "l + 3")
        generators = [np.random.default_rng((seed, 0, number)) for number in range(1, l + 4)]
        blocks: list[list[layers.Module]] = []
        width = in_channels
        for number in range(1, l + 3):
            size = 2 if number <= l + 1 else 1
            conv = CONVOLUTIONS[ndim](width, number * k, size, rng=rng)
            blocks.append([conv, layers.LeakyReLU(negative_slope)])
            if number <= l:
                pool = FRACTIONAL_MAX_POOLS[ndim](ratio, overlapping, random, (seed, 1, number))
                blocks[-1].append(pool)
            width = number * k
        super().__init__(
            *with_dropout(blocks, rates, generators),
            layers.Flatten(),
            *classifier(width, num_classes, rates[-1], rng, generators[-1]),
        )

    def _check_input(self, x: Any) -> None:
        check_field("FMPNet", x, self.ndim, self.field)


def _field(num_pools: int, ratio: float) -> int:
    """The extent that ``num_pools`` of C2-FMP and a last C2 shrink to one."""
    extent = 2
    for _ in range(num_pools):
        extent = max(floor(extent * ratio + 0.5), extent + 1) + 1
    return extent
