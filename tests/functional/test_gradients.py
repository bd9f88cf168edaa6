"""Central differences over every operation, dimension, ground state and engine.

The layers' tests compare with the derivative of a dense definition; this one needs none.
"""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.geometry import Geometry
from spconv.testing import check_gradients, random_sparse_tensor

pytestmark = pytest.mark.usefixtures("engine")
with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
every_ndim = pytest.mark.parametrize("ndim", [1, 2, 3, 4])


def leaf(rng, ndim, ground, channels=4):
    """A tensor whose features and ground state want gradients, and these by name."""
    x = random_sparse_tensor(
        rng, (7, 5, 4, 3)[:ndim], 3, channels, ground=ground, shuffle=True, empty_samples=[2]
    )
    inputs = {"features": spconv.Parameter(x.features.numpy())}
    if ground:
        inputs["ground"] = spconv.Parameter(x.ground_state.numpy())
    x = spconv.SparseConvTensor(
        inputs["features"], x.indices, x.spatial_shape, x.batch_size, inputs.get("ground")
    )
    return x, inputs


def whole(x):
    """Everything of a sparse tensor that a loss can see, as one row."""
    dense = x.dense().reshape(-1)
    if x.ground_state is None:
        return dense
    return dense * x.ground_state.sum() + dense


def again(x, inputs):
    """`x` on the current values of its leaves."""
    return x.replace_feature(inputs["features"], inputs.get("ground"))


