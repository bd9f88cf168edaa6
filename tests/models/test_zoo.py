"""What holds for every sparse network: the dense computation, gradients, batches, threads."""

import numpy as np
import pytest
from dense_networks import assert_dense, dense, settle

import spconv
from spconv import functional
from spconv.inference import freeze
from spconv.layers.fractional import SparseFractionalMaxPool
from spconv.models import (
    DeepC2,
    DeepCNet,
    DeepCNiN,
    FMPNet,
    SparseResNet,
    SparseVGG,
)
from spconv.testing import assert_close, random_sparse_tensor

BOUND = 1e-10
VGG = [("C", 4), "MP", ("C", 3, 2), ("C", 4, 1)]
NETWORKS = {  # name: (make, extent of the input, number of parameters)
    "DeepCNet": (
        lambda seed=0: DeepCNet(3, 4, 2, 5, seed=seed),
        (24, 24),
        9 * 2 * 4 + 4 + 4 * (4 * 8 + 8 * 12 + 12 * 16) + 8 + 12 + 16 + 16 * 5 + 5,
    ),
    "DeepCNiN": (
        lambda seed=0: DeepCNiN(1, 4, 2, 5, seed=seed),
        (6, 6),
        9 * 2 * 4 + 4 + 4 * 4 + 4 + 4 * 4 * 8 + 8 + 8 * 8 + 8 + 8 * 5 + 5,
    ),
    "DeepC2": (
        lambda seed=0: DeepC2(1, 4, 2, 5, seed=seed),
        (7, 7),
        9 * 2 * 4 + 4 + 4 * 4 * 4 + 4 + 4 * 4 * 8 + 8 + 8 * 5 + 5,
    ),
    "SparseVGG": (
        lambda seed=0: SparseVGG(VGG, 2, 5, 11, 6, seed=seed),
        (11, 11),
        (9 * 2 * 4 + 8)
        + (9 * (4 * 3 + 4 * 2 + 2 * 2 + 2 * 2) + 8 + 10)
        + (9 * (5 * 4 + 5 * 1 + 1 + 1) + 4 + 10)
        + (25 * 5 * 6 + 12)
        + (6 * 5 + 5),
    ),
    "SparseVGG-1d": (lambda seed=0: SparseVGG(VGG, 2, 5, 15, 6, 1, seed=seed), (15,), None),
    "SparseVGG-3d": (lambda seed=0: SparseVGG(VGG, 2, 5, 7, 6, 3, seed=seed), (7, 7, 7), None),
    "SparseResNet": (
        lambda seed=0: SparseResNet([4, 6], 2, 5, blocks=1, seed=seed),
        (9, 8),
        9 * 2 * 4 + (2 * 9 * 16 + 16) + 8 + 9 * 4 * 6 + (2 * 9 * 36 + 24) + 12 + 6 * 5 + 5,
    ),
    "SparseResNet-post": (
        lambda seed=0: SparseResNet(
            [4, 6], 2, 5, preactivation=False, readout="convolution", field=9, seed=seed
        ),
        (9, 9),
        (9 * 2 * 4 + 8)
        + 2 * (2 * 9 * 16 + 16)
        + (9 * 4 * 6 + 12)
        + 2 * (2 * 9 * 36 + 24)
        + (25 * 36 + 12)
        + (6 * 5 + 5),
    ),
    "SparseResNet-1d": (
        lambda seed=0: SparseResNet([3, 4, 5], 2, 5, 1, 1, readout="max", seed=seed),
        (21,),
        None,
    ),
    "SparseResNet-4d": (
        lambda seed=0: SparseResNet([3, 4], 2, 5, 4, 1, False, seed=seed),
        (3, 2, 3, 2),
        None,
    ),
    "FMPNet": (
        lambda seed=0: FMPNet(3, 3, 2, 5, seed=seed),
        (11, 11),
        4 * (2 * 3 + 3 * 6 + 6 * 9 + 9 * 12) + 12 * 15 + 3 + 6 + 9 + 12 + 15 + 15 * 5 + 5,
    ),
    "FMPNet-3d": (
        lambda seed=0: FMPNet(2, 3, 2, 5, 1.6, 3, False, "random", seed=seed),
        (7, 7, 7),
        None,
    ),
}
every_network = pytest.mark.parametrize(
    ("make", "shape"), [entry[:2] for entry in NETWORKS.values()], ids=NETWORKS.keys()
)
with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def example(shape, ground=True, dtype=np.float64, batch_size=4, empty=(1,), density=0.3):
    rng = np.random.default_rng(0)
    return random_sparse_tensor(
        rng, shape, batch_size, 2, density, dtype, ground=ground, shuffle=True, empty_samples=empty
    )


@pytest.mark.parametrize("name", [name for name, entry in NETWORKS.items() if entry[2]])
def test_shape_and_number_of_parameters(name):
    make, shape, count = NETWORKS[name]
    net = make()
    assert net.num_parameters() == count
    assert net(example(shape, dtype=np.float32)).shape == (4, 5)
    assert all(parameter.dtype == np.float32 for parameter in net.parameters())


MODES = [  # of networks with normalization; regions are known in evaluation only
    *((name, "eval") for name in NETWORKS if not name.endswith("d")),
    *((name, "train") for name in NETWORKS if name.startswith("Sparse")),
    ("FMPNet-3d", "eval"),
]


