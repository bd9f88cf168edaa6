"""Checkpoints of other runs, of no run, and damaged ones are refused and left as they are."""

import numpy as np
import pytest
from training_runs import Loader, make_adam, make_model, make_sgd, run

from spconv.autograd import Tensor
from spconv.checkpoint import load, save
from spconv.layers import Linear, SparseGlobalAvgPool, SparseSequential, SubMConv2d
from spconv.optim import SGD
from spconv.schedules import Constant
from spconv.train import train


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
        ({"schedule": None}, "schedule was Warmup.* and is None; .*lr was absent and is 0.2"),
        ({"schedule": Constant(0.1)}, r"schedule was Warmup.* and is Constant\(lr=0.1\)"),
        ({"schedule": lambda step: 0.1}, "schedule was Warmup.* and is a function"),
        ({"clip_norm": 1.0}, "clip_norm was None and is 1.0"),
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


def grouped(scale=0.5, decay=0.0):
    def make(model):
        vectors = [(path, p) for path, p in model.named_parameters() if p.ndim == 1]
        others = [(path, p) for path, p in model.named_parameters() if p.ndim > 1]
        groups = [{"params": others}, {"params": vectors, "lr": 0.2 * scale, "weight_decay": decay}]
        return SGD(groups, lr=0.2, momentum=0.9, weight_decay=1e-3)

    return make


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (grouped(), grouped(scale=0.25), r"group 1 was Group\(5 .*scale=0\.5, .* is .*scale=0\.25"),
        (grouped(), grouped(decay=0.1), r"group 1 was Group.*decay=0\.0\) and is .*decay=0\.1\)"),
        (grouped(), lambda m: SGD(m.named_parameters(), 0.2, 0.9), "group 1 was .* and is absent"),
        (lambda m: SGD(m.named_parameters(), 0.2, 0.9), grouped(), "group 1 was absent and is Gr"),
    ],
)
def test_a_run_with_other_groups_is_refused(tmp_path, before, now, message):
    run(tmp_path, before, epochs=1)
    with pytest.raises(ValueError, match=f"other settings.*optimizer's {message}"):
        run(tmp_path, now)
    run(tmp_path, before, epochs=2)


def test_a_run_with_another_ignore_index_is_refused(tmp_path):
    run(tmp_path, epochs=1, ignore_index=np.int64(7))
    run(tmp_path, epochs=2, ignore_index=7)
    with pytest.raises(ValueError, match="other settings: ignore_index was 7 and is None"):
        run(tmp_path, epochs=3)
    with pytest.raises(TypeError, match=r"train: ignore_index must be an int, got 0\.5"):
        run(tmp_path, ignore_index=0.5)


@pytest.mark.parametrize("ignore_index", [None, 7])
def test_a_checkpoint_that_does_not_tell_of_ignore_index_goes_on(tmp_path, ignore_index):
    model, optimizer, _ = run(tmp_path, epochs=1)
    extra = load(tmp_path / "run.npz").extra
    del extra["configuration"]["ignore_index"]
    save(tmp_path / "run.npz", model, optimizer, **extra)
    _, _, history = run(tmp_path, epochs=2, ignore_index=ignore_index)
    assert len(history.epochs) == 2


@pytest.mark.parametrize("labels", [np.zeros(2, np.float32), ([0, 1], np.ones((2, 3))), {"a": [0]}])
@pytest.mark.parametrize("own_loss", [False, True])
def test_targets_that_are_no_classes_ask_for_count(labels, own_loss):
    model = Linear(2, 2)
    batches = [(Tensor(np.eye(2, dtype=np.float32)), labels)]
    loss = (lambda logits, labels: (logits * logits).mean()) if own_loss else None
    sgd = SGD(model.named_parameters(), lr=0.1)
    if isinstance(labels, np.ndarray) and not own_loss:
        error, message = TypeError, "cross_entropy: labels must be integers, got dtype float32"
    else:
        error, message = ValueError, r"(count_errors|train): expected .*labels.* pass .*count="
    with pytest.raises(error, match=message):
        train(model, batches, sgd, epochs=1, loss=loss, progress=False)


FINISHED = {"epoch": 1, "step": 5, "lr": 0.1, "loss": 1.0, "error": 0.5, "seconds": 1.0}
FINISHED["samples_per_second"] = 9.0


@pytest.mark.parametrize(
    "change",
    [
        [],
        {"epochs": 1},
        {"epoch": -1},
        {"epoch": 1.5},
        {"epoch": 2},
        {"step": -5},
        {"batch": 7},
        {"num_samples": "3"},
        {"num_errors": None},
        {"seconds": None},
        {"history": 3},
        {"history": [{**FINISHED, "more": 1}], "epoch": 1},
    ],
    ids=repr,
)
def test_states_that_no_run_has_come_to(tmp_path, change):
    run(tmp_path, epochs=1, evaluate=None)
    path = tmp_path / "run.npz"
    model = make_model()
    optimizer = make_sgd(model)
    kept = load(path)
    kept.restore(model, optimizer)
    state = {**kept.extra["state"], **change} if isinstance(change, dict) else change
    save(path, model, optimizer, configuration=kept.extra["configuration"], state=state)
    other = make_model()
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"train: .*run\.npz holds no state of a run: "):
        run(tmp_path, model=other, evaluate=None)
    assert all(np.array_equal(array, before[name]) for name, array in other.state_dict().items())


def test_a_configuration_of_another_kind(tmp_path):
    model = make_model()
    optimizer = make_sgd(model)
    save(tmp_path / "run.npz", model, optimizer, configuration="mine", state={})
    with pytest.raises(ValueError, match=r"not written by train\(\): its configuration is str"):
        run(tmp_path, model=model)
