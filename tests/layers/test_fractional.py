"""Fractional max-pooling layers equal their dense twins, and draw what the seed says."""

import re

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.inference import freeze
from spconv.testing import assert_twin, random_sparse_tensor, reference

pytestmark = pytest.mark.usefixtures("engine")

with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
overlapping_or_not = pytest.mark.parametrize("overlapping", [True, False], ids=["over", "disjoint"])
kinds = pytest.mark.parametrize("random", ["pseudorandom", "random"])


def twin(layer, shape):
    """The dense layer with the regions that `layer` draws in evaluation."""
    rng, regions = np.random.default_rng(layer.eval_seed), []
    for extent, ratio in zip(shape, layer.ratio, strict=True):
        size = functional.fractional_size(extent, ratio)
        regions.append(functional.draw_regions(extent, size, layer.overlapping, layer.random, rng))
    return lambda grid, _: reference.fractional_max_pool(
        grid, regions, overlapping=layer.overlapping
    )


@kinds
@overlapping_or_not
@with_or_without_ground
@pytest.mark.parametrize(
    ("shape", "ratio", "density"),
    [
        ((9,), 1.6, 0.4),
        ((2,), 2, 0.6),
        ((9, 8), (1.2, 2), 0.3),
        ((7, 7), 2**0.5, 0.9),
        ((5, 6, 4), 2 ** (1 / 3), 0.5),
        ((3, 4, 2, 5), 1.7, 0.6),
    ],
)
def test_equals_the_dense_layer(shape, ratio, density, ground, overlapping, random):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(
        rng, shape, 3, 4, density=density, ground=ground, shuffle=True, empty_samples=[1]
    )
    kind = getattr(spconv, f"SparseFractionalMaxPool{len(shape)}d")
    layer = kind(ratio, overlapping, random, seed=3).eval()
    assert_twin(layer, twin(layer, shape), x, rng=rng)


@overlapping_or_not
@with_or_without_ground
@pytest.mark.parametrize("density", [0, 1])
def test_no_site_and_every_site(density, ground, overlapping):
    rng = np.random.default_rng(2)
    x = random_sparse_tensor(rng, (5, 6), 2, 3, density=density, ground=ground)
    layer = spconv.SparseFractionalMaxPool2d(1.5, overlapping).eval()
    assert_twin(layer, twin(layer, (5, 6)), x, rng=rng)


def test_the_ground_state_counts_where_a_region_is_not_full():
    """Six sites in disjoint regions: one site is full with one active site, two with two."""
    x = spconv.SparseConvTensor(
        -np.ones((5, 1)), [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4]], (6,), 1, np.zeros(1)
    )
    regions = [np.array([0, 1, 2, 4, 6])]
    out = functional.sparse_fractional_max_pool(x, regions, overlapping=False)
    np.testing.assert_array_equal(out.features.numpy().ravel(), [-1, -1, -1, 0])
    bare = spconv.SparseConvTensor(-np.ones((5, 1)), x.indices, (6,), 1)
    out = functional.sparse_fractional_max_pool(bare, regions, overlapping=False)
    np.testing.assert_array_equal(out.features.numpy().ravel(), [-1, -1, -1, -1])


def draws(layer, x, times=6):
    return [layer(x).features.data for _ in range(times)]


def equal(a, b):
    return a.shape == b.shape and bool((a == b).all())


@kinds
def test_the_seed_and_the_mode_decide(random):
    x = random_sparse_tensor(np.random.default_rng(0), (20, 20), 1, 2, density=1)
    layer = spconv.SparseFractionalMaxPool2d(1.3, random=random)
    drawn = draws(layer, x)
    assert not all(equal(drawn[0], other) for other in drawn[1:])
    again = draws(spconv.SparseFractionalMaxPool2d(1.3, random=random), x)
    assert all(equal(a, b) for a, b in zip(drawn, again, strict=True))

    net = spconv.SparseSequential(layer, spconv.ReLU(), spconv.Dropout(0.5))
    first = draws(net.seed(3, 7), x)
    assert all(equal(a, b) for a, b in zip(first, draws(net.seed(3, 7), x), strict=True))
    other = draws(net.seed(3, 8), x)
    assert not all(equal(a, b) for a, b in zip(first, other, strict=True))

    fixed = draws(net.eval(), x)
    assert all(equal(fixed[0], other) for other in fixed[1:])
    assert equal(fixed[0], draws(net.seed(9), x, 1)[0])
    assert equal(fixed[0], freeze(net)(x).features.data)
    changed = []
    for seed in range(1, 5):
        layer.eval_seed = seed
        changed += draws(net, x, 1)
    assert not all(equal(fixed[0], other) for other in changed)


def test_batchwise_dropout_reaches_through_it():
    x = random_sparse_tensor(np.random.default_rng(0), (8, 8), 2, 3)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(3, 8, 3),
        spconv.SparseFractionalMaxPool2d(1.5),
        spconv.BatchwiseDropout(0.5),
        spconv.SubMConv2d(8, 5, 3),
    )
    assert net(x).num_channels == 5


@pytest.mark.parametrize("ratio", [1, 2.1, 0.5, (1.5,), (1.5, 1.5, 1.5), (1.5, 1)])
def test_ratios(ratio):
    message = f"ratio must be one number or 2 of them, above 1 and at most 2, got {ratio}"
    with pytest.raises(ValueError, match=re.escape(message)):
        spconv.SparseFractionalMaxPool2d(ratio)


def test_errors():
    with pytest.raises(ValueError, match="random must be 'pseudorandom' or 'random', got 'some'"):
        spconv.SparseFractionalMaxPool1d(1.5, random="some")
    layer = spconv.SparseFractionalMaxPool2d(1.5)
    assert "(1.5, 1.5), overlapping=True, random='pseudorandom'" in repr(layer)
    with pytest.raises(ValueError, match="SparseFractionalMaxPool2d: an axis of 1 site"):
        layer(spconv.from_dense(np.ones((1, 1, 5, 1), np.float32)))
    with pytest.raises(ValueError, match=r"SparseFractionalMaxPool2d: expected a 2-dim"):
        layer(spconv.from_dense(np.ones((1, 1, 5), np.float32)))
    with pytest.raises(TypeError, match="expected a SparseConvTensor, got Tensor"):
        layer(spconv.Tensor(np.ones((1, 1, 5, 5), np.float32)))
