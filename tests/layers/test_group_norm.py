"""GroupNorm and InstanceNorm against their definition, sample by sample."""

import numpy as np
import pytest

import spconv
from spconv.testing import assert_close, assert_twin, random_sparse_tensor, randomize, reference
from spconv.testing.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("engine")


def example(rng, ndim=2, channels=6, **options):
    options = {"density": 0.4, "shuffle": True, "empty_samples": [2], **options}
    x = random_sparse_tensor(
        rng, (6, 5, 4, 3)[:ndim], 4, channels, ground=False, **{"dtype": np.float64, **options}
    )
    moved = 2 * x.features.numpy() + 3 + x.indices[:, :1]  # samples far from one another
    return x.replace_feature(moved.astype(x.features.dtype))


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_equals_the_definition(ndim, groups):
    rng = np.random.default_rng(1)
    x, layer = example(rng, ndim), spconv.GroupNorm(groups, 6, eps=1e-3)

    def twin(grid, p):
        return reference.group_norm(grid, groups, p["weight"], p["bias"], 1e-3)

    assert_twin(layer, twin, x, randomize(layer, rng), rng=rng, keeps_sites=True)


def test_instance_norm_has_a_group_for_each_channel():
    rng = np.random.default_rng(2)
    x, layer = example(rng), spconv.InstanceNorm(6)

    def twin(grid, p):
        return reference.group_norm(grid, 6, p["weight"], p["bias"])

    assert_twin(layer, twin, x, randomize(layer, rng), rng=rng, keeps_sites=True)
    rows = spconv.InstanceNorm(6)(x).features.data
    for sample in (0, 1, 3):
        own = rows[x.indices[:, 0] == sample]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(own.var(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_no_sites_and_all_of_them(density):
    rng = np.random.default_rng(3)
    x, layer = example(rng, density=density, empty_samples=[]), spconv.GroupNorm(2, 6, eps=1e-3)

    def twin(grid, p):
        return reference.group_norm(grid, 2, p["weight"], p["bias"], 1e-3)

    assert_twin(layer, twin, x, randomize(layer, rng), rng=rng, keeps_sites=True)
    nothing = spconv.SparseConvTensor(np.zeros((0, 6)), np.zeros((0, 2), int), (4,), 0)
    assert layer(nothing).features.shape == (0, 6)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_grid_is_a_sparse_tensor_with_all_sites(ndim):
    rng = np.random.default_rng(10)
    x = example(rng, ndim, density=1.0, empty_samples=[])
    grid, features = spconv.Parameter(x.dense().data), spconv.Parameter(x.features.data)
    dense, sparse = spconv.GroupNorm(2, 6, eps=1e-3), spconv.GroupNorm(2, 6, eps=1e-3)
    randomize(dense, rng)
    sparse.load_state_dict(dense.state_dict())
    y, expected = dense(grid), sparse(x.replace_feature(features)).dense()
    assert_close(y.data, expected.data, tolerance(np.float64))
    weights = rng.standard_normal(grid.shape)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    gradient = x.replace_feature(features.grad).dense().data
    assert_close(grid.grad, gradient, tolerance(np.float64))
    for mine, other in zip(dense.parameters(), sparse.parameters(), strict=True):
        assert_close(mine.grad, other.grad, 10 * tolerance(np.float64))


def test_a_grid_of_no_samples():
    assert spconv.InstanceNorm(3)(spconv.Tensor(np.zeros((0, 3, 4, 5)))).shape == (0, 3, 4, 5)


def test_one_site_becomes_the_bias_and_has_no_gradient():
    features = spconv.Parameter(np.array([[5.0, -7.0]]))
    layer = spconv.InstanceNorm(2)
    layer.bias.data = np.array([0.5, 2.0])
    y = layer(spconv.SparseConvTensor(features, [[1, 2]], (4,), 3))
    np.testing.assert_array_equal(y.features.data, [[0.5, 2.0]])
    (y.features * np.array([[3.0, 1.0]])).sum().backward()
    np.testing.assert_array_equal(features.grad, np.zeros((1, 2)))


def test_a_sample_does_not_depend_on_the_others():
    x, layer = example(np.random.default_rng(4)), spconv.GroupNorm(3, 6)
    own = x.indices[:, 0] == 1
    alone = spconv.functional.prune(x, own)
    np.testing.assert_array_equal(layer(alone).features.data, layer(x).features.data[own])


def test_rows_in_any_order():
    rng = np.random.default_rng(5)
    x, layer = example(rng), spconv.GroupNorm(3, 6)
    order = np.argsort(x.sites.keys)
    sorted_x = spconv.SparseConvTensor(
        x.features.data[order], x.indices[order], x.spatial_shape, x.batch_size
    )
    expected = layer(sorted_x).features.data
    np.testing.assert_allclose(layer(x).features.data[order], expected, atol=1e-13)


def test_float32_far_from_zero():
    """Sums in float64, and squares of what is left less the mean."""
    x = example(np.random.default_rng(6), 2, dtype=np.float32)
    x = x.replace_feature(x.features.data + np.float32(1e4))
    layer = spconv.GroupNorm(2, 6)
    y = layer(x).features
    expected = layer(x.replace_feature(x.features.data.astype(np.float64))).features
    assert (y.dtype, expected.dtype) == (np.float32, np.float64)
    assert_close(y.data, expected.data, 1e4 * tolerance(np.float32))


def test_dropped_channels_count_as_zeros():
    x = example(np.random.default_rng(7))
    kept = spconv.functional.draw_channels(6, 0.5, np.random.default_rng(0))
    dropped = spconv.functional.batchwise_dropout(x, kept)
    layer = spconv.GroupNorm(2, 6)
    expected = layer(spconv.tensor.all_channels(dropped))
    np.testing.assert_array_equal(layer(dropped).features.data, expected.features.data)
    net = spconv.SparseSequential(spconv.BatchwiseDropout(0.5), layer)
    drop = spconv.BatchwiseDropout(0.5).seed(1)
    net[0].seed(1)
    np.testing.assert_array_equal(net(x).features.data, layer(drop(x)).features.data)


@pytest.mark.parametrize("layer", [spconv.GroupNorm(2, 6), spconv.InstanceNorm(6)])
def test_a_frozen_network_keeps_it(layer):
    rng = np.random.default_rng(8)
    net = spconv.SparseSequential(spconv.SubMConv2d(6, 6, 3), layer, spconv.ReLU())
    randomize(net, rng)
    x = example(rng)
    frozen = spconv.inference.freeze(net)
    np.testing.assert_allclose(frozen(x).features.data, net(x).features.data, atol=1e-11)
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("layer", [spconv.GroupNorm(2, 6), spconv.InstanceNorm(6)])
def test_what_it_refuses(layer):
    name = type(layer).__name__
    x = random_sparse_tensor(np.random.default_rng(9), (5, 4), channels=6)
    with pytest.raises(ValueError, match=f"{name}: .* ground state: .* LayerNorm or BatchNorm"):
        layer(x)
    with pytest.raises(ValueError, match=f"{name}: expected 6 input channels, got 4 in features"):
        layer(example(np.random.default_rng(9), channels=4))
    with pytest.raises(ValueError, match=f"{name}: .* grid .* shape .* do not say what sample"):
        layer(x.features)
    with pytest.raises(ValueError, match=f"{name}: expected 6 input channels, got 4"):
        layer(spconv.Tensor(np.zeros((2, 4, 3, 3))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spconv.GroupNorm(4, 6), "num_groups=4 must divide num_channels=6"),
        (lambda: spconv.GroupNorm(0, 6), "num_groups must be at least 1"),
        (lambda: spconv.GroupNorm(2, 6.0), "num_channels must be an int"),
        (lambda: spconv.GroupNorm(2, 6, -1), "eps must be finite"),
        (lambda: spconv.InstanceNorm(0), "num_features must be at least 1"),
    ],
)
def test_what_cannot_be_made(make, message):
    with pytest.raises((TypeError, ValueError), match=f"Norm: {message}"):
        make()
