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
        numeric, noise = _slope(value, directions, eps)
        allowed = limit * max(1.0, abs(numeric)) + noise
        if not abs(analytic - numeric) <= allowed:
            raise AssertionError(
                f"check_gradients: along {' + '.join(names)} backward gives {analytic!r}, "
                f"central differences {numeric!r}; the difference "
                f"{abs(analytic - numeric):.3g} is above {allowed:.3g}"
            )


def _slope(value, directions, eps):
    """Central difference, and its rounding error."""
    middle = value(directions, 0.0)
    for step in (eps, eps / 10, eps / 100):
        ahead, behind = value(directions, step), value(directions, -step)
        right = float((ahead - middle).sum()) / step
        left = float((middle - behind).sum()) / step
        noise = 16 * np.finfo(np.float64).eps * float(np.abs(middle).sum()) / step
        if abs(right - left) <= KINK * max(1.0, abs(right), abs(left)) + noise:
            return (right + left) / 2, noise
    raise ValueError(
        f"check_gradients: expected a differentiable point, got slopes {left!r} and {right!r} on "
        f"the two sides along {' + '.join(directions)}; choose other inputs"
    )
