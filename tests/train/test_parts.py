"""Trainings of a part of the model, and of parameters beside it: what is cleared and clipped."""

import numpy as np
import pytest
from training_runs import Loader, run

from spconv.autograd import Parameter, Tensor
from spconv.functional import cross_entropy
from spconv.layers import Linear, ReLU, SparseSequential
from spconv.optim import SGD, clip_grad_norm


class Rows(Loader):
    def epoch(self, epoch, start=0):
        for number in range(start, len(self)):
            rng = np.random.default_rng((self.seed, epoch, number))
            x = rng.standard_normal((self.batch_size, 5)).astype(np.float32)
            yield Tensor(x), rng.integers(3, size=self.batch_size)


def make_model():
    rng = np.random.default_rng(1)
    return SparseSequential(Linear(5, 6, rng=rng), ReLU(), Linear(6, 3, rng=rng))


def of_the_head(model):
    return SGD(model[2].named_parameters("2"), lr=0.2)


def train_part(folder, make_optimizer=of_the_head, **options):
    options = {"loader": Rows(), "evaluate": None, "schedule": None, "clip_norm": 0.1, **options}
    return run(folder, make_optimizer, make_model(), **options)


def test_gradients_of_the_rest_do_not_pile_up_in_the_norm(tmp_path):
    trained, *_ = train_part(tmp_path)
    expected = make_model()
    sgd = of_the_head(expected)
    for epoch in range(3):
        for x, labels in Rows().epoch(epoch):
            expected.zero_grad()
            cross_entropy(expected(x), labels).backward()
            clip_grad_norm(sgd.parameters.values(), 0.1)
            sgd.step()
    for path, array in expected.state_dict().items():
        np.testing.assert_array_equal(trained.state_dict()[path], array)
    for parameter, last in zip(trained.parameters(), expected.parameters(), strict=True):
        np.testing.assert_array_equal(parameter.grad, last.grad)


def test_a_training_of_a_part_goes_on_to_the_same_bits(tmp_path):
    whole, *_ = train_part(tmp_path / "whole")
    train_part(tmp_path / "parts", epochs=1)
    parts, *_ = train_part(tmp_path / "parts")
    for path, array in whole.state_dict().items():
        np.testing.assert_array_equal(parts.state_dict()[path], array)


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_parameters_beside_the_model_are_cleared_and_clipped_with_it(tmp_path, clip_norm):
    scale = Parameter(np.ones((), np.float32))
    scale.grad = np.full((), 100, np.float32)  # of before

    def make(model):
        return SGD([*model.named_parameters(), ("scale", scale)], lr=1.0)

    before = make_model().state_dict()
    model, *_ = train_part(
        tmp_path,
        make,
        loader=Rows(num_batches=1),
        epochs=1,
        clip_norm=clip_norm,
        loss=lambda y, labels: cross_entropy(y * scale, labels),
    )
    moved = [(array - before[path]).ravel() for path, array in model.state_dict().items()]
    norm = np.linalg.norm(np.concatenate([*moved, [scale.item() - 1]]))
    assert scale.item() != 1
    assert abs(scale.grad) < 10
    assert norm > 0.1 if clip_norm is None else norm == pytest.approx(clip_norm, rel=1e-3)
