"""The whole DeepCNet against the same network run densely, over field sizes.

python benchmarks/networks.py --quick --out out
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from harness.measuring import Budget, Record, Recorder, too_large
from harness.options import Options
from harness.pytorch import import_torch
from layers import check_close
from peers.torch_baseline import TorchBaseline
from reporting import session
from training.steps import LR, MOMENTUM, training_step
from workloads.sites import pen_strokes

import spconv
from spconv.counting import Summary
from spconv.models import DeepCNet, dense_twin

INFERENCE, TRAINING, MULTIPLY_ADDS = "inference", "training step", "multiply-adds"
NUM_CLASSES = 10


@dataclass(frozen=True)
class Plan:
    """DeepCNet(l, k) has a field of 3 * 2**l; one batch of pen strokes on each."""

    ls: tuple[int, ...]
    k: int
    batch_size: int
    budget: Budget


PLANS = {
    "tiny": Plan((1, 2), 2, 2, Budget(0.005, 2)),
    "quick": Plan((3, 4, 5, 6, 7), 60, 32, Budget(0.6)),
    "full": Plan((3, 4, 5, 6, 7), 60, 32, Budget(6.0, 5)),
}


def run(options: Options) -> list[Record]:
    """Measure everything of the plan."""
    plan = PLANS[options.size]
    recorder = Recorder("networks", plan.budget, options.echo)
    for l in plan.ls:  # noqa: E741 - the paper's name
        _measure(recorder, l, plan.k, plan.batch_size)
    return recorder.records


def _measure(recorder: Recorder, l: int, k: int, batch_size: int) -> None:  # noqa: E741
    model = DeepCNet(l, k, in_channels=1, num_classes=NUM_CLASSES)
    sites = pen_strokes(model.field, batch_size)
    features = np.random.default_rng(0).uniform(0.1, 1.0, (len(sites), 1)).astype(np.float32)
    ground = np.zeros(1, np.float32)
    labels = np.arange(batch_size) % NUM_CLASSES
    case = {
        "x": model.field,
        "l": l,
        "k": k,
        "field": model.field,
        "batch_size": batch_size,
        "workload": sites.name,
        "sites": len(sites),
        "density": sites.density,
        "parameters": model.num_parameters(),
        "label": f"DeepCNet({l}, {k}), {sites.describe()}",
    }

    def new_tensor() -> spconv.SparseConvTensor:
        return sites.tensor(features, ground)

    twin = dense_twin(model)
    grid = new_tensor().dense()
    recorder.records += work_records(spconv.summary(model, new_tensor()), case)
    with spconv.no_grad():
        expected = model.eval()(new_tensor()).data
    why = too_large(training_bytes(twin, batch_size, (model.field,) * 2))
    implementations: list[str] = ["dense"] if import_torch() is None else ["dense", "torch"]
    if why:
        for implementation in implementations:
            for operation in (INFERENCE, TRAINING):
                recorder.skip("fields", implementation, operation, case, why)
    else:
        with spconv.no_grad():
            check_close(f"dense {case['label']}", twin.eval()(grid).data, expected)
        if "torch" in implementations:
            torch = TorchBaseline(twin, grid.data)
            check_close(f"PyTorch's {case['label']}", torch.output(), expected)
            step = torch.network_step(labels, LR, MOMENTUM)
            recorder.time("fields", "torch", TRAINING, case, step)
            recorder.time("fields", "torch", INFERENCE, case, torch.forward())
        _time_both(recorder, "dense", case, twin, lambda: grid, labels)
    # A new tensor for every step: the rulebooks of all layers are part of the time.
    _time_both(recorder, "sparse", case, model, new_tensor, labels)


def work_records(counted: Summary, case: dict[str, Any]) -> list[Record]:
    """The multiply-adds of a forward pass over the batch, sparse and dense: counted, not timed."""
    totals = {"sparse": counted.multiply_adds, "dense": counted.dense_multiply_adds}
    return [
        Record("work", name, MULTIPLY_ADDS, {**case, "multiply_adds": total}, None, "counted")
        for name, total in totals.items()
    ]


def _time_both(
    recorder: Recorder,
    implementation: str,
    case: dict[str, Any],
    model: spconv.Module,
    source: Callable[[], Any],
    labels: np.ndarray,
) -> None:
    def inference() -> object:
        with spconv.no_grad():
            return model(source())

    model.train()
    recorder.time("fields", implementation, TRAINING, case, training_step(model, source, labels))
    model.eval()
    recorder.time("fields", implementation, INFERENCE, case, inference)


def training_bytes(
    twin: spconv.SparseSequential, batch_size: int, spatial_shape: tuple[int, ...]
) -> float:
    """About how much memory a training step of a dense network takes.

    Every layer's output is kept for backward, and the two largest have gradients at one time.
    """
    channels, shape = 1, spatial_shape
    outputs = [batch_size * prod(shape) * channels]
    for layer in twin:
        geometry = getattr(layer, "geometry", None)
        if geometry is not None:
            shape = geometry.output_shape(shape)
            channels = getattr(layer, "out_channels", channels)
        outputs.append(batch_size * prod(shape) * channels)
    return 4.0 * (sum(outputs) + 2 * max(outputs))


if __name__ == "__main__":
    session.main({"networks": run}, __doc__)
