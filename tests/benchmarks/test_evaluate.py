from dataclasses import replace

import evaluate
import pretrained
import pytest
from harness.options import Options
from plans.images import DeepCNetRun
from plans.plan import Augmentation, Training
from plans.recipes import RECIPES, Recipe
from pretrain import pretrain
from workloads.datasets import few_images

TRAINING = Training(
    1, 20, 0.02, 0.9, 1e-4, warmup_steps=2, num_train=40, num_test=40, augment=Augmentation()
)
PLAN = DeepCNetRun(4, 2, 0.0, TRAINING, name="mnist")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A recipe that takes a moment, its data and the weights that it gives."""
    recipe = Recipe("mnist", PLAN, PLAN.model)
    monkeypatch.setitem(RECIPES, "mnist", recipe)
    for module in (evaluate, pretrained):
        monkeypatch.setattr(module, "load_required", lambda *_: few_images())
    return pretrain("mnist", recipe, few_images(), tmp_path, "a command", [].append)


def test_one_view_and_a_vote_are_reported_apart(weights, capsys):
    evaluate.main(["mnist", "--weights", str(weights), "--views", "3"])
    network, one, _, voted = capsys.readouterr().out.splitlines()
    assert "DeepCNet(4, 2)" in network
    assert "of 40" in one
    assert "voting" not in one
    assert "voting over 3 augmented copies" in voted


def test_networks_without_weights_are_left_out(tmp_path, monkeypatch):
    def nowhere(**_):
        raise FileNotFoundError("this copy of spconv has no trained weights")

    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, constructor=nowhere))
    lines = []
    assert pretrained.run(Options("quick", tmp_path, None, lines.append)) == []
    assert len(lines) == len(RECIPES)
    assert all("is left out: this copy of spconv has no trained weights" in line for line in lines)


def test_the_section_holds_the_errors_and_how_they_fell(weights, tmp_path, monkeypatch):
    def constructor(pretrained):
        assert pretrained
        return evaluate.load_network("mnist", weights)

    class Shipped(Recipe):
        def info(self):
            return evaluate.spconv.load(weights).extra["recipe"]

    for name in list(RECIPES):
        monkeypatch.delitem(RECIPES, name)
    monkeypatch.setitem(RECIPES, "mnist", Shipped("mnist", PLAN, constructor))
    (record,) = pretrained.run(Options("tiny", tmp_path, None, [].append))
    assert [result["views"] for result in record.case["results"]] == [1, 2]
    assert all(result["samples"] == 40 for result in record.case["results"])
    assert len(record.case["epochs"]) == 1
    assert record.case["epochs"][0]["test_error"] == record.case["results"][0]["error"]
