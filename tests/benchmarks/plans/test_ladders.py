import doctest

import numpy as np
import pytest
from mnist_slow_pooling import NETWORKS
from plans import ladders
from plans.ladders import Ladder, deepc2_levels, deepcnet_levels, edges

import spconv
from spconv.models import DeepC2, DeepCNet


def test_examples_in_the_docstrings():
    assert doctest.testmod(ladders).failed == 0


@pytest.mark.parametrize(
    ("network", "levels"), [(DeepCNet, deepcnet_levels), (DeepC2, deepc2_levels)]
)
def test_the_levels_of_a_network_are_that_network(network, levels):
    net, ladder = network(3, 4, 1, 10, seed=5), Ladder(levels(3), 4, 10, 0.0, seed=5)
    assert ladder.field == net.field
    own, other = ladder.state_dict(), net.state_dict()
    assert own.keys() == other.keys()
    assert all(np.array_equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_ends_in_one_site(name):
    levels = NETWORKS[name]
    net = Ladder(levels, 2, 10, 0.5, seed=0)
    # MNIST's 28 x 28 and the padding of its augmentation.
    assert net.field >= 36
    grid = np.zeros((2, 1, net.field, net.field), "f4")
    grid[..., 10:20, 15] = 1
    x = spconv.from_dense(grid, ground_state=[0.0])
    counts = spconv.summary(net, x).layers
    grids = [count.grid // 2 for count in counts if "Pool" in count.layer]
    assert grids == [edge**2 for edge in edges(levels)[1:-1]]
    assert counts[-1].channels == 10
