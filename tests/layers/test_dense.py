"""Layers on dense arrays: ToDense, Flatten, Linear, Conv2d, MaxPool2d."""

import numpy as np
import pytest

import spconv
from spconv.testing import assert_gradients, assert_twin, random_sparse_tensor, randomize, reference

pytestmark = pytest.mark.usefixtures("engine")


def check(layer, twin, values, rng):
    """Values and gradients of a layer from Tensor to Tensor against a function of arrays."""
    parameters = randomize(layer, rng)
    x = spconv.Tensor(values, requires_grad=True)
    out = layer(x)
    arrays = {"x": values, **{name: p.numpy() for name, p in parameters.items()}}
    expected = twin(arrays)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)
    weight = rng.standard_normal(expected.shape)
    (out * spconv.Tensor(weight)).sum().backward()
    gradients = {"x": x.grad, **{name: p.grad for name, p in parameters.items()}}
    assert_gradients(lambda a: (twin(a) * weight).sum(), arrays, gradients, rng=rng)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias):
    rng = np.random.default_rng(0)
    layer = spconv.Linear(4, 3, bias=bias)
    assert layer.weight.shape == (4, 3)
    check(
        layer,
        lambda a: reference.linear(a["x"], a["weight"], a.get("bias")),
        rng.standard_normal((5, 4)),
        rng,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 2)},
    ],
)
def test_conv2d(options):
    rng = np.random.default_rng(1)
    layer = spconv.Conv2d(3, 4, **options)
    assert layer.weight.shape == (int(np.prod(np.broadcast_to(options["kernel_size"], 2))), 3, 4)

    def twin(a):
        grid = reference.full_grid(a["x"])
        return reference.convolution(grid, a["weight"], a["bias"], **options).values

    check(layer, twin, rng.standard_normal((2, 3, 6, 7)), rng)


@pytest.mark.parametrize("options", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2}])
def test_max_pool2d(options):
    rng = np.random.default_rng(2)

    def twin(a):
        return reference.max_pool(reference.full_grid(a["x"]), **options).values

    check(spconv.MaxPool2d(**options), twin, rng.standard_normal((2, 3, 7, 6)), rng)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
def test_to_dense_and_flatten(ndim, ground):
    rng = np.random.default_rng(3)
    x = random_sparse_tensor(rng, (4, 3, 2, 2)[:ndim], ground=ground, shuffle=True)
    assert_twin(spconv.ToDense(), lambda grid, _: grid.values, x, rng=rng)
    model = spconv.SparseSequential(spconv.ToDense(), spconv.Flatten())
    assert_twin(model, lambda grid, _: grid.values.reshape(2, -1), x, rng=rng)


def test_wrong_number_of_channels():
    with pytest.raises(ValueError, match=r"Linear.*4.*\(5, 3\)"):
        spconv.Linear(4, 2)(spconv.Tensor(np.ones((5, 3))))
    with pytest.raises(ValueError, match=r"Conv2d.*\b4\b"):
        spconv.Conv2d(4, 2, 3)(spconv.Tensor(np.ones((1, 3, 5, 5))))
