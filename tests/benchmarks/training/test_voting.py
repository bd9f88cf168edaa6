from dataclasses import replace

import numpy as np
import pytest
from plans.images import DeepCNetRun
from plans.plan import Augmentation, Training
from training.voting import class_probabilities, single_view, vote
from workloads.datasets import few_images

import spconv

TRAINING = Training(1, 20, 0.02, 0.9, 1e-4, warmup_steps=2, num_test=40)
PLAN = DeepCNetRun(4, 2, 0.5, TRAINING)


def test_views_that_change_nothing_vote_as_one_does():
    still = Augmentation(0.0, 0.0, (1.0, 1.0), 0.0, pad=0)
    plan = replace(PLAN, training=replace(TRAINING, augment=still))
    data, model = few_images(), PLAN.model()
    one = single_view(plan, model, data.test)
    three = vote(plan, model, data.test, 3)
    assert (three.errors, three.samples) == (one.errors, one.samples) == (one.errors, 40)
    assert three.error == one.errors / 40
    assert "voting over 3 augmented copies" in str(three)


def test_the_mean_of_the_probabilities_decides():
    # Two views say class 1 a little, one says class 0 with certainty.
    logits = [[[0.0, 0.4]], [[9.0, 0.0]], [[0.0, 0.4]]]

    class Loader:
        def epoch(self, view):
            return [(np.array(logits[view]), np.array([0]))]

    class Plan:
        def views(self, split):
            return Loader()

        def prepare(self, x):
            return spconv.Tensor(x)

    class Same(spconv.Module):
        def forward(self, x):
            return x

    assert vote(Plan(), Same(), (), 1).errors == 1
    assert vote(Plan(), Same(), (), 3).errors == 0


def test_views_differ_and_come_again():
    plan = replace(PLAN, training=replace(TRAINING, augment=Augmentation()))
    loader = plan.views(few_images().test)
    model = plan.model()
    one, other, again = (
        class_probabilities(model, loader.epoch(view), plan.prepare)[0] for view in (0, 1, 0)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.allclose(one.sum(axis=1), 1)


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        vote(PLAN, PLAN.model(), few_images().test, 0)
