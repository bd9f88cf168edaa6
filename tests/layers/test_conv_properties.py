"""Random points of the whole option lattice: every layer is its dense twin, always."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv
from spconv.testing import assert_twin, random_sparse_tensor, randomize, reference

pytestmark = pytest.mark.usefixtures("engine")

LARGEST_KERNEL = {1: 5, 2: 4, 3: 3, 4: 2}
LARGEST_EXTRA = {1: 6, 2: 4, 3: 2, 4: 1}  # sites beyond the smallest size that fits the kernel


@st.composite
def problems(draw, transposed=False):
    """(spatial_shape, output channels, layer options, input options, seed), small and quick."""
    ndim = draw(st.integers(1, 4))

    def per_axis(low, high):
        return [draw(st.integers(low, high)) for _ in range(ndim)]

    kernel = per_axis(1, LARGEST_KERNEL[ndim])
    dilation = per_axis(1, 2 if ndim < 4 else 1)
    stride = per_axis(1, 3)
    padding = per_axis(0, 2 if ndim < 4 else 1)
    extra = per_axis(0, LARGEST_EXTRA[ndim])
    axes = list(zip(kernel, dilation, stride, padding, extra, strict=True))
    if transposed:  # the output needs at least one site: (n - 1) s - 2 p + d (k - 1) + 1 >= 1
        shape = [max(1, 1 - (d * (k - 1) - 2 * p) // s) + e // 2 for k, d, s, p, e in axes]
    else:
        shape = [max(1, d * (k - 1) + 1 - 2 * p) + e for k, d, _, p, e in axes]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = (groups * draw(st.sampled_from([1, 2, 3, 8, 17])) for _ in range(2))
    layer = {
        "kernel_size": tuple(kernel),
        "stride": tuple(stride),
        "padding": tuple(padding),
        "dilation": tuple(dilation),
        "groups": groups,
    }
    if transposed:
        layer["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in stride)
    batch_size = draw(st.integers(1, 3))
    data = {
        "batch_size": batch_size,
        "channels": inputs,
        "density": draw(st.sampled_from([0.0, 0.05, 0.3, 0.8, 1.0])),
        "ground": draw(st.booleans()),
        "shuffle": draw(st.booleans()),
        "empty_samples": draw(st.sampled_from([(), (batch_size - 1,)])),
    }
    return tuple(shape), outputs, layer, data, draw(st.integers(0, 2**16))


def run(kind, definition, problem, drop=(), keeps_sites=False):
    shape, outputs, options, data, seed = problem
    options = {k: v for k, v in options.items() if k not in drop}
    rng = np.random.default_rng(seed)
    x = random_sparse_tensor(rng, shape, **data)
    layer = getattr(spconv, f"{kind}{len(shape)}d")(data["channels"], outputs, **options)
    parameters = randomize(layer, rng)

    def twin(grid, p):
        return definition(grid, p["weight"], p["bias"], **options)

    assert_twin(layer, twin, x, parameters, rng=rng, keeps_sites=keeps_sites)


@given(problem=problems())
def test_sparse_conv(problem):
    run("SparseConv", reference.convolution, problem)


@given(problem=problems())
def test_submanifold(problem):
    run("SubMConv", reference.submanifold, problem, ("stride", "padding"), keeps_sites=True)


@given(problem=problems(transposed=True))
def test_transposed(problem):
    run("SparseConvTranspose", reference.transposed_convolution, problem)


@given(problem=problems())
def test_inverse(problem):
    shape, outputs, options, data, seed = problem
    rng = np.random.default_rng(seed)
    x = random_sparse_tensor(rng, shape, **data)
    ndim = len(shape)
    down = getattr(spconv, f"SparseConv{ndim}d")(
        data["channels"], outputs, indice_key="k", **options
    )
    kernel, groups = options["kernel_size"], options["groups"]
    inverse = getattr(spconv, f"SparseInverseConv{ndim}d")
    up = inverse(outputs, data["channels"], kernel, groups=groups, indice_key="k")
    model = spconv.SparseSequential(down, up)
    parameters = randomize(model, rng)

    def twin(grid, p):
        middle = reference.convolution(grid, p["0.weight"], p["0.bias"], **options)
        return reference.inverse_convolution(
            middle, p["1.weight"], p["1.bias"], sites=grid.active, **options
        )

    assert_twin(model, twin, x, parameters, rng=rng, keeps_sites=True)


@pytest.mark.parametrize("kind", ["max", "avg"])
@given(problem=problems())
def test_pool(kind, problem):
    shape, _, options, data, seed = problem
    options = {k: v for k, v in options.items() if k != "groups"}
    rng = np.random.default_rng(seed)
    x = random_sparse_tensor(rng, shape, **data)
    layer = getattr(spconv, f"Sparse{kind.title()}Pool{len(shape)}d")(**options)
    definition = getattr(reference, f"{kind}_pool")
    assert_twin(layer, lambda grid, _: definition(grid, **options), x, rng=rng)
