import numpy as np
import pytest

import spconv
from spconv.counting import observed
from spconv.functional import prune
from spconv.models import DeepCNet, dense_twin


def image(active, size=12):
    rng = np.random.default_rng(0)
    grid = rng.uniform(1, 2, (2, 1, size, size)) * (rng.random((2, 1, size, size)) < active)
    return spconv.from_dense(grid.astype("f4"), ground_state=[0.0])


def total(counts, name="multiply_adds"):
    return sum(getattr(count, name) for count in counts)


def test_on_a_full_grid_sparse_and_dense_cost_the_same():
    net, x = DeepCNet(2, 4, 1, 10), image(1.0)
    counts = spconv.summary(net, x).layers
    assert total(counts) == total(counts, "dense_multiply_adds")
    twin = spconv.summary(dense_twin(net), x.dense()).layers
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
    (count,) = spconv.summary(spconv.SparseConv2d(1, 5, 3), x).layers
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
    there, back = spconv.summary(net, image(0.3)).layers
    assert there.multiply_adds == back.multiply_adds == 3 * there.pairs
    assert there.dense_multiply_adds == back.dense_multiply_adds


def test_a_layer_that_is_used_twice_counts_twice_and_nothing_stays_behind():
    layer = spconv.SubMConv2d(1, 1, 3)
    net = spconv.SparseSequential(layer, spconv.ReLU(), layer).train()
    first, _, second = spconv.summary(net, image(0.3)).layers
    assert first == second
    assert net.training
    assert "forward" not in vars(layer)


def test_a_forward_of_one_object_is_counted_and_stays():
    layer = spconv.SubMConv2d(1, 2, 3)
    plain = layer.forward
    layer.forward = twice = lambda x: plain(x) + plain(x)
    assert spconv.summary(layer, image(0.3)).layers[0].channels == 2
    assert layer.forward is twice


def test_modes_come_back_as_they_were():
    net = spconv.SparseSequential(spconv.SubMConv2d(1, 2, 3), spconv.BatchNorm(2)).train()
    net[1].eval()
    before = net[1].running_mean.copy()
    spconv.summary(net, image(0.3))
    assert [module.training for _, module in net.named_modules()] == [True, True, False]
    assert np.array_equal(net[1].running_mean, before)


def test_groups_grids_upwards_and_a_stride_of_grids():
    x = spconv.from_dense(np.ones((2, 4, 6, 6), "f4"))
    grouped = spconv.summary(spconv.SubMConv2d(4, 8, 1, groups=2), x)
    assert grouped.multiply_adds == grouped.dense_multiply_adds == 72 * 2 * 8
    up = spconv.summary(spconv.ConvTranspose2d(4, 3, 2, stride=2), x.dense())
    assert (up.layers[0].grid, up.multiply_adds) == (2 * 144, 72 * 4 * 4 * 3)
    down = spconv.summary(spconv.Conv2d(4, 3, 2, stride=2), x.dense())
    assert (down.layers[0].sites, down.multiply_adds) == (18, 18 * 4 * 4 * 3)


def test_a_frozen_network_counts_as_much():
    net = spconv.SparseSequential(
        spconv.SubMConv2d(1, 4, 3, bias=False), spconv.BatchNorm(4), spconv.ReLU()
    )
    whole, frozen = (spconv.summary(n, image(0.3)) for n in (net, spconv.inference.freeze(net)))
    assert frozen.multiply_adds == whole.multiply_adds > 0
    assert [count.path for count in frozen.layers] == ["0.layer"]


class Pair(spconv.Module):
    """Gives two things, takes its input by name."""

    def forward(self, *, x):
        return x, x


class Outer(spconv.Module):
    def __init__(self):
        self.pair, self.layer = Pair(), spconv.SubMConv2d(1, 2, 3)
        self.scale = spconv.Parameter(np.ones(1, "f4"))

    def forward(self, x):
        first, _ = self.pair(x=x)
        return self.layer(first)


def test_what_a_user_writes_is_counted_as_far_as_it_is_known():
    found = spconv.summary(Outer(), image(0.3))
    pair, layer = found.layers
    assert (pair.layer, pair.sites, pair.channels, pair.multiply_adds) == ("Pair", 0, 0, 0)
    assert layer.multiply_adds == 2 * layer.pairs > 0
    assert found.parameters == 1 + layer.parameters


def test_a_dense_layer_computes_what_a_sparse_one_has_no_pair_for():
    x = spconv.SparseConvTensor(np.ones((1, 1), "f4"), [[0, 7, 7]], (8, 8), 1)
    found = spconv.summary(spconv.SparseConv2d(1, 8, 3, 2), x)  # no window reaches the site
    assert (found.layers[0].pairs, found.multiply_adds) == (0, 0)
    assert found.dense_multiply_adds == 9 * 9 * 8


