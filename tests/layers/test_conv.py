"""Every convolution layer equals its dense twin at all sites, and so do its gradients."""

import numpy as np
import pytest

import spconv
from spconv.testing import assert_twin, random_sparse_tensor, randomize, reference

pytestmark = pytest.mark.usefixtures("engine")

REGULAR = {  # name: (spatial_shape, options)
    "1d": ((9,), {"kernel_size": 3}),
    "1d-even-padded": ((8,), {"kernel_size": 4, "stride": 2, "padding": 2}),
    "1d-stride-beyond-kernel": ((11,), {"kernel_size": 2, "stride": 4}),
    "2d-padded": ((6, 7), {"kernel_size": 3, "padding": 1}),
    "2d-asymmetric": ((7, 6), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 2)}),
    "2d-dilated": ((8, 7), {"kernel_size": 3, "dilation": (2, 3), "padding": 2}),
    "2d-grouped": ((5, 5), {"kernel_size": 3, "stride": 2, "groups": 2}),
    "2d-depthwise": ((5, 5), {"kernel_size": 2, "padding": 1, "groups": 4}),
    "2d-pointwise": ((4, 4), {"kernel_size": 1}),
    "2d-no-bias": ((5, 6), {"kernel_size": 3, "bias": False}),
    "3d-strided": ((5, 4, 5), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "3d-all-different": (
        (5, 4, 6),
        {
            "kernel_size": (1, 2, 3),
            "stride": (3, 1, 2),
            "padding": (1, 0, 2),
            "dilation": (1, 2, 1),
        },
    ),
    "4d": ((3, 4, 3, 4), {"kernel_size": 2, "stride": (1, 2, 1, 2), "padding": (0, 1, 0, 0)}),
}
SUBMANIFOLD = {
    "1d": ((9,), {"kernel_size": 3}),
    "1d-even": ((9,), {"kernel_size": 4}),
    "2d": ((6, 7), {"kernel_size": 3}),
    "2d-even-dilated": ((7, 7), {"kernel_size": (2, 3), "dilation": (3, 2)}),
    "2d-grouped": ((5, 5), {"kernel_size": 3, "groups": 2, "bias": False}),
    "2d-depthwise": ((5, 5), {"kernel_size": 3, "groups": 4}),
    "2d-kernel-beyond-grid": ((2, 3), {"kernel_size": 5}),
    "3d": ((4, 4, 5), {"kernel_size": 3}),
    "4d": ((3, 3, 3, 3), {"kernel_size": (3, 1, 2, 3)}),
}
TRANSPOSED = {
    "1d": ((5,), {"kernel_size": 3}),
    "1d-upsample": ((5,), {"kernel_size": 2, "stride": 2}),
    "1d-gaps": ((4,), {"kernel_size": 2, "stride": 4, "output_padding": 2}),
    "2d-cropped": ((5, 4), {"kernel_size": 3, "padding": 1}),
    "2d-one-axis": ((4, 4), {"kernel_size": 3, "stride": (1, 2), "padding": 1}),
    "2d-output-padding": (
        (4, 5),
        {"kernel_size": 3, "stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)},
    ),
    "2d-dilated-stride-1": ((4, 4), {"kernel_size": 2, "dilation": (2, 3), "padding": (1, 2)}),
    "2d-grouped": ((4, 4), {"kernel_size": 3, "stride": 2, "groups": 2, "bias": False}),
    "3d": ((3, 2, 3), {"kernel_size": (2, 3, 1), "stride": 2}),
    "4d": ((2, 3, 2, 2), {"kernel_size": 2, "stride": (2, 1, 1, 2)}),
}


def cases(table):
    return pytest.mark.parametrize(("shape", "options"), table.values(), ids=table.keys())


with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def build(kind, ndim, *arguments, rng, **options):
    layer = getattr(spconv, f"{kind}{ndim}d")(*arguments, **options)
    return layer, randomize(layer, rng)


def as_twin(definition, options):
    """The dense definition as a function of (grid, parameters), `bias` left to the latter."""
    geometry = {key: value for key, value in options.items() if key != "bias"}

    def twin(grid, parameters):
        return definition(grid, parameters["weight"], parameters.get("bias"), **geometry)

    return twin


@with_or_without_ground
@cases(REGULAR)
def test_sparse_conv(shape, options, ground):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(
        rng, shape, 3, 4, density=0.25, ground=ground, shuffle=True, empty_samples=[1]
    )
    layer, parameters = build("SparseConv", len(shape), 4, 8, rng=rng, **options)
    twin = as_twin(reference.convolution, options)
    assert_twin(layer, twin, x, parameters, rng=rng)


@with_or_without_ground
@cases(SUBMANIFOLD)
def test_submanifold(shape, options, ground):
    rng = np.random.default_rng(2)
    x = random_sparse_tensor(
        rng, shape, 3, 4, density=0.4, ground=ground, shuffle=True, empty_samples=[0]
    )
    layer, parameters = build("SubMConv", len(shape), 4, 8, rng=rng, **options)
    twin = as_twin(reference.submanifold, options)
    assert_twin(layer, twin, x, parameters, rng=rng, keeps_sites=True)


@with_or_without_ground
@cases(TRANSPOSED)
def test_transposed(shape, options, ground):
    rng = np.random.default_rng(3)
    x = random_sparse_tensor(
        rng, shape, 3, 4, density=0.3, ground=ground, shuffle=True, empty_samples=[2]
    )
    layer, parameters = build("SparseConvTranspose", len(shape), 4, 8, rng=rng, **options)
    twin = as_twin(reference.transposed_convolution, options)
    assert_twin(layer, twin, x, parameters, rng=rng)


def inverse(ndim, options):
    """The layer that goes back through the rulebook "a", with random parameters from outside."""
    kept = {key: options[key] for key in ("kernel_size", "groups", "bias") if key in options}
    return getattr(spconv, f"SparseInverseConv{ndim}d")(8, 4, indice_key="a", **kept)


@with_or_without_ground
@cases(REGULAR)
def test_inverse_of_a_regular_convolution(shape, options, ground):
    rng = np.random.default_rng(4)
    x = random_sparse_tensor(rng, shape, 2, 4, density=0.3, ground=ground, shuffle=True)
    down = getattr(spconv, f"SparseConv{len(shape)}d")(4, 8, indice_key="a", **options)
    model = spconv.SparseSequential(down, inverse(len(shape), options))

    def twin(grid, p):
        first = as_twin(reference.convolution, options)
        second = as_twin(reference.inverse_convolution, {**options, "sites": grid.active})
        middle = first(grid, {"weight": p["0.weight"], "bias": p.get("0.bias")})
        return second(middle, {"weight": p["1.weight"], "bias": p.get("1.bias")})

    parameters = randomize(model, rng)
    assert_twin(model, twin, x, parameters, rng=rng, keeps_sites=True)


@with_or_without_ground
@cases(SUBMANIFOLD)
def test_inverse_of_a_submanifold_convolution(shape, options, ground):
    rng = np.random.default_rng(5)
    x = random_sparse_tensor(rng, shape, 2, 8, density=0.4, ground=ground, shuffle=True)
    first = getattr(spconv, f"SubMConv{len(shape)}d")(8, 8, indice_key="a", **options)
    randomize(first, rng)
    middle = first(x)  # knows the rulebook
    layer = inverse(len(shape), options)

    def twin(grid, p):
        saved = {**options, "sites": grid.active, "submanifold": True}
        return as_twin(reference.inverse_convolution, saved)(grid, p)

    assert_twin(
        lambda x: layer(middle.replace_feature(x.features, x.ground_state)),
        twin,
        x,
        randomize(layer, rng),
        rng=rng,
        keeps_sites=True,
    )


@with_or_without_ground
@pytest.mark.parametrize("kind", ["Max", "Avg"])
def test_inverse_of_a_pooling(kind, ground):
    rng = np.random.default_rng(9)
    x = random_sparse_tensor(rng, (7, 6), 2, 8, density=0.4, ground=ground, shuffle=True)
    options = {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 1)}
    pool = getattr(spconv, f"Sparse{kind}Pool2d")(**options, indice_key="a")
    model = spconv.SparseSequential(pool, inverse(2, options))

    def twin(grid, p):
        middle = getattr(reference, f"{kind.lower()}_pool")(grid, **options)
        back = {**options, "sites": grid.active}
        return reference.inverse_convolution(middle, p["1.weight"], p["1.bias"], **back)

    assert_twin(model, twin, x, randomize(model, rng), rng=rng, keeps_sites=True)


