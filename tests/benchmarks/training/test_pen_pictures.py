"""What the pictures of encodings and mistakes are drawn from."""

import numpy as np
from harness.packing import unpack
from plans.recipes import ASSAMESE, ASSAMESE_PEN
from plans.strokes import ENCODERS, StrokeVGGRun
from training import pen_pictures
from training.pen_pictures import confusions, encodings
from workloads.datasets import DataSet

import spconv
from spconv.data import encode_strokes, make_strokes

CLASSES = 4


class Guesses(spconv.Module):
    """Takes every sample for the class after its own, where its row is one of ``wrong``."""

    def __init__(self, labels, wrong):
        super().__init__()
        self.answers = labels.copy()
        self.answers[wrong] = (labels[wrong] + 1) % CLASSES
        self.seen = 0

    def forward(self, x):
        rows = np.arange(self.seen, self.seen + x.batch_size) % len(self.answers)
        self.seen += x.batch_size
        return spconv.Tensor(np.eye(CLASSES, dtype=np.float32)[self.answers[rows]])


def some_data():
    samples, _ = make_strokes(24)
    labels = np.arange(24) % CLASSES
    return DataSet("strokes", (samples[:12], labels[:12]), (samples[12:], labels[12:]))


def test_the_channels_are_those_of_the_encoders():
    data = some_data()
    case = encodings(data).case
    for entry in case["encoded"]:
        encoder = ENCODERS[entry["name"]]
        images = unpack(entry["images"])
        assert len(entry["channels"]) == len(images) == encoder.channels
        field = images.shape[1]
        indices, features = encode_strokes(data.train[0][:1], field, case["box"], encoder)
        active = ~np.isnan(images[0])
        np.testing.assert_array_equal(np.argwhere(active), indices[:, 1:])
        np.testing.assert_array_equal(images[:, active].T, features.astype(np.float16))
    names = [tuple(entry["channels"]) for entry in case["encoded"]]
    assert len(set(names[-1])) == len(names[-1])
    assert names[-1][7:] == ("xxx", "xxy", "xyx", "xyy", "yxx", "yxy", "yyx", "yyy")


def test_mistakes_are_counted_by_pairs_of_classes():
    data = some_data()
    labels = data.test[1]
    wrong = [0, 4, 8, 1, 3]  # three 0 read as 1, a 1 as 2, a 3 as 0
    plan = StrokeVGGRun(ASSAMESE_PEN, CLASSES, 0.0, ASSAMESE.plan.training, "few")
    case = confusions(data, plan, Guesses(labels, wrong), copies=2).case
    assert (case["errors"], case["errors_of_copies"]) == (5, 10)
    pairs = [(pair["classes"], pair["mistaken"], pair["of"]) for pair in case["pairs"]]
    assert pairs == [([0, 1], 6, 12), ([0, 3], 2, 12), ([1, 2], 2, 12)]
    assert [pair["mistaken_as_they_are"] for pair in case["pairs"]] == [3, 1, 1]
    assert [(pair["label"], pair["guess"]) for pair in case["pairs"]] == [(0, 1), (3, 0), (1, 2)]


def test_the_characters_shown_are_of_both_classes_and_the_one_mistaken():
    data = some_data()
    plan = StrokeVGGRun(ASSAMESE_PEN, CLASSES, 0.0, ASSAMESE.plan.training, "few")
    (pair,) = confusions(data, plan, Guesses(data.test[1], [5]), copies=1).case["pairs"]
    shown = [data.train[0][row] for row in (1, 5, 2, 6)] + [data.test[0][5]]
    images = unpack(pair["images"])
    indices, _ = encode_strokes(shown, images.shape[1], pen_pictures.BOX, "occupancy")
    np.testing.assert_array_equal(np.argwhere(images), indices)
