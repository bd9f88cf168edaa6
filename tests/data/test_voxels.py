"""Voxels against a dictionary filled point by point; labels and values on their way back."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import spconv
from spconv.data import voxelize
from spconv.functional import cross_entropy
from spconv.models import SparseUNet

COMBINE = {
    "mean": lambda rows: np.add.reduce(rows, dtype="f8") / len(rows),
    "sum": lambda rows: np.add.reduce(rows, dtype="f8"),
    "max": lambda rows: np.max(rows, axis=0),
    "first": lambda rows: rows[0],
}


def clouds(ndim, lengths=(40, 0, 25), dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    points = [rng.normal(0, 2, (n, ndim)).astype(dtype) for n in lengths]
    return points, [rng.standard_normal((n, 3)).astype(dtype) for n in lengths]


def by_hand(points, features, size, lower, extents):
    """{(cloud, voxel): [features of its points]} and the voxel of every point."""
    voxels, where = {}, []
    for cloud, (xyz, values) in enumerate(zip(points, features, strict=True)):
        for point, value in zip(xyz.astype("f8"), values, strict=True):
            cell = tuple(int(c) for c in np.floor((point - lower) / size))
            inside = all(0 <= c < n for c, n in zip(cell, extents, strict=True))
            where.append((cloud, *cell) if inside else None)
            if inside:
                voxels.setdefault((cloud, *cell), []).append(value)
    return voxels, where


@pytest.mark.parametrize("reduce", COMBINE)
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(("ndim", "size"), [(1, 0.5), (2, (0.5, 1.5)), (3, 0.9), (4, 2.0)])
def test_every_point_goes_where_it_belongs(ndim, size, bounded, reduce):
    points, features = clouds(ndim)
    bounds = {"lower": -1.5, "upper": 2.25} if bounded else {}
    voxels = voxelize(points, features, size, **bounds, reduce=reduce)
    xyz = np.concatenate(points).astype("f8")
    lower = np.full(ndim, -1.5) if bounded else xyz.min(0)
    extents = (
        np.ceil((2.25 - lower) / size) if bounded else np.floor((xyz.max(0) - lower) / size) + 1
    )
    expected, where = by_hand(points, features, size, lower, extents)
    sites = sorted(expected)
    assert voxels.spatial_shape == tuple(extents)
    assert voxels.indices.tolist() == [list(site) for site in sites]
    assert voxels.rows.tolist() == [-1 if s is None else sites.index(s) for s in where]
    assert voxels.counts.tolist() == [len(expected[site]) for site in sites]
    combined = np.array([COMBINE[reduce](np.array(expected[site])) for site in sites])
    np.testing.assert_array_equal(voxels.features, combined.astype(np.float32))
    x = voxels.tensor()
    assert (x.batch_size, len(x), x.num_channels) == (3, len(sites), 3)
    assert bounded == (-1 in voxels.rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_keep_their_type_and_points_may_have_another(dtype):
    points, _ = clouds(3, dtype=np.float64)
    _, features = clouds(3, dtype=dtype)
    assert voxelize(points, features).features.dtype == dtype
    ones = voxelize(points).features
    assert ones.dtype == np.float32
    assert (ones == 1).all()


def test_whole_voxels_of_float32_numbers():
    for size in (0.1, 0.7, 0.05, 0.3):
        for count in (3, 100, 1024):
            voxels = voxelize(
                [np.zeros((1, 1))],
                voxel_size=np.float32(size),
                lower=0,
                upper=np.float32(count * size),
            )
            assert voxels.spatial_shape == (count,)


def test_a_grid_of_whole_voxels_has_no_more_for_rounding():
    points = [np.array([[-80.0], [79.999], [80.0], [-80.001]])]
    voxels = voxelize(points, voxel_size=0.05, lower=-80, upper=80)
    assert voxels.spatial_shape == (3200,)
    assert voxels.rows.tolist() == [0, 1, -1, -1]
    assert voxels.indices.tolist() == [[0, 0], [0, 3199]]


def test_the_middle_of_a_voxel_is_near_its_points():
    points, _ = clouds(3)
    voxels = voxelize(points, voxel_size=(0.5, 1.0, 2.0), lower=(-9, -9, -9))
    away = np.abs(voxels.centers[voxels.rows] - np.concatenate(points))
    assert (away <= np.array([0.25, 0.5, 1.0]) + 1e-6).all()


@pytest.mark.parametrize(
    ("size", "upper", "last"),
    [
        (1.0, 2_000_000.0, 1_999_999.4),
        (1.0, 500_000.45, 500_000.4),
        (0.01, 12_000.0, 11_999.995),
        (1.0, 1200.001, 1200.0004),
        (np.float32(0.05), 160.0, 159.99),
    ],
)
def test_nothing_below_the_upper_bound_is_lost(size, upper, last):
    voxels = voxelize([np.array([[0.0], [last]])], voxel_size=size, lower=0, upper=upper)
    assert voxels.rows.tolist() == [0, 1]
    assert abs(voxels.spatial_shape[0] - upper / size) < 1


def test_points_outside_need_a_value():
    voxels = voxelize([np.array([[0.5], [7.0]])], voxel_size=1.0, lower=0, upper=2)
    with pytest.raises(ValueError, match=r"Voxels.to_points: 1 points are outside.* outside=-1"):
        voxels.to_points([3])
    assert voxels.to_points([3], outside=-1)[0].tolist() == [3, -1]


@pytest.mark.parametrize("bounds", [{}, {"lower": -1.0, "upper": 1.5}])
def test_extents_become_multiples_and_the_voxels_stay(bounds):
    points, features = clouds(3)
    plain = voxelize(points, features, 0.5, **bounds)
    raised = voxelize(points, features, 0.5, **bounds, multiple_of=8)
    assert raised.spatial_shape == tuple(-(-n // 8) * 8 for n in plain.spatial_shape)
    assert raised.spatial_shape != plain.spatial_shape
    for name in ("indices", "features", "rows", "lower"):
        np.testing.assert_array_equal(getattr(raised, name), getattr(plain, name))


def test_no_point_inside():
    voxels = voxelize([np.ones((3, 2))], lower=5, upper=(7, 8))
    assert len(voxels) == 0
    assert voxels.spatial_shape == (2, 3)
    assert len(voxels.tensor()) == 0
    assert voxels.rows.tolist() == [-1, -1, -1]
    assert voxels.to_points(np.zeros((0, 4)), outside=-1)[0].tolist() == [[-1] * 4] * 3
    assert voxels.labels([[0, 1, 2]], 3).tolist() == []


def test_empty_clouds_within_bounds():
    voxels = voxelize([np.zeros((0, 2)), np.zeros((0, 2))], lower=0, upper=3)
    assert (len(voxels), voxels.tensor().batch_size) == (0, 2)
    assert [part.shape for part in voxels.to_points([])] == [(0,), (0,)]


def test_labels_are_those_of_most_points():
    points, _ = clouds(2, (300, 200))
    rng = np.random.default_rng(1)
    labels = [rng.integers(-1, 4, len(cloud)) for cloud in points]
    voxels = voxelize(points, voxel_size=1.0, lower=-3, upper=3)
    votes = [Counter() for _ in range(len(voxels))]
    for row, label in zip(voxels.rows, np.concatenate(labels), strict=True):
        if row >= 0 and label != -1:
            votes[row][int(label)] += 1
    expected = [min(v, key=lambda k: (-v[k], k)) if v else -1 for v in votes]
    assert voxels.labels(labels, 4).tolist() == expected
    assert -1 in expected
    unsigned = [np.where(part < 0, 255, part).astype(np.uint8) for part in labels]
    again = voxels.labels(unsigned, 4, ignore_index=255)
    np.testing.assert_array_equal(again, np.where(np.equal(expected, -1), 255, expected))


@pytest.mark.parametrize("num_classes", [1, 4, 10**9])
def test_labels_against_votes_counted_by_hand(num_classes):
    rng = np.random.default_rng(0)
    points, _ = clouds(2, (300, 0, 200))
    labels = [rng.integers(-1, min(num_classes, 5), len(cloud)) for cloud in points]
    voxels = voxelize(points, voxel_size=0.8, lower=-3, upper=3)
    expected = []
    for row in range(len(voxels)):
        votes = Counter(label for label in np.concatenate(labels)[voxels.rows == row] if label >= 0)
        expected.append(min(votes, key=lambda label: (-votes[label], label)) if votes else -1)
    assert voxels.labels(labels, num_classes).tolist() == expected


def test_values_come_back_to_the_points_of_each_cloud():
    points, _ = clouds(2)
    voxels = voxelize(points, voxel_size=1.0, lower=-1.5, upper=1.5)
    back = voxels.to_points(voxels.indices.astype("f4"), outside=np.nan)
    assert [part.shape for part in back] == [(40, 3), (0, 3), (25, 3)]
    for number, (part, cloud) in enumerate(zip(back, points, strict=True)):
        inside = ((cloud >= -1.5) & (cloud < 1.5)).all(1)
        np.testing.assert_array_equal(np.isnan(part).all(1), ~inside)
        cells = np.floor(cloud[inside].astype("f8") + 1.5)
        np.testing.assert_array_equal(part[inside], np.insert(cells, 0, number, axis=1))


ONE = [np.zeros((2, 3), np.float32)]
ERRORS = [
    ((ONE[0],), {}, ValueError, r"arrays of shapes \[\(3,\), \(3,\)\]; put a single cloud into a"),
    (([],), {}, ValueError, "one for each cloud"),
    ((3,), {}, TypeError, "points must be a sequence of arrays .*, got int"),
    ((ONE, None, "a"), {}, ValueError, "voxel_size must be one or 3 finite numbers, got a"),
    (([np.zeros((2, 3)), np.zeros((2, 2))],), {}, ValueError, r"dimensions, got \[3, 2\]"),
    (([np.zeros((2, 3), int)],), {}, TypeError, "points must be float32 or float64, got int64"),
    ((ONE, [np.zeros((2, 1), int)]), {}, TypeError, "features must be float32 or float64"),
    ((ONE, [np.zeros((3, 1))]), {}, ValueError, r"of \[2\] points, got shapes \[\(3, 1\)\]"),
    ((ONE, [np.zeros(2)]), {}, ValueError, r"got shapes \[\(2,\)\]"),
    ((ONE, []), {}, ValueError, r"got shapes \[\]"),
    ((ONE, None, 0), {}, ValueError, "voxel_size must be positive, got 0"),
    ((ONE, None, (1, 2)), {}, ValueError, r"one or 3 finite numbers, got \(1, 2\)"),
    ((ONE, None, np.nan), {}, ValueError, "finite numbers, got nan"),
    ((ONE,), {"lower": 1}, ValueError, r"upper must be above lower .* got extents \[0"),
    ((ONE,), {"lower": 1, "upper": 1}, ValueError, "upper must be above lower"),
    ((ONE,), {"reduce": "median"}, ValueError, "reduce must be one of .*'mean'.* got 'median'"),
    ((ONE,), {"upper": 1, "voxel_size": 1e-320}, ValueError, "has an extent above"),
    ((ONE,), {"upper": 2e4, "voxel_size": 1e-4}, ValueError, "cells, more than"),
    (([np.array([[1.0], [np.inf]])],), {}, ValueError, r"must be finite, got \[inf\] in row 1"),
    (([np.zeros((0, 3))],), {}, ValueError, "give lower and upper"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), ERRORS)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=f"voxelize: .*{message}"):
        voxelize(*arguments, **options)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([[0, 1, 2]], ValueError, r"of \[2\] points, got .* \[\(3,\)\]"),
        ([[0, 3]], ValueError, r"must be in 0\.\.2 or -1 \(ignore_index\), got 3"),
        ([[0.0, 1.0]], TypeError, "must be integers"),
    ],
)
def test_errors_of_labels(labels, error, message):
    with pytest.raises(error, match=f"Voxels.labels: .*{message}"):
        voxelize(ONE).labels(labels, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 2.0}, "num_classes must be an int, got 2.0"),
        ({"num_classes": 2, "ignore_index": None}, "ignore_index must be an int, got None"),
    ],
)
def test_numbers_of_classes_are_ints(options, message):
    with pytest.raises(TypeError, match=f"Voxels.labels: {message}"):
        voxelize(ONE).labels([[0, 1]], **options)


@pytest.mark.parametrize("empty", [[], np.zeros(0)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint64])
def test_an_empty_cloud_has_no_labels_of_any_type(empty, dtype):
    voxels = voxelize([*ONE, np.zeros((0, 3))])
    assert voxels.labels([np.ones(2, dtype), empty], 3).tolist() == [1]


@pytest.mark.parametrize(
    ("dtype", "outside"), [(int, 0.5), (int, np.nan), (np.uint8, -1), (np.uint8, 256), (bool, 2)]
)
def test_what_points_outside_get_is_not_changed(dtype, outside):
    voxels = voxelize([np.array([[0.5], [1.5]])], lower=0, upper=1)
    with pytest.raises(ValueError, match=rf"to_points: outside={outside} is no {np.dtype(dtype)}"):
        voxels.to_points(np.ones(1, dtype), outside=outside)
    (points,) = voxels.to_points(np.ones(1, np.float32), outside=outside)
    np.testing.assert_array_equal(points, np.float32([1, outside]))


def test_what_points_outside_get_may_be_names_and_rows():
    voxels = voxelize([np.array([[0.5], [1.5]])], lower=0, upper=1)
    with pytest.raises(ValueError, match="outside=building is no <U3"):
        voxels.to_points(np.array(["car"]), outside="building")
    assert voxels.to_points(np.array(["car"]), outside="bus")[0].tolist() == ["car", "bus"]
    assert voxels.to_points([[1, 2]], outside=[7, 8])[0].tolist() == [[1, 2], [7, 8]]
    with pytest.raises(ValueError, match="is no int64"):
        voxels.to_points([[1, 2]], outside=[7, 0.5])


def test_values_must_be_those_of_the_voxels():
    with pytest.raises(
        ValueError, match=r"Voxels.to_points: expected values of 1 voxels, got shape"
    ):
        voxelize(ONE).to_points([1, 2])


REAL_DATA = os.environ.get("SPCONV_DATA")


SCANS = Path(REAL_DATA or "", "semantickitti", "sequences", "00")


@pytest.mark.skipif(not SCANS.is_dir(), reason="no real laser scan in SPCONV_DATA")
def test_a_real_scan_is_learnt_and_every_point_told():
    """Classes of the points of a SemanticKITTI scan by one network, trained on it."""
    scan = np.fromfile(SCANS / "velodyne" / "000000.bin", np.float32).reshape(-1, 4)
    raw = np.fromfile(SCANS / "labels" / "000000.label", np.uint32) & 0xFFFF
    classes, labels = np.unique(raw, return_inverse=True)
    ignored = int(np.flatnonzero(classes == 0)[0])  # points without a class
    near = {"lower": (-20, -20, -4), "upper": (20, 20, 4)}
    voxels = voxelize([scan[:, :3]], [scan[:, 2:]], voxel_size=0.4, **near)
    targets = voxels.labels([labels], len(classes), ignore_index=ignored)
    inside = (voxels.rows >= 0) & (labels != ignored)
    told = voxels.to_points(targets, outside=ignored)[0]
    assert (told[inside] == labels[inside]).mean() > 0.95  # few voxels have points of two classes

    net = SparseUNet([8, 16], in_channels=2, num_classes=len(classes))
    adam = spconv.optim.Adam(net.named_parameters(), lr=0.01)
    for _ in range(40):
        adam.zero_grad()
        logits = net(voxels.tensor())
        cross_entropy(logits, targets, ignore_index=ignored).backward()
        adam.step()
    told = voxels.to_points(logits.data.argmax(1), outside=ignored)[0]
    assert (told[inside] == labels[inside]).mean() > 0.8
