"""Loaders build rulebooks in their threads, the very ones that the network asks for."""

import threading
from itertools import islice

import numpy as np
import pytest

import spconv
from spconv import functional, rulebook_cache
from spconv.data import BatchLoader, batches
from spconv.functional import cross_entropy
from spconv.rulebook_cache import RulebookCache


class Levels(spconv.Module):
    """Down and up again, beside a pooling of what it comes from."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.stem = spconv.SubMConv2d(1, 4, 3, rng=rng)
        self.down = spconv.SparseConv2d(4, 4, 2, stride=2, indice_key="down", rng=rng)
        self.middle = spconv.SubMConv2d(4, 4, 3, rng=rng)
        self.up = spconv.SparseInverseConv2d(4, 4, 2, indice_key="down", rng=rng)
        self.wide = spconv.SparseConv2d(4, 4, 3, padding=1, rng=rng)
        self.pool = spconv.SparseMaxPool2d(2)
        self.average = spconv.SparseAvgPool2d(3, stride=2)
        self.head = spconv.Linear(4, 3, rng=rng)

    def forward(self, x):
        x = self.stem(x)
        y = self.up(self.middle(self.down(x)))
        z = self.average(self.pool(self.wide(x + y)))
        return self.head(spconv.functional.global_avg_pool(z))


def tensor(seed, shape=(17, 19), shuffled=False):
    rng = np.random.default_rng(seed)
    sites = np.argwhere(rng.random((2, *shape)) < 0.2)
    if shuffled:
        rng.shuffle(sites)
    features = rng.standard_normal((len(sites), 1)).astype("float32")
    return spconv.SparseConvTensor(features, sites, shape, 2)


def train_on(net, x):
    loss = cross_entropy(net(x), [0, 2])
    loss.backward()
    return loss.item(), {path: p.grad for path, p in net.named_parameters()}


def no_more(*arguments, **options):
    raise AssertionError("a rulebook was built where none should be missing")


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_plan_of_one_batch_serves_the_next(monkeypatch, shuffled):
    first, second = tensor(0), tensor(1, (20, 15), shuffled)
    train_on(Levels(), first)
    plan = first.rulebooks.plan(first.sites)
    assert len(plan) == 6
    assert any("_swapped" in step.computed for step in plan)
    expected = train_on(Levels(), tensor(1, (20, 15), shuffled))
    second.rulebooks.follow(plan, second.sites)
    assert second.rulebooks.plan(second.sites) == ()  # nothing was asked for
    ops = spconv.ops.get_ops(np.empty(0))
    monkeypatch.setattr(ops, "build_rulebook", no_more)
    monkeypatch.setattr(spconv.Rulebook, "_reversed", no_more)
    loss, gradients = train_on(Levels(), second)
    assert loss == expected[0]
    for path, gradient in gradients.items():
        assert np.array_equal(gradient, expected[1][path])
    assert second.rulebooks.plan(second.sites) == plan


def test_what_an_engine_keeps_elsewhere_is_in_no_plan():
    class Elsewhere(spconv.Rulebook):
        pass

    def build(sites, geometry, owner):
        return Elsewhere(*vars(rulebook_cache.build(sites, geometry, owner)).values())

    x, layer = tensor(0), spconv.SubMConv2d(1, 1, 3)
    x.rulebooks.get(x.sites, layer.geometry, builder=build)
    assert x.rulebooks.plan(x.sites) == ()
    assert RulebookCache().plan(x.sites) == ()


@pytest.fixture
def processors(monkeypatch):
    """Two of them, one for the training."""
    monkeypatch.setattr(batches, "available_cpus", lambda: 2)
    monkeypatch.setattr(batches, "get_num_threads", lambda: 1)


def loader_of(shapes=((17, 19),) * 5):
    """Batches of one sample, one of them ahead of the training."""

    def make(rows, rng):
        return tensor(rows[0], shapes[rows[0]]), rows

    return BatchLoader(make, len(shapes), batch_size=1, prefetch=1)


def followed(monkeypatch):
    """An event for the end of every work ahead."""
    done, ahead = threading.Semaphore(0), batches._build_ahead

    def build(*arguments):
        ahead(*arguments)
        done.release()

    monkeypatch.setattr(batches, "_build_ahead", build)
    return done


def train_on_all(loader, done):
    """How many rulebooks each batch came with, and its loss; the next one is made meanwhile."""
    for x, rows in loader:
        known = len(x.rulebooks._built)
        loss, _ = train_on(Levels(), x)
        if rows[0] < len(loader) - 1:
            assert done.acquire(timeout=60)
        yield known, loss


def test_batches_come_with_the_rulebooks_that_the_one_before_needed(monkeypatch, processors):
    known, losses = zip(*train_on_all(loader_of(), followed(monkeypatch)), strict=True)
    assert known == (0, 0, 6, 6, 6)
    assert losses == tuple(train_on(Levels(), tensor(seed))[0] for seed in range(5))


def test_not_where_the_training_has_all_processors(monkeypatch, processors):
    loader = loader_of()
    assert loader._spare_processor()
    monkeypatch.setattr(batches, "get_num_threads", lambda: 2)
    assert not loader._spare_processor()
    monkeypatch.setattr(batches, "_build_ahead", no_more)
    for x, _ in loader:
        train_on(Levels(), x)


def test_not_while_the_training_waits_for_the_batch(monkeypatch, processors):
    monkeypatch.setattr(batches, "_build_ahead", no_more)
    started = threading.Event()

    class Slow(BatchLoader):
        def _prepare(self, order, epoch, batch):
            started.wait(60)  # until it is waited for
            return super()._prepare(order, epoch, batch)

    loader = Slow(lambda rows, rng: (tensor(0), rows), 1, batch_size=1)
    real = batches.Future.result

    def result(future, *arguments):
        started.set()
        return real(future, *arguments)

    monkeypatch.setattr(batches.Future, "result", result)
    assert len(list(loader)) == 1


def test_a_grid_that_is_too_small_is_the_networks_to_report(monkeypatch, processors):
    steps = train_on_all(loader_of([(17, 19), (17, 19), (4, 4)]), followed(monkeypatch))
    assert [known for known, _ in islice(steps, 2)] == [0, 0]
    with pytest.raises(ValueError, match="SparseAvgPool2d"):
        next(steps)


def test_rulebooks_that_are_not_needed_any_more_are_built_once_more_only(monkeypatch, processors):
    done = followed(monkeypatch)
    former, later = (spconv.SubMConv2d(1, 1, size) for size in (3, 5))
    known = []
    for x, rows in loader_of():
        known.append([geometry.kernel_size[0] for _, geometry in x.rulebooks._built])
        y = x if rows[0] else functional.prune(x, np.ones(len(x.indices), bool))
        (former if rows[0] < 2 else later)(y)
        former(y) if rows[0] == 1 else None
        assert rows[0] == 4 or done.acquire(timeout=60)
    assert known == [[], [], [], [3], [5]]


def test_what_a_branch_asks_for_is_needed():
    first, second = tensor(0), tensor(1)
    layer = spconv.SubMConv2d(1, 1, 3)
    layer(first)
    plan = first.rulebooks.plan(first.sites)
    second.rulebooks.follow(plan, second.sites)
    branch = second.rulebooks.branch()
    assert branch.plan(second.sites) == ()
    branch.get(second.sites, layer.geometry)
    assert second.rulebooks.plan(second.sites) == plan


def test_a_grid_of_other_dimensions_is_the_networks_to_report():
    layer = spconv.SubMConv3d(1, 1, 3)
    x = spconv.SparseConvTensor(np.ones((1, 1), "float32"), [[0, 1, 1, 1]], (3, 3, 3), 1)
    layer(x)
    flat = tensor(0)
    batches._build_ahead((flat, None), x.rulebooks.plan(x.sites))
    assert not flat.rulebooks._built


def test_other_inputs_have_no_rulebooks(processors):
    rows = [inputs for inputs, _ in BatchLoader(lambda rows, rng: (rows, rows), 3, batch_size=1)]
    assert np.array_equal(np.concatenate(rows), [0, 1, 2])
