"""How the networks whose weights are shipped were trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from plans.images import DeepCNetRun
from plans.ladders import LadderRun, deepc2_levels
from plans.plan import Augmentation, Plan, Training
from plans.strokes import Pen, StrokeDeepCNetRun, StrokeVGGRun, VggSpec
from spconv.data import StrokeAffine
from spconv.layers import Module
from spconv.models import (
    assamese_vgg,
    mnist_deepc2,
    mnist_deepcnet,
    pendigits_deepcnet,
    pretrained_info,
)


def vgg_plus_spec(k: int) -> VggSpec:
    """The VGG+ network of SparseConvNet's Assamese example, which has k = 8."""
    plus = [("C", 2 * k, k), ("C", 2 * k, k), "MP", ("C", 3 * k, k), ("C", 3 * k, k), "MP"]
    return (("C", k), ("C", k), "MP", ("C", 2 * k), ("C", 2 * k), "MP", *plus)


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

MNIST_DEEPC2 = Recipe(
    "mnist",
    LadderRun(
        levels=deepc2_levels(4),
        k=32,
        dropout=0.4,
        name="mnist-deepc2",
        training=replace(MNIST.plan.training, lr=0.02, warmup_steps=1200),
    ),
    mnist_deepc2,
)

ASSAMESE_PEN = Pen(
    field=95,
    box=64.0,
    features="direction",
    augment=StrokeAffine(
        max_rotation=0.25,
        scale=(0.8, 1.2),
        stretch=0.15,
        max_shear=0.25,
        max_translation=0.08,
        jitter=0.015,
    ),
    ground_state=False,
)

ASSAMESE = Recipe(
    "assamese",
    StrokeVGGRun(
        pen=ASSAMESE_PEN,
        classes=183,
        dropout=0.0,
        spec=vgg_plus_spec(8),
        readout=64,
        name="assamese",
        training=Training(
            epochs=150,
            batch_size=64,
            lr=0.1,
            momentum=0.9,
            weight_decay=1e-4,
            warmup_steps=200,
            seed=1,
        ),
    ),
    assamese_vgg,
)

PENDIGITS_PEN = Pen(
    field=48,
    box=28.0,
    features="direction",
    augment=StrokeAffine(
        max_rotation=0.25,
        scale=(0.8, 1.2),
        stretch=0.15,
        max_shear=0.25,
        max_translation=0.08,
        jitter=0.015,
    ),
)

PENDIGITS = Recipe(
    "pendigits",
    StrokeDeepCNetRun(
        pen=replace(PENDIGITS_PEN, features="signature 2"),
        classes=10,
        dropout=0.3,
        name="pendigits",
        training=Training(
            epochs=40,
            batch_size=64,
            lr=0.02,
            momentum=0.9,
            weight_decay=1e-4,
            warmup_steps=300,
            seed=1,
        ),
        l=4,
        k=40,
    ),
    pendigits_deepcnet,
)

RECIPES = {recipe.plan.name: recipe for recipe in (MNIST, MNIST_DEEPC2, ASSAMESE, PENDIGITS)}
