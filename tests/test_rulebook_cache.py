"""Rulebooks that are shared and named."""

import numpy as np
import pytest

import spconv
from spconv.geometry import Geometry
from spconv.rulebook_cache import RulebookCache
from spconv.sites import SiteSet


def some_sites(seed=0):
    rng = np.random.default_rng(seed)
    indices = np.argwhere(rng.random((2, 6, 6)) < 0.3)
    return SiteSet(np.ascontiguousarray(indices, np.int32), (6, 6), 2)


SUBM = Geometry.make(2, 3, submanifold=True)
DOWN = Geometry.make(2, 2, 2)


def test_cache_builds_once_per_sites_and_geometry():
    cache, sites = RulebookCache(), some_sites()
    book = cache.get(sites, SUBM)
    assert cache.get(sites, Geometry.make(2, (3, 3), submanifold=True)) is book
    assert cache.get(sites, Geometry.make(2, 3, dilation=2, submanifold=True)) is not book
    assert cache.get(some_sites(1), SUBM) is not book
    assert RulebookCache().get(sites, SUBM) is not book


def test_a_stack_of_submanifold_layers_shares_one_rulebook(monkeypatch):
    built = []
    build = spconv.rulebook.build
    monkeypatch.setattr(
        spconv.ops.base, "build", lambda *arguments: built.append(1) or build(*arguments)
    )
    layers = [spconv.SubMConv2d(1, 1, 3), spconv.ReLU(), spconv.BatchNorm(1), spconv.Dropout(0.1)]
    net = spconv.SparseSequential(*layers, spconv.SubMConv2d(1, 1, 3), spconv.SubMConv2d(1, 1, 1))
    x = spconv.from_dense(np.eye(5)[None, None])
    net(x)
    assert len(built) == 2  # kernels of size 3 and 1
    net(x)
    net(x.replace_feature(x.features.data + 1))
    assert len(built) == 2


def test_names():
    cache, sites = RulebookCache(), some_sites()
    down = cache.get(sites, DOWN, "Conv", "down")
    assert cache.named("down", "Inverse") is down
    assert cache.get(sites, DOWN, "Conv", "down") is down
    assert cache.get(sites, DOWN, "Conv", "also") is down
    assert cache.get(sites, SUBM, "Conv") is not down
    with pytest.raises(
        ValueError, match=r"Inverse: no earlier layer .* 'up'; known keys: .*'also'"
    ):
        cache.named("up", "Inverse")
    with pytest.raises(ValueError, match="known keys: none"):
        RulebookCache().named("up", "Inverse")


def test_what_it_holds_is_shown():
    cache, sites = RulebookCache(), some_sites()
    assert repr(cache) == "RulebookCache(0 rulebooks, 0 unions, indice_keys=[])"
    cache.get(sites, DOWN, "Conv", "down")
    cache.get(sites, SUBM)
    cache.union((sites, some_sites(1)))
    assert repr(cache) == "RulebookCache(2 rulebooks, 1 unions, indice_keys=['down'])"


@pytest.mark.parametrize("other", ["geometry", "sites"])
def test_a_name_is_given_once(other):
    cache, sites = RulebookCache(), some_sites()
    cache.get(sites, DOWN, "Conv", "a")
    arguments = (sites, SUBM) if other == "geometry" else (some_sites(1), DOWN)
    with pytest.raises(ValueError, match="Conv: indice_key 'a' already names Rulebook"):
        cache.get(*arguments, "Conv", "a")


def test_two_networks_with_one_key_need_an_input_each():
    def arguments():
        return np.ones((2, 1), np.float32), [[0, 1, 1], [0, 2, 3]], (6, 6), 1

    one, other = (spconv.SparseConv2d(1, 1, size, 2, indice_key="down") for size in (2, 3))
    x = spconv.SparseConvTensor(*arguments())
    one(x)
    message = (
        r"key of their own\. The key lives in the input .* a fresh SparseConvTensor of the same"
    )
    with pytest.raises(ValueError, match=message):
        other(x)
    other(spconv.SparseConvTensor(*arguments()))


def test_inverse_conv_wants_the_layer_and_its_kernel():
    x = spconv.from_dense(np.eye(6, dtype=np.float32)[None, None])
    down = spconv.SparseConv2d(1, 2, 2, stride=2, indice_key="down")
    y = down(x)
    up = spconv.SparseInverseConv2d(2, 1, 2, indice_key="down")
    np.testing.assert_array_equal(up(y).indices, x.indices)
    with pytest.raises(ValueError, match="SparseInverseConv2d: no earlier layer saved a rulebook"):
        spconv.SparseInverseConv2d(2, 1, 2, indice_key="other")(y)
    with pytest.raises(ValueError, match=r"kernel_size \(2, 2\), 4 offsets, but the weight has 9"):
        spconv.SparseInverseConv2d(2, 1, 3, indice_key="down")(y)
    again = spconv.SparseConv2d(2, 2, 2)(y)
    with pytest.raises(ValueError, match="the rulebook 'down' leads to 3 sites in batch_size 1"):
        up(again)
    with pytest.raises(ValueError, match="SparseConv2d: indice_key 'down' already names"):
        spconv.SparseConv2d(2, 2, 2, stride=2, indice_key="down")(y)


def test_a_branch_knows_all_and_keeps_what_it_learns():
    cache, sites = RulebookCache(), some_sites()
    known = cache.get(sites, SUBM, name="known")
    branch = cache.branch()
    assert branch.named("known") is known
    branch.get(sites, DOWN, name="new")
    with pytest.raises(ValueError, match="no earlier layer saved a rulebook as indice_key 'new'"):
        cache.named("new")
