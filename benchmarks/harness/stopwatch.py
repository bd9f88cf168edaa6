"""Where the time of a training step goes, by what is computed.

The library has no timers. Its operations, layers and the closures of its tape are wrapped from
outside, for the time of a ``with`` block; every moment is counted once, for the innermost label.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np

import spconv
from spconv import layers
from spconv.layers.conv import SparseConv, SparseConvTranspose, SparseInverseConv, SubMConv
from spconv.layers.pool import SparseAvgPool, SparseMaxPool
from spconv.ops import Ops, get_ops
from spconv.rulebook import Rulebook

FORWARD, INPUT_GRADIENT = "convolution, forward", "convolution, input gradient"
WEIGHT_GRADIENT, PRODUCTS = "convolution, weight gradient", "dense products"
ARITHMETIC = (FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, PRODUCTS)
RULEBOOK, POOLING, ACTIVATION, DROPOUT = "rulebooks", "pooling", "activation", "dropout"
NORMALIZATION, SUMS = "normalization", "bias and ground-state gradients"
GROUND = "around convolutions"
"""The ground state's products, deviations from it, checks."""
JOINS, READ_OUT = "sums of features", "read-out"
LOSS, OPTIMIZER = "loss", "optimizer"
LOADER, REST = "waiting for the loader", "tape, Python and the rest"

OPERATIONS = {
    "build_rulebook": RULEBOOK,
    "weight_gradient": WEIGHT_GRADIENT,
    "matmul": PRODUCTS,
    "matmul_gradient": PRODUCTS,
    "small_matmul": GROUND,
    "sum_pairs": POOLING,
    "max_pairs": POOLING,
    "max_ground_gradient": POOLING,
    "max_pairs_gradient": POOLING,
    "sample_counts": POOLING,
    "sum_samples": POOLING,
    "max_samples": POOLING,
    "max_samples_gradient": POOLING,
    "spread_samples": POOLING,
    "union_sites": JOINS,
    "rows_among": JOINS,
    "scatter_add": JOINS,
    "add_rectified": ACTIVATION,
    "leaky_relu": ACTIVATION,
    "leaky_relu_gradient": ACTIVATION,
    "gate": ACTIVATION,
    "gate_gradient": ACTIVATION,
    "dropout": DROPOUT,
    "sum_rows": SUMS,
    "batch_norm": NORMALIZATION,
    "batch_norm_gradient": NORMALIZATION,
    "track": NORMALIZATION,
    "mean_and_squares": NORMALIZATION,
    "sum_centred_squares": NORMALIZATION,
    "sum_centred_products": NORMALIZATION,
    "layer_norm": NORMALIZATION,
    "layer_norm_gradient": NORMALIZATION,
    "normalize": NORMALIZATION,
    "normalize_samples": NORMALIZATION,
    "normalize_sums": NORMALIZATION,
    "normalize_gradient": NORMALIZATION,
    "moments_gradient": NORMALIZATION,
    "cross_entropy": LOSS,
    "cross_entropy_gradient": LOSS,
    "sgd_step": OPTIMIZER,
    "unscale": OPTIMIZER,
    "adam_step": OPTIMIZER,
}
"""Operations of the engine; one that is not named here counts under its own name."""

CLOSURES = {
    "spconv.functional.conv": GROUND,
    "spconv.functional.pool": POOLING,
    "spconv.functional.activation": ACTIVATION,
    "spconv.functional.dropout": DROPOUT,
    "spconv.functional.norm": NORMALIZATION,
    "spconv.functional.linear": READ_OUT,
    "spconv.functional.join": JOINS,
    "spconv.functional.loss": LOSS,
    "spconv.functional.regression": LOSS,
    "spconv.autograd": JOINS,
    "spconv.tensor": READ_OUT,
}
"""Modules whose backward closures count, beyond the operations in them, under this label."""

