import threading
import time

import numpy as np
import pytest

import spconv
from spconv.data.augment import Affine
from spconv.data.loader import SparseLoader
from spconv.data.strokes import load_strokes
from spconv.models import DeepCNet
from spconv.tensor import SparseConvTensor
from spconv.train import train


@pytest.fixture(scope="module")
def data():
    return load_strokes("train", num_samples=50)


def make(data, **options):
    return SparseLoader(
        *data,
        **{"batch_size": 8, "field": 96, "augment": Affine(), "shuffle": True, **options},
    )


def arrays(batches):
    return [(x.indices, x.features.numpy(), y) for x, y in batches]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for a, b in zip(batch, other, strict=True):
            np.testing.assert_array_equal(a, b)


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("spconv-loader")]


def test_batches(data):
    batches = list(make(data, field=(96, 64)))
    assert len(batches) == 7
    for x, y in batches:
        assert isinstance(x, SparseConvTensor)
        assert x.spatial_shape == (96, 64)
        assert x.batch_size == len(y)
        assert x.features.dtype == np.float32
        assert x.indices.dtype == np.int32
        assert y.dtype == np.int64
        assert x.ground_state.numpy().tolist() == [0]
        assert not x.features.requires_grad
    assert [len(y) for _, y in batches] == [8] * 6 + [2]
    assert np.bincount(np.concatenate([y for _, y in batches])).tolist() == [5] * 10


def test_plain_batches_are_the_images_in_order(data):
    images, labels = data
    for i, (x, y) in enumerate(make(data, augment=None, shuffle=False, field=48)):
        part = slice(8 * i, 8 * i + 8)
        np.testing.assert_array_equal(y, labels[part])
        expected = images[part].astype(np.float32) * np.float32(1 / 255)
        np.testing.assert_array_equal(x.dense().numpy()[:, 0, 10:38, 10:38], expected)


def test_without_ground_state(data):
    x, _ = next(iter(make(data, ground_state=False)))
    assert x.ground_state is None


def test_length_and_drop_last(data):
    for size in (1, 7, 10, 50, 51):
        for drop in (False, True):
            loader = make(data, batch_size=size, drop_last=drop, augment=None)
            sizes = [len(y) for _, y in loader]
            assert len(sizes) == len(loader)
            assert sum(sizes) == (50 - 50 % size if drop else 50)


@pytest.mark.parametrize(("num_threads", "prefetch"), [(1, 1), (1, 4), (3, 2), (4, 20)])
def test_threads_do_not_matter(data, num_threads, prefetch):
    plain = arrays(make(data, num_threads=0).epoch(2))
    assert_same(arrays(make(data, num_threads=num_threads, prefetch=prefetch).epoch(2)), plain)


@pytest.mark.parametrize("start", [0, 3, 6, 7])
def test_resume_in_the_middle(data, start):
    whole = arrays(make(data).epoch(5))
    assert_same(arrays(make(data).epoch(5, start=start)), whole[start:])


def test_epochs_and_seeds_differ(data):
    loader = make(data)
    first, second = arrays(loader), arrays(loader)
    assert_same(first, arrays(make(data).epoch(0)))
    assert_same(second, arrays(make(data).epoch(1)))
    labels = [np.concatenate([y for *_, y in epoch]) for epoch in (first, second)]
    assert (labels[0] != labels[1]).any()
    other = np.concatenate([y for *_, y in arrays(make(data, seed=1))])
    assert (labels[0] != other).any()


def test_augmentation_differs_between_batches_and_epochs(data):
    images, labels = data
    same = (np.repeat(images[:1], 16, axis=0), np.repeat(labels[:1], 16))
    loader = make(same)
    features = [f.tobytes() for epoch in range(2) for _, f, _ in arrays(loader.epoch(epoch))]
    assert len(set(features)) == 4


def test_early_stop_leaves_no_threads(data):
    for x, _ in make(data, batch_size=2, num_threads=3):
        assert x.batch_size == 2
        assert loader_threads()
        break
    assert not loader_threads()
    batches = make(data).epoch(0)
    next(batches)
    batches.close()
    assert not loader_threads()
    list(make(data))
    assert not loader_threads()


