"""Sums and concatenations of sparse tensors, on the same sites or on their union; of Tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from spconv.autograd import Tensor, record
from spconv.checks import check_int, type_name
from spconv.compat import Array, array_module, check_one_device
from spconv.functional._arguments import check_slope, check_tensor
from spconv.functional._common import check_sparse, common_dtype
from spconv.functional.on_sites import onto
from spconv.memory import copied, joined
from spconv.ops import get_ops
from spconv.tensor import (
    SparseConvTensor,
    add_on_same_sites,
    all_channels,
    check_same_grid,
    check_same_sites,
)


def add(
    x: SparseConvTensor,
    y: SparseConvTensor,
    *,
    union: bool = False,
    negative_slope: float | None = None,
    owner: str = "add",
) -> SparseConvTensor:
    """Sum of two sparse tensors with equal channels.

    Parameters
    ----------
    x, y : SparseConvTensor
    union : bool
        Allow different sites: the result has the sites of either, sorted (equal ones stay as they
        are); where one tensor is inactive it counts with its ground state, or as zero without one.
    negative_slope : float, optional
        Of a leaky rectifier on the sum (0: ReLU), computed with it.

    Raises
    ------
    ValueError
        For different sites without ``union``, different channels, a ground state in one only, or a
        negative slope.
    """
    check_slope(owner, negative_slope)
    x, y = _aligned((x, y), union, owner)
    check_one_device(owner, x.features.data, y.features.data)
    if negative_slope is None:
        return add_on_same_sites(x, y, owner)
    return add_on_same_sites(x, y, owner, partial(_add_rectified, slope=negative_slope))


def _add_rectified(x: Tensor, y: Tensor, slope: float) -> Tensor:
    ops = get_ops(x.data)
    data = ops.add_rectified(x.data, y.data, slope)

    def backward(gradient: Array) -> tuple[Array, Array]:
        gradient = ops.leaky_relu_gradient(data, gradient, slope)
        return gradient, gradient

    return record(data, (x, y), backward)


def concat(
    tensors: Iterable[SparseConvTensor], *, union: bool = False, owner: str = "concat"
) -> SparseConvTensor:
    """Join the channels of sparse tensors, as a U-Net does on its way up.

    Parameters
    ----------
    tensors : iterable of SparseConvTensor
        Of one batch size and spatial shape; their channels come one behind the other, features
        (N, C_1 + C_2 + ...), and so do their ground states.
    union : bool
        Allow different sites, as :func:`add` does.

    Raises
    ------
    TypeError
        If they come one by one instead of in a list, or one is no sparse tensor.
    ValueError
        If there is none, for different grids, for different sites (or another order of them)
        without ``union``, or for a ground state in some only.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> down = spconv.SparseConv2d(1, 8, 2, stride=2, indice_key="down")
    >>> up = spconv.SparseInverseConv2d(8, 4, 2, indice_key="down")
    >>> concat([x, up(down(x))])
    SparseConvTensor(4 sites, 5 channels, batch_size=1, spatial_shape=(4, 4), float32)
    """
    if not isinstance(tensors, Iterable):
        raise TypeError(
            f"{owner}: expected a sequence of tensors, got {type_name(tensors)}; call "
            "concat([x, y])"
        )
    tensors = list(tensors)
    if not tensors:
        raise ValueError(f"{owner}: expected at least one tensor, got none; call concat([x, y])")
    if any(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError(
            f"{owner}: expected sparse tensors, got Tensor; join Tensors with concatenate"
        )
    tensors = _aligned(tensors, union, owner)
    features = _concat([t.features for t in tensors])
    first = tensors[0]
    grounds = [t.ground_state for t in tensors if t.ground_state is not None]
    joined = first.derive(features, _concat(grounds) if grounds else None)
    joined.rulebooks = first.rulebooks.joined([t.rulebooks for t in tensors])
    return joined


def concatenate(tensors: Iterable[Tensor], axis: int = 0) -> Tensor:
    """Join Tensors along an axis; sparse tensors are joined by :func:`concat`.

    Parameters
    ----------
    tensors : iterable of Tensor
        Of equal shapes but for that axis; the result has the widest of their dtypes.
    axis : int
        1 for the channels of rows (N, C) and of grids (N, C, *spatial_shape).

    Raises
    ------
    TypeError
        If one is no Tensor, or they are on different devices.
    ValueError
        If there is none, no such axis, or shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> concatenate([Tensor(np.zeros((2, 3))), Tensor(np.ones((2, 1)))], axis=1).shape
    (2, 4)
    """
    tensors = _checked("concatenate", tensors)
    first = tensors[0]
    axis = check_int("concatenate", "axis", axis, -first.ndim, first.ndim - 1) % first.ndim
    rests = {(*t.shape[:axis], *t.shape[axis + 1 :]) for t in tensors}
    if len(rests) > 1 or any(t.ndim != first.ndim for t in tensors):
        raise ValueError(
            f"concatenate: expected shapes that are equal but for axis {axis}, got "
            f"{' and '.join(str(t.shape) for t in tensors)}"
        )
    return _concat(tensors, axis)


def stack(tensors: Iterable[Tensor], axis: int = 0) -> Tensor:
    """Join Tensors of equal shapes along a new axis.

    Parameters
    ----------
    tensors : iterable of Tensor
        The result has the widest of their dtypes.
    axis : int
        Which axis of the result the new one is.

    Raises
    ------
    TypeError
        If one is no Tensor, or they are on different devices.
    ValueError
        If there is none, no such axis, or shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> stack([Tensor(np.zeros((2, 3))), Tensor(np.ones((2, 3)))], axis=1).shape
    (2, 2, 3)
    """
    tensors = _checked("stack", tensors)
    ndim = tensors[0].ndim + 1
    axis = check_int("stack", "axis", axis, -ndim, ndim - 1) % ndim
    if len({t.shape for t in tensors}) > 1:
        raise ValueError(
            f"stack: expected equal shapes, got {' and '.join(str(t.shape) for t in tensors)}; "
            "along an axis that is there concatenate joins others too"
        )
    shape = tensors[0].shape
    return _concat([t.reshape((*shape[:axis], 1, *shape[axis:])) for t in tensors], axis)


def _checked(owner: str, tensors: Iterable[Tensor]) -> list[Tensor]:
    """One Tensor or more, on one device."""
    if not isinstance(tensors, Iterable):
        raise TypeError(
            f"{owner}: expected a sequence of Tensors, got {type_name(tensors)}; call "
            f"{owner}([x, y], axis)"
        )
    tensors = list(tensors)
    if not tensors:
        raise ValueError(f"{owner}: expected at least one Tensor, got none")
    for tensor in tensors:
        if isinstance(tensor, SparseConvTensor):
            raise TypeError(
                f"{owner}: expected Tensors, got SparseConvTensor; join sparse tensors with concat"
            )
        check_tensor(owner, "tensors", tensor, "each")
    check_one_device(owner, *(tensor.data for tensor in tensors))
    return tensors


def _concat(tensors: list[Tensor], axis: int = -1) -> Tensor:
    dtype = common_dtype(*tensors)
    xp = array_module(tensors[0].data)
    ends = np.cumsum([t.shape[axis] for t in tensors]).tolist()

    def backward(gradient: Array) -> list[Array]:
        parts = xp.split(gradient, ends[:-1], axis=axis)
        # Kernels take C-ordered arrays: one copy for all that will read a part.
        return [part if part.flags.c_contiguous else copied(part) for part in parts]

    return record(joined([t.data for t in tensors], axis, dtype), tensors, backward)


def _aligned(
    tensors: Sequence[SparseConvTensor], union: bool, owner: str
) -> list[SparseConvTensor]:
    for tensor in tensors:
        check_sparse(owner, tensor)
    tensors = [all_channels(tensor) for tensor in tensors]
    first = tensors[0]
    check_same_grid(tensors, owner)
    if not union:
        check_same_sites(tensors, owner)
    elif not all(other.sites.same_as(first.sites) for other in tensors[1:]):
        # Of different caches a branch: a tensor that stays would keep what passes by.
        rulebooks = first.rulebooks.joined([tensor.rulebooks for tensor in tensors])
        builder = get_ops(first.features.data).union_sites
        sites = rulebooks.union(tuple(tensor.sites for tensor in tensors), builder)
        tensors = [
            onto(tensor, sites, get_ops(tensor.features.data).rows_among(tensor.sites, sites))
            for tensor in tensors
        ]
        for tensor in tensors:
            tensor.rulebooks = rulebooks
    return tensors
