"""Sparse convolutions on deviations from the ground state.

With g what the inactive sites of the input hold,

    out[y] - g_out = sum over active taps k of (x[site_k] - g) W_k,   g_out = g (sum_k W_k) + b

(Graham 2014, arXiv 1409.6070, section 2, in closed form): the rulebook touches active sites
only, one (1, C) product carries the whole background, and padding reads g.
"""

from __future__ import annotations

import numpy as np

from spconv.autograd import Tensor, needs_gradient, record
from spconv.checks import check_int, type_name
from spconv.compat import Array, array_module, is_cupy
from spconv.functional._arguments import (
    check_input,
    check_kept,
    check_slope,
    check_tensor,
    check_weight,
)
from spconv.functional._common import (
    cast,
    check_channels,
    check_device,
    check_sparse,
    common_dtype,
    rulebook_of,
    select,
    total_channels,
)
from spconv.functional.activation import leaky_relu
from spconv.geometry import Geometry, IntOrTuple, ntuple
from spconv.memory import combined
from spconv.ops import Epilogue, get_ops
from spconv.rulebook import Rulebook
from spconv.tensor import KeptChannels, SparseConvTensor, all_channels


def sparse_conv(
    x: SparseConvTensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    *,
    groups: int = 1,
    indice_key: str | None = None,
    keep: KeptChannels | None = None,
    negative_slope: float | None = None,
    residual: SparseConvTensor | None = None,
    owner: str = "sparse_conv",
) -> SparseConvTensor:
    """Convolve; ``geometry`` says whether regular, submanifold or transposed.

    Parameters
    ----------
    x : SparseConvTensor (N, C_in)
    weight : Tensor (K, C_in / groups, C_out)
    bias : Tensor (C_out,) or None
    geometry : Geometry
        ``Geometry.make(ndim, kernel_size, ...)``.
    groups : int
    indice_key : str, optional
        Name under which :func:`inverse_conv` finds the rulebook.
    keep : KeptChannels, optional
        Compute these output channels only; needs ``groups=1``.
    negative_slope : float, optional
        Of a leaky rectifier on the result (0: ReLU), computed while the sums are in cache.
    residual : SparseConvTensor, optional
        Added in front of the rectifier, as ``add(residual, result)`` would, without a pass over
        memory of its own: on the output's sites, with as many channels, and with a ground state
        if ``x`` has one.

    Raises
    ------
    TypeError
        For a residual that is no sparse tensor or lives on another device.
    ValueError
        For a weight, a bias or a residual of other shapes, for a residual on other sites or of
        another kind of background, for ``keep`` beside ``groups`` or a residual, and for a
        negative slope.
    """
    check_input(owner, x, geometry, indice_key)
    rulebook = rulebook_of(x, geometry, owner, indice_key)
    exact = geometry.unit_stride or not geometry.transposed
    return _apply(
        x,
        weight,
        bias,
        rulebook,
        exact=exact,
        groups=groups,
        keep=keep,
        negative_slope=negative_slope,
        residual=residual,
        owner=owner,
    )


def inverse_conv(
    x: SparseConvTensor,
    weight: Tensor,
    bias: Tensor | None,
    indice_key: str,
    *,
    kernel_size: IntOrTuple | None = None,
    groups: int = 1,
    keep: KeptChannels | None = None,
    negative_slope: float | None = None,
    residual: SparseConvTensor | None = None,
    owner: str = "inverse_conv",
) -> SparseConvTensor:
    """Go back to the sites that the convolution named ``indice_key`` started from.

    With a ``kernel_size`` that of the named convolution must be the same. The other parameters,
    and the errors, are those of :func:`sparse_conv`.
    """
    ndim = len(kernel_size) if isinstance(kernel_size, tuple | list) else None
    check_sparse(owner, x, ndim)
    check_tensor(owner, "weight", weight, "(K, C_in / groups, C_out)", 3)
    if kernel_size is not None:
        kernel_size = ntuple(kernel_size, x.ndim, "kernel_size", 1, owner)
    if not isinstance(indice_key, str):
        raise TypeError(
            f"{owner}: indice_key must be a str, got {type_name(indice_key)}; it is that of the "
            "convolution to invert"
        )
    saved = x.rulebooks.named(indice_key, owner)
    if not saved.out_sites.same_as(x.sites):
        raise ValueError(
            f"{owner}: the input has {x.sites.describe()}, but the rulebook {indice_key!r} leads "
            f"to {saved.out_sites.describe()}; only the output of that layer, or tensors on the "
            "same sites, can be inverted"
        )
    known = saved.geometry.kernel_size
    if saved.volume != weight.shape[0] or known != (kernel_size or known):
        raise ValueError(
            f"{owner}: the rulebook {indice_key!r} has kernel_size {known}, {saved.volume} "
            f"offsets, but the weight has {weight.shape[0]}; give both layers the same kernel_size"
            + ("" if kernel_size is None else f", not {kernel_size}")
        )
    return _apply(
        x,
        weight,
        bias,
        saved.inverse,
        exact=saved.geometry.unit_stride,
        groups=groups,
        keep=keep,
        negative_slope=negative_slope,
        residual=residual,
        owner=owner,
    )


