"""Networks as plain values, for libraries that cannot live in one interpreter with this one.

A network becomes a list of layers, each a dict with its ``kind``, and a dict of arrays. Sums and
concatenations hold ``branches``, lists of layers of their own; an empty one is its input.
Submanifold layers on the same sites share an ``indice_key``; convolutions that lead to other sites
have one of their own each, as the other spconv wants it, and their inverses name it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from training.steps import LR, MOMENTUM

from spconv import SparseConvTensor, layers
from spconv.layers.conv import SparseConv, SparseInverseConv, SubMConv
from spconv.layers.pool import SparseMaxPool
from spconv.models import PlusBlock, ResidualBlock, SparseUNet

Layer = dict[str, Any]
Parts = list[Any]


def export(model: layers.Module) -> tuple[list[Layer], dict[str, np.ndarray]]:
    """Layers and arrays of a network of the classes named here.

    Raises
    ------
    TypeError
        For another module.
    ValueError
        For groups and dilation, which have no plain form.
    """
    exporter = _Exporter()
    return exporter.layers(_parts(model)), exporter.arrays


def write(path: Path, model: layers.Module, x: SparseConvTensor, labels: np.ndarray) -> None:
    """All that a training step of networks_worker.py or gpu_worker.py needs, as arrays."""
    plain, arrays = export(model)
    description = {
        "layers": plain,
        "lr": LR,
        "momentum": MOMENTUM,
        "spatial_shape": x.spatial_shape,
        "batch_size": x.batch_size,
    }
    np.savez(
        path,
        description=json.dumps(description),
        features=x.features.data,
        indices=x.indices,
        labels=labels.astype(np.int64),
        **arrays,
    )


def _parts(module: Any) -> Parts:
    """A module in the order of its computation: layers and joints of branches."""
    if isinstance(module, PlusBlock):
        return [("concat", [_parts(branch) for branch in module.branches])]
    if isinstance(module, layers.SparseSequential):
        return [part for _, child in module.children() for part in _parts(child)]
    if isinstance(module, ResidualBlock):
        total = ("sum", [[], _parts(module.branch)])
        return [total] if module.preactivation else [total, layers.ReLU()]
    if isinstance(module, SparseUNet):
        inner = _parts(module.down_stages[-1])
        for i in reversed(range(len(module.up))):
            bridge = ("sum", [[], [module.down[i], *inner, module.up[i]]])
            inner = [*_parts(module.down_stages[i]), bridge, *_parts(module.up_stages[i])]
        return [module.stem, *inner, "features", module.head]
    return [module]


class _Exporter:
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.sites = "input"
        self.above: dict[str, str] = {}
        self.latest: dict[str, str] = {}

    def layers(self, parts: Parts) -> list[Layer]:
        return [self._layer(part) for part in parts]

    def _layer(self, part: Any) -> Layer:
        if part == "features":
            return {"kind": "features"}
        if isinstance(part, tuple):
            kind, branches = part
            return {"kind": kind, "branches": self._branches(branches)}
        if isinstance(part, SubMConv | SparseConv | SparseInverseConv):
            return self._convolution(part)
        if isinstance(part, SparseMaxPool):
            geometry = part.geometry
            layer = {"kind": type(part).__name__, "indice_key": f"pool of {self.sites}"}
            self.sites = layer["indice_key"]
            return {**layer, "kernel_size": geometry.kernel_size, "stride": geometry.stride}
        if isinstance(part, layers.BatchNorm):
            layer = {"kind": "BatchNorm", "eps": part.eps, "momentum": part.momentum}
            return {**layer, **self._parameters(part)}
        if isinstance(part, layers.Linear):
            return {"kind": "Linear", **self._parameters(part)}
        if isinstance(part, layers.ReLU | layers.Flatten):
            return {"kind": type(part).__name__}
        raise TypeError(f"export: there is no plain form of {type(part).__name__}")

    def _branches(self, branches: list[Parts]) -> list[list[Layer]]:
        begin, plain = self.sites, []
        for parts in branches:
            self.sites = begin
            plain.append(self.layers(parts))
        return plain

    def _convolution(self, module: Any) -> Layer:
        geometry = module.geometry
        if module.groups > 1 or max(geometry.dilation) > 1:
            raise ValueError(f"export: no plain form for {module.describe()}")
        if module.submanifold:
            key = f"submanifold {geometry.kernel_size} of {self.sites}"
        elif isinstance(module, SparseInverseConv):
            self.sites, key = self.above[module.indice_key], self.latest[module.indice_key]
        else:
            name = module.indice_key or f"convolution of {self.sites}"
            key = f"{name}, {len(self.arrays)}"
            self.above[name], self.latest[name], self.sites = self.sites, key, name
        return {
            "kind": type(module).__name__,
            "indice_key": key,
            "kernel_size": geometry.kernel_size,
            "stride": geometry.stride,
            "padding": geometry.padding,
            **self._parameters(module),
        }

    def _parameters(self, module: Any) -> dict[str, str]:
        """Names in ``arrays`` of a module's own parameters."""
        names = {}
        for name, parameter in module.named_parameters():
            names[name] = f"{len(self.arrays)} {name}"
            self.arrays[names[name]] = parameter.data
        return names
