"""A dense VGG-like CNN: what the sparse ones are compared with on larger fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spconv import layers
from spconv.checks import check_int
from spconv.models._layers import check_widths, classifier, norm_relu


class DenseVGG(layers.SparseSequential):
    """Pairs of 3x3 convolutions with batch normalization and ReLU, and 2x2 max-poolings.

    ``widths`` tells the channels of the levels; each has ``depth`` convolutions and ends with a
    pooling. A valid convolution over all that is left to ``readout`` channels and a linear layer
    follow. After Simonyan & Zisserman 2015 (arXiv 1409.1556), with normalization.

    Parameters
    ----------
    in_channels, num_classes : int
    field : int
        Images are field x field, a multiple of 2 ** len(widths).
    widths : sequence of int
    depth : int
    readout : int
    dropout : float
        Probability in front of the linear layer.
    seed : int

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = DenseVGG(in_channels=3, num_classes=183, field=32)
    >>> net(spconv.Tensor(np.zeros((2, 3, 32, 32), "float32"))).shape
    (2, 183)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        field: int = 64,
        widths: Sequence[int] = (16, 32, 48, 64),
        depth: int = 2,
        readout: int = 128,
        dropout: float = 0.5,
        *,
        seed: int = 0,
    ) -> None:
        widths, depth = check_widths("DenseVGG", widths), check_int("DenseVGG", "depth", depth, 1)
        left, rest = divmod(check_int("DenseVGG", "field", field, 1), 2 ** len(widths))
        if rest:
            raise ValueError(
                f"DenseVGG: field must be a multiple of 2**{len(widths)}, which the poolings of "
                f"{len(widths)} levels tile, got {field}"
            )
        rng = np.random.default_rng(seed)
        sequence: list[layers.Module] = []
        before = in_channels
        for width in widths:
            for _ in range(depth):
                conv = layers.Conv2d(before, width, 3, padding=1, bias=False, rng=rng)
                sequence += [conv, *norm_relu(width)]
                before = width
            sequence.append(layers.MaxPool2d(2))
        super().__init__(
            *sequence,
            layers.Conv2d(before, readout, left, bias=False, rng=rng),
            *norm_relu(readout),
            layers.Flatten(),
            *classifier(readout, num_classes, dropout, rng, np.random.default_rng((seed, 1))),
        )