LAYERS: tuple[tuple[Any, str], ...] = (
    ((SparseConv, SubMConv, SparseConvTranspose, SparseInverseConv), GROUND),
    ((SparseMaxPool, SparseAvgPool), POOLING),
    ((layers.LeakyReLU, layers.ReLU), ACTIVATION),
    ((layers.Dropout, layers.BatchwiseDropout), DROPOUT),
    ((layers.BatchNorm,), NORMALIZATION),
    ((layers.Flatten, layers.Linear, layers.ToDense), READ_OUT),
)


@dataclass
class Stopwatch:
    """Seconds, calls and multiply-adds by label.

    Examples
    --------
    >>> now = iter([0.0, 1.0, 3.0, 6.0])
    >>> watch = Stopwatch(lambda: next(now))
    >>> with watch.label("outer"):
    ...     with watch.label("inner"):
    ...         pass
    >>> dict(watch.seconds)
    {'outer': 4.0, 'inner': 2.0}
    """

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    multiply_adds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def label(self, name: str) -> Iterator[None]:
        """Count the block's time for ``name``, except for blocks inside it."""
        self.calls[name] += 1
        self.lap()
        self._open.append(name)
        try:
            yield
        finally:
            self.lap()
            self._open.pop()

    def lap(self) -> float:
        """Count up to now; what the clock says."""
        now = self.clock()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
        return now

    def reset(self) -> None:
        """Forget what was counted; open labels go on from the last lap."""
        for counts in (self.seconds, self.calls, self.multiply_adds):
            counts.clear()

    def wrapped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The same function on the watch."""

        def call(*arguments: Any, **options: Any) -> Any:
            with self.label(name):
                return function(*arguments, **options)

        return call


@contextmanager
def watched(watch: Stopwatch, model: spconv.Module, optimizer: Any) -> Iterator[None]:
    """Put the engine's operations, the model's layers, the tape and the optimizer on the watch."""
    ops = get_ops(np.empty(0))
    with ExitStack() as stack:

        def replace(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(patch.object(owner, name, value))

        for name in vars(Ops):
            if not name.startswith("_"):
                replace(ops, name, _operation(watch, name, getattr(ops, name)))
        for module, label in CLOSURES.items():
            owner: Any = import_module(module)
            replace(owner, "record", _recorder(watch, owner.record, label))
        # In the classes: an instance with a forward of its own would not be merged with others.
        owners = {}
        for _, layer in model.named_modules():
            found = [label for kinds, label in LAYERS if isinstance(layer, kinds)]
            if found:
                owners[next(c for c in type(layer).__mro__ if "forward" in vars(c))] = found[0]
        for owner, label in owners.items():
            replace(owner, "forward", watch.wrapped(owner.forward, label))
        replace(spconv.Tensor, "__add__", watch.wrapped(spconv.Tensor.__add__, JOINS))
        inverse = vars(Rulebook)["inverse"].fget
        replace(Rulebook, "inverse", property(watch.wrapped(inverse, RULEBOOK)))
        for name in ("step", "zero_grad"):
            replace(optimizer, name, watch.wrapped(getattr(optimizer, name), OPTIMIZER))
        yield


def _operation(watch: Stopwatch, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        label = OPERATIONS.get(name, name)
        if name == "convolve":
            label = INPUT_GRADIENT if options.get("transposed") else FORWARD
        with watch.label(label):
            result = function(*arguments, **options)
        watch.multiply_adds[label] += _multiply_adds(name, arguments, result)
        return result

    return call


def _multiply_adds(name: str, arguments: tuple[Any, ...], result: Any) -> int:
    if name == "convolve":
        _, weight, rulebook, *_ = arguments
        return rulebook.num_pairs * weight.shape[1] * weight.shape[2]
    if name == "weight_gradient":
        return arguments[2].num_pairs * result.shape[1] * result.shape[2]
    if name == "matmul":
        return arguments[0].shape[0] * arguments[1].size
    return arguments[0].shape[0] * result.size if name == "matmul_gradient" else 0


def _recorder(watch: Stopwatch, record: Callable[..., Any], label: str) -> Callable[..., Any]:
    def call(data: Any, inputs: Any, backward: Callable[..., Any]) -> spconv.Tensor:
        return record(data, inputs, watch.wrapped(backward, label))

    return call
