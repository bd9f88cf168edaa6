"""Sums and concatenations: values, order of sites, ground states, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv
from spconv import functional
from spconv.testing import assert_sparse_equal, assert_twin, random_sparse_tensor, reference

with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def line(sites, values, ground=None, size=5, dtype=np.float64):
    indices = np.array([[0, site] for site in sites], np.int32).reshape(-1, 2)
    features = np.array(values, dtype).reshape(len(sites), -1)
    return spconv.SparseConvTensor(features, indices, (size,), 1, ground)


@with_or_without_ground
def test_equal_sites_keep_their_order(ground):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (4, 5), ground=ground, shuffle=True)
    y = spconv.SparseConvTensor(
        rng.standard_normal(x.features.shape),
        x.indices.copy(),
        x.spatial_shape,
        x.batch_size,
        rng.standard_normal(3) if ground else None,
    )
    for union in (False, True):
        total = functional.add(x, y, union=union)
        expected = spconv.SparseConvTensor(
            x.features.numpy() + y.features.numpy(),
            x.indices,
            x.spatial_shape,
            x.batch_size,
            x.ground_state.numpy() + y.ground_state.numpy() if ground else None,
        )
        if not union:
            assert_sparse_equal(total, expected, tolerance=0)
        np.testing.assert_array_equal(total.dense().numpy(), expected.dense().numpy())
        both = functional.concat([x, y], union=union)
        grids = [x.dense().numpy(), y.dense().numpy()]
        np.testing.assert_array_equal(both.dense().numpy(), np.concatenate(grids, axis=1))


@with_or_without_ground
@pytest.mark.parametrize("union", [False, True])
@pytest.mark.parametrize("slope", [0.0, 1 / 3])
def test_a_rectifier_on_a_sum(ground, union, slope):
    """The numbers and gradients of the two operations."""
    results = []
    for together in (True, False):
        rng = np.random.default_rng(0)
        x = random_sparse_tensor(rng, (4, 5), ground=ground)
        x = x.derive(spconv.Parameter(x.features.data), x.ground_state)
        y = x.derive(spconv.Parameter(rng.standard_normal(x.features.shape)), x.ground_state)
        if together:
            total = functional.add(x, y, union=union, negative_slope=slope)
        else:
            total = functional.leaky_relu(functional.add(x, y, union=union), slope)
        (total.features * total.features).sum().backward()
        grounds = [total.ground_state.numpy()] if ground else []
        results.append([total.features.numpy(), x.features.grad, y.features.grad, *grounds])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="add: negative_slope must be"):
        functional.add(x, y, union=union, negative_slope=-1.0)


@given(
    densities=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=2, max_size=2),
    ndim=st.integers(1, 4),
    ground=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_union(densities, ndim, ground, shuffle, seed):
    rng = np.random.default_rng(seed)
    x, y = (
        random_sparse_tensor(rng, (4, 3, 3, 2)[:ndim], density=d, ground=ground, shuffle=shuffle)
        for d in densities
    )
    same = x.indices.shape == y.indices.shape and (x.indices == y.indices).all()
    other = spconv.testing.to_grid(y)
    options = {"rng": rng, "keeps_sites": same}
    assert_twin(
        lambda x: functional.add(x, y, union=True),
        lambda grid, _: reference.add(grid, other),
        x,
        **options,
    )
    assert_twin(
        lambda x: functional.concat([y, x], union=True),
        lambda grid, _: reference.concat([other, grid]),
        x,
        **options,
    )


def test_union_reads_the_ground_where_one_is_inactive():
    x, y = line([3, 1], [3, 1], [10.0]), line([0, 1], [7, 8], [20.0])
    total = functional.add(x, y, union=True)
    np.testing.assert_array_equal(total.indices, [[0, 0], [0, 1], [0, 3]])
    np.testing.assert_array_equal(total.features.numpy(), [[17], [9], [23]])
    np.testing.assert_array_equal(total.ground_state.numpy(), [30])
    bare = functional.concat([line([3], [3]), line([0], [7])], union=True)
    np.testing.assert_array_equal(bare.features.numpy(), [[0, 7], [3, 0]])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (line([2, 1], [1, 2]), "different sites"),
        (line([1, 2], [1, 2], size=6), "different grids"),
        (line([1, 2], [1, 2], [0.0]), "ground state"),
    ],
)
@pytest.mark.parametrize("join", ["add", "concat"])
def test_what_cannot_be_joined(join, other, message):
    x = line([1, 2], [1, 2])
    arguments = ([x, other],) if join == "concat" else (x, other)
    with pytest.raises(ValueError, match=f"{join}: .*{message}"):
        getattr(functional, join)(*arguments)


def test_the_same_sites_in_another_order_are_different_sites():
    x, y = line([1, 2], [1, 2]), line([2, 1], [20, 10])
    np.testing.assert_array_equal(functional.add(x, y, union=True).features.numpy(), [[11], [22]])


def test_channels_have_to_agree_in_sums_only():
    x, y = line([1], [1]), line([1], [[2, 3]])
    with pytest.raises(ValueError, match="add: expected equal channels, got 1 and 2"):
        functional.add(x, y)
    np.testing.assert_array_equal(functional.concat([x, y]).features.numpy(), [[1, 2, 3]])
    with pytest.raises(ValueError, match="concat: expected at least one"):
        functional.concat([])


@with_or_without_ground
def test_sums_know_of_dropped_channels(ground):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (4, 5), channels=4, ground=ground)
    dropped = [
        functional.batchwise_dropout(x, functional.draw_channels(4, 0.5, np.random.default_rng(n)))
        for n in (0, 1)
    ]
    assert not np.array_equal(dropped[0].channels.slots, dropped[1].channels.slots)
    expected = dropped[0].dense().numpy() + dropped[1].dense().numpy()
    for total in (dropped[0] + dropped[1], functional.add(*dropped)):
        np.testing.assert_array_equal(total.dense().numpy(), expected)


def test_a_tensor_that_stays_keeps_nothing_of_those_that_pass_by():
    stays = line([0, 2], [1, 2])
    for site in (1, 3, 4):
        total = functional.add(stays, line([site], [1]), union=True)
        spconv.SubMConv1d(1, 1, 3)(total)
        total = functional.add(line([site], [1]), stays, union=True)
        spconv.SubMConv1d(1, 1, 3)(total)
    assert not stays.rulebooks._built
    assert not stays.rulebooks._unions


def test_the_ground_states_gradient_is_that_of_the_new_sites_alone():
    """Not a difference of two large sums, which has no digits left."""
    n = 300_000
    rng = np.random.default_rng(0)
    ground = spconv.Tensor(np.zeros(1, np.float32), requires_grad=True)
    sites = np.stack([np.zeros(n, np.int32), np.arange(n, dtype=np.int32)], axis=1)
    x = spconv.SparseConvTensor(np.zeros((n - 2, 1), np.float32), sites[2:], (n,), 1, ground)
    y = spconv.SparseConvTensor(
        np.zeros((n, 1), np.float32), sites, (n,), 1, np.zeros(1, np.float32)
    )
    gradient = rng.random((n, 1), np.float32)
    functional.add(x, y, union=True).features.backward(gradient)
    np.testing.assert_allclose(ground.grad, gradient[:2].sum(0), rtol=1e-6)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_sum_knows_the_rulebooks_of_both(swapped):
    x = line([0, 2, 3], [1, 2, 3], size=6)
    pool = spconv.SparseFractionalMaxPool1d(1.5).eval()
    one, two = pool(x), pool(x)
    named = spconv.SparseConv1d(1, 1, 2, 2, indice_key="k")(two)
    other = spconv.SparseConv1d(1, 1, 2, 2)(one)
    total = named + other if swapped else other + named
    assert spconv.SparseInverseConv1d(1, 1, 2, "k")(total).spatial_shape == one.spatial_shape


@pytest.mark.parametrize("join", ["add", "concat"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("sites", ["equal", "equal, union", "some"])
def test_what_is_joined_knows_the_names_of_all(sites, swapped, join):
    x = line([0, 2, 5], [1, 2, 3], size=6)
    named = spconv.SparseConv1d(1, 1, 2, 2, indice_key="k")(x)
    rows = named.indices[:, 1] if sites != "some" else [1]
    other = line(rows, np.ones(len(rows)), size=3)
    pair = [named, other] if swapped else [other, named]
    union = {"union": sites != "equal"}
    y = functional.add(*pair, **union) if join == "add" else functional.concat(pair, **union)
    np.testing.assert_array_equal(y.indices, named.indices)
    up = spconv.SparseInverseConv1d(y.num_channels, 1, 2, "k")(y)
    np.testing.assert_array_equal(up.indices, x.indices)
    assert not other.rulebooks._named
