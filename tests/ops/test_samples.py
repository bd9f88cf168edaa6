"""Sums and maps of samples on the compiled engine, against the specification."""

import numpy as np
import pytest
from engine_checks import SPECIFICATION, compare, random

import spconv
from spconv.ops import CpuOps
from spconv.sites import SiteSet

CPU = CpuOps()


def sites(counts, order="sorted"):
    """So many sites in every sample; "apart": those of a sample do not lie together."""
    rng = np.random.default_rng(0)
    indices = [(b, c) for b, n in enumerate(counts) for c in rng.permutation(5000)[:n]]
    indices = np.array(indices, np.int32).reshape(-1, 2)
    if order == "sorted":
        indices = indices[np.lexsort(indices.T[::-1])]
    if order == "apart":
        indices = rng.permutation(indices)
    return SiteSet(np.ascontiguousarray(indices), (5000,), len(counts))


COUNTS = [(0, 3, 0, 1, 4000), (0, 0), (), (7,)]


@pytest.mark.parametrize("order", ["sorted", "shuffled", "apart"])
@pytest.mark.parametrize("counts", COUNTS)
def test_as_the_specification(dtype, counts, order):
    where, rng = sites(counts, order), np.random.default_rng(1)
    x = random(rng, dtype, len(where), 5)
    vectors = [random(rng, dtype, len(counts), 5) for _ in range(3)]
    length = 1 if dtype == np.float32 else max(len(x), 1)  # they add up in float64
    compare(CPU, dtype, length, "sum_samples", x, where)
    compare(CPU, dtype, length, "sum_samples", np.asfortranarray(x), where)
    expected = SPECIFICATION.normalize_samples(x, *vectors, where)
    np.testing.assert_array_equal(CPU.normalize_samples(x, *vectors, where), expected)


def test_rows_that_lie_together():
    assert sites((0, 3, 0, 2)).sample_slices == [(1, slice(0, 3)), (3, slice(3, 5))]
    assert sites((2, 1), "shuffled").sample_slices == [(0, slice(0, 2)), (1, slice(2, 3))]
    assert SiteSet(np.array([[1, 0], [0, 0]], np.int32), (4,), 2).sample_slices is None
    assert sites(()).sample_slices == []


@pytest.mark.parametrize("order", ["sorted", "apart"])
def test_the_same_bits_at_any_number_of_threads(dtype, order):
    where, rng = sites((4000, 3000), order), np.random.default_rng(1)
    rows, gradient = (random(rng, dtype, len(where), 24) for _ in range(2))
    weight, bias = (random(rng, dtype, 24) for _ in range(2))
    results = []
    for count in (1, 2, 3):
        spconv.set_num_threads(count)
        leaves = [spconv.Parameter(array) for array in (rows, weight, bias)]
        x = spconv.SparseConvTensor(leaves[0], where.indices, (5000,), 2)
        y = spconv.functional.group_norm(x, 4, *leaves[1:]).features
        y.backward(gradient)
        results.append([y.data, *(leaf.grad for leaf in leaves)])
    spconv.set_num_threads(None)
    for other in results[1:]:
        for expected, actual in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(actual, expected)
