"""Affine maps of the channels, of dense rows or at every site."""

from __future__ import annotations

from spconv.autograd import Tensor, needs_gradient, record
from spconv.compat import Array
from spconv.functional._arguments import check_weight
from spconv.functional._common import (
    Features,
    cast,
    check_channels,
    check_compiled,
    check_device,
    check_features,
    common_dtype,
    select,
)
from spconv.ops import get_ops


def linear(
    x: Features, weight: Tensor, bias: Tensor | None = None, *, owner: str = "linear"
) -> Features:
    """``x weight + bias`` for rows (N, C_in); the ground state is one more row.

    Parameters
    ----------
    x : Tensor (N, C_in) or SparseConvTensor
    weight : Tensor (C_in, C_out)
    bias : Tensor (C_out,), optional

    Raises
    ------
    TypeError, ValueError
        For anything else, and for other shapes.
    """
    check_features(owner, x)
    check_weight(owner, weight, bias, None)
    if isinstance(x, Tensor):
        if x.ndim != 2:
            raise ValueError(
                f"{owner}: expected rows (N, {weight.shape[0]}), got shape {x.shape}; "
                "use Flatten() first"
            )
        check_channels(owner, weight.shape[0], x)
        return _linear(x, weight, bias, owner)
    check_channels(owner, weight.shape[0], x)
    if x.channels is not None:
        weight = select(weight, x.channels.slots, axis=0)
    ground = x.ground_state
    if ground is not None:
        ground = _linear(ground.reshape(1, -1), weight, bias, owner).reshape(-1)
    return x.derive(_linear(x.features, weight, bias, owner), ground)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, owner: str) -> Tensor:
    check_device(owner, x, weight, bias)
    dtype = common_dtype(x, weight, bias)
    ops = get_ops(x.data)
    check_compiled(owner, dtype, ops)
    a, w = cast(x, dtype), cast(weight, dtype)
    data = ops.matmul(a, w, None if bias is None else cast(bias, dtype))
    inputs = x, weight, bias
    wanted = [needs_gradient(tensor) for tensor in inputs]

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dx = ops.matmul(gradient, w.T) if wanted[0] else None
        dw = ops.matmul_gradient(a, gradient) if wanted[1] else None
        return dx, dw, ops.sum_rows(gradient) if wanted[2] else None

    return record(data, inputs, backward)
