"""LayerNorm of sparse tensors, rows and grids against its definition."""

import numpy as np
import pytest

import spconv
from spconv.testing import assert_twin, random_sparse_tensor, randomize, reference

pytestmark = pytest.mark.usefixtures("engine")

with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def twin(grid, p):
    return reference.pointwise(
        grid, lambda rows: reference.layer_norm(rows, p["weight"], p["bias"], 1e-3)
    )


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 5, 20])
@with_or_without_ground
def test_equals_the_dense_layer(ndim, channels, ground):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(
        rng, (6, 5, 4, 3)[:ndim], 3, channels, ground=ground, shuffle=True, empty_samples=[2]
    )
    layer = spconv.LayerNorm(channels, eps=1e-3)
    parameters = randomize(layer, rng)
    assert_twin(layer, twin, x, parameters, rng=rng, keeps_sites=True)


@with_or_without_ground
def test_no_sites(ground):
    rng = np.random.default_rng(2)
    x = random_sparse_tensor(rng, (5, 4), density=0.0, ground=ground)
    layer = spconv.LayerNorm(3, eps=1e-3)
    assert_twin(layer, twin, x, randomize(layer, rng), rng=rng, keeps_sites=True)


def test_rows_and_grids():
    rng = np.random.default_rng(3)
    layer = spconv.LayerNorm(5)
    p = {name: parameter.data for name, parameter in randomize(layer, rng).items()}
    grid = rng.standard_normal((2, 5, 4, 3))
    rows = np.moveaxis(grid, 1, -1)
    expected = reference.layer_norm(rows, p["weight"], p["bias"])
    np.testing.assert_allclose(layer(spconv.Tensor(rows[0, 0])).data, expected[0, 0], atol=1e-13)
    actual = layer(spconv.Tensor(grid)).data
    np.testing.assert_allclose(actual, np.moveaxis(expected, -1, 1), atol=1e-13)
    assert layer(spconv.Tensor(grid[:0])).shape == (0, 5, 4, 3)


def test_evaluation_is_training():
    x = random_sparse_tensor(np.random.default_rng(4), (5, 4))
    layer = spconv.LayerNorm(3)
    np.testing.assert_array_equal(layer(x).features.data, layer.eval()(x).features.data)
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_channels_give_the_bias(dtype):
    """Whatever they hold, and with no gradient but those of the parameters."""
    rows = spconv.Tensor(np.array([[3.0] * 7, [-0.1] * 7, [0.0] * 7], dtype), requires_grad=True)
    layer = spconv.LayerNorm(7)
    layer.bias.data = np.arange(7).astype(dtype)
    y = layer(rows)
    np.testing.assert_allclose(y.data, np.arange(7) + np.zeros((3, 1)), atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(rows.grad, 0, atol=1e-4)
    assert rows.grad.dtype == dtype


@with_or_without_ground
def test_dropped_channels_count_as_zeros(ground):
    """A batchwise dropout in front leaves them out; the normalization is of all."""
    x = random_sparse_tensor(np.random.default_rng(5), (5, 4), 2, 6, ground=ground)
    drop, norm = spconv.BatchwiseDropout(0.5), spconv.LayerNorm(6)
    expected = norm(drop.seed(1)(x))
    kept = spconv.functional.draw_channels(6, 0.5, np.random.default_rng(0))
    dropped = spconv.functional.batchwise_dropout(x, kept)
    whole = spconv.tensor.all_channels(dropped)
    np.testing.assert_array_equal(norm(dropped).features.data, norm(whole).features.data)
    net = spconv.SparseSequential(spconv.BatchwiseDropout(0.5), norm)
    net[0].seed(1)
    np.testing.assert_array_equal(net(x).dense().data, expected.dense().data)


def test_a_frozen_network_keeps_it():
    rng = np.random.default_rng(6)
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 6, 3), spconv.LayerNorm(6), spconv.ReLU())
    randomize(net, rng)
    x = random_sparse_tensor(rng, (6, 5))
    frozen = spconv.inference.freeze(net)
    assert [type(layer).__name__ for layer in frozen][1:] == ["LayerNorm", "ReLU"]
    np.testing.assert_allclose(frozen(x).dense().data, net(x).dense().data, atol=1e-12)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="LayerNorm: expected 3 input channels, got 4 in features"):
        spconv.LayerNorm(3)(random_sparse_tensor(np.random.default_rng(0), (4,), 1, 4))
    with pytest.raises(ValueError, match=r"LayerNorm: expected rows .* got shape \(3,\)"):
        spconv.LayerNorm(3)(spconv.Tensor(np.zeros(3)))
    with pytest.raises(TypeError, match="LayerNorm: expected a Tensor or a SparseConvTensor, got"):
        spconv.LayerNorm(3)(np.zeros((2, 3)))
    for arguments in ((0,), (2.5,), (3, -1.0), (3, "x")):
        with pytest.raises((TypeError, ValueError), match=r"LayerNorm: (num_features|eps) must be"):
            spconv.LayerNorm(*arguments)
