import numpy as np
import pytest
from training.counting import count_network

import spconv
from spconv.models import DeepCNet, dense_twin


def image(active, size=12):
    rng = np.random.default_rng(0)
    grid = rng.uniform(1, 2, (2, 1, size, size)) * (rng.random((2, 1, size, size)) < active)
    return spconv.from_dense(grid.astype("f4"), ground_state=[0.0])


def total(counts, name="multiply_adds"):
    return sum(getattr(count, name) for count in counts)


def test_on_a_full_grid_sparse_and_dense_cost_the_same():
    net, x = DeepCNet(2, 4, 1, 10), image(1.0)
    counts = count_network(net, x)
    assert total(counts) == total(counts, "dense_multiply_adds")
    twin = count_network(dense_twin(net), x.dense())
    work, twin_work = ([c.multiply_adds for c in n if c.multiply_adds] for n in (counts, twin))
    assert twin_work == work
    assert [c.layer for c in counts][:3] == ["SparseConv2d", "LeakyReLU", "SparseMaxPool2d"]
    # 2 samples x (10 x 10 outputs x 9 taps x 1 x 4), then 4 x 4 outputs x 4 taps x 4 x 8.
    convolutions = [c.multiply_adds for c in counts if c.layer == "SparseConv2d"]
    assert convolutions[:2] == [2 * 100 * 9 * 4, 2 * 16 * 4 * 32]
    assert counts[-1].multiply_adds == 2 * 12 * 10


def test_pairs_are_active_sites_under_the_kernel():
    x = image(0.2)
    active = x.dense().data[:, 0] != 0
    windows = np.lib.stride_tricks.sliding_window_view(active, (3, 3), axis=(1, 2))
    (count,) = count_network(spconv.SparseConv2d(1, 5, 3), x)
    assert count.pairs == windows.sum()
    assert count.sites == windows.any(axis=(3, 4)).sum()
    assert count.grid == 200
    assert count.channels == 5
    assert count.multiply_adds == 5 * count.pairs
    assert count.dense_multiply_adds == 200 * 9 * 5


@pytest.mark.parametrize("kind", [spconv.SparseConv2d, spconv.SparseConvTranspose2d])
def test_there_and_back_costs_the_same(kind):
    net = spconv.SparseSequential(
        kind(1, 3, 2, stride=2, indice_key="there"), spconv.SparseInverseConv2d(3, 1, 2, "there")
    )
    there, back = count_network(net, image(0.3))
    assert there.multiply_adds == back.multiply_adds == 3 * there.pairs
    assert there.dense_multiply_adds == back.dense_multiply_adds


def test_a_layer_that_is_used_twice_counts_twice_and_nothing_stays_behind():
    layer = spconv.SubMConv2d(1, 1, 3)
    net = spconv.SparseSequential(layer, spconv.ReLU(), layer).train()
    first, _, second = count_network(net, image(0.3))
    assert first == second
    assert net.training
    assert "forward" not in vars(layer)


def test_layers_are_restored_after_an_error():
    net = DeepCNet(2, 4, 1, 10)
    with pytest.raises(ValueError, match="expected a field"):
        count_network(net, image(0.3, size=14))
    assert not any("forward" in vars(layer) for _, layer in net.named_modules())
