"""Loss and error of a model over a data set, with the error's confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from numbers import Real
from typing import Any

from spconv.autograd import Tensor, no_grad
from spconv.checks import check_function, check_pair, type_name
from spconv.functional import cross_entropy
from spconv.layers import Module
from spconv.layers.modes import modes_kept
from spconv.metrics import check_numbers, count_errors, rows_of
from spconv.metrics import class_iou as class_iou
from spconv.metrics import confusion_matrix as confusion_matrix
from spconv.metrics import mean_iou as mean_iou

Loss = Callable[[Any, Any], Tensor]
"""``loss(logits, labels)``: the mean over the batch, a scalar; of what the model returns."""

Count = Callable[[Any, Any], tuple[int, int]]
"""``count(logits, labels)``: how many of how many are wrong."""

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
    loss: Loss | None = None,
    count: Count | None = None,
    ignore_index: int | None = None,
    prepare: Prepare | None = None,
) -> Evaluation:
    """Return loss and error of ``model`` over all batches, in evaluation mode and off the tape.

    Parameters
    ----------
    model : Module
        Maps an input batch to logits (batch, classes), or to a sparse tensor of them, a row for
        each site. Its mode is switched for the time of the call and then restored: no other
        thread may use the same model meanwhile, not even to evaluate it.
    loader : Loader or iterable
        Gives (inputs, labels) batches; of a loader, the batches of epoch 0.
    loss : callable, optional
        ``loss(logits, labels)``, a mean over the batch; :func:`cross_entropy` by default. As
        ``count``, it gets what the model returns: a sparse tensor as it is, since it may need the
        sites; ``lambda y, labels: cross_entropy(y.features, labels)`` is the loss of the rows.
    count : callable, optional
        ``count(logits, labels)`` tells how many of how many are wrong; by default the classes that
        are not the largest logit. The second number is the weight of a batch in the mean loss.
    ignore_index : int, optional
        Label of rows that do not count, in the default loss and the default count.
    prepare : callable, optional
        Applied to the inputs first, for instance ``lambda x: x.dense()``.

    Raises
    ------
    TypeError
        If ``model`` is no Module, if ``loss``, ``count`` or ``prepare`` is no function, or if
        ``count`` does not return two numbers.
    ValueError
        If there are no samples, or ``count`` returns numbers that are negative or not finite.
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"evaluate: model must be a Module, got {type_name(model)}; join layers by "
            "SparseSequential(*layers), call a function in the forward of a Module"
        )
    loss, count = criteria("evaluate", loss, count, ignore_index)
    check_function("evaluate", "prepare(inputs)", prepare, optional=True)
    total, errors, samples = 0.0, 0, 0
    with modes_kept(model), no_grad(), closing(batches_of("evaluate", loader, epoch=0)) as batches:
        model.eval()
        for inputs, labels in batches:
            logits = model(inputs if prepare is None else prepare(inputs))
            wrong, counted = count(logits, labels)
            total += loss(logits, labels).item() * counted
            errors, samples = errors + wrong, samples + counted
    if not samples:
        raise ValueError("evaluate: the loader gave no samples; is the data set empty?")
    return Evaluation(total / samples, errors / samples, samples, errors)


def criteria(
    owner: str, loss: Loss | None, count: Count | None, ignore_index: int | None
) -> tuple[Loss, Count]:
    """What is minimized and what is counted: as given, or those of classes."""

    def class_loss(logits: Tensor, labels: Any) -> Tensor:
        check_numbers(owner, labels)
        return cross_entropy(rows_of(logits), labels, ignore_index)

    check_function(owner, "loss(logits, labels) -> Tensor", loss, optional=True)
    check_function(owner, "count(logits, labels) -> (wrong, counted)", count, optional=True)
    return (
        loss or class_loss,
        partial(count_errors, ignore_index=ignore_index)
        if count is None
        else partial(_counted, owner, count),
    )


def _counted(owner: str, count: Count, logits: Any, labels: Any) -> tuple[int, int]:
    """What a function of the user's counts, as numbers."""
    result: Any = count(logits, labels)
    try:
        numbers = [n.item() if hasattr(n, "item") else n for n in result]
    except (TypeError, ValueError):  # nothing to iterate over, or arrays of several
        numbers = []
    if len(numbers) != 2 or not all(isinstance(number, Real) for number in numbers):
        got = repr(result) if isinstance(result, tuple | list | Real) else type_name(result)
        raise TypeError(f"{owner}: count must return (wrong, of how many), got {got}")
    numbers = [number if type(number) is int else float(number) for number in numbers]
    if not all(0 <= number < math.inf for number in numbers):
        raise ValueError(
            f"{owner}: count must return (wrong, of how many), finite and >= 0, got {result!r}; "
            "where nothing counts return (0, 0)"
        )
    return numbers[0], numbers[1]


def batches_of(
    owner: str, loader: Any, epoch: int, start: int = 0
) -> Generator[tuple[Any, Any], None, None]:
    """Iterate over the batches of a loader's epoch, or of any iterable, from ``start`` on.

    Close it to end the threads of the loader.
    """
    own = callable(getattr(loader, "epoch", None))
    batches = loader.epoch(epoch, start) if own else loader
    if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        what = "the loader's epoch(number, start)" if own else "the loader"
        raise TypeError(
            f"{owner}: {what} must give (inputs, labels) batches, got {type_name(batches)}; yield "
            "them one by one"
        )
    try:
        for number, batch in enumerate(batches if own else islice(batches, start, None), start):
            hint = "; a single batch is the list [(inputs, labels)]"
            yield check_pair(f"{owner}: batch {number} must be", batch, hint)
    finally:
        if own and hasattr(batches, "close"):
            batches.close()
