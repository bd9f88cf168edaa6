"""What a training does: seeds, schedule, log, history, hooks, progress, non-finite losses."""

import json
from functools import partial

import numpy as np
import pytest
from training_runs import BATCHES, EPOCHS, Loader, Stop, make_model, run

from spconv.autograd import Tensor
from spconv.checkpoint import load
from spconv.conversion import from_dense
from spconv.functional import cross_entropy
from spconv.layers import BatchNorm, Conv2d, Flatten, Linear, ReLU, SparseSequential
from spconv.optim import SGD
from spconv.schedules import Cosine
from spconv.tensor import SparseConvTensor
from spconv.train import evaluate


def test_every_step_is_seeded_by_its_number(tmp_path):
    seeds = []

    class Recorder(SparseSequential):
        def seed(self, *entropy):
            seeds.append(entropy)
            return super().seed(*entropy)

    run(tmp_path, model=Recorder(*make_model()), seed=7)
    assert seeds == [(7, step) for step in range(EPOCHS * BATCHES)]


def test_dropout_depends_on_the_seed(tmp_path, uninterrupted):
    _, make_optimizer, reference = uninterrupted
    other = run(tmp_path, make_optimizer, seed=1)
    assert other[2].last.loss != reference[2].last.loss


def test_it_learns_and_the_history_tells(tmp_path):
    test = Loader(seed=1, num_batches=20)
    epochs = []
    model, _, history = run(
        tmp_path,
        lambda model: SGD(model.named_parameters(), lr=0.05, momentum=0.9),
        loader=Loader(batch_size=16),
        epochs=20,
        schedule=None,
        evaluate=test,
        on_epoch=epochs.append,
    )
    assert history.epochs == epochs
    assert history.last.loss < 0.5 * history.epochs[0].loss
    assert [epoch.step for epoch in epochs] == [BATCHES * (e + 1) for e in range(20)]
    assert all(epoch.lr == 0.05 and epoch.samples_per_second > 0 for epoch in epochs)
    result = evaluate(model, test)
    assert result.error < 0.1
    assert (history.last.test_loss, history.last.test_error) == (result.loss, result.error)
    assert test.num_open == 0


def test_running_loss_and_error_are_means_over_samples(tmp_path):
    class Growing(Loader):
        def epoch(self, epoch, start=0):
            for number in range(start, len(self)):
                yield Tensor(np.zeros((number + 1, 6), np.float32)), np.arange(number + 1) % 3

    model = SparseSequential(Linear(6, 3))
    loader = Growing(num_batches=3)
    *_, history = run(
        tmp_path, model=model, loader=loader, evaluate=loader, epochs=1, schedule=lambda step: 0.0
    )
    assert history.last.loss == pytest.approx(np.log(3), rel=1e-6)
    assert history.last.error == pytest.approx(3 / 6)
    assert (history.last.test_loss, history.last.test_error) == (
        pytest.approx(history.last.loss),
        history.last.error,
    )


def test_ignored_labels_count_for_nothing(tmp_path):
    x, labels = Tensor(np.eye(3, 6, dtype=np.float32)), np.array([0, -1, 1])
    model = SparseSequential(Linear(6, 3))
    model[0].weight.data = np.zeros((6, 3), np.float32)
    *_, history = run(
        tmp_path,
        model=model,
        loader=[(x, labels)],
        evaluate=[(x, labels), (x, [-1, -1, -1])],
        ignore_index=-1,
        epochs=1,
        schedule=lambda step: 0.0,
    )
    assert history.last.loss == history.last.test_loss == pytest.approx(np.log(3), rel=1e-6)
    assert history.last.error == history.last.test_error == 0.5


def test_a_regression_is_trained_with_a_count_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 6)).astype(np.float32)
    target = x @ rng.standard_normal((6, 2)).astype(np.float32)
    *_, history = run(
        tmp_path,
        lambda model: SGD(model.named_parameters(), lr=0.1),
        model=SparseSequential(Linear(6, 2)),
        loader=[(Tensor(x), target)],
        evaluate=[(Tensor(x), target)],
        loss=lambda y, target: ((y - target) * (y - target)).mean(),
        count=lambda y, target: (int((np.abs(y.data - target) > 0.1).any(1).sum()), len(target)),
        epochs=200,
        schedule=None,
        checkpoint=None,
    )
    assert history.epochs[0].error > 0.9
    assert history.last.test_error == 0


