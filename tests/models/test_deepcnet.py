"""DeepCNet and its relatives as whole networks: equal to the dense network on the full grid."""

import re

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.models import DeepC2, DeepCNet, DeepCNiN
from spconv.testing import (
    assert_close,
    assert_gradients,
    random_sparse_tensor,
    randomize,
    reference,
)


def convolutions(net):
    return [layer for layer in net if hasattr(layer, "geometry") and hasattr(layer, "weight")]


def field(net, ground=True, channels=3, batch_size=2, density=0.1, dtype=np.float64):
    shape = (net.field,) * net.ndim
    rng = np.random.default_rng(0)
    return random_sparse_tensor(rng, shape, batch_size, channels, density, dtype, ground=ground)


def dense_logits(net, arrays, grid):
    """The network in the plain definitions of ``reference``, on every site of the grid."""
    for number, layer in enumerate(net):
        weight, bias = arrays.get(f"{number}.weight"), arrays.get(f"{number}.bias")
        if isinstance(layer, spconv.LeakyReLU):
            slope = layer.negative_slope
            grid = reference.pointwise(grid, lambda v, s=slope: reference.leaky_relu(v, s))
        elif isinstance(layer, spconv.Flatten):
            assert grid.values.shape[2:] == (1,) * net.ndim
            grid = grid.values.reshape(len(grid.values), -1)
        elif isinstance(layer, spconv.Linear):
            grid = reference.linear(grid, weight, bias)
        elif weight is None:
            grid = reference.max_pool(grid, kernel_size=layer.geometry.kernel_size)
        else:
            size = layer.geometry.kernel_size
            grid = reference.convolution(grid, weight, bias, kernel_size=size)
    return grid


NETWORKS = {
    "DeepCNet(4, 4)": (DeepCNet, (4, 4), {}, True),
    "ReLU": (DeepCNet, (4, 4), {"negative_slope": 0.0}, True),
    "no ground": (DeepCNet, (3, 2), {}, False),
    "1d": (DeepCNet, (3, 5), {"ndim": 1}, True),
    "3d": (DeepCNet, (1, 3), {"ndim": 3}, True),
    "4d": (DeepCNet, (0, 5), {"ndim": 4}, True),
    "DeepCNiN(4, 4)": (DeepCNiN, (4, 4), {}, True),
    "DeepCNiN, no ground": (DeepCNiN, (2, 3), {}, False),
    "DeepC2(3, 3)": (DeepC2, (3, 3), {}, True),
    "DeepC2, 3d, no ground": (DeepC2, (1, 2), {"ndim": 3}, False),
}


@pytest.mark.parametrize(
    ("kind", "sizes", "options", "ground"), NETWORKS.values(), ids=NETWORKS.keys()
)
def test_equals_the_dense_network(engine, kind, sizes, options, ground):
    net = kind(*sizes, in_channels=3, num_classes=5, **options)
    rng = np.random.default_rng(1)
    parameters = randomize(net, rng, scale=0.5)
    x, labels = field(net, ground), [3, 0]
    logits = net(x)
    arrays = {name: parameter.data for name, parameter in parameters.items()}
    grid = spconv.testing.to_grid(x)
    assert_close(logits.data, dense_logits(net, arrays, grid), 1e-10, "logits")
    functional.cross_entropy(logits, labels).backward()
    gradients = {name: parameter.grad for name, parameter in parameters.items()}
    assert all(gradient is not None for gradient in gradients.values())

    def loss(arrays):
        return reference.cross_entropy(dense_logits(net, arrays, grid), labels)

    assert_gradients(loss, arrays, gradients, rng=rng, tolerance=1e-10)


def test_sites_far_from_the_ink_are_not_visited():
    net = DeepCNet(4, 4, in_channels=3, num_classes=5)
    x = spconv.SparseConvTensor(
        np.ones((1, 3), np.float32), [[0, 20, 20]], (48, 48), 1, np.zeros(3)
    )
    counts = []
    for layer in net:
        x = layer(x)
        if isinstance(x, spconv.SparseConvTensor):
            counts.append((type(layer).__name__, len(x), x.spatial_shape[0]))
    assert counts[0] == ("SparseConv2d", 9, 46)
    pools = [(count, size) for kind, count, size in counts if kind == "SparseMaxPool2d"]
    assert [size for _, size in pools] == [23, 11, 5, 2]
    assert all(count <= 4 for count, _ in pools)


def test_layer_sizes_of_the_paper():
    """Graham 2014, section 3: DeepCNet(5, 100) is
    100C3-MP2-200C2-MP2-300C2-MP2-400C2-MP2-500C2-MP2-600C2-output on a field of 3 * 2**5."""
    net = DeepCNet(5, 100, in_channels=1, num_classes=3755)
    assert net.field == 96
    expected, width, size = [], 96, 96
    for number in range(1, 7):
        kernel = 3 if number == 1 else 2
        size -= kernel - 1
        expected += [("conv", kernel, number * 100), "leaky"]
        if number < 6:
            assert size % 2 == 0  # the poolings tile the field
            size //= 2
            expected.append("pool")
    assert (width, size) == (96, 1)
    actual = []
    for layer in net:
        if isinstance(layer, spconv.SparseConv2d):
            assert layer.geometry.stride == (1, 1)
            assert layer.geometry.padding == (0, 0)
            actual.append(("conv", layer.geometry.kernel_size[0], layer.out_channels))
        elif isinstance(layer, spconv.SparseMaxPool2d):
            assert layer.geometry.kernel_size == layer.geometry.stride == (2, 2)
            actual.append("pool")
        elif isinstance(layer, spconv.LeakyReLU):
            assert layer.negative_slope == 1 / 3
            actual.append("leaky")
    assert actual == expected
    assert [type(layer) for layer in list(net)[-2:]] == [spconv.Flatten, spconv.Linear]
    widths = [layer.weight.shape for layer in convolutions(net)]
    assert widths == [(9, 1, 100), *((4, 100 * n, 100 * n + 100) for n in range(1, 6))]
    assert net[-1].weight.shape == (600, 3755)


