"""A run that was stopped anywhere goes on to the bits of one that was not."""

import os
import signal
import threading

import numpy as np
import pytest
from training_runs import (
    BATCHES,
    EPOCHS,
    Loader,
    Stop,
    assert_same_run,
    interrupting_loss,
    once,
    read_log,
    run,
)

from spconv.checkpoint import load
from spconv.data import Affine, SparseLoader, load_strokes
from spconv.functional import cross_entropy
from spconv.layers import (
    BatchNorm,
    Dropout,
    Linear,
    ReLU,
    SparseConv2d,
    SparseGlobalAvgPool,
    SparseMaxPool2d,
    SparseSequential,
)
from spconv.optim import SGD


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


def test_halves_of_errors_and_weights_of_samples_are_resumed(tmp_path):
    def count(logits, labels):
        return 0.5, np.float32(1.5)

    options = {"count": count, "evaluate": None, "epochs": 2}
    with pytest.raises(Stop):
        run(tmp_path, loader=Loader(fail=once(Stop, 0, 3)), checkpoint_every=0.0, **options)
    *_, history = run(tmp_path, **options)
    assert [epoch.error for epoch in history.epochs] == [1 / 3, 1 / 3]


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


def test_groups_go_on_under_a_schedule(tmp_path):
    def make(model):
        vectors = [(path, p) for path, p in model.named_parameters() if p.ndim == 1]
        others = [(path, p) for path, p in model.named_parameters() if p.ndim > 1]
        groups = [{"params": others}, {"params": vectors, "lr": 0.5, "weight_decay": 0.0}]
        return SGD(groups, lr=0.2, momentum=0.9, weight_decay=1e-3)

    reference = run(tmp_path / "whole", make)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", make, loss=interrupting_loss(BATCHES + 2), evaluate=None)
    ours = run(tmp_path / "parts", make)
    for name, array in reference[0].state_dict().items():
        assert ours[0].state_dict()[name].tobytes() == array.tobytes()
    assert repr(ours[1].groups) == repr(reference[1].groups)


def test_a_run_that_is_done_says_so(tmp_path, uninterrupted, capsys):
    _, make_optimizer, _ = uninterrupted
    run(tmp_path, make_optimizer, progress=True)
    assert "already" not in capsys.readouterr().err
    run(tmp_path, make_optimizer, progress=True)
    message = f"run.npz has all {EPOCHS} epochs already: nothing is trained; ask for more epochs"
    assert message in capsys.readouterr().err


def test_resume_false_starts_anew(tmp_path, uninterrupted):
    reference_folder, make_optimizer, reference = uninterrupted
    run(tmp_path, make_optimizer, epochs=1, seed=9)
    ours = run(tmp_path, make_optimizer, resume=False)
    assert_same_run(tmp_path, ours, reference_folder, reference)


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


@pytest.mark.parametrize(
    "told",
    [
        {"batch_size": np.int64(4), "seed": np.array(3)},
        {"seed": (np.uint32(1), 2)},
        {"seed": np.random.SeedSequence(3)},
        {"seed": np.random.default_rng},
    ],
)
def test_numbers_of_numpy_and_other_objects_are_told_as_well(tmp_path, told):
    loader = Loader()
    batches = list(loader.epoch(0))

    class Again(Loader):
        def epoch(self, epoch, start=0):
            return iter(batches[start:])

    again = Again()
    vars(again).update(told)
    run(tmp_path, loader=again, epochs=1, clip_norm=np.float32(1))
    *_, history = run(tmp_path, loader=again, epochs=2, clip_norm=np.float32(1))
    assert len(history.epochs) == 2
    if "batch_size" in told:
        again.batch_size = 5
        with pytest.raises(ValueError, match="batch size was 4 and is 5"):
            run(tmp_path, loader=again, epochs=3, clip_norm=np.float32(1))
