"""DeepCNet(l, k) and its relatives: slow pooling (Graham 2014, arXiv 1409.6070)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spconv import layers
from spconv.checks import check_int
from spconv.models._layers import (
    CONVOLUTIONS,
    MAX_POOLS,
    check_field,
    check_ndim,
    classifier,
    dropout_rates,
    with_dropout,
)


@dataclass(frozen=True)
class _Plan:
    """What the blocks of one network have in common."""

    k: int
    in_channels: int
    num_pools: int
    ndim: int
    negative_slope: float
    rng: np.random.Generator

    def convolution(self, in_channels: int, out_channels: int, size: int) -> list[layers.Module]:
        """A convolution and its rectifier."""
        return [
            CONVOLUTIONS[self.ndim](in_channels, out_channels, size, rng=self.rng),
            layers.LeakyReLU(self.negative_slope),
        ]


class DeepCNet(layers.SparseSequential):
    """l + 1 valid convolutions with 2x2 max-pooling after each but the last.

    The input field has 3 * 2**l sites along every axis. The first convolution has k filters of
    size 3, the n-th n * k filters of size 2; what is left is one site, which a linear layer
    classifies (Graham 2014, section 3). Inputs with a ground state are the paper's: without one
    inactive sites are absent, which is another network for the same weights.

    Parameters
    ----------
    l, k : int
        Number of poolings, and filters of the first layer.
    in_channels, num_classes : int
    ndim : int
        1 to 4.
    dropout : float or sequence of l + 2 floats
        Probabilities in front of the convolutions and of the linear layer; one number p means
        rising from 0 at the input to p at the end.
    batchwise : bool
        Drop whole channels per batch, which makes training cheaper, instead of single entries.
    negative_slope : float
        Of the leaky rectifiers; 0 gives ReLU.
    seed : int
        For the initial weights and the dropout.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = DeepCNet(2, 8, in_channels=1, num_classes=10)
    >>> x = spconv.from_dense(np.eye(12, dtype="float32")[None, None], ground_state=[0.0])
    >>> net(x).shape
    (1, 10)
    """

    field_text = "3 * 2**l"
    trained_with_ground_state: bool | None = None
    """Of the inputs that the weights were trained on, where that is known: others are refused."""

    @staticmethod
    def field_of(l: int) -> int:  # noqa: E741
        """Sites along an edge of the input that l poolings leave one of."""
        return 3 * 2**l

    def __init__(
        self,
        l: int,  # noqa: E741 - the paper's name
        k: int,
        in_channels: int,
        num_classes: int,
        ndim: int = 2,
        dropout: float | Sequence[float] = 0.0,
        *,
        batchwise: bool = False,
        negative_slope: float = 1 / 3,
        seed: int = 0,
    ) -> None:
        owner = type(self).__name__
        l = check_int(owner, "l", l, 0)  # noqa: E741
        k = check_int(owner, "k", k, 1)
        self.field, self.ndim = self.field_of(l), check_ndim(owner, ndim)
        rng = np.random.default_rng(seed)
        plan = _Plan(k, in_channels, l, ndim, negative_slope, rng)
        blocks = [self._block(number, plan) for number in range(1, l + 2)]
        rates = dropout_rates(dropout, l + 2, owner, "l + 2")
        # Every dropout has random numbers of its own.
        generators = [np.random.default_rng((seed, number)) for number in range(l + 2)]
        kind = layers.BatchwiseDropout if batchwise else layers.Dropout
        super().__init__(
            *with_dropout(blocks, rates, generators, kind),
            layers.Flatten(),
            *classifier((l + 1) * k, num_classes, rates[-1], rng, generators[-1]),
        )

    def _check_input(self, x: Any) -> None:
        words = f"a field of {self.field_text} sites, "
        owner = type(self).__name__
        check_field(owner, x, self.ndim, self.field, words, self.trained_with_ground_state)

    def _block(self, number: int, plan: _Plan) -> list[layers.Module]:
        """Convolution number ``number`` (from 1) and what follows it."""
        width, size = ((number - 1) * plan.k, 2) if number > 1 else (plan.in_channels, 3)
        block = plan.convolution(width, number * plan.k, size)
        return [*block, MAX_POOLS[plan.ndim](2)] if number <= plan.num_pools else block


class DeepCNiN(DeepCNet):
    """DeepCNet with a 1x1 convolution after every pooling and after the last convolution.

    Graham 2014, section 3, after Lin, Chen & Yan 2014 (network in network). Parameters as for
    :class:`DeepCNet`.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = DeepCNiN(2, 8, in_channels=1, num_classes=10)
    >>> x = spconv.from_dense(np.eye(12, dtype="float32")[None, None], ground_state=[0.0])
    >>> net(x).shape
    (1, 10)
    """

    def _block(self, number: int, plan: _Plan) -> list[layers.Module]:
        width = number * plan.k
        return [*super()._block(number, plan), *plan.convolution(width, width, 1)]


class DeepC2(DeepCNet):
    """DeepCNet with a second convolution of size 2 in front of every pooling.

    Its input field has 2**(l + 2) - 1 sites along every axis. Like the network of that name in
    Graham's first SparseConvNet, but for the first filters, of size 3, and the single convolution
    behind the last pooling. Parameters as for :class:`DeepCNet`.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = DeepC2(2, 8, in_channels=1, num_classes=10)
    >>> x = spconv.from_dense(np.eye(15, dtype="float32")[None, None], ground_state=[0.0])
    >>> net(x).shape
    (1, 10)
    """

    field_text = "2**(l + 2) - 1"

    @staticmethod
    def field_of(l: int) -> int:  # noqa: E741
        """As for :class:`DeepCNet`."""
        return 2 ** (l + 2) - 1

    def _block(self, number: int, plan: _Plan) -> list[layers.Module]:
        block = super()._block(number, plan)
        if number > plan.num_pools:
            return block
        width = number * plan.k
        return [*block[:2], *plan.convolution(width, width, 2), *block[2:]]
