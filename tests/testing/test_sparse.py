"""Random sparse tensors and their comparison."""

import numpy as np
import pytest

from spconv import SparseConvTensor
from spconv.testing import (
    assert_close,
    assert_matches_grid,
    assert_sparse_equal,
    random_sparse_tensor,
    to_grid,
)


def changed(x, **changes):
    parts = {
        "features": x.features.numpy(),
        "indices": x.indices,
        "spatial_shape": x.spatial_shape,
        "batch_size": x.batch_size,
        "ground_state": x.ground_state.numpy(),
    }
    return SparseConvTensor(**{**parts, **changes})


def example(**options):
    return random_sparse_tensor(np.random.default_rng(0), (6, 5), **options)


def test_random_sparse_tensor_options():
    x = example(batch_size=3, channels=2, dtype=np.float32, empty_samples=[1])
    assert x.features.dtype == np.float32
    assert x.ground_state.shape == (2,)
    assert set(x.indices[:, 0].tolist()) == {0, 2}
    assert (np.diff(np.ravel_multi_index(x.indices.T, (3, 6, 5))) > 0).all()
    assert example(ground=False).ground_state is None
    assert len(example(density=0).indices) == 0
    assert len(example(density=1).indices) == 60
    shuffled = example(shuffle=True)
    assert (np.diff(np.ravel_multi_index(shuffled.indices.T, (2, 6, 5))) < 0).any()
    assert sorted(shuffled.indices.tolist()) == example().indices.tolist()


def test_to_grid_is_dense():
    x = example(shuffle=True)
    grid = to_grid(x)
    np.testing.assert_array_equal(grid.values, x.dense().numpy())
    np.testing.assert_array_equal(grid.rows(x.indices), x.features.numpy())
    assert_matches_grid(x, grid, indices=x.indices)
    with pytest.raises(AssertionError, match="indices: expected"):
        assert_matches_grid(x, grid)


def test_equal_tensors():
    x = example()
    assert_sparse_equal(x, example(), tolerance=0)
    noise = 1e-15 * np.ones(x.features.shape)
    assert_sparse_equal(changed(x, features=x.features.numpy() + noise), x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spatial_shape": (6, 6)}, "spatial shape: expected"),
        ({"batch_size": 3}, "batch size: expected 2, got 3"),
        ({"ground_state": None}, "has a ground state: expected True, got False"),
        ({"ground_state": np.ones(3)}, "ground state: expected"),
    ],
)
def test_differences_are_named(changes, message):
    x = example()
    with pytest.raises(AssertionError, match=message):
        assert_sparse_equal(changed(x, **changes), x)


def test_order_dtype_and_features_count():
    x = example()
    order = np.arange(len(x.indices))[::-1]
    turned = changed(x, features=x.features.numpy()[order], indices=x.indices[order])
    with pytest.raises(AssertionError, match="indices: expected"):
        assert_sparse_equal(turned, x)
    low = random_sparse_tensor(np.random.default_rng(0), (6, 5), dtype=np.float32)
    with pytest.raises(AssertionError, match="feature dtype"):
        assert_sparse_equal(low, x)
    features = x.features.numpy().copy()
    features[3, 1] += 1e-9
    with pytest.raises(AssertionError, match=r"features: expected .* at \(3, 1\).* 1 of"):
        assert_sparse_equal(changed(x, features=features), x)
    with pytest.raises(AssertionError, match="shape of indices"):
        assert_sparse_equal(example(density=0.5), x)


def test_nan_is_never_close():
    with pytest.raises(AssertionError, match=r"got np\.float64\(nan\)"):
        assert_close(np.array([1.0, np.nan]), np.ones(2), 1.0)
    with pytest.raises(AssertionError, match="expected shape"):
        assert_close(np.ones(3), np.ones((3, 1)), 1.0)
    assert_close(np.ones((0, 3)), np.ones((0, 3)), 0.0)
