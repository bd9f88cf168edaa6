import re

import numpy as np
import pytest

import spconv
from spconv.data import collate
from spconv.testing import random_sparse_tensor

SITES = [[0, 1, 2], [0, 0, 3]]


def tensor(shape=(4, 5), channels=2, dtype=np.float32, ground=None, sites=SITES):
    features = np.ones((len(sites), channels), dtype)
    return spconv.SparseConvTensor(features, sites, shape, 1, ground)


@pytest.mark.parametrize("ground", [False, True])
def test_a_batch_is_its_samples(ground):
    rng = np.random.default_rng(0)
    state = rng.standard_normal(3).astype(np.float32) if ground else None
    parts = []
    for batch_size in (1, 2, 1):
        x = random_sparse_tensor(rng, (6, 5, 4), batch_size, 3, ground=False, dtype=np.float32)
        parts.append(
            spconv.SparseConvTensor(x.features.data, x.indices, (6, 5, 4), batch_size, state)
        )
    parts.insert(
        1,
        spconv.SparseConvTensor(np.ones((0, 3), "f4"), np.zeros((0, 4), int), (6, 5, 4), 1, state),
    )
    x = collate(iter(parts))
    assert (x.batch_size, x.spatial_shape, len(x)) == (5, (6, 5, 4), sum(map(len, parts)))
    assert x.features.dtype == np.float32
    np.testing.assert_array_equal(x.dense().data, np.concatenate([p.dense().data for p in parts]))
    layer = spconv.SubMConv3d(3, 2, 3)
    apart = np.concatenate([layer(p).features.data for p in parts])
    np.testing.assert_array_equal(layer(x).features.data, apart)


def test_what_is_joined_is_a_copy():
    one = tensor(ground=[1.0, 2.0])
    x = collate([one, one])
    assert one.indices.tolist() == SITES
    x.features.data[:] = 7
    x.ground_state.data[:] = 7
    assert one.features.data.max() == 1
    assert one.ground_state.data.tolist() == [1, 2]


def test_a_larger_grid():
    parts = [tensor((4, 5)), tensor((2, 9))]
    with pytest.raises(
        ValueError,
        match=re.escape("got (4, 5) of tensor 0 and (2, 9) of tensor 1; pass the spatial_shape="),
    ):
        collate(parts)
    x = collate(parts, spatial_shape=(6, 10))
    assert x.spatial_shape == (6, 10)
    assert x.indices.tolist() == [[0, 1, 2], [0, 0, 3], [1, 1, 2], [1, 0, 3]]
    assert collate(parts, 9).spatial_shape == (9, 9)
    with pytest.raises(
        ValueError, match=r"collate: spatial_shape \(4, 8\) must be .* got \(2, 9\) of tensor 1"
    ):
        collate(parts, spatial_shape=(4, 8))


def test_dropped_channels_come_back():
    x = tensor(channels=4)
    dropout = spconv.BatchwiseDropout(0.5, rng=np.random.default_rng(0))
    with spconv.no_grad():
        dropped = spconv.functional.batchwise_dropout(x, dropout.draw(4))
    assert dropped.channels is not None
    assert collate([dropped, x]).num_channels == 4


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ([], ValueError, "expected at least one tensor"),
        (tensor(), TypeError, r"expected tensors, got SparseConvTensor; call collate\(\[x, y\]\)"),
        (5, TypeError, r"expected tensors, got int; call collate\(\[x, y\]\)"),
        ([tensor(), np.ones(3)], TypeError, "got numpy.ndarray as number 1"),
        ([tensor(), tensor(channels=3)], ValueError, "number of channels, got 2 of tensor 0 and 3"),
        (
            [tensor(), tensor(dtype=np.float64)],
            TypeError,
            "float32 on cpu and float64 on cpu; make them of arrays",
        ),
        ([tensor(), tensor((9,), sites=[[0, 1]])], ValueError, "number of dimensions, got 2"),
        ([tensor(), tensor(ground=[0, 1])], ValueError, r"ground state, got none .* \[0.0, 1.0\]"),
        ([tensor(ground=[0, 2]), tensor(ground=[0, 1])], ValueError, "one ground state"),
        ([spconv.SubMConv2d(2, 2, 1)(tensor())], ValueError, r"tensor 0 .* spconv.no_grad\(\)"),
    ],
)
def test_errors(tensors, error, message):
    with pytest.raises(error, match=f"collate: .*{message}"):
        collate(tensors)