@with_or_without_ground
@pytest.mark.parametrize(("name", "mode"), MODES)
def test_equals_the_dense_computation_with_gradients(name, mode, ground):
    rng = np.random.default_rng(1)
    make, shape, _ = NETWORKS[name]
    net = make()
    parameters = settle(net, rng)
    net.train(mode == "train")
    x = example(shape, ground, batch_size=3, density=0.5 if len(shape) == 1 else 0.3)
    assert_dense(
        net, lambda grid, arrays: dense(net, grid, arrays), x, parameters, rng=rng, tolerance=BOUND
    )


@every_network
@with_or_without_ground
def test_a_sample_does_not_see_the_others(make, shape, ground):
    net = make()
    settle(net, np.random.default_rng(2))
    x = example(shape, ground)
    together = net(x).data
    for sample in range(x.batch_size):
        rows = x.indices[:, 0] == sample
        indices = x.indices[rows].copy()
        indices[:, 0] = 0
        alone = spconv.SparseConvTensor(x.features.data[rows], indices, shape, 1, x.ground_state)
        assert_close(net(alone).data[0], together[sample], 1e-12, f"sample {sample}")


@every_network
@with_or_without_ground
def test_nothing_active(make, shape, ground):
    net = make().train()
    x = example(shape, ground, density=0)
    loss = functional.cross_entropy(net(x), [0, 1, 2, 3])
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@every_network
def test_same_bits_at_any_number_of_threads(make, shape):
    results = []
    try:
        for threads in (1, 2):
            spconv.set_num_threads(threads)
            net = make().seed(1, 2)
            x = example(shape, dtype=np.float32, batch_size=16, density=0.5)
            loss = functional.cross_entropy(net(x), np.arange(16) % 5)
            loss.backward()
            results.append([loss.data, *(p.grad for p in net.parameters())])
            results[-1] += [array for _, array in net.named_buffers()]
    finally:
        spconv.set_num_threads(None)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@every_network
def test_state_dict_round_trip(make, shape):
    one, two = make(), make(seed=1)
    x = example(shape, dtype=np.float32)
    one(x)
    assert (one.eval()(x).data != two.eval()(x).data).any()
    two.load_state_dict(one.state_dict())
    for layer, other in zip(one, two, strict=True):
        if isinstance(layer, SparseFractionalMaxPool):
            other.eval_seed = layer.eval_seed
    np.testing.assert_array_equal(one(x).data, two(x).data)


@every_network
@with_or_without_ground
def test_freeze(make, shape, ground):
    net = make()
    settle(net, np.random.default_rng(3))
    x = example(shape, ground)
    logits = freeze(net)(x)
    assert_close(logits.data, net(x).data, 1e-12, "logits")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseResNet([], 1, 2), "SparseResNet: widths must hold at least one"),
        (lambda: SparseResNet([4], 1, 2, ndim=5), r"SparseResNet: ndim must be in 1\.\.4, got 5"),
        (lambda: SparseResNet([4], 1, 2, readout="mean"), r"'convolution', got 'mean'"),
        (lambda: SparseResNet([4], 1, 2, field=9), r"the others take none; got readout='average'"),
        (lambda: SparseResNet([4], 1, 2, readout="convolution"), r"needs field.*field=None"),
        (lambda: FMPNet(-1, 4, 1, 2), "FMPNet: l must be at least 0, got -1"),
        (lambda: FMPNet(2, 4, 1, 2, ratio=1), "FMPNet: ratio must be above 1 and at most 2, got 1"),
        (lambda: FMPNet(2, 4, 1, 2, dropout=[0.5]), r"one number or l \+ 3 = 5 of them"),
        (lambda: FMPNet(2, 4, 1, 2, random="some"), r"'pseudorandom' or 'random', got 'some'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: FMPNet(2, 4, 1, 2),
        lambda: SparseResNet([4], 1, 2, readout="convolution", field=9),
    ],
)
def test_inputs_of_another_size(make):
    net = make()
    name, expected = type(net).__name__, (net.field,) * 2
    x = spconv.from_dense(np.eye(14, dtype=np.float32)[None, None])
    with pytest.raises(ValueError, match=rf"{name}: expected spatial_shape \({expected[0]}, "):
        net(x)
    with pytest.raises(TypeError, match=f"{name}: expected a SparseConvTensor, got Tensor"):
        net(x.dense())


def test_the_mnist_network_of_the_paper():
    """(32nC2-FMP sqrt 2)_6-C2-C1-output on 36 x 36, with the dropout of its author's code."""
    rates = [0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0]
    net = FMPNet(6, 32, 1, 10, dropout=rates)
    assert net.field == 36
    assert [layer.p for layer in net if isinstance(layer, spconv.Dropout)] == rates[3:-1]
    x = spconv.from_dense(np.eye(36, dtype=np.float32)[None, None], [0.0])
    extents, widths = [], []
    for layer in net:
        x = layer(x)
        if isinstance(layer, spconv.SparseConv2d | SparseFractionalMaxPool):
            extents.append(x.spatial_shape[0])
        if isinstance(layer, spconv.SparseConv2d):
            widths.append(x.num_channels)
    assert extents == [35, 25, 24, 17, 16, 11, 10, 7, 6, 4, 3, 2, 1, 1]
    assert widths == [32 * n for n in range(1, 9)]
