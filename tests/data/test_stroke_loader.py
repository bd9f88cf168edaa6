import threading

import numpy as np
import pytest

from spconv.data.packed import PackedStrokes, pack_strokes
from spconv.data.stroke_augment import StrokeAffine
from spconv.data.stroke_encode import Direction, Octogram, Signature, encode_strokes
from spconv.data.stroke_loader import StrokeLoader
from spconv.data.strokes import make_strokes
from spconv.tensor import SparseConvTensor


@pytest.fixture(scope="module")
def data():
    return make_strokes(50)


def make(data, **options):
    defaults = {"batch_size": 8, "field": 95, "augment": StrokeAffine(), "shuffle": True}
    return StrokeLoader(*data, **{**defaults, **options})


def arrays(batches):
    return [(x.indices, x.features.numpy(), y) for x, y in batches]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for a, b in zip(batch, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("encoder", [Direction(), Octogram(), Signature(3)], ids=repr)
def test_batches(data, encoder):
    batches = list(make(data, encoder=encoder, field=(95, 64)))
    assert [len(y) for _, y in batches] == [8] * 6 + [2]
    for x, y in batches:
        assert isinstance(x, SparseConvTensor)
        assert (x.spatial_shape, x.batch_size) == ((95, 64), len(y))
        assert x.features.shape == (len(x.indices), encoder.channels)
        assert x.ground_state.numpy().tolist() == [0] * encoder.channels
        SparseConvTensor(x.features, x.indices, x.spatial_shape, x.batch_size)  # checks the sites
    assert np.bincount(np.concatenate([y for _, y in batches])).tolist() == [5] * 10


def test_plain_batches_are_the_encoded_characters_in_order(data):
    samples, labels = data
    loader = make(data, augment=None, shuffle=False, box=50, encoder=Signature(2))
    for i, (x, y) in enumerate(loader):
        part = slice(8 * i, 8 * i + 8)
        indices, features = encode_strokes(samples[part], 95, box=50, features=Signature(2))
        np.testing.assert_array_equal(x.indices, indices)
        np.testing.assert_array_equal(x.features.numpy(), features)
        np.testing.assert_array_equal(y, labels[part])


def test_packed_samples_are_the_same(data):
    packed = make((pack_strokes(data[0]), data[1]))
    assert_same(arrays(packed.epoch(1)), arrays(make(data).epoch(1)))


@pytest.mark.parametrize(("num_threads", "prefetch"), [(1, 1), (3, 2), (4, 20)])
def test_threads_do_not_matter(data, num_threads, prefetch):
    plain = arrays(make(data, num_threads=0).epoch(2))
    assert_same(arrays(make(data, num_threads=num_threads, prefetch=prefetch).epoch(2)), plain)


@pytest.mark.parametrize("start", [0, 3, 7])
def test_resume_in_the_middle(data, start):
    assert_same(arrays(make(data).epoch(5, start)), arrays(make(data).epoch(5))[start:])


def test_epochs_and_seeds_differ(data):
    loader = make(data, shuffle=False)
    sizes = [[len(f) for _, f, _ in arrays(loader)] for _ in range(2)]
    other = [len(f) for _, f, _ in arrays(make(data, shuffle=False, seed=1))]
    assert sizes[0] != sizes[1] != other != sizes[0]


def test_options(data):
    assert next(iter(make(data, ground_state=False)))[0].ground_state is None
    assert len(make(data, drop_last=True)) == len(list(make(data, drop_last=True))) == 6


def test_distortions_may_leave_the_field(data):
    wild = make(data, box=90, augment=StrokeAffine(scale=(1.5, 2)))
    for x, _ in wild:
        assert 0 <= x.indices[:, 1:].min() <= x.indices[:, 1:].max() < 95


def test_early_stop_leaves_no_threads(data):
    batches = make(data, num_threads=2).epoch(0)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("spconv-loader")]


def first_only(packed: PackedStrokes, rng):
    return packed.take([0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "StrokeLoader: batch_size must be at least 1, got 0"),
        ({"encoder": "direction"}, TypeError, r"encoder must be Occupancy\(\).*got 'direction'"),
        ({"box": 95}, ValueError, "StrokeLoader: box must be one size"),
        ({"field": 0}, ValueError, "StrokeLoader: field must be"),
        ({"augment": first_only}, ValueError, "one character for each of 8, got 1"),
    ],
)
def test_errors(data, options, error, message):
    with pytest.raises(error, match=message):
        list(make(data, **options))
    with pytest.raises(ValueError, match=r"labels must have shape \(50,\), one for each character"):
        make((data[0], data[1][1:]))
