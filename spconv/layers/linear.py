"""Affine maps of channels."""

from __future__ import annotations

import numpy as np

from spconv import functional, initializers
from spconv.autograd import Parameter
from spconv.checks import check_bool, check_int, check_optional_generator
from spconv.functional._common import Features, check_features
from spconv.layers.module import Module


class Linear(Module):
    """``x weight + bias`` for rows (N, in_features) or at every site of a sparse tensor.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    rng : numpy.random.Generator, optional
        For the initial weights (He et al. 2015, normal).

    Attributes
    ----------
    weight : Parameter (in_features, out_features)
    bias : Parameter (out_features,) or None
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.in_features = in_features = check_int("Linear", "in_features", in_features, 1)
        self.out_features = out_features = check_int("Linear", "out_features", out_features, 1)
        check_optional_generator("Linear", rng)
        has_bias = check_bool("Linear", "bias", bias)
        shape = (in_features, out_features)
        self.weight = Parameter(initializers.he_normal(shape, in_features, rng=rng))
        self.bias = Parameter(initializers.zeros((out_features,))) if has_bias else None

    def describe(self) -> str:
        text = f"{self.in_features}, {self.out_features}"
        return text if self.bias is not None else f"{text}, bias=False"

    def forward(self, x: Features) -> Features:
        check_features("Linear", x)
        return functional.linear(x, self.weight, self.bias, owner="Linear")
