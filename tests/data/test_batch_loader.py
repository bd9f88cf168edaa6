"""Batches of a data set of one's own keep what the other loaders promise."""

import threading
import time

import numpy as np
import pytest

import spconv
from spconv.data import BatchLoader, collate
from spconv.models import DeepCNet
from spconv.optim import SGD
from spconv.train import train

SHAPE = (24, 24)


def make(rows, rng):
    """A stroke for every sample, in a place that is drawn."""
    tensors = []
    for row in rows:
        sites = np.zeros((6, 3), int)
        sites[:, 1 + row % 2] = np.arange(6) + rng.integers(9, 15 - 6 + 1)
        sites[:, 2 - row % 2] = 12
        tensors.append(spconv.SparseConvTensor(np.ones((6, 1), np.float32), sites, SHAPE, 1, [0.0]))
    return collate(tensors), rows % 2


def loader(make=make, **options):
    return BatchLoader(make, **{"num_samples": 50, "batch_size": 8, "shuffle": True, **options})


def arrays(batches):
    return [(x.indices.tobytes(), x.features.data.tobytes(), y.tobytes()) for x, y in batches]


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("spconv-loader")]


def test_rows_come_in_order_or_shuffled():
    def rows(**options):
        batches = list(loader(lambda rows, rng: (None, rows), **options).epoch(3))
        lengths = [len(labels) for _, labels in batches]
        return lengths, np.concatenate([labels for _, labels in batches]).tolist()

    assert rows(shuffle=False) == ([8] * 6 + [2], list(range(50)))
    _, shuffled = rows()
    assert sorted(shuffled) == list(range(50)) != shuffled
    assert shuffled != rows(seed=1)[1]
    assert rows(drop_last=True)[0] == [8] * 6
    assert len(loader(drop_last=True)) == 6


@pytest.mark.parametrize(("num_threads", "prefetch"), [(1, 1), (3, 2), (4, 20)])
def test_threads_and_the_start_do_not_matter(num_threads, prefetch):
    plain = arrays(loader(num_threads=0).epoch(2))
    assert len(set(plain)) == 7
    other = loader(num_threads=num_threads, prefetch=prefetch)
    assert arrays(other.epoch(2)) == plain
    assert arrays(other.epoch(2, start=4)) == plain[4:]
    assert arrays(other.epoch(1)) != plain


def test_iterations_are_epochs():
    one = loader()
    assert arrays(one) == arrays(loader().epoch(0))
    assert arrays(one) == arrays(loader().epoch(1))


def test_early_stop_leaves_no_threads():
    for _ in loader(num_threads=3, batch_size=2):
        assert loader_threads()
        break
    assert not loader_threads()
    batches = loader().epoch(0)
    next(batches)
    batches.close()
    assert not loader_threads()


def test_an_error_reaches_the_consumer_in_its_turn():
    def fail_later(rows, rng):
        if len(rows) < 8:
            raise RuntimeError("bad batch")
        return make(rows, rng)

    batches = iter(loader(fail_later, num_threads=2))
    for _ in range(6):
        next(batches)
    with pytest.raises(RuntimeError, match="bad batch"):
        next(batches)
    assert not loader_threads()


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_background_threads_leave_the_others_to_the_training(num_threads):
    before = spconv.threads.threads_for(1e9)
    made = []
    batches = spconv.data.BatchLoader(
        lambda rows, rng: (made.append(spconv.threads.threads_for(1e9)), rows),
        6,
        2,
        num_threads=num_threads,
    )
    list(batches)
    assert made == [before if num_threads == 0 else 1] * 3


def test_prefetch_is_bounded():
    made = []

    def count(rows, rng):
        made.append(rows)
        return None, rows

    batches = iter(loader(count, batch_size=1, num_threads=2, prefetch=3))
    next(batches)
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(made) == 4  # the one in use and three ahead
    batches.close()


def test_a_training_that_is_interrupted_goes_on_to_the_same_bits(tmp_path):
    def run(folder, stop=None):
        net = DeepCNet(3, 4, in_channels=1, num_classes=2, dropout=0.2)
        sgd = SGD(net.named_parameters(), lr=0.1)
        calls = []

        def prepare(x):
            calls.append(x)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return x

        options = {"epochs": 2, "checkpoint": folder / "run.npz", "progress": False}
        train(net, loader(), sgd, prepare=prepare, **options)
        return {name: array.tobytes() for name, array in net.state_dict().items()}

    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=11)
    assert run(tmp_path) == whole
    sgd = SGD((net := DeepCNet(3, 4, 1, 2)).named_parameters(), lr=0.1)
    with pytest.raises(ValueError, match="seed of the loader was 0 and is 1"):
        train(net, loader(seed=1), sgd, epochs=3, checkpoint=tmp_path / "run.npz", progress=False)


def test_an_empty_data_set():
    assert list(loader(num_samples=0)) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"make": None}, TypeError, r"make must be a function, make\(rows, rng\) -> .* NoneType"),
        ({"num_samples": 2.5}, TypeError, r"num_samples must be an int, got 2\.5"),
        ({"num_samples": -1}, ValueError, "num_samples must be at least 0, got -1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"num_threads": -1}, ValueError, "num_threads must be at least 0, got -1"),
        ({"prefetch": 0}, ValueError, "prefetch must be at least 1, got 0"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=f"BatchLoader: {message}"):
        loader(**options)


@pytest.mark.parametrize("num_threads", [0, 1])
@pytest.mark.parametrize(("batch", "got"), [(None, "NoneType"), ((1, 2, 3), "tuple of 3")])
def test_what_is_no_batch(num_threads, batch, got):
    with pytest.raises(TypeError, match=rf"make\(rows, rng\) must return a pair .* got {got}"):
        list(loader(lambda rows, rng: batch, num_threads=num_threads))


def test_what_it_gives_is_shown():
    assert repr(loader(seed=3)) == (
        "BatchLoader(7 batches of 8, num_samples=50, shuffle=True, seed=3, num_threads=1)"
    )
