"""Training steps, and their time: trainings run for hours, often beside other work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness.measuring import Budget, Timing, measure

import spconv
from spconv.functional import cross_entropy

LR, MOMENTUM = 1e-3, 0.9


def sgd(model: spconv.Module) -> spconv.optim.SGD:
    """The optimizer of all steps that are measured."""
    return spconv.optim.SGD(model.named_parameters(), LR, MOMENTUM)


def update(
    model: spconv.Module, optimizer: spconv.optim.SGD, x: Any, labels: np.ndarray
) -> spconv.Tensor:
    """Forward, loss, backward and the optimizer's update on one batch; returns the loss."""
    optimizer.zero_grad()
    loss = cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    return loss


def training_step(
    model: spconv.Module, source: Callable[[], Any], labels: np.ndarray
) -> Callable[[], spconv.Tensor]:
    """A call that makes an :func:`update` on what ``source`` gives, which is part of it."""
    optimizer = sgd(model)
    return lambda: update(model, optimizer, source(), labels)


def time_step(
    model: spconv.Module, x: Any, labels: np.ndarray, budget: Budget | None = None
) -> Timing:
    """Time an :func:`update` on one batch.

    The rulebooks of a sparse batch are built anew for every step, as in a training.

    Parameters
    ----------
    model : Module
    x : SparseConvTensor or Tensor
        As the model takes it.
    labels : int array (batch,)
    budget : Budget, optional
    """
    source = fresh(x) if isinstance(x, spconv.SparseConvTensor) else lambda: x
    return measure(training_step(model, source, labels), budget)


def fresh(x: spconv.SparseConvTensor) -> Callable[[], spconv.SparseConvTensor]:
    """Equal tensors without rulebooks."""
    ground = None if x.ground_state is None else x.ground_state.data

    def make() -> spconv.SparseConvTensor:
        return spconv.SparseConvTensor(
            x.features.data, x.indices, x.spatial_shape, x.batch_size, ground, check=False
        )

    return make
