"""Fractional max-pooling layers; the numbered classes fix the number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from spconv import functional
from spconv.functional._common import check_sparse
from spconv.functional.fractional import Randomness
from spconv.layers.module import Module
from spconv.tensor import SparseConvTensor


class SparseFractionalMaxPool(Module):
    """Max-pooling that shrinks every axis by a ratio between one and two.

    Graham 2014 (arXiv 1412.6071). An axis of N sites becomes one of round(N / ratio), but
    always of fewer than N sites. In training the regions are drawn anew for each batch, from a
    generator that :meth:`Module.seed` replaces; in evaluation they depend on ``seed`` and the
    size of the grid only. As in :class:`SparseMaxPool`, inactive sites count with the ground
    state if there is one and are absent otherwise.

    Parameters
    ----------
    ratio : float or sequence of ndim floats
        1 < ratio <= 2.
    overlapping : bool
        Neighbouring regions, of two or three sites along an axis, share a border; otherwise
        they have one or two sites and none in common.
    random : {"pseudorandom", "random"}
        The paper's ``a_i = ceil(alpha (i + u))``, or increments in random order.
    seed : int or sequence of ints

    Attributes
    ----------
    eval_seed : int or sequence of ints
        ``seed``; assign another for the paper's averages over several tests.

    Raises
    ------
    ValueError
        For a ratio out of range, and for an axis of one site.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(10, dtype="float32")[None, None])
    >>> spconv.SparseFractionalMaxPool2d(2**0.5)(x).spatial_shape
    (7, 7)
    """

    ndim: ClassVar[int]

    def __init__(
        self,
        ratio: float | Sequence[float],
        overlapping: bool = True,
        random: Randomness = "pseudorandom",
        seed: int | Sequence[int] = 0,
    ) -> None:
        owner = type(self).__name__
        ratios = tuple(np.broadcast_to(ratio, np.shape(ratio) or self.ndim).tolist())
        if len(ratios) != self.ndim or not all(1 < value <= 2 for value in ratios):
            raise ValueError(
                f"{owner}: ratio must be one number or {self.ndim} of them, above 1 and at most "
                f"2, got {ratio}"
            )
        if random not in ("pseudorandom", "random"):
            raise ValueError(f"{owner}: random must be 'pseudorandom' or 'random', got {random!r}")
        self.ratio, self.overlapping = tuple(float(value) for value in ratios), overlapping
        self.random, self.eval_seed = random, seed
        self.rng = np.random.default_rng(seed)

    def describe(self) -> str:
        ratios = ", ".join(f"{value:g}" for value in self.ratio)
        return f"({ratios}), overlapping={self.overlapping}, random={self.random!r}"

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        owner = type(self).__name__
        check_sparse(owner, x, self.ndim)
        rng = self.rng if self.training else np.random.default_rng(self.eval_seed)
        regions = []
        for extent, ratio in zip(x.spatial_shape, self.ratio, strict=True):
            size = functional.fractional_size(extent, ratio, owner)
            regions.append(
                functional.draw_regions(extent, size, self.overlapping, self.random, rng)
            )
        return functional.sparse_fractional_max_pool(
            x, regions, overlapping=self.overlapping, owner=owner
        )


class SparseFractionalMaxPool1d(SparseFractionalMaxPool):
    ndim = 1
    __doc__ = SparseFractionalMaxPool.__doc__


class SparseFractionalMaxPool2d(SparseFractionalMaxPool):
    ndim = 2
    __doc__ = SparseFractionalMaxPool.__doc__


class SparseFractionalMaxPool3d(SparseFractionalMaxPool):
    ndim = 3
    __doc__ = SparseFractionalMaxPool.__doc__


class SparseFractionalMaxPool4d(SparseFractionalMaxPool):
    ndim = 4
    __doc__ = SparseFractionalMaxPool.__doc__
