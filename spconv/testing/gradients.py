"""Gradients against central differences, for any function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from spconv.autograd import Parameter, Tensor
from spconv.checks import check_float, check_function, check_generator, type_name
from spconv.tensor import SparseConvTensor

OWNER = "check_gradients"

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

    There is one direction for each input alone and one for all of them together. Where the two
    disagree, or the slopes of the two sides do, there may be a kink within the step (ReLU,
    maximum): the step is shortened three times by ten, and a point that still lies on a kink is
    refused.

    Parameters
    ----------
    function : callable
        Computes a Tensor of any shape from `inputs`; of a sparse tensor return its ``.features``
        or its ``.dense()``. It is called again for every perturbed value, and has to be
        deterministic.
    inputs : mapping of name to Tensor
        Float64 tensors with ``requires_grad``: features, ground states, parameters, such as
        ``dict(layer.named_parameters())``. Their ``.data`` is perturbed and put back.
    rng : numpy.random.Generator
        Draws the directions, and the gradient that goes backward, with normal entries.
    eps : float
        How far to go along a direction, to either side.
    limit : float
        Largest error relative to the slope (or to 1, if that is larger).

    Raises
    ------
    AssertionError
        A slope is wrong; the message has the numbers.
    TypeError
        `function` is none or does not return a Tensor, `inputs` is no mapping of names to Tensors,
        or `rng` no generator.
    ValueError
        The point lies on a kink, an input is not float64 or requires no gradient, or `function`
        is not deterministic.
    """
    check_function(OWNER, "function() -> Tensor", function)
    check_generator(OWNER, rng)
    eps = check_float(OWNER, "eps", eps, positive=True)
    _check_inputs(inputs)
    for tensor in inputs.values():
        tensor.grad = None
    start = {name: tensor.data for name, tensor in inputs.items()}
    output = function()
    if not isinstance(output, Tensor):
        sparse = isinstance(output, SparseConvTensor)
        fix = "return its .features" if sparse else "compute it from the inputs"
        raise TypeError(f"{OWNER}: function must return a Tensor, got {type_name(output)}; {fix}")
    cotangent = rng.standard_normal(output.shape)
    output.backward(cotangent)
    gradients = {
        name: np.zeros(t.shape) if t.grad is None else np.array(t.grad)
        for name, t in inputs.items()
    }
    for name, tensor in inputs.items():
        if gradients[name].shape != start[name].shape:
            raise AssertionError(
                f"{OWNER}: the gradient of {name} has shape {gradients[name].shape}, "
                f"expected {start[name].shape}"
            )
        tensor.grad = None
    middle, first = function().numpy(), output.numpy()
    if middle.shape != first.shape or not np.allclose(middle, first, 1e-9, 1e-12, equal_nan=True):
        raise ValueError(
            f"{OWNER}: function must be deterministic, got two results for the same inputs; call "
            ".eval() of layers that draw, such as dropout, or their .seed(0) within the function"
        )

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
        _compare(
            analytic, partial(value, directions), cotangent * middle, " + ".join(names), eps, limit
        )


def _check_inputs(inputs):
    """Raise unless they are float64 Tensors by name that require a gradient."""
    if not isinstance(inputs, Mapping):
        raise TypeError(
            f"{OWNER}: inputs must be a mapping of names to Tensors, got {type_name(inputs)}; pass "
            "{'x': x}, or dict(layer.named_parameters())"
        )
    if not inputs:
        raise ValueError(f"{OWNER}: inputs must name a Tensor at least, got none")
    for name, tensor in inputs.items():
        if not isinstance(tensor, Tensor):
            sparse = isinstance(tensor, SparseConvTensor)
            fix = "pass its .features" if sparse else "wrap an array in spconv.Tensor"
            raise TypeError(f"{OWNER}: {name} must be a Tensor, got {type_name(tensor)}; {fix}")
        if tensor.dtype != np.float64 or not tensor.requires_grad:
            fix = "make it with requires_grad=True"
            if tensor.dtype != np.float64:
                learned = isinstance(tensor, Parameter)
                fix = "call layer.astype('float64')" if learned else "make it of a float64 array"
            raise ValueError(
                f"{OWNER}: expected {name} to be a float64 Tensor with requires_grad=True, got "
                f"{tensor.dtype} with {tensor.requires_grad}; {fix}"
            )


def _compare(analytic, value, middle, along, eps, limit):
    """Raise unless ``value(step)``, which is ``middle`` for 0, has the slope ``analytic`` there.

    A kink within the step bends the difference quotient, whose limit is right all the same: before
    anything is called wrong the step is shortened, which leaves the kink outside and the error of
    a wrong gradient as it is. The rounding of shorter steps is larger and must not hide that error:
    they have to halve it at least.
    """
    rounding = 16 * np.finfo(np.float64).eps * float(np.abs(middle).sum())
    before, wrong = np.inf, ""
    for step in (eps, eps / 10, eps / 100, eps / 1000):
        ahead, behind = value(step), value(-step)
        right = float((ahead - middle).sum()) / step
        left = float((middle - behind).sum()) / step
        numeric, noise = (right + left) / 2, rounding / step
        error = abs(analytic - numeric)
        allowed = min(limit * max(1.0, abs(numeric)) + noise, before / 2)
        kink = not abs(right - left) <= KINK * max(1.0, abs(right), abs(left)) + noise
        if error <= allowed and not kink:
            return
        if not error <= allowed:
            before = error
        if not (kink or wrong):  # of the longest step, which has most digits
            wrong = (
                f"{OWNER}: along {along} backward gives {analytic!r}, central differences "
                f"{numeric!r}; the difference {error:.3g} is above {allowed:.3g}, and stays when "
                "the step is shortened"
            )
    if kink:
        raise ValueError(
            f"{OWNER}: expected a differentiable point, got slopes {left!r} and {right!r} on the "
            f"two sides along {along}; choose other inputs"
        )
    raise AssertionError(wrong)
