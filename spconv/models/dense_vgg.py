"""A dense VGG-like CNN: what the sparse ones are compared with on larger fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spconv import layers


class DenseVGG(layers.SparseSequential):
    """Pairs of 3x3 convolutions with batch normalization and ReLU, and 2x2 max-poolings.

    ``widths`` tells the channels of the levels; each has ``depth`` convolutions and ends with a
    pooling. A valid convolution over all that is left to ``readout`` channels and a linear layer
    follow. After Simonyan & Zisserman 2015 (arXiv 1409.1556), with normalization.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    size : int
        Images are size x size, a multiple of 2 ** len(widths).
    widths : sequence of int
    depth : int
    readout : int
    dropout : float
        Probability in front of the linear layer.
    seed : int

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = DenseVGG(183, in_channels=3, size=32)
    >>> net(spconv.Tensor(np.zeros((2, 3, 32, 32), "float32"))).shape
    (2, 183)
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        size: int = 64,
        widths: Sequence[int] = (16, 32, 48, 64),
        depth: int = 2,
        readout: int = 128,
        dropout: float = 0.5,
        *,
        seed: int = 0,
    ) -> None:
        widths = list(widths)
        if not widths or depth < 1 or size < 1 or size % 2 ** len(widths):
            raise ValueError(
                "DenseVGG: expected at least one width, depth >= 1, and size a multiple of 2 to "
                f"the number of widths, got {widths}, {depth}, {size}"
            )
        rng = np.random.default_rng(seed)
        sequence: list[layers.Module] = []
        before = in_channels
        for width in widths:
            for _ in range(depth):
                conv = layers.Conv2d(before, width, 3, padding=1, bias=False, rng=rng)
                sequence += [conv, layers.BatchNorm(width), layers.ReLU()]
                before = width
            sequence.append(layers.MaxPool2d(2))
        left = size // 2 ** len(widths)
        sequence += [
            layers.Conv2d(before, readout, left, bias=False, rng=rng),
            layers.BatchNorm(readout),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(dropout, rng=np.random.default_rng((seed, 1))),
            layers.Linear(readout, num_classes, rng=rng),
        ]
        super().__init__(*sequence)