def test_a_loss_and_a_count_of_sparse_logits_see_their_sites(tmp_path):
    """Rows of a sparse tensor tell nothing of where they are."""
    sites = [[0, i, 2 * i] for i in range(3)]
    x = SparseConvTensor(np.eye(3, 6, dtype=np.float32), sites, (4, 6), 1)
    grid = np.zeros((4, 6), int)  # a target for every site of it
    grid[1, 2], grid[2, 4] = 2, 1

    def targets_at(y, grid):
        return grid[tuple(y.indices[:, 1:].T)]

    arguments = {
        "loader": [(x, grid)],
        "evaluate": [(x, grid)],
        "count": lambda y, grid: (
            int((y.features.data.argmax(1) != targets_at(y, grid)).sum()),
            len(y),
        ),
        "schedule": None,
        "checkpoint": None,
    }
    weight = [1, 2, 3]
    *_, history = run(
        tmp_path,
        lambda model: SGD(model.named_parameters(), lr=1.0),
        model=SparseSequential(Linear(6, 3)),
        loss=lambda y, grid: cross_entropy(y.features, targets_at(y, grid), weight=weight),
        epochs=20,
        **arguments,
    )
    assert history.last.error == history.last.test_error == 0
    with pytest.raises(TypeError, match=r"got SparseConvTensor; pass its \.features"):
        run(
            tmp_path,
            model=SparseSequential(Linear(6, 3)),
            loss=partial(cross_entropy, weight=weight),
            **arguments,
        )


def test_what_cannot_be_counted_stops_before_the_update(tmp_path):
    model = SparseSequential(Linear(6, 2))
    before = model.state_dict()
    batches = [(Tensor(np.ones((3, 6), np.float32)), np.ones((3, 2), np.float32))]
    with pytest.raises(ValueError, match="pass count="):
        run(
            tmp_path,
            model=model,
            loader=batches,
            loss=lambda y, target: (y - target).mean(),
            schedule=None,
        )
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_it_ends_when_it_is_told_to_and_stays_so(tmp_path, capsys):
    epochs = []

    def after_two(epoch):
        epochs.append(epoch.epoch)
        return np.bool_(len(epochs) == 2)  # as a comparison of what is measured

    *_, history = run(tmp_path, on_epoch=after_two, epochs=5)
    assert (epochs, len(history.epochs)) == ([0, 1], 2)
    *_, history = run(tmp_path, on_epoch=after_two, epochs=5, progress=True)
    assert (epochs, len(history.epochs)) == ([0, 1], 2)
    assert "nothing is trained; ask for resume=False" in capsys.readouterr().err


def test_frozen_layers_stay_frozen_though_the_model_is_evaluated_between_epochs(tmp_path):
    model = make_model()
    model[1].eval()
    mean = model[1].running_mean.copy()
    run(tmp_path, model=model, on_epoch=lambda epoch: model.eval() and None)
    np.testing.assert_array_equal(model[1].running_mean, mean)
    assert model.training


@pytest.mark.parametrize(
    ("given", "message"),
    [(BATCHES - 1, f"ended after {BATCHES - 1} batches, but len"), (BATCHES + 1, "gives more")],
)
def test_a_loader_must_have_as_many_batches_as_it_says(tmp_path, given, message):
    class Wrong(Loader):
        def epoch(self, epoch, start=0):
            self.num_open += 1
            try:
                yield from list(Loader(num_batches=given).epoch(epoch))[start:]
            finally:
                self.num_open -= 1

    loader = Wrong()
    with pytest.raises(ValueError, match=message):
        run(tmp_path, loader=loader)
    assert loader.num_open == 0


def test_the_log(tmp_path):
    schedule = Cosine(0.2, EPOCHS * BATCHES)
    *_, history = run(tmp_path, schedule=schedule, log_every=1, evaluate=None)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, EPOCHS * BATCHES + 1))
    assert [line["lr"] for line in steps] == [schedule(s) for s in range(EPOCHS * BATCHES)]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [line["loss"] for line in epochs] == [epoch.loss for epoch in history.epochs]
    mean = np.mean([line["loss"] for line in steps[-BATCHES:]])
    assert history.last.loss == pytest.approx(mean, rel=1e-12)
    assert epochs[0]["test_error"] is None


def test_folders_are_made_before_the_training(tmp_path):
    run(
        tmp_path,
        epochs=1,
        checkpoint=tmp_path / "a" / "b" / "run.npz",
        log=tmp_path / "c" / "log.jsonl",
    )
    assert (tmp_path / "a" / "b" / "run.npz").exists()
    assert (tmp_path / "c" / "log.jsonl").exists()


def test_a_list_of_batches_serves_as_loader_and_prepare_is_applied(tmp_path):
    batches = list(Loader().epoch(0))
    arrays = [(inputs.dense().numpy(), labels) for inputs, labels in batches]
    zero = np.zeros(1, np.float32)
    model, *_ = run(
        tmp_path, loader=arrays, evaluate=arrays, prepare=lambda array: from_dense(array, zero)
    )
    expected, *_ = run(tmp_path / "other", loader=batches, evaluate=None, checkpoint_every=0.0)
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


def test_dense_models_are_trained_too(tmp_path):
    rng = np.random.default_rng(0)
    model = SparseSequential(Conv2d(1, 8, 3, rng=rng), ReLU(), Flatten(), Linear(288, 3, rng=rng))
    *_, history = run(tmp_path, model=model, prepare=lambda x: x.dense(), epochs=10)
    assert history.last.loss < 0.5 * history.epochs[0].loss
    assert history.last.test_error < 0.3


