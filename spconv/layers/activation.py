"""Activation layers, for tensors and sparse tensors; the ground state goes through too."""

from __future__ import annotations

from typing import Any

from spconv import functional
from spconv.checks import check_float
from spconv.functional._common import Features, check_features
from spconv.layers.module import Module


class Identity(Module):
    """What comes, as it is: in the place of a layer that is not wanted."""

    def forward(self, x: Any) -> Any:
        return x


class ReLU(Module):
    """``max(x, 0)``."""

    def forward(self, x: Features) -> Features:
        check_features(type(self).__name__, x)
        return functional.relu(x)


class LeakyReLU(Module):
    """``x`` where positive, else ``negative_slope * x``; the default is Graham's (2014) 1/3."""

    def __init__(self, negative_slope: float = 1 / 3) -> None:
        self.negative_slope = check_float("LeakyReLU", "negative_slope", negative_slope)

    def describe(self) -> str:
        return f"negative_slope={self.negative_slope:g}"

    def forward(self, x: Features) -> Features:
        check_features(type(self).__name__, x)
        return functional.leaky_relu(x, self.negative_slope)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Features) -> Features:
        check_features(type(self).__name__, x)
        return functional.sigmoid(x)


class SiLU(Module):
    """``x sigmoid(x)``, also called swish."""

    def forward(self, x: Features) -> Features:
        check_features(type(self).__name__, x)
        return functional.silu(x)


class GELU(Module):
    """``x`` times the share of a normal distribution below it, by the error function."""

    def forward(self, x: Features) -> Features:
        check_features(type(self).__name__, x)
        return functional.gelu(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x: Features) -> Features:
        check_features(type(self).__name__, x)
        return functional.tanh(x)