def test_of_an_empty_tensor():
    x = spconv.SparseConvTensor(np.ones((0, 1), "f4"), np.zeros((0, 3), int), (8, 8), 1)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(1, 8, 3),
        spconv.SparseConv2d(8, 4, 2, 2, indice_key="down"),
        spconv.SparseInverseConv2d(4, 2, 2, "down"),
        spconv.SparseMaxPool2d(2),
        spconv.Linear(2, 3),
    )
    found = spconv.summary(net, x).layers
    assert [count.multiply_adds for count in found] == [0] * 5
    inner = 16 * 4 * 8 * 4, 16 * 4 * 4 * 2
    assert [c.dense_multiply_adds for c in found] == [64 * 9 * 8, *inner, 0, 16 * 2 * 3]


class Lifting(spconv.SubMConv3d):
    """On the sites of a plane in the middle of a space."""

    def forward(self, x):
        sites = np.insert(x.indices, 1, 1, axis=1)
        shape = 3, *x.spatial_shape
        return super().forward(spconv.SparseConvTensor(x.features, sites, shape, x.batch_size))


class Halving(spconv.SubMConv2d):
    def forward(self, x):
        return super().forward(prune(x, np.arange(len(x)) % 2 == 0))


@pytest.mark.parametrize("kind", [Lifting, Halving])
def test_pairs_that_cannot_be_told_are_unknown(kind):
    x = spconv.from_dense(image(0.4).dense().data)
    (count,) = spconv.summary(kind(1, 2, 3), x).layers
    assert (count.pairs, count.multiply_adds, count.dense_multiply_adds) == (0, 0, 0)
    assert count.parameters > 0
    assert not x.rulebooks._built


class Pruned(spconv.SubMConv2d):
    def forward(self, x, residual=None):
        return prune(super().forward(x, residual=residual), np.arange(len(x)) % 2 == 0)


class Grid(spconv.SparseConv2d):
    def forward(self, x):
        return super().forward(x).dense()


@pytest.mark.parametrize(
    ("kind", "plain"), [(Pruned, spconv.SubMConv2d), (Grid, spconv.SparseConv2d)]
)
def test_a_forward_that_goes_on_behind_the_layer_counts_its_pairs(kind, plain):
    x = image(0.4)
    (expected,) = spconv.summary(plain(1, 2, 3), x).layers
    (count,) = spconv.summary(kind(1, 2, 3), x).layers
    assert count.pairs == expected.pairs > 0
    assert count.multiply_adds == expected.multiply_adds


class Anything(spconv.Module):
    def forward(self, *inputs, **options):
        return inputs, options


class Named(spconv.Module):
    def __init__(self):
        self.layer = spconv.SubMConv2d(1, 1, 3)

    def forward(self, x):
        return self.layer(negative_slope=0.0, x=x)


def test_the_input_is_what_forward_names_first():
    x, net = image(0.4), Named()
    (expected,) = spconv.summary(net.layer, x).layers
    (count,) = spconv.summary(net, x).layers
    assert (count.pairs, count.multiply_adds) == (expected.pairs, expected.multiply_adds)
    seen = []
    with observed(net, lambda path, layer, x, y: seen.append(x)):
        net.layer(x, negative_slope=0.0)
        net.layer(negative_slope=0.0, x=x)
    assert [given is x for given in seen] == [True, True]
    net, seen = Anything(), []
    with observed(net, lambda path, layer, x, y: seen.append(x)):
        net(1, a=2), net(a=2), net()
    assert seen == [1, 2, None]


def test_a_table_is_printed():
    net = spconv.SparseSequential(spconv.SubMConv2d(1, 2, 3), spconv.ToDense(), spconv.Flatten())
    found = spconv.summary(net, image(1.0))
    head, *rows, end = str(found).splitlines()
    assert head.split()[:5] == ["path", "layer", "channels", "sites", "active"]
    assert [row.split()[1] for row in rows] == ["SubMConv2d", "ToDense", "Flatten"]
    assert rows[0].split()[3:5] == ["288", "100.0%"]
    assert end.startswith(f"{found.multiply_adds:,} multiply-adds, {288 * 18:,} on whole grids")
    assert end.endswith("20 parameters")
    assert len({len(row) for row in rows}) == 1


def test_of_no_module():
    with pytest.raises(TypeError, match="summary: expected a Module, got"):
        spconv.summary(image, image(0.3))


def test_layers_are_restored_after_an_error():
    net = DeepCNet(2, 4, 1, 10)
    with pytest.raises(ValueError, match="expected a field"):
        spconv.summary(net, image(0.3, size=14))
    assert not any("forward" in vars(layer) for _, layer in net.named_modules())
