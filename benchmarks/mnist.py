"""Trains DeepCNet on active sites and a simple dense CNN on MNIST; test error and time of both.

    python benchmarks/mnist.py --quick --out out --data folder-with-mnist

Where MNIST is not to be had, synthetic pen strokes take its place, and the report says so.
"""

from __future__ import annotations

from dataclasses import replace

from harness.measuring import Record
from harness.options import Options
from plans.images import DeepCNetRun, SimpleCNNRun
from plans.plan import Augmentation, Plan, Training
from reporting import session
from training.fitting import fit, record
from workloads.datasets import image_data

TINY = Training(2, 20, 0.02, 0.9, 1e-4, warmup_steps=2, num_train=100, num_test=40)
QUICK = Training(
    epochs=5,
    batch_size=100,
    lr=0.02,
    momentum=0.9,
    weight_decay=1e-4,
    warmup_steps=100,
    augment=Augmentation(),
)
FULL = replace(QUICK, epochs=50)

PLANS: dict[str, tuple[Plan, Plan]] = {
    "tiny": (DeepCNetRun(4, 2, 0.0, TINY), SimpleCNNRun(28, 2, 8, 0.0, TINY)),
    "quick": (
        DeepCNetRun(4, 32, 0.2, QUICK),
        SimpleCNNRun(36, 16, 64, 0.5, replace(QUICK, epochs=3)),
    ),
    "full": (DeepCNetRun(5, 40, 0.3, FULL), SimpleCNNRun(36, 32, 128, 0.5, FULL)),
}


def run(options: Options) -> list[Record]:
    """Train both networks, or go on where an interrupted run ended."""
    echo = options.echo_of("mnist")
    data = image_data(options.size, options.data, echo)
    records = []
    for plan in PLANS[options.size]:
        folder = options.out / "runs" / f"{plan.name}-{options.size}"
        records.append(record(plan, data, fit(plan, data, folder, echo)))
    return records


if __name__ == "__main__":
    session.main({"mnist": run}, __doc__)
