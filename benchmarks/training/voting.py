"""Test error of one view of every sample, and of a vote over augmented copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import spconv
from spconv.train import wilson_interval


@dataclass(frozen=True)
class TestResult:
    """Errors on a test set; ``views`` is 1 for the plain samples, else the number of copies."""

    __test__ = False  # no test class, whatever its name

    views: int
    errors: int
    samples: int

    @property
    def error(self) -> float:
        return self.errors / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson_interval(self.errors, self.samples)

    def __str__(self) -> str:
        low, high = self.interval
        text = f"{self.error:.2%} ({low:.2%} to {high:.2%}), {self.errors} of {self.samples}"
        return text if self.views == 1 else f"{text}, voting over {self.views} augmented copies"


def single_view(plan: Any, model: spconv.Module, split: tuple[Any, np.ndarray]) -> TestResult:
    """The test error on the samples as they are."""
    loader = plan.loader(split, training=False)
    result = spconv.train.evaluate(model, loader, prepare=plan.prepare)
    return TestResult(1, result.num_errors, result.num_samples)


def misclassified(plan: Any, model: spconv.Module, split: tuple[Any, np.ndarray]) -> list[int]:
    """Which samples, as they are, the network gets wrong: their rows in the test set."""
    loader = plan.loader(split, training=False)
    probabilities, labels = class_probabilities(model, loader, plan.prepare)
    return np.flatnonzero(probabilities.argmax(axis=1) != labels).tolist()


def vote(plan: Any, model: spconv.Module, split: tuple[Any, np.ndarray], views: int) -> TestResult:
    """The test error of the mean, over ``views`` augmented copies, of the class probabilities.

    View v of a sample is a function of the plan's seed and v.
    """
    if views < 1:
        raise ValueError(f"vote: views must be at least 1, got {views}")
    loader = plan.views(split)
    total: np.ndarray | float = 0.0
    for view in range(views):
        probabilities, labels = class_probabilities(model, loader.epoch(view), plan.prepare)
        total = total + probabilities
    errors = int((np.argmax(total, axis=1) != labels).sum())
    return TestResult(views, errors, len(labels))


def class_probabilities(
    model: spconv.Module,
    batches: Iterable[tuple[Any, np.ndarray]],
    prepare: Callable[[Any], Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax of the model's logits, float64 (N, classes), and the labels (N,)."""
    was_training = model.training
    model.eval()
    rows, labels = [], []
    try:
        with spconv.no_grad():
            for x, y in batches:
                logits = model(prepare(x)).data.astype(np.float64)
                exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
                rows.append(exponentials / exponentials.sum(axis=1, keepdims=True))
                labels.append(y)
    finally:
        model.train(was_training)
    return np.concatenate(rows), np.concatenate(labels)