def _apply(
    x: SparseConvTensor,
    weight: Tensor,
    bias: Tensor | None,
    rulebook: Rulebook,
    *,
    exact: bool,
    groups: int,
    keep: KeptChannels | None,
    negative_slope: float | None,
    residual: SparseConvTensor | None,
    owner: str,
) -> SparseConvTensor:
    groups = check_int(owner, "groups", groups, 1)
    check_weight(owner, weight, bias, rulebook.volume, groups)
    check_channels(owner, weight.shape[1] * groups, x)
    check_device(owner, x.features, weight, bias)
    check_slope(owner, negative_slope)
    if keep is not None:
        check_kept(owner, "keep", keep, weight.shape[2])
    if residual is not None:
        _check_residual(owner, residual, x, rulebook, weight.shape[2], keep)
        residual = all_channels(residual)
    if keep is not None and groups > 1:
        raise ValueError(f"{owner}: keep needs groups=1, got {groups}; drop channels afterwards")
    if x.channels is not None and groups > 1:
        x = all_channels(x)
    if x.channels is not None:
        weight = select(weight, x.channels.slots, axis=1)
    if keep is not None:
        weight = select(weight, keep.slots, axis=2)
        bias = None if bias is None else select(bias, keep.slots, axis=0)
    ground = x.ground_state
    g_out = None if ground is None else _ground_conv(ground, weight, bias, groups, exact)
    features = _deviation_conv(
        x.features,
        ground,
        weight,
        rulebook,
        groups,
        constant=bias if ground is None else g_out,
        residual=None if residual is None else residual.features,
        slope=negative_slope,
    )
    if g_out is not None and residual is not None:
        g_out = g_out + residual.ground_state
    if g_out is not None and negative_slope is not None:
        g_out = leaky_relu(g_out, negative_slope)
    if residual is not None:
        return residual.derive(features, g_out)
    return x.derive(features, g_out, rulebook.out_sites, keep)


def _check_residual(
    owner: str,
    residual: SparseConvTensor,
    x: SparseConvTensor,
    rulebook: Rulebook,
    channels: int,
    keep: KeptChannels | None,
) -> None:
    check_sparse(f"{owner}: residual", residual)
    if keep is not None:
        raise ValueError(
            f"{owner}: expected keep or a residual, got both; channels that are not computed "
            "would hold the residual instead of zero: add it with functional.add afterwards"
        )
    if total_channels(residual) != channels:
        raise ValueError(
            f"{owner}: expected a residual with the output's {channels} channels, got "
            f"{total_channels(residual)}"
        )
    if not rulebook.out_sites.same_as(residual.sites):
        raise ValueError(
            f"{owner}: expected a residual on the output's sites, {rulebook.out_sites.describe()}, "
            f"got {residual.sites.describe()}, or the same in another order; functional.add with "
            "union=True joins different ones"
        )
    if (residual.ground_state is None) != (x.ground_state is None):
        has, lacks = (
            ("input", "residual") if residual.ground_state is None else ("residual", "input")
        )
        raise ValueError(
            f"{owner}: the {has} has a ground state and the {lacks} has none; give both or neither"
        )
    if residual.device != x.device:
        raise TypeError(
            f"{owner}: the features are on {x.device} but the residual on {residual.device}; "
            f"call residual.to({x.device!r})"
        )


def _deviation_conv(
    x: Tensor,
    ground: Tensor | None,
    weight: Tensor,
    rulebook: Rulebook,
    groups: int,
    *,
    constant: Tensor | None,
    residual: Tensor | None,
    slope: float | None,
) -> Tensor:
    """``constant + residual + sum of (x - ground) W_k``, rectified if asked for, (N_out, C_out)."""
    dtype = common_dtype(x, ground, weight, constant, residual)
    ops = get_ops(x.data)
    w = cast(weight, dtype)
    deviation = cast(x, dtype)
    # On a GPU looking costs a round trip, more than subtracting.
    if ground is not None and (is_cupy(ground.data) or ground.data.any()):
        deviation = combined(np.subtract, deviation, cast(ground, dtype))
    epilogue = Epilogue(
        None if constant is None else cast(constant, dtype),
        None if residual is None else cast(residual, dtype),
        slope,
    )
    data = ops.convolve(deviation, w, rulebook, groups, epilogue=epilogue)
    inputs = x, ground, weight, constant, residual
    wanted = [needs_gradient(tensor) for tensor in inputs]

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = dg = dw = None
        if slope is not None:
            gradient = ops.leaky_relu_gradient(data, gradient, slope)
        # Sums follow what they sum, and dx comes last, while either is still in cache.
        dc = ops.sum_rows(gradient) if wanted[3] else None
        if wanted[2]:
            dw = ops.weight_gradient(deviation, gradient, rulebook, groups)
        if wanted[0] or wanted[1]:
            dx = ops.convolve(gradient, w, rulebook.inverse, groups, transposed=True)
        if wanted[1]:
            dg = -ops.sum_rows(dx)
        return dx if wanted[0] else None, dg, dw, dc, gradient

    return record(data, inputs, backward)


def _ground_conv(
    ground: Tensor, weight: Tensor, bias: Tensor | None, groups: int, exact: bool
) -> Tensor:
    """``g_out = g (sum_k W_k) + b``, or b where strides make the background periodic."""
    dtype = common_dtype(ground, weight, bias)
    g = cast(ground, dtype).reshape(groups, 1, -1)
    volume, cin, cout = weight.shape
    product = get_ops(ground.data).small_matmul
    total = cast(weight, dtype).sum(axis=0).reshape(cin, groups, -1).transpose(1, 0, 2)
    data = product(g, total).reshape(cout) if exact else np.zeros_like(g, shape=cout)
    if bias is not None:
        data = data + cast(bias, dtype)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dg = dw = None
        if exact:
            d = gradient.reshape(groups, 1, -1)
            dg = product(d, total.transpose(0, 2, 1)).reshape(-1)
            one = (g.transpose(0, 2, 1) * d).transpose(1, 0, 2).reshape(1, cin, cout)
            dw = array_module(one).broadcast_to(one, (volume, cin, cout))
        return dg, dw, gradient

    return record(data, (ground, weight, bias), backward)
