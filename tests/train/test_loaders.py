"""Loaders of the user's own: what train() takes, and what it says of what it cannot."""

import numpy as np
import pytest
from training_runs import BATCHES, EPOCHS, Loader, make_model, run

from spconv.autograd import Tensor
from spconv.checkpoint import load
from spconv.evaluation import evaluate
from spconv.layers import Linear


def batches(count=2):
    return list(Loader().epoch(0))[:count]


class Endless:
    """Can be iterated over again, without a length."""

    def __init__(self, times=99):
        self.times, self.seen = times, 0

    def __iter__(self):
        self.seen += 1
        return iter(batches(2) if self.seen <= self.times else [])


class Sized(Endless):
    def __len__(self):
        return 2


class Indexed:
    """The old way to be a sequence."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return batches(2)[number]


@pytest.mark.parametrize("kind", [Endless, Sized, Indexed, batches, lambda: tuple(batches())])
def test_whatever_comes_again_is_trained_on(tmp_path, kind):
    expected, *_ = run(tmp_path / "list", loader=batches())
    ours, _, history = run(tmp_path / "other", loader=kind(), checkpoint=None)
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], array)
    assert history.last.step == 2 * EPOCHS


def test_progress_without_a_length(tmp_path, capsys, monkeypatch):
    run(tmp_path, loader=Endless(), checkpoint=None, progress=True)
    assert "epoch 3/3" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    monkeypatch.setattr("spconv.progress.Display.seconds_between_lines", 0.0)
    run(tmp_path, loader=Endless(), checkpoint=None, progress=True)
    assert "epoch 1/3, batch 2: loss" in capsys.readouterr().err


def test_a_list_is_resumed_within_an_epoch(tmp_path):
    whole, *_ = run(tmp_path / "whole", loader=batches(4))
    count = []

    def prepare(x):
        count.append(1)
        if len(count) == 6:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", loader=batches(4), prepare=prepare, evaluate=None)
    assert load(tmp_path / "parts" / "run.npz").extra["state"]["step"] == 5
    ours, *_ = run(tmp_path / "parts", loader=batches(4))
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], array)


class NoLength:
    def epoch(self, number, start=0):
        return batches()


class NoStart(Loader):
    def epoch(self, number):
        return batches()


class Nothing(Loader):
    def epoch(self, number, start=0):
        batches()


class Counter(list):
    """``epoch`` is no method here: a list as others."""

    epoch = 3


def generator():
    yield from batches()


@pytest.mark.parametrize(
    ("loader", "error", "message"),
    [
        (generator(), TypeError, "again in every epoch, but generator gives them once; pass list"),
        (iter(batches()), TypeError, "but list_iterator gives them once; pass list"),
        (zip([1], [2], strict=True), TypeError, "but zip gives them once; pass list"),
        (generator, TypeError, r"but function has neither epoch\(number, start\) nor __iter__"),
        (None, TypeError, r"but NoneType has neither epoch\(number, start\) nor __iter__"),
        (3, TypeError, "but int has neither"),
        (batches()[0][0], TypeError, "but SparseConvTensor has neither"),
        (NoLength(), TypeError, r"NoLength has no __len__\(\); add it, the number of batches"),
        (
            NoStart(),
            TypeError,
            r"but .*NoStart has epoch\(number\); write epoch\(self, number, sta",
        ),
        (Nothing(), TypeError, r"the loader's epoch\(number, start\) must give .* got NoneType; y"),
        (
            Endless(),
            TypeError,
            "with a checkpoint needs .* the iterable .*Endless does not promise",
        ),
        (Sized(), TypeError, "with a checkpoint needs .* the iterable .*Sized does not promise"),
        ((), ValueError, "expected at least one batch"),
        (
            batches()[0],
            TypeError,
            r"batch 0 must be a pair .* got SparseConvTensor; .* the list \[\(",
        ),
        (
            [batches()[0][0]],
            TypeError,
            r"batch 0 must be a pair \(inputs, labels\), got SparseConvT",
        ),
        ([(*batches()[0], 1)], TypeError, "batch 0 must be a pair .*, got tuple of 3"),
        ({"a": batches()}, TypeError, "batch 0 must be a pair .*, got str"),
        (np.zeros((2, 2)), TypeError, r"batch 0 must be a pair .*, got numpy\.ndarray"),
        (Tensor(np.zeros((2, 2))), TypeError, "batch 0 must be a pair .*, got Tensor"),
    ],
)
def test_what_is_missing_is_said(tmp_path, loader, error, message):
    with pytest.raises(error, match=f"^train: .*{message}"):
        run(tmp_path, loader=loader)


def test_the_loader_of_the_test_set_is_looked_at_before_the_training(tmp_path):
    loader = Loader()
    message = r"train: epoch of evaluate must take its number .* but .*NoStart has epoch\(number\)"
    with pytest.raises(TypeError, match=message):
        run(tmp_path, loader=loader, evaluate=NoStart())
    assert not loader.requests


def test_a_batch_that_is_none_is_counted_from_the_beginning_of_the_epoch(tmp_path):
    class Late(Loader):
        def epoch(self, epoch, start=0):
            yield from batches(3)
            yield None

    with pytest.raises(TypeError, match=r"batch 3 must be a pair .* got NoneType"):
        run(tmp_path, loader=Late())


def test_an_attribute_named_epoch_is_no_method(tmp_path):
    assert run(tmp_path, loader=Counter(batches()), evaluate=Counter(batches()))[2].last.step == 6


def test_batches_that_do_not_come_again(tmp_path):
    with pytest.raises(ValueError, match="gave no batch in epoch 1; it must give them again"):
        run(tmp_path, loader=Endless(times=1), checkpoint=None)


def test_a_loader_of_the_test_set_says_what_it_is_too():
    model = make_model()
    with pytest.raises(
        TypeError, match=r"^evaluate: batch 0 must be a pair .*, got SparseConvTens"
    ):
        evaluate(model, batches()[0])
    with pytest.raises(TypeError, match=r"^evaluate: the loader must give .* batches, got int"):
        evaluate(model, 3)
    assert evaluate(model, generator()).num_samples == 8


def test_rows_of_pairs_may_be_lists(tmp_path):
    run(tmp_path, loader=[list(batch) for batch in batches()])


def test_only_as_many_batches_as_there_are(tmp_path):
    """An epoch that ended is not begun again though its length is not known."""
    loader = Endless()
    run(tmp_path, loader=loader, checkpoint=None, epochs=2)
    assert loader.seen == 2
    assert BATCHES != 2


def test_dense_rows(tmp_path):
    x, labels = Tensor(np.eye(3, 6, dtype=np.float32)), np.arange(3)
    options = {"evaluate": None, "schedule": None, "model": Linear(6, 3)}
    assert run(tmp_path, loader=[(x, labels)], **options)[2].last.step == EPOCHS
