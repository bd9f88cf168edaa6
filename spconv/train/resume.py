"""What a checkpoint must agree with, and the way back into its run."""

from __future__ import annotations

import json
import os
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from spconv.checkpoint import load
from spconv.checks import type_name
from spconv.layers import Module
from spconv.optim import Optimizer
from spconv.schedules import Schedule
from spconv.train.state import State

_LATER = "ignore_index"  # checkpoints of before do not tell it


def configuration_of(
    model: Module,
    loader: Any,
    num_batches: int | None,
    optimizer: Optimizer,
    schedule: Schedule | None,
    clip_norm: float | None,
    ignore_index: int | None,
    seed: int,
) -> dict[str, Any]:
    """Describe what must not change between the parts of a run, as far as it can be told."""
    numbers = optimizer.hyperparameters
    groups = optimizer.groups if optimizer.groups_differ else []
    if schedule is not None:
        del numbers["lr"]
    return {
        "seed": seed,
        "batches in an epoch": num_batches,
        "batch size": _told(getattr(loader, "batch_size", None)),
        "seed of the loader": _told(getattr(loader, "seed", None)),
        "optimizer": type(optimizer).__name__,
        **{f"optimizer's {name}": value for name, value in numbers.items()},
        **{f"optimizer's group {n}": repr(group) for n, group in enumerate(groups)},
        "schedule": repr(schedule) if schedule is None or is_dataclass(schedule) else "a function",
        "clip_norm": _told(clip_norm),
        _LATER: ignore_index,
        **{path: f"{p.dtype} {p.shape}" for path, p in model.named_parameters()},
    }


def _told(value: Any) -> Any:
    """What a checkpoint can hold of a value: numbers, NumPy's too; of other objects their type."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [_told(entry) for entry in value]
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else type_name(value)


def restore(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer, now: dict[str, Any]
) -> State:
    saved = load(path)
    if not saved.extra.keys() >= {"configuration", "state"}:
        raise ValueError(
            f"train: {os.fspath(path)} was not written by train(), so there is nothing to resume; "
            "start from its weights with load(path).restore(model) and another checkpoint path"
        )
    was, now = saved.extra["configuration"], json.loads(json.dumps(now))  # tuples become lists
    if not isinstance(was, dict):
        raise ValueError(
            f"train: {os.fspath(path)} was not written by train(): its configuration is "
            f"{type_name(was)}; choose another checkpoint path"
        )
    was.setdefault(_LATER, now[_LATER])
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
    try:
        state = State.of(saved.extra["state"], now["batches in an epoch"])
    except ValueError as error:
        raise ValueError(
            f"train: {os.fspath(path)} holds {error}; choose another checkpoint path, or start "
            "anew with resume=False"
        ) from error
    saved.restore(model, optimizer)
    return state
