"""Checks of what operations are called with; messages name the operation and the fix."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from spconv.autograd import Tensor, as_operand
from spconv.checks import check_float, type_name
from spconv.compat import Array, array_module, check_one_device, is_cupy
from spconv.dtypes import math_type
from spconv.functional._common import check_device, check_sparse, total_channels
from spconv.geometry import Geometry
from spconv.tensor import KeptChannels, SparseConvTensor

_DRAW = "draw them with functional.draw_channels"


def check_tensor(
    owner: str, name: str, value: Any, axes: str, *ndim: int, of_sparse: str = ".features"
) -> None:
    """Raise unless ``value`` is a Tensor, with one of these numbers of axes if any are given.

    ``of_sparse`` is what to pass of a sparse tensor in its place.
    """
    if not isinstance(value, Tensor):
        sparse = isinstance(value, SparseConvTensor)
        fix = f"pass its {of_sparse}" if sparse else "wrap an array in spconv.Tensor"
        raise TypeError(f"{owner}: {name} must be a Tensor {axes}, got {type_name(value)}; {fix}")
    if ndim and value._data.ndim not in ndim:
        raise ValueError(f"{owner}: {name} must have shape {axes}, got {value.shape}")


def check_weight(
    owner: str, weight: Tensor, bias: Tensor | None, volume: int | None, groups: int = 1
) -> None:
    """Raise unless these are Tensors (volume, C_in / groups, C_out) and, if there is one, (C_out,).

    ``volume`` None means a plain matrix (C_in, C_out).
    """
    axes, text = (2, "(C_in, C_out)") if volume is None else (3, "(K, C_in / groups, C_out)")
    check_tensor(owner, "weight", weight, text)
    if bias is not None:
        check_tensor(owner, "bias", bias, "(C_out,)")
    shape = weight._data.shape
    if len(shape) != axes or (volume is not None and shape[0] != volume):
        expected = "(C_in, C_out)" if volume is None else f"({volume}, C_in / groups, C_out)"
        raise ValueError(f"{owner}: the weight must have shape {expected}, got {shape}")
    if shape[-1] % groups:
        raise ValueError(f"{owner}: groups={groups} must divide the weight's {shape[-1]} outputs")
    if bias is not None and bias._data.shape != shape[-1:]:
        raise ValueError(f"{owner}: the bias must have shape {shape[-1:]}, got {bias.shape}")


def operands(owner: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two operands, a Tensor one of them at least, as Tensors that broadcast.

    Raises
    ------
    TypeError
        If none is a Tensor, one is neither that nor numbers, or they are on different devices.
    ValueError
        If their shapes do not broadcast.
    """
    like = a if isinstance(a, Tensor) else b
    if not isinstance(like, Tensor):
        raise TypeError(
            f"{owner}: expected a Tensor and another one, an array or a number, got "
            f"{type_name(a)} and {type_name(b)}; wrap an array in spconv.Tensor"
        )
    pair = []
    for value in (a, b):
        try:
            pair.append(as_operand(value, like))
        except (TypeError, ValueError):
            sparse, kind = isinstance(value, SparseConvTensor), getattr(value, "dtype", None)
            fix = "pass its .features" if sparse else "convert it with .astype('float32')"
            raise TypeError(
                f"{owner}: expected a Tensor, an array of floating point or a number, got "
                f"{type_name(value)}{'' if sparse or kind is None else f' of {kind}'}; {fix}"
            ) from None
    check_one_device(owner, *(tensor.data for tensor in pair))
    check_broadcast(owner, *pair)
    return pair[0], pair[1]


def as_targets(owner: str, targets: Any, x: Tensor) -> Tensor:
    """Targets of a loss, of the shape of ``x``.

    A Tensor stays what it is; numbers become one in the math type and on the device of ``x``.

    Raises
    ------
    TypeError
        If they are no numbers, or a Tensor on another device.
    ValueError
        If the shapes differ.
    """
    if not isinstance(targets, Tensor):
        try:
            targets = Tensor(array_module(x.data).asarray(targets, math_type(x.dtype)))
        except (TypeError, ValueError):
            raise TypeError(
                f"{owner}: targets must be a Tensor or an array of numbers, got "
                f"{type_name(targets)}"
            ) from None
    check_one_device(owner, x.data, targets.data)
    if targets.shape != x.shape:
        raise ValueError(
            f"{owner}: expected targets of shape {x.shape}, one for each element, got "
            f"{targets.shape}; reshape one of them"
        )
    return targets


