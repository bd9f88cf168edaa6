"""A U-Net of submanifold layers, as networks for laser scans are built."""

from __future__ import annotations

import itertools

import numpy as np

import spconv


class Stage(spconv.Module):
    """Two submanifold layers with a shortcut around them."""

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        first, second = (
            spconv.SubMConv3d(channels, channels, 3, bias=False, rng=rng) for _ in range(2)
        )
        self.first = spconv.SparseSequential(first, spconv.BatchNorm(channels), spconv.ReLU())
        self.second = spconv.SparseSequential(second, spconv.BatchNorm(channels))

    def forward(self, x: spconv.SparseConvTensor) -> spconv.SparseConvTensor:
        return spconv.layers.residual_sum(self.second, self.first(x), x, negative_slope=0.0)


class UNet(spconv.Module):
    """Down by halves and up again, as MinkUNet (Choy and others 2019, arXiv 1904.08755)."""

    def __init__(self, widths: tuple[int, ...], num_classes: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.stem = spconv.SubMConv3d(4, widths[0], 3, rng=rng)
        steps = list(enumerate(itertools.pairwise(widths)))
        self.down_stages = [Stage(width, rng) for width in widths]
        self.down = [
            spconv.SparseConv3d(a, b, 2, 2, indice_key=f"down{i}", rng=rng) for i, (a, b) in steps
        ]
        self.up = [
            spconv.SparseInverseConv3d(b, a, 2, indice_key=f"down{i}", rng=rng)
            for i, (a, b) in steps
        ]
        self.up_stages = [Stage(width, rng) for width in widths[:-1]]
        self.head = spconv.Linear(widths[0], num_classes, rng=rng)

    def forward(self, x: spconv.SparseConvTensor) -> spconv.Tensor:
        x = self.stem(x)
        kept = []
        for stage, down in zip(self.down_stages, self.down, strict=False):
            kept.append(stage(x))
            x = down(kept[-1])
        x = self.down_stages[-1](x)
        for i in reversed(range(len(self.up))):
            x = self.up_stages[i](self.up[i](x, residual=kept[i]))
        return self.head(x.features)
