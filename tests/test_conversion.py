"""Sparse tensors of grids and of scipy.sparse matrices."""

import re

import numpy as np
import pytest
import scipy.sparse

from spconv import Parameter, SparseConvTensor, from_dense, from_scipy
from spconv.testing import random_sparse_tensor

SITES = [[0, 1, 2], [0, 3, 4]]


def test_from_dense_keeps_sites_where_any_channel_differs():
    array = np.zeros((1, 2, 3), np.float32)
    array[0, :, 0] = 5, 7  # as the ground state
    array[0, :, 1] = 5, 0
    assert from_dense(array).indices.tolist() == [[0, 0], [0, 1]]
    x = from_dense(array, [5.0, 7.0])
    assert x.indices.tolist() == [[0, 1], [0, 2]]
    assert x.features.data.tolist() == [[5, 0], [0, 0]]
    array[0, 0, 2] = np.nan
    assert len(from_dense(array)) == 3


def test_from_dense_refuses():
    with pytest.raises(ValueError, match=re.escape("(batch_size, C, *spatial_shape), got shape")):
        from_dense(np.ones((2, 3)))
    for ground in (np.ones(3), np.ones(1), np.ones((1, 2))):
        with pytest.raises(ValueError, match=re.escape("one entry per channel, shape (2,), got")):
            from_dense(np.ones((1, 2, 3)), ground)
    with pytest.raises(TypeError, match="floating point"):
        from_dense(np.ones((1, 2, 3), int))


def test_gradients_through_from_dense():
    """Active sites pass their gradient on; the sites of the background are constants."""
    rng = np.random.default_rng(0)
    array = Parameter(rng.standard_normal((2, 3, 4)) * (rng.random((2, 1, 4)) < 0.5))
    x = from_dense(array)
    weight = rng.standard_normal(x.features.shape)
    (x.features * weight).sum().backward()
    expected = SparseConvTensor(weight, x.indices, (4,), 2).dense().data
    np.testing.assert_array_equal(array.grad, expected)
    ground = Parameter(np.zeros(3))
    from_dense(array, ground).dense().sum().backward()
    np.testing.assert_array_equal(ground.grad, [8 - len(x)] * 3)


def test_scipy_and_back():
    rng = np.random.default_rng(0)
    matrices = [scipy.sparse.random_array((6, 5), density=d, rng=rng) for d in (0.3, 0.0, 0.5)]
    x = from_scipy(*matrices)
    assert (x.spatial_shape, x.batch_size, x.num_channels) == ((6, 5), 3, 1)
    for sample, matrix in enumerate(matrices):
        np.testing.assert_array_equal(x.dense().data[sample, 0], matrix.toarray())
        back = x.to_scipy(sample)
        assert back.shape == (6, 5)
        assert (back != matrix).nnz == 0
    two = random_sparse_tensor(rng, (6, 5), 2, 3, ground=False, shuffle=True)
    for sample, channel in [(0, 0), (1, 2)]:
        np.testing.assert_array_equal(
            two.to_scipy(sample, channel).toarray(), two.dense().data[sample, channel]
        )


def test_from_scipy_takes_every_format():
    rows, columns, values = [0, 0, 1, 0], [1, 1, 2, 0], [1.0, 2.0, 4.0, 0.0]
    coo = scipy.sparse.coo_array((values, (rows, columns)), shape=(2, 3))
    for matrix in (coo, coo.tocsr(), scipy.sparse.csc_matrix(coo), coo.astype(np.int64)):
        x = from_scipy(matrix)
        assert x.indices.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]  # the explicit zero too
        assert x.features.data.tolist() == [[0], [3], [4]]
    assert from_scipy(coo.astype(np.int64)).features.dtype == np.float32
    assert from_scipy(coo, ground_state=[0.0]).ground_state.data.tolist() == [0]


def test_scipy_errors():
    with pytest.raises(ValueError, match="from_scipy: expected at least one matrix"):
        from_scipy()
    one, other = scipy.sparse.eye_array(3), scipy.sparse.eye_array(4)
    with pytest.raises(ValueError, match=re.escape("one shape, got [(3, 3), (4, 4)]")):
        from_scipy(one, other)
    with pytest.raises(ValueError, match="needs ndim = 2, got 1"):
        SparseConvTensor(np.ones((1, 1)), [[0, 1]], (4,), 1).to_scipy()
    x = SparseConvTensor(np.ones((2, 2)), SITES, (4, 5), 1, [0.0, 2.0])
    assert x.to_scipy(0, 0).nnz == 2
    with pytest.raises(ValueError, match=re.escape("the ground state is 2.0 in channel 1")):
        x.to_scipy(0, 1)
