"""Results as the scripts would leave them, made up."""

from harness.measuring import Record, Timing
from harness.results import Section

MACHINE = {
    "cpu": "Made-up <CPU>",
    "cores": 2,
    "memory_gb": 8.0,
    "system": "Linux",
    "python": "3.11",
    "numpy": "2.4",
    "blas": "openblas 0.3",
    "torch": None,
    "spconv": "0.1.0",
    "instruction_set": "avx2",
    "threads": 2,
    "load": 0.1,
    "date": "2026-01-01 00:00 UTC",
}
CONVOLUTION = "convolution, size 3, stride 1"


def canned(*, torch=False, data="MNIST"):
    """All four sections; ``torch`` makes PyTorch three times faster than NumPy."""
    machine = {**MACHINE, "torch": "2.9" if torch else None}
    build = {"layers": layers, "rulebooks": rulebooks, "networks": networks}
    results = {name: Section("quick", 60.0, machine, make(torch)) for name, make in build.items()}
    results["mnist"] = Section("quick", 300.0, machine, trainings(data))
    return results


def record(experiment, implementation, operation, case, milliseconds):
    timing = Timing(milliseconds, 0.9 * milliseconds, 5)
    return Record(experiment, implementation, operation, case, timing)


def dense(experiment, operation, case, milliseconds, torch):
    records = [record(experiment, "dense", operation, case, milliseconds)]
    if torch:
        records.append(record(experiment, "torch", operation, case, milliseconds / 3))
    return records


def layers(torch):
    sweeps = {
        "grid": [(32, 32, 0.1, 32), (64, 64, 0.05, 32)],
        "density": [(0.01, 48, 0.01, 32), (1.0, 48, 1.0, 32)],
        "channels": [(8, 48, 0.1, 8), (16, 48, 0.1, 16)],
        "kinds": [("all", 48, 0.1, 32)],
    }
    records = []
    for experiment, points in sweeps.items():
        for ndim in (2, 3):
            for operation, factor in (("forward", 1), ("training step", 3)):
                for number, (x, edge, density, channels) in enumerate(points):
                    base = {
                        "x": x,
                        "ndim": ndim,
                        "workload": "pen strokes",
                        "spatial_shape": [edge] * ndim,
                        "batch_size": 4,
                        "channels": channels,
                        "baseline": CONVOLUTION,
                    }
                    sites = {"sites": 1000, "density": density, "pairs": 9000, "out_sites": 1200}
                    for kind in ("submanifold, size 3", "regular, size 3"):
                        for rulebook, cost in (("cold", 2.0), ("warm", 1.0)):
                            case = {**base, **sites, "kind": kind, "rulebook": rulebook}
                            time = 40 * factor * cost * density
                            records.append(record(experiment, "sparse", operation, case, time))
                    if experiment == "density" and number:
                        continue
                    case = {**base, "x": None} if experiment == "density" else base
                    records += dense(experiment, operation, case, 50.0 * factor, torch)
    case = {**base, "x": 512, "spatial_shape": [512, 512], "ndim": 2}
    records.append(Record("grid", "dense", "forward", case, None, "would need about 9.9 GB"))
    return records


def rulebooks(torch):
    return [
        record(
            "kinds",
            "sparse",
            "rulebook",
            {
                "kind": kind,
                "ndim": ndim,
                "workload": "spheres and planes",
                "sites": sites,
                "out_sites": 2 * sites,
                "pairs": 9 * sites,
            },
            sites / 10_000,
        )
        for ndim in (2, 3, 4)
        for sites in (1_000, 10_000)
        for kind in ("submanifold, size 3", "regular, size 3")
    ]


def networks(torch):
    records = []
    for l, field in ((4, 48), (5, 96)):  # noqa: E741
        case = {
            "x": field,
            "l": l,
            "k": 32,
            "field": field,
            "batch_size": 16,
            "sites": 2_000,
            "density": 0.04,
            "parameters": 1_000_000,
        }
        for name, work in (("sparse", 1_000 * field), ("dense", 10 * field**2)):
            counted = {**case, "multiply_adds": work}
            records.append(Record("work", name, "multiply-adds", counted, None, "counted"))
        for operation in ("training step", "inference"):
            records.append(record("fields", "sparse", operation, case, field / 4))
            records += dense("fields", operation, case, field**2 / 10, torch)
    return records


def trainings(data):
    epochs = [{"seconds": 60.0, "test_error": error} for error in (0.03, 0.01)]
    shared = {
        "data": data,
        "parameters": 100_000,
        "epochs": epochs,
        "train_samples": 60_000,
        "train_seconds": 120.0,
        "test_seconds": 2.0,
        "test_samples": 10_000,
    }
    return [
        Record(
            "training",
            implementation,
            "training",
            {
                **shared,
                "network": network,
                "description": f"{network}, {implementation}",
                "test_errors": errors,
                "test_error": errors / 10_000,
                "interval": [0.8 * errors / 10_000, 1.2 * errors / 10_000],
            },
        )
        for network, implementation, errors in (
            ("DeepCNet", "sparse", 60),
            ("simple CNN", "dense", 100),
        )
    ]
