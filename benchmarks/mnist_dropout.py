"""Dropout in DeepCNet on MNIST: how much, where, and single entries or whole channels.

    python benchmarks/mnist_dropout.py --full --out out --data folder-with-mnist

Every level of dropout is trained constant and rising with depth, elementwise (Srivastava and
others 2014) and batchwise (Graham, Reizenstein & Robinson 2015, arXiv 1502.02478), with several
seeds, beside the simple dense CNN. The comparison takes hours, so that it has no quick form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.measuring import Budget, Record
from harness.options import Options
from plans.images import DeepCNetRun, SimpleCNNRun
from plans.plan import Augmentation, Plan, Training
from reporting import session
from training.fitting import diverged, ended, outcome
from training.steps import time_step
from workloads.datasets import DataSet, image_data

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
    budget: Budget

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
    "tiny": Sweep(
        4, 2, (0.0, 0.5), (0, 1), TINY, SimpleCNNRun(28, 2, 8, 0.5, TINY), Budget(0.005, 2)
    ),
    "quick": None,
    "full": Sweep(
        4,
        20,
        (0.0, 0.1, 0.2, 0.3, 0.5),
        (0, 1, 2),
        FULL,
        SimpleCNNRun(36, 16, 64, 0.5, FULL),
        Budget(2.0),
    ),
}


def run(options: Options) -> list[Record]:
    """Train everything of the sweep, or go on where an interrupted run ended."""
    sweep = SWEEPS[options.size]
    if sweep is None:
        return []
    echo = options.echo_of("mnist-dropout")
    data = image_data(options.size, options.data, echo)
    records, earlier = [], options.earlier("mnist-dropout")
    for plan, what in sweep.runs():
        folder = options.out / "runs" / f"{plan.name}-{options.size}"
        why = diverged(plan, data, folder)
        if why is None and earlier and not ended(plan, data, folder):
            why = _reported_divergence(what, earlier)
        if earlier is None:
            echo(plan.name)
        try:
            made = None if why else outcome(plan, data, folder, echo, earlier, **what)
        except FloatingPointError as error:
            made, why = None, str(error)
        if why is not None:
            echo(f"left out: {why}")
            records.append(Record("diverged", "", "training", {**what, "why": why}))
        if made is None:
            continue
        records.append(made)
        if plan.training.seed == sweep.seeds[0]:
            records.append(_timed_step(plan, data, sweep.budget, what))
    return records


def _reported_divergence(what: dict[str, Any], earlier: Sequence[Record]) -> str | None:
    for known in earlier:
        if known.experiment == "diverged" and {**known.case, **what} == known.case:
            return str(known.case["why"])
    return None


def _timed_step(plan: Plan, data: DataSet, budget: Budget, what: dict[str, Any]) -> Record:
    x, labels = next(iter(plan.loader(data.train, training=True)))
    timing = time_step(plan.model(), plan.prepare(x), labels, budget)
    steps = -(-len(data.train[1]) // len(labels))
    implementation = "sparse" if plan.sparse else "dense"
    return Record("step", implementation, "training step", {**what, "steps": steps}, timing)


if __name__ == "__main__":
    session.main({"mnist-dropout": run}, __doc__)
