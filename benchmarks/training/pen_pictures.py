"""What the pictures of pen strokes show: samples, encodings, and the characters mistaken most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness.measuring import Record
from harness.packing import pack
from plans.strokes import ENCODERS, Pen
from workloads.datasets import DataSet

import spconv
from spconv.data import PackedStrokes, Signature, encode_strokes, pack_strokes
from training.voting import class_probabilities

NUM_SAMPLES, NUM_VIEWS = 10, 3
ENCODED_BOX, ENCODED_FIELD = 32.0, 35
BOX, FIELD = 48.0, 52
"""Sites of a character, and of the field around it, in the pictures of encodings and mistakes."""
PAIRS = ["xx", "xy", "yx", "yy"]
COMPASS = "\N{RIGHTWARDS ARROW} \N{SOUTH EAST ARROW} \N{DOWNWARDS ARROW} \N{SOUTH WEST ARROW} "
COMPASS += "\N{LEFTWARDS ARROW} \N{NORTH WEST ARROW} \N{UPWARDS ARROW} \N{NORTH EAST ARROW}"
SHOWN = {  # encoder: the names of its channels
    "occupancy": ["1"],
    "direction": ["1", "dx", "dy"],
    "octogram": COMPASS.split(),
    "signature 3": ["1", *"xy", *PAIRS, *("x" + p for p in PAIRS), *("y" + p for p in PAIRS)],
}
NUM_PAIRS, OF_EACH = 10, 2


def strokes(name: str, data: DataSet, pen: Pen) -> Record:
    """Characters drawn as sites with the pen's direction, and distorted copies of them."""
    characters, labels = data.train
    classes = np.unique(labels)
    wanted = classes[np.linspace(0, len(classes) - 1, NUM_SAMPLES).astype(int)]
    rows = [int(np.flatnonzero(labels == label)[0]) for label in wanted]
    chosen = pack_strokes([characters[row] for row in rows]).fit(pen.box)
    views = [chosen]
    views += [pen.augment(chosen, np.random.default_rng(v)) for v in range(NUM_VIEWS - 1)]
    case = {
        "data": data.name,
        "name": name,
        "views": pack(np.stack([_directions(view, pen.field) for view in views])),
        "train_samples": len(labels),
        "test_samples": len(data.test[1]),
        "classes": len(classes),
    }
    return Record("strokes", "", "picture", case)


def _directions(view: PackedStrokes, field: int) -> np.ndarray:
    """The angle of the pen at every site, from 1 to 255, and 0 without ink: uint8 (N, H, W)."""
    indices, features = encode_strokes(view, field, features="direction", fit=False)
    angle = np.arctan2(features[:, 2], features[:, 1]) / (2 * np.pi) % 1
    image = np.zeros((len(view), field, field), np.uint8)
    image[tuple(indices.T)] = 1 + np.round(254 * angle)
    return image


def encodings(data: DataSet) -> Record:
    """All channels of all encoders at the sites of the first training sample."""
    first = data.train[0][:1]
    encoded = []
    for name, channels in SHOWN.items():
        indices, features = encode_strokes(first, ENCODED_FIELD, ENCODED_BOX, ENCODERS[name])
        images = np.full((len(channels), ENCODED_FIELD, ENCODED_FIELD), np.nan, np.float16)
        images[:, indices[:, 1], indices[:, 2]] = features.T
        encoded.append({"name": name, "channels": channels, "images": pack(images)})
    case = {"data": data.name, "box": ENCODED_BOX, "window": Signature.window, "encoded": encoded}
    return Record("encodings", "", "picture", case)


@dataclass(frozen=True)
class Mistake:
    """A sample of the test set, by its row, taken for a character of the class ``guess``."""

    row: int
    label: int
    guess: int

    @property
    def pair(self) -> tuple[int, int]:
        """Both classes, the lower first."""
        return min(self.label, self.guess), max(self.label, self.guess)


def confusions(data: DataSet, plan: Any, model: spconv.Module, copies: int) -> Record:
    """The pairs of classes mistaken most often for one another, and characters of both.

    Mistakes are counted in ``copies`` augmented copies of every test sample: a good network makes
    too few on the samples as they are for a ranking. Those are counted as well.
    """
    labels = data.test[1]
    plain = list(mistakes(plan, model, plan.loader(data.test, training=False)))
    views = plan.views(data.test)
    found = [m for view in range(copies) for m in mistakes(plan, model, views.epoch(view))]
    counts = Counter(mistake.pair for mistake in found)
    worst = sorted(counts, key=lambda pair: (-counts[pair], pair))[:NUM_PAIRS]
    case = {
        "data": data.name,
        "network": plan.describe(),
        "copies": copies,
        "test_samples": len(labels),
        "errors": len(plain),
        "errors_of_copies": len(found),
        "pairs": [
            {
                "classes": list(pair),
                "mistaken": counts[pair],
                "of": copies * int(np.isin(labels, pair).sum()),
                "mistaken_as_they_are": sum(mistake.pair == pair for mistake in plain),
                **_examples(pair, [m for m in found if m.pair == pair], data),
            }
            for pair in worst
        ],
    }
    return Record("confusions", "sparse", "picture", case)


def mistakes(
    plan: Any, model: spconv.Module, batches: Iterable[tuple[Any, np.ndarray]]
) -> Iterator[Mistake]:
    """What the network gets wrong, in the order of the samples."""
    probabilities, labels = class_probabilities(model, batches, plan.prepare)
    guesses = probabilities.argmax(axis=1)
    for row in np.flatnonzero(guesses != labels):
        yield Mistake(int(row), int(labels[row]), int(guesses[row]))


def _examples(pair: tuple[int, int], found: list[Mistake], data: DataSet) -> dict[str, Any]:
    """Training samples of both classes, and the test sample mistaken most often."""
    characters, labels = data.train
    rows = [row for label in pair for row in np.flatnonzero(labels == label)[:OF_EACH]]
    (mistake, _), *_ = Counter(found).most_common(1)
    shown = [*(characters[row] for row in rows), data.test[0][mistake.row]]
    indices, _ = encode_strokes(shown, FIELD, BOX, "occupancy")
    images = np.zeros((len(shown), FIELD, FIELD), np.uint8)
    images[tuple(indices.T)] = 1
    return {"label": mistake.label, "guess": mistake.guess, "images": pack(images)}
