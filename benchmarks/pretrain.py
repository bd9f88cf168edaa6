"""Trains one of the networks whose weights are shipped, from its recipe in recipes.py.

    python benchmarks/pretrain.py mnist --out out/pretrain --data folder-with-mnist

An interrupted run goes on where it was when the same command runs again. At the end, NAME.npz
holds the weights and how they came about; `spconv.load` reads it.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DataSet, load_required
from recipes import RECIPES, Recipe
from training import Trained, fit

import spconv


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
    trained = fit(recipe.plan, data, out / name, echo)
    path = out / f"{name}.npz"
    spconv.save(path, trained.model, recipe=describe(recipe, data, trained, command))
    return path


def describe(recipe: Recipe, data: DataSet, trained: Trained, command: str) -> dict[str, Any]:
    """How weights came about, in plain values."""
    return {
        "command": command,
        "network": recipe.plan.describe(),
        "plan": asdict(recipe.plan),
        "data": data.name,
        "seed": recipe.plan.training.seed,
        "parameters": trained.model.num_parameters(),
        "train_seconds": trained.seconds,
        "fastest_epoch_seconds": min(epoch.seconds for epoch in trained.history.epochs),
        "epochs": [asdict(epoch) for epoch in trained.history.epochs],
        "test_error": trained.test.error,
        "test_errors": trained.test.num_errors,
        "test_samples": trained.test.num_samples,
        "test_error_interval": list(trained.interval),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "version": spconv.__version__,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--out", type=Path, default=Path("out/pretrain"))
    parser.add_argument("--data", help="folder that holds the data sets")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a short check")
    arguments = parser.parse_args(argv)
    recipe = RECIPES[arguments.name]
    command = f"python benchmarks/pretrain.py {arguments.name}"
    if arguments.epochs is not None:
        training = replace(recipe.plan.training, epochs=arguments.epochs)
        recipe = replace(recipe, plan=replace(recipe.plan, training=training))
        command += f" --epochs {arguments.epochs}"
    data = load_required(recipe.data, arguments.data)
    echo = partial(print, flush=True)
    path = pretrain(arguments.name, recipe, data, arguments.out, command, echo)
    result = spconv.load(path).extra["recipe"]
    low, high = result["test_error_interval"]
    echo(
        f"{path}: test error {result['test_error']:.2%} ({low:.2%} to {high:.2%}), "
        f"{result['train_seconds']:.0f} s of training"
    )


if __name__ == "__main__":
    main()
