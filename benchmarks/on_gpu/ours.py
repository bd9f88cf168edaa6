"""This package's side of compare_gpu.py: the operations of a layer and the step of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from peers.blocks import layer_arrays
from training.steps import sgd, training_step
from workloads.sites import Sites

import spconv
from spconv.compat import to_device
from spconv.geometry import Geometry
from spconv.models import SparseUNet
from spconv.ops import get_ops
from spconv.sites import SiteSet

Calls = dict[str, Callable[[], Any]]
SUBMANIFOLD = Geometry.make(3, 3, submanifold=True)
CHANNELS, CLASSES = 4, 19


def layer_calls(sites: Sites, cin: int, cout: int, dtype: str, device: str) -> Calls:
    """Calls that do what gpu_worker.py times, by the names of ``peers.blocks.OPERATIONS``.

    Beside these: "rows", which gives the output's first ``count`` rows on the host.
    """
    arrays = layer_arrays(len(sites), SUBMANIFOLD.volume, cin, cout, dtype)
    x, w, dy = (to_device(array, device) for array in arrays)
    ops = get_ops(x)
    layer = spconv.SubMConv3d(cin, cout, 3, bias=False)
    layer.weight.data = w
    resident = SiteSet(sites.indices, sites.spatial_shape, sites.batch_size)
    with spconv.no_grad():
        warm = sites.tensor(x)
        layer(warm)

    def forward() -> Any:
        with spconv.no_grad():
            return layer(warm).features.data

    def cold() -> Any:
        with spconv.no_grad():
            return layer(sites.tensor(x)).features.data

    def train(x: spconv.SparseConvTensor) -> None:
        layer.zero_grad()
        layer(x).features.backward(dy)

    def leaf() -> spconv.Tensor:
        return spconv.Tensor(x, requires_grad=True)

    return {
        "rulebook": lambda: ops.build_rulebook(resident, SUBMANIFOLD, "benchmark"),
        "forward": forward,
        "cold": cold,
        "training": lambda: train(warm.replace_feature(leaf())),
        "cold training": lambda: train(sites.tensor(leaf())),
        "rows": lambda count=1000: to_device(forward()[:count], "cpu").astype(np.float32),
    }


def network(widths: tuple[int, ...]) -> SparseUNet:
    """The U-Net of :func:`on_gpu.networks.unet_step`: the same weights every time."""
    return SparseUNet(widths, CHANNELS, CLASSES)


def batch(sites: Sites) -> tuple[np.ndarray, np.ndarray]:
    """Its features, and a label for every site."""
    labels = np.random.default_rng(0).integers(0, CLASSES, len(sites))
    return sites.features(CHANNELS), labels


def network_step(
    sites: Sites, widths: tuple[int, ...], kind: str, device: str
) -> Callable[[], spconv.Tensor]:
    """A training step on a batch from the host, rulebooks and optimizer included.

    In float16 weights and features are stored so, and the loss is scaled.
    """
    net = network(widths).to(device)
    features, labels = batch(sites)
    if kind != "float16":
        return training_step(net, lambda: sites.tensor(features).to(device), labels)
    net.astype(np.float16)
    narrow = features.astype(np.float16)  # on the host there is no sparse tensor of them
    optimizer, scaler = sgd(net), spconv.optim.LossScaler()

    def step() -> spconv.Tensor:
        optimizer.zero_grad()
        x = sites.tensor(to_device(narrow, device))
        loss = spconv.functional.cross_entropy(net(x), labels)
        scaler.backward(loss)
        scaler.step(optimizer)
        return loss

    return step
