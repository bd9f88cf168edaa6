"""Whole training steps on the GPU: a U-Net on a scan, an epoch of a DeepCNet on characters."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from reporting.table import NOTHING, markdown
from training.steps import sgd, training_step, update
from workloads.sites import Sites

import spconv
from on_gpu import pytorch
from spconv.data import SparseLoader, load_mnist, load_strokes
from spconv.models import DeepCNet, SparseUNet, dense_twin
from spconv.ops.settings import CUDA_PRECISIONS

Timer = Callable[[Callable[[], object]], float]

DENSE_BATCHES = 10


def unet_step(
    sites: Sites, device: str, widths: tuple[int, ...] = (32, 64, 128, 256)
) -> Callable[[], float]:
    """A training step, rulebooks and optimizer included; returns the loss."""
    net = SparseUNet(widths, in_channels=4, num_classes=19).to(device)
    features = sites.features(4)
    labels = np.random.default_rng(0).integers(0, 19, len(sites))
    step = training_step(net, lambda: sites.tensor(features).to(device), labels)
    return lambda: step().item()


def deepcnet_epoch(
    data: Path | None, device: str, limit: int | None = None, download: bool = True
) -> dict[str, Any]:
    """Seconds of the second epoch; synthetic strokes where MNIST is not to be had."""
    try:
        name, (images, labels) = "MNIST", load_mnist("train", data, download)
    except (OSError, ValueError):
        name, (images, labels) = "synthetic strokes", load_strokes("train", limit or 10_000)
    images, labels = images[:limit], labels[:limit]
    net = DeepCNet(4, 32, in_channels=1, num_classes=10)
    loader = SparseLoader(images, labels, batch_size=100, field=net.field, shuffle=True)
    net.to(device)
    optimizer = sgd(net)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        for x, target in loader:
            loss = update(net, optimizer, x.to(device), target)
        value = loss.item()  # waits for the device
        seconds = time.perf_counter() - began
    batches = [
        (np.ascontiguousarray(x.dense().data), target)
        for x, target in itertools.islice(loader, DENSE_BATCHES)
    ]
    return {
        "data": name,
        "samples": len(labels),
        "seconds": seconds,
        "ms per batch": 1e3 * seconds / len(loader),
        "loss": value,
        "torch dense ms per batch": pytorch.time_dense_steps(
            dense_twin(net.to("cpu")), batches, device
        ),
    }


def unet_repeats(
    sites: Sites, device: str, widths: tuple[int, ...] = (32, 64, 128, 256), steps: int = 3
) -> bool:
    """Whether two trainings from one seed give the same losses, bit for bit."""
    runs = []
    for _ in range(2):
        step = unet_step(sites, device, widths)
        runs.append([step() for _ in range(steps)])
    return runs[0] == runs[1]


def time_networks(timer: Timer, sites: Sites, data: Path | None) -> dict[str, Any]:
    """A U-Net step in every arithmetic of float32 arrays, its repeatability, a DeepCNet epoch."""
    steps = {}
    for kind in CUDA_PRECISIONS:
        spconv.set_cuda_precision(kind)
        steps[kind] = timer(unet_step(sites, "cuda"))
    spconv.set_cuda_precision("float32")
    return {
        "U-Net step ms": steps,
        "U-Net sites": len(sites),
        "U-Net same bits": unet_repeats(sites, "cuda"),
        "DeepCNet epoch": deepcnet_epoch(data, "cuda"),
    }


def table(found: dict[str, Any]) -> str:
    """What :func:`time_networks` found, as Markdown."""
    unet = f"U-Net, {found['U-Net sites']:,} voxels, training step"
    rows = [[unet, kind, f"{ms:.1f} ms", NOTHING] for kind, ms in found["U-Net step ms"].items()]
    epoch = found["DeepCNet epoch"]
    network = f"DeepCNet(4, 32), {epoch['data']}, 100 of an epoch's {epoch['samples']:,}"
    dense = epoch["torch dense ms per batch"]
    rows.append(
        [
            network,
            "float32",
            f"{epoch['ms per batch']:.1f} ms",
            NOTHING if dense is None else f"{dense:.1f} ms",
        ]
    )
    return markdown(["network", "arithmetic", "time", "PyTorch dense"], rows, num_words=2) + "\n"