def test_clip_norm(tmp_path):
    norms = []

    class Recorder(SGD):
        def step(self):
            norms.append(sum((p.grad**2).sum() for p in self.parameters.values()) ** 0.5)
            super().step()

    def make(model):
        return Recorder(model.named_parameters(), lr=0.2)

    run(tmp_path / "clipped", make, clip_norm=0.05)
    assert max(norms) <= 0.05 * (1 + 1e-5)
    norms.clear()
    run(tmp_path / "free", make)
    assert max(norms) > 0.2


def test_frozen_layers_stay_in_their_mode_and_a_model_in_evaluation_is_refused(tmp_path):
    model = make_model()
    model[1].eval()
    mean = model[1].running_mean.copy()
    run(tmp_path, model=model)
    np.testing.assert_array_equal(model[1].running_mean, mean)
    model.eval()
    with pytest.raises(ValueError, match=r"in evaluation mode; call model\.train\(\), then"):
        run(tmp_path / "other", model=model)
    assert not model.training


def test_layers_that_decide_for_themselves_are_asked(tmp_path):
    class FixedNorm(BatchNorm):
        def train(self, mode=True):
            return super().train(False)

    model = make_model()
    model[1] = FixedNorm(8)
    assert model[1].training  # nobody has asked yet
    run(tmp_path, model=model)
    assert not model[1].running_mean.any()
    assert model.training


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path, bad):
    calls = []

    def loss(logits, labels):
        calls.append(1)
        value = cross_entropy(logits, labels)
        return value * np.float32(bad) if len(calls) == BATCHES + 2 else value

    model = make_model()
    expected = make_model()
    run(tmp_path / "expected", model=expected, checkpoint_every=0.0, epochs=1, evaluate=None)
    with pytest.raises(FloatingPointError) as error:
        run(tmp_path, model=model, loss=loss, evaluate=None)
    message = str(error.value)
    assert f"the loss is {bad} at step {BATCHES + 1} (epoch 1, batch 1, learning rate 0." in message
    assert "lower learning rate" in message
    assert all(np.isfinite(array).all() for array in model.state_dict().values())
    saved = load(tmp_path / "run.npz").model
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(saved[name], array)


def test_progress_is_shown(tmp_path, capsys):
    run(tmp_path, epochs=2, progress=True)
    err = capsys.readouterr().err
    assert "epoch 2/2" in err
    assert "test error" in err
    assert "samples/s" in err


def test_the_threads_of_the_loader_end_with_an_error(tmp_path):
    loader = Loader()

    def loss(logits, labels):
        raise Stop

    with pytest.raises(Stop):
        run(tmp_path, loader=loader, loss=loss)
    assert loader.num_open == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int, got 1.5"),
        ({"loader": []}, ValueError, "expected at least one batch"),
        (
            {"loader": iter([])},
            TypeError,
            "the loader must give its .* but list_iterator gives them once",
        ),
        ({"schedule": 0.1}, TypeError, "schedule must be a function of the step, got 0.1"),
        ({"evaluate": True}, TypeError, "evaluate must give its batches after every .* got bool"),
        ({"evaluate": iter([])}, TypeError, "evaluate must give .* got list_iterator"),
        ({"log_every": -3}, ValueError, "log_every must be at least 1, got -3"),
        ({"log_every": 1.5}, TypeError, r"log_every must be an int, got 1\.5"),
        ({"checkpoint_every": -1}, ValueError, "checkpoint_every must be finite and >= 0, got -1"),
        ({"checkpoint_every": None}, TypeError, "checkpoint_every must be a number, got NoneType"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, TypeError, r"seed must be an int, got 1\.5"),
        ({"loss": 3}, TypeError, r"loss must be a function, loss\(logits, labels\) .*, got int"),
        ({"loss": 0}, TypeError, "loss must be a function, .*, got int"),
        ({"count": 3}, TypeError, "count must be a function, .* got int"),
        ({"prepare": 3}, TypeError, r"prepare must be a function, prepare\(inputs\), got int"),
        ({"on_epoch": 3}, TypeError, r"on_epoch must be a function, on_epoch\(epoch\), got int"),
        ({"loss": lambda y, labels: 1.0}, TypeError, ".* one element, got float; end it with"),
        ({"loss": lambda y, labels: y}, TypeError, r".* one element, got shape \(4, 3\)"),
    ],
)
def test_nothing_to_do_is_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=f"train: {message}"):
        run(tmp_path, **options)


def test_a_batch_without_samples(tmp_path):
    class Empty(Loader):
        def epoch(self, epoch, start=0):
            batches = super().epoch(epoch, start)
            x, labels = next(batches)
            batches.close()
            none = x.indices[:, 0] < 0
            features = x.features.data[none]
            empty = SparseConvTensor(
                features, x.indices[none], x.spatial_shape, 0, np.zeros(1, np.float32)
            )
            yield empty, labels[:0]
            yield from super().epoch(epoch, start + 1)

    history = run(tmp_path, loader=Empty())[2]
    assert all(np.isfinite(epoch.loss) for epoch in history.epochs)


def test_a_seed_of_several_numbers_is_the_same_when_it_comes_again(tmp_path):
    loader = Loader()
    loader.seed = (1, 2)
    run(tmp_path, loader=loader, epochs=1)
    run(tmp_path, loader=loader, epochs=2)
