import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from spconv.autograd import Tensor
from spconv.checkpoint import load, save
from spconv.data import Affine, SparseLoader, load_strokes
from spconv.functional import cross_entropy
from spconv.layers import (
    BatchNorm,
    BatchwiseDropout,
    Conv2d,
    Dropout,
    Flatten,
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
from spconv.tensor import from_dense
from spconv.train import evaluate, train

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


@pytest.fixture(scope="module", params=[make_sgd, make_adam])
def uninterrupted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, request.param, run(folder, request.param)


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


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("every", [0.0, 1e9])
@pytest.mark.parametrize("where", [(0, 0), (0, 1), (0, 4), (1, 0), (1, 3), (2, 4)])
def test_resume_after_an_error_between_steps(tmp_path, uninterrupted, where, every, error):
    reference_folder, make_optimizer, reference = uninterrupted
    with pytest.raises(error):
        run(
            tmp_path,
            make_optimizer,
            loader=Loader(fail=once(error, *where)),
            checkpoint_every=every,
        )
    loader = Loader()
    ours = run(tmp_path, make_optimizer, loader=loader)
    assert_same_run(tmp_path, ours, reference_folder, reference)
    saved_there = every == 0.0 or error is KeyboardInterrupt
    assert loader.requests[0] == (where if saved_there else (where[0], 0))


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("hook", ["evaluate", "on_epoch", "prepare"])
def test_resume_after_an_error_in_a_hook(tmp_path, uninterrupted, hook, error):
    reference_folder, make_optimizer, reference = uninterrupted
    calls = []

    def fail(*_):
        calls.append(hook)
        if len(calls) == 2:
            raise error
        return _[0]

    value = Loader(seed=1, num_batches=1, fail=fail) if hook == "evaluate" else fail
    with pytest.raises(error):
        run(tmp_path, make_optimizer, **{hook: value})
    ours = run(tmp_path, make_optimizer)
    if hook == "evaluate":  # the epoch before was evaluated on the other test set
        assert ours[0].state_dict()["0.weight"].tobytes() == (
            reference[0].state_dict()["0.weight"].tobytes()
        )
        assert [line["epoch"] for line in read_log(tmp_path) if line["event"] == "epoch"] == [
            0,
            1,
            2,
        ]
    else:
        assert_same_run(tmp_path, ours, reference_folder, reference)


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


def test_ctrl_c_lets_the_step_finish(tmp_path, uninterrupted):
    reference_folder, make_optimizer, reference = uninterrupted
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, make_optimizer, loss=interrupting_loss(3), evaluate=None)
    assert load(tmp_path / "run.npz").extra["state"]["step"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ours = run(tmp_path, make_optimizer)
    assert_same_run(tmp_path, ours, reference_folder, reference)


def test_a_second_ctrl_c_stops_at_once_and_saves_nothing_torn(tmp_path, uninterrupted):
    reference_folder, make_optimizer, reference = uninterrupted
    loss = interrupting_loss(BATCHES + 3, times=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, make_optimizer, loss=loss, evaluate=None, log=None)
    assert load(tmp_path / "run.npz").extra["state"]["step"] == BATCHES
    (tmp_path / "run.npz").unlink()
    ours = run(tmp_path, make_optimizer)
    assert_same_run(tmp_path, ours, reference_folder, reference)


def test_an_interrupt_that_tears_a_step_is_not_saved(tmp_path):
    def loss(logits, labels):
        raise KeyboardInterrupt  # as another handler would

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, loss=loss)
    assert not (tmp_path / "run.npz").exists()


def test_other_signal_handlers_and_threads_are_respected(tmp_path):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(tmp_path, epochs=1, on_epoch=lambda _: signal.raise_signal(signal.SIGINT))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)
    thread = threading.Thread(target=run, args=(tmp_path,))
    thread.start()
    thread.join()
    assert load(tmp_path / "run.npz").extra["state"]["epoch"] == EPOCHS


