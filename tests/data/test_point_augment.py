import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from spconv.data import BatchLoader, DropPoints, PointAffine, voxelize

STILL = {"max_rotation": 0, "scale": (1, 1), "flip": (0, 0, 0)}


def rng(seed=3):
    return np.random.default_rng(seed)


def clouds(lengths=(30, 0, 20), dtype=np.float64):
    draws = rng(0)
    return [draws.normal(0, 3, (n, 3)).astype(dtype) for n in lengths]


def matrices(augment, count=2000):
    """What each of many clouds is multiplied by, (count, 3, 3), and its shift."""
    corners = np.concatenate([np.eye(3), np.zeros((1, 3))])
    moved = np.array(augment([corners] * count, rng()))
    return np.swapaxes(moved[:, :3] - moved[:, 3:], 1, 2), moved[:, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_deterministic_and_input_is_kept(dtype):
    augment = PointAffine(max_translation=1, jitter=0.1)
    given = clouds(dtype=dtype)
    before = [cloud.copy() for cloud in given]
    first, again, other = (augment(given, rng(seed)) for seed in (1, 1, 2))
    for cloud, kept, one, two, three in zip(given, before, first, again, other, strict=True):
        np.testing.assert_array_equal(cloud, kept)
        np.testing.assert_array_equal(one, two)
        assert (one.shape, one.dtype) == (cloud.shape, dtype)
        assert (one != three).any() or not len(cloud)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_identity(dtype):
    given = clouds(dtype=dtype)
    for cloud, same in zip(given, PointAffine(**STILL)(given, rng()), strict=True):
        np.testing.assert_array_equal(cloud, same)


def test_equals_the_formula():
    """One map for each cloud, drawn as the class says, with rotations of SciPy's."""
    augment = PointAffine((0.3, 0.6, 2.0), (0.5, 1.5), (0.2, 0.5, 0.8), (1, 2, 3))
    given = clouds((15,) * 40)
    moved = augment(given, rng())
    draws = rng().random((40, 10))
    for cloud, got, draw in zip(given, moved, draws, strict=True):
        angles = (2 * draw[:3] - 1) * [0.3, 0.6, 2.0]
        mirrored = cloud * np.where(draw[4:7] < [0.2, 0.5, 0.8], -1, 1)
        turned = Rotation.from_euler("xyz", angles).apply(mirrored)
        expected = (0.5 + draw[3]) * turned + (2 * draw[7:] - 1) * [1, 2, 3]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_one_angle_turns_about_z():
    maps, _ = matrices(PointAffine(max_rotation=0.5, scale=(1, 1), flip=(0, 0, 0)))
    np.testing.assert_array_equal(maps[:, 2], [[0, 0, 1]] * len(maps))
    np.testing.assert_array_equal(maps[:, :2, 2], 0)
    angles = np.arctan2(maps[:, 1, 0], maps[:, 0, 0])
    assert abs(angles).max() <= 0.5
    assert angles.std() == pytest.approx(0.5 / math.sqrt(3), rel=0.05)
    assert angles.mean() == pytest.approx(0, abs=0.03)
    three, _ = matrices(PointAffine(max_rotation=(0, 0, 0.5), scale=(1, 1), flip=(0, 0, 0)))
    np.testing.assert_array_equal(three, maps)


@pytest.mark.parametrize("rotation", [math.pi, (0.4, 0, 0), (1, 2, 3)])
def test_distances_stay_but_for_the_scale(rotation):
    given = clouds((12, 25))
    augment = PointAffine(rotation, (0.7, 0.7), (0.5, 0.5, 0.5), 5.0)
    for cloud, moved in zip(given, augment(given, rng()), strict=True):
        np.testing.assert_allclose(pdist(moved), 0.7 * pdist(cloud), rtol=1e-12)
        assert abs(moved - 0.7 * cloud).max() > 1


def test_rotations_keep_and_mirrors_change_the_hand():
    maps, _ = matrices(PointAffine((1, 1, 3), (1, 1), (0, 0, 0)))
    np.testing.assert_allclose(np.linalg.det(maps), 1, rtol=1e-12)
    maps, _ = matrices(PointAffine(0, (1, 1), (0.25, 0.0, 1.0)))
    assert not (maps * (1 - np.eye(3))).any()
    mirrored = np.einsum("bii->bi", maps) == -1
    assert mirrored[:, 0].mean() == pytest.approx(0.25, abs=0.03)
    assert mirrored[:, 1:].all(0).tolist() == [False, True]
    assert not mirrored[:, 1].any()


def test_ranges_of_scale_and_translation():
    maps, shifts = matrices(PointAffine(0, (0.5, 2.0), (0, 0, 0), (1, 0, 3)))
    factors = maps[:, 0, 0]
    assert 0.5 <= factors.min() < 0.51
    assert 1.99 < factors.max() <= 2
    assert factors.mean() == pytest.approx(1.25, abs=0.03)
    np.testing.assert_allclose(maps, factors[:, None, None] * np.eye(3), rtol=0, atol=1e-12)
    np.testing.assert_allclose(abs(shifts).max(0), [1, 0, 3], rtol=0.01)
    np.testing.assert_allclose(shifts.mean(0), 0, atol=0.15)
    assert abs(np.corrcoef(shifts[:, 0], shifts[:, 2])[0, 1]) < 0.1
    _, all_axes = matrices(PointAffine(**STILL, max_translation=2.0))
    np.testing.assert_allclose(abs(all_axes).max(0), 2, rtol=0.01)


def test_jitter_has_its_size_and_an_end():
    given = [np.zeros((50000, 3)), np.ones((50000, 3))]
    one, two = PointAffine(**STILL, jitter=0.02)(given, rng())
    assert one.std() == pytest.approx(0.02, rel=0.02)
    assert abs(one.mean()) < 0.001
    assert abs(one).max() <= 0.1
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.02

    class Wild:
        random = rng().random

        def standard_normal(self, shape):
            return np.full(shape, 9.0)

    far = PointAffine(**STILL, jitter=0.02)([np.zeros((2, 3))], Wild())[0]
    np.testing.assert_allclose(far, 0.1)


def test_a_grid_fitted_to_the_points_does_not_see_the_middle():
    """Voxels are the same wherever the cloud was turned about."""
    augment = PointAffine((0.3, 0.2, 3.0), (0.8, 1.2), (0.5, 0.5, 0.5))
    cloud = clouds((500,))[0]
    one, other = (augment([cloud + shift], rng())[0] for shift in ([0, 0, 0], [8, -16, 4]))
    ours, theirs = (voxelize([moved], voxel_size=0.5) for moved in (one, other))
    assert (ours.rows != theirs.rows).mean() < 0.01  # a point on a face may be rounded either way
    np.testing.assert_allclose(one - one.min(0), other - other.min(0), atol=1e-12)


def test_dropped_fractions():
    given = [np.zeros((1000, 3))] * 400
    kept = DropPoints((0.2, 0.6))(given, rng())
    lost = 1 - np.array([len(rows) for rows in kept]) / 1000
    assert 0.15 < lost.min() < 0.25
    assert 0.55 < lost.max() < 0.65
    assert lost.mean() == pytest.approx(0.4, abs=0.02)
    counts = np.bincount(np.concatenate(kept), minlength=1000)
    assert abs(counts / 400 - 0.6).max() < 0.15  # no point is more likely than another
    for rows in kept:
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()


def test_rows_keep_labels_aligned_and_are_the_same_again():
    given = clouds()
    labels = [cloud[:, 0] > 0 for cloud in given]
    first, again = (DropPoints()(given, rng()) for _ in range(2))
    for cloud, truth, rows, other in zip(given, labels, first, again, strict=True):
        np.testing.assert_array_equal(rows, other)
        np.testing.assert_array_equal(cloud[rows][:, 0] > 0, truth[rows])


def test_nothing_or_nearly_everything_dropped():
    given = clouds((30, 0, 1))
    assert [rows.tolist() for rows in DropPoints((0, 0))(given, rng())] == [
        list(range(30)),
        [],
        [0],
    ]
    few = DropPoints((0.999, 0.999))(given * 20, rng())
    assert [len(rows) for rows in few] == [1, 0, 1] * 20


def test_in_a_loader():
    """Batches are the same from any number of threads, labels stay with their points."""
    scans = clouds((60, 80, 50, 70))
    move, drop = PointAffine(flip=(0.5, 0, 0)), DropPoints()

    def make(rows, rng):
        kept = drop([scans[row] for row in rows], rng)
        points = [scans[row][k] for row, k in zip(rows, kept, strict=True)]
        labels = [(cloud[:, 2] > 0).astype(int) for cloud in points]
        voxels = voxelize(move(points, rng), voxel_size=0.5)
        return voxels.tensor(), voxels.labels(labels, 2)

    def epoch(num_threads):
        loader = BatchLoader(make, 4, batch_size=2, shuffle=True, num_threads=num_threads)
        return [(x.indices, x.features.numpy(), y) for x, y in loader.epoch(1)]

    for batch, other in zip(epoch(0), epoch(3), strict=True):
        for a, b in zip(batch, other, strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(batch[0]) == len(batch[2])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PointAffine(-1), ValueError, "max_rotation must be finite and >= 0, got -1"),
        (lambda: PointAffine((1, 2)), ValueError, r"be one number or three, \(x, y, z\), got \(1,"),
        (lambda: PointAffine(scale=(0, 1)), ValueError, r"scale\[0\] must be finite and > 0"),
        (lambda: PointAffine(scale=1), ValueError, r"scale must be \(least, greatest\), got 1"),
        (lambda: PointAffine(flip=0.5), ValueError, r"flip must be three, \(x, y, z\), got 0\.5"),
        (lambda: PointAffine(flip=(0, 2, 0)), ValueError, r"hold probabilities, got \(0, 2, 0\)"),
        (lambda: PointAffine(max_translation=math.inf), ValueError, "max_translation must be fin"),
        (lambda: PointAffine(jitter=math.nan), ValueError, "jitter must be finite and >= 0"),
        (
            lambda: PointAffine()([np.zeros((2, 2))], rng()),
            ValueError,
            "points must have 3 coordinates, got clouds of 2",
        ),
        (
            lambda: PointAffine()(np.zeros((2, 3)), rng()),
            ValueError,
            "PointAffine: points must be .*; put a single cloud into a list",
        ),
        (
            lambda: PointAffine()([np.zeros((2, 3), int)], rng()),
            TypeError,
            "PointAffine: points must be float32 or float64, got int64",
        ),
    ],
)
def test_errors_of_motions(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("fraction", "error", "message"),
    [
        (0.5, ValueError, r"DropPoints: fraction must be \(least, greatest\), got 0\.5"),
        ((0, 1), ValueError, r"fraction\[1\] must be in \[0, 1\), got 1"),
        ((-0.1, 0.5), ValueError, r"fraction\[0\] must be in \[0, 1\), got -0\.1"),
        ((0.5, 0.2), ValueError, r"fraction\[1\] must be in \[0\.5, 1\), got 0\.2"),
        (("a", 0.5), TypeError, r"fraction\[0\] must be a number"),
    ],
)
def test_errors_of_choices(fraction, error, message):
    with pytest.raises(error, match=message):
        DropPoints(fraction)
