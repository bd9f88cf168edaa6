"""Random stacks of layers, with skips, against their dense twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spconv
from spconv import functional
from spconv.testing import assert_twin, random_sparse_tensor, randomize, reference

pytestmark = pytest.mark.usefixtures("engine")

CHANNELS = 4
POINTWISE = {
    "relu": reference.relu,
    "leaky_relu": reference.leaky_relu,
    "sigmoid": reference.sigmoid,
    "tanh": reference.tanh,
    "silu": reference.silu,
    "gelu": reference.gelu,
}


@st.composite
def networks(draw):
    """(spatial_shape, ground, [(kind, options)], seed); every layer fits its input."""
    ndim = draw(st.integers(1, 3))
    shape = [draw(st.integers(3, (12, 8, 5)[ndim - 1])) for _ in range(ndim)]
    start = tuple(shape)
    ground = draw(st.booleans())
    kinds = ["subm", "conv", "transpose", "max", "avg", "norm", "skip", "grow", *POINTWISE]
    layers = []
    for _ in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from(kinds))
        options = {}
        if kind == "norm":
            options["statistics"] = draw(
                st.sampled_from(["active", "all"] if ground else ["active"])
            )
        if kind not in POINTWISE and kind != "norm":
            options["kernel_size"] = draw(st.integers(1, 3))
        if kind in ("conv", "transpose", "max", "avg"):
            options["stride"] = draw(st.integers(1, 2))
            options["padding"] = draw(st.integers(0, 1))
            k, s, p = options["kernel_size"], options["stride"], options["padding"]
            if kind == "transpose":
                sizes = [(n - 1) * s - 2 * p + k for n in shape]
            else:
                sizes = [(n + 2 * p - k) // s + 1 for n in shape]
            if min(sizes) < 1 or max(sizes) > 14:
                continue
            shape = sizes
        layers.append((kind, options))
    return start, ground, layers, draw(st.integers(0, 2**16))


def sparse_step(kind, options, ndim):
    """A module and the function of a sparse tensor that uses it."""
    if kind in POINTWISE:
        return None, getattr(functional, kind)
    if kind == "norm":
        layer = spconv.BatchNorm(CHANNELS, eps=0.1, **options)
        return layer, layer
    names = {
        "subm": "SubMConv",
        "skip": "SubMConv",
        "conv": "SparseConv",
        "grow": "SparseConv",
        "transpose": "SparseConvTranspose",
        "max": "SparseMaxPool",
        "avg": "SparseAvgPool",
    }
    channels = () if kind in ("max", "avg") else (CHANNELS, CHANNELS)
    if kind == "grow":  # keeps the shape: kernel 1 or 3
        size = options["kernel_size"] // 2 * 2 + 1
        options = {"kernel_size": size, "padding": size // 2}
    layer = getattr(spconv, f"{names[kind]}{ndim}d")(*channels, **options)
    if kind == "skip":
        return layer, lambda x: functional.add(x, layer(x))
    if kind == "grow":
        return layer, lambda x: functional.add(x, layer(x), union=True)
    return layer, layer


def dense_step(kind, options, grid, weight, bias):
    if kind in POINTWISE:
        return reference.pointwise(grid, POINTWISE[kind])
    if kind == "norm":
        return reference.batch_norm(grid, weight, bias, eps=0.1, **options)
    if kind in ("max", "avg"):
        return getattr(reference, f"{kind}_pool")(grid, **options)
    if kind == "conv":
        return reference.convolution(grid, weight, bias, **options)
    if kind == "transpose":
        return reference.transposed_convolution(grid, weight, bias, **options)
    if kind == "grow":
        size = options["kernel_size"] // 2 * 2 + 1
        grown = reference.convolution(grid, weight, bias, kernel_size=size, padding=size // 2)
        return reference.add(grid, grown)
    inner = reference.submanifold(grid, weight, bias, **options)
    return reference.add(grid, inner) if kind == "skip" else inner


@settings(max_examples=150)
@given(network=networks())
def test_random_network(network):
    shape, ground, layers, seed = network
    rng = np.random.default_rng(seed)
    x = random_sparse_tensor(rng, shape, 2, CHANNELS, density=0.5, ground=ground)
    steps, parameters = [], {}
    for number, (kind, options) in enumerate(layers):
        layer, step = sparse_step(kind, options, len(shape))
        steps.append(step)
        if layer is not None:
            for name, value in randomize(layer, rng, scale=0.4).items():
                parameters[f"{number}.{name}"] = value

    def run(x):
        for step in steps:
            if isinstance(step, spconv.BatchNorm):
                counts.append(len(x.indices))
            x = step(x)
        return x

    counts = []
    run(x)
    if 0 in counts:  # batch statistics of nothing: defined by no dense layer
        return

    def twin(grid, p):
        for number, (kind, options) in enumerate(layers):
            weight, bias = p.get(f"{number}.weight"), p.get(f"{number}.bias")
            grid = dense_step(kind, options, grid, weight, bias)
        return grid

    assert_twin(run, twin, x, parameters, rng=rng, tolerance=1e-11)
