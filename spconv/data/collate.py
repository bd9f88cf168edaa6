"""Tensors of single samples, joined into one batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from spconv.checks import type_name
from spconv.compat import array_module
from spconv.geometry import ntuple
from spconv.tensor import SparseConvTensor, all_channels

OWNER = "collate"


def collate(
    tensors: Iterable[SparseConvTensor], spatial_shape: int | Sequence[int] | None = None
) -> SparseConvTensor:
    """Join tensors into one batch: the samples of the first, then those of the second, and so on.

    It is for inputs; gradients do not go through it.

    Parameters
    ----------
    tensors : iterable of SparseConvTensor
        With as many channels, of one dtype, and with one ground state or none.
    spatial_shape : int or sequence of ints, optional
        Grid of the batch, at least as large as those of the tensors, such as those of point
        clouds; without it all must have one grid.

    Returns
    -------
    SparseConvTensor

    Raises
    ------
    TypeError
        For what is no SparseConvTensor, and for features of several dtypes or devices.
    ValueError
        For no tensor at all, and for grids, channels or ground states that differ.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(3, dtype="float32")[None, None])
    >>> collate([x, x])
    SparseConvTensor(6 sites, 1 channels, batch_size=2, spatial_shape=(3, 3), float32)
    """
    if not isinstance(tensors, Iterable):
        raise TypeError(
            f"{OWNER}: expected tensors, got {type_name(tensors)}; call {OWNER}([x, y])"
        )
    tensors = _checked(list(tensors))
    first = tensors[0]
    if spatial_shape is None:
        _all_equal(
            "spatial_shape",
            [x.spatial_shape for x in tensors],
            "pass the spatial_shape= that holds all, or voxelize() them as one batch",
        )
        shape = first.spatial_shape
    else:
        shape = ntuple(spatial_shape, first.ndim, "spatial_shape", 1, OWNER)
        for number, x in enumerate(tensors):
            if any(own > size for own, size in zip(x.spatial_shape, shape, strict=True)):
                raise ValueError(
                    f"{OWNER}: spatial_shape {shape} must be at least that of every tensor, got "
                    f"{x.spatial_shape} of tensor {number}"
                )
    starts = np.cumsum([0, *(x.batch_size for x in tensors)])
    indices = np.concatenate([x.indices for x in tensors])
    indices[:, 0] += np.repeat(starts[:-1], [len(x) for x in tensors]).astype(np.int32)
    xp = array_module(first.features.data)
    features = xp.concatenate([x.features.data for x in tensors])
    ground = None if first.ground_state is None else first.ground_state.data.copy()
    return SparseConvTensor(features, indices, shape, int(starts[-1]), ground, check=False)


def _checked(tensors: list[SparseConvTensor]) -> list[SparseConvTensor]:
    if not tensors:
        raise ValueError(f"{OWNER}: expected at least one tensor")
    for number, x in enumerate(tensors):
        if not isinstance(x, SparseConvTensor):
            raise TypeError(
                f"{OWNER}: expected SparseConvTensors, got {type_name(x)} as number {number}"
            )
        if any(t is not None and t.requires_grad for t in (x.features, x.ground_state)):
            raise ValueError(
                f"{OWNER}: it joins inputs, and gradients do not go through it, but those of "
                f"tensor {number} are wanted; compute it within spconv.no_grad()"
            )
    tensors = [all_channels(x) for x in tensors]
    _all_equal("number of dimensions", [x.ndim for x in tensors], "join those of one kind")
    _all_equal("number of channels", [x.num_channels for x in tensors], "give all the same ones")
    kinds = [f"{x.features.dtype} on {x.device}" for x in tensors]
    if len(set(kinds)) > 1:
        raise TypeError(
            f"{OWNER}: all features must have one dtype and device, got {' and '.join(_few(kinds))}"
            "; make them of arrays of one dtype, and move them with x.to(device)"
        )
    grounds = [
        "none" if x.ground_state is None else x.ground_state.numpy().tolist() for x in tensors
    ]
    _all_equal("ground state", grounds, "what inactive sites hold is the same in a whole batch")
    return tensors


def _all_equal(what: str, values: Sequence[object], hint: str) -> None:
    for number, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"{OWNER}: all tensors must have one {what}, got {values[0]} of tensor 0 and "
                f"{value} of tensor {number}; {hint}"
            )


def _few(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))[:3]
