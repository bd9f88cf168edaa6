"""What gives the batches of a training, and what it has to promise."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from spconv.checks import type_name

_WRITE_ONE = (
    "make a spconv.data.BatchLoader, or write a class with __len__() and epoch(number, start), see "
    "spconv.train.Loader"
)


class Loader(Protocol):
    """What :func:`train` needs of a loader; any class with these two methods is one.

    Those of :mod:`spconv.data` are, among them :class:`~spconv.data.BatchLoader`, which calls a
    function of your own in the background. A class of your own need not derive from anything. If
    it has a ``seed`` and a ``batch_size``, a run is not resumed with others.

    Examples
    --------
    >>> import numpy as np
    >>> from spconv import Linear, Tensor, optim
    >>> from spconv.train import train
    >>> class Rows:
    ...     def __init__(self, x, labels, batch_size, seed=0):
    ...         self.x, self.labels = x, labels
    ...         self.batch_size, self.seed = batch_size, seed
    ...
    ...     def __len__(self):
    ...         return -(-len(self.x) // self.batch_size)
    ...
    ...     def epoch(self, epoch, start=0):
    ...         order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
    ...         for batch in range(start, len(self)):
    ...             rows = order[batch * self.batch_size :][: self.batch_size]
    ...             yield Tensor(self.x[rows]), self.labels[rows]
    >>> model, loader = Linear(2, 2), Rows(np.eye(2, dtype="float32"), np.arange(2), 1)
    >>> sgd = optim.SGD(model.named_parameters(), lr=1.0)
    >>> train(model, loader, sgd, epochs=10, progress=False).last.step
    20
    """

    def __len__(self) -> int:
        """The number of batches in an epoch, the same in all epochs."""

    def epoch(self, epoch: int, start: int = 0) -> Iterable[tuple[Any, Any]]:
        """The (inputs, labels) batches of an epoch, from number ``start`` on.

        Batch b of epoch e must be the same whenever it is asked for: a function of the loader's
        seed, e and b, not of what was asked for before. Then a resumed run goes on to the same
        bits. A generator is closed when training ends within an epoch.
        """


def number_of_batches(loader: Any, checkpoint: Any) -> int | None:
    """The number of batches in an epoch, None if only reading them will tell.

    Raises
    ------
    TypeError, ValueError
        For what cannot give batches epoch by epoch, or not from any batch on if there is a
        ``checkpoint`` to resume from.
    """
    kind = type_name(loader)
    sized = hasattr(loader, "__len__")
    if callable(getattr(loader, "epoch", None)):
        check_epoch("the loader", loader)
        if not sized:
            raise TypeError(
                f"train: the loader must have a length, but {kind} has no __len__(); add it, the "
                "number of batches in an epoch"
            )
    elif isinstance(loader, Iterator):
        raise TypeError(
            f"train: the loader must give its batches again in every epoch, but {kind} gives them "
            f"once; pass list(batches) if they fit into memory, or {_WRITE_ONE}"
        )
    elif not (hasattr(loader, "__iter__") or (sized and hasattr(loader, "__getitem__"))):
        raise TypeError(
            f"train: the loader must give (inputs, labels) batches, but {kind} has neither "
            f"epoch(number, start) nor __iter__(); pass a list of batches, or {_WRITE_ONE}"
        )
    elif checkpoint is not None and not (sized and hasattr(loader, "__getitem__")):
        raise TypeError(
            "train: a run with a checkpoint needs batches that come again from any one on, which "
            f"the iterable {kind} does not promise; pass a list, {_WRITE_ONE}, or leave out the "
            "checkpoint"
        )
    number = len(loader) if sized else None
    if number == 0:
        raise ValueError("train: expected at least one batch, got an empty loader")
    return number


def check_epoch(name: str, loader: Any) -> None:
    """Raise TypeError if it has an ``epoch`` that does not take its number and the first batch."""
    epoch = getattr(loader, "epoch", None)
    try:
        signature = inspect.signature(epoch) if callable(epoch) else None
    except ValueError:  # compiled methods may have none
        signature = None
    if signature is None:
        return
    try:
        signature.bind(0, 0)
    except TypeError:
        raise TypeError(
            f"train: epoch of {name} must take its number and the first batch, but "
            f"{type_name(loader)} has epoch{signature}; write epoch(self, number, start=0)"
        ) from None
