"""Dropout in DeepCNet on MNIST: how much, where, and single entries or whole channels.

    python benchmarks/mnist_dropout.py --full --out out --data folder-with-mnist

Every level of dropout is trained constant and rising with depth, elementwise (Srivastava and
others 2014) and batchwise (Graham, Reizenstein & Robinson 2015, arXiv 1502.02478), with several
seeds, beside the simple dense CNN. The comparison takes hours, so that it has no quick form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import session
from datasets import few_images, load_images
from harness import Record
from plans import Augmentation, DeepCNetRun, Plan, SimpleCNNRun, Training
from training import fit, record

NONE, CONSTANT, RISING = "none", "constant", "rising"
ELEMENTWISE, BATCHWISE = "elementwise", "batchwise"


@dataclass(frozen=True)
class Sweep:
    """DeepCNet(l, k) at every rate, in both shapes and both kinds, with every seed."""

    l: int  # noqa: E741 - the paper's name
    k: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    training: Training
    baseline: SimpleCNNRun

    def runs(self) -> Iterator[tuple[Plan, dict[str, Any]]]:
        """Plans, each with what sets it apart; the seed changes slowest."""
        for seed in self.seeds:
            training = replace(self.training, seed=seed)
            yield self._run(training, NONE, ELEMENTWISE, 0.0)
            for rate in (rate for rate in self.rates if rate):
                for depth in (CONSTANT, RISING):
                    for kind in (ELEMENTWISE, BATCHWISE):
                        yield self._run(training, depth, kind, rate)
            baseline = replace(
                self.baseline, training=training, name=f"dropout-simple-cnn-seed{seed}"
            )
            what = {"depth": "last layer", "kind": ELEMENTWISE, "rate": baseline.dropout}
            yield baseline, {**what, "seed": seed}

    def _run(
        self, training: Training, depth: str, kind: str, rate: float
    ) -> tuple[Plan, dict[str, Any]]:
        plan = DeepCNetRun(
            self.l,
            self.k,
            # Constant spares the input, as the rising rates do: there is but one channel.
            rate if depth != CONSTANT else (0.0, *(self.l + 1) * (rate,)),
            training,
            batchwise=kind == BATCHWISE,
            name=f"dropout-{depth}-{kind}-{rate:g}-seed{training.seed}",
        )
        return plan, {"depth": depth, "kind": kind, "rate": rate, "seed": training.seed}


TINY = Training(1, 20, 0.01, 0.9, 1e-4, warmup_steps=2, num_train=40, num_test=40)
FULL = Training(10, 100, 0.02, 0.9, 1e-4, warmup_steps=300, augment=Augmentation())
SWEEPS: dict[str, Sweep | None] = {
    "tiny": Sweep(4, 2, (0.0, 0.5), (0, 1), TINY, SimpleCNNRun(28, 2, 8, 0.5, TINY)),
    "quick": None,
    "full": Sweep(
        4, 20, (0.0, 0.1, 0.2, 0.3, 0.5), (0, 1, 2), FULL, SimpleCNNRun(36, 16, 64, 0.5, FULL)
    ),
}


def run(options: session.Options) -> list[Record]:
    """Train everything of the sweep, or go on where an interrupted run ended."""
    sweep = SWEEPS[options.size]
    if sweep is None:
        return []
    echo = options.echo_of("mnist-dropout")
    data = few_images() if options.size == "tiny" else load_images(options.data, echo)
    records = []
    for plan, what in sweep.runs():
        echo(plan.name)
        trained = fit(plan, data, options.out / "runs" / f"{plan.name}-{options.size}", echo)
        records.append(record(plan, data, trained, **what))
    return records


if __name__ == "__main__":
    session.main({"mnist-dropout": run}, __doc__)
