"""Dense pooling against literal windows."""

import itertools

import numpy as np
import pytest

from spconv.testing import reference

GEOMETRIES = [  # spatial_shape, kernel_size, stride, padding, dilation
    ((9,), (2,), (2,), (0,), (1,)),
    ((6, 7), (3, 2), (2, 2), (1, 1), (1, 2)),
    ((4, 5, 3), (2, 3, 1), (1, 2, 2), (0, 1, 0), (2, 1, 1)),
]


def random_grid(rng, spatial_shape, ground):
    sites = np.argwhere(rng.random((2, *spatial_shape)) < 0.4)
    g = rng.standard_normal(3) if ground else None
    return reference.scatter(rng.standard_normal((len(sites), 3)), sites, spatial_shape, 2, g)


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_pools_are_the_literal_windows(shape, kernel, stride, padding, dilation, ground):
    x = random_grid(np.random.default_rng(1), shape, ground)
    options = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    largest, mean = reference.max_pool(x, **options), reference.avg_pool(x, **options)
    for batch in range(2):
        for y in itertools.product(*map(range, largest.spatial_shape)):
            rows, active = [], []
            for k in itertools.product(*map(range, kernel)):
                axes = zip(y, stride, padding, k, dilation, strict=True)
                site = tuple(i * s - p + o * d for i, s, p, o, d in axes)
                inside = all(0 <= i < n for i, n in zip(site, shape, strict=True))
                on = inside and x.active[(batch, *site)]
                active.append(on)
                if on:
                    rows.append(x.values[(batch, slice(None), *site)])
                elif ground:
                    rows.append(x.ground)
            place = (batch, slice(None), *y)
            assert largest.active[(batch, *y)] == mean.active[(batch, *y)] == any(active)
            expected = (np.max(rows, 0), np.mean(rows, 0)) if rows else (np.zeros(3), np.zeros(3))
            np.testing.assert_allclose(largest.values[place], expected[0], atol=0)
            np.testing.assert_allclose(mean.values[place], expected[1], atol=1e-15)
    for out in (largest, mean):
        assert out.ground is x.ground


def test_stride_defaults_to_the_kernel_size():
    x = random_grid(np.random.default_rng(0), (7, 9), True)
    assert reference.max_pool(x, kernel_size=(2, 3)).spatial_shape == (3, 3)


def test_global_pools():
    rng = np.random.default_rng(2)
    sites = np.array([[0, 1], [0, 3], [2, 0]])
    features = -1 - rng.random((3, 2))
    bare = reference.scatter(features, sites, (4,), 3)
    np.testing.assert_array_equal(
        reference.global_max_pool(bare), [features[:2].max(0), [0, 0], features[2]]
    )
    np.testing.assert_allclose(
        reference.global_avg_pool(bare), [features[:2].mean(0), [0, 0], features[2]]
    )
    g = np.array([-1.5, 7.0])
    x = reference.scatter(features, sites, (4,), 3, g)
    everything = [np.vstack([features[:2], g]), g[None], np.vstack([features[2], g])]
    np.testing.assert_array_equal(
        reference.global_max_pool(x), [rows.max(0) for rows in everything]
    )
    expected = [(features[:2].sum(0) + 2 * g) / 4, g, (features[2] + 3 * g) / 4]
    np.testing.assert_allclose(reference.global_avg_pool(x), expected)


def test_global_max_without_inactive_sites_ignores_the_ground():
    x = reference.scatter(-np.ones((2, 1)), np.array([[0, 0], [0, 1]]), (2,), 1, np.array([9.0]))
    np.testing.assert_array_equal(reference.global_max_pool(x), [[-1]])


def test_fractional_max_pool_by_hand():
    values = np.array([[[1.0, -2.0, -3.0, 5.0, -4.0]]])
    active = np.array([[True, True, True, False, True]])
    for ground, disjoint, overlapping in (
        (np.array([0.5]), [1, 0.5, 0.5], [1, 0.5]),
        (None, [1, -3, -4], [1, -3]),
    ):
        inactive = 0.0 if ground is None else ground[0]
        grid = reference.Grid(np.where(active[:, None], values, inactive), active, ground)
        out = reference.fractional_max_pool(grid, [[0, 2, 4, 5]], overlapping=False)
        expected = disjoint if ground is None else [1, 0.5, -4]
        np.testing.assert_array_equal(out.values.ravel(), expected)
        out = reference.fractional_max_pool(grid, [[0, 2, 4]])
        np.testing.assert_array_equal(out.values.ravel(), overlapping)
        assert out.active.all()
