"""Whole training steps on CUDA arrays, emulated or real, against the same steps on the CPU."""

import numpy as np
import pytest
from fake_cupy import COPIES, RawKernel

import spconv
from spconv.ops.cuda.rulebook import DeviceSites
from spconv.testing import assert_close, tolerance


class Net(spconv.Module):
    """Every kind of layer that has kernels of its own, with a way back up."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.stem = spconv.SubMConv2d(8, 16, 3, rng=rng)
        self.norm = spconv.BatchNorm(16, statistics="all")
        self.down = spconv.SparseConv2d(16, 8, 2, 2, indice_key="down", rng=rng)
        self.up = spconv.SparseInverseConv2d(8, 16, 2, indice_key="down", rng=rng)
        self.pool = spconv.SparseMaxPool2d(2, 2)
        self.mean = spconv.SparseAvgPool2d(2, 1)
        self.head = spconv.Linear(16, 8, rng=rng)

    def forward(self, x):
        x = spconv.functional.leaky_relu(self.norm(self.stem(x)))
        x = x + self.up(spconv.functional.relu(self.down(x)))
        x = self.mean(self.pool(x))
        pooled = spconv.functional.global_avg_pool(x) + spconv.functional.global_max_pool(x)
        return self.head(pooled)


def data(dtype, ground):
    rng = np.random.default_rng(1)
    indices = rng.permutation(np.argwhere(rng.random((3, 9, 8)) < 0.3)).astype(np.int32)
    features = rng.standard_normal((len(indices), 8)).astype(dtype)
    state = rng.standard_normal(8).astype(dtype) if ground else None
    return spconv.SparseConvTensor(features, indices, (9, 8), 3, state), np.array([1, 0, 5])


def train(device, dtype, ground, kind):
    net = Net()
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(dtype)
    net.to(device)
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(spconv.optim, kind)(net.named_parameters(), lr=0.01, **options)
    losses = []
    for _ in range(2):
        x, labels = data(dtype, ground)
        loss = spconv.functional.cross_entropy(net(x.to(device)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, net.state_dict()


@pytest.mark.parametrize(
    ("dtype", "ground", "kind"), [("float64", True, "SGD"), ("float32", False, "Adam")]
)
def test_training(cupy, dtype, ground, kind):
    losses, state = train("cpu", dtype, ground, kind)
    RawKernel.launches.clear()
    device_losses, device_state = train("cuda", dtype, ground, kind)
    limit = 64 * tolerance(dtype, 1000)
    assert_close(np.array(device_losses), np.array(losses), limit)
    assert list(device_state) == list(state)
    for path, values in state.items():
        assert isinstance(device_state[path], np.ndarray)
        # Adam divides by the size of a gradient that may be rounding alone.
        bound = limit if kind == "SGD" else 0.021
        assert_close(device_state[path], values, bound, path)
    if not hasattr(cupy, "emulated"):
        return
    launched = set(RawKernel.launches)
    assert {"lookup", "mark_cells", "list_cells", "max_table", "max_table_gradient"} <= launched
    assert {"sum_table", "leaky_relu", "leaky_relu_gradient", "pack_weights"} <= launched
    assert {"normalize", "moments_gradient", "cross_entropy", "sums"} <= launched
    assert {"sgd" if kind == "SGD" else "adam"} <= launched


def test_two_runs_have_the_same_bits(cupy, monkeypatch):
    runs = []
    for order in ("forward", "random"):
        monkeypatch.setattr(RawKernel, "order", order)
        runs.append(train("cuda", "float32", True, "SGD"))
    assert runs[0][0] == runs[1][0]
    for path, values in runs[0][1].items():
        np.testing.assert_array_equal(values, runs[1][1][path], path)


@pytest.mark.parametrize("ground", [True, False])
def test_a_step_copies_one_count_for_each_rulebook(emulated, ground):
    net = Net().to("cuda")
    adam = spconv.optim.Adam(net.named_parameters(), lr=0.01)
    x, labels = data("float32", ground)
    x = x.to("cuda")
    before = COPIES["to_host"]
    loss = spconv.functional.cross_entropy(net(x), labels)
    loss.backward()
    adam.step()
    assert COPIES["to_host"] - before == len(x.rulebooks._built) == 3


def test_sites_of_outputs_stay_on_the_device(cupy):
    x, _ = data("float32", False)
    rng = np.random.default_rng(0)
    y = spconv.SparseConv2d(8, 16, 2, 2, rng=rng).to("cuda")(x.to("cuda"))
    assert isinstance(y.sites, DeviceSites)
    assert not {"keys", "indices"} & set(vars(y.sites))
    expected = spconv.SparseConv2d(8, 16, 2, 2, rng=rng)(x)
    np.testing.assert_array_equal(y.indices, expected.indices)
    assert y.dense().shape == expected.dense().shape


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_bfloat16_learns(cupy, kind):
    """Float32 parameters, no loss scaler: like float32, to bfloat16's rounding."""
    expected, _ = train("cuda", "float32", False, kind)
    spconv.set_cuda_precision("bfloat16")
    try:
        losses, state = train("cuda", "float32", False, kind)
    finally:
        spconv.set_cuda_precision("float32")
    assert all(values.dtype == np.float32 for values in state.values() if values.dtype.kind == "f")
    assert losses != expected
    assert_close(np.array(losses), np.array(expected), tolerance("bfloat16", 100))


def test_float16_learns(cupy):
    net = Net().to("cuda")
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(np.float16)
    adam = spconv.optim.Adam(net.named_parameters(), lr=0.02)
    scaler, losses = spconv.optim.LossScaler(scale=64.0), []
    for _ in range(4):
        x, labels = data("float32", False)
        x = x.to("cuda")
        x = x.replace_feature(x.features.data.astype(np.float16))
        loss = spconv.functional.cross_entropy(net(x), labels)
        assert loss.dtype == np.float16
        adam.zero_grad()
        scaler.backward(loss)
        assert scaler.step(adam)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