@with_or_without_ground
@pytest.mark.parametrize("stride", [1, 2])
def test_inverse_of_a_transposed_convolution_is_a_convolution(stride, ground):
    """On deviations, like every inverse, when there is a stride."""
    rng = np.random.default_rng(10)
    x = random_sparse_tensor(rng, (4, 5), 2, 4, density=0.4, ground=ground, shuffle=True)
    options = {"kernel_size": 3, "stride": stride, "padding": 1}
    up = spconv.SparseConvTranspose2d(4, 8, **options, indice_key="a")
    model = spconv.SparseSequential(up, inverse(2, options))

    def twin(grid, p):
        middle = reference.transposed_convolution(grid, p["0.weight"], p["0.bias"], **options)
        if ground and stride > 1:
            deviations = middle.values - middle.ground[:, None, None]
            middle = reference.Grid(deviations, middle.active, np.zeros(8))
        back = reference.convolution(middle, p["1.weight"], p["1.bias"], **options)
        return reference.only_where(back, grid.active)

    assert_twin(model, twin, x, randomize(model, rng), rng=rng, keeps_sites=True)


KINDS = ["SparseConv", "SubMConv", "SparseConvTranspose"]
DEFINITIONS = dict(
    zip(
        KINDS,
        [reference.convolution, reference.submanifold, reference.transposed_convolution],
        strict=True,
    )
)


