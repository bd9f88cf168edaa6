"""The training loop: progress, log, checkpoints, and a resume that continues to the same bits.

A training step is a pure function of the parameters, the optimizer's state, the batch and
(seed, step): dropout is re-seeded before every step, the learning rate is a function of the
step, and the loader gives the batches of an epoch from any position. So a checkpoint needs no
generator state, and may be taken between any two steps.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from spconv.checkpoint import load, save
from spconv.checks import check_int, type_name
from spconv.evaluation import (
    Evaluation,
    Loss,
    Prepare,
    batches_of,
    count_errors,
    evaluate,
    wilson_interval,
)
from spconv.evaluation import evaluate as _evaluate
from spconv.functional import cross_entropy
from spconv.layers import Module
from spconv.optim import Optimizer, clip_grad_norm
from spconv.progress import Display, Log
from spconv.schedules import Schedule

__all__ = ["Epoch", "Evaluation", "History", "evaluate", "train", "wilson_interval"]


@dataclass(frozen=True)
class Epoch:
    """One epoch: running training loss and error, and the test set's if there is one.

    ``step`` is the number of updates made by its end, ``lr`` the last learning rate, ``seconds``
    the time of the training steps and of loading their batches.
    """

    epoch: int
    step: int
    lr: float
    loss: float
    error: float
    seconds: float
    samples_per_second: float
    test_loss: float | None = None
    test_error: float | None = None

    def __str__(self) -> str:
        test = "" if self.test_error is None else f", test error {self.test_error:.2%}"
        return _describe(self.loss, self.error, self.samples_per_second) + test


@dataclass(frozen=True)
class History:
    """What :func:`train` returns: all epochs, those before a resume included."""

    epochs: list[Epoch]

    @property
    def last(self) -> Epoch:
        """The last epoch."""
        return self.epochs[-1]


def train(
    model: Module,
    loader: Any,
    optimizer: Optimizer,
    *,
    epochs: int,
    schedule: Schedule | None = None,
    loss: Loss = cross_entropy,
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
        Maps an input batch to logits (batch, classes).
    loader : Loader
        ``loader.epoch(e, start)`` gives the (inputs, labels) batches of epoch ``e`` from number
        ``start`` on, ``len(loader)`` their number. A list of batches serves too.
    optimizer : Optimizer
        Over ``model.named_parameters()``.
    epochs : int
        Number of epochs in all.
    schedule : callable, optional
        Learning rate as a function of the step; without it the optimizer's stays.
    loss : callable
        ``loss(logits, labels)``, a mean over the batch.
    evaluate : Loader, optional
        Test set, evaluated after every epoch.
    prepare : callable, optional
        Applied to every input batch: ``lambda x: x.dense()``, ``lambda x: x.to("cuda")``.
    clip_norm : float, optional
        Largest norm of the gradient.
    log : path, optional
        JSON-lines file: a line per epoch (the fields of :class:`Epoch`) and, with ``log_every``,
        one every so many steps. A run that is not resumed starts it anew.
    checkpoint : path, optional
        Written after every epoch, and within one every ``checkpoint_every`` seconds.
    resume : bool
        Continue from ``checkpoint`` if the file is there. The optimizer takes its state, learning
        rate included.
    seed : int
        Seed of the dropout; step ``s`` calls ``model.seed(seed, s)``.
    progress : bool
        Show a bar if tqdm is installed, and lines on standard error otherwise.
    on_epoch : callable, optional
        Called with each :class:`Epoch`, before its checkpoint is written.

    Raises
    ------
    FloatingPointError
        If the loss is not finite; the parameters are those before that step.
    ValueError
        If the checkpoint is damaged or belongs to a run with other settings.

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
    _check_arguments(model, optimizer)
    epochs = check_int("train", "epochs", epochs, 1)
    if not len(loader):
        raise ValueError("train: expected at least one batch, got an empty loader")
    configuration = _configuration(model, loader, optimizer, schedule, seed)
    state = _State()
    if checkpoint is not None:
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
        if resume and Path(checkpoint).exists():
            state = _restore(checkpoint, model, optimizer, configuration)
    lines = Log(log, state.epoch, state.step)
    saved_at = time.monotonic()

    def save_state() -> None:
        nonlocal saved_at
        if checkpoint is not None:
            save(checkpoint, model, optimizer, configuration=configuration, state=asdict(state))
        saved_at = time.monotonic()

    def run_step(inputs: Any, labels: Any) -> None:
        model.seed(seed, state.step)
        if schedule is not None:
            optimizer.lr = schedule(state.step)
        optimizer.zero_grad()
        logits = model(inputs)
        value = loss(logits, labels)
        number = value.item()
        if not math.isfinite(number):
            raise FloatingPointError(
                f"train: the loss is {number} at step {state.step} (epoch {state.epoch}, batch "
                f"{state.batch}, learning rate {optimizer.lr:g}); try a lower learning rate, a "
                "warm-up or clip_norm, and check the inputs of this batch"
            )
        value.backward()
        if clip_norm is not None:
            clip_grad_norm(model.parameters(), clip_norm)
        optimizer.step()
        state.count(number, len(labels), count_errors(logits, labels))
        if log_every and state.step % log_every == 0:
            entry = {"epoch": state.epoch, "step": state.step, "loss": number, "lr": optimizer.lr}
            lines.write("step", entry)

    with _Interrupts() as interrupts, Display(progress, epochs, len(loader)) as display:
        try:
            if state.epoch >= epochs:
                display.say(
                    f"{checkpoint} has all {state.epoch} epochs already: nothing is trained; ask "
                    "for more epochs, or for resume=False"
                )
            while state.epoch < epochs:
                if not model.training:
                    model.train()
                display.start(state.epoch, state.batch)
                began = time.perf_counter() - state.seconds
                if state.batch < len(loader):
                    with closing(batches_of(loader, state.epoch, state.batch)) as batches:
                        for inputs, labels in batches:
                            inputs = inputs if prepare is None else prepare(inputs)
                            with interrupts.held():
                                run_step(inputs, labels)
                                state.seconds = time.perf_counter() - began
                            display.update(state.batch, str(state))
                            if time.monotonic() - saved_at >= checkpoint_every:
                                save_state()
                test = (
                    None
                    if evaluate is None
                    else _evaluate(model, evaluate, loss=loss, prepare=prepare)
                )
                record = state.record(optimizer.lr, test)
                display.finish(str(record))
                lines.write("epoch", asdict(record))
                if on_epoch is not None:
                    on_epoch(record)
                with interrupts.held():
                    state.next_epoch(record)
                save_state()
        except KeyboardInterrupt:
            if interrupts.between_steps:
                save_state()
            raise
    return History([Epoch(**entry) for entry in state.history])


@dataclass
class _State:
    """Where a run stands between two steps; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    num_samples: int = 0
    num_errors: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def count(self, loss: float, num_samples: int, num_errors: int) -> None:
        self.batch += 1
        self.step += 1
        self.loss_sum += loss * num_samples
        self.num_samples += num_samples
        self.num_errors += num_errors

    def __str__(self) -> str:
        samples = max(self.num_samples, 1)
        return _describe(self.loss_sum / samples, self.num_errors / samples, samples / self.seconds)

    def record(self, lr: float, test: Evaluation | None) -> Epoch:
        return Epoch(
            epoch=self.epoch,
            step=self.step,
            lr=lr,
            loss=self.loss_sum / max(self.num_samples, 1),
            error=self.num_errors / max(self.num_samples, 1),
            seconds=self.seconds,
            samples_per_second=self.num_samples / self.seconds,
            test_loss=None if test is None else test.loss,
            test_error=None if test is None else test.error,
        )

    def next_epoch(self, record: Epoch) -> None:
        self.history.append(asdict(record))
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum, self.num_samples, self.num_errors, self.seconds = 0.0, 0, 0, 0.0


