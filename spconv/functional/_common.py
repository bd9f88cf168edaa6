"""What several operations share: dtypes, devices, channels."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from spconv.autograd import Tensor, record
from spconv.checks import type_name
from spconv.compat import Array, array_module, is_cupy, on_one_device
from spconv.geometry import Geometry
from spconv.ops import Ops, get_ops
from spconv.rulebook import Rulebook
from spconv.tensor import SparseConvTensor

Features = TypeVar("Features", Tensor, SparseConvTensor)
"""What a layer of rows takes and gives back: dense rows, or the sites of a sparse tensor."""


def common_dtype(*tensors: Tensor | None) -> np.dtype:
    """The dtype that an operation on these tensors computes in."""
    dtypes = [t._data.dtype for t in tensors if t is not None]
    first = dtypes[0]
    alike = first.isnative and dtypes.count(first) == len(dtypes)
    return first if alike else np.result_type(*dtypes)


def cast(tensor: Tensor, dtype: DTypeLike) -> Array:
    data = tensor._data
    return data if data.dtype is dtype else data.astype(dtype, copy=False)


def check_device(owner: str, x: Tensor, *parameters: Tensor | None) -> None:
    """Raise TypeError unless the features and the parameters are on one device."""
    for parameter in parameters:
        if parameter is not None and not on_one_device(parameter._data, x._data):
            places = ["cuda" if is_cupy(t.data) else "cpu" for t in (x, parameter)]
            raise TypeError(
                f"{owner}: the features are on {places[0]} but the parameters on {places[1]}; "
                f"call model.to({places[0]!r}), or x.to({places[1]!r}) of a sparse tensor"
            )


def check_compiled(owner: str, dtype: np.dtype, ops: Ops) -> None:
    """Raise TypeError for what the processor's kernels are not compiled for: 16 bits, 128 bits."""
    if ops.compiled is not None and dtype not in ops.compiled:
        raise TypeError(
            f"{owner}: on the CPU features and parameters must be float32 or float64, got {dtype}; "
            "make the features of array.astype('float32') and call model.astype('float32')"
        )


def check_features(owner: str, x: Any) -> None:
    """Raise TypeError unless ``x`` is a Tensor or a sparse tensor."""
    if not isinstance(x, (Tensor, SparseConvTensor)):
        raise TypeError(
            f"{owner}: expected a Tensor or a SparseConvTensor, got {type_name(x)}; "
            "wrap an array in spconv.Tensor"
        )


def check_channels(owner: str, expected: int, x: Tensor | SparseConvTensor) -> None:
    """Raise ValueError unless ``x`` has ``expected`` channels, dropped ones included."""
    features = x._features if isinstance(x, SparseConvTensor) else x
    shape = features._data.shape
    got = total_channels(x) if isinstance(x, SparseConvTensor) else shape[1]
    if expected != got:
        raise ValueError(
            f"{owner}: expected {expected} input channels, got {got} in features of shape {shape}"
        )


def check_sparse(owner: str, x: Any, ndim: int | None = None, of_grid: str = "") -> None:
    """Raise unless ``x`` is a sparse tensor (of ``ndim`` spatial dimensions).

    ``of_grid`` are the layers that do the same to the grid of a Tensor.
    """
    if not isinstance(x, SparseConvTensor):
        other = f"; of grids there are {of_grid}" if of_grid and isinstance(x, Tensor) else ""
        raise TypeError(
            f"{owner}: expected a SparseConvTensor, got {type_name(x)}; make one of sites and "
            f"features with spconv.SparseConvTensor, or of a grid with spconv.from_dense{other}"
        )
    shape = x._features._data.shape
    if shape[0] != len(x.sites) or (
        x.ground_state is not None and x.ground_state.shape != shape[1:]
    ):
        raise ValueError(
            f"{owner}: {len(x.sites)} sites, but features of shape {shape} and a "
            f"ground state of shape {getattr(x.ground_state, 'shape', None)}; change them with "
            "x.replace_feature()"
        )
    if ndim is not None and x.ndim != ndim:
        raise ValueError(
            f"{owner}: expected a {ndim}-dimensional tensor, got a {x.ndim}-dimensional one of "
            f"spatial_shape {x.spatial_shape}; take the layer for {x.ndim} dimensions"
        )


def rulebook_of(
    x: SparseConvTensor, geometry: Geometry, owner: str, indice_key: str | None
) -> Rulebook:
    """The rulebook of ``geometry`` over the sites of ``x``, built where its features are."""
    builder = get_ops(x.features.data).build_rulebook
    return x.rulebooks.get(x.sites, geometry, owner, indice_key, builder)


def total_channels(x: SparseConvTensor) -> int:
    """Number of channels, dropped ones included."""
    return x.num_channels if x.channels is None else x.channels.total


def select(tensor: Tensor, slots: Array, axis: int) -> Tensor:
    """Entries ``slots`` of one axis."""
    xp, shape = array_module(tensor.data), tensor.shape
    where = (slice(None),) * (axis % len(shape)) + (xp.asarray(slots),)

    def backward(gradient: Array) -> tuple[Array]:
        full = np.zeros_like(gradient, shape=shape)
        full[where] = gradient
        return (full,)

    return record(xp.ascontiguousarray(tensor.data[where]), (tensor,), backward)
