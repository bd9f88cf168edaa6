"""Results of the training experiments and pictures as the scripts would leave them, made up."""

from dataclasses import replace

import numpy as np
from canned import MACHINE
from harness.measuring import Record, Timing
from harness.packing import pack
from harness.results import Section


def canned_training():
    make = {
        "pictures": pictures,
        "pretrained": pretrained,
        "mnist-dropout": dropout,
        "mnist-slow-pooling": pooling,
        "assamese-vgg": lambda: comparison("Assamese characters", ["VGG+, k = 8", "dense CNN"]),
        "assamese-features": lambda: comparison(
            "Assamese characters", ["occupancy", "direction"], seeds=2
        ),
        "pendigits": lambda: comparison(
            "pen digits", ["DeepCNet, direction", "dense CNN"], seeds=3
        ),
    }
    return {name: Section("full", 60.0, MACHINE, build()) for name, build in make.items()}


def training(error, **more):
    case = {
        "data": "MNIST",
        "description": "DeepCNet(4, 20), sparse, 48x48",
        "settings": {"k": 20},
        "parameters": 65_000,
        "epochs": [{"seconds": s, "test_error": 4 * error / s} for s in (20.0, 30.0, 20.0)],
        "test_error": error,
        **more,
    }
    return Record("training", "sparse", "training", case)


def step(milliseconds, **case):
    timing = Timing(milliseconds, 0.5 * milliseconds, 5)
    return Record("step", "sparse", "training step", case, timing)


def dropout():
    settings = [("none", "elementwise", 0.0, 0.0080, 20)]
    for depth in ("constant", "rising"):
        settings += [
            (depth, "elementwise", 0.2, 0.0070, 20),
            (depth, "batchwise", 0.2, 0.0075, 16),
            (depth, "elementwise", 0.5, 0.0060 if depth == "rising" else 0.0100, 20),
            (depth, "batchwise", 0.5, 0.0090, 10),
        ]
    settings.append(("last layer", "elementwise", 0.5, 0.0085, 40))
    records = []
    for depth, kind, rate, error, milliseconds in settings:
        what = {"depth": depth, "kind": kind, "rate": rate}
        for seed in range(2):
            records.append(training(error + 0.0004 * seed, seed=seed, **what))
        records.append(step(milliseconds, seed=0, steps=600, **what))
    return records


def pooling():
    records = []
    for number, name in enumerate(("DeepCNet, l = 4", "fractional: FMP1.41")):
        for seed in range(2):
            error = 0.01 - 0.002 * number + 0.0004 * seed
            records.append(training(error, variant=name, seed=seed))
        case = {"variant": name, "batch_size": 50, "field": 48}
        layer = {"path": "0", "channels": 20}
        layers = [
            {
                **layer,
                "layer": kind,
                "pairs": 900 if cost else 0,
                "sites": 5000,
                "grid": 50_000,
                "multiply_adds": cost,
                "dense_multiply_adds": 10 * cost,
            }
            for kind, cost in (("SparseConv2d", 500_000), ("LeakyReLU", 0), ("SparseConv2d", 100))
        ]
        records.append(Record("layers", "sparse", "counts", {**case, "layers": layers}))
        records.append(step(40.0, **case))
        timing = None if number else Timing(400.0, 300.0, 2)
        records.append(Record("step", "dense", "training step", case, timing))
    return records


def comparison(data, variants, seeds=1):
    records = []
    for number, name in enumerate(variants):
        implementation = "dense" if "dense" in name else "sparse"
        more = {"data": data, "variant": name, "train_samples": 6588, "test_samples": 1647}
        for seed in range(seeds):
            error = 0.02 + 0.01 * number + 0.002 * seed
            run = training(error, seed=seed, interval=[0.9 * error, 1.1 * error], **more)
            records.append(replace(run, implementation=implementation))
        case = {"variant": name, "batch_size": 50, "steps": 100}
        layer = {"path": "0", "layer": "SubMConv2d", "channels": 8, "pairs": 900, "sites": 5000}
        layer |= {"grid": 50_000, "multiply_adds": 10**8, "dense_multiply_adds": 10**9}
        records += [
            Record("layers", implementation, "counts", {**case, "layers": [layer]}),
            Record("memory", implementation, "training", {**case, "megabytes": 123.4}),
            replace(step(40.0, **case), implementation=implementation),
        ]
    return records


def pretrained():
    epochs = [{"error": 0.5 / n, "test_error": 0.05 / n} for n in range(1, 6)]
    one = {"views": 1, "errors": 33, "samples": 10_000, "error": 0.0033, "interval": [0.002, 0.005]}
    case = {
        "network": "mnist",
        "description": "DeepCNet(5, 60), sparse, 96x96",
        "data": "MNIST",
        "parameters": 1_013_410,
        "test_seconds": 5.0,
        "epochs": epochs,
        "results": [one, {**one, "views": 12, "errors": 30, "error": 0.003}],
    }
    return [Record("pretrained", "sparse", "evaluation", case)]


def pictures():
    rng = np.random.default_rng(0)
    samples = {
        "data": "MNIST",
        "samples": pack(rng.integers(0, 255, (10, 6, 6), np.uint8)),
        "views": pack(rng.integers(0, 255, (3, 10, 8, 8), np.uint8)),
        "train_samples": 60_000,
        "test_samples": 10_000,
    }
    climb = {
        "data": "MNIST",
        "network": "DeepCNet(5, 60)",
        "steps": [
            {"name": name, "channels": channels, "active": pack(rng.random((edge, edge)) < 0.3)}
            for name, channels, edge in (("input", 1, 96), ("C3", 60, 94), ("MP2", 60, 47))
        ],
        "multiply_adds": 10_000_000,
        "dense_multiply_adds": 130_000_000,
    }
    strokes = {
        "data": "Assamese characters",
        "name": "assamese",
        "views": pack(rng.integers(0, 255, (3, 10, 9, 9), np.uint8)),
        "train_samples": 6588,
        "test_samples": 1647,
        "classes": 183,
    }
    weights = {"network": "mnist", "weights": pack(rng.normal(size=(20, 3, 3)).astype("f4"))}
    confusions = {
        "data": "Assamese characters",
        "network": "SparseVGG",
        "copies": 12,
        "test_samples": 1647,
        "errors": 26,
        "errors_of_copies": 699,
        "pairs": [
            {
                "classes": [4, label],
                "mistaken": 9 - label,
                "of": 216,
                "mistaken_as_they_are": 1,
                "label": 4,
                "guess": label,
                "images": pack(rng.integers(0, 2, (5, 8, 8), np.uint8)),
            }
            for label in (5, 6, 7)
        ],
    }
    channels = {"direction": 3, "signature 1": 3}
    encodings = {
        "data": "Assamese characters",
        "box": 6.0,
        "window": 9.0,
        "encoded": [
            {
                "name": name,
                "channels": [*"abc"],
                "images": pack(rng.normal(size=(count, 8, 8)).astype("f2")),
            }
            for name, count in channels.items()
        ],
    }
    return [
        Record("encodings", "", "picture", encodings),
        Record("confusions", "sparse", "picture", confusions),
        Record("samples", "", "picture", samples),
        Record("climb", "sparse", "picture", climb),
        Record("strokes", "", "picture", strokes),
        Record("strokes", "", "picture", {**strokes, "name": "pendigits"}),
        Record("filters", "sparse", "picture", weights),
    ]
