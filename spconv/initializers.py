"""Initial values of weights: plain functions of a shape, its fans and a generator.

``fan_in`` is the number of inputs that one output sums: for a convolution the kernel volume
times ``in_channels / groups``, for a linear layer ``in_channels``; ``fan_out`` is the same with
output channels. Numbers are drawn in float64 and rounded to ``dtype``, so that a seed means the
same network in every precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from spconv.checks import check_float, check_int

Seed = np.random.Generator | int | None
"""A generator (drawn from and so advanced), a seed, or None for fresh entropy."""


def he_normal(
    shape: Sequence[int],
    fan_in: int,
    rng: Seed = None,
    dtype: DTypeLike = np.float32,
    *,
    negative_slope: float = 0.0,
) -> np.ndarray:
    """Draw from a normal distribution of variance ``2 / ((1 + negative_slope**2) * fan_in)``.

    Keeps the variance of the activations through layers of (leaky) rectified linear units:
    He and others 2015, *Delving Deep into Rectifiers* (arXiv 1502.01852), equations 10 and 15.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array, for instance (K, in_channels / groups, out_channels).
    fan_in : int
        Number of inputs that one output sums.
    rng : numpy.random.Generator, int or None
        Generator or seed.
    dtype : numpy dtype
        Floating-point type of the result.
    negative_slope : float
        Slope of the rectifier for negative inputs: 0 for ReLU.

    Raises
    ------
    ValueError
        If ``fan_in`` is not positive, or ``negative_slope`` negative.

    Examples
    --------
    >>> weight = he_normal((9, 16, 32), fan_in=9 * 16, rng=0)
    >>> weight.shape, weight.dtype, bool(abs(weight.std() - (2 / 144) ** 0.5) < 0.002)
    ((9, 16, 32), dtype('float32'), True)
    """
    deviation = _he_deviation("he_normal", fan_in, negative_slope)
    return (np.random.default_rng(rng).standard_normal(shape) * deviation).astype(dtype)


def he_uniform(
    shape: Sequence[int],
    fan_in: int,
    rng: Seed = None,
    dtype: DTypeLike = np.float32,
    *,
    negative_slope: float = 0.0,
) -> np.ndarray:
    """Draw uniformly, with the variance of :func:`he_normal`; same arguments.

    >>> weight = he_uniform((4, 8), fan_in=6, rng=0)
    >>> bool(abs(weight).max() <= 1.0)
    True
    """
    bound = math.sqrt(3) * _he_deviation("he_uniform", fan_in, negative_slope)
    return np.random.default_rng(rng).uniform(-bound, bound, shape).astype(dtype)


def glorot_uniform(
    shape: Sequence[int],
    fan_in: int,
    fan_out: int,
    rng: Seed = None,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Draw uniformly from +-``sqrt(6 / (fan_in + fan_out))``.

    For linear, sigmoid and tanh units: Glorot and Bengio 2010, *Understanding the difficulty of
    training deep feedforward neural networks*, equation 16.

    >>> weight = glorot_uniform((4, 2), fan_in=4, fan_out=2, rng=0)
    >>> bool(abs(weight).max() <= 1.0)
    True
    """
    fan_in = check_int("glorot_uniform", "fan_in", fan_in, 1)
    fan_out = check_int("glorot_uniform", "fan_out", fan_out, 1)
    bound = math.sqrt(6 / (fan_in + fan_out))
    return np.random.default_rng(rng).uniform(-bound, bound, shape).astype(dtype)


def zeros(shape: Sequence[int], dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return zeros: the initial value of every bias.

    >>> zeros((3,))
    array([0., 0., 0.], dtype=float32)
    """
    return np.zeros(shape, dtype)


def _he_deviation(who: str, fan_in: int, negative_slope: float) -> float:
    fan_in = check_int(who, "fan_in", fan_in, 1)
    slope = check_float(who, "negative_slope", negative_slope)
    return math.sqrt(2 / ((1 + slope**2) * fan_in))
