"""Gradients against central differences, for any function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from spconv.autograd import Tensor

KINK = 1e-3  # one-sided slopes of a smooth function agree far better than this


def check_gradients(
    function: Callable[[], Tensor],
    inputs: Mapping[str, Tensor],
    *,
    rng: np.random.Generator,
    eps: float = 1e-6,
    limit: float = 1e-6,
) -> None:
    """Compare ``backward`` with central differences along random directions in float64.

    There is one direction for each input alone and one for all of them together. Where the
    one-sided slopes disagree there may be a kink between (ReLU, maximum): the step is shortened
    twice by ten, and a point that still lies on a kink is refused.

    Parameters
    ----------
    function : callable
        Computes a Tensor of any shape from `inputs`; called again for every perturbed value, and
        has to be deterministic.
    inputs : mapping of name to Tensor
        Float64 tensors with ``requires_grad``: features, ground states, parameters. Their
        ``.data`` is perturbed and put back.
    limit : float
        Largest error relative to the slope (or to 1, if that is larger).

    Raises
    ------
    AssertionError
        A slope is wrong; the message has the numbers.
    ValueError
        The point lies on a kink, or an input is not a float64 Tensor that requires a gradient.
    """
    for name, tensor in inputs.items():
        if tensor.dtype != np.float64 or not tensor.requires_grad:
            raise ValueError(
                f"check_gradients: expected {name} to be a float64 Tensor with "
                f"requires_grad=True, got {tensor.dtype} with {tensor.requires_grad}"
            )
        tensor.grad = None
    start = {name: tensor.data for name, tensor in inputs.items()}
    output = function()
    cotangent = rng.standard_normal(output.shape)
    output.backward(cotangent)
    gradients = {
        name: np.zeros(t.shape) if t.grad is None else np.array(t.grad)
        for name, t in inputs.items()
    }
    for name, tensor in inputs.items():
        if gradients[name].shape != start[name].shape:
            raise AssertionError(
                f"check_gradients: the gradient of {name} has shape {gradients[name].shape}, "
                f"expected {start[name].shape}"
            )
        tensor.grad = None

    def value(directions, step):
        try:
            for name, direction in directions.items():
                inputs[name].data = start[name] + step * direction
            return cotangent * function().numpy()
        finally:
            for name in directions:
                inputs[name].data = start[name]

    everything = {name: rng.standard_normal(data.shape) for name, data in start.items()}
    for names in [*[[name] for name in inputs], list(inputs)]:
        directions = {name: everything[name] for name in names}
        analytic = sum(float((gradients[n] * d).sum()) for n, d in directions.items())
        _compare(analytic, value, directions, eps, limit)


def _compare(analytic, value, directions, eps, limit):
    """Raise unless the slope is ``analytic``.

    A kink within the step bends the difference quotient, whose limit is right all the same: before
    anything is called wrong the step is shortened, which leaves the kink outside and the error of
    a wrong gradient as it is. Shorter steps have larger rounding errors, which must not hide that
    error, so that half of the smallest one before is the most that is put down to rounding.
    """
    middle = value(directions, 0.0)
    rounding = 16 * np.finfo(np.float64).eps * float(np.abs(middle).sum())
    before = np.inf
    for step in (eps, eps / 10, eps / 100, eps / 1000):
        ahead, behind = value(directions, step), value(directions, -step)
        right = float((ahead - middle).sum()) / step
        left = float((middle - behind).sum()) / step
        numeric, noise = (right + left) / 2, rounding / step
        error = abs(analytic - numeric)
        allowed = min(limit * max(1.0, abs(numeric)) + noise, before / 2)
        kink = not abs(right - left) <= KINK * max(1.0, abs(right), abs(left)) + noise
        if not error <= allowed:
            before = error
        elif not kink:
            return
    along = " + ".join(directions)
    if kink:
        raise ValueError(
            f"check_gradients: expected a differentiable point, got slopes {left!r} and {right!r} "
            f"on the two sides along {along}; choose other inputs"
        )
    raise AssertionError(
        f"check_gradients: along {along} backward gives {analytic!r}, central differences "
        f"{numeric!r}; the difference {error:.3g} is above {allowed:.3g}"
    )
