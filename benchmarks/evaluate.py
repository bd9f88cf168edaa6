"""Test error of a network with the weights that are shipped, or with those of a file.

    python benchmarks/evaluate.py mnist --data folder-with-mnist
    python benchmarks/evaluate.py mnist --views 12
    python benchmarks/evaluate.py mnist --weights out/pretrain/mnist.npz

``--views N`` also votes over N augmented copies of every test sample: the class with the greatest
mean probability wins.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from plans.recipes import RECIPES
from training.voting import single_view, vote
from workloads.datasets import load_required

import spconv


def load_network(name: str, weights: Path | None) -> spconv.Module:
    """The network of a recipe with the weights that are shipped, or with those of a file."""
    if weights is None:
        return RECIPES[name].shipped()
    model = RECIPES[name].plan.model()
    spconv.load(weights).restore(model)
    return model


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--views", type=int, help="vote over so many augmented copies as well")
    parser.add_argument("--weights", type=Path, help="a file that pretrain.py wrote")
    parser.add_argument("--data", help="folder that holds the data sets")
    arguments = parser.parse_args(argv)
    recipe = RECIPES[arguments.name]
    data = load_required(recipe.data, arguments.data)
    model = load_network(arguments.name, arguments.weights)
    began = time.perf_counter()
    print(f"{recipe.plan.describe()}, {model.num_parameters():,} parameters, on {data.name}")
    print(f"test error {single_view(recipe.plan, model, data.test)}")
    print(f"in {time.perf_counter() - began:.1f} s")
    if arguments.views is not None:
        print(f"test error {vote(recipe.plan, model, data.test, arguments.views)}")


if __name__ == "__main__":
    main()
