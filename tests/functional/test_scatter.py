"""Rows put together, and spread again, against plain loops."""

import numpy as np
import pytest

import spconv
from spconv.data import voxelize
from spconv.functional import scatter
from spconv.testing import check_gradients

PUT_TOGETHER = {"sum": np.sum, "mean": np.mean, "max": np.max}


def by_loops(x, rows, num_rows, reduce):
    groups = [x[rows == place] for place in range(num_rows)]
    nothing = np.zeros(x.shape[1])
    return np.array([PUT_TOGETHER[reduce](g, axis=0) if len(g) else nothing for g in groups])


@pytest.mark.parametrize("reduce", PUT_TOGETHER)
@pytest.mark.parametrize(("count", "num_rows"), [(40, 7), (5, 30), (0, 3), (4, 0), (0, 0)])
def test_equals_the_loops(reduce, count, num_rows):
    rng = np.random.default_rng(0)
    x, rows = rng.standard_normal((count, 3)), rng.integers(-1, num_rows, count)
    y = scatter(spconv.Tensor(x), rows, num_rows, reduce)
    expected = by_loops(x, rows, num_rows, reduce).reshape(num_rows, 3)
    np.testing.assert_allclose(y.data, expected, atol=1e-14)
    check_gradients(
        lambda: scatter(p, rows, num_rows, reduce), {"p": (p := spconv.Parameter(x))}, rng=rng
    )


@pytest.mark.parametrize("reduce", PUT_TOGETHER)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_stay(reduce, dtype):
    x = spconv.Parameter(np.ones((3, 2), dtype))
    y = scatter(x, np.array([0, 0, 1], np.uint8), 2, reduce)
    y.backward(np.ones_like(y.data))
    assert y.dtype == x.grad.dtype == dtype


def test_the_largest_unsigned_number_is_not_minus_one():
    rows = np.array([0, 2**64 - 1], np.uint64)
    with pytest.raises(ValueError, match=r"rows must be in 0\.\.1, or -1 for none, got 1844674407"):
        scatter(spconv.Tensor(np.ones((2, 1))), rows, 2)


def test_of_equal_values_the_first_has_the_gradient():
    x = spconv.Parameter(np.array([[1.0], [3.0], [3.0], [2.0]]))
    scatter(x, [0, 0, 0, 1], 2, "max").sum().backward()
    np.testing.assert_array_equal(x.grad, [[0], [1], [0], [1]])


def test_what_is_no_number_is_the_largest():
    x = spconv.Parameter(np.array([[1.0], [np.nan], [np.inf], [-np.inf]]))
    y = scatter(x, [0, 0, 0, 1], 2, "max")
    np.testing.assert_array_equal(y.data, [[np.nan], [-np.inf]])
    y.backward(np.ones((2, 1)))
    np.testing.assert_array_equal(x.grad, [[0], [1], [0], [1]])


def test_learned_features_of_points_become_voxels_and_come_back():
    rng = np.random.default_rng(1)
    clouds = [rng.uniform(0, 4, (50, 2)), rng.uniform(0, 4, (30, 2))]
    voxels = voxelize(clouds, voxel_size=1.0, upper=3.0, lower=0)
    points = spconv.Parameter(rng.standard_normal((80, 3)))
    outside = int((voxels.rows < 0).sum())

    def run():
        rows = scatter(points, voxels.rows, len(voxels), "max")
        back = voxels.to_points(rows, outside=0.5)
        assert [part.shape for part in back] == [(50, 3), (30, 3)]
        return spconv.functional.concatenate(back)

    y = run().data
    assert outside == (y == 0.5).all(axis=1).sum() > 0
    check_gradients(run, {"points": points}, rng=rng)
    of_arrays = voxels.to_points(scatter(points, voxels.rows, len(voxels), "max").data, outside=0.5)
    np.testing.assert_array_equal(y, np.concatenate(of_arrays))


def test_learned_features_are_no_input_of_voxelize():
    points = np.zeros((2, 3))
    with pytest.raises(TypeError, match=r"voxelize: .* requires a gradient.*functional\.scatter"):
        voxelize([points], [spconv.Parameter(np.ones((2, 4)))], voxel_size=1.0)
    assert len(voxelize([points], [spconv.Tensor(np.ones((2, 4)))], voxel_size=1.0)) == 1
