"""float32 products on tensor cores that truncate: as good as float32 arithmetic all the same."""

import numpy as np
import pytest
from convolutions import (
    convolve,
    from_storage,
    pack,
    random_pairs,
    relative_error,
    to_storage,
    weight_gradient,
)
from emulation.build import has_compiler
from launches import run_convolution, run_weight_gradient, tile_map

from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.testing.tolerances import tolerance

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs g++")

INSIDE = {
    "float part[4] = {};": "float (&part)[4] = d;",
    "for (int i = 0; i < 4; i++) d[i] += part[i];": "",
}
"""Sums that stay in the tensor core's accumulator from first to last."""
ROWS, COLUMNS = 64, 16


def values(rng, positive, *shape):
    x = rng.standard_normal(shape).astype(np.float32)
    return np.abs(x) if positive else x


def signed_error(result, exact):
    """Mean error relative to the largest result: the bias."""
    return float((result - exact).mean() / np.abs(exact).max())


def forward(rng, positive, volume, cin, **options):
    pairs = random_pairs(rng, ROWS, ROWS, volume, 1)
    x, w = values(rng, positive, ROWS, cin), values(rng, positive, volume, cin, COLUMNS)
    y = run_convolution(
        "float32", x, pack(w), tile_map(pairs), cin, COLUMNS, truncating=True, **options
    )
    return y, convolve(x.astype(np.float64), w.astype(np.float64), pairs)


def gradient(rng, positive, rows, **options):
    pairs = random_pairs(rng, rows, rows, 1, 1)
    x, dy = values(rng, positive, rows, 16), values(rng, positive, rows, 16)

    def one_task(starts, size):
        return starts.astype(np.int64), np.array([0, 1], np.int32)

    dw = run_weight_gradient("float32", x, dy, pairs, truncating=True, split=one_task, **options)
    return dw, weight_gradient(x.astype(np.float64), dy.astype(np.float64), pairs)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("volume", "cin"), [(27, 256), (9, 256), (1, 8)])
def test_forward(rng, positive, volume, cin):
    """An eighth of the tolerance, and no bias that grows with the length."""
    y, exact = forward(rng, positive, volume, cin)
    assert relative_error(y, exact) <= tolerance("float32", volume * cin) / 8
    assert abs(signed_error(y, exact)) < 2.0**-22


@pytest.mark.parametrize("positive", [True, False])
def test_weight_gradient(rng, positive):
    dw, exact = gradient(rng, positive, 8192)
    assert relative_error(dw, exact) <= tolerance("float32", 8192) / 8
    assert abs(signed_error(dw, exact)) < 2.0**-22


def test_sums_inside_the_tensor_core_would_not_do(rng):
    y, exact = forward(rng, True, 27, 256, replace=INSIDE)
    assert relative_error(y, exact) > tolerance("float32", 27 * 256)
    assert signed_error(y, exact) < -(2.0**-15)
    dw, exact = gradient(rng, True, 8192, replace=INSIDE)
    assert relative_error(dw, exact) > tolerance("float32", 8192)


def test_exact_sums_hide_that(rng):
    """Why the emulation has a model of a device's."""
    pairs = random_pairs(rng, ROWS, ROWS, 9, 1)
    x, w = values(rng, True, ROWS, 256), values(rng, True, 9, 256, COLUMNS)
    exact = convolve(x.astype(np.float64), w.astype(np.float64), pairs)
    y = run_convolution("float32", x, pack(w), tile_map(pairs), 256, COLUMNS, replace=INSIDE)
    assert relative_error(y, exact) <= tolerance("float32", 9 * 256) / 8


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "tf32"])
def test_other_kinds_keep_within_their_tolerances(rng, kind):
    storage = ARITHMETIC[kind].storage
    pairs = random_pairs(rng, ROWS, ROWS, 27, 1)
    x = to_storage(values(rng, True, ROWS, 256), storage)
    w = to_storage(values(rng, True, 27, 256, COLUMNS) / 256, storage)
    y = run_convolution(kind, x, pack(w), tile_map(pairs), 256, COLUMNS, truncating=True)
    exact = convolve(from_storage(x), from_storage(w), pairs)
    assert relative_error(y, exact) <= tolerance(kind, 27 * 256)
