"""SparseUNet: back to the sites it came from, sums within its convolutions, frozen the same."""

import numpy as np
import pytest
from dense_networks import assert_dense, dense, settle

import spconv
from spconv.functional import cross_entropy
from spconv.inference import freeze
from spconv.models import SparseUNet
from spconv.ops import CpuOps
from spconv.testing import random_sparse_tensor, reference


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (9, 8, 8), 2, 4, 0.3, ground=False)
    net = SparseUNet((4, 6, 8), 4, 5)
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(np.float64)
    net(x)  # running statistics
    return net, x


def sums(monkeypatch, function):
    """How many sums of features a function takes."""
    count = []
    for owner, name in ((spconv.Tensor, "__add__"), (CpuOps, "add_rectified")):
        add = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, add=add: count.append(1) or add(*given))
    function()
    return len(count)


def test_a_frozen_network_adds_within_its_convolutions(monkeypatch, example):
    net, x = example
    expected = net.eval()(x).data
    frozen = freeze(net)
    error = np.abs(frozen(x).data - expected).max()
    assert error <= 1e-12 * np.abs(expected).max()
    assert sums(monkeypatch, lambda: frozen(x)) == 0


def test_skips_are_added_on_the_way_up(monkeypatch, example):
    """In training too; the stages' own sums stand behind a normalization."""
    net, x = example
    assert sums(monkeypatch, lambda: net.train()(x)) == len(net.down_stages) + len(net.up_stages)


def twin(net, grid, arrays, indices):
    """The network in the plain definitions of ``reference``; logits of the sites ``indices``."""
    sites = {}

    def part(layer, grid, path):
        return dense(layer, grid, arrays, path, sites)

    grid = part(net.down_stages[0], part(net.stem, grid, "stem"), "down_stages.0")
    kept = []
    for i, down in enumerate(net.down):
        kept.append(grid)
        grid = part(net.down_stages[i + 1], part(down, grid, f"down.{i}"), f"down_stages.{i + 1}")
    for i in reversed(range(len(net.up))):
        grid = reference.add(part(net.up[i], grid, f"up.{i}"), kept[i])
        grid = part(net.up_stages[i], grid, f"up_stages.{i}")
    rows = np.moveaxis(grid.values, 1, -1)[tuple(indices.T)]
    return rows @ arrays["head.weight"] + arrays["head.bias"]


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
@pytest.mark.parametrize("shape", [(13,), (7, 6), (4, 5, 4)])
def test_equals_the_dense_computation_with_gradients(shape, ground, mode):
    rng = np.random.default_rng(1)
    net = SparseUNet([3, 4, 2], 2, 5, ndim=len(shape), blocks=1)
    parameters = settle(net, rng)
    net.train(mode == "train")
    x = random_sparse_tensor(rng, shape, 3, 2, 0.4, ground=ground, shuffle=True, empty_samples=(1,))
    assert_dense(
        net,
        lambda grid, arrays: twin(net, grid, arrays, x.indices),
        x,
        parameters,
        rng=rng,
        tolerance=1e-10,
    )


def test_parts_and_parameters():
    net = SparseUNet([4, 6], 2, 5, blocks=2)
    residual = lambda width: 2 * 27 * width**2 + 4 * width  # noqa: E731
    ends = 27 * 2 * 4 + 4 + 4 * 5 + 5
    bridges = 8 * 4 * 6 + 6 + 8 * 6 * 4 + 4
    assert net.num_parameters() == ends + bridges + 2 * (2 * residual(4) + residual(6))
    assert SparseUNet([4, 6], 2, 5, ndim=2, blocks=0).num_parameters() == (
        9 * 2 * 4 + 4 + 4 * 4 * 6 + 6 + 4 * 6 * 4 + 4 + 4 * 5 + 5
    )


def nothing(shape):
    return spconv.SparseConvTensor(np.zeros((0, 1), np.float32), [], shape, 2)


def test_no_sites():
    assert SparseUNet([2, 3, 4], 1, 5)(nothing((6, 5, 7))).shape == (0, 5)


def test_a_grid_that_is_too_small_to_be_halved():
    with pytest.raises(ValueError, match="SparseConv3d"):
        SparseUNet([2, 3, 4], 1, 5)(nothing((2, 2, 2)))


def test_it_learns_the_class_of_every_site():
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (12, 12, 12), 2, 1, 0.1, np.float32, ground=False)
    labels = (x.indices[:, 1:] < 6).sum(1)  # in which corner: nothing of it is in the features
    net = SparseUNet([8, 12, 16], 1, 4)
    sgd = spconv.optim.Adam(net.named_parameters(), lr=0.01)
    for _ in range(60):
        sgd.zero_grad()
        logits = net(x)
        cross_entropy(logits, labels).backward()
        sgd.step()
    assert (logits.data.argmax(1) == labels).mean() > 0.99


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [
        ([], {}, "at least one"),
        ([4], {"ndim": 5}, r"ndim must be in 1\.\.4, got 5"),
        ([4], {"blocks": -1}, "blocks must be at least 0, got -1"),
    ],
)
def test_errors(widths, options, message):
    with pytest.raises(ValueError, match=f"SparseUNet: .*{message}"):
        SparseUNet(widths, 1, 2, **options)


def test_a_tensor_of_other_dimensions_is_refused():
    x = random_sparse_tensor(np.random.default_rng(0), (4, 4), 1, 1)
    with pytest.raises(ValueError, match="SparseUNet"):
        SparseUNet([2], 1, 2)(x)
