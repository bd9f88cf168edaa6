"""How long rulebooks take to build: kinds of layers, dimensions, numbers of sites.

Laser scans have by far the largest grids, too large for a bit for every cell.

python benchmarks/rulebooks.py --quick --out out
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.measuring import Budget, Record, Recorder
from harness.options import Options
from reporting import session
from workloads.lidar import lidar_scan
from workloads.sites import Sites, pen_strokes, surfaces

from spconv.geometry import Geometry
from spconv.rulebook import Rulebook, build
from spconv.sites import SiteSet

SHUFFLED = "submanifold, size 3, shuffled sites"
KINDS: dict[str, dict[str, Any]] = {
    "submanifold, size 3": {"kernel_size": 3, "submanifold": True},
    SHUFFLED: {"kernel_size": 3, "submanifold": True},
    "regular, size 3": {"kernel_size": 3, "padding": 1},
    "strided, size 3": {"kernel_size": 3, "stride": 2, "padding": 1},
    "strided, size 2": {"kernel_size": 2, "stride": 2},
    "transposed, size 2": {"kernel_size": 2, "stride": 2, "transposed": True},
}


@dataclass(frozen=True)
class Plan:
    """Characters on fields of 96 x 96, extents of grids, and a scan's voxels in metres."""

    batches: tuple[int, ...]
    extents_3d: tuple[int, ...]
    voxels: tuple[float, ...]
    extents_4d: tuple[int, ...]
    budget: Budget


PLANS = {
    "tiny": Plan((2, 4), (8, 12), (10.0, 5.0), (5, 6), Budget(0.005, 2)),
    "quick": Plan((4, 40, 400), (20, 60, 180), (0.4, 0.05), (8, 16, 30), Budget(0.2)),
    "full": Plan(
        (4, 16, 64, 256, 1024, 4096),
        (20, 40, 80, 160, 320, 560),
        (0.4, 0.2, 0.1, 0.05),
        (8, 12, 18, 28, 42, 60),
        Budget(),
    ),
}


def workloads(plan: Plan) -> Iterator[Sites]:
    """Site sets of growing size in 2-D, 3-D and 4-D."""
    for batch in plan.batches:
        yield pen_strokes(96, batch)
    for extent in plan.extents_3d:
        yield surfaces(3, extent)
    for voxel in plan.voxels:
        yield lidar_scan(voxel)
    for extent in plan.extents_4d:
        yield surfaces(4, extent)


def run(options: Options) -> list[Record]:
    """Measure everything of the plan."""
    plan = PLANS[options.size]
    recorder = Recorder("rulebooks", plan.budget, options.echo)
    for sites in workloads(plan):
        for kind in KINDS:
            _measure(recorder, sites, kind)
    return recorder.records


def _measure(recorder: Recorder, sites: Sites, kind: str) -> None:
    geometry = Geometry.make(sites.ndim, **KINDS[kind])
    indices = sites.shuffled().indices if kind == SHUFFLED else sites.indices

    def call() -> Rulebook:
        # A new set of sites, as every batch brings one: no keys and no order are cached.
        fresh = SiteSet(indices, sites.spatial_shape, sites.batch_size)
        return build(fresh, geometry, "benchmark")

    recorder.time("kinds", "sparse", "rulebook", _case(sites, kind, call()), call)


def _case(sites: Sites, kind: str, book: Rulebook) -> dict[str, object]:
    return {
        "kind": kind,
        "ndim": sites.ndim,
        "workload": sites.name,
        "spatial_shape": list(sites.spatial_shape),
        "batch_size": sites.batch_size,
        "sites": len(sites),
        "out_sites": len(book.out_sites),
        "pairs": book.num_pairs,
        "label": f"{sites.describe()}, {kind}",
    }


if __name__ == "__main__":
    session.main({"rulebooks": run}, __doc__)