@every_ndim
@with_or_without_ground
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["regular", "submanifold", "transposed", "transposed-strided"])
def test_sparse_conv(kind, groups, ground, ndim):
    rng = np.random.default_rng(1)
    x, inputs = leaf(rng, ndim, ground)
    stride = 2 if kind in ("regular", "transposed-strided") else 1
    geometry = Geometry.make(
        ndim,
        2,
        stride,
        1 if kind == "regular" else 0,
        submanifold=kind == "submanifold",
        transposed=kind.startswith("transposed"),
    )
    inputs["weight"] = spconv.Parameter(rng.standard_normal((2**ndim, 4 // groups, 6)))
    inputs["bias"] = spconv.Parameter(rng.standard_normal(6))

    def run():
        weight, bias = inputs["weight"], inputs["bias"]
        y = functional.sparse_conv(again(x, inputs), weight, bias, geometry, groups=groups)
        return whole(y)

    check_gradients(run, inputs, rng=rng)


@every_ndim
@with_or_without_ground
def test_inverse_conv(ground, ndim):
    rng = np.random.default_rng(2)
    x, inputs = leaf(rng, ndim, ground)
    geometry = Geometry.make(ndim, 3, 2, 1)
    for name in ("down", "up"):
        inputs[name] = spconv.Parameter(rng.standard_normal((3**ndim, 4, 4)))
    inputs["bias"] = spconv.Parameter(rng.standard_normal(4))

    def run():
        y = functional.sparse_conv(again(x, inputs), inputs["down"], None, geometry, indice_key="a")
        return whole(functional.inverse_conv(y, inputs["up"], inputs["bias"], "a"))

    check_gradients(run, inputs, rng=rng)


@every_ndim
@with_or_without_ground
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pools(kind, ground, ndim):
    rng = np.random.default_rng(3)
    x, inputs = leaf(rng, ndim, ground)
    pool = getattr(functional, f"sparse_{kind}_pool")
    geometry = Geometry.make(ndim, 3, 2, 1)
    check_gradients(lambda: whole(pool(again(x, inputs), geometry)), inputs, rng=rng)
    everywhere = getattr(functional, f"global_{kind}_pool")
    check_gradients(lambda: everywhere(again(x, inputs)), inputs, rng=rng)


@with_or_without_ground
@pytest.mark.parametrize(
    "name",
    ["relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "softplus", "log_sigmoid"],
)
def test_activations(name, ground):
    rng = np.random.default_rng(4)
    x, inputs = leaf(rng, 2, ground)
    function = getattr(functional, name)
    check_gradients(lambda: whole(function(again(x, inputs))), inputs, rng=rng)


@with_or_without_ground
def test_linear(ground):
    rng = np.random.default_rng(5)
    x, inputs = leaf(rng, 2, ground)
    inputs["weight"] = spconv.Parameter(rng.standard_normal((4, 3)))
    inputs["bias"] = spconv.Parameter(rng.standard_normal(3))
    check_gradients(
        lambda: whole(functional.linear(again(x, inputs), inputs["weight"], inputs["bias"])),
        inputs,
        rng=rng,
    )


@pytest.mark.parametrize("copies", [0, 7])
def test_moments_and_normalize(copies):
    rng = np.random.default_rng(6)
    names = {"x": (9, 4), "ground": (4,), "weight": (4,), "bias": (4,)}
    inputs = {n: spconv.Parameter(rng.standard_normal(shape)) for n, shape in names.items()}
    x, ground, weight, bias = inputs.values()

    def run():
        statistics = functional.moments(x, ground, copies)
        nothing = spconv.Tensor(np.zeros(4))
        row = functional.normalize(nothing, statistics, weight, bias, 1e-3)
        return functional.normalize(x, statistics, weight, bias, 1e-3, ground) * row

    check_gradients(run, inputs, rng=rng)


@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
def test_batch_norm(slope):
    rng = np.random.default_rng(6)
    names = {"x": (9, 4), "weight": (4,), "bias": (4,)}
    inputs = {n: spconv.Parameter(rng.standard_normal(shape)) for n, shape in names.items()}

    def run():
        y, mean, variance = functional.batch_norm(*inputs.values(), 1e-3, slope)
        np.testing.assert_allclose(mean, inputs["x"].data.mean(axis=0), atol=1e-14)
        np.testing.assert_allclose(variance, inputs["x"].data.var(axis=0), rtol=1e-13)
        return y * y

    check_gradients(run, inputs, rng=rng)


@with_or_without_ground
def test_layer_norm(ground):
    rng = np.random.default_rng(6)
    x, inputs = leaf(rng, 2, ground)
    inputs |= {name: spconv.Parameter(rng.standard_normal(4)) for name in ("weight", "bias")}

    def run():
        scale = inputs["weight"], inputs["bias"]
        return whole(functional.layer_norm(again(x, inputs), *scale, 1e-3))

    check_gradients(run, inputs, rng=rng)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm(groups):
    rng = np.random.default_rng(6)
    x, inputs = leaf(rng, 2, ground=False)
    inputs |= {name: spconv.Parameter(rng.standard_normal(4)) for name in ("weight", "bias")}

    def run():
        scale = inputs["weight"], inputs["bias"]
        return whole(functional.group_norm(again(x, inputs), groups, *scale, 1e-3))

    check_gradients(run, inputs, rng=rng)


@with_or_without_ground
@pytest.mark.parametrize("join", ["add", "concat"])
def test_joins_on_the_union(join, ground):
    rng = np.random.default_rng(7)
    (x, inputs), (y, more) = leaf(rng, 2, ground), leaf(rng, 2, ground)
    assert x.indices.tolist() != y.indices.tolist()

    def run():
        a, b = again(x, inputs), again(y, more)
        if join == "add":
            return whole(functional.add(a, b, union=True))
        return whole(functional.concat([a, b, a], union=True))

    renamed = {f"other {name}": tensor for name, tensor in more.items()}
    check_gradients(run, {**inputs, **renamed}, rng=rng)


@every_ndim
@with_or_without_ground
def test_prune(ground, ndim):
    rng = np.random.default_rng(8)
    x, inputs = leaf(rng, ndim, ground)
    keep = rng.random(len(x)) < 0.5
    check_gradients(lambda: whole(functional.prune(again(x, inputs), keep)), inputs, rng=rng)


@every_ndim
@with_or_without_ground
def test_on_sites(ground, ndim):
    rng = np.random.default_rng(9)
    x, inputs = leaf(rng, ndim, ground)
    sites = np.argwhere(rng.random((x.batch_size, *x.spatial_shape)) < 0.4)
    check_gradients(lambda: whole(functional.on_sites(again(x, inputs), sites)), inputs, rng=rng)


def test_cross_entropy():
    rng = np.random.default_rng(8)
    logits = spconv.Parameter(3 * rng.standard_normal((6, 5)))
    labels = rng.integers(0, 5, 6)
    check_gradients(lambda: functional.cross_entropy(logits, labels), {"logits": logits}, rng=rng)


@pytest.mark.parametrize("ndim", [2, 3])
def test_dense_layers(ndim):
    rng = np.random.default_rng(9)
    inputs = {
        "x": spconv.Parameter(rng.standard_normal((2, 3, 5, 4, 5)[: 2 + ndim])),
        "weight": spconv.Parameter(rng.standard_normal((2**ndim, 3, 4))),
        "bias": spconv.Parameter(rng.standard_normal(4)),
    }
    x, weight, bias = inputs.values()
    conv = getattr(spconv, f"Conv{ndim}d")(3, 4, 2, padding=1)
    conv.weight, conv.bias = weight, bias
    pool = getattr(spconv, f"MaxPool{ndim}d")(2)
    check_gradients(lambda: pool(conv(x)), inputs, rng=rng)
