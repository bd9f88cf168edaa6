"""Steps of the optimizers for one parameter, in plain array code: the specification."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from spconv.compat import Array


def sgd(
    xp: ModuleType,
    data: Array,
    master: Array | None,
    grad: Array,
    velocity: Array | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Update ``data`` and ``velocity`` in place, see :meth:`spconv.ops.Ops.sgd_step`."""
    value = data if master is None else _kept(master, data)
    direction = grad.astype(value.dtype, copy=False)
    scratch = xp.empty_like(value)
    if weight_decay:
        direction = xp.multiply(value, weight_decay, out=scratch)
        direction += grad
    if velocity is not None:
        velocity *= momentum
        velocity += direction
        direction = direction + momentum * velocity if nesterov else velocity
    xp.multiply(direction, lr, out=scratch)
    xp.subtract(value, scratch, out=value)
    if master is not None:
        data[...] = master


def adam(
    xp: ModuleType,
    data: Array,
    master: Array | None,
    grad: Array,
    mean: Array,
    square: Array,
    factors: dict[str, float],
) -> None:
    """Update ``data``, ``mean`` and ``square`` in place, see :meth:`spconv.ops.Ops.adam_step`."""
    value = data if master is None else _kept(master, data)
    gradient = grad.astype(value.dtype, copy=False)
    scratch = xp.empty_like(value)
    if factors["shrink"] != 1:
        value *= factors["shrink"]
    if factors["decay"]:
        gradient = gradient + factors["decay"] * value
    mean *= factors["beta1"]
    mean += xp.multiply(gradient, factors["rest1"], out=scratch)
    square *= factors["beta2"]
    xp.multiply(gradient, gradient, out=scratch)
    scratch *= factors["rest2"]
    square += scratch
    xp.sqrt(square, out=scratch)
    scratch /= factors["correction"]
    scratch += factors["eps"]
    xp.divide(mean, scratch, out=scratch)
    scratch *= factors["rate"]
    xp.subtract(value, scratch, out=value)
    if master is not None:
        data[...] = master


def unscale(xp: ModuleType, gradients: Sequence[Array], scale: float) -> tuple[list[Array], bool]:
    """Quotients and whether they are finite, see :meth:`spconv.ops.Ops.unscale`."""
    results, finite = [], True
    for gradient in gradients:
        wide = np.result_type(gradient.dtype, np.float32)
        results.append(gradient.astype(wide) / wide.type(scale))
        finite = finite & xp.isfinite(results[-1]).all()
    return results, bool(finite)


def _kept(master: Array, data: Array) -> Array:
    """The copy, with the values of ``data`` where that is not rounded from it: somebody's own."""
    with np.errstate(over="ignore"):
        rounded = master.astype(data.dtype)
    np.copyto(master, data, where=rounded != data)
    return master
