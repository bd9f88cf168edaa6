"""What convolution and pooling layers refuse, and how they say it."""

import numpy as np
import pytest

import spconv
from spconv.testing import random_sparse_tensor


def example(shape=(6, 5), **options):
    return random_sparse_tensor(np.random.default_rng(0), shape, **options)


@pytest.mark.parametrize(
    "layer",
    [
        spconv.SparseConv2d(4, 2, 3),
        spconv.SubMConv2d(4, 2, 3),
        spconv.SparseConvTranspose2d(4, 2, 3),
        spconv.SubMConv2d(4, 2, 3, groups=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_channels(layer):
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: .*\b4\b.*\b3\b"):
        layer(example())


@pytest.mark.parametrize(
    "layer",
    [
        spconv.SparseConv3d(3, 2, 3),
        spconv.SubMConv1d(3, 2, 3),
        spconv.SparseConvTranspose4d(3, 2, 3),
        spconv.SparseMaxPool3d(2),
        spconv.SparseAvgPool1d(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_dimensions(layer):
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: expected a \d-dim"):
        layer(example())


@pytest.mark.parametrize(
    "layer",
    [
        spconv.SparseConv2d(3, 2, 3),
        spconv.SparseInverseConv2d(3, 2, 3, indice_key="a"),
        spconv.SparseMaxPool2d(2),
        spconv.SparseGlobalAvgPool(),
        spconv.BatchwiseDropout(0.5),
        spconv.ToDense(),
        spconv.Conv2d(3, 2, 3),
        spconv.MaxPool2d(2),
        spconv.BatchNorm(3),
        spconv.ReLU(),
        spconv.LeakyReLU(),
        spconv.Sigmoid(),
        spconv.Tanh(),
        spconv.Dropout(0.5),
        spconv.Linear(3, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_plain_arrays_are_no_tensors(layer):
    with pytest.raises(TypeError, match=rf"{type(layer).__name__}: .*got numpy.ndarray"):
        layer(np.ones((4, 3)))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 4, (3, 3, 3)), {}, "kernel_size must be an int or have ndim = 2"),
        ((3, 4, 0), {}, r"kernel_size must be at least 1, got \(0, 0\)"),
        ((3, 4, 3), {"stride": 0}, "stride must be at least 1"),
        ((3, 4, 3), {"padding": -1}, "padding must be at least 0"),
        ((3, 4, 3), {"dilation": (1, 0)}, "dilation must be at least 1"),
        ((3, 4, 3), {"groups": 2}, "groups=2 must divide in_channels=3"),
        ((4, 3, 3), {"groups": 2}, "groups=2 must divide out_channels=3"),
        ((0, 3, 3), {}, "in_channels must be at least 1, got 0"),
    ],
)
def test_options(arguments, options, message):
    with pytest.raises(ValueError, match=f"SparseConv2d: .*{message}"):
        spconv.SparseConv2d(*arguments, **options)


def test_fractions_are_no_sizes():
    with pytest.raises(TypeError, match="SparseConv2d: kernel_size must be an int"):
        spconv.SparseConv2d(1, 1, 2.5)


@pytest.mark.parametrize("kind", [spconv.SubMConv2d, spconv.Conv2d])
def test_fractions_are_no_channels(kind):
    for arguments, name in (((3.0, 4, 3), "in_channels"), ((3, "4", 3), "out_channels")):
        with pytest.raises(TypeError, match=f"{kind.__name__}: {name} must be an int, got"):
            kind(*arguments)


@pytest.mark.parametrize("slope", [-1.0, float("nan"), float("inf")])
def test_slopes_of_a_call(slope):
    down = spconv.SubMConv2d(3, 3, 3, indice_key="down")
    up, norm = spconv.SparseInverseConv2d(3, 3, 3, "down"), spconv.BatchNorm(3)
    for layer, x in ((down, example()), (up, down(example())), (norm, example())):
        message = f"{type(layer).__name__}: negative_slope must be finite and >= 0, got {slope}"
        with pytest.raises(ValueError, match=message):
            layer(x, negative_slope=slope)
        with pytest.raises(TypeError, match="negative_slope must be a number, got str 'half'"):
            layer(x, negative_slope="half")


def test_submanifold_has_no_stride():
    with pytest.raises(ValueError, match=r"SubMConv2d: .*stride"):
        spconv.SubMConv2d(1, 1, 3, stride=2)


def test_output_padding_is_below_the_stride():
    with pytest.raises(ValueError, match="SparseConvTranspose2d: output_padding must be smaller"):
        spconv.SparseConvTranspose2d(1, 1, 3, stride=2, output_padding=2)


def test_a_transposed_kernel_that_crops_too_much():
    layer = spconv.SparseConvTranspose2d(3, 1, 3, stride=2, padding=7, output_padding=1)
    with pytest.raises(ValueError, match=r"too small for .* output_padding=\(1, 1\)"):
        layer(example())


@pytest.mark.parametrize("layer", [spconv.SparseConv2d(3, 1, 7), spconv.SparseMaxPool2d(7)])
def test_kernels_beyond_the_grid(layer):
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: .*spatial_shape \(6, 5\)"):
        layer(example())


def test_an_unknown_key():
    with pytest.raises((KeyError, ValueError), match=r"SparseInverseConv2d: .*'nowhere'"):
        spconv.SparseInverseConv2d(3, 2, 3, indice_key="nowhere")(example())


def test_the_inverse_of_another_kernel_and_of_other_sites():
    down = spconv.SparseConv2d(3, 4, 2, stride=2, indice_key="down")
    x = example()
    y = down(x)
    with pytest.raises(ValueError, match=r"SparseInverseConv2d: .*kernel_size \(2, 2\)"):
        spconv.SparseInverseConv2d(4, 3, 3, indice_key="down")(y)
    oblong = spconv.SparseConv2d(3, 4, (2, 3), indice_key="oblong")(x)
    with pytest.raises(ValueError, match=r"has kernel_size \(2, 3\), 6 offsets.*, not \(3, 2\)"):
        spconv.SparseInverseConv2d(4, 3, (3, 2), indice_key="oblong")(oblong)
    with pytest.raises(ValueError, match=r"SparseInverseConv1d: expected a 1-dimensional"):
        spconv.SparseInverseConv1d(4, 3, 6, indice_key="oblong")(oblong)
    grown = spconv.SparseConv2d(4, 4, 3, padding=1)(y)
    if len(grown.indices) == len(y.indices):
        pytest.fail("the example is too dense to grow")
    with pytest.raises(ValueError, match=r"SparseInverseConv2d: .*'down'"):
        spconv.SparseInverseConv2d(4, 3, 2, indice_key="down")(grown)


@pytest.mark.parametrize("layer", [spconv.SubMConv2d(1, 1, 3), spconv.BatchNorm(1)])
def test_options_of_a_call_are_named(layer):
    x = spconv.SparseConvTensor(np.ones((1, 1), np.float32), [[0, 1, 1]], (4, 4), 1)
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        layer(x, x)


def test_flatten_takes_tensors():
    with pytest.raises(TypeError, match=r"Flatten: .*got numpy\.ndarray"):
        spconv.layers.Flatten()(np.ones((2, 3)))


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: spconv.SubMConv2d(4, 4, 3, **options),
        lambda **options: spconv.SparseConvTranspose2d(4, 4, 3, **options),
        lambda **options: spconv.SparseInverseConv2d(4, 4, 3, indice_key="a", **options),
        lambda **options: spconv.Conv2d(4, 4, 3, **options),
        lambda **options: spconv.ConvTranspose2d(4, 4, 3, **options),
        lambda **options: spconv.Linear(4, 4, **options),
    ],
)
def test_arguments_of_another_order_and_seeds_for_generators(make):
    for bias in (8, "k", None, np.zeros(4)):
        with pytest.raises(TypeError, match="bias must be True or False, got"):
            make(bias=bias)
    assert make(bias=np.bool_(False)).bias is None
    for rng in (0, "a", np.random.RandomState(0)):
        with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator, got"):
            make(rng=rng)


@pytest.mark.parametrize("kind", [spconv.Dropout, spconv.BatchwiseDropout])
def test_a_dropout_of_a_seed(kind):
    with pytest.raises(TypeError, match=f"{kind.__name__}: rng must be a numpy"):
        kind(0.5, rng=3)
