"""Values at points against dense grids, interpolated by scipy.ndimage and divided by the mask's."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import spconv
from spconv import Tensor
from spconv.data import voxelize
from spconv.functional import concatenate, cross_entropy
from spconv.testing import check_gradients, tolerance


def clouds(ndim, lengths=(40, 0, 25), seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 2, (n, ndim)).astype(dtype) for n in lengths]


def dense(voxels, values, points, outside):
    """Values (N_i, C) at the points of each cloud, over a grid with a margin of zeros."""
    made, rows = [], np.split(voxels.rows, np.cumsum(voxels.lengths)[:-1])
    for cloud, xyz in enumerate(points):
        own = voxels.indices[:, 0] == cloud
        grid = np.zeros((values.shape[1] + 1, *(n + 2 for n in voxels.spatial_shape)))
        where = tuple(voxels.indices[own, 1:].T + 1)
        grid[(slice(None), *where)] = np.column_stack([values[own], np.ones(own.sum())]).T
        places = (xyz.astype("f8") - voxels.lower) / voxels.voxel_size + 0.5
        inside = rows[cloud] >= 0
        *sums, weight = (map_coordinates(channel, places[inside].T, order=1) for channel in grid)
        result = np.full((len(xyz), values.shape[1]), outside)
        result[inside] = np.stack(sums, axis=1) / weight[:, None]
        made.append(result)
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(("ndim", "size"), [(1, 0.05), (2, (0.5, 1.5)), (3, 0.9), (4, 2.0)])
def test_equals_the_dense_grid(ndim, size, bounded, dtype):
    points = clouds(ndim, (90, 0, 60))
    bounds = {"lower": -1.5, "upper": 2.25} if bounded else {}
    voxels = voxelize(points, voxel_size=size, **bounds, multiple_of=2)
    values = np.random.default_rng(1).standard_normal((len(voxels), 3)).astype(dtype)
    expected = dense(voxels, values, points, 7.0)
    got = voxels.interpolate(values, outside=7.0 if bounded else None)
    assert [part.shape for part in got] == [(90, 3), (0, 3), (60, 3)]
    for part, other in zip(got, expected, strict=True):
        assert part.dtype == dtype
        limit = tolerance(dtype, 2**ndim) * abs(other).max(initial=1)
        assert abs(part - other).max(initial=0) <= limit
    assert bounded == (np.concatenate(got) == 7).all(1).any()
    # Voxels without neighbours would make this a test of to_points.
    nearest = np.concatenate(voxels.to_points(values, outside=7))
    other = (abs(np.concatenate(got) - nearest) > 0.01).any(1)
    assert other[voxels.rows >= 0].mean() > 0.3


def test_weights_by_hand():
    """A point at (0.75, 0.5): a quarter of the way to the middle of the next voxel in x."""
    points = [np.array([[0.75, 0.5], [1.5, 0.5], [1.5, 1.5], [0.75, 1.75]])]
    voxels = voxelize(points, voxel_size=1.0, lower=0)
    assert voxels.indices[:, 1:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    values = np.array([1.0, 10.0, 100.0, 1000.0])
    expected = [0.75 * 1 + 0.25 * 100, 100, 1000, 0.75 * 10 + 0.25 * 1000]
    np.testing.assert_allclose(voxels.interpolate(values)[0], expected, rtol=1e-15)
    sparser = voxelize([points[0][[0, 2]]], voxel_size=1.0, lower=0)
    # The diagonal voxel is the only neighbour: no share of (0.75, 0.5) but along x.
    assert sparser.interpolate(np.array([1.0, 9.0]))[0].tolist() == [1, 9]
    corner = voxelize([np.array([[0.75, 0.75], [1.5, 1.5]])], voxel_size=1.0, lower=0)
    np.testing.assert_allclose(
        corner.interpolate(np.array([1.0, 9.0]))[0],
        [(0.75**2 * 1 + 0.25**2 * 9) / (0.75**2 + 0.25**2), 9],
    )


def test_borders_and_middles():
    """On a face between two active voxels both count the same; in a middle only its own does."""
    points = [np.array([[0.0], [0.5], [1.0], [2.0], [2.5], [3.999], [9.0]])]
    voxels = voxelize(points, voxel_size=1.0, lower=0)
    assert voxels.indices[:, 1].tolist() == [0, 1, 2, 3, 9]
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    got = voxels.interpolate(values)[0]
    np.testing.assert_allclose(got, [1, 1, 1.5, 3, 4, 8, 16], rtol=1e-15)
    values[1] = np.nan
    assert np.isnan(voxels.interpolate(values)[0]).tolist() == [0, 0, 1, 1, 0, 0, 0]


def test_the_end_of_a_row_is_no_neighbour_of_the_next():
    points = [np.array([[0.5, 2.9], [1.5, 0.1]])]
    voxels = voxelize(points, voxel_size=1.0, lower=0)
    assert voxels.spatial_shape == (2, 3)
    assert voxels.interpolate(np.array([1.0, 5.0]))[0].tolist() == [1, 5]
    two = voxelize([np.array([[1.9]]), np.array([[0.1]])], voxel_size=1.0, lower=0)
    assert [part.tolist() for part in two.interpolate(np.array([1.0, 5.0]))] == [[1], [5]]


def test_what_is_linear_stays_so_between_active_voxels():
    rng = np.random.default_rng(2)
    points = [rng.uniform(0, 5, (4000, 3))]
    voxels = voxelize(points, voxel_size=1.0, lower=0, upper=5)
    assert len(voxels) == 125
    got = voxels.interpolate(voxels.centers)[0]
    np.testing.assert_allclose(got, np.clip(points[0], 0.5, 4.5), atol=1e-13)


def test_what_is_constant_stays_so():
    voxels = voxelize(clouds(3), voxel_size=0.8)
    for part in voxels.interpolate(np.full(len(voxels), 3.0)):
        np.testing.assert_allclose(part, 3, rtol=1e-15)


def test_one_point_and_equal_points():
    voxels = voxelize([np.array([[0.3, 0.9]])], voxel_size=0.5)
    assert voxels.interpolate(np.array([[2.5, -1.0]]))[0].tolist() == [[2.5, -1]]
    points = np.repeat(clouds(3, (20,))[0], 3, axis=0)
    voxels = voxelize([points], voxel_size=1.0)
    got = voxels.interpolate(np.random.default_rng(0).standard_normal((len(voxels), 2)))[0]
    np.testing.assert_array_equal(got[0::3], got[1::3])
    np.testing.assert_array_equal(got[0::3], got[2::3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clouds_of_a_batch_do_not_matter_to_each_other(dtype):
    points = clouds(3, (300, 200), dtype=dtype)
    bounds = {"lower": -3, "upper": 3}
    both = voxelize(points, voxel_size=0.7, **bounds)
    values = np.random.default_rng(0).standard_normal((len(both), 4)).astype(dtype)
    for number, (part, cloud) in enumerate(
        zip(both.interpolate(values, outside=0), points, strict=True)
    ):
        alone = voxelize([cloud], voxel_size=0.7, **bounds)
        own = values[both.indices[:, 0] == number]
        np.testing.assert_array_equal(alone.interpolate(own, outside=0)[0], part)


def test_nothing_inside():
    voxels = voxelize([np.ones((3, 2)), np.zeros((0, 2))], lower=5, upper=(7, 8))
    x = Tensor(np.zeros((0, 4)), requires_grad=True)
    got = voxels.interpolate(x, outside=-1)
    assert [part.shape for part in got] == [(3, 4), (0, 4)]
    assert (got[0].numpy() == -1).all()
    concatenate(got).sum().backward()
    assert x.grad.shape == (0, 4)


def test_points_far_outside():
    voxels = voxelize([np.array([[1e308], [0.5]])], voxel_size=1e-3, lower=0, upper=1)
    assert voxels.interpolate(np.array([3.0]), outside=np.inf)[0].tolist() == [np.inf, 3]


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_gradients(ndim, shape):
    rng = np.random.default_rng(3)
    voxels = voxelize(clouds(ndim), voxel_size=0.9, lower=-2, upper=2.5)
    x = Tensor(rng.standard_normal((len(voxels), *shape)), requires_grad=True)
    check_gradients(lambda: concatenate(voxels.interpolate(x, outside=2.0)), {"x": x}, rng=rng)
    last = voxels.interpolate(x, outside=0.0)[-1]
    assert last.shape == (25, *shape)
    check_gradients(lambda: voxels.interpolate(x, outside=0.0)[-1], {"x": x}, rng=rng)


def test_gradients_are_accumulated_in_float64_and_the_same_again():
    rng = np.random.default_rng(4)
    voxels = voxelize([rng.uniform(0, 2, (20000, 3)).astype("f4")], voxel_size=1.0, lower=0)
    values, dy = rng.standard_normal((8, 2)), rng.random((20000, 2)) + 1
    gradients = {}
    for dtype in ("f4", "f8"):
        for _ in range(2):
            x = Tensor(values.astype(dtype), requires_grad=True)
            y = voxels.interpolate(x)[0]
            assert y.dtype == x.dtype
            y.backward(dy.astype("f4").astype(dtype))
            assert x.grad.dtype == x.dtype
            np.testing.assert_array_equal(gradients.setdefault(dtype, x.grad), x.grad)
    np.testing.assert_allclose(gradients["f4"], gradients["f8"], rtol=2.0**-23)


def test_tensors_stay_tensors_and_arrays_arrays():
    voxels = voxelize(clouds(2), voxel_size=1.0)
    values = np.ones((len(voxels), 2), np.float32)
    assert all(type(part) is np.ndarray for part in voxels.interpolate(values))
    plain = voxels.interpolate(Tensor(values))
    assert all(isinstance(part, Tensor) and not part.requires_grad for part in plain)
    with spconv.no_grad():
        free = voxels.interpolate(Tensor(values, requires_grad=True))
    assert not any(part.requires_grad for part in free)
    assert voxels.interpolate(np.ones(len(voxels), np.float16))[0].dtype == np.float16
    assert voxels.interpolate([1.0] * len(voxels))[0].dtype == np.float64


def test_a_network_is_told_of_every_point():
    """Two classes within one voxel: only weights that depend on the place tell them apart."""
    rng = np.random.default_rng(5)
    points = [rng.uniform(0, 4, (400, 2)).astype("f4") for _ in range(2)]
    labels = np.concatenate([cloud[:, 0] > 2.5 for cloud in points]).astype(int)
    voxels = voxelize(points, [cloud - 2 for cloud in points], voxel_size=1.0, lower=0)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(2, 16, 3), spconv.ReLU(), spconv.SubMConv2d(16, 2, 1)
    )
    adam = spconv.optim.Adam(net.named_parameters(), lr=0.05)
    for _ in range(100):
        adam.zero_grad()
        logits = concatenate(voxels.interpolate(net(voxels.tensor()).features))
        cross_entropy(logits, labels).backward()
        adam.step()
    assert (logits.data.argmax(1) == labels).mean() > 0.97
    nearest = np.concatenate(voxels.to_points(net(voxels.tensor()).features.data))
    assert (nearest.argmax(1) == labels).mean() < 0.9


@pytest.mark.parametrize(
    ("values", "options", "error", "message"),
    [
        (np.zeros((3, 2)), {}, ValueError, r"values of 2 voxels, got shape \(3, 2\)"),
        (Tensor(np.zeros(())), {}, ValueError, r"values of 2 voxels, got shape \(\)"),
        ([1, 2], {}, TypeError, "must be floats, got int64; classes come .* by to_points"),
        ([1.0, 2.0], {}, ValueError, "1 points are outside the grid; say what they get"),
    ],
)
def test_errors(values, options, error, message):
    voxels = voxelize([np.array([[0.5], [1.5], [7.0]])], lower=0, upper=2)
    with pytest.raises(error, match=f"Voxels.interpolate: .*{message}"):
        voxels.interpolate(values, **options)


def test_a_sparse_tensor_is_not_its_values():
    voxels = voxelize([np.array([[0.5], [1.5]])])
    for name in ("interpolate", "to_points"):
        with pytest.raises(TypeError, match=rf"Voxels.{name}: .*; pass its features"):
            getattr(voxels, name)(voxels.tensor())