def _describe(loss: float, error: float, rate: float) -> str:
    return f"loss {loss:.4f}, error {error:.2%}, {rate:.0f} samples/s"


class _Interrupts:
    """Holds Ctrl-C back while a step runs, so that no checkpoint sees half an update.

    A second Ctrl-C is not held. Only Python's own handler is replaced, and only in the main
    thread, where signals arrive.
    """

    def __init__(self) -> None:
        self.between_steps = True
        self._pending = False
        self._previous: Any = None

    def __enter__(self) -> _Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.between_steps or self._pending:
            raise KeyboardInterrupt
        self._pending = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """A part that is done as a whole; whatever else fails in it leaves the state torn."""
        self.between_steps = False
        yield
        self.between_steps = True
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt


def _check_arguments(model: Any, optimizer: Any) -> None:
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


def _configuration(
    model: Module, loader: Any, optimizer: Optimizer, schedule: Schedule | None, seed: int
) -> dict[str, Any]:
    """Describe what must not change between the parts of a run."""
    numbers = optimizer.hyperparameters
    if schedule is not None:
        del numbers["lr"]
    return {
        "seed": seed,
        "batches in an epoch": len(loader),
        "batch size": getattr(loader, "batch_size", None),
        "seed of the loader": getattr(loader, "seed", None),
        "optimizer": type(optimizer).__name__,
        **{f"optimizer's {name}": value for name, value in numbers.items()},
        **{path: f"{p.dtype} {p.shape}" for path, p in model.named_parameters()},
    }


def _restore(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer, now: dict[str, Any]
) -> _State:
    saved = load(path)
    if not saved.extra.keys() >= {"configuration", "state"}:
        raise ValueError(
            f"train: {os.fspath(path)} was not written by train(), so there is nothing to resume; "
            "start from its weights with load(path).restore(model) and another checkpoint path"
        )
    was, now = saved.extra["configuration"], json.loads(json.dumps(now))  # tuples become lists
    changes = [
        f"{name} was {was.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in {**was, **now}
        if was.get(name, "absent") != now.get(name, "absent")
    ]
    if changes:
        raise ValueError(
            f"train: {os.fspath(path)} belongs to a run with other settings: {'; '.join(changes)}; "
            "restore them, choose another checkpoint path, or start anew with resume=False"
        )
    saved.restore(model, optimizer)
    return _State(**saved.extra["state"])
