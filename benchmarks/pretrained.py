"""What the shipped weights reach on their test sets: one view, and a vote over several.

    python benchmarks/pretrained.py --quick --out out --data folder-with-the-data-sets

Networks whose weights or data are not there are left out.
"""

from __future__ import annotations

import time
from dataclasses import replace

from harness.measuring import Record
from harness.options import Options
from plans.recipes import RECIPES
from reporting import session
from training.voting import TestResult, single_view, vote
from workloads.datasets import load_required

VIEWS = {"tiny": 2, "quick": 0, "full": 12}
"""Copies to vote over; none with 0."""
FEW = 40


def run(options: Options) -> list[Record]:
    """Evaluate every network that can be had."""
    echo = options.echo_of("pretrained")
    records: list[Record] = []
    for name, recipe in RECIPES.items():
        try:
            model, data = recipe.shipped(), load_required(recipe.data, options.data)
        except FileNotFoundError as error:
            echo(f"{name} is left out: {error}")
            continue
        plan = recipe.plan
        if options.size == "tiny":
            plan = replace(plan, training=replace(plan.training, num_test=FEW))
        began = time.perf_counter()
        results = [single_view(plan, model, data.test)]
        seconds = time.perf_counter() - began
        if VIEWS[options.size]:
            results.append(vote(plan, model, data.test, VIEWS[options.size]))
        for result in results:
            echo(f"{name}: test error {result}")
        case = {
            "network": name,
            "description": plan.describe(),
            "data": data.name,
            "parameters": model.num_parameters(),
            "test_seconds": seconds,
            "epochs": recipe.info().get("epochs", []),
            "results": [_plain(result) for result in results],
        }
        records.append(Record("pretrained", "sparse", "evaluation", case))
    return records


def _plain(result: TestResult) -> dict[str, object]:
    return {
        "views": result.views,
        "errors": result.errors,
        "samples": result.samples,
        "error": result.error,
        "interval": list(result.interval),
    }


if __name__ == "__main__":
    session.main({"pretrained": run}, __doc__)
