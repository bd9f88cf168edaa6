"""Layers and models on CUDA arrays against the same on the CPU: emulated, or on a GPU."""

import numpy as np
import pytest
from example_networks import batchwise_dropout_chain

import spconv
from spconv.models import DeepCNet
from spconv.testing import assert_close, tolerance
from spconv.train import train

BOUND = 64 * tolerance("float32", 1000)


def sparse(channels=4, shape=(12, 12), ground=True, seed=0):
    rng = np.random.default_rng(seed)
    indices = np.argwhere(rng.random((2, *shape)) < 0.3).astype(np.int32)
    features = rng.standard_normal((len(indices), channels)).astype(np.float32)
    state = rng.standard_normal(channels).astype(np.float32) if ground else None
    return spconv.SparseConvTensor(features, indices, shape, 2, state)


def everything():
    return spconv.SparseSequential(
        spconv.SubMConv2d(4, 8, 3),
        spconv.BatchNorm(8, statistics="all"),
        spconv.Dropout(0.3),
        spconv.SparseConv2d(8, 8, 2, 2, indice_key="down"),
        spconv.Tanh(),
        spconv.SparseInverseConv2d(8, 8, 2, indice_key="down"),
        spconv.Sigmoid(),
        spconv.LayerNorm(8),
        spconv.SiLU(),
        spconv.SparseAvgPool2d(2),
        spconv.ToDense(),
        spconv.Conv2d(8, 4, 2),
        spconv.BatchNorm(4),
        spconv.LayerNorm(4),
        spconv.GELU(),
        spconv.MaxPool2d(2),
        spconv.Flatten(),
        spconv.Linear(16, 3),
    )


NETWORKS = {
    "chain": batchwise_dropout_chain,
    "everything": everything,
    "DeepCNet": lambda: DeepCNet(2, 8, 4, 5, dropout=[0.3, 0.5, 0.5, 0.5], batchwise=True),
}


def arrays_of(y):
    if isinstance(y, spconv.Tensor):
        return [y]
    return [y.features] if y.ground_state is None else [y.features, y.ground_state]


def run(make, x, device):
    """Results and gradients, as NumPy arrays, of a seeded network."""
    net = make()
    rng = np.random.default_rng(5)
    for parameter in net.parameters():
        parameter.data = rng.standard_normal(parameter.shape).astype(np.float32)
    net.seed(3)
    net.to(device)
    x = x.to(device)
    x.features.requires_grad = True
    if x.ground_state is not None:
        x.ground_state.requires_grad = True
    loss = None
    results = arrays_of(net(x))
    for tensor in results:
        loss = (tensor * tensor).sum() if loss is None else loss + (tensor * tensor).sum()
    (loss * (1 / 64)).backward()
    leaves = [*net.parameters(), *arrays_of(x)]
    gradients = [leaf.grad if device == "cpu" else leaf.grad.get() for leaf in leaves]
    with spconv.no_grad():
        evaluated = arrays_of(net.eval()(x.derive(x.features, x.ground_state)))
    return [tensor.numpy() for tensor in (*results, *evaluated)] + gradients


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_as_on_the_cpu(cupy, make, ground):
    expected = run(make, sparse(ground=ground), "cpu")
    for actual, wanted in zip(run(make, sparse(ground=ground), "cuda"), expected, strict=True):
        assert_close(actual, wanted, BOUND)


@pytest.mark.parametrize("ground", [True, False])
def test_kept_channels(cupy, ground):
    kept = spconv.functional.draw_channels(6, 0.5, np.random.default_rng(1))
    layer = spconv.SubMConv2d(4, 6, 3, rng=np.random.default_rng(0))
    results = []
    for device in ("cpu", "cuda"):
        layer.to(device)
        x = sparse(ground=ground).to(device)
        y = spconv.functional.sparse_conv(x, layer.weight, layer.bias, layer.geometry, keep=kept)
        assert y.features.data.flags.c_contiguous
        results.append(y.dense().numpy())
    assert_close(results[1], results[0], BOUND)


def test_frozen_networks_and_checkpoints(cupy, tmp_path):
    x = sparse(ground=False)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(4, 8, 3), spconv.BatchNorm(8), spconv.ReLU(), spconv.BatchwiseDropout(0.5)
    )
    net(x)
    expected = net.eval()(x).features.data
    adam = spconv.optim.Adam(net.to("cuda").named_parameters(), lr=0.1)
    net.train()(x.to("cuda")).features.sum().backward()
    spconv.optim.clip_grad_norm(adam.parameters.values(), 0.1)
    spconv.save(tmp_path / "net.npz", net, adam)
    frozen = spconv.inference.freeze(net)
    again = net.eval()(x.to("cuda")).features
    assert_close(frozen(x.to("cuda")).features.numpy(), again.numpy(), BOUND)
    adam.step()
    spconv.load(tmp_path / "net.npz").restore(net, adam)
    assert_close(net(x.to("cuda")).features.numpy(), again.numpy(), 0)
    assert expected.shape == again.shape


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # of what is spoilt here
def test_a_training_with_groups_and_what_is_not_finite(cupy):
    net = spconv.SparseSequential(
        spconv.SubMConv2d(4, 8, 3), spconv.BatchNorm(8), spconv.ReLU(), spconv.SparseGlobalAvgPool()
    )
    net.append(spconv.Linear(8, 3)).to("cuda")
    vectors = [(path, p) for path, p in net.named_parameters() if p.ndim == 1]
    others = [(path, p) for path, p in net.named_parameters() if p.ndim > 1]
    groups = [{"params": others}, {"params": vectors, "lr": 0.05, "weight_decay": 0.0}]
    sgd = spconv.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-3)
    x = sparse(ground=False)
    batches = [(x, np.arange(x.batch_size) % 3)] * 2
    options = {"prepare": lambda x: x.to("cuda"), "clip_norm": 5.0, "progress": False}
    history = train(net, batches, sgd, epochs=4, **options)
    assert history.last.loss < history.epochs[0].loss
    net[4].weight.data[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match=r"; not finite to begin with: 4\.weight; "):
        train(net, batches, sgd, epochs=1, **options)
