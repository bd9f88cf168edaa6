import json
import shutil
from dataclasses import asdict, replace

import mnist
import mnist_dropout
import pytest
from harness import results as results_file
from harness.options import Options
from harness.results import Section
from plans.images import DeepCNetRun
from plans.plan import Training
from plans.recipes import RECIPES, Recipe
from pretrain import as_it_is, describe, pretrain
from training import fitting
from training.fitting import diverged, fit
from workloads import datasets
from workloads.datasets import few_images

import spconv

TINY = Training(2, 20, 0.02, 0.9, 1e-4, warmup_steps=2, num_train=60, num_test=40)


def test_without_mnist_synthetic_strokes_are_used(monkeypatch):
    def nowhere(*_):
        raise FileNotFoundError("find_file: not in any of these places")

    monkeypatch.setattr(datasets, "load_mnist", nowhere)
    lines = []
    data = datasets.load_images(None, lines.append)
    assert data.name == datasets.SYNTHETIC
    assert data.train[0].shape == (10_000, 28, 28)
    assert "not in any of these places" in lines[0]


def test_training_resumes_and_starts_anew_with_other_settings(tmp_path, monkeypatch):
    def run():
        lines = []
        records = mnist.run(Options("tiny", tmp_path, None, lines.append))
        return lines, [record.case for record in records]

    first_lines, first = run()
    assert sum("epoch" in line for line in first_lines) == 4
    assert (tmp_path / "runs" / "deepcnet-tiny" / "log.jsonl").exists()
    again_lines, again = run()
    assert [line.split("]")[1][:14] for line in again_lines] == [" going on from"] * 2
    for one, other in zip(first, again, strict=True):
        assert one["epochs"] == other["epochs"]
        assert one["test_errors"] == other["test_errors"]
        json.dumps(one, allow_nan=False)

    deepcnet, simple = mnist.PLANS["tiny"]
    monkeypatch.setitem(mnist.PLANS, "tiny", (replace(deepcnet, k=3), simple))
    changed_lines, _ = run()
    assert "starting anew" in changed_lines[0]
    assert sum("epoch" in line for line in changed_lines) == 2


def test_equal_plans_give_equal_bits(tmp_path):
    plan = DeepCNetRun(3, 2, 0.5, TINY, batchwise=True)
    one, other = (fit(plan, few_images(), tmp_path / str(n), [].append) for n in range(2))
    for name, array in one.model.state_dict().items():
        assert (array == other.model.state_dict()[name]).all(), name
    assert one.test == other.test


def no_finite_loss(*_, **__):
    raise FloatingPointError("train: the loss is nan at step 5")


def test_a_training_whose_loss_is_not_finite_is_not_tried_again(tmp_path, monkeypatch):
    plan, data = DeepCNetRun(3, 2, 0.0, TINY), few_images()
    assert diverged(plan, data, tmp_path) is None
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "train", no_finite_loss)
        with pytest.raises(FloatingPointError):
            fit(plan, data, tmp_path, [].append)
    assert diverged(plan, data, tmp_path) == "train: the loss is nan at step 5"
    other = replace(plan, training=replace(TINY, epochs=1))
    assert diverged(other, data, tmp_path) is None
    fit(other, data, tmp_path, [].append)
    assert diverged(plan, data, tmp_path) is None


def test_the_study_of_dropout_goes_on_without_what_diverged(tmp_path, monkeypatch):
    sweep = mnist_dropout.SWEEPS["tiny"]
    monkeypatch.setitem(
        mnist_dropout.SWEEPS, "tiny", replace(sweep, rates=(0.0,), seeds=(0,), training=TINY)
    )
    monkeypatch.setattr(fitting, "train", no_finite_loss)
    for finished in (False, True):
        lines = []
        records = mnist_dropout.run(Options("tiny", tmp_path, None, lines.append, finished))
        assert [record.experiment for record in records] == ["diverged"] * 2
        assert sum("left out: train: the loss is" in line for line in lines) == 2


def test_what_diverged_is_reported_when_its_folder_is_gone(tmp_path, monkeypatch):
    sweep = mnist_dropout.SWEEPS["tiny"]
    few = replace(sweep, rates=(0.0,), seeds=(0,), training=TINY)
    monkeypatch.setitem(mnist_dropout.SWEEPS, "tiny", few)
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "train", no_finite_loss)
        told = mnist_dropout.run(Options("tiny", tmp_path, None, [].append))
    section = Section("tiny", 1.0, {}, told)
    results_file.write(tmp_path / "results.json", {"mnist-dropout": section})
    shutil.rmtree(tmp_path / "runs")
    again = mnist_dropout.run(Options("tiny", tmp_path, None, [].append, finished=True))
    assert [record.to_json() for record in again] == [record.to_json() for record in told]


def test_pretraining_writes_the_weights_and_how_they_came_about(tmp_path):
    plan = DeepCNetRun(4, 2, 0.5, TINY, name="net")
    data = few_images()
    path = pretrain(
        "net", Recipe("mnist", plan, plan.model), data, tmp_path, "a command", [].append
    )
    checkpoint = spconv.load(path)
    model = plan.model()
    checkpoint.restore(model)
    result = spconv.train.evaluate(model, plan.loader(data.test, training=False))
    recipe = checkpoint.extra["recipe"]
    test = recipe["test_errors"]
    assert test["errors"] == result.num_errors == len(test["misclassified"])
    assert test["error"] == result.num_errors / 40
    assert recipe["dataset"] == data.name
    assert recipe["encoder"]["features"] == "grey values"
    assert recipe["epochs_done"] == recipe["epochs_planned"] == 2
    assert recipe["command"] == "a command"
    assert recipe["version"] == spconv.__version__
    assert recipe["plan"]["training"]["epochs"] == 2
    assert recipe["seconds"] > 0
    assert (tmp_path / "net" / "log.jsonl").exists()


def test_a_training_that_has_not_ended_is_described_as_that(tmp_path):
    plan = DeepCNetRun(4, 2, 0.5, TINY, name="net")
    recipe, data = Recipe("mnist", plan, plan.model), few_images()
    fit(plan, data, tmp_path, [].append)
    longer = replace(recipe, plan=replace(plan, training=replace(TINY, epochs=5)))
    told = describe(longer, data, as_it_is(longer, data, tmp_path), "a command")
    assert (told["epochs_done"], told["epochs_planned"], len(told["epochs"])) == (2, 5, 2)
    checkpoint = spconv.load(tmp_path / "checkpoint.npz")
    state = {**checkpoint.extra["state"], "batch": 1}
    spconv.save(tmp_path / "checkpoint.npz", plan.model(), state=state)
    with pytest.raises(ValueError, match="got epoch 3 after 1 batches; copy the folder"):
        as_it_is(longer, data, tmp_path)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes_are_of_plain_values_and_make_their_networks(name):
    plan = RECIPES[name].plan
    assert plan.name == name
    assert plan.model().num_parameters() > 1000
    json.dumps(asdict(plan))
