import json
from dataclasses import replace

import assamese_features
import assamese_vgg
import numpy as np
import pendigits_deepcnet
import pytest
from harness.measuring import Budget, Record, select
from plans.recipes import ASSAMESE, RECIPES, vgg_plus_spec
from plans.strokes import ENCODERS
from training.comparison import Entry, compare
from training.fitting import ended, fit
from training.voting import single_view, vote
from workloads.datasets import few_strokes

import spconv
from spconv.models import assamese_vgg as shipped_network

MODULES = (assamese_vgg, assamese_features, pendigits_deepcnet)


def test_every_network_is_trained_and_every_variant_measured_once(tmp_path):
    first, second, *_ = pendigits_deepcnet.entries("tiny")
    again = Entry(first.variant, second.plan)
    budget = Budget(0.001, 1)
    records = compare([first, again], few_strokes(), tmp_path, budget, [].append)
    assert [record.experiment for record in records] == [
        "training",
        "layers",
        "memory",
        "step",
        "training",
    ]
    (memory,) = select(records, experiment="memory")
    # An interpreter with NumPy takes more than 20 MB, these networks less than 10 times that.
    assert 20 < memory.case["megabytes"] < 500
    (layers,) = select(records, experiment="layers")
    assert layers.case["batch_size"] == 20
    assert layers.case["steps"] == 2
    assert sum(layer["multiply_adds"] for layer in layers.case["layers"]) > 0


def test_only_finished_trainings_where_no_other_may_start(tmp_path):
    first, second, *_ = pendigits_deepcnet.entries("tiny")
    data, budget = few_strokes(), Budget(0.001, 1)
    fit(second.plan, data, tmp_path / second.plan.name, [].append)
    longer = replace(second.plan, training=replace(second.plan.training, epochs=2))
    assert ended(second.plan, data, tmp_path / second.plan.name)
    assert not ended(longer, data, tmp_path / second.plan.name)
    records = compare([first, second], data, tmp_path, budget, [].append, earlier=[])
    assert {record.case["variant"] for record in records} == {second.variant}
    assert not (tmp_path / first.plan.name).exists()


def test_what_was_reported_outlives_the_folder_of_its_training(tmp_path):
    first, *_ = pendigits_deepcnet.entries("tiny")
    data, budget = few_strokes(), Budget(0.001, 1)
    told = compare([first], data, tmp_path / "one", budget, [].append)
    earlier = [Record.from_json(json.loads(json.dumps(record.to_json()))) for record in told]
    again = compare([first], data, tmp_path / "other", budget, [].append, earlier)
    assert again[0].case["epochs"] == told[0].case["epochs"]
    assert [record.experiment for record in again] == [record.experiment for record in told]
    other = replace(first, plan=replace(first.plan, training=replace(first.plan.training, lr=0.5)))
    assert compare([other], data, tmp_path / "other", budget, [].append, earlier) == []
    renamed = replace(data, name="other strokes")
    assert compare([first], renamed, tmp_path / "other", budget, [].append, earlier) == []
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
@pytest.mark.parametrize("size", ["tiny", "full"])
def test_plans_make_networks_that_take_their_batches(module, size):
    data = few_strokes()
    entries = module.entries(size)
    names = [entry.plan.name for entry in entries]
    assert len(set(names)) == len(names)
    for entry in {entry.variant: entry for entry in entries}.values():
        plan = entry.plan
        x, labels = next(iter(plan.loader(data.train, training=True)))
        with spconv.no_grad():
            logits = plan.model()(plan.prepare(x))
        assert logits.shape == (len(labels), plan.classes)


def test_the_recipe_is_the_network_that_is_shipped():
    own, other = ASSAMESE.plan.model().state_dict(), shipped_network(seed=1).state_dict()
    assert all(np.array_equal(own[name], other[name]) for name in other)
    assert len(vgg_plus_spec(16)) == 12
    for recipe in RECIPES.values():
        model = recipe.plan.model()
        assert model.num_parameters() == recipe.constructor().num_parameters()


def test_strokes_are_voted_on_too():
    plan = pendigits_deepcnet.entries("tiny")[0].plan
    data, model = few_strokes(), plan.model()
    assert single_view(plan, model, data.test).samples == 40
    assert vote(plan, model, data.test, 2).samples == 40


def test_occupancy_knows_no_direction():
    assert [encoder.channels for encoder in ENCODERS.values()] == [1, 3, 8, 3, 7, 15]
