"""Whole training steps on the GPU: a U-Net on a scan, an epoch of a DeepCNet on characters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from unet import UNet
from workloads import Sites

import spconv
from spconv.data import SparseLoader, load_mnist, load_strokes
from spconv.models import DeepCNet

Timer = Callable[[Callable[[], object]], float]


def unet_step(
    sites: Sites, device: str, widths: tuple[int, ...] = (32, 64, 128, 256)
) -> Callable[[], float]:
    """A training step, rulebooks and optimizer included; returns the loss."""
    net = UNet(widths, num_classes=19).to(device)
    sgd = spconv.optim.SGD(net.named_parameters(), lr=0.01, momentum=0.9)
    features = sites.features(4)
    labels = np.random.default_rng(0).integers(0, 19, len(sites))

    def step() -> float:
        x = sites.tensor(features).to(device)
        loss = spconv.functional.cross_entropy(net(x), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss.item()

    return step


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
    sgd = spconv.optim.SGD(net.named_parameters(), lr=0.01, momentum=0.9)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        for x, target in loader:
            loss = spconv.functional.cross_entropy(net(x.to(device)), target)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        value = loss.item()  # waits for the device
        seconds = time.perf_counter() - began
    return {"data": name, "samples": len(labels), "seconds": seconds, "loss": value}


def time_networks(timer: Timer, sites: Sites, data: Path | None) -> dict[str, Any]:
    return {
        "U-Net step ms": timer(unet_step(sites, "cuda")),
        "U-Net sites": len(sites),
        "DeepCNet epoch": deepcnet_epoch(data, "cuda"),
    }
