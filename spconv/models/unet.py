"""U-Net of submanifold convolutions: a class for every site."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from spconv import layers
from spconv.autograd import Tensor
from spconv.checks import check_int
from spconv.functional._common import check_sparse
from spconv.models._layers import (
    CONVOLUTIONS,
    INVERSE_CONVOLUTIONS,
    SUBMANIFOLD_CONVOLUTIONS,
    check_ndim,
    check_widths,
)
from spconv.models.resnet import ResidualBlock
from spconv.tensor import SparseConvTensor


class SparseUNet(layers.Module):
    """Logits for every active site, from features of several resolutions.

    As MinkUNet (Choy et al. 2019, arXiv 1904.08755) after U-Net (Ronneberger et al. 2015, arXiv
    1505.04597): a submanifold convolution of size 3; residual blocks on every level, and
    convolutions of size 2 and stride 2 down to the next; back up by their inverse convolutions,
    which return to the very sites, with residual blocks again; a linear layer on every site. What
    a level had on the way down is added on the way up, within the convolution that leads there.

    Extents should be multiples of ``2 ** (len(widths) - 1)``: the last sites of an odd one have
    none above them on the next level, and know their surroundings on their own level only.

    Parameters
    ----------
    widths : sequence of int
        Channels of the levels, the finest first.
    in_channels, num_classes : int
    ndim : int
        1 to 4.
    blocks : int
        Residual blocks of every level, down and up.
    seed : int
        For the initial weights.

    Raises
    ------
    ValueError
        Without a width, for another ``ndim``, and for an input that is too small to be halved.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = SparseUNet([8, 16], in_channels=1, num_classes=5)
    >>> x = spconv.SparseConvTensor(np.ones((2, 1)), [[0, 1, 1, 1], [0, 3, 2, 2]], (4, 4, 4), 1)
    >>> net(x).shape
    (2, 5)
    """

    def __init__(
        self,
        widths: Sequence[int],
        in_channels: int,
        num_classes: int,
        ndim: int = 3,
        blocks: int = 1,
        *,
        seed: int = 0,
    ) -> None:
        widths, ndim = check_widths("SparseUNet", widths), check_ndim("SparseUNet", ndim)
        blocks = check_int("SparseUNet", "blocks", blocks, 0)
        self.ndim = ndim
        rng = np.random.default_rng(seed)

        def stage(width: int) -> layers.SparseSequential:
            made = [ResidualBlock(ndim, width, False, rng=rng) for _ in range(blocks)]
            return layers.SparseSequential(*made)

        steps = [(f"SparseUNet.down{i}", *pair) for i, pair in enumerate(pairwise(widths))]
        self.stem = SUBMANIFOLD_CONVOLUTIONS[ndim](in_channels, widths[0], 3, rng=rng)
        self.down_stages = [stage(width) for width in widths]
        self.down = [CONVOLUTIONS[ndim](a, b, 2, 2, indice_key=k, rng=rng) for k, a, b in steps]
        self.up = [INVERSE_CONVOLUTIONS[ndim](b, a, 2, k, rng=rng) for k, a, b in steps]
        self.up_stages = [stage(width) for width in widths[:-1]]
        self.head = layers.Linear(widths[0], num_classes, rng=rng)

    def forward(self, x: SparseConvTensor) -> Tensor:
        check_sparse("SparseUNet", x, self.ndim)
        x = self.down_stages[0](self.stem(x))
        kept = []
        for down, stage in zip(self.down, self.down_stages[1:], strict=True):
            kept.append(x)
            x = stage(down(x))
        for up, stage in zip(reversed(self.up), reversed(self.up_stages), strict=True):
            x = stage(up(x, residual=kept.pop()))
        return self.head(x.features)