def as_factors(owner: str, name: str, value: Any, x: Tensor) -> Array | None:
    """What elements of a loss weigh, in the math type and on the device of ``x``; None stays.

    A copy of numbers from 0 on, whose shape broadcasts to that of ``x``. On a GPU the numbers are
    not waited for.

    Raises
    ------
    TypeError
        If they are no numbers, or a Tensor on another device.
    ValueError
        If the shape does not fit, one is negative or not finite, or they require a gradient.
    """
    if value is None:
        return None
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise ValueError(f"{owner}: {name} gets no gradient; pass {name}.detach()")
        value = value.data
        check_one_device(owner, x.data, value)
    if is_cupy(value):
        check_one_device(owner, x.data, value)
    else:
        try:
            value = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"{owner}: {name} must be a Tensor, an array of numbers or a number, got "
                f"{type_name(value)}"
            ) from None
        if value.size and not 0 <= value.min() <= value.max() < np.inf:
            raise ValueError(
                f"{owner}: {name} must be finite numbers from 0 on, got "
                f"{value.min():g}..{value.max():g}"
            )
    ndim = len(value.shape)
    fits = ndim <= x.ndim and all(
        size in (1, n) for size, n in zip(value.shape, x.shape[x.ndim - ndim :], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{owner}: {name} must broadcast to the shape {x.shape}, got {value.shape}; numbers "
            "for the channels of grids have shape (C, 1, 1)"
        )
    return array_module(x.data).array(value, math_type(x.dtype))


def check_reduction(owner: str, reduction: Any) -> None:
    """Raise ValueError unless it is the name of one."""
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"{owner}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}; 'none' gives "
            "the losses one by one"
        )


def check_broadcast(owner: str, *arrays: Any) -> None:
    """Raise ValueError unless the shapes of arrays or tensors broadcast."""
    shapes = [array.shape for array in arrays]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"{owner}: expected shapes that broadcast, got {' and '.join(map(str, shapes))}"
        ) from None


def check_vector(owner: str, name: str, value: Any, channels: int) -> None:
    """Raise unless ``value`` is a Tensor with one entry for each channel."""
    check_tensor(owner, name, value, "(C,)")
    if value._data.shape != (channels,):
        raise ValueError(
            f"{owner}: {name} must have shape ({channels},), one for each channel, got "
            f"{value.shape}"
        )


def check_affine(owner: str, x: Tensor, weight: Any, bias: Any, eps: Any) -> None:
    """Raise unless these are a factor and a summand for each channel of rows, and a number."""
    channels = x._data.shape[-1]
    check_vector(owner, "weight", weight, channels)
    check_vector(owner, "bias", bias, channels)
    check_device(owner, x, weight, bias)
    check_float(owner, "eps", eps)


def check_geometry(owner: str, geometry: Any) -> None:
    """Raise TypeError unless it is a :class:`Geometry`."""
    if not isinstance(geometry, Geometry):
        raise TypeError(
            f"{owner}: geometry must be a Geometry, got {type_name(geometry)}; make one with "
            "spconv.geometry.Geometry.make(ndim, kernel_size, ...), or use a layer"
        )


def check_input(owner: str, x: Any, geometry: Any, indice_key: Any, of_grid: str = "") -> None:
    """Raise unless these are a sparse tensor, a geometry of its dimensions, a key or None."""
    check_geometry(owner, geometry)
    check_sparse(owner, x, geometry.ndim, of_grid)
    if indice_key is not None and not isinstance(indice_key, str):
        raise TypeError(
            f"{owner}: indice_key must be a str, got {type_name(indice_key)}; it names the "
            "rulebook for an inverse convolution"
        )


def check_slope(owner: str, slope: float | None) -> None:
    """Raise unless it is None or a number from 0 on."""
    if slope is not None:
        check_float(owner, "negative_slope", slope)


def check_share(owner: str, p: float) -> None:
    """Raise unless it is a number from 0 to 1."""
    if not isinstance(p, Real):
        raise TypeError(f"{owner}: p must be a number, got {type_name(p)}; it is the share to drop")
    if not 0 <= p <= 1:
        raise ValueError(f"{owner}: p must be in [0, 1], got {p}; it is the share to drop")


def check_kept(owner: str, name: str, kept: Any, channels: int) -> None:
    """Raise unless they are some of so many channels."""
    if not isinstance(kept, KeptChannels):
        raise TypeError(f"{owner}: {name} must be KeptChannels, got {type_name(kept)}; {_DRAW}")
    slots = kept.slots
    if getattr(getattr(slots, "dtype", None), "kind", "") not in ("i", "u") or slots.ndim != 1:
        raise TypeError(
            f"{owner}: {name}.slots must be an array (n,) of integers, got {slots!r}; {_DRAW}"
        )
    if kept.total != channels or not (
        len(slots) == 0 or 0 <= slots.min() <= slots.max() < channels
    ):
        raise ValueError(
            f"{owner}: {name} must be of the {channels} channels there are, got {len(slots)} of "
            f"{kept.total}; {_DRAW}({channels}, p, rng)"
        )


def check_dropped(owner: str, x: SparseConvTensor, kept: KeptChannels) -> None:
    """Raise unless ``x`` has all channels that ``kept`` chooses from, or just those it keeps."""
    check_kept(owner, "kept", kept, total_channels(x))
    before = x.channels
    if before is not None and before is not kept and not np.array_equal(before.slots, kept.slots):
        raise ValueError(
            f"{owner}: the input has dropped other channels before; compute with "
            "spconv.tensor.all_channels(x)"
        )
