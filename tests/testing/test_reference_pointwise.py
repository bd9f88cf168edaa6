"""Pointwise references, joins and the loss against known values."""

import numpy as np
import pytest
from scipy.special import log_softmax

from spconv.testing import reference


def small_grid(ground):
    features = np.array([[1.0, -2.0], [-3.0, 4.0]])
    sites = np.array([[0, 1], [1, 2]])
    return reference.scatter(features, sites, (3,), 2, ground)


def test_scatter_fills_the_grid_with_the_ground():
    x = small_grid(np.array([7.0, 8.0]))
    np.testing.assert_array_equal(x.values[0], [[7, 1, 7], [8, -2, 8]])
    np.testing.assert_array_equal(x.values[1], [[7, 7, -3], [8, 8, 4]])
    np.testing.assert_array_equal(x.indices(), [[0, 1], [1, 2]])
    np.testing.assert_array_equal(x.rows(np.array([[1, 2], [0, 1]])), [[-3, 4], [1, -2]])


def test_pointwise_maps_the_ground_or_leaves_absent_sites_absent():
    x = reference.pointwise(small_grid(np.array([0.5, -1.0])), np.exp)
    np.testing.assert_allclose(x.values, np.exp(small_grid(np.array([0.5, -1.0])).values))
    np.testing.assert_allclose(x.ground, np.exp([0.5, -1.0]))
    bare = reference.pointwise(small_grid(None), reference.sigmoid)
    assert bare.ground is None
    assert not bare.values[0, :, 0].any()
    np.testing.assert_allclose(bare.values[0, :, 1], 1 / (1 + np.exp([-1.0, 2.0])))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (reference.relu, [-0.0, 0, 3]),
        (reference.leaky_relu, [-2 / 3, 0, 3]),
        (reference.tanh, np.tanh([-2, 0, 3])),
    ],
)
def test_activations(function, expected):
    np.testing.assert_allclose(function(np.array([-2.0, 0, 3])), expected)
    slope = np.imag(function(np.array([-2.0, 0, 3]) + 1e-30j)) / 1e-30
    assert np.isfinite(slope).all()


def test_batch_norm_has_unit_moments_over_its_own_statistics():
    rng = np.random.default_rng(1)
    sites = np.argwhere(rng.random((3, 5, 5)) < 0.4)
    g = rng.standard_normal(4)
    x = reference.scatter(3 + 2 * rng.standard_normal((len(sites), 4)), sites, (5, 5), 3, g)
    weight, bias = np.ones(4), np.zeros(4)
    for statistics, pick in [("active", x.active), ("all", np.ones_like(x.active))]:
        out = reference.batch_norm(x, weight, bias, eps=0, statistics=statistics)
        rows = np.moveaxis(out.values, 1, -1)[pick]
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-14)
        np.testing.assert_allclose(rows.var(0), 1, atol=1e-14)
        mean, var, count = reference.batch_statistics(x, statistics)
        assert count == pick.sum()
        np.testing.assert_allclose(out.ground, (g - mean) / np.sqrt(var), atol=1e-14)


def test_add_and_concat_take_the_union_of_the_sites():
    x = small_grid(np.array([1.0, 2.0]))
    y = reference.scatter(np.array([[5.0, 6.0]]), np.array([[0, 0]]), (3,), 2, np.array([3.0, 4]))
    total = reference.add(x, y)
    np.testing.assert_array_equal(total.values[0], [[6, 4, 4], [8, 2, 6]])
    np.testing.assert_array_equal(total.ground, [4, 6])
    np.testing.assert_array_equal(total.indices(), [[0, 0], [0, 1], [1, 2]])
    both = reference.concat([x, y])
    np.testing.assert_array_equal(both.ground, [1, 2, 3, 4])
    np.testing.assert_array_equal(both.values[:, 2:], y.values)


def test_cross_entropy():
    rng = np.random.default_rng(2)
    logits, labels = 30 * rng.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    expected = -log_softmax(logits, axis=1)[np.arange(5), labels].mean()
    np.testing.assert_allclose(reference.cross_entropy(logits, labels), expected, rtol=1e-14)


def test_linear():
    x, weight, bias = np.array([[1.0, 2.0]]), np.array([[1.0, 0, 2], [0, 1, 3]]), np.ones(3)
    np.testing.assert_array_equal(reference.linear(x, weight, bias), [[2, 3, 9]])
