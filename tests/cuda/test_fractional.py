"""Fractional max-pooling on CUDA arrays: emulated, or on a GPU."""

import numpy as np
import pytest
from fake_array import COPIES

import spconv
from spconv import functional
from spconv.functional.fractional import draw_regions
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.regions import region_rulebook


def sparse(density, ground, shape=(9, 8), dtype=np.float32):
    """Below the ground state everywhere in one channel, above it in another."""
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((2, *shape)) < density)).astype(np.int32)
    features = rng.standard_normal((len(indices), 3)).astype(dtype) + np.array([-9, 0, 9], dtype)
    state = np.array([0.5, 0.25, 0], dtype) if ground else None
    return spconv.SparseConvTensor(features, indices, shape, 2, state)


def regions_of(shape, overlapping, seed=0):
    rng = np.random.default_rng(seed)
    return [
        draw_regions(n, functional.fractional_size(n, 1.4), overlapping, "random", rng)
        for n in shape
    ]


def pooled(x, regions, overlapping):
    """Result, and gradients of the features and the ground state, as NumPy arrays."""
    x.features.requires_grad = True
    inputs = [x.features]
    if x.ground_state is not None:
        x.ground_state.requires_grad = True
        inputs.append(x.ground_state)
    y = functional.sparse_fractional_max_pool(x, regions, overlapping=overlapping).features
    (y * y).sum().backward()
    gradients = [tensor.grad for tensor in inputs]
    return [y.numpy()] + [g.get() if hasattr(g, "get") else g for g in gradients]


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("density", [1, 0.7, 0.2])
def test_complete_and_incomplete_regions(cupy, density, overlapping, ground):
    """Regions have fewer sites than the rulebook offsets: what lies beyond is not inactive."""
    x = sparse(density, ground)
    regions = regions_of(x.spatial_shape, overlapping)
    expected = pooled(sparse(density, ground), regions, overlapping)
    for actual, wanted in zip(pooled(x.to("cuda"), regions, overlapping), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_as_the_specification(cupy, dtype):
    x = sparse(0.8, True)
    book = region_rulebook(x.sites, regions_of(x.spatial_shape, True), True)
    features, ground = (t.data.astype(dtype) for t in (x.features, x.ground_state))
    expected = Ops(np).max_pairs(features, book, ground)
    actual = CudaOps().max_pairs(cupy.asarray(features), book, cupy.asarray(ground))
    assert (expected[1] < 0).any()
    assert (expected[1][:, 0] >= 0).any()
    for array, wanted in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(array.get(), wanted)


def test_counts_are_uploaded_once(emulated, monkeypatch):
    x = sparse(0.5, True)
    book = region_rulebook(x.sites, regions_of(x.spatial_shape, False), False)
    ops = CudaOps()
    features, ground = (emulated.asarray(t.data) for t in (x.features, x.ground_state))
    ops.max_pairs(features, book, ground)

    def no_upload(*arguments):
        raise AssertionError("uploaded again")

    monkeypatch.setattr(emulated, "asarray", no_upload)
    before = COPIES["to_host"]
    ops.max_pairs(features, book, ground)
    assert COPIES["to_host"] == before
