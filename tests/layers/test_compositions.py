"""Networks with shared parts, skips and joins against their dense twins: values and gradients."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.testing import (
    assert_gradients,
    assert_twin,
    random_sparse_tensor,
    randomize,
    reference,
)

pytestmark = pytest.mark.usefixtures("engine")
with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def example(rng, ground, shape=(8, 7), channels=4, **options):
    return random_sparse_tensor(
        rng, shape, 3, channels, ground=ground, shuffle=True, empty_samples=[1], **options
    )


def module(rng, **layers):
    """The layers, and their random parameters by name."""
    parameters = {}
    for name, layer in layers.items():
        for key, value in randomize(layer, rng, scale=0.5).items():
            parameters[f"{name}.{key}"] = value
    return parameters


def subm(grid, p, name, kernel_size=3):
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    return reference.submanifold(grid, weight, bias, kernel_size=kernel_size)


def conv(grid, p, name, **options):
    return reference.convolution(grid, p[f"{name}.weight"], p[f"{name}.bias"], **options)


def relu(grid):
    return reference.pointwise(grid, reference.relu)


@with_or_without_ground
def test_residual_block(ground):
    rng = np.random.default_rng(1)
    x = example(rng, ground)
    one, two = spconv.SubMConv2d(4, 4, 3), spconv.SubMConv2d(4, 4, 3)
    norm = spconv.BatchNorm(4)
    parameters = module(rng, one=one, two=two, norm=norm)

    def run(x):
        return functional.relu(functional.add(x, two(functional.relu(norm(one(x))))))

    def twin(grid, p):
        inner = reference.batch_norm(subm(grid, p, "one"), p["norm.weight"], p["norm.bias"])
        return relu(reference.add(grid, subm(relu(inner), p, "two")))

    assert_twin(run, twin, x, parameters, rng=rng, keeps_sites=True)


@with_or_without_ground
def test_a_shared_layer(ground):
    rng = np.random.default_rng(2)
    x = example(rng, ground)
    layer = spconv.SubMConv2d(4, 4, 3)

    def run(x):
        return layer(functional.tanh(layer(functional.tanh(layer(x)))))

    def twin(grid, p):
        for last in (False, False, True):
            grid = subm(grid, p, "layer")
            grid = grid if last else reference.pointwise(grid, reference.tanh)
        return grid

    assert_twin(run, twin, x, module(rng, layer=layer), rng=rng, keeps_sites=True)


@with_or_without_ground
def test_add_of_two_relus(ground):
    rng = np.random.default_rng(3)
    x = example(rng, ground)
    one, two = spconv.SubMConv2d(4, 4, 3), spconv.SubMConv2d(4, 4, 1)

    def run(x):
        return functional.add(functional.relu(one(x)), functional.relu(two(x)))

    def twin(grid, p):
        return reference.add(relu(subm(grid, p, "one")), relu(subm(grid, p, "two", 1)))

    assert_twin(run, twin, x, module(rng, one=one, two=two), rng=rng, keeps_sites=True)


@with_or_without_ground
def test_the_same_relu_twice(ground):
    rng = np.random.default_rng(4)
    x = example(rng, ground)

    def run(x):
        y = functional.relu(x)
        return functional.add(y, y)

    assert_twin(run, lambda g, _: reference.add(relu(g), relu(g)), x, rng=rng, keeps_sites=True)


@with_or_without_ground
def test_an_input_used_three_times(ground):
    rng = np.random.default_rng(5)
    x = example(rng, ground)
    layer = spconv.SubMConv2d(4, 4, (2, 3))

    def run(x):
        return functional.concat([functional.sigmoid(x), x, functional.add(x, layer(x))])

    def twin(grid, p):
        inner = reference.add(grid, subm(grid, p, "layer", (2, 3)))
        return reference.concat([reference.pointwise(grid, reference.sigmoid), grid, inner])

    assert_twin(run, twin, x, module(rng, layer=layer), rng=rng, keeps_sites=True)


@with_or_without_ground
@pytest.mark.parametrize("join", ["add", "concat"])
def test_joins_of_different_sites(join, ground):
    rng = np.random.default_rng(6)
    x = example(rng, ground, density=0.15)
    grow, keep = spconv.SparseConv2d(4, 4, 3, padding=1), spconv.SubMConv2d(4, 4, 3)

    def run(x):
        if join == "add":
            return functional.add(keep(x), grow(x), union=True)
        return functional.concat([x, grow(x), keep(x)], union=True)

    def twin(grid, p):
        grown, kept = conv(grid, p, "grow", kernel_size=3, padding=1), subm(grid, p, "keep")
        if join == "add":
            return reference.add(kept, grown)
        return reference.concat([grid, grown, kept])

    assert_twin(run, twin, x, module(rng, grow=grow, keep=keep), rng=rng)


@with_or_without_ground
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_unet(ndim, ground):
    """Two levels down by strided convolution, back up by inverse convolution, with skips."""
    rng = np.random.default_rng(7)
    x = example(rng, ground, shape=(9, 8, 6)[:ndim], channels=2)
    geometry = {"kernel_size": 3, "stride": 2, "padding": 1}

    def kind(name):
        return getattr(spconv, f"{name}{ndim}d")

    layers = {
        "inside": kind("SubMConv")(2, 3, 3),
        "down1": kind("SparseConv")(3, 4, **geometry, indice_key="one"),
        "down2": kind("SparseConv")(4, 5, **geometry, indice_key="two"),
        "up2": kind("SparseInverseConv")(5, 4, 3, indice_key="two"),
        "up1": kind("SparseInverseConv")(8, 3, 3, indice_key="one"),
        "out": kind("SubMConv")(6, 2, 3),
    }

    def run(x):
        top = functional.relu(layers["inside"](x))
        middle = functional.relu(layers["down1"](top))
        bottom = functional.relu(layers["down2"](middle))
        middle = functional.concat([middle, functional.relu(layers["up2"](bottom))])
        return layers["out"](functional.concat([top, layers["up1"](middle)]))

    def up(grid, p, name, sites):
        weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        return reference.inverse_convolution(grid, weight, bias, sites=sites, **geometry)

    def twin(grid, p):
        top = relu(subm(grid, p, "inside"))
        middle = relu(conv(top, p, "down1", **geometry))
        bottom = relu(conv(middle, p, "down2", **geometry))
        middle = reference.concat([middle, relu(up(bottom, p, "up2", middle.active))])
        return subm(reference.concat([top, up(middle, p, "up1", grid.active)]), p, "out")

    assert_twin(run, twin, x, module(rng, **layers), rng=rng, keeps_sites=True)


@with_or_without_ground
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_classifier_to_the_loss(pooling, ground):
    rng = np.random.default_rng(8)
    x = example(rng, ground)
    net = spconv.SparseSequential(
        spconv.SparseConv2d(4, 6, 3, padding=1),
        spconv.BatchNorm(6, statistics="all" if ground else "active"),
        spconv.LeakyReLU(),
        getattr(spconv, f"Sparse{pooling.title()}Pool2d")(2),
        spconv.SubMConv2d(6, 5, 2),
        spconv.Tanh(),
        getattr(spconv, f"SparseGlobal{pooling.title()}Pool")(),
        spconv.Linear(5, 3),
    )
    labels = np.array([2, 0, 1])
    parameters = randomize(net, rng, scale=0.5)
    features = spconv.Tensor(x.features.numpy(), requires_grad=True)
    logits = net(x.replace_feature(features, x.ground_state))
    loss = functional.cross_entropy(logits, labels)
    loss.backward()

    def twin(arrays):
        g = x.ground_state.numpy() if ground else None
        grid = reference.scatter(arrays["features"], x.indices, x.spatial_shape, 3, g)
        grid = conv(grid, arrays, "0", kernel_size=3, padding=1)
        statistics = "all" if ground else "active"
        grid = reference.batch_norm(
            grid, arrays["1.weight"], arrays["1.bias"], statistics=statistics
        )
        grid = reference.pointwise(grid, reference.leaky_relu)
        grid = getattr(reference, f"{pooling}_pool")(grid, kernel_size=2)
        grid = reference.pointwise(subm(grid, arrays, "4", 2), reference.tanh)
        pooled = getattr(reference, f"global_{pooling}_pool")(grid)
        logits = reference.linear(pooled, arrays["7.weight"], arrays["7.bias"])
        return reference.cross_entropy(logits, labels)

    tensors = {"features": features, **parameters}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.testing.assert_allclose(loss.item(), twin(arrays), rtol=1e-12)
    gradients = {name: tensor.grad for name, tensor in tensors.items()}
    assert_gradients(twin, arrays, gradients, rng=rng)


@with_or_without_ground
def test_sparse_to_dense_layers(ground):
    rng = np.random.default_rng(9)
    x = example(rng, ground, shape=(6, 6))
    net = spconv.SparseSequential(
        spconv.SparseConv2d(4, 3, 3, padding=1),
        spconv.ToDense(),
        spconv.Conv2d(3, 4, 3),
        spconv.ReLU(),
        spconv.MaxPool2d(2),
        spconv.Flatten(),
        spconv.Linear(16, 2),
    )

    def twin(grid, p):
        grid = conv(grid, p, "0", kernel_size=3, padding=1)
        grid = relu(conv(reference.full_grid(grid.values), p, "2", kernel_size=3))
        pooled = reference.max_pool(grid, kernel_size=2).values
        return reference.linear(pooled.reshape(3, -1), p["6.weight"], p["6.bias"])

    assert_twin(net, twin, x, randomize(net, rng, scale=0.5), rng=rng)


@with_or_without_ground
def test_a_network_on_zero_sites(ground):
    rng = np.random.default_rng(10)
    x = example(rng, ground, density=0.0)
    net = spconv.SparseSequential(
        spconv.SparseConv2d(4, 3, 3, stride=2),
        spconv.ReLU(),
        spconv.SubMConv2d(3, 3, 3),
        spconv.SparseMaxPool2d(2),
        spconv.SparseGlobalAvgPool(),
    )

    def twin(grid, p):
        grid = relu(conv(grid, p, "0", kernel_size=3, stride=2))
        grid = reference.max_pool(subm(grid, p, "2"), kernel_size=2)
        return reference.global_avg_pool(grid)

    assert_twin(net, twin, x, randomize(net, rng, scale=0.5), rng=rng)
