"""Loss and error of a model over a data set, with the error's confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from spconv.autograd import Tensor, no_grad
from spconv.compat import to_device
from spconv.functional import cross_entropy
from spconv.layers import Module

Loss = Callable[[Tensor, Any], Tensor]
"""``loss(logits, labels)``: the mean over the batch, a scalar."""

Prepare = Callable[[Any], Any]
"""Applied to the inputs of every batch, for instance ``lambda x: x.dense()``."""


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and share of wrong answers over a data set."""

    loss: float
    error: float
    num_samples: int
    num_errors: int

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the error."""
        return wilson_interval(self.num_errors, self.num_samples)


def wilson_interval(
    num_errors: int, num_samples: int, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Return the Wilson score interval of an error rate (95 % by default).

    Unlike p +- z sqrt(p (1 - p) / n) it is right for few errors, none included.
    Wilson 1927, *Probable inference, the law of succession, and statistical inference*.

    >>> low, high = wilson_interval(31, 10_000)
    >>> f"{low:.2%} to {high:.2%}"
    '0.22% to 0.44%'
    """
    if not 0 <= num_errors <= num_samples or num_samples == 0:
        raise ValueError(
            f"wilson_interval: expected 0 <= num_errors <= num_samples and at least one sample, "
            f"got {num_errors} of {num_samples}"
        )
    share, weight = num_errors / num_samples, z * z / num_samples
    center = share + weight / 2
    half = z * math.sqrt(share * (1 - share) / num_samples + weight / (4 * num_samples))
    return max(0.0, (center - half) / (1 + weight)), min(1.0, (center + half) / (1 + weight))


def evaluate(
    model: Module,
    loader: Any,
    *,
    loss: Loss = cross_entropy,
    prepare: Prepare | None = None,
) -> Evaluation:
    """Return loss and error of ``model`` over all batches, in evaluation mode and off the tape.

    Parameters
    ----------
    model : Module
        Maps an input batch to logits (batch, classes); its mode is restored afterwards.
    loader : Loader or iterable
        Gives (inputs, labels) batches; of a loader, the batches of epoch 0.
    loss : callable
        ``loss(logits, labels)``, a mean over the batch.
    prepare : callable, optional
        Applied to the inputs first, for instance ``lambda x: x.dense()``.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    modes = [(module, module.training) for _, module in model.named_modules()]
    total, samples, errors = 0.0, 0, 0
    model.eval()
    try:
        with no_grad(), closing(batches_of(loader, epoch=0)) as batches:
            for inputs, labels in batches:
                logits = model(inputs if prepare is None else prepare(inputs))
                total += loss(logits, labels).item() * len(labels)
                samples += len(labels)
                errors += count_errors(logits, labels)
    finally:
        for module, training in modes:
            module.training = training
    if not samples:
        raise ValueError("evaluate: the loader gave no samples; is the data set empty?")
    return Evaluation(total / samples, errors / samples, samples, errors)


def batches_of(loader: Any, epoch: int, start: int = 0) -> Generator[tuple[Any, Any], None, None]:
    """Iterate over the batches of a loader's epoch, or of any iterable, from ``start`` on.

    Close it to end the threads of the loader.
    """
    if hasattr(loader, "epoch"):
        yield from loader.epoch(epoch, start)
    else:
        yield from islice(loader, start, None)


def count_errors(logits: Tensor, labels: Any) -> int:
    """Return how many labels (batch,) are not the largest of their logits (batch, classes)."""
    return int((logits.numpy().argmax(axis=1) != to_device(labels, "cpu")).sum())
