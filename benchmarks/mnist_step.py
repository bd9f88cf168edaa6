"""One training step of DeepCNet(5, 60) on MNIST in its 96x96 field: sparse against dense.

    python benchmarks/mnist_step.py --data folder-with-mnist --threads 1 --out out

Both networks have the same weights and see the same 100 images, and give the same outputs. A step
is forward, loss, backward and SGD with momentum; the sparse one builds all its rulebooks. They
take turns in one process, in PyTorch where that is installed, and with this library's own dense
layers.
"""

from __future__ import annotations

from typing import Any

from harness import command_line
from harness.measuring import Budget, Turns, measure_in_turns
from harness.pytorch import import_torch
from harness.threads import use_threads
from layers import check_close
from networks import training_bytes
from peers.torch_baseline import TorchBaseline
from reporting.table import markdown
from reporting.views.timings import BASELINES
from training import subjects
from training.steps import LR, MOMENTUM, training_step

import spconv
from spconv.counting import Summary
from spconv.models import dense_twin

BUDGETS = {"tiny": Budget(0.05, 2), "quick": Budget(20.0, 7), "full": Budget(90.0, 15)}
SPARSE = "sparse"


def steps(subject: subjects.Subject) -> dict[str, Any]:
    """Calls that make one training step, by implementation, after their outputs were compared."""
    twin = dense_twin(subject.model)
    grid = subject.source().dense()
    with spconv.no_grad():
        expected = subject.model.eval()(subject.source()).data
        check_close("our dense layers", twin.eval()(grid).data, expected)
    subject.model.train()
    calls = {SPARSE: subject.step()}
    if import_torch() is not None:
        torch = TorchBaseline(twin, grid.data)
        check_close("dense PyTorch", torch.output(), expected)
        calls["torch"] = torch.network_step(subject.labels, LR, MOMENTUM)
    calls["dense"] = training_step(twin.train(), lambda: grid, subject.labels)
    return calls


def work(counted: Summary, samples: int) -> dict[str, dict[str, float]]:
    """Multiply-adds per sample of a forward pass and of a step, sparse and dense.

    A step adds as many for the gradients of the weights and of the inputs, but the first layer's
    input wants none.
    """
    result = {}
    for name, attribute in ((SPARSE, "multiply_adds"), ("dense", "dense_multiply_adds")):
        layers = [own for count in counted.layers if (own := getattr(count, attribute))]
        forward = sum(layers) / samples
        result[name] = {"forward": forward, "step": 3 * forward - layers[0] / samples}
    return result


def table(turns: Turns, amount: dict[str, dict[str, float]]) -> str:
    """One row for each implementation; ratios are to the sparse step."""
    rows = []
    for name in turns.milliseconds:
        timing, own = turns.timing(name), amount[SPARSE if name == SPARSE else "dense"]
        ratio = turns.ratio(name, SPARSE)
        rows.append(
            [
                BASELINES.get(name, SPARSE),
                f"{own['forward'] / 1e6:,.2f}",
                f"{own['step'] / 1e6:,.2f}",
                f"{own['step'] / amount[SPARSE]['step']:.1f}",
                f"{timing.median_ms:,.1f}",
                f"{timing.min_ms:,.1f}",
                f"{ratio:.2f}",
            ]
        )
    columns = [
        "DeepCNet",
        "million multiply-adds per sample, forward",
        "training step",
        "times the sparse",
        "training step (ms)",
        "minimum (ms)",
        "times the sparse",
    ]
    return markdown(columns, rows)


def main() -> None:
    parser = command_line.parser(__doc__)
    options = parser.parse_args()
    use_threads(options.threads, restart=True)
    subject = subjects.characters(options.size, options.data)
    x = subject.source()
    samples = x.batch_size
    need = training_bytes(dense_twin(subject.model), samples, x.spatial_shape)
    print(f"{subject.name}; dense, a step needs about {need / 1e9:.1f} GB")
    turns = measure_in_turns(steps(subject), BUDGETS[options.size])
    amount = work(spconv.summary(subject.model, x), samples)
    rounds = len(turns.milliseconds[SPARSE])
    sites = len(x) / samples
    heading = (
        f"{subject.name}: {sites:.0f} active sites per sample, {spconv.get_num_threads()} "
        f"threads, {rounds} rounds in turns; ratios are medians over the rounds."
    )
    result = {
        "size": options.size,
        "subject": subject.name,
        "sites_per_sample": sites,
        "milliseconds": turns.milliseconds,
        "ratios": {name: turns.ratio(name, SPARSE) for name in turns.milliseconds},
        "multiply_adds_per_sample": amount,
    }
    command_line.write(options.out, "mnist_step", result, f"{heading}\n\n{table(turns, amount)}")


if __name__ == "__main__":
    main()
