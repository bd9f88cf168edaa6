"""A sparse function against its dense twin: values at all sites, and exact gradients.

The twin needs no backward pass. It is analytic, so that its derivative along a direction v is
``imag(f(x + i h v)) / h``, without cancellation, exact to rounding for h = 1e-30 (W. Squire and
G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40,
1998).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from spconv.autograd import Tensor
from spconv.tensor import SparseConvTensor
from spconv.testing.reference.grid import Grid, scatter
from spconv.testing.sparse import assert_close, assert_matches_grid

STEP = 1e-30


def randomize(module, rng: np.random.Generator, scale: float = 1.0) -> dict[str, Tensor]:
    """Give every parameter of `module` normal float64 values, and return them by name."""
    parameters = dict(module.named_parameters())
    for parameter in parameters.values():
        parameter.data = scale * rng.standard_normal(parameter.shape)
    return parameters


def assert_twin(
    function: Callable[[SparseConvTensor], SparseConvTensor | Tensor],
    twin: Callable[[Grid, dict[str, np.ndarray]], Grid | np.ndarray],
    x: SparseConvTensor,
    parameters: Mapping[str, Tensor] | None = None,
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-12,
    gradient_tolerance: float = 1e-10,
    keeps_sites: bool = False,
) -> None:
    """`function` equals `twin`, and so do the gradients of a random linear loss on its output.

    The loss weighs every site of the dense output and the output's ground state. Gradients are
    compared along one random direction for the features, the ground state and each parameter.

    Parameters
    ----------
    function : SparseConvTensor -> SparseConvTensor or Tensor
    twin : (Grid, {name: array}) -> Grid or array
        Its dense definition, from :mod:`spconv.testing.reference`.
    x : SparseConvTensor
        The input, in float64.
    parameters : mapping of name to Parameter
        Float64 parameters of `function`, as ``dict(layer.named_parameters())``.
    keeps_sites : bool
        The output has the sites of `x` in the order of `x`, instead of in sorted order.
    """
    parameters = dict(parameters or {})
    inputs = {"features": Tensor(x.features.numpy(), requires_grad=True)}
    if x.ground_state is not None:
        inputs["ground state"] = Tensor(x.ground_state.numpy(), requires_grad=True)
    leaf = SparseConvTensor(
        inputs["features"], x.indices, x.spatial_shape, x.batch_size, inputs.get("ground state")
    )
    for parameter in parameters.values():
        parameter.grad = None
    output = function(leaf)
    arrays = {name: tensor.numpy() for name, tensor in {**inputs, **parameters}.items()}

    def run_twin(arrays):
        grid = scatter(
            arrays["features"],
            x.indices,
            x.spatial_shape,
            x.batch_size,
            arrays.get("ground state"),
        )
        return twin(grid, {name: arrays[name] for name in parameters})

    expected = run_twin(arrays)
    if isinstance(expected, Grid) and isinstance(output, SparseConvTensor):
        sites = x.indices if keeps_sites else None
        assert_matches_grid(output, expected, tolerance=tolerance, indices=sites)
    elif isinstance(output, Tensor):
        assert_close(output.numpy(), expected, tolerance, "output")
    else:
        raise AssertionError(f"expected {type(expected).__name__}, got {type(output).__name__}")

    weights = [rng.standard_normal(part.shape) for part in _parts(expected)]
    loss = Tensor(np.zeros(()))
    for part, weight in zip(_parts(output), weights, strict=True):
        loss = loss + (part * Tensor(weight)).sum()
    loss.backward()
    gradients = {name: tensor.grad for name, tensor in {**inputs, **parameters}.items()}

    def twin_loss(arrays):
        parts = _parts(run_twin(arrays))
        return sum((p * w).sum() for p, w in zip(parts, weights, strict=True))

    assert_gradients(twin_loss, arrays, gradients, rng=rng, tolerance=gradient_tolerance)


def assert_gradients(
    loss: Callable[[dict[str, np.ndarray]], complex],
    arrays: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray | None],
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-10,
) -> None:
    """`gradients` of the analytic `loss` at `arrays`, along one random direction for each.

    A missing gradient counts as 0. Errors are relative to the largest slope (or to 1).
    """
    for name, array in arrays.items():
        gradient = gradients[name]
        if gradient is None:
            gradient = np.zeros_like(array)
        if gradient.shape != array.shape or gradient.dtype != array.dtype:
            raise AssertionError(
                f"gradient of {name}: expected {array.dtype} of shape {array.shape}, "
                f"got {gradient.dtype} of shape {gradient.shape}"
            )
        direction = rng.standard_normal(array.shape)
        slope = directional_derivative(loss, arrays, {name: direction})
        terms = gradient * direction
        scale = max(1.0, float(np.abs(terms).sum()), abs(slope))
        error = abs(float(terms.sum()) - slope)
        if not error <= tolerance * scale:
            raise AssertionError(
                f"gradient of {name}: expected the slope {slope!r}, got {float(terms.sum())!r}; "
                f"error {error:.3g}, allowed {tolerance * scale:.3g}"
            )


def directional_derivative(
    loss: Callable[[dict[str, np.ndarray]], complex],
    arrays: Mapping[str, np.ndarray],
    directions: Mapping[str, np.ndarray],
) -> float:
    """Derivative of the analytic `loss` at the real `arrays` along `directions` (complex step)."""
    moved = dict(arrays)
    for name, direction in directions.items():
        moved[name] = arrays[name] + 1j * STEP * direction
    return float(np.imag(loss(moved)) / STEP)


def _parts(output):
    """The arrays (or Tensors) of an output that a loss can see."""
    if isinstance(output, Grid):
        return [output.values] if output.ground is None else [output.values, output.ground]
    if isinstance(output, SparseConvTensor):
        dense = output.dense()
        return [dense] if output.ground_state is None else [dense, output.ground_state]
    return [output]
