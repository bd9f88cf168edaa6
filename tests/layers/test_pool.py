"""Pooling layers equal their dense twins at all sites, with gradients."""

import numpy as np
import pytest

import spconv
from spconv.testing import assert_twin, random_sparse_tensor, reference

pytestmark = pytest.mark.usefixtures("engine")

CASES = {  # name: (spatial_shape, options)
    "1d": ((9,), {"kernel_size": 2}),
    "1d-overlapping": ((9,), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "1d-stride-beyond-kernel": ((10,), {"kernel_size": 1, "stride": 3}),
    "2d": ((6, 8), {"kernel_size": 2}),
    "2d-overlapping": ((7, 7), {"kernel_size": 3, "stride": 2}),
    "2d-all-different": (
        (7, 8),
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (1, 3)},
    ),
    "3d": ((4, 5, 6), {"kernel_size": (2, 1, 3), "stride": 2}),
    "4d": ((4, 3, 4, 2), {"kernel_size": (2, 3, 2, 1)}),
}
with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
kinds = pytest.mark.parametrize("kind", ["max", "avg"])


def pool(kind, ndim, **options):
    layer = getattr(spconv, f"Sparse{kind.title()}Pool{ndim}d")(**options)
    definition = getattr(reference, f"{kind}_pool")
    return layer, lambda grid, _: definition(grid, **options)


@kinds
@with_or_without_ground
@pytest.mark.parametrize(("shape", "options"), CASES.values(), ids=CASES.keys())
def test_pool(shape, options, ground, kind):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(
        rng, shape, 3, 5, density=0.3, ground=ground, shuffle=True, empty_samples=[1]
    )
    layer, twin = pool(kind, len(shape), **options)
    assert_twin(layer, twin, x, rng=rng)


@kinds
@with_or_without_ground
@pytest.mark.parametrize("sites", [[], [[1, 2, 3]], "all"], ids=["zero", "one", "all"])
def test_extreme_site_sets(sites, ground, kind):
    rng = np.random.default_rng(2)
    if sites == "all":
        sites = np.argwhere(np.ones((2, 4, 5)))
    sites = np.array(sites, np.int32).reshape(-1, 3)
    g = rng.standard_normal(2) if ground else None
    x = spconv.SparseConvTensor(rng.standard_normal((len(sites), 2)), sites, (4, 5), 2, g)
    layer, twin = pool(kind, 2, kernel_size=3, stride=2, padding=1)
    assert_twin(layer, twin, x, rng=rng)


def test_negative_features_survive_without_a_ground_state():
    x = spconv.SparseConvTensor(np.array([[-3.0], [-5.0]]), np.int32([[0, 0], [0, 1]]), (4,), 1)
    np.testing.assert_array_equal(spconv.SparseMaxPool1d(2)(x).features.numpy(), [[-3]])


def test_a_ground_state_takes_part_in_the_maximum():
    indices = np.int32([[0, 0], [0, 2], [0, 3]])
    features = np.array([[-3.0], [-5.0], [-4.0]])
    x = spconv.SparseConvTensor(features, indices, (4,), 1, np.array([-1.0]))
    out = spconv.SparseMaxPool1d(2)(x)
    np.testing.assert_array_equal(out.features.numpy(), [[-1], [-4]])
    np.testing.assert_array_equal(spconv.SparseAvgPool1d(2)(x).features.numpy(), [[-2], [-4.5]])


@pytest.mark.parametrize("kind", ["max", "avg"])
@with_or_without_ground
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_global_pools(ndim, ground, kind):
    rng = np.random.default_rng(3)
    x = random_sparse_tensor(
        rng, (5, 4, 3, 2)[:ndim], 3, 4, ground=ground, shuffle=True, empty_samples=[1]
    )
    layer = getattr(spconv, f"SparseGlobal{kind.title()}Pool")()
    definition = getattr(reference, f"global_{kind}_pool")
    assert_twin(layer, lambda grid, _: definition(grid), x, rng=rng)


@pytest.mark.parametrize("kind", ["max", "avg"])
@with_or_without_ground
@pytest.mark.parametrize("density", [0, 1])
def test_global_pools_of_nothing_and_of_everything(density, ground, kind):
    rng = np.random.default_rng(4)
    x = random_sparse_tensor(rng, (3, 2), 2, 4, density=density, ground=ground)
    layer = getattr(spconv, f"SparseGlobal{kind.title()}Pool")()
    definition = getattr(reference, f"global_{kind}_pool")
    assert_twin(layer, lambda grid, _: definition(grid), x, rng=rng)


@pytest.mark.parametrize("name", ["avg", "max"])
def test_the_ground_states_gradient_of_many_samples_keeps_its_digits(name):
    samples = 20_000
    indices = np.stack([np.arange(samples), np.zeros(samples)], 1).astype(np.int32)
    ground = spconv.Tensor(np.ones(4, np.float32), requires_grad=True)
    x = spconv.SparseConvTensor(np.zeros((samples, 4), "f4"), indices, (10,), samples, ground)
    y = getattr(spconv.functional, f"global_{name}_pool")(x)
    y.backward(np.full(y.shape, 0.1, np.float32))
    share = {"avg": np.float32(0.9), "max": 1}[name]
    np.testing.assert_allclose(ground.grad, samples * np.float32(0.1) * share, rtol=1e-6)


@pytest.mark.parametrize("name", ["window", "global"])
def test_a_full_window_has_no_gradient_for_the_ground_state(name):
    ground = spconv.Tensor(np.zeros(1, np.float32), requires_grad=True)
    indices = [[0, 0], [0, 1], [1, 0]]
    x = spconv.SparseConvTensor(np.ones((3, 1), np.float32), indices, (2,), 2, ground)
    if name == "window":
        y = spconv.SparseAvgPool1d(2)(x).features
    else:
        y = spconv.functional.global_avg_pool(x)
    y.backward(np.array([[np.inf], [1]], np.float32))
    assert ground.grad.tolist() == [0.5]
