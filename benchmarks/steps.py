"""The time of training steps, apart from the trainings, which run for hours beside other work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Budget, Timing, measure

import spconv
from spconv.functional import cross_entropy

LR, MOMENTUM = 1e-4, 0.9


def time_step(
    model: spconv.Module, x: Any, labels: np.ndarray, budget: Budget | None = None
) -> Timing:
    """Time forward, loss, backward and the optimizer's update on one batch.

    The rulebooks of a sparse batch are built anew for every step, as in a training.

    Parameters
    ----------
    model : Module
    x : SparseConvTensor or Tensor
        As the model takes it.
    labels : int array (batch,)
    budget : Budget, optional
    """
    optimizer = spconv.optim.SGD(model.named_parameters(), LR, MOMENTUM)
    source = _fresh(x) if isinstance(x, spconv.SparseConvTensor) else lambda: x

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(source()), labels).backward()
        optimizer.step()

    return measure(step, budget)


def _fresh(x: spconv.SparseConvTensor) -> Callable[[], spconv.SparseConvTensor]:
    """Equal tensors without rulebooks."""
    ground = None if x.ground_state is None else x.ground_state.data

    def make() -> spconv.SparseConvTensor:
        return spconv.SparseConvTensor(
            x.features.data, x.indices, x.spatial_shape, x.batch_size, ground, check=False
        )

    return make
