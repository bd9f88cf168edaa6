"""Rulebooks, field by field, against the plain loops of ``reference_rulebook``."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv.rulebook
from spconv import build_rulebook
from spconv.testing import reference_rulebook

SHAPES = {
    1: (17,),
    2: (8, 7),
    3: (6, 5, 6),
    4: (4, 5, 4, 4),
    5: (5, 6, 5, 4, 5),
    6: (5, 5, 5, 4, 5, 5),
}
KINDS = {
    "regular": {},
    "submanifold": {"submanifold": True},
    "transposed": {"transposed": True},
}
# Six entries each, of which the first ndim are used.
GEOMETRIES = {
    "pointwise": {"kernel_size": (1,) * 6},
    "odd": {"kernel_size": (3,) * 6},
    "even": {"kernel_size": (2,) * 6, "padding": (1,) * 6},
    "asymmetric": {"kernel_size": (2, 3, 1, 4, 1, 2), "padding": (0, 0, 0, 1, 0, 0)},
    "strided": {"kernel_size": (3,) * 6, "stride": (2,) * 6, "padding": (1,) * 6},
    "tiles": {"kernel_size": (2,) * 6, "stride": (2,) * 6},
    "stride beyond kernel": {"kernel_size": (1, 2) * 3, "stride": (2, 3) * 3},
    "dilated": {"kernel_size": (3, 2) * 3, "dilation": (2, 3) * 3, "padding": (2, 1) * 3},
    "all different": {
        "kernel_size": (3, 2, 1, 2, 3, 1),
        "stride": (1, 2, 3, 1, 2, 1),
        "padding": (2, 1, 1, 1, 3, 0),
        "dilation": (1, 3, 2, 2, 1, 1),
    },
    "output padding": {
        "kernel_size": (2, 3, 1) * 2,
        "stride": (3, 1, 2) * 2,
        "dilation": (1, 2, 1) * 2,
        "output_padding": (2, 1, 1, 0, 1, 0),
    },
}


def sites(shape, count, *, batch_size=3, seed=0):
    """Distinct sites in random order, in two opposite corners; sample 1 stays empty."""
    rng = np.random.default_rng(seed)
    corner = [min(n, 3 if len(shape) > 3 else 6) for n in shape]
    near = np.argwhere(np.ones((batch_size, *corner))).astype(np.int32)
    near = rng.permutation(near[near[:, 0] != 1])
    far = near + np.array([0, *np.subtract(shape, corner)], np.int32)
    return rng.permutation(np.unique(np.concatenate([near[: count // 2], far[-count:]]), axis=0))


def assert_equal(book, expected):
    for name in ("offset_starts", "in_rows", "out_rows", "out_indices"):
        actual, due = getattr(book, name), getattr(expected, name)
        assert actual.dtype == due.dtype, name
        np.testing.assert_array_equal(actual, due, err_msg=name)
    assert tuple(book.out_spatial_shape) == expected.out_spatial_shape


def refuse_bitmaps(patch):
    """Make every rulebook use sorted keys."""
    patch.setattr(spconv.sites, "BITMAP_CELLS_ALWAYS", 0)
    patch.setattr(spconv.sites, "BITMAP_CELLS_PER_SITE", 0)
    patch.setattr(spconv.rulebook, "Bitmap", None)
    patch.setattr(spconv.sites, "Bitmap", None)


def check(monkeypatch, indices, shape, batch_size, *arguments, **options):
    """Through the bitmap, also with little memory, through sorted keys, and line by line."""
    expected = reference_rulebook(indices, shape, batch_size, *arguments, **options)
    assert_equal(build_rulebook(indices, shape, batch_size, *arguments, **options), expected)
    with monkeypatch.context() as patch:
        patch.setattr(spconv.rulebook, "SCRATCH_BYTES", 1)
        assert_equal(build_rulebook(indices, shape, batch_size, *arguments, **options), expected)
    with monkeypatch.context() as patch:
        refuse_bitmaps(patch)
        assert_equal(build_rulebook(indices, shape, batch_size, *arguments, **options), expected)
    for cells in (2**20, -1):
        with monkeypatch.context() as patch:
            patch.setattr(spconv.rulebook, "fits_bitmap", lambda *sizes: False)
            patch.setattr(spconv.rulebook, "_fits_lines", lambda shape, sites: len(shape) > 1)
            patch.setattr(spconv.rulebook, "LINE_CELLS_PER_SITE", cells)
            book = build_rulebook(indices, shape, batch_size, *arguments, **options)
            assert_equal(book, expected)
    return expected


@pytest.mark.parametrize("stride", [1, 2])
def test_a_large_grid_with_few_lines(stride):
    """Neither a bitmap of its cells nor sorting: as laser scans are."""
    shape, rng = (1400, 1400, 300), np.random.default_rng(0)
    # Near each other, so that outputs have several inputs.
    indices = rng.permutation(np.unique(rng.integers(0, (2, 12, 9, 300), (300, 4)), axis=0))
    indices[::3] += np.array([0, 1300, 1300, 0])
    sites = spconv.sites.SiteSet(indices.astype(np.int32), shape, 2)
    out_shape = tuple(extent // stride for extent in shape)
    assert spconv.rulebook._fits_lines(out_shape, sites)
    options = {"kernel_size": 3, "stride": stride, "padding": 1}
    expected = reference_rulebook(indices, shape, 2, **options)
    assert_equal(build_rulebook(indices, shape, 2, **options), expected)


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_equals_the_reference(monkeypatch, geometry, kind, ndim):
    options = {name: values[:ndim] for name, values in GEOMETRIES[geometry].items()}
    if kind == "submanifold":
        options.pop("stride", None)
    if kind != "transposed":
        options.pop("output_padding", None)
    shape = SHAPES[ndim]
    count = 30 if np.prod(options["kernel_size"]) > 50 else 120
    indices = sites(shape, count, seed=ndim)
    expected = check(monkeypatch, indices, shape, 3, **options, **KINDS[kind])
    assert len(expected.in_rows) > 0
    in_order = indices[np.lexsort(indices.T[::-1])][::3]
    check(monkeypatch, in_order, shape, 3, **options, **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_no_site_one_site_all_sites(monkeypatch, ndim, kind):
    shape = (5, 4, 3)[:ndim]
    everywhere = np.argwhere(np.ones((2, *shape))).astype(np.int32)
    options = {"kernel_size": (3, 2, 3)[:ndim], "padding": 1, **KINDS[kind]}
    if kind != "submanifold":
        options["stride"] = 2
    for indices in (everywhere[:0], everywhere[:1], everywhere[-1:], everywhere):
        check(monkeypatch, indices, shape, 2, **options)
    empty = build_rulebook(everywhere[:0], shape, 0, **options)
    assert empty.num_pairs == len(empty.out_indices) == 0


@pytest.mark.parametrize("kind", ["regular", "transposed"])
def test_all_sites_vanish(monkeypatch, kind):
    indices = np.array([[0, 1], [0, 2]], np.int32)
    options = {"kernel_size": 1, "stride": 3}
    if kind == "transposed":  # both land in the padding
        options = {"kernel_size": 1, "stride": 1, "padding": 3, "transposed": True}
    assert len(check(monkeypatch, indices, (8,), 1, **options).out_indices) == 0


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("size", [(1,) * 6, (2,) * 6, (3,) * 6, (4, 1, 2, 3, 2, 1)])
def test_windows_that_do_not_overlap(monkeypatch, size, ndim):
    """In shapes that leave sites beyond the last whole window; as overlapping ones are built."""
    shape, size = tuple(2 * extent + 1 for extent in SHAPES[ndim])[:ndim], size[:ndim]
    indices = sites(shape, 120, seed=ndim)
    for order in (indices, indices[np.lexsort(indices.T[::-1])], indices[:0]):
        expected = check(monkeypatch, order, shape, 3, size, stride=size)
        with monkeypatch.context() as patch:
            patch.setattr(spconv.geometry.Geometry, "disjoint", False)
            assert_equal(build_rulebook(order, shape, 3, size, stride=size), expected)


def test_kernel_larger_than_the_grid(monkeypatch):
    indices = sites((2, 3), 9)
    check(monkeypatch, indices, (2, 3), 3, (5, 7), submanifold=True)
    check(monkeypatch, indices, (2, 3), 3, (5, 7), padding=(3, 5))
    check(monkeypatch, indices, (2, 3), 3, 2, dilation=4, padding=(4, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("kernel", "dilation"),
    [(2, 1), (62, 1), (63, 1), (64, 1), (65, 1), (2, 62), (2, 63), (2, 64), (32, 2), (9, 7)],
)
@pytest.mark.parametrize("width", [64, 127, 130])
def test_kernels_about_as_wide_as_a_word(monkeypatch, width, kernel, dilation, kind):
    """Of the bitmap, whose words of 64 cells may answer for several offsets at once."""
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((2, 2, width)) < 0.15)).astype(np.int32)
    options = {"kernel_size": (2, kernel), "dilation": (1, dilation), **KINDS[kind]}
    if kind == "regular":
        options["padding"] = (1, 40)
    check(monkeypatch, indices, (2, width), 2, **options)


@pytest.mark.parametrize("padding", [(0, 10), (0, 63), (0, 64), (0, 65), (0, 140), (3, 300)])
def test_deep_cropping(monkeypatch, padding):
    """Sites that reach no output, at any distance from the grid that is left."""
    rng = np.random.default_rng(0)
    shape = (10, 2 * padding[1] + 5)
    indices = np.argwhere(rng.random((2, *shape)) < 0.1).astype(np.int32)
    check(monkeypatch, indices, shape, 2, (2, 3), padding=padding, transposed=True)
    far = np.array([[0, 0, 0], [0, 5, 10**8 + 1], [0, 9, 2 * 10**8]], np.int32)
    check(monkeypatch, far, (10, 2 * 10**8 + 1), 1, (2, 3), padding=(0, 10**8), transposed=True)


@given(data=st.data(), kind=st.sampled_from(sorted(KINDS)), ndim=st.integers(1, 4))
def test_any_geometry(data, kind, ndim):
    def axes(low, high):
        values = st.integers(low, high)
        return data.draw(st.lists(values, min_size=ndim, max_size=ndim).map(tuple))

    shape, kernel, stride, dilation = axes(1, 6), axes(1, 4), axes(1, 3), axes(1, 3)
    padding = axes(0, 3)
    options = dict(KINDS[kind])
    if kind == "submanifold":
        stride = 1
    if kind == "transposed":
        options["output_padding"] = tuple(
            min(extra, max(s, d) - 1)
            for extra, s, d in zip(axes(0, 2), stride, dilation, strict=True)
        )
    site = st.tuples(st.integers(0, 1), *(st.integers(0, n - 1) for n in shape))
    indices = data.draw(st.lists(site, unique=True, max_size=10))
    indices = np.array(indices, np.int32).reshape(-1, 1 + ndim)
    arguments = (indices, shape, 2, kernel, stride, padding, dilation)
    expected = reference_rulebook(*arguments, **options)
    if min(expected.out_spatial_shape) < 1:
        with pytest.raises(ValueError, match="the output would have size"):
            build_rulebook(*arguments, **options)
        return
    assert_equal(build_rulebook(*arguments, **options), expected)
    with pytest.MonkeyPatch.context() as patch:
        refuse_bitmaps(patch)
        assert_equal(build_rulebook(*arguments, **options), expected)


HUGE = (2**20, 2**20, 2**19)


@pytest.mark.parametrize("kind", KINDS)
def test_huge_grid(kind):
    """2**59 cells: only the sorted keys can do that."""
    near = sites((4, 4, 4), 40, batch_size=1)
    far = near + np.array([0, *HUGE], np.int32) - np.array([0, 4, 4, 4], np.int32)
    indices = np.random.default_rng(1).permutation(np.concatenate([near, far]))
    options = {"kernel_size": 3, "padding": 1, **KINDS[kind]}
    expected = reference_rulebook(indices, HUGE, 1, **options)
    assert_equal(build_rulebook(indices, HUGE, 1, **options), expected)
    if kind == "regular":
        expected = reference_rulebook(indices, HUGE, 1, 3, 2)
        assert_equal(build_rulebook(indices, HUGE, 1, 3, 2), expected)


@pytest.mark.parametrize("ndim", [7, 8])
def test_most_dimensions(monkeypatch, ndim):
    """No axis has a valid term, so that the sum of them all is as low as it gets."""
    indices = np.array([[0] + [1] * ndim, [0] + [2] * ndim], np.int32)
    expected = check(monkeypatch, indices, (3,) * ndim, 1, 1, 2)
    np.testing.assert_array_equal(expected.out_indices, [[0] + [1] * ndim])


def test_too_many_dimensions():
    with pytest.raises(ValueError, match="build_rulebook: at most 8 spatial dimensions, got 9"):
        build_rulebook(np.ones((1, 10), np.int32), (2,) * 9, 2, 1)


@pytest.mark.parametrize(
    ("shape", "batch_size", "options", "message"),
    [
        ((2**30, 2**30), 2, {}, rf"batch_size 2 x .*\(1073741824, 1073741824\) has {2**61} cells"),
        ((2**20,) * 3, 1, {"padding": 1}, rf"\(1048578, .* has {(2**20 + 2) ** 3} cells"),
        ((2**20,) * 3, 1, {"stride": 2, "transposed": True}, r"\(2097151, .* cells"),
        ((2,), 1, {"padding": 2**31 - 1}, r"\(4294967296,\) has an extent above 2147483648"),
        ((2**12,), 1, {"stride": 2**20, "transposed": True}, r"\(4293918721,\) has an extent"),
    ],
)
def test_overflow_is_refused_with_the_numbers(shape, batch_size, options, message):
    indices = np.zeros((1, 1 + len(shape)), np.int32)
    with pytest.raises(ValueError, match=f"build_rulebook: .*{message}"):
        build_rulebook(indices, shape, batch_size, 1, **options)


def test_too_many_rows(monkeypatch):
    monkeypatch.setattr(spconv.rulebook, "MAX_ROWS", 5)
    indices = np.array([[0, 3], [0, 7]], np.int32)
    with pytest.raises(ValueError, match=r"2 input and 6 output sites; .* at most 5 sites"):
        build_rulebook(indices, (9,), 1, 3, padding=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], (4, 4), 1, 3), r"1 \+ ndim = 3 columns"),
        (([[0, 4]], (4,), 1, 3), r"row 0 is \(0, 4\), outside"),
        (([[1, 0]], (4,), 1, 3), r"row 0 is \(1, 0\), outside batch_size 1"),
        (([[0, 1], [0, 1]], (4,), 1, 3), r"site \(0, 1\) is given twice"),
        (([[0, 2**32]], (4,), 1, 3), "fit in int32"),
        (([[0, 1]], (4,), 1, 0), "kernel_size must be at least 1"),
        (([[0, 1]], (4,), 1, 5), "output would have size 0 on axis 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^build_rulebook: .*{message}"):
        build_rulebook(*arguments)
    with pytest.raises(TypeError, match=r"^build_rulebook: indices must be integers"):
        build_rulebook([[0, 1.5]], (4,), 1, 3)


@pytest.mark.parametrize("offset", [-1, 9, 99])
def test_offsets_that_are_not_there(offset):
    book = build_rulebook(np.array([[0, 1, 1]], np.int32), (4, 4), 1, 3, submanifold=True)
    for method in (book.pairs, book.to_scipy):
        with pytest.raises(IndexError, match=f"offsets are 0 to 8, got {offset}"):
            method(offset)


def test_a_copy_has_no_inverse_yet():
    book = build_rulebook(np.array([[0, 1, 1], [0, 2, 3]], np.int32), (4, 4), 1, 2, 2)
    inverse = book.inverse
    for copied in (pickle.loads(pickle.dumps(book)), copy.deepcopy(book)):
        np.testing.assert_array_equal(copied.inverse.in_rows, inverse.in_rows)
        assert copied.inverse.inverse is copied


def test_a_submanifold_convolution_is_not_transposed():
    with pytest.raises(ValueError, match="submanifold convolution is its own transpose"):
        build_rulebook(np.zeros((1, 3)), (4, 4), 1, 3, submanifold=True, transposed=True)


def test_a_copy_cannot_be_written_to():
    book = build_rulebook(np.array([[0, 1, 1]], np.int32), (4, 4), 1, 2)
    for copied in (pickle.loads(pickle.dumps(book)), copy.deepcopy(book)):
        with pytest.raises(ValueError, match="read-only"):
            copied.in_rows[0] = 7
