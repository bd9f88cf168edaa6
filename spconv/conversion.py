"""Sparse tensors of dense grids and of scipy.sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import type_name
from spconv.compat import Array, array_module, to_device
from spconv.tensor import SparseConvTensor, as_ground, as_tensor


def from_scipy(*matrices: Any, ground_state: Array | Tensor | None = None) -> SparseConvTensor:
    """Make a one-channel 2-D tensor from one ``scipy.sparse`` matrix per sample.

    Stored entries become active sites, explicit zeros too; duplicates are summed.

    Examples
    --------
    >>> from scipy.sparse import eye_array
    >>> from_scipy(eye_array(3, dtype="float32"), eye_array(3, dtype="float32"))
    SparseConvTensor(6 sites, 1 channels, batch_size=2, spatial_shape=(3, 3), float32)
    """
    if not matrices:
        raise ValueError("from_scipy: expected at least one matrix")
    if not all(hasattr(matrix, "tocsr") for matrix in matrices):
        raise TypeError(
            "from_scipy: expected scipy.sparse matrices, one for each sample, got "
            f"{', '.join(map(type_name, matrices))}"
        )
    shapes = {tuple(matrix.shape) for matrix in matrices}
    if len(shapes) > 1:
        raise ValueError(f"from_scipy: matrices must have one shape, got {sorted(shapes)}")
    indices, values = [], []
    for sample, matrix in enumerate(matrices):
        coo = matrix.tocsr().tocoo()
        indices.append(np.stack([np.full(coo.nnz, sample), coo.row, coo.col], axis=1))
        values.append(coo.data)
    features = np.concatenate(values)[:, None]
    if features.dtype.kind != "f":
        features = features.astype(np.float32)
    sites = np.concatenate(indices)
    return SparseConvTensor(features, sites, shapes.pop(), len(matrices), ground_state)


def from_dense(
    array: Array | Tensor, ground_state: Array | Tensor | None = None
) -> SparseConvTensor:
    """Make a sparse tensor of the sites where some channel differs from the ground state.

    Parameters
    ----------
    array : ndarray or Tensor (batch_size, C, *spatial_shape)
    ground_state : ndarray or Tensor (C,), optional
        Without it, sites where every channel is zero become inactive.

    Examples
    --------
    >>> import numpy as np
    >>> from_dense(np.eye(3, dtype="float32")[None, None])
    SparseConvTensor(3 sites, 1 channels, batch_size=1, spatial_shape=(3, 3), float32)
    """
    tensor = as_tensor(array, "from_dense: array")
    if tensor.ndim < 3:
        raise ValueError(
            "from_dense: expected an array (batch_size, C, *spatial_shape), "
            f"got shape {tensor.shape}"
        )
    xp, shape = array_module(tensor.data), tensor.shape
    last = xp.moveaxis(tensor.data, 1, -1)
    ground = as_ground(ground_state, tensor)
    if ground is not None and ground.shape != tensor.shape[1:2]:
        raise ValueError(
            "from_dense: ground_state must have one entry per channel, shape "
            f"{tensor.shape[1:2]}, got {ground.shape}"
        )
    background = 0 if ground is None else ground.data
    where = xp.nonzero((last != background).any(axis=-1))

    def backward(gradient: Array) -> tuple[Array]:
        dense = np.zeros_like(gradient, shape=shape)
        xp.moveaxis(dense, 1, -1)[where] = gradient
        return (dense,)

    features = record(last[where], (tensor,), backward)
    indices = to_device(xp.stack(where, axis=1), "cpu").astype(np.int32)
    return SparseConvTensor(features, indices, shape[2:], shape[0], ground)
