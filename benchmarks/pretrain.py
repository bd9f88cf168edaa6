"""Trains one of the networks whose weights are shipped, from its recipe in plans/recipes.py.

    python benchmarks/pretrain.py mnist --out out/pretrain --data folder-with-mnist

An interrupted run goes on where it was when the same command runs again. At the end, NAME.npz
holds the weights and how they came about; `spconv.load` reads it. With ``--as-is``, the weights of
the last checkpoint are written without training on; the recipe tells after how many epochs.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from plans.plan import Plan
from plans.recipes import RECIPES, Recipe
from training.fitting import Trained, fit
from training.voting import misclassified
from workloads.datasets import DataSet, load_required

import spconv
from spconv.train import Epoch, History


def pretrain(
    name: str,
    recipe: Recipe,
    data: DataSet,
    out: Path,
    command: str,
    echo: Callable[[str], object] = print,
) -> Path:
    """Train a recipe and write ``NAME.npz``; the checkpoint and log go to ``out/NAME``.

    Returns
    -------
    Path
        The written file: the weights, and under ``recipe`` what `describe` tells.
    """
    return write(name, recipe, data, fit(recipe.plan, data, out / name, echo), out, command)


def write(
    name: str, recipe: Recipe, data: DataSet, trained: Trained, out: Path, command: str
) -> Path:
    """Write ``NAME.npz``: the weights and what `describe` tells of them."""
    path = out / f"{name}.npz"
    spconv.save(path, trained.model, recipe=describe(recipe, data, trained, command))
    return path


def as_it_is(recipe: Recipe, data: DataSet, folder: Path) -> Trained:
    """The network of a training that has not ended, with the weights of its last checkpoint.

    Raises
    ------
    ValueError
        If no epoch has ended, or if one has begun since: the history would not tell of it.
    """
    plan, path = recipe.plan, folder / "checkpoint.npz"
    checkpoint = spconv.load(path)
    state = checkpoint.extra["state"]
    if not state["history"] or state["batch"]:
        raise ValueError(
            f"pretrain: expected {path} at the end of an epoch, got epoch {state['epoch'] + 1} "
            f"after {state['batch']} batches; copy the folder when an epoch ends"
        )
    model = plan.model()
    checkpoint.restore(model)
    began = time.perf_counter()
    loader = plan.loader(data.test, training=False)
    test = spconv.train.evaluate(model, loader, prepare=plan.prepare)
    history = History([Epoch(**epoch) for epoch in state["history"]])
    return Trained(model, history, test, time.perf_counter() - began)


def describe(recipe: Recipe, data: DataSet, trained: Trained, command: str) -> dict[str, Any]:
    """How weights came about, in plain values."""
    return {
        "command": command,
        "network": recipe.plan.describe(),
        "plan": asdict(recipe.plan),
        "dataset": data.name,
        "encoder": encoder(recipe.plan),
        "seed": recipe.plan.training.seed,
        "parameters": trained.model.num_parameters(),
        "seconds": trained.seconds,
        "fastest_epoch_seconds": min(epoch.seconds for epoch in trained.history.epochs),
        "epochs_planned": recipe.plan.training.epochs,
        "epochs_done": len(trained.history.epochs),
        "epochs": [asdict(epoch) for epoch in trained.history.epochs],
        "test_errors": {
            "error": trained.test.error,
            "interval": list(trained.interval),
            "errors": trained.test.num_errors,
            "samples": trained.test.num_samples,
            "views": 1,
            "misclassified": misclassified(recipe.plan, trained.model, data.test),
        },
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "version": spconv.__version__,
    }


def encoder(plan: Plan) -> dict[str, Any]:
    """What turns a sample into sites and features, in plain values."""
    pen = getattr(plan, "pen", None)
    if pen is None:
        return {"features": "grey values", "ground_state": True}
    return {name: getattr(pen, name) for name in ("field", "box", "features", "ground_state")}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument(
        "--out", type=Path, default=Path("out/pretrain"), help="default: out/pretrain"
    )
    parser.add_argument("--data", help="folder that holds the data sets")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a short check")
    parser.add_argument("--as-is", action="store_true", help="end with the last checkpoint")
    arguments = parser.parse_args(argv)
    recipe = RECIPES[arguments.name]
    command = f"python benchmarks/pretrain.py {arguments.name}"
    if arguments.epochs is not None:
        training = replace(recipe.plan.training, epochs=arguments.epochs)
        recipe = replace(recipe, plan=replace(recipe.plan, training=training))
        command += f" --epochs {arguments.epochs}"
    data = load_required(recipe.data, arguments.data)
    echo = partial(print, flush=True)
    if arguments.as_is:
        command += " --as-is"
        trained = as_it_is(recipe, data, arguments.out / arguments.name)
        path = write(arguments.name, recipe, data, trained, arguments.out, command)
    else:
        path = pretrain(arguments.name, recipe, data, arguments.out, command, echo)
    result = spconv.load(path).extra["recipe"]
    test = result["test_errors"]
    low, high = test["interval"]
    echo(
        f"{path}: {result['epochs_done']} of {result['epochs_planned']} epochs, "
        f"test error {test['error']:.2%} ({low:.2%} to {high:.2%}), "
        f"{result['seconds']:.0f} s of training"
    )


if __name__ == "__main__":
    main()
