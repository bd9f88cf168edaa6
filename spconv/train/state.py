"""Where a training run stands, and what it has been through."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from spconv.evaluation import Evaluation


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


@dataclass
class State:
    """Where a run stands between two steps; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    num_samples: float = 0
    num_errors: float = 0
    seconds: float = 0.0
    stopped: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, saved: Any, num_batches: int | None) -> State:
        """What a checkpoint holds; ValueError for what no run can have come to."""
        try:
            state = cls(**saved)
            epochs = [Epoch(**entry) for entry in state.history]
        except TypeError as error:
            raise ValueError(f"no state of a run: {error}") from error
        counts = state.epoch, state.batch, state.step
        # Whoever counts errors may count halves, and weigh samples.
        numbers = state.num_samples, state.num_errors, state.loss_sum, state.seconds
        if not (
            all(type(count) is int and count >= 0 for count in counts)
            and all(isinstance(number, float | int) for number in numbers)
            and len(epochs) == state.epoch
            and (num_batches is None or state.batch <= num_batches)
        ):
            raise ValueError(f"no state of a run: {state!r}")
        return state

    def count(self, loss: float, num_errors: float, num_samples: float) -> None:
        """Note down a training step."""
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

    def next_epoch(self, record: Epoch, stop: bool) -> None:
        self.stopped = stop
        self.history.append(asdict(record))
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum, self.num_samples, self.num_errors, self.seconds = 0.0, 0, 0, 0.0


def _describe(loss: float, error: float, rate: float) -> str:
    return f"loss {loss:.4f}, error {error:.2%}, {rate:.0f} samples/s"
