"""Pictures that explain: samples, augmentation, encodings, active sites, filters, mistakes.

python benchmarks/pictures.py --out out --data folder-with-the-data-sets
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness.measuring import Record
from harness.options import Options
from harness.packing import pack
from plans.plan import Augmentation
from plans.recipes import ASSAMESE_PEN, PENDIGITS_PEN, RECIPES
from reporting import session
from training.pen_pictures import confusions, encodings, strokes
from workloads.datasets import DataSet, image_data, stroke_data

import spconv
from spconv.counting import observed
from spconv.layers.conv import SparseConv
from spconv.layers.pool import SparseMaxPool
from spconv.models import DeepCNet

NUM_SAMPLES, NUM_VIEWS = 10, 3
COPIES = {"quick": 2, "full": 12}
"""Augmented copies of every test sample, in which mistakes are counted; none with --tiny."""
PENS = {"assamese": ASSAMESE_PEN, "pendigits": PENDIGITS_PEN}
ENCODED = "assamese"
CLIMB = (5, 60)
"""The DeepCNet(l, k) that a digit climbs through."""


def run(options: Options) -> list[Record]:
    """Collect what the pictures show."""
    echo = options.echo_of("pictures")
    data = image_data(options.size, options.data, echo)
    records = [samples(data), climb(data)]
    for name, pen in PENS.items():
        try:
            found = stroke_data(name, options.size, options.data)
        except FileNotFoundError as error:
            echo(f"no picture of {name}: {error}")
        else:
            records.append(strokes(name, found, pen))
            if name == ENCODED:
                records.append(encodings(found))
                records += _mistakes(name, found, options, echo)
    try:
        model = RECIPES["mnist"].shipped()
    except FileNotFoundError as error:
        echo(f"no picture of filters: {error}")
    else:
        records.append(filters(model))
    return records


def _mistakes(
    name: str, data: DataSet, options: Options, echo: Callable[[str], object]
) -> list[Record]:
    if options.size not in COPIES:
        return []
    recipe = RECIPES[name]
    try:
        model = recipe.shipped()
    except FileNotFoundError as error:
        echo(f"no picture of mistakes: {error}")
        return []
    return [confusions(data, recipe.plan, model, COPIES[options.size])]


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
    counted = spconv.summary(model, x)
    case = {
        "data": data.name,
        "network": f"DeepCNet({CLIMB[0]}, {CLIMB[1]})",
        "steps": steps,
        "multiply_adds": counted.multiply_adds,
        "dense_multiply_adds": counted.dense_multiply_adds,
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
