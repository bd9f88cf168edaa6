"""The training steps that several benchmarks look at: characters in 2-D, a laser scan in 3-D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from plans.recipes import ASSAMESE
from workloads.datasets import (
    SYNTHETIC,
    DataSet,
    image_data,
    stroke_data,
)
from workloads.lidar import lidar_scan
from workloads.sites import surfaces

import spconv
from spconv.data import encode_images, make_strokes
from spconv.models import DeepCNet, SparseUNet
from training.steps import fresh, training_step

NUM_DIGITS, SCAN_CHANNELS, SCAN_CLASSES = 10, 4, 19
TINY: dict[str, Any] = {
    "mnist": {"l": 4, "k": 2},
    "assamese": {"spec": (("C", 2), "MP", ("C", 2, 2), "MP"), "readout": 4},
}
"""What makes the networks of the recipes small enough for a check that everything runs."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, a batch, and what to learn of it.

    Parameters
    ----------
    name : str
        The network and its data, in words.
    model : Module
        Gives logits (N, classes).
    source : callable
        Gives the batch as a new SparseConvTensor: no rulebook is cached in it.
    labels : int array (N,)
    """

    name: str
    model: spconv.Module
    source: Callable[[], spconv.SparseConvTensor]
    labels: np.ndarray

    def step(self) -> Callable[[], spconv.Tensor]:
        """A call that makes a training step, rulebooks and optimizer included; returns the loss."""
        return training_step(self.model, self.source, self.labels)


@cache
def images(size: str, data: str | None) -> DataSet:
    """MNIST, or what takes its place; the small form has a few synthetic images."""
    return image_data(size, data, print)


def training_data(name: str, size: str, data: str | None) -> DataSet:
    """A data set by name; what takes its place where there are neither files nor a network."""
    if name == "mnist":
        return images(size, data)
    try:
        return stroke_data(name, size, data)
    except FileNotFoundError as error:
        print(f"{error}\nTraining on {SYNTHETIC} instead.")
        return DataSet(SYNTHETIC, make_strokes(6_600), make_strokes(1_000))


def characters(size: str, data: str | None) -> Subject:
    """DeepCNet(5, 60) on the first 100 training images in the middle of its 96x96 field."""
    depth, width, batch_size = (4, 2, 4) if size == "tiny" else (5, 60, 100)
    dataset = images(size, data)
    pixels, labels = dataset.train
    model = DeepCNet(depth, width, in_channels=1, num_classes=NUM_DIGITS)
    indices, features = encode_images(pixels[:batch_size], model.field)
    shape, ground = (model.field,) * 2, np.zeros(1, np.float32)
    x = spconv.SparseConvTensor(features, indices, shape, batch_size, ground, check=False)
    name = f"DeepCNet({depth}, {width}), {dataset.name}, {model.field}x{model.field}"
    return Subject(f"{name}, batch {batch_size}", model, fresh(x), labels[:batch_size])


def handwriting(size: str, data: str | None) -> Subject:
    """The VGG+ network of 97,295 parameters on a batch of distorted Assamese characters."""
    plan = ASSAMESE.plan
    if size == "tiny":
        plan = replace(plan, **TINY[ASSAMESE.data])
    dataset = training_data(ASSAMESE.data, size, data)
    x, labels = next(iter(plan.loader(dataset.train, training=True)))
    name = f"{plan.describe()}, {dataset.name}, batch {len(labels)}"
    return Subject(name, plan.model(), fresh(x), labels)


def scan(size: str) -> Subject:
    """A U-Net that classifies the voxels of a simulated laser scan."""
    tiny = size == "tiny"
    widths = (2, 4) if tiny else (32, 64, 128, 256)
    sites = lidar_scan(1.0, beams=16, columns=128) if tiny else lidar_scan()
    model = SparseUNet(widths, SCAN_CHANNELS, SCAN_CLASSES)
    features = sites.features(SCAN_CHANNELS)
    labels = np.random.default_rng(0).integers(0, SCAN_CLASSES, len(sites))
    name = f"U-Net {', '.join(map(str, widths))}, {sites.name}, {len(sites):,} voxels"
    return Subject(name, model, lambda: sites.tensor(features), labels)


def layer(size: str) -> Subject:
    """One submanifold layer with 128 channels on surfaces in a 256^3 grid."""
    extent, channels = (24, 8) if size == "tiny" else (256, 128)
    sites = surfaces(3, extent)
    model = Rows(spconv.SubMConv3d(channels, channels, 3, bias=False))
    features = sites.features(channels)
    labels = np.random.default_rng(0).integers(0, channels, len(sites))
    name = f"submanifold layer, {channels} channels, {sites.name}, {len(sites):,} sites"

    def source() -> spconv.SparseConvTensor:
        # As in the middle of a network: the input wants its gradient.
        return sites.tensor(spconv.Tensor(features, requires_grad=True))

    return Subject(name, model, source, labels)


class Rows(spconv.Module):
    """The features of a sparse layer's output, as logits of its sites."""

    def __init__(self, inner: spconv.Module) -> None:
        self.inner = inner

    def forward(self, x: spconv.SparseConvTensor) -> spconv.Tensor:
        return self.inner(x).features
