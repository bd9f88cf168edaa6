"""How the networks whose weights are shipped were trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plans import Augmentation, DeepCNetRun, Plan, Training

from spconv.layers import Module
from spconv.models import mnist_deepcnet, pretrained_info


@dataclass(frozen=True)
class Recipe:
    """A plan, the data set that it is for, and the network whose weights are shipped."""

    data: str
    plan: Plan
    constructor: Callable[..., Module]

    def shipped(self) -> Module:
        """The network with the weights that are shipped."""
        return self.constructor(pretrained=True)

    def info(self) -> dict[str, Any]:
        """How the shipped weights came about."""
        return pretrained_info(self.constructor.__name__)


MNIST = Recipe(
    "mnist",
    DeepCNetRun(
        l=5,
        k=60,
        dropout=0.5,
        name="mnist",
        training=Training(
            epochs=50,
            batch_size=100,
            lr=0.03,
            momentum=0.9,
            weight_decay=1e-4,
            warmup_steps=600,
            seed=1,
            augment=Augmentation(
                max_translation=2.0, max_rotation=0.25, scale=(0.8, 1.2), max_shear=0.25, pad=6
            ),
        ),
    ),
    mnist_deepcnet,
)

RECIPES = {"mnist": MNIST}
