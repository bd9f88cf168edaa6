import doctest
import json
import subprocess
import sys

import numpy as np
import profile_step
import pytest
from harness import stopwatch
from harness.stopwatch import FORWARD, INPUT_GRADIENT, PRODUCTS, WEIGHT_GRADIENT, Stopwatch, watched
from plans.recipes import ASSAMESE, MNIST
from reporting import table
from training import subjects
from training.steps import sgd

import spconv
from spconv.functional import cross_entropy
from spconv.ops import get_ops


def watched_step(subject):
    watch, optimizer = Stopwatch(), sgd(subject.model)
    with watched(watch, subject.model, optimizer), watch.label("all"):
        loss = cross_entropy(subject.model(subject.source()), subject.labels)
        loss.backward()
        optimizer.step()
    return watch


def test_the_watch_counts_the_multiply_adds_of_a_step():
    subject = subjects.characters("tiny", None)
    counts = spconv.summary(subject.model, subject.source()).layers
    convolutions = [count.multiply_adds for count in counts if count.layer == "SparseConv2d"]
    (linear,) = [count.multiply_adds for count in counts if count.layer == "Linear"]
    counted = watched_step(subject).multiply_adds
    assert counted[FORWARD] == counted[WEIGHT_GRADIENT] == sum(convolutions)
    assert counted[INPUT_GRADIENT] == sum(convolutions[1:])
    assert counted[PRODUCTS] == 3 * linear


def test_every_operation_of_the_engine_is_classified():
    public = {name for name in vars(spconv.ops.Ops) if not name.startswith("_")}
    assert set(stopwatch.OPERATIONS) == public - {"convolve"}  # which has two labels
    watch = watched_step(subjects.characters("tiny", None))
    assert {stopwatch.RULEBOOK, stopwatch.POOLING, stopwatch.ACTIVATION} <= set(watch.seconds)
    assert not public & set(watch.seconds)  # an operation without a label has its own name


def test_the_watch_leaves_everything_as_it_was():
    subject = subjects.scan("tiny")
    weights = [parameter.data.copy() for parameter in subject.model.parameters()]
    ops = get_ops(np.empty(0))
    before = dict(vars(ops)), spconv.rulebook.Rulebook.inverse, spconv.Tensor.__add__
    watched_step(subject)
    assert (dict(vars(ops)), spconv.rulebook.Rulebook.inverse, spconv.Tensor.__add__) == before
    assert not any("forward" in vars(layer) for _, layer in subject.model.named_modules())
    on_watch = [parameter.data for parameter in subject.model.parameters()]
    again = subjects.scan("tiny")
    for parameter, array in zip(again.model.parameters(), weights, strict=True):
        np.testing.assert_array_equal(parameter.data, array)
    again.step()()
    for parameter, array in zip(again.model.parameters(), on_watch, strict=True):
        np.testing.assert_array_equal(parameter.data, array)


@pytest.mark.parametrize("recipe", [MNIST, ASSAMESE], ids=lambda recipe: recipe.data)
def test_the_parts_are_the_whole_and_an_epoch_is_its_steps(recipe):
    profile = profile_step.epoch(recipe, "tiny", None)
    assert len(profile.seconds) == 3
    assert profile.steps_per_epoch == 5
    assert profile.milliseconds == pytest.approx(1e3 * np.mean(profile.seconds), rel=1e-9)
    assert profile.epoch_seconds == 5 * np.median(profile.seconds)
    assert 0 < profile.arithmetic < 1
    labels = [part.label for part in profile.parts]
    own = stopwatch.DROPOUT if recipe is MNIST else stopwatch.NORMALIZATION
    assert {stopwatch.LOADER, own, stopwatch.OPTIMIZER} <= set(labels)


@pytest.mark.slow
def test_the_command(tmp_path, benchmarks_folder):
    command = [sys.executable, str(benchmarks_folder / "profile_step.py"), "--tiny"]
    done = subprocess.run(
        [*command, "--threads", "1", "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "profile.json").read_text())
    assert result["machine"]["threads"] == 1
    assert len(result["profiles"]) == 3
    text = (tmp_path / "profile.md").read_text()
    assert text == done.stdout
    assert text.count("**arithmetic**") == 3


@pytest.mark.parametrize("module", [table, stopwatch], ids=lambda m: m.__name__)
def test_examples_in_the_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0
