"""Small runs of train(): a loader, a model, and what two equal runs have in common."""

import json
import signal
from dataclasses import replace

import numpy as np

from spconv.conversion import from_dense
from spconv.functional import cross_entropy
from spconv.layers import (
    BatchNorm,
    BatchwiseDropout,
    Dropout,
    LeakyReLU,
    Linear,
    ReLU,
    SparseConv2d,
    SparseGlobalAvgPool,
    SparseMaxPool2d,
    SparseSequential,
    SubMConv2d,
)
from spconv.optim import SGD, Adam
from spconv.schedules import Cosine, Warmup
from spconv.train import train

EPOCHS, BATCHES, BATCH_SIZE = 3, 5, 4


class Loader:
    """Lines in three directions; ``fail`` is called before every batch that is handed out."""

    def __init__(self, seed=0, batch_size=BATCH_SIZE, num_batches=BATCHES, fail=None):
        self.seed, self.batch_size, self.num_batches, self.fail = (
            seed,
            batch_size,
            num_batches,
            fail,
        )
        self.requests, self.num_open = [], 0

    def __len__(self):
        return self.num_batches

    def epoch(self, epoch, start=0):
        self.num_open += 1
        try:
            for number in range(start, len(self)):
                self.requests.append((epoch, number))
                if self.fail is not None:
                    self.fail(epoch, number)
                rng = np.random.default_rng((self.seed, epoch, number))
                labels = rng.integers(3, size=self.batch_size)
                yield from_dense(draw(labels, rng), ground_state=np.zeros(1, np.float32)), labels
        finally:
            self.num_open -= 1


def draw(labels, rng):
    images = np.zeros((len(labels), 1, 8, 8), np.float32)
    along = np.arange(2, 7)
    for image, label, across in zip(images, labels, rng.integers(1, 7, len(labels)), strict=True):
        y, x = [(along, across), (across, along), (along, along)][label]
        image[0, y, x] = rng.uniform(0.5, 1, len(along))
    return images


def make_model(width=8):
    rng = np.random.default_rng(5)
    return SparseSequential(
        SubMConv2d(1, width, 3, rng=rng),
        BatchNorm(width, statistics="all"),
        ReLU(),
        SparseMaxPool2d(2),
        BatchwiseDropout(0.25),
        SparseConv2d(width, width, 2, rng=rng),
        LeakyReLU(),
        Dropout(0.25),
        SparseGlobalAvgPool(),
        Linear(width, 3, rng=rng),
    )


def make_sgd(model):
    return SGD(model.named_parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=1e-3)


def make_adam(model):
    return Adam(model.named_parameters(), lr=0.01)


def run(folder, make_optimizer=make_sgd, model=None, **options):
    """Train from scratch or, if the folder holds a checkpoint, from there."""
    model = make_model() if model is None else model
    optimizer = make_optimizer(model)
    options = {
        "loader": Loader(),
        "epochs": EPOCHS,
        "schedule": Warmup(Cosine(0.2, EPOCHS * BATCHES), 3),
        "evaluate": Loader(seed=1, num_batches=2),
        "log": folder / "log.jsonl",
        "log_every": 2,
        "checkpoint": folder / "run.npz",
        "progress": False,
        **options,
    }
    history = train(model, options.pop("loader"), optimizer, **options)
    return model, optimizer, history


def read_log(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None)
        line.pop("samples_per_second", None)
    return lines


def assert_same_run(folder, ours, reference_folder, reference):
    for state, expected in (
        (ours[0].state_dict(), reference[0].state_dict()),
        (ours[1].state_dict(), reference[1].state_dict()),
    ):
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert np.asarray(state[name]).tobytes() == np.asarray(value).tobytes(), name
    without_time = [
        [replace(epoch, seconds=0.0, samples_per_second=0.0) for epoch in result[2].epochs]
        for result in (ours, reference)
    ]
    assert without_time[0] == without_time[1]
    assert read_log(folder) == read_log(reference_folder)


class Stop(Exception):
    """An error of the user's own code."""


def once(error, epoch, number):
    """Return a hook that raises ``error`` the first time that this batch is asked for."""
    armed = [True]

    def fail(*position):
        if armed and position == (epoch, number):
            armed.clear()
            raise error

    return fail


def interrupting_loss(at_call, times=1):
    """Return a loss that gets Ctrl-C in the middle of a step."""
    calls = []

    def loss(logits, labels):
        calls.append(1)
        if len(calls) == at_call:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return cross_entropy(logits, labels)

    return loss
