"""Dropout: what is dropped, what is scaled, what the ground does, and reproducibility."""

import numpy as np
import pytest

import spconv

pytestmark = pytest.mark.usefixtures("engine")


def ones(ground=1.0, count=4000, channels=8, requires_grad=False):
    sites = np.column_stack([np.zeros(count, int), np.arange(count)]).astype(np.int32)
    features = spconv.Tensor(np.ones((count, channels)), requires_grad=requires_grad)
    g = None if ground is None else np.full(channels, ground)
    return spconv.SparseConvTensor(features, sites, (count + 1,), 1, g)


def test_dropout_is_elementwise_on_active_rows_and_leaves_the_ground():
    layer = spconv.Dropout(0.25)
    layer.seed(0)
    x = ones(ground=3.0)
    out = layer(x)
    values = out.features.numpy()
    assert set(np.unique(values).tolist()) == {0.0, 1 / 0.75}
    assert abs((values == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(out.ground_state.numpy(), x.ground_state.numpy())


@pytest.mark.parametrize("ground", [3.0, None])
def test_batchwise_dropout_drops_whole_channels_and_their_ground(ground):
    layer = spconv.BatchwiseDropout(0.5)
    layer.seed(1)
    out = layer(ones(ground=ground, count=5, channels=400))
    rows = out.features.numpy()
    assert (rows == rows[0]).all()
    dropped = rows[0] == 0
    assert 150 < dropped.sum() < 250
    if ground is not None:
        kept = out.ground_state.numpy()
        np.testing.assert_allclose(kept, np.where(dropped, 0, 3 * rows[0]), rtol=1e-15)


@pytest.mark.parametrize("kind", [spconv.Dropout, spconv.BatchwiseDropout])
def test_gradient_passes_where_the_value_does(kind):
    layer = kind(0.4)
    layer.seed(2)
    x = ones(count=20, channels=30, requires_grad=True)
    out = layer(x)
    out.features.sum().backward()
    np.testing.assert_allclose(x.features.grad, out.features.numpy(), rtol=1e-15)


@pytest.mark.parametrize("kind", [spconv.Dropout, spconv.BatchwiseDropout])
def test_nothing_happens_in_evaluation_or_with_p_0(kind):
    x = ones(count=20)
    layer = kind(0.9)
    layer.eval()
    np.testing.assert_array_equal(layer(x).features.numpy(), 1)
    np.testing.assert_array_equal(kind(0.0)(x).features.numpy(), 1)


@pytest.mark.parametrize("kind", [spconv.Dropout, spconv.BatchwiseDropout])
def test_seed_makes_a_step_a_function_of_seed_and_step(kind):
    model = spconv.SparseSequential(kind(0.5), kind(0.5))
    x = ones(count=50)

    def step(*entropy):
        model.seed(*entropy)
        return model(x).features.numpy()

    np.testing.assert_array_equal(step(7, 3), step(7, 3))
    assert (step(7, 3) != step(7, 4)).any()
    assert (step(7, 3) != step(8, 3)).any()
    model.seed(7, 3)
    first, second = (layer(x).features.numpy() for layer in model)
    assert (first != second).any()


@pytest.mark.parametrize("kind", [spconv.Dropout, spconv.BatchwiseDropout])
def test_zero_sites(kind):
    out = kind(0.5)(ones(count=0))
    assert out.features.shape == (0, 8)


@pytest.mark.parametrize("kind", [spconv.Dropout, spconv.BatchwiseDropout])
@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_p_outside_0_1(kind, p):
    with pytest.raises(ValueError, match=rf"{kind.__name__}.*{p}"):
        kind(p)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_probability_outside_of_0_to_1(p):
    with pytest.raises(ValueError, match=r"dropout: p must be in \[0, 1\], got"):
        spconv.functional.dropout(ones(), p, np.random.default_rng(0))


def test_half_precision_is_dropped_in_plain_array_code():
    x = spconv.Tensor(np.ones((50, 4), np.float16))
    y = spconv.functional.dropout(x, 0.5, np.random.default_rng(0))
    assert y.dtype == np.float16
    assert set(np.unique(y.data).tolist()) == {0.0, 2.0}
