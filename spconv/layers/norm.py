"""Batch normalization."""

from __future__ import annotations

from typing import Literal

import numpy as np

from spconv import functional, initializers
from spconv.autograd import Parameter, Tensor
from spconv.checks import check_float, check_int
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.functional._common import (
    check_channels,
    check_features,
    common_dtype,
)
from spconv.functional.dense import over_rows
from spconv.layers.module import Module
from spconv.ops import get_ops
from spconv.tensor import SparseConvTensor, all_channels


class BatchNorm(Module):
    """Batch normalization of sparse tensors, of rows (N, C) or of grids (N, C, *spatial_shape).

    Ioffe & Szegedy 2015 (arXiv 1502.03167), with PyTorch's conventions: the biased variance
    normalizes, the unbiased one enters the running statistics. The ground state goes through the
    same map. ``momentum`` comes before ``eps``, other than in PyTorch: give both by name.

    Parameters
    ----------
    num_features : int
    momentum : float
        Share of the new batch in the running statistics.
    eps : float
    statistics : {"active", "all"}
        Over active sites, or over the whole grid: inactive sites count with the ground state
        (or as zero without one), which equals the dense layer.

    Attributes
    ----------
    weight, bias : Parameter (num_features,)
    running_mean, running_var : ndarray (num_features,)

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.arange(4, dtype="float32").reshape(1, 1, 4))
    >>> spconv.BatchNorm(1)(x).features.data.ravel().round(3)
    array([-1.225,  0.   ,  1.225], dtype=float32)
    """

    buffer_names = ("running_mean", "running_var")

    def __init__(
        self,
        num_features: int,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        statistics: Literal["active", "all"] = "active",
    ) -> None:
        if statistics not in ("active", "all"):
            raise ValueError(f"BatchNorm: statistics must be 'active' or 'all', got {statistics!r}")
        self.num_features = num_features = check_int("BatchNorm", "num_features", num_features, 1)
        self.momentum = check_float("BatchNorm", "momentum", momentum)
        if self.momentum > 1:
            raise ValueError(f"BatchNorm: momentum is a share, at most 1, got {momentum}")
        self.eps = check_float("BatchNorm", "eps", eps)
        self.statistics = statistics
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(initializers.zeros((num_features,)))
        self.running_mean = initializers.zeros((num_features,))
        self.running_var = np.ones(num_features, np.float32)

    def describe(self) -> str:
        numbers = f"momentum={self.momentum:g}, eps={self.eps:g}"
        return f"{self.num_features}, {numbers}, statistics={self.statistics!r}"

    def forward(
        self, x: SparseConvTensor | Tensor, *, negative_slope: float | None = None
    ) -> SparseConvTensor | Tensor:
        """Normalize; with a ``negative_slope`` as if a :class:`LeakyReLU` came behind."""
        check_features("BatchNorm", x)
        if negative_slope is not None:
            check_float("BatchNorm", "negative_slope", negative_slope)
        if isinstance(x, Tensor):
            return over_rows(
                "BatchNorm", self.num_features, x, lambda rows: self._rows(rows, negative_slope)
            )
        x = all_channels(x)
        check_channels("BatchNorm", self.num_features, x)
        copies = x.sites.num_cells - len(x.sites) if self.statistics == "all" else 0
        if x.ground_state is None and (copies == 0 or not self.training):
            return x.derive(self._rows(x.features, negative_slope), None)
        ground = x.ground_state
        if ground is None:
            ground = Tensor(array_module(x.features.data).zeros(x.num_channels, x.features.dtype))
        features, ground = self._grid(x.features, ground, copies)
        y = x.derive(features, None if x.ground_state is None else ground)
        return y if negative_slope is None else functional.leaky_relu(y, negative_slope)

    def _rows(self, x: Tensor, negative_slope: float | None) -> Tensor:
        if not self.training:
            y = self._normalize(x, self._running(x))
            return y if negative_slope is None else functional.leaky_relu(y, negative_slope)
        y, mean, variance = functional.batch_norm(
            x, self.weight, self.bias, self.eps, negative_slope
        )
        self._track(mean, variance, len(x))
        return y

    def _grid(self, x: Tensor, ground: Tensor, copies: int) -> tuple[Tensor, Tensor]:
        """Rows and the ground state, which counts as ``copies`` more of them."""
        if not self.training:
            running = self._running(x)
            return self._normalize(x, running), self._normalize(ground, running)
        moments = functional.moments(x, ground, copies)
        offset, variance = moments.data
        self._track(ground.data + offset, variance, len(x) + copies)
        nothing = Tensor(array_module(ground.data).zeros(ground.shape, ground.dtype))
        return self._normalize(x, moments, ground), self._normalize(nothing, moments)

    def _running(self, x: Tensor) -> Tensor:
        xp, dtype = array_module(self.running_mean), math_type(common_dtype(x, self.weight))
        return Tensor(xp.stack([self.running_mean, self.running_var]).astype(dtype))

    def _track(self, mean: Array, variance: Array, count: int) -> None:
        if count:
            running = self.running_mean, self.running_var
            unbiased = count / max(count - 1, 1)
            self.running_mean, self.running_var = get_ops(mean).track(
                running, (mean, variance), self.momentum, unbiased
            )

    def _normalize(self, x: Tensor, moments: Tensor, origin: Tensor | None = None) -> Tensor:
        return functional.normalize(x, moments, self.weight, self.bias, self.eps, origin)