def test_error_in_a_thread_reaches_the_consumer(data):
    def fail_later(images, rng):
        if len(images) < 8:
            raise RuntimeError("bad batch")
        return images

    batches = iter(make(data, augment=fail_later, num_threads=2))
    for _ in range(6):
        next(batches)
    with pytest.raises(RuntimeError, match="bad batch"):
        next(batches)
    assert not loader_threads()


def test_prefetch_is_bounded(data):
    prepared = []

    def count(images, rng):
        prepared.append(len(images))
        return images

    batches = iter(make(data, batch_size=1, augment=count, num_threads=2, prefetch=3))
    next(batches)
    deadline = time.monotonic() + 5
    while len(prepared) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(prepared) == 4  # the one in use and three ahead
    batches.close()


@pytest.mark.parametrize("augment", [None, Affine()])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_equal_channels_are_the_single_one(data, augment, dtype):
    images, labels = data[0].astype(dtype), data[1]
    single = list(make((images, labels), augment=augment, field=64))
    triple = list(make((np.repeat(images[:, None], 3, axis=1), labels), augment=augment, field=64))
    for (x, y), (x3, y3) in zip(single, triple, strict=True):
        np.testing.assert_array_equal(y3, y)
        np.testing.assert_array_equal(x3.indices, x.indices)
        np.testing.assert_array_equal(x3.features.numpy(), np.repeat(x.features.numpy(), 3, axis=1))
        assert x3.ground_state.numpy().tolist() == [0, 0, 0]


def test_colours_are_learnt_from_distorted_pictures():
    """The shapes are the same: only the channels tell the classes apart."""
    rng = np.random.default_rng(0)
    shapes, colours = rng.random((60, 1, 8, 8)) < 0.4, np.arange(60) % 3
    pictures = np.uint8([[200, 40, 40], [40, 200, 40], [40, 40, 200]])[colours]
    pictures = shapes * pictures[:, :, None, None]
    loader = SparseLoader(pictures, colours, 20, 24, augment=Affine(), shuffle=True)
    net = DeepCNet(3, 6, in_channels=3, num_classes=3)
    adam = spconv.optim.Adam(net.named_parameters(), lr=0.01)
    train(net, loader, adam, epochs=8)
    net.eval()
    with spconv.no_grad():
        right = [(net(x).data.argmax(1) == y).mean() for x, y in loader.epoch(99)]
    assert np.mean(right) > 0.9


def test_empty_data_set():
    loader = SparseLoader(np.zeros((0, 28, 28), np.uint8), np.zeros(0, int), 4, 96)
    assert len(loader) == 0
    assert list(loader) == []


def test_image_without_ink():
    x, y = next(iter(SparseLoader(np.zeros((2, 28, 28), np.uint8), np.zeros(2, int), 4, 96)))
    assert (x.features.shape, x.batch_size, len(y)) == ((0, 1), 2, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": np.zeros((50, 784))}, ValueError, r"\(N, C, H, W\), got \(50, 784\)"),
        ({"labels": np.zeros(49, int)}, ValueError, r"labels must have shape \(50,\).*\(49,\)"),
        ({"labels": np.zeros(50)}, TypeError, "labels must be integers, got float64"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, r"SparseLoader: batch_size must be an int, got 2\.5"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"num_threads": -1}, ValueError, "num_threads must be at least 0, got -1"),
        ({"prefetch": 0}, ValueError, "prefetch must be at least 1, got 0"),
        ({"field": 9.5}, TypeError, "SparseLoader: field must be an int or a sequence of 2 ints"),
    ],
)
def test_errors(data, options, error, message):
    arguments = {"images": data[0], "labels": data[1], "batch_size": 8, "field": 96, **options}
    with pytest.raises(error, match=message):
        SparseLoader(**arguments)


def test_errors_of_use(data):
    with pytest.raises(ValueError, match=r"start must be in 0\.\.7, got 8"):
        make(data).epoch(0, start=8)
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        make(data).epoch(-1)
    with pytest.raises(ValueError, match="one image for each of 8, got 7"):
        list(make(data, augment=lambda images, rng: images[1:]))
    with pytest.raises(ValueError, match="use a larger field"):
        list(make(data, field=12))
