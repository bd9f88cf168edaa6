"""Pictures that explain: samples and their augmentation, active sites layer by layer, filters.

python benchmarks/pictures.py --out out --data folder-with-the-data-sets
"""

from __future__ import annotations

from typing import Any

import numpy as np
import session
from counting import count_network, observed
from datasets import DataSet, few_images, few_strokes, load_images, load_required
from harness import Record
from packing import pack
from plans import Augmentation
from plans_strokes import Pen
from recipes import ASSAMESE_PEN, PENDIGITS_PEN, RECIPES

import spconv
from spconv.data import PackedStrokes, encode_strokes, pack_strokes
from spconv.layers.conv import SparseConv
from spconv.layers.pool import SparseMaxPool
from spconv.models import DeepCNet

NUM_SAMPLES, NUM_VIEWS = 10, 3
PENS = {"assamese": ASSAMESE_PEN, "pendigits": PENDIGITS_PEN}
CLIMB = (5, 60)
"""The DeepCNet(l, k) that a digit climbs through."""


def run(options: session.Options) -> list[Record]:
    """Collect what the pictures show."""
    echo = options.echo_of("pictures")
    data = few_images() if options.size == "tiny" else load_images(options.data, echo)
    records = [samples(data), climb(data)]
    for name, pen in PENS.items():
        try:
            found = few_strokes() if options.size == "tiny" else load_required(name, options.data)
        except FileNotFoundError as error:
            echo(f"no picture of {name}: {error}")
        else:
            records.append(strokes(name, found, pen))
    try:
        model = RECIPES["mnist"].shipped()
    except FileNotFoundError as error:
        echo(f"no picture of filters: {error}")
    else:
        records.append(filters(model))
    return records


def samples(data: DataSet) -> Record:
    """One training image of every class, and augmented copies of it."""
    images, labels = data.train
    rows = [int(np.flatnonzero(labels == label)[0]) for label in range(NUM_SAMPLES)]
    chosen = images[rows]
    augment = RECIPES["mnist"].plan.training.augment or Augmentation()
    views = [augment.make()(chosen, np.random.default_rng(v)) for v in range(NUM_VIEWS)]
    case = {
        "data": data.name,
        "samples": pack(chosen),
        "views": pack(np.stack(views)),
        "train_samples": len(labels),
        "test_samples": len(data.test[1]),
    }
    return Record("samples", "", "picture", case)


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


def climb(data: DataSet) -> Record:
    """The active sites of every layer, as one digit passes through DeepCNet."""
    model = DeepCNet(*CLIMB, in_channels=1, num_classes=10)
    images, labels = data.test
    chosen = images[np.flatnonzero(labels == 4)[:1]]
    indices, features = spconv.data.encode_images(chosen, model.field)
    ground = np.zeros(1, np.float32)
    x = spconv.SparseConvTensor(features, indices, (model.field,) * 2, 1, ground)
    steps = [_step("input", x)]

    def see(path: str, layer: spconv.Module, before: Any, after: Any) -> None:
        if isinstance(layer, SparseConv):
            steps.append(_step(f"C{layer.geometry.kernel_size[0]}", after))
        elif isinstance(layer, SparseMaxPool):
            steps.append(_step("MP2", after))

    with observed(model.eval(), see), spconv.no_grad():
        model(x)
    counts = count_network(model, x)
    case = {
        "data": data.name,
        "network": f"DeepCNet({CLIMB[0]}, {CLIMB[1]})",
        "steps": steps,
        "multiply_adds": sum(count.multiply_adds for count in counts),
        "dense_multiply_adds": sum(count.dense_multiply_adds for count in counts),
    }
    return Record("climb", "sparse", "picture", case)


def _step(name: str, x: spconv.SparseConvTensor) -> dict[str, Any]:
    active = np.zeros(x.spatial_shape, bool)
    active[tuple(x.indices[:, 1:].T)] = True
    return {"name": name, "channels": x.num_channels, "active": pack(active)}


def filters(model: spconv.Module) -> Record:
    """The first layer's weights of the trained network, (filters, height, width)."""
    layer = next(layer for _, layer in model.named_modules() if isinstance(layer, SparseConv))
    size = layer.geometry.kernel_size
    weights = layer.weight.data[:, 0].T.reshape(-1, *size).astype(np.float32)
    return Record("filters", "sparse", "picture", {"network": "mnist", "weights": pack(weights)})


if __name__ == "__main__":
    session.main({"pictures": run}, __doc__)
