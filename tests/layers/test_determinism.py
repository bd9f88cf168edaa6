"""The same bits at every number of threads, every time, forward and backward."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.testing import random_sparse_tensor


@pytest.fixture(autouse=True)
def _threads():
    yield
    spconv.set_num_threads(None)


def run(x, features, ground):
    """Loss and all gradients of one freshly seeded network, large enough to use its threads."""
    rng = np.random.default_rng(1)
    leaf, g = spconv.Parameter(features), spconv.Parameter(ground)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(32, 48, 3, rng=rng, indice_key="a"),
        spconv.BatchNorm(48, statistics="all"),
        spconv.LeakyReLU(),
        spconv.SparseMaxPool2d(3, stride=2),
        spconv.SparseConv2d(48, 32, 3, stride=2, rng=rng, indice_key="b"),
        spconv.ReLU(),
        spconv.SparseInverseConv2d(32, 33, 3, rng=rng, indice_key="b"),
        spconv.SparseAvgPool2d(2),
        spconv.SparseGlobalAvgPool(),
        spconv.Linear(33, 10, rng=rng),
    )
    x = spconv.SparseConvTensor(leaf, x.indices, x.spatial_shape, x.batch_size, g)
    loss = functional.cross_entropy(net(x), np.arange(x.batch_size))
    loss.backward()
    return [loss.data, leaf.grad, g.grad, *(p.grad for _, p in net.named_parameters())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits(dtype):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (90, 90), 3, 32, density=0.4, dtype=dtype, shuffle=True)
    arguments = x, x.features.numpy(), x.ground_state.numpy()
    results = []
    for count in (1, 2, 3, 4, 1):
        spconv.set_num_threads(count)
        results.append(run(*arguments))
    for other in results[1:]:
        for expected, actual in zip(results[0], other, strict=True):
            assert expected.dtype == actual.dtype
            np.testing.assert_array_equal(actual, expected)
