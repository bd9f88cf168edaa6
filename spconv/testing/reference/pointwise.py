"""Layers that act site by site, joins of two grids, and the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf

from spconv.testing.reference.grid import Grid, only_where


def pointwise(x: Grid, function: Callable[[np.ndarray], np.ndarray]) -> Grid:
    """Apply `function`, which maps the last axis (channels), to every site and the ground state.

    Without a ground state inactive sites stay absent, whatever `function` makes of 0.
    """
    values = np.moveaxis(function(np.moveaxis(x.values, 1, -1)), -1, 1)
    if x.ground is not None:
        return Grid(values, x.active, function(x.ground))
    return only_where(Grid(values, x.active), x.active)


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x.real > 0, x, 0)


def leaky_relu(x: np.ndarray, negative_slope: float = 1 / 3) -> np.ndarray:
    return np.where(x.real > 0, x, negative_slope * x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def tanh(x: np.ndarray) -> np.ndarray:
    return np.tanh(x)


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """``x @ weight + bias`` with `weight` (C_in, C_out)."""
    return x @ weight if bias is None else x @ weight + bias


def batch_statistics(x: Grid, statistics: str = "active") -> tuple[np.ndarray, np.ndarray, int]:
    """Mean, biased variance and count over the active sites or over all sites of the grid."""
    keep = x.active if statistics == "active" else np.ones_like(x.active)
    rows = np.moveaxis(x.values, 1, -1)[keep]
    mean = rows.sum(0) / len(rows)
    # Not np.var, which takes absolute values and so is not analytic.
    return mean, ((rows - mean) ** 2).sum(0) / len(rows), len(rows)


def batch_norm(
    x: Grid, weight, bias, *, eps=1e-5, statistics="active", mean=None, var=None
) -> Grid:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, with the batch's statistics by default."""
    if mean is None:
        mean, var, _ = batch_statistics(x, statistics)
    return pointwise(x, lambda rows: (rows - mean) / np.sqrt(var + eps) * weight + bias)


def layer_norm(x: np.ndarray, weight, bias, eps: float = 1e-5) -> np.ndarray:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last axis, the channels."""
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def group_norm(x: Grid, groups: int, weight, bias, eps: float = 1e-5) -> Grid:
    """Over the active sites of each sample and the channels of each group; no ground state."""
    last = np.moveaxis(x.values, 1, -1)
    values = np.zeros(last.shape, np.result_type(last, weight, bias))
    for sample, active in enumerate(x.active):
        rows = last[sample][active]
        if not len(rows):
            continue
        grouped = rows.reshape(len(rows), groups, -1)
        centred = grouped - grouped.mean((0, 2), keepdims=True)
        normal = centred / np.sqrt((centred**2).mean((0, 2), keepdims=True) + eps)
        values[sample][active] = normal.reshape(rows.shape) * weight + bias
    return Grid(np.moveaxis(values, -1, 1), x.active)


def add(x: Grid, y: Grid) -> Grid:
    """Sum of two grids; a site is active when it is in one of them."""
    ground = None if x.ground is None or y.ground is None else x.ground + y.ground
    return Grid(x.values + y.values, x.active | y.active, ground)


def concat(grids: list[Grid]) -> Grid:
    """The channels of all grids; a site is active when it is in one of them."""
    absent = any(x.ground is None for x in grids)
    return Grid(
        np.concatenate([x.values for x in grids], axis=1),
        np.logical_or.reduce([x.active for x in grids]),
        None if absent else np.concatenate([x.ground for x in grids]),
    )


def cross_entropy(logits: np.ndarray, labels: np.ndarray):
    """Mean over the batch of ``log(sum_j exp(logits[j])) - logits[label]``."""
    shifted = logits - logits.real.max(1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return (np.log(np.exp(shifted).sum(1)) - chosen).sum() / len(labels)
