"""How the speed of pooling and the size of the field change error, active sites and time.

    python benchmarks/mnist_slow_pooling.py --full --out out --data folder-with-mnist

Graham 2014 (arXiv 1409.6070): small filters and small poolings shrink the field slowly, which
costs much on a dense grid and little on active sites. Every network is trained on MNIST, its
layers' active sites and multiply-adds are counted, and a training step is timed, sparse and as
the dense network with the same weights. Ten minutes for each of the three seeds on one thread,
so that it has no quick form; the seed changes slowest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.measuring import Budget, Record, too_large
from harness.options import Options
from networks import training_bytes
from plans.ladders import FractionalPool, LadderRun, Level, MaxPool, deepc2_levels, deepcnet_levels
from plans.plan import Augmentation, Training
from reporting import session
from training.fitting import outcome
from training.steps import time_step
from workloads.datasets import DataSet, image_data

from spconv import summary
from spconv.models import dense_twin

NETWORKS = {
    "fast: MP3": (*[Level((3,), MaxPool(3, 3))] * 2, Level((2,), MaxPool(3, 3)), Level((2,))),
    "DeepCNet, l = 4": deepcnet_levels(4),
    "DeepCNet, l = 5": deepcnet_levels(5),
    "DeepCNet, l = 6": deepcnet_levels(6),
    "overlapping: MP3/2": (
        Level((3,), MaxPool(3, 2)),
        *[Level((2,), MaxPool(3, 2))] * 3,
        Level((2,)),
    ),
    "two C per scale": deepc2_levels(4),
    "fractional: FMP1.41": (
        Level((3,), FractionalPool()),
        *[Level((2,), FractionalPool())] * 6,
        Level((2,)),
    ),
}
"""From the field to one site, by name; a further kind of pooling is a class beside `MaxPool`."""
TIMED_BATCH = 50  # a training step of the dense networks on it takes less than 2 GB


@dataclass(frozen=True)
class Sweep:
    """Which networks, with which seeds; the dense steps are timed with the first seed's."""

    networks: tuple[str, ...]
    k: int
    dropout: float
    seeds: tuple[int, ...]
    training: Training
    budget: Budget

    def runs(self) -> Iterator[tuple[str, LadderRun]]:
        """Plans by the network's name; the seed changes slowest."""
        for seed in self.seeds:
            training = replace(self.training, seed=seed)
            for number, name in enumerate(self.networks):
                folder = f"slow-pooling-{number}-seed{seed}"
                yield name, LadderRun(NETWORKS[name], self.k, self.dropout, training, folder)


TINY = Training(1, 20, 0.01, 0.9, 1e-4, warmup_steps=2, num_train=40, num_test=40)
FULL = Training(3, 100, 0.02, 0.9, 1e-4, warmup_steps=300, augment=Augmentation())
SWEEPS: dict[str, Sweep | None] = {
    "tiny": Sweep(
        ("DeepCNet, l = 4", "fractional: FMP1.41"), 2, 0.2, (0, 1), TINY, Budget(0.005, 2)
    ),
    "quick": None,
    "full": Sweep(tuple(NETWORKS), 16, 0.2, (0, 1, 2), FULL, Budget(2.0)),
}


def run(options: Options) -> list[Record]:
    """Train and time everything of the sweep, or go on where an interrupted run ended."""
    sweep = SWEEPS[options.size]
    if sweep is None:
        return []
    echo = options.echo_of("mnist-slow-pooling")
    data = image_data(options.size, options.data, echo)
    records: list[Record] = []
    earlier = options.earlier("mnist-slow-pooling")
    for name, plan in sweep.runs():
        folder = options.out / "runs" / f"{plan.name}-{options.size}"
        seed = plan.training.seed
        case = {"variant": name, "seed": seed, "field": plan.field}
        made = outcome(plan, data, folder, echo, earlier, **case)
        if made is None:
            continue
        records.append(made)
        if seed == sweep.seeds[0]:
            records += _measure(name, plan, data, sweep.budget)
    return records


def _measure(name: str, plan: LadderRun, data: DataSet, budget: Budget) -> Iterator[Record]:
    """One batch's counts, and the time of a training step on it, sparse and dense."""
    few = tuple(part[:TIMED_BATCH] for part in data.test)
    x, labels = next(iter(plan.loader(few, training=False)))
    model = plan.model()
    case: dict[str, Any] = {
        "variant": name,
        "description": plan.describe(),
        "batch_size": x.batch_size,
        "field": plan.field,
    }
    layers = [asdict(count) for count in summary(model, x).layers]
    yield Record("layers", "sparse", "counts", {**case, "layers": layers})

    timing = time_step(model, x, labels, budget)
    yield Record("step", "sparse", "training step", case, timing)
    if any(isinstance(level.pool, FractionalPool) for level in plan.levels):
        yield Record("step", "dense", "training step", case, None, "has no dense counterpart here")
        return
    twin = dense_twin(model)
    why = too_large(training_bytes(twin, x.batch_size, x.spatial_shape))
    timing = None if why else time_step(twin, x.dense(), labels, budget)
    yield Record("step", "dense", "training step", case, timing, why)


if __name__ == "__main__":
    session.main({"mnist-slow-pooling": run}, __doc__)
