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


@pytest.mark.parametrize(
    "layer", [spconv.Conv2d(1, 2, 3), spconv.ConvTranspose2d(1, 2, 3), spconv.MaxPool2d(2)]
)
def test_what_is_no_grid_becomes_one(layer):
    array = np.ones((1, 1, 4, 4), np.float32)
    name = type(layer).__name__
    with pytest.raises(TypeError, match=rf"^{name}: .*numpy\.ndarray; wrap an array in spconv\.T"):
        layer(array)
    with pytest.raises(TypeError, match=rf"^{name}: .*SparseConvTensor; use x\.dense\(\)$"):
        layer(spconv.from_dense(array))
    assert layer(spconv.from_dense(array).dense()).ndim == 4


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
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 3},
        {"kernel_size": (2, 3), "stride": (2, 1), "groups": 3},
    ],
)
def test_conv2d(options):
    rng = np.random.default_rng(1)
    layer = spconv.Conv2d(3, 6, **options)
    volume = int(np.prod(np.broadcast_to(options["kernel_size"], 2)))
    assert layer.weight.shape == (volume, 3 // options.get("groups", 1), 6)

    def twin(a):
        grid = reference.full_grid(a["x"])
        return reference.convolution(grid, a["weight"], a["bias"], **options).values

    check(layer, twin, rng.standard_normal((2, 3, 6, 7)), rng)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 2, "stride": 3},  # outputs that no input reaches
        {"kernel_size": 1, "stride": 2, "output_padding": 1},
        {"kernel_size": 2, "stride": 1, "dilation": 3, "output_padding": 2},
        {"kernel_size": (2, 3, 1), "stride": (1, 3, 2), "padding": (0, 1, 0)},
    ],
    ids=str,
)
def test_conv_transpose(options, ndim, bias):
    rng = np.random.default_rng(1)
    options = {k: v[:ndim] if isinstance(v, tuple) else v for k, v in options.items()}
    layer = getattr(spconv, f"ConvTranspose{ndim}d")(3, 4, bias=bias, **options)
    assert layer.weight.shape == (np.prod(np.broadcast_to(options["kernel_size"], ndim)), 3, 4)

    def twin(a):
        grid = reference.full_grid(a["x"])
        return reference.transposed_convolution(grid, a["weight"], a.get("bias"), **options).values

    check(layer, twin, rng.standard_normal((2, 3, 4, 5, 3)[: 2 + ndim]), rng)


def test_the_sixth_argument_of_a_transposed_convolution_has_a_name():
    """PyTorch's is output_padding, that of other layers here dilation."""
    with pytest.raises(TypeError, match="positional arguments"):
        spconv.ConvTranspose2d(3, 4, 3, 2, 1, 1)


@pytest.mark.parametrize("options", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2}])
def test_max_pool2d(options):
    rng = np.random.default_rng(2)

    def twin(a):
        return reference.max_pool(reference.full_grid(a["x"]), **options).values

    check(spconv.MaxPool2d(**options), twin, rng.standard_normal((2, 3, 7, 6)), rng)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "f2"])
def test_max_pool_of_any_dtype(dtype):
    values = np.random.default_rng(0).standard_normal((2, 3, 6, 4)).astype(dtype)
    layer, native = spconv.MaxPool2d(2), np.dtype(dtype).newbyteorder("=")
    x, same = (spconv.Tensor(v, requires_grad=True) for v in (values, values.astype(native)))
    y = layer(x)
    blocks = values.reshape(2, 3, 3, 2, 2, 2)
    np.testing.assert_array_equal(y.data, blocks.max((3, 5)))
    assert y.dtype == native
    for tensor in (x, same):
        layer(tensor).sum().backward()
    np.testing.assert_array_equal(x.grad, same.grad)
    assert x.grad.sum() == y.size


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
def test_to_dense_and_flatten(ndim, ground):
    rng = np.random.default_rng(3)
    x = random_sparse_tensor(rng, (4, 3, 2, 2)[:ndim], ground=ground, shuffle=True)
    assert_twin(spconv.ToDense(), lambda grid, _: grid.values, x, rng=rng)
    model = spconv.SparseSequential(spconv.ToDense(), spconv.Flatten())
    assert_twin(model, lambda grid, _: grid.values.reshape(2, -1), x, rng=rng)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 4, 7), (2, 4, 3, 2, 3), (6, 4)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_batch_norm(shape, channels_last):
    rng = np.random.default_rng(4)
    values = 2 * rng.standard_normal(shape) + 3
    if channels_last:  # as behind a convolution: a view
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    axes = (0, *range(2, len(shape)))

    def column(array):
        return array.reshape(1, -1, *[1] * (len(shape) - 2))

    def twin(a, mean=None, variance=None):
        mean = a["x"].mean(axes, keepdims=True) if mean is None else mean
        if variance is None:
            variance = ((a["x"] - mean) ** 2).mean(axes, keepdims=True)
        return (a["x"] - mean) / np.sqrt(variance + 1e-5) * column(a["weight"]) + column(a["bias"])

    layer = spconv.BatchNorm(4)
    check(layer, twin, values, rng)
    count = values.size // 4
    np.testing.assert_allclose(layer.running_mean, 0.1 * values.mean(axes), rtol=1e-12)
    unbiased = values.var(axes) * count / (count - 1)
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * unbiased, rtol=1e-6)
    layer.eval().zero_grad()
    mean, variance = column(layer.running_mean), column(layer.running_var)
    check(layer, lambda a: twin(a, mean, variance), values, rng)


def test_wrong_number_of_channels():
    with pytest.raises(ValueError, match=r"Linear.*4.*\(5, 3\)"):
        spconv.Linear(4, 2)(spconv.Tensor(np.ones((5, 3))))
    with pytest.raises(ValueError, match=r"BatchNorm.*4.*\(5, 3, 2, 2\)"):
        spconv.BatchNorm(4)(spconv.Tensor(np.ones((5, 3, 2, 2))))
    with pytest.raises(ValueError, match=r"BatchNorm: expected rows .* got shape \(5,\)"):
        spconv.BatchNorm(4)(spconv.Tensor(np.ones(5)))
    with pytest.raises(ValueError, match=r"ConvTranspose2d.*\b4\b"):
        spconv.ConvTranspose2d(4, 2, 3)(spconv.Tensor(np.ones((1, 3, 5, 5))))
    with pytest.raises(ValueError, match=r"Conv2d.*\b4\b"):
        spconv.Conv2d(4, 2, 3)(spconv.Tensor(np.ones((1, 3, 5, 5))))