def test_layer_sizes_of_deepcnin():
    net = DeepCNiN(3, 10, in_channels=2, num_classes=7)
    kinds = "".join({"S": "c", "L": "r", "F": "f"}[type(layer).__name__[0]] for layer in net)
    pools = [type(layer).__name__.startswith("SparseMaxPool") for layer in net]
    kinds = "".join("p" if pool else kind for kind, pool in zip(kinds, pools, strict=True))
    # convolution, rectifier, pooling, 1x1 convolution, rectifier; at the end without the pooling
    assert kinds == "crpcr" * 3 + "crcr" + "fr"
    assert [layer.weight.shape for layer in convolutions(net)] == [
        (9, 2, 10),
        (1, 10, 10),
        (4, 10, 20),
        (1, 20, 20),
        (4, 20, 30),
        (1, 30, 30),
        (4, 30, 40),
        (1, 40, 40),
    ]
    assert net.field == 24


def test_layer_sizes_of_deepc2():
    net = DeepC2(2, 10, in_channels=2, num_classes=7)
    assert net.field == 15
    assert DeepC2(0, 10, 2, 7).field == 3
    names = [type(layer).__name__ for layer in net]
    level = ["SparseConv2d", "LeakyReLU"]
    assert names == [*(2 * level + ["SparseMaxPool2d"]) * 2, *level, "Flatten", "Linear"]
    assert [layer.weight.shape for layer in convolutions(net)] == [
        (9, 2, 10),
        (4, 10, 10),
        (4, 10, 20),
        (4, 20, 20),
        (4, 20, 30),
    ]
    x = spconv.from_dense(np.ones((1, 2, 14, 14), np.float32))
    message = "DeepC2: expected a field of 2**(l + 2) - 1 sites, spatial_shape (15, 15), got"
    with pytest.raises(ValueError, match=re.escape(message)):
        net(x)


def dropouts(net):
    """Probabilities of the dropout layers, in front of what they stand."""
    layers = list(net)
    return [
        (type(layer).__name__, layer.p, type(layers[number + 1]).__name__)
        for number, layer in enumerate(layers)
        if isinstance(layer, spconv.Dropout | spconv.BatchwiseDropout)
    ]


def test_dropout_rates():
    assert dropouts(DeepCNet(2, 4, 1, 10)) == []
    conv = "SparseConv2d"
    assert dropouts(DeepCNet(2, 4, 1, 10, dropout=0.3)) == [
        ("Dropout", pytest.approx(0.1), conv),
        ("Dropout", pytest.approx(0.2), conv),
        ("Dropout", pytest.approx(0.3), "Linear"),
    ]
    rates = [0.1, 0, 0.25, 0.5]
    assert dropouts(DeepCNet(2, 4, 1, 10, dropout=rates, batchwise=True)) == [
        ("BatchwiseDropout", 0.1, conv),
        ("BatchwiseDropout", 0.25, conv),
        ("Dropout", 0.5, "Linear"),
    ]
    assert len(dropouts(DeepCNiN(2, 4, 1, 10, dropout=rates))) == 3


def test_every_dropout_has_random_numbers_of_its_own():
    net = DeepCNet(3, 4, 1, 10, dropout=[0.5] * 5)
    layers = [layer for layer in net if isinstance(layer, spconv.Dropout)]
    draws = {tuple(layer.rng.random(4)) for layer in layers}
    assert len(draws) == len(layers) == 5


def test_the_seed_decides():
    nets = [DeepCNet(1, 4, 2, 3, dropout=0.5, seed=seed) for seed in (1, 1, 2)]
    x = field(nets[0], channels=2, dtype=np.float32)
    outputs = [net(x).data for net in nets]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((-1, 4, 1, 10), {}, "DeepCNet: l must be at least 0, got -1"),
        ((2, 0, 1, 10), {}, "DeepCNet: k must be at least 1, got 0"),
        ((2, 4, 1, 10), {"ndim": 5}, "DeepCNet: ndim must be in 1..4, got 5"),
        ((2, 4, 0, 10), {}, "SparseConv2d: in_channels must be at least 1, got 0"),
        ((2, 4, 1, 0), {}, "Linear: out_features must be at least 1"),
        ((2, 4, 1, 10), {"dropout": [0.1] * 3}, "one number or l + 2 = 4 of them, got [0.1,"),
        ((2, 4, 1, 10), {"dropout": 1.0}, "DeepCNet: dropout must be in [0, 1), got 1.0"),
        ((2, 4, 1, 10), {"dropout": -0.5}, "DeepCNet: dropout must be in [0, 1), got -0.5"),
        ((0, 4, 1, 10), {"dropout": [0, 1]}, "DeepCNet: dropout[1] must be in [0, 1), got 1.0"),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DeepCNet(*arguments, **options)


def test_inputs_of_another_size():
    net = DeepCNiN(2, 4, 1, 10)
    x = spconv.from_dense(np.eye(14, dtype=np.float32)[None, None], [0.0])
    message = "DeepCNiN: expected a field of 3 * 2**l sites, spatial_shape (12, 12), got (14, 14)"
    with pytest.raises(ValueError, match=re.escape(message)):
        net(x)
    with pytest.raises(TypeError, match="DeepCNiN: expected a SparseConvTensor, got Tensor"):
        net(x.dense())
    with pytest.raises(ValueError, match="SparseConv2d: expected 1 input channels, got"):
        net(field(net, channels=2))
