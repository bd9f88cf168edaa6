"""The simple dense CNN that the sparse networks are compared with."""

from __future__ import annotations

import numpy as np

from spconv import layers
from spconv.checks import check_int


class SimpleCNN(layers.SparseSequential):
    """Two 5x5 convolutions with 2x2 max-pooling, and two linear layers, on dense images.

    Parameters
    ----------
    in_channels, num_classes : int
    field : int
        Images are field x field; at least 16, and a multiple of 4 so that the poolings tile them.
    width : int
        Filters of the first convolution; the second has twice as many.
    hidden : int
        Width of the hidden linear layer.
    dropout : float
        In front of the last layer.
    seed : int

    Examples
    --------
    >>> import numpy as np, spconv
    >>> SimpleCNN(1, 10)(spconv.Tensor(np.zeros((2, 1, 28, 28), "float32"))).shape
    (2, 10)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        field: int = 28,
        width: int = 32,
        hidden: int = 128,
        dropout: float = 0.5,
        *,
        seed: int = 0,
    ) -> None:
        if check_int("SimpleCNN", "field", field, 16) % 4:
            raise ValueError(f"SimpleCNN: field must be a multiple of 4, got {field}")
        left = (field - 12) // 4
        rng = np.random.default_rng(seed)
        super().__init__(
            layers.Conv2d(in_channels, width, 5, rng=rng),
            layers.ReLU(),
            layers.MaxPool2d(2),
            layers.Conv2d(width, 2 * width, 5, rng=rng),
            layers.ReLU(),
            layers.MaxPool2d(2),
            layers.Flatten(),
            layers.Linear(2 * width * left**2, hidden, rng=rng),
            layers.ReLU(),
            layers.Dropout(dropout, rng=np.random.default_rng(seed)),
            layers.Linear(hidden, num_classes, rng=rng),
        )