def test_resume_with_the_real_loader(tmp_path):
    images, labels = load_strokes("train", num_samples=24)

    def run_on_strokes(folder, fail_at=None):
        loader = SparseLoader(images, labels, 8, field=64, augment=Affine(), shuffle=True)
        rng = np.random.default_rng(1)
        model = SparseSequential(
            SparseConv2d(1, 4, 3, stride=2, rng=rng),
            BatchNorm(4),
            ReLU(),
            SparseMaxPool2d(3, 2),
            Dropout(0.5),
            SparseGlobalAvgPool(),
            Linear(4, 10, rng=rng),
        )
        loss = cross_entropy if fail_at is None else interrupting_loss(fail_at)
        options = {"epochs": 2, "evaluate": loader, "loader": loader, "loss": loss}
        return run(folder, model=model, **options)

    reference = run_on_strokes(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_on_strokes(tmp_path / "parts", fail_at=2)
    ours = run_on_strokes(tmp_path / "parts")
    assert_same_run(tmp_path / "parts", ours, tmp_path / "whole", reference)
    assert not [t for t in threading.enumerate() if t.name.startswith("spconv-loader")]


def test_a_finished_run_can_be_prolonged(tmp_path, uninterrupted):
    reference_folder, make_optimizer, reference = uninterrupted
    run(tmp_path, make_optimizer, epochs=2)
    ours = run(tmp_path, make_optimizer)
    assert_same_run(tmp_path, ours, reference_folder, reference)
    loader = Loader()
    again = run(tmp_path, make_optimizer, loader=loader)
    assert loader.requests == []
    assert again[2] == ours[2]
    assert_same_run(tmp_path, again, reference_folder, reference)


def test_resume_false_starts_anew(tmp_path, uninterrupted):
    reference_folder, make_optimizer, reference = uninterrupted
    run(tmp_path, make_optimizer, epochs=1, seed=9)
    ours = run(tmp_path, make_optimizer, resume=False)
    assert_same_run(tmp_path, ours, reference_folder, reference)


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


def test_frozen_layers_stay_in_their_mode_and_a_model_in_evaluation_is_trained(tmp_path):
    model = make_model()
    model[1].eval()
    mean = model[1].running_mean.copy()
    run(tmp_path, model=model)
    np.testing.assert_array_equal(model[1].running_mean, mean)
    model = make_model()
    model.eval()
    run(tmp_path / "other", model=model)
    assert model.training
    assert not np.array_equal(model[1].running_mean, mean)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1;"),
        ({"loader": Loader(batch_size=5)}, "batch size was 4 and is 5"),
        ({"loader": Loader(num_batches=6)}, "batches in an epoch was 5 and is 6"),
        ({"loader": Loader(seed=7)}, "seed of the loader was 0 and is 7"),
        ({"make_optimizer": make_adam}, "optimizer was SGD and is Adam"),
        (
            {"make_optimizer": lambda m: SGD(m.named_parameters(), 0.2, momentum=0.5)},
            "optimizer's momentum was 0.9 and is 0.5",
        ),
        (
            {"model": make_model(width=9)},
            r"0.weight was float32 \(9, 1, 8\) and is float32 \(9, 1, 9\)",
        ),
        (
            {"model": SparseSequential(SubMConv2d(1, 8, 3), SparseGlobalAvgPool(), Linear(8, 3))},
            r"9.weight was float32 \(8, 3\) and is absent; .* 2.weight was absent and is float32",
        ),
        ({"schedule": None}, "optimizer's lr was absent and is 0.2"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    run(tmp_path, epochs=1)
    before = (tmp_path / "run.npz").read_bytes(), (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match=rf"run\.npz belongs to a run with other.*{message}"):
        run(tmp_path, **change)
    assert before == ((tmp_path / "run.npz").read_bytes(), (tmp_path / "log.jsonl").read_bytes())


def test_another_learning_rate_without_a_schedule_is_refused(tmp_path):
    run(tmp_path, epochs=1, schedule=None)
    with pytest.raises(ValueError, match=r"optimizer's lr was 0\.2 and is 0\.1"):
        run(tmp_path, lambda m: SGD(m.named_parameters(), 0.1, 0.9, True, 1e-3), schedule=None)


def test_a_checkpoint_without_a_run_is_refused(tmp_path):
    save(tmp_path / "run.npz", make_model())
    with pytest.raises(ValueError, match=r"run\.npz was not written by train\(\)"):
        run(tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    run(tmp_path, epochs=1)
    whole = (tmp_path / "run.npz").read_bytes()
    (tmp_path / "run.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"run\.npz: not a whole \.npz file"):
        run(tmp_path)


def test_a_failed_save_leaves_a_run_that_can_be_resumed(tmp_path, uninterrupted, monkeypatch):
    reference_folder, make_optimizer, reference = uninterrupted
    run(tmp_path, make_optimizer, epochs=1)

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            run(tmp_path, make_optimizer)
    ours = run(tmp_path, make_optimizer)
    assert_same_run(tmp_path, ours, reference_folder, reference)


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


@pytest.mark.parametrize("options", [{"epochs": 0}, {"loader": []}])
def test_nothing_to_do_is_refused(tmp_path, options):
    with pytest.raises(ValueError, match="train: expected at least 1 epoch of at least 1 batch"):
        run(tmp_path, **options)
