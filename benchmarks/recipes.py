"""How the networks whose weights are shipped were trained."""

from __future__ import annotations

from dataclasses import dataclass

from plans import Augmentation, DeepCNetRun, Plan, Training


@dataclass(frozen=True)
class Recipe:
    """A plan and the data set that it is for."""

    data: str
    plan: Plan


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
)

RECIPES = {"mnist": MNIST}
