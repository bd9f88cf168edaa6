"""What a training says of losses, gradients and parameters that are not finite."""

import numpy as np
import pytest
from training_runs import BATCHES, EPOCHS, Loader, make_model, make_sgd, run

from spconv.autograd import Tensor, record
from spconv.checkpoint import load
from spconv.functional import cross_entropy
from spconv.layers import Linear, SparseSequential

# NumPy's warnings of what is spoilt here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def rows(count=3):
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    return [(Tensor(x.copy()), np.arange(4) % 3) for _ in range(count)]


def spoiling(at_call, value=np.nan):
    """A loss that is right while its gradient, at that call, is not finite."""
    calls = []

    def loss(logits, labels):
        calls.append(1)
        right = cross_entropy(logits, labels)
        if len(calls) != at_call:
            return right
        scale = np.float32(value)
        return record(right.data, (right,), lambda gradient: (gradient * scale,))

    return loss


def two_layers():
    rng = np.random.default_rng(0)
    return SparseSequential(Linear(6, 5, rng=rng), Linear(5, 3, rng=rng))


def train_rows(folder, **options):
    options = {"model": two_layers(), "loader": rows(), "evaluate": None, **options}
    return run(folder, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_spoilt_update_is_named_in_the_next_step(tmp_path, bad):
    message = (
        r"train: the loss is nan at step 2 \(epoch 0, batch 2, learning rate 0\.\d+\); not finite "
        r"after the update of step 1: 0\.weight, 0\.bias, 1\.weight and 1 more; try a lower"
    )
    with pytest.raises(FloatingPointError, match=message):
        train_rows(tmp_path, loss=spoiling(2, bad))


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_spoilt_last_update_of_an_epoch_is_neither_saved_nor_evaluated(tmp_path, checkpoint):
    path = tmp_path / "run.npz" if checkpoint else None
    message = r"train: not finite after the update of step 5, though the loss was: 0\.weight, "
    evaluated = []

    class Test(Loader):
        def epoch(self, epoch, start=0):
            evaluated.append(epoch)
            return rows(1)

    with pytest.raises(FloatingPointError, match=message):
        train_rows(tmp_path, loss=spoiling(7), checkpoint=path, evaluate=Test())
    # That was one call of the loss.
    assert evaluated == [0]
    if checkpoint:
        assert load(path).extra["state"]["step"] == 3
        assert all(np.isfinite(array).all() for array in load(path).model.values())


def test_a_checkpoint_within_an_epoch_holds_nothing_spoilt(tmp_path):
    with pytest.raises(FloatingPointError, match="nothing is saved"):
        train_rows(tmp_path, loss=spoiling(2), checkpoint_every=0.0)
    saved = load(tmp_path / "run.npz")
    assert saved.extra["state"]["step"] == 1
    assert all(np.isfinite(array).all() for array in saved.model.values())


def test_inputs_that_are_not_finite_are_named(tmp_path):
    batches = rows(2)
    batches[1][0].data[2, 3] = np.inf
    with pytest.raises(FloatingPointError, match=r"at step 1 .*; the inputs of this batch are not"):
        train_rows(tmp_path, loader=batches)


def test_sparse_inputs_that_are_not_finite_are_named(tmp_path):
    class Broken(Loader):
        def epoch(self, epoch, start=0):
            for number, (x, labels) in enumerate(super().epoch(epoch, start)):
                if number == 3:
                    x.features.data[:] = np.nan
                yield x, labels

    with pytest.raises(FloatingPointError, match=r"at step 3 .*; the inputs of this batch are not"):
        run(tmp_path, loader=Broken())


def test_parameters_that_were_not_finite_to_begin_with(tmp_path):
    model = two_layers()
    model[1].bias.data[1] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"at step 0 .*; not finite to begin with: 1\.bias;"
    ):
        train_rows(tmp_path, model=model)


def test_a_loss_that_overflows_alone(tmp_path):
    with pytest.raises(FloatingPointError, match="; parameters and inputs are finite; try"):
        train_rows(tmp_path, loss=lambda y, labels: cross_entropy(y, labels) * np.float32(np.inf))


def test_clipping_names_the_gradients_before_the_update(tmp_path):
    model, expected = two_layers(), two_layers()
    train_rows(tmp_path / "a", model=expected, clip_norm=1.0, epochs=1, loader=rows(1))
    message = (
        r"train: the gradients are not finite at step 1 .*: 0\.weight, 0\.bias, .* nothing was"
    )
    with pytest.raises(FloatingPointError, match=message):
        train_rows(tmp_path / "b", model=model, clip_norm=1.0, loss=spoiling(2), schedule=None)
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


def test_gradients_too_large_for_their_norm(tmp_path):
    model = two_layers().astype(np.float64)
    batches = [(Tensor(x.data.astype(np.float64)), labels) for x, labels in rows()]

    def loss(logits, labels):
        right = cross_entropy(logits, labels)
        return record(right.data, (right,), lambda gradient: (gradient * 1e200,))

    with pytest.raises(FloatingPointError, match=r"not finite at step 0 .*: their squares; "):
        train_rows(tmp_path, model=model, loader=batches, loss=loss, clip_norm=1.0)


def test_gradients_are_not_looked_at_step_by_step(tmp_path, monkeypatch):
    looks = []

    def look(model, step):
        looks.append(step)

    monkeypatch.setattr("spconv.train.loop.check_parameters", look)
    run(tmp_path, make_sgd, model=make_model(), checkpoint=None)
    assert looks == [BATCHES * (epoch + 1) for epoch in range(EPOCHS)]
