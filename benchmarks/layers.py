"""One layer, sparse against dense: over grid size, share of active sites, channels and kinds.

python benchmarks/layers.py --quick --out out
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from harness.measuring import BaselineMismatch, Budget, Record, Recorder, too_large
from harness.options import Options
from harness.pytorch import import_torch
from peers.torch_baseline import TorchBaseline
from reporting import session
from workloads.sites import Sites, pen_strokes, random_sites, surfaces

import spconv

FORWARD, TRAINING = "forward", "training step"
COLD, WARM = "cold", "warm"


@dataclass(frozen=True)
class Kind:
    """A sparse layer and the dense layer that computes the same at its output sites."""

    name: str
    sparse: str
    kernel_size: int
    stride: int = 1
    padding: int = 0

    @property
    def baseline(self) -> str:
        """Names the dense layer; two kinds may share one."""
        operation = "max-pooling" if self.is_pool else "convolution"
        return f"{operation}, size {self.kernel_size}, stride {self.stride}"

    @property
    def is_pool(self) -> bool:
        return "Pool" in self.sparse

    def make(self, ndim: int, channels: int) -> tuple[Any, Any]:
        """The sparse and the dense layer, with the same weights and no bias."""
        form = {"stride": self.stride, "padding": self.padding}
        sparse_class = getattr(spconv, f"{self.sparse}{ndim}d")
        dense_class = getattr(spconv, f"{'MaxPool' if self.is_pool else 'Conv'}{ndim}d")
        if self.is_pool:
            return sparse_class(self.kernel_size, **form), dense_class(self.kernel_size, **form)
        shape = channels, channels, self.kernel_size
        rng = np.random.default_rng(0)
        sparse = sparse_class(*shape, **form, bias=False, rng=rng)
        dense = dense_class(*shape, **form, bias=False)
        dense.load_state_dict(sparse.state_dict())
        return sparse, dense


SUBMANIFOLD = Kind("submanifold, size 3", "SubMConv", 3, padding=1)
REGULAR = Kind("regular, size 3", "SparseConv", 3, padding=1)
KINDS = (
    SUBMANIFOLD,
    REGULAR,
    Kind("strided, size 3", "SparseConv", 3, stride=2, padding=1),
    Kind("strided, size 2", "SparseConv", 2, stride=2),
    Kind("max-pooling, size 2", "SparseMaxPool", 2, stride=2),
)


@dataclass(frozen=True)
class Plan:
    """Sizes of the sweeps; tuples by dimension are for 2-D and 3-D."""

    fields: tuple[tuple[int, ...], tuple[int, ...]]
    densities: tuple[float, ...]
    channels: tuple[int, ...]
    batch_sizes: tuple[int, int]
    base_fields: tuple[int, int]
    base_channels: int
    budget: Budget


PLANS = {
    "tiny": Plan(((12, 24), (8, 12)), (0.05, 0.5), (4, 8), (2, 1), (24, 12), 4, Budget(0.005, 2)),
    "quick": Plan(
        fields=((32, 64, 96, 128, 192), (16, 32, 48, 64)),
        densities=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        channels=(8, 16, 32, 64),
        batch_sizes=(16, 1),
        base_fields=(96, 48),
        base_channels=32,
        budget=Budget(0.15, patience=2.0),
    ),
    "full": Plan(
        fields=((32, 64, 96, 128, 192, 256, 384, 512), (16, 32, 48, 64, 96, 128, 192)),
        densities=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0),
        channels=(4, 8, 16, 32, 64, 128, 256),
        batch_sizes=(16, 1),
        base_fields=(96, 64),
        base_channels=32,
        budget=Budget(1.0),
    ),
}


@dataclass(frozen=True)
class Point:
    """One workload of a sweep; ``x`` is the value that the sweep varies."""

    experiment: str
    x: float | str
    sites: Sites
    channels: int
    kinds: tuple[Kind, ...]
    dense: bool = True

    def case(self, **more: Any) -> dict[str, Any]:
        """The entries of a record that tell the workload."""
        return {
            "x": self.x,
            "ndim": self.sites.ndim,
            "workload": self.sites.name,
            "spatial_shape": list(self.sites.spatial_shape),
            "batch_size": self.sites.batch_size,
            "sites": len(self.sites),
            "density": self.sites.density,
            "channels": self.channels,
            "label": f"{self.sites.describe()}, {self.channels} channels",
            **more,
        }


def points(plan: Plan) -> Iterator[Point]:
    """All workloads of a plan."""
    stacked = (SUBMANIFOLD, REGULAR)
    for axis, ndim in enumerate((2, 3)):
        batch, base, width = plan.batch_sizes[axis], plan.base_fields[axis], plan.base_channels

        def scene(field: int, ndim: int = ndim, batch: int = batch) -> Sites:
            return pen_strokes(field, batch) if ndim == 2 else surfaces(ndim, field, batch)

        for field in plan.fields[axis]:
            yield Point("grid", field, scene(field), width, stacked)
        # The dense layer takes as long for any number of active sites: it is timed once.
        for density in plan.densities:
            sites = random_sites((base,) * ndim, density, batch)
            is_first = density == plan.densities[0]
            yield Point("density", density, sites, width, stacked, dense=is_first)
        for channels in plan.channels:
            yield Point("channels", channels, scene(base), channels, stacked)
        yield Point("kinds", "all", scene(base), width, KINDS)


def run(options: Options) -> list[Record]:
    """Measure everything of the plan."""
    plan = PLANS[options.size]
    recorder = Recorder("layers", plan.budget, options.echo)
    for point in points(plan):
        measured: set[str] = set()
        for kind in point.kinds:
            with_dense = point.dense and kind.baseline not in measured
            measured.add(kind.baseline)
            _measure_layer(recorder, point, kind, with_dense)
    return recorder.records


def _measure_layer(recorder: Recorder, point: Point, kind: Kind, with_dense: bool) -> None:
    sites, channels = point.sites, point.channels
    sparse, dense = kind.make(sites.ndim, channels)
    features = spconv.Tensor(sites.features(channels), requires_grad=True)
    # The zero ground state makes a layer equal to the dense one at all sites; a submanifold
    # layer is used without.
    ground = None if kind is SUBMANIFOLD else np.zeros(channels, np.float32)

    def new_tensor() -> spconv.SparseConvTensor:
        return sites.tensor(features, ground)

    kept = new_tensor()
    with spconv.no_grad():
        y = sparse(kept)
    rulebook = kept.rulebooks.get(kept.sites, sparse.geometry)
    gradient = np.random.default_rng(1).standard_normal(y.features.shape, dtype=np.float32)
    for state, source in ((COLD, new_tensor), (WARM, lambda: kept)):
        case = point.case(
            kind=kind.name,
            baseline=kind.baseline,
            rulebook=state,
            out_sites=len(y),
            pairs=rulebook.num_pairs,
        )
        case["label"] += f", {kind.name}, {state}"
        forward, step = _forward(sparse, source), _step(sparse, source, gradient)
        recorder.time(point.experiment, "sparse", FORWARD, case, forward)
        recorder.time(point.experiment, "sparse", TRAINING, case, step)
    if with_dense:
        _measure_dense(recorder, point, kind, dense, y)


def _measure_dense(
    recorder: Recorder,
    point: Point,
    kind: Kind,
    dense: spconv.Module,
    sparse_output: spconv.SparseConvTensor,
) -> None:
    sites, channels = point.sites, point.channels
    case = point.case(baseline=kind.baseline)
    case["label"] += f", {kind.baseline}"
    if point.experiment == "density":
        case.update(x=None, sites=None, density=None)
    implementations = ["dense"] if import_torch() is None else ["dense", "torch"]
    out_cells = sites.batch_size * prod(sparse_output.spatial_shape)
    # Input, padded input and output, and their gradients.
    why = too_large(4 * 3 * channels * (sites.num_cells + out_cells))
    if why:
        for implementation in implementations:
            for operation in (FORWARD, TRAINING):
                recorder.skip(point.experiment, implementation, operation, case, why)
        return
    grid = sites.tensor(sites.features(channels)).dense().data
    x = spconv.Tensor(grid, requires_grad=True)
    with spconv.no_grad():
        expected = dense(x).data
    check_at_sites(kind.name, sparse_output, expected)
    gradient = np.random.default_rng(1).standard_normal(expected.shape, dtype=np.float32)
    # As the layer behind would hand it over: with the strides of the output.
    gradient = np.moveaxis(np.ascontiguousarray(np.moveaxis(gradient, 1, -1)), -1, 1)

    def same_tensor() -> spconv.Tensor:
        return x

    forward, step = _forward(dense, same_tensor), _step(dense, same_tensor, gradient)
    recorder.time(point.experiment, "dense", FORWARD, case, forward)
    recorder.time(point.experiment, "dense", TRAINING, case, step)
    if "torch" in implementations:
        torch = TorchBaseline(dense, grid)
        check_close(f"{kind.name} in PyTorch", torch.output(), expected)
        recorder.time(point.experiment, "torch", FORWARD, case, torch.forward())
        recorder.time(point.experiment, "torch", TRAINING, case, torch.layer_step(gradient))


def _forward(layer: spconv.Module, source: Callable[[], Any]) -> Callable[[], object]:
    def call() -> object:
        with spconv.no_grad():
            return layer(source())

    return call


def _step(
    layer: spconv.Module, source: Callable[[], Any], gradient: np.ndarray
) -> Callable[[], object]:
    """Forward and backward, the gradient of the input included."""

    def values(x: Any) -> spconv.Tensor:
        return x.features if isinstance(x, spconv.SparseConvTensor) else x

    def call() -> None:
        x = source()
        values(x).grad = None
        layer.zero_grad()
        values(layer(x)).backward(gradient)

    return call


def check_at_sites(name: str, y: spconv.SparseConvTensor, grid: np.ndarray) -> None:
    """Compare a sparse output with the dense one at the sparse one's sites."""
    batch, *coordinates = y.indices.T
    check_close(name, y.features.data, grid[(batch, slice(None), *coordinates)])


def check_close(name: str, ours: np.ndarray, expected: np.ndarray) -> None:
    """Refuse to compare the times of things that are not the same.

    Raises
    ------
    BaselineMismatch
        If they differ by more than float32 rounding explains.
    """
    scale = float(np.abs(expected).max(initial=1e-30))
    difference = float(np.abs(ours - expected).max(initial=0.0)) / scale
    if not difference < 1e-4:
        raise BaselineMismatch(
            f"{name}: the implementations differ by {difference:.2g} of the largest value, "
            "so their times cannot be compared"
        )


if __name__ == "__main__":
    session.main({"layers": run}, __doc__)
