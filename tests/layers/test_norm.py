"""BatchNorm in both statistics against its definition, and its running statistics."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.testing import (
    assert_close,
    assert_twin,
    random_sparse_tensor,
    randomize,
    reference,
    to_grid,
    tolerance,
)

pytestmark = pytest.mark.usefixtures("engine")

with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
both_statistics = pytest.mark.parametrize("statistics", ["active", "all"])


def example(rng, ndim=2, ground=True, **options):
    x = random_sparse_tensor(
        rng, (6, 5, 4, 3)[:ndim], 3, 4, ground=ground, shuffle=True, empty_samples=[2], **options
    )
    moved = 2 * x.features.numpy() + 3
    return spconv.SparseConvTensor(moved, x.indices, x.spatial_shape, x.batch_size, x.ground_state)


def dense_layer(statistics):
    def twin(grid, p):
        return reference.batch_norm(grid, p["weight"], p["bias"], statistics=statistics)

    return twin


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("statistics", "ground"), [("active", True), ("active", False), ("all", True), ("all", False)]
)
def test_training(ndim, statistics, ground):
    rng = np.random.default_rng(1)
    x = example(rng, ndim, ground)
    layer = spconv.BatchNorm(4, statistics=statistics)
    parameters = randomize(layer, rng)
    assert_twin(layer, dense_layer(statistics), x, parameters, rng=rng, keeps_sites=True)


@both_statistics
@with_or_without_ground
def test_evaluation_uses_the_running_statistics(statistics, ground):
    rng = np.random.default_rng(2)
    x = example(rng, ground=ground)
    layer = spconv.BatchNorm(4, eps=1e-3, statistics=statistics)
    parameters = randomize(layer, rng)
    mean, var = rng.standard_normal(4), 1 + rng.random(4)
    layer.load_state_dict(
        {
            key: {"mean": mean, "var": var}.get(key.split("_")[-1], value)
            for key, value in layer.state_dict().items()
        }
    )
    layer.eval()
    before = layer.state_dict()

    def twin(grid, p):
        return reference.batch_norm(grid, p["weight"], p["bias"], eps=1e-3, mean=mean, var=var)

    assert_twin(layer, twin, x, parameters, rng=rng, keeps_sites=True)
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def running(layer):
    buffers = dict(layer.named_buffers())
    return buffers["running_mean"], buffers["running_var"]


@both_statistics
def test_running_statistics_move_by_the_momentum_with_unbiased_variance(statistics):
    rng = np.random.default_rng(3)
    x = example(rng)
    layer = spconv.BatchNorm(4, momentum=0.2, statistics=statistics)
    randomize(layer, rng)
    layer(x)
    mean, var, count = reference.batch_statistics(to_grid(x), statistics)
    np.testing.assert_allclose(running(layer)[0], 0.2 * mean, rtol=1e-6)
    np.testing.assert_allclose(running(layer)[1], 0.8 + 0.2 * var * count / (count - 1), rtol=1e-6)


def test_all_statistics_are_those_of_the_dense_layer():
    rng = np.random.default_rng(4)
    x = example(rng)
    layer = spconv.BatchNorm(4, statistics="all")
    randomize(layer, rng)
    layer.weight.data, layer.bias.data = np.ones(4), np.zeros(4)
    dense = layer(x).dense().numpy()
    np.testing.assert_allclose(dense.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(dense.var((0, 2, 3)), 1, atol=1e-4)


@with_or_without_ground
@pytest.mark.parametrize("count", [0, 1])
def test_zero_and_one_site_stay_finite(count, ground):
    rng = np.random.default_rng(5)
    sites = np.array([[1, 2, 3]], np.int32)[:count]
    features = spconv.Tensor(rng.standard_normal((count, 4)), requires_grad=True)
    g = rng.standard_normal(4) if ground else None
    layer = spconv.BatchNorm(4)
    out = layer(spconv.SparseConvTensor(features, sites, (4, 5), 2, g))
    assert out.features.shape == (count, 4)
    assert np.isfinite(out.dense().numpy()).all()
    out.dense().sum().backward()
    assert np.isfinite(features.grad).all()
    assert all(np.isfinite(buffer).all() for buffer in running(layer))


def test_the_mean_of_a_ground_state_alone_is_where_it_is():
    ground = spconv.Tensor(np.array([1e25, -3.0], np.float32))
    rows = spconv.Tensor(np.zeros((0, 2), np.float32))
    np.testing.assert_array_equal(functional.moments(rows, ground, 4).data, np.zeros((2, 2)))


def gradients_on_a_large_grid(dtype, extent, ground_scale):
    """Through a convolution and a normalization of a grid that is nearly all background."""
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(0, extent**3, 5000))
    sites = np.stack([0 * cells, *np.unravel_index(cells, (extent,) * 3)], 1)
    conv, norm = spconv.SubMConv3d(4, 8, 3, rng=rng), spconv.BatchNorm(8, statistics="all")
    for parameter in (*conv.parameters(), *norm.parameters()):
        parameter.data = parameter.data.astype(dtype)
    ground = ground_scale * rng.standard_normal(4).astype(np.float32)
    x = spconv.SparseConvTensor(
        rng.standard_normal((len(cells), 4)).astype(np.float32).astype(dtype),
        sites, (extent,) * 3, 1, spconv.Tensor(ground.astype(dtype), requires_grad=True),
    )  # fmt: skip
    y = norm(conv(x))
    weights = rng.uniform(0.5, 1.5, y.features.shape).astype(dtype)
    ((y.features * weights).sum() + (y.ground_state * weights[0]).sum()).backward()
    return {
        "rows": y.features.data,
        "ground": y.ground_state.data,
        "weight": conv.weight.grad,
        "of the ground": x.ground_state.grad,
        "scale": norm.weight.grad,
        "running mean": norm.running_mean,
    }


@pytest.mark.parametrize(("extent", "ground_scale"), [(64, 1), (512, 1), (4096, 1), (4096, 30)])
def test_float32_keeps_its_digits_on_large_grids(extent, ground_scale):
    single = gradients_on_a_large_grid(np.float32, extent, ground_scale)
    double = gradients_on_a_large_grid(np.float64, extent, ground_scale)
    limit = ground_scale * tolerance(np.float32, 100)
    for name, expected in double.items():
        scale = np.abs(expected).max()
        assert_close(single[name] / scale, expected / scale, limit, name)


def test_without_a_ground_state_there_are_no_copies_of_it():
    rng = np.random.default_rng(7)
    rows = spconv.Tensor(rng.standard_normal((6, 2)), requires_grad=True)
    moments = functional.moments(rows, None, 4)
    np.testing.assert_allclose(moments.data, [rows.data.mean(0), rows.data.var(0)])
    moments.sum().backward()
    np.testing.assert_allclose(rows.grad, (1 + 2 * (rows.data - rows.data.mean(0))) / 6)


def test_wrong_number_of_channels():
    x = example(np.random.default_rng(6))
    with pytest.raises(ValueError, match=r"BatchNorm.*3.*4"):
        spconv.BatchNorm(3)(x)


def test_unknown_statistics():
    with pytest.raises(ValueError, match=r"BatchNorm.*statistics"):
        spconv.BatchNorm(3, statistics="some")
