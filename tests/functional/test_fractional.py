"""Regions of fractional max-pooling, against plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv
from spconv import functional
from spconv.testing import random_sparse_tensor

RANDOM = ("pseudorandom", "random")


@given(st.integers(2, 200), st.floats(1.0001, 2.0))
def test_sizes(extent, ratio):
    size = functional.fractional_size(extent, ratio)
    assert 1 <= size < extent <= 2 * size
    assert size == extent - 1 or abs(size - extent / ratio) <= 0.5


def test_sizes_of_the_paper():
    """(32nC2-FMP sqrt 2)_6-C2-C1 on the 36 x 36 field of the paper ends with one site."""
    size = 36
    for _ in range(6):
        size = functional.fractional_size(size - 1, 2**0.5)
    assert size - 1 == 1


@given(
    st.integers(2, 60),
    st.floats(1.0001, 2.0),
    st.booleans(),
    st.sampled_from(RANDOM),
    st.integers(0),
)
def test_regions_cover_the_axis_in_steps_of_one_and_two(extent, ratio, overlapping, random, seed):
    size = functional.fractional_size(extent, ratio)
    rng = np.random.default_rng(seed)
    a = functional.draw_regions(extent, size, overlapping, random, rng)
    assert a.shape == (size + 1,)
    assert a.dtype == np.int64
    assert (a[0], a[-1]) == (0, extent - overlapping)
    assert set(np.diff(a)) <= {1, 2}
    covered = [c for i in range(size) for c in range(a[i], a[i + 1] + overlapping)]
    assert set(covered) == set(range(extent))
    assert (len(covered) == extent) == (not overlapping or size == 1)


@given(st.integers(2, 60), st.floats(1.05, 2.0), st.integers(0))
def test_pseudorandom_regions_are_those_of_the_equation(extent, ratio, seed):
    """Some u in (0, 1) gives the sequence: a_i = ceil(alpha (i + u)) - ceil(alpha u)."""
    size = functional.fractional_size(extent, ratio)
    a = functional.draw_regions(extent, size, False, "pseudorandom", np.random.default_rng(seed))
    alpha, i = extent / size, np.arange(size + 1)
    sequences = []
    for u in (np.arange(8 * extent) + 0.5) / (8 * extent):
        ceilings = np.ceil(alpha * (i + u) - 1e-9)
        sequences.append(ceilings - ceilings[0])
    assert any(np.array_equal(a, sequence) for sequence in sequences)


def test_shifts_are_as_frequent_as_u_makes_them():
    """Of the intervals of u in sevenths, two give each of two sequences, one the others."""
    rng = np.random.default_rng(0)
    draws = [
        functional.draw_regions(7, 5, False, "pseudorandom", rng).tolist() for _ in range(2000)
    ]
    distinct, counts = np.unique(draws, axis=0, return_counts=True)
    assert len(distinct) == 5
    expected = 2000 / 7 * np.array([1, 1, 1, 2, 2])
    assert np.abs(np.sort(counts) - expected).max() < 100  # five deviations


def test_random_regions_have_every_order():
    rng = np.random.default_rng(0)
    draws = {tuple(functional.draw_regions(6, 4, False, "random", rng)) for _ in range(300)}
    assert len(draws) == 6  # the orders of two ones and two twos


def test_sizes_that_increments_of_one_and_two_cannot_reach():
    rng = np.random.default_rng(0)
    for extent, size, overlapping in ((11, 5, False), (12, 5, True), (4, 5, False), (5, 5, True)):
        with pytest.raises(ValueError, match=r"draw_regions: increments of one and two lead from"):
            functional.draw_regions(extent, size, overlapping, "random", rng)
    with pytest.raises(ValueError, match="fractional_size: an axis of 1 site cannot shrink"):
        functional.fractional_size(1, 1.5)


def test_wrong_regions():
    x = spconv.from_dense(np.eye(4, dtype=np.float32)[None, None])
    good = np.array([0, 1, 3])
    for bad in ([0, 1, 4], [0, 3], [1, 3], [0, 1, 1, 3], [0], []):
        with pytest.raises(ValueError, match=r"the regions of axis 1 must go from 0 to 3 in steps"):
            functional.sparse_fractional_max_pool(x, [good, np.array(bad, np.int64)])
    with pytest.raises(ValueError, match=r"sparse_fractional_max_pool: expected a 1-dim"):
        functional.sparse_fractional_max_pool(x, [good])


def test_an_input_that_comes_again_keeps_nothing_of_what_was_drawn():
    net = spconv.SparseSequential(
        spconv.SubMConv2d(2, 2, 3, indice_key="above"),
        spconv.SparseFractionalMaxPool2d(1.5),
        spconv.SubMConv2d(2, 2, 3, indice_key="below"),
        spconv.SparseConv2d(2, 2, 2, indice_key="wide"),
        spconv.SparseInverseConv2d(2, 2, 2, "wide"),
    )
    x = random_sparse_tensor(np.random.default_rng(0), (12, 11), 2, 2, ground=False)
    outputs = [net.train()(x) for _ in range(3)] + [net.eval()(x) for _ in range(2)]
    np.testing.assert_array_equal(outputs[3].features.data, outputs[4].features.data)
    assert len(x.rulebooks._built) == 1
    assert list(x.rulebooks._named) == ["above"]
    assert outputs[0].rulebooks.named("above") is x.rulebooks.named("above")
