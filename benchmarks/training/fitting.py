"""One training run of a plan: resumable, logged, and recorded with its test error and times."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.measuring import Record
from plans.plan import Plan
from workloads.datasets import DataSet

import spconv
from spconv.schedules import Cosine, Warmup
from spconv.train import Epoch, Evaluation, History, train, wilson_interval

DIVERGED = "diverged.txt"


@dataclass(frozen=True)
class Trained:
    """A trained network, its history, and what it does on the test set."""

    model: spconv.Module
    history: History
    test: Evaluation
    test_seconds: float

    @property
    def seconds(self) -> float:
        """The time of all training steps, those before a resume included."""
        return sum(epoch.seconds for epoch in self.history.epochs)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the test error."""
        return wilson_interval(self.test.num_errors, self.test.num_samples)


def fit(plan: Plan, data: DataSet, folder: Path, echo: Callable[[str], object] = print) -> Trained:
    """Train a plan's network, or go on where an interrupted run of the same plan ended.

    Parameters
    ----------
    plan : Plan
    data : DataSet
    folder : Path
        Gets ``settings.json``, ``log.jsonl`` and ``checkpoint.npz``.
    echo : callable
        Takes the progress lines.

    Raises
    ------
    FloatingPointError
        If the loss is no longer finite. ``diverged.txt`` then says where, for :func:`diverged`.
    """
    settings = plan.training
    _prepare_folder(folder, plan, data, echo)
    model = plan.model()
    train_loader = plan.loader(data.train, training=True)
    test_loader = plan.loader(data.test, training=False)
    total = settings.epochs * len(train_loader)

    def on_epoch(epoch: Epoch) -> None:
        echo(f"{plan.describe()}, epoch {epoch.epoch + 1} of {settings.epochs}: {epoch}")

    optimizer = spconv.optim.SGD(
        model.named_parameters(),
        settings.lr,
        settings.momentum,
        nesterov=True,
        weight_decay=settings.weight_decay,
    )
    try:
        history = train(
            model,
            train_loader,
            optimizer,
            epochs=settings.epochs,
            schedule=Warmup(Cosine(settings.lr, total), settings.warmup_steps),
            evaluate=test_loader,
            prepare=plan.prepare,
            log=folder / "log.jsonl",
            checkpoint=folder / "checkpoint.npz",
            checkpoint_every=60.0,
            seed=settings.seed,
            progress=False,
            on_epoch=on_epoch,
        )
    except FloatingPointError as error:
        (folder / DIVERGED).write_text(f"{error}\n")
        raise
    began = time.perf_counter()
    test = spconv.train.evaluate(model, test_loader, prepare=plan.prepare)
    return Trained(model, history, test, time.perf_counter() - began)


def ended(plan: Plan, data: DataSet, folder: Path) -> bool:
    """Whether the folder holds this plan's training, done to its last epoch."""
    checkpoint = folder / "checkpoint.npz"
    if not checkpoint.exists() or _saved_settings(folder) != _settings(plan, data):
        return False
    return bool(spconv.load(checkpoint).extra["state"]["epoch"] == plan.training.epochs)


def diverged(plan: Plan, data: DataSet, folder: Path) -> str | None:
    """Where this plan's training broke off because its loss was no longer finite, if it did.

    Equal plans give equal bits: to train it again would end there again.
    """
    path = folder / DIVERGED
    if not path.exists() or _saved_settings(folder) != _settings(plan, data):
        return None
    return path.read_text().strip()


def outcome(
    plan: Plan,
    data: DataSet,
    folder: Path,
    echo: Callable[[str], object],
    earlier: Sequence[Record] | None,
    **more: Any,
) -> Record | None:
    """Train a plan's network and record it, see :func:`fit` and :func:`record`.

    With ``earlier`` records nothing is trained: a training that has ended in the folder is
    evaluated again, one that has not is looked up among them, because they outlive the folder,
    and may be missing there too.
    """
    if earlier is None or ended(plan, data, folder):
        return record(plan, data, fit(plan, data, folder, echo), **more)
    wanted = _settings(plan, data)
    for known in earlier:
        case = known.case
        if known.experiment == "training" and {"data": case["data"], **case["settings"]} == wanted:
            return known
    return None


def record(plan: Plan, data: DataSet, trained: Trained, **more: Any) -> Record:
    """What the report needs of a training run; ``more`` goes into its case."""
    test = trained.test
    case: dict[str, Any] = {
        "network": plan.title,
        "description": plan.describe(),
        "data": data.name,
        "settings": asdict(plan),
        "parameters": trained.model.num_parameters(),
        "epochs": [asdict(epoch) for epoch in trained.history.epochs],
        "train_samples": plan.training.num_train or len(data.train[1]),
        "train_seconds": trained.seconds,
        "test_seconds": trained.test_seconds,
        "test_samples": test.num_samples,
        "test_errors": test.num_errors,
        "test_error": test.error,
        "interval": list(trained.interval),
        **more,
    }
    return Record("training", "sparse" if plan.sparse else "dense", "training", case)


def _prepare_folder(folder: Path, plan: Plan, data: DataSet, echo: Callable[[str], object]) -> None:
    """Keep what an equal run left, to resume from it; start anew where anything differs."""
    settings = _settings(plan, data)
    checkpoint = folder / "checkpoint.npz"
    (folder / DIVERGED).unlink(missing_ok=True)
    if checkpoint.exists():
        if _saved_settings(folder) == settings:
            echo(f"going on from {checkpoint}")
        else:
            echo(f"{checkpoint} is of other settings: starting anew")
            checkpoint.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings, indent=2) + "\n")


def _settings(plan: Plan, data: DataSet) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps({"data": data.name, **asdict(plan)}))
    return settings


def _saved_settings(folder: Path) -> Any:
    path = folder / "settings.json"
    return json.loads(path.read_text()) if path.exists() else None
