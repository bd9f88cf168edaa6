"""The compiled engine's layer normalization, against the specification."""

import numpy as np
import pytest
from engine_checks import SPECIFICATION, exactly, random

import spconv
from spconv.ops import CpuOps
from spconv.testing import assert_close, tolerance

CPU = CpuOps()
ROWS = [(0, 3), (1, 1), (7, 13), (33, 7), (5000, 8), (260, 300), (3, 0), (2049, 3), (64, 16)]
"""None, narrower than what is summed at once, just as wide, wider; whole blocks and broken ones,
and more than one part."""


def inputs(dtype, shape):
    rng = np.random.default_rng(0)
    sizes = shape, shape, shape[1:], shape[1:]
    return [random(rng, dtype, *size) for size in sizes]


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_layer_norm(dtype, shape, order):
    x, dy, weight, bias = inputs(dtype, shape)
    x, dy = np.asarray(x, order=order), np.asarray(dy, order=order)
    y, statistics = CPU.layer_norm(x, weight, bias, 0.1)
    expected, exact = SPECIFICATION.layer_norm(*map(exactly, (x, weight, bias)), 0.1)
    assert y.dtype == dtype
    assert_close(y, expected, tolerance(dtype, 4), "layer_norm")
    gradients = CPU.layer_norm_gradient(dy, x, weight, statistics)
    known = SPECIFICATION.layer_norm_gradient(*map(exactly, (dy, x, weight)), exact)
    for name, actual, wanted in zip(("x", "weight", "bias"), gradients, known, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, wanted, tolerance(dtype, max(len(x), 4)), f"gradient of {name}")


def test_a_row_does_not_depend_on_those_beside_it(dtype):
    x, dy, weight, bias = inputs(dtype, (70, 19))
    y, statistics = CPU.layer_norm(x, weight, bias, 1e-5)
    dx = CPU.layer_norm_gradient(dy, x, weight, statistics)[0]
    for n in (0, 31, 32, 69):
        row = slice(n, n + 1)
        alone, own = CPU.layer_norm(x[row], weight, bias, 1e-5)
        np.testing.assert_array_equal(alone[0], y[n])
        gradient = CPU.layer_norm_gradient(dy[row], x[row], weight, own)[0]
        np.testing.assert_array_equal(gradient[0], dx[n])


def test_channels_far_from_zero():
    """The spread is not lost beside the mean, even if float32 holds little of it."""
    x, _, weight, bias = inputs(np.float32, (50, 64))
    x += np.float32(1e4)
    y, _ = CPU.layer_norm(x, weight, bias, 1e-5)
    expected, _ = SPECIFICATION.layer_norm(*map(exactly, (x, weight, bias)), 1e-5)
    assert_close(y, expected, tolerance(np.float32, 1))


def test_the_same_bits_at_any_number_of_threads(dtype):
    x, dy, weight, bias = inputs(dtype, (50_000, 24))
    results = []
    for count in (1, 2, 3):
        spconv.set_num_threads(count)
        y, statistics = CPU.layer_norm(x, weight, bias, 1e-5)
        results.append([y, *CPU.layer_norm_gradient(dy, x, weight, statistics)])
    spconv.set_num_threads(None)
    for other in results[1:]:
        for expected, actual in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_float16_goes_through_the_specification():
    x, dy, weight, bias = inputs(np.float16, (9, 5))
    weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    y, statistics = CPU.layer_norm(x, weight, bias, 0.1)
    gradients = CPU.layer_norm_gradient(dy, x, weight, statistics)
    expected, exact = SPECIFICATION.layer_norm(x, weight, bias, 0.1)
    known = SPECIFICATION.layer_norm_gradient(dy, x, weight, exact)
    for actual, wanted in zip((y, *gradients), (expected, *known), strict=True):
        np.testing.assert_array_equal(actual, wanted)
