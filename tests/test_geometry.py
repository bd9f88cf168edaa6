"""Kernel parameters, output shapes and kernel offsets, against counting by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spconv.geometry import MAX_CELLS, MAX_EXTENT, MAX_NDIM, Geometry, check_cells, ntuple


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, (3, 3)),
        (np.int64(3), (3, 3)),
        ((1, 2), (1, 2)),
        ([1, 2], (1, 2)),
        (np.array([1, 2]), (1, 2)),
        (iter((1, 2)), (1, 2)),
    ],
)
def test_ntuple(value, expected):
    result = ntuple(value, 2, "kernel_size", 1, "Layer")
    assert result == expected
    assert [type(v) for v in result] == [int, int]


@pytest.mark.parametrize("value", [1.0, "3", None, (1, 2.5), [None, 1]])
def test_ntuple_wants_integers(value):
    with pytest.raises(TypeError, match="Layer: kernel_size must be an int or a sequence of 2"):
        ntuple(value, 2, "kernel_size", 1, "Layer")


@pytest.mark.parametrize("value", [(), (1,), (1, 2, 3)])
def test_ntuple_wants_ndim_entries(value):
    with pytest.raises(ValueError, match="Layer: stride must be an int or have ndim = 2 entries"):
        ntuple(value, 2, "stride", 1, "Layer")


def test_ntuple_wants_large_enough_entries():
    with pytest.raises(ValueError, match=r"Layer: stride must be at least 1, got \(2, 0\)"):
        ntuple((2, 0), 2, "stride", 1, "Layer")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, r"Layer: kernel_size must be at least 1, got \(0, 0\)"),
        ({"kernel_size": 2**16}, r"Layer: kernel_size \(65536, 65536\) has 4294967296 offsets"),
        ({"stride": 0}, "Layer: stride must be at least 1"),
        ({"dilation": 0}, "Layer: dilation must be at least 1"),
        ({"padding": -1}, "Layer: padding must be at least 0"),
        ({"output_padding": -1}, "Layer: output_padding must be at least 0"),
        ({"stride": 2, "output_padding": 1}, "output_padding belongs to transposed"),
        (
            {"transposed": True, "stride": (2, 3), "output_padding": 2},
            r"smaller than stride or dilation, got output_padding=\(2, 2\), stride=\(2, 3\)",
        ),
        ({"submanifold": True, "stride": (1, 2)}, r"stride 1, got stride=\(1, 2\); use SparseConv"),
    ],
)
def test_make_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Geometry.make(2, **{"kernel_size": 3, **options}, owner="Layer")


def test_number_of_dimensions():
    assert Geometry.make(MAX_NDIM, 1).ndim == MAX_NDIM
    with pytest.raises(ValueError, match="Layer: at most 8 spatial dimensions, got 9"):
        Geometry.make(MAX_NDIM + 1, 1, owner="Layer")


def test_geometries_are_values():
    one, other = Geometry.make(2, 3, padding=1), Geometry.make(2, (3, 3), padding=[1, 1])
    assert one == other
    assert hash(one) == hash(other)
    assert one != Geometry.make(2, 3)
    with pytest.raises(AttributeError, match="cannot assign"):
        one.stride = (2, 2)


def test_properties():
    geometry = Geometry.make(3, (1, 2, 3), (1, 1, 2), dilation=2)
    assert (geometry.ndim, geometry.volume, geometry.unit_stride) == (3, 6, False)
    assert Geometry.make(3, 4).unit_stride
    assert geometry.describe() == (
        "kernel_size=(1, 2, 3), stride=(1, 1, 2), padding=(0, 0, 0), dilation=(2, 2, 2)"
    )


def test_offsets_are_row_major():
    sizes = (2, 1, 3)
    offsets = Geometry.make(3, sizes).offsets()
    strides = np.array([3, 3, 1])
    assert [int(strides @ offset) for offset in offsets] == list(range(6))
    assert all(0 <= o < n for offset in offsets for o, n in zip(offset, sizes, strict=True))


def test_submanifold_ignores_padding_and_keeps_the_shape():
    geometry = Geometry.make(2, (4, 3), 1, 17, (3, 2), submanifold=True)
    assert geometry.padding == (4, 2)  # the "same" phase: floor of half the span
    assert geometry.output_shape([9, 2]) == (9, 2)


SMALL = st.integers(1, 5)


@given(n=st.integers(1, 12), k=SMALL, s=SMALL, p=st.integers(0, 4), d=SMALL)
def test_output_size_counts_the_windows_that_fit(n, k, s, p, d):
    fits = sum(start + d * (k - 1) <= n + 2 * p - 1 for start in range(0, n + 2 * p, s))
    geometry = Geometry.make(1, k, s, p, d, owner="Layer")
    if fits:
        assert geometry.output_shape((n,)) == (fits,)
    else:
        with pytest.raises(ValueError, match=r"Layer: the output would have size .* on axis 0"):
            geometry.output_shape((n,), "Layer")


@given(n=st.integers(1, 12), k=SMALL, s=SMALL, p=st.integers(0, 4), d=SMALL, extra=SMALL)
def test_transposed_output_leads_back(n, k, s, p, d, extra):
    extra = min(extra, s) - 1  # an output_padding that the stride leaves undecided
    transposed = Geometry.make(1, k, s, p, d, extra, transposed=True)
    size = (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
    if size < 1:
        with pytest.raises(ValueError, match="is too small for kernel_size"):
            transposed.output_shape((n,))
    else:
        assert transposed.output_shape((n,)) == (size,)
        assert Geometry.make(1, k, s, p, d).output_shape((size,)) == (n,)


def test_axes_do_not_mix():
    axes = [(7, 3, 1, 0, 1), (8, 2, 2, 1, 2), (9, 1, 3, 2, 1)]
    sizes = [Geometry.make(1, k, s, p, d).output_shape((n,))[0] for n, k, s, p, d in axes]
    for order in itertools.permutations(range(3)):
        shape, *parameters = zip(*(axes[a] for a in order), strict=True)
        expected = tuple(sizes[a] for a in order)
        assert Geometry.make(3, *parameters).output_shape(shape) == expected


def test_check_cells():
    check_cells((2**20, 2**20, 2**20), 1, "Layer")
    check_cells((MAX_EXTENT,), 4, "Layer")
    with pytest.raises(ValueError, match=f"batch_size 2 .* {2 * MAX_CELLS} cells, more than"):
        check_cells((2**30, 2**30), 2, "Layer")
    with pytest.raises(ValueError, match=r"spatial_shape \(4, 2147483649\) has an extent above"):
        check_cells((4, MAX_EXTENT + 1), 1, "Layer")


def test_windows_that_lie_side_by_side():
    assert Geometry.make(2, (2, 3), (2, 3)).disjoint
    assert Geometry.make(3, 1).disjoint
    assert not Geometry.make(2, 1, submanifold=True).disjoint  # in the order of its input
    for options in ({"stride": 1}, {"padding": 1}, {"dilation": 2}, {"transposed": True}):
        assert not Geometry.make(1, **{"kernel_size": 2, "stride": 2, **options}).disjoint


@pytest.mark.parametrize("submanifold", [True, False])
def test_grids_of_other_dimensions(submanifold):
    geometry = Geometry.make(3, 3, submanifold=submanifold)
    with pytest.raises(
        ValueError, match=r"Conv: expected a grid of 3 dim.* spatial_shape \(9, 8\)"
    ):
        geometry.output_shape((9, 8), "Conv")
