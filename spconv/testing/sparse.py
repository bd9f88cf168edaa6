"""Random sparse tensors, and the comparison of two, or of one with a full grid."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spconv.tensor import SparseConvTensor
from spconv.testing.reference.grid import Grid, scatter
from spconv.testing.tolerances import tolerance as default_tolerance


def random_sparse_tensor(
    rng: np.random.Generator,
    spatial_shape: tuple[int, ...],
    batch_size: int = 2,
    channels: int = 3,
    density: float = 0.3,
    dtype=np.float64,
    *,
    ground: bool = True,
    shuffle: bool = False,
    empty_samples: Iterable[int] = (),
) -> SparseConvTensor:
    """Standard normal features at random sites; each site is active with chance `density`.

    Parameters
    ----------
    ground : bool
        Give the tensor a random ground state.
    shuffle : bool
        Put the sites in random order instead of sorted.
    empty_samples : iterable of int
        Samples of the batch that get no active site.
    """
    active = rng.random((batch_size, *spatial_shape)) < density
    active[list(empty_samples)] = False
    indices = np.argwhere(active).astype(np.int32)
    if shuffle:
        rng.shuffle(indices)
    features = rng.standard_normal((len(indices), channels)).astype(dtype)
    ground_state = rng.standard_normal(channels).astype(dtype) if ground else None
    return SparseConvTensor(features, indices, spatial_shape, batch_size, ground_state)


def to_grid(x: SparseConvTensor) -> Grid:
    """The full grid of `x`, for the functions of :mod:`spconv.testing.reference`."""
    ground = None if x.ground_state is None else x.ground_state.numpy()
    return scatter(x.features.numpy(), x.indices, x.spatial_shape, x.batch_size, ground)


def assert_close(actual, expected, limit: float, what: str = "values") -> None:
    """Largest difference at most `limit`, relative to the largest expected value (or to 1)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: expected shape {expected.shape}, got {actual.shape}")
    if not actual.size:
        return
    scale = max(1.0, float(np.abs(expected).max()))
    error = np.abs(actual.astype(np.float64) - expected)
    if not error.max() <= limit * scale:  # also catches NaN
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        place = tuple(map(int, worst))
        raise AssertionError(
            f"{what}: expected {expected[worst]!r} at {place}, got {actual[worst]!r}; "
            f"error {error[worst]:.3g}, allowed {limit * scale:.3g}, "
            f"{np.count_nonzero(~(error <= limit * scale))} of {error.size} values are off"
        )


def assert_sparse_equal(
    actual: SparseConvTensor,
    expected: SparseConvTensor,
    *,
    tolerance: float | None = None,
    reduction_length: int = 1,
) -> None:
    """Same sites in the same order, shape, dtype and ground state; features within tolerance.

    The default tolerance is that of the table for the dtype and `reduction_length`;
    ``tolerance=0`` asks for the same bits.
    """
    _assert_same_site_set(actual, expected.indices, expected.spatial_shape, expected.batch_size)
    _assert_equal("feature dtype", actual.features.dtype, expected.features.dtype)
    limit = tolerance
    if limit is None:
        limit = default_tolerance(expected.features.dtype, reduction_length)
    assert_close(actual.features.numpy(), expected.features.numpy(), limit, "features")
    ground, due = actual.ground_state, expected.ground_state
    _assert_equal("has a ground state", ground is not None, due is not None)
    if ground is not None and due is not None:
        _assert_equal("ground dtype", ground.dtype, due.dtype)
        assert_close(ground.numpy(), due.numpy(), limit, "ground state")


def assert_matches_grid(
    actual: SparseConvTensor,
    expected: Grid,
    *,
    tolerance: float = 1e-12,
    indices: np.ndarray | None = None,
) -> None:
    """`actual` is `expected` at every site of the grid, active or not.

    `indices` are the sites in the order that is due, by default sorted.
    """
    sites = expected.indices() if indices is None else indices
    batch_size = len(expected.values)
    _assert_same_site_set(actual, sites, expected.spatial_shape, batch_size)
    _assert_equal(
        "has a ground state", actual.ground_state is not None, expected.ground is not None
    )
    assert_close(actual.features.numpy(), expected.rows(sites), tolerance, "features")
    assert_close(actual.dense().numpy(), expected.values, tolerance, "dense values")
    if actual.ground_state is not None:
        assert_close(actual.ground_state.numpy(), expected.ground, tolerance, "ground state")


def _assert_same_site_set(actual, indices, spatial_shape, batch_size):
    _assert_equal("spatial shape", tuple(actual.spatial_shape), tuple(spatial_shape))
    _assert_equal("batch size", actual.batch_size, batch_size)
    _assert_equal("index dtype", actual.indices.dtype, np.dtype(np.int32))
    _assert_equal("shape of indices", actual.indices.shape, indices.shape)
    if not np.array_equal(actual.indices, indices):
        row = int(np.argmax((actual.indices != indices).any(1)))
        raise AssertionError(
            f"indices: expected {indices[row].tolist()} in row {row}, "
            f"got {actual.indices[row].tolist()}"
        )


def _assert_equal(what, actual, expected):
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected}, got {actual}")
