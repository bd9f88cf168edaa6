"""The training loop: progress, log, checkpoints, and a resume that continues to the same bits.

A training step is a pure function of the parameters, the optimizer's state, the batch and
(seed, step): dropout is re-seeded before every step, the learning rate is a function of the
step, and the loader gives the batches of an epoch from any position. So a checkpoint needs no
generator state, and may be taken between any two steps.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spconv.autograd import Tensor
from spconv.checkpoint import save
from spconv.checks import check_float, check_function, check_int, type_name
from spconv.evaluation import Count, Loss, Prepare, batches_of, criteria
from spconv.evaluation import evaluate as evaluation_of
from spconv.layers import Module
from spconv.layers.modes import let_decide, modes_kept, trains
from spconv.optim import Optimizer
from spconv.progress import Display, Log
from spconv.schedules import Schedule
from spconv.train.finite import bad_loss, check_parameters, clip
from spconv.train.interrupts import Interrupts
from spconv.train.loaders import Loader, check_epoch, number_of_batches
from spconv.train.resume import configuration_of, restore
from spconv.train.state import Epoch, History, State


def train(
    model: Module,
    loader: Loader | Iterable[tuple[Any, Any]],
    optimizer: Optimizer,
    *,
    epochs: int,
    schedule: Schedule | None = None,
    loss: Loss | None = None,
    count: Count | None = None,
    ignore_index: int | None = None,
    evaluate: Any = None,
    prepare: Prepare | None = None,
    clip_norm: float | None = None,
    log: str | os.PathLike[str] | None = None,
    log_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 600.0,
    resume: bool = True,
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> History:
    """Train ``model`` until ``epochs`` epochs are done, those of a resumed run included.

    Ctrl-C lets the running step finish, saves a checkpoint and raises KeyboardInterrupt; a second
    one stops at once, with the checkpoint of before. Running the same command again continues to
    the bits of an uninterrupted run.

    Parameters
    ----------
    model : Module
        Maps an input batch to logits (batch, classes), or to a sparse tensor of them, a row for
        each site. It has to be in training mode; parts of it may be in evaluation mode, and stay
        so, and those with a ``train`` of their own are asked.
    loader : Loader or iterable
        ``loader.epoch(e, start)`` gives the (inputs, labels) batches of epoch ``e`` from number
        ``start`` on, ``len(loader)`` their number, see :class:`Loader`. A list of batches serves
        too, and, without a checkpoint, whatever can be iterated over once in every epoch.
    optimizer : Optimizer
        Over ``model.named_parameters()``, or groups of them.
    epochs : int
        Number of epochs in all.
    schedule : callable, optional
        Learning rate as a function of the step; without it the optimizer's stays. Groups of
        parameters keep their ratio to it.
    loss : callable, optional
        ``loss(logits, labels)``, a mean over the batch; :func:`cross_entropy` by default. As
        ``count``, it gets what the model returns: a sparse tensor as it is, since it may need the
        sites; ``lambda y, labels: cross_entropy(y.features, labels)`` is the loss of the rows.
    count : callable, optional
        ``count(logits, labels)`` tells how many of how many are wrong, for the error and for the
        weight of a batch in the mean loss; by default the classes that are not the largest logit.
        Anything but classes needs one, such as ``lambda outputs, targets: (0, len(targets))``.
    ignore_index : int, optional
        Label of rows that do not count, in the default loss and the default count.
    evaluate : Loader, optional
        Test set, evaluated after every epoch.
    prepare : callable, optional
        Applied to every input batch: ``lambda x: x.dense()``, ``lambda x: x.to("cuda")``.
    clip_norm : float, optional
        Largest norm of the gradient of all that the optimizer updates.
    log : path, optional
        JSON-lines file: a line per epoch (the fields of :class:`Epoch`) and, with ``log_every``,
        some per step. A run that is not resumed starts it anew.
    log_every : int, optional
        Steps from one line to the next.
    checkpoint : path, optional
        Written after every epoch.
    checkpoint_every : float
        Seconds after which one is written within an epoch; infinity for never.
    resume : bool
        Continue from ``checkpoint`` if the file is there. The optimizer takes its state, learning
        rate included.
    seed : int
        Seed of the dropout; step ``s`` calls ``model.seed(seed, s)``.
    progress : bool
        Show a bar if tqdm is installed, and lines on standard error otherwise.
    on_epoch : callable, optional
        Called with each :class:`Epoch`, before its checkpoint is written; training ends after an
        epoch for which it returns True. It may switch the model to evaluation.

    Raises
    ------
    FloatingPointError
        If the loss is not finite, or with ``clip_norm`` the gradients; the parameters are those
        before that step. Otherwise gradients are not looked at: parameters that they have spoilt
        show in the next loss and at the end of the epoch, and are not saved. The message has the
        step and the first parameters concerned.
    TypeError
        If the loader cannot give its batches in every epoch, or they are no (inputs, labels); if
        an argument is of another kind.
    ValueError
        If a number is out of range, if the model is in evaluation mode, if the checkpoint is
        damaged or belongs to a run with other settings, or if the loader does not give as many
        batches as it has.

    Examples
    --------
    >>> import numpy as np
    >>> from spconv.autograd import Tensor
    >>> from spconv.layers import Linear
    >>> from spconv.optim import SGD
    >>> model = Linear(2, 2, rng=np.random.default_rng(0))
    >>> batches = [(Tensor(np.eye(2, dtype=np.float32)), np.array([0, 1]))]
    >>> history = train(
    ...     model, batches, SGD(model.named_parameters(), lr=1.0), epochs=20, progress=False
    ... )
    >>> history.last.step, history.last.error
    (20, 0.0)
    """
    _check_arguments(model, optimizer, schedule, evaluate)
    num_batches = number_of_batches(loader, checkpoint)
    epochs = check_int("train", "epochs", epochs, 1)
    if ignore_index is not None:
        ignore_index = check_int("train", "ignore_index", ignore_index, -(2**63))
    seed = check_int("train", "seed", seed, 0)
    if log_every is not None:
        log_every = check_int("train", "log_every", log_every, 1)
    if checkpoint_every != math.inf:
        checkpoint_every = check_float("train", "checkpoint_every", checkpoint_every)
    loss, count = criteria("train", loss, count, ignore_index)
    check_function("train", "prepare(inputs)", prepare, optional=True)
    check_function("train", "on_epoch(epoch)", on_epoch, optional=True)
    configuration = configuration_of(
        model, loader, num_batches, optimizer, schedule, clip_norm, ignore_index, seed
    )
    state = State()
    if checkpoint is not None:
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
        if resume and Path(checkpoint).exists():
            state = restore(checkpoint, model, optimizer, configuration)
    let_decide(model)
    trained = set(map(id, optimizer.parameters.values()))
    untrained = [p for p in model.parameters() if id(p) not in trained]  # have gradients, too
    lines = Log(log, state.epoch, state.step)
    saved_at = time.monotonic()

    def save_state() -> None:
        nonlocal saved_at
        if checkpoint is not None:
            check_parameters(model, state.step)
            save(checkpoint, model, optimizer, configuration=configuration, state=asdict(state))
        saved_at = time.monotonic()

    def where() -> str:
        return (
            f"at step {state.step} (epoch {state.epoch}, batch {state.batch}, learning rate "
            f"{optimizer.lr:g})"
        )

    def run_step(inputs: Any, labels: Any) -> None:
        model.seed(seed, state.step)
        if schedule is not None:
            optimizer.lr = schedule(state.step)
        optimizer.zero_grad()
        for parameter in untrained:
            parameter.grad = None
        logits = model(inputs)
        value = _scalar(loss(logits, labels))
        number = value.item()
        if not math.isfinite(number):
            raise bad_loss(number, where(), state.step, model, inputs)
        wrong, counted = count(logits, labels)
        value.backward()
        if clip_norm is not None:
            clip(optimizer.parameters, clip_norm, where)
        optimizer.step()
        state.count(number, wrong, counted)
        if log_every and state.step % log_every == 0:
            entry = {"epoch": state.epoch, "step": state.step, "loss": number, "lr": optimizer.lr}
            lines.write("step", entry)

    with Interrupts() as interrupts, Display(progress, epochs, num_batches) as display:
        try:
            if state.stopped or state.epoch >= epochs:
                more = "" if state.stopped else "ask for more epochs, or "
                display.say(
                    f"{checkpoint} has all {state.epoch} epochs already: nothing is trained; {more}"
                    "ask for resume=False"
                )
            while state.epoch < epochs and not state.stopped:
                display.start(state.epoch, state.batch)
                began = time.perf_counter() - state.seconds
                with closing(_rest_of_epoch(loader, num_batches, state)) as batches:
                    for inputs, labels in batches:
                        inputs = inputs if prepare is None else prepare(inputs)
                        with interrupts.held():
                            run_step(inputs, labels)
                            state.seconds = time.perf_counter() - began
                        display.update(state.batch, str(state))
                        if time.monotonic() - saved_at >= checkpoint_every:
                            save_state()
                check_parameters(model, state.step)
                test = None
                if evaluate is not None:
                    test = evaluation_of(model, evaluate, loss=loss, count=count, prepare=prepare)
                record = state.record(optimizer.lr, test)
                display.finish(str(record))
                lines.write("epoch", asdict(record))
                with modes_kept(model):
                    answer = None if on_epoch is None else on_epoch(record)
                stop = isinstance(answer, bool | np.bool_) and bool(answer)
                with interrupts.held():
                    state.next_epoch(record, stop)
                save_state()
        except KeyboardInterrupt:
            if interrupts.between_steps:
                save_state()
            raise
    return History([Epoch(**entry) for entry in state.history])


def _rest_of_epoch(
    loader: Any, num_batches: int | None, state: State
) -> Generator[tuple[Any, Any], None, None]:
    """The batches from where the run stands on, as many as the loader has."""
    if state.batch == num_batches:
        return
    with closing(batches_of("train", loader, state.epoch, state.batch)) as batches:
        for batch in batches:
            if state.batch == num_batches:
                raise ValueError(
                    f"train: the loader gives more batches than len(loader) = {num_batches}, so "
                    "that a checkpoint could not say where it stands; make __len__ tell the number"
                )
            yield batch
    if num_batches is None and not state.batch:
        raise ValueError(
            f"train: the loader gave no batch in epoch {state.epoch}; it must give them again in "
            "every epoch"
        )
    if num_batches is not None and state.batch < num_batches:
        raise ValueError(
            f"train: epoch {state.epoch} ended after {state.batch} batches, but len(loader) is "
            f"{num_batches}; make __len__ tell the number, and epoch(e, start) begin at any batch"
        )


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.size != 1:
        what = f"shape {loss.shape}" if isinstance(loss, Tensor) else type_name(loss)
        raise TypeError(
            f"train: loss(logits, labels) must return a Tensor with one element, got {what}; end "
            "it with .mean()"
        )
    return loss


def _check_arguments(model: Any, optimizer: Any, schedule: Any, evaluate: Any) -> None:
    """Raise for things given in each other's place, and for the optimizer of another model."""
    for name, value, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind):
            raise TypeError(
                f"train: {name} must be a {kind.__name__}, got {type_name(value)}; "
                "call train(model, loader, optimizer, epochs=...)"
            )
    known = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in known for parameter in optimizer.parameters.values()):
        raise ValueError(
            "train: the optimizer holds none of the model's parameters; make it with "
            "model.named_parameters()"
        )
    if not trains(model):
        raise ValueError(
            "train: the model is in evaluation mode; call model.train(), then eval() of the parts "
            "that are to keep their statistics"
        )
    if schedule is not None and not callable(schedule):
        raise TypeError(
            f"train: schedule must be a function of the step, got {schedule!r}; a constant rate is "
            "the optimizer's lr"
        )
    check_epoch("evaluate", evaluate)
    again = hasattr(evaluate, "epoch") or hasattr(evaluate, "__iter__")
    if evaluate is not None and (not again or hasattr(evaluate, "__next__")):
        raise TypeError(
            f"train: evaluate must give its batches after every epoch, got {type_name(evaluate)}; "
            "pass a loader of the test set or a list of batches"
        )