@with_or_without_ground
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sites", [[], [[1, 2, 3]], "all"], ids=["zero", "one", "all"])
def test_extreme_site_sets(kind, sites, ground):
    rng = np.random.default_rng(6)
    if sites == "all":
        sites = np.argwhere(np.ones((2, 4, 5)))
    sites = np.array(sites, np.int32).reshape(-1, 3)
    g = rng.standard_normal(3) if ground else None
    x = spconv.SparseConvTensor(rng.standard_normal((len(sites), 3)), sites, (4, 5), 2, g)
    options = {"kernel_size": 3}
    layer, parameters = build(kind, 2, 3, 2, rng=rng, **options)
    twin = as_twin(DEFINITIONS[kind], options)
    assert_twin(layer, twin, x, parameters, rng=rng, keeps_sites=kind == "SubMConv")


@with_or_without_ground
def test_all_sites_vanish(ground):
    rng = np.random.default_rng(7)
    sites = np.array([[0, 1], [0, 2], [1, 4]], np.int32)
    g = rng.standard_normal(3) if ground else None
    x = spconv.SparseConvTensor(rng.standard_normal((3, 3)), sites, (7,), 2, g)
    options = {"kernel_size": 1, "stride": 3}
    layer, parameters = build("SparseConv", 1, 3, 2, rng=rng, **options)
    assert len(layer(x).indices) == 0
    assert_twin(layer, as_twin(reference.convolution, options), x, parameters, rng=rng)


@pytest.mark.parametrize("kind", KINDS)
def test_default_precision_is_float32(kind):
    rng = np.random.default_rng(8)
    x = random_sparse_tensor(rng, (8, 8), channels=16, dtype=np.float32)
    layer = getattr(spconv, f"{kind}2d")(16, 24, 3, rng=rng)
    out = layer(x)
    assert out.features.dtype == out.ground_state.dtype == np.float32
    arrays = [a.numpy().astype(np.float64) for a in (layer.weight, layer.bias)]
    grid = spconv.testing.to_grid(x)
    exact = reference.Grid(grid.values.astype(float), grid.active, grid.ground.astype(float))
    expected = DEFINITIONS[kind](exact, *arrays, kernel_size=3)
    limit = spconv.testing.tolerance(np.float32, 9 * 16)
    spconv.testing.assert_close(out.dense().numpy(), expected.values, limit)
    (out.dense() * out.dense()).sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == np.float32


@pytest.mark.parametrize("ground", [False, True])
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["SparseConv2d", "SubMConv2d", "SparseConvTranspose2d"])
def test_a_rectifier_within_the_layer(kind, slope, ground):
    """Values and gradients of the layer and a LeakyReLU behind it."""
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(rng, (7, 6), 2, 3, 0.4, np.float64, ground=ground)
    layer = getattr(spconv, kind)(3, 5, 3, rng=rng)
    layer.weight.data = layer.weight.data.astype(np.float64)
    layer.bias.data = rng.standard_normal(5)

    def run(fused):
        layer.negative_slope = slope if fused else None
        leaf = spconv.Tensor(x.features.data, requires_grad=True)
        g = None if not ground else spconv.Tensor(x.ground_state.data, requires_grad=True)
        for parameter in layer.parameters():
            parameter.grad = None
        y = layer(spconv.SparseConvTensor(leaf, x.indices, (7, 6), 2, g))
        y = y if fused else spconv.LeakyReLU(slope)(y)
        y.dense().backward(np.random.default_rng(2).standard_normal(y.dense().shape))
        gradients = [leaf.grad, layer.weight.grad, layer.bias.grad]
        return [y.dense().data, *gradients, *([g.grad] if ground else [])]

    for fused, plain in zip(run(True), run(False), strict=True):
        np.testing.assert_array_equal(fused, plain)
