"""An engine's operation against the specification, which computes in float64."""

import numpy as np

from spconv.ops import Epilogue, Ops
from spconv.ops.cpu import convolution
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)


def random(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def exactly(argument):
    """The same values for the specification to compute with in float64."""
    if isinstance(argument, Epilogue):
        return Epilogue(*map(exactly, argument))
    return argument.astype(np.float64) if isinstance(argument, np.ndarray) else argument


def compare(ops, dtype, length, name, *arguments, **options):
    actual = getattr(ops, name)(*arguments, **options)
    wide = {option: exactly(value) for option, value in options.items()}
    expected = getattr(SPECIFICATION, name)(*map(exactly, arguments), **wide)
    assert actual.dtype == dtype
    assert_close(actual, expected, tolerance(dtype, length), name)


def own_pairs(count):
    """In and out rows and starts of the one offset that takes each of so many rows to itself."""
    rows = np.arange(count, dtype=np.int32)
    return rows, rows, np.array([0, count], np.int64)


def convolve_rows(ops, x, w, residual):
    y = np.full_like(residual, np.nan)
    behind = 1, False, False, 0.0, ops.isa, 1
    convolution.convolve(x, w, y, None, residual, *own_pairs(len(x)), *behind)
    return y


def weight_gradient_of_rows(ops, x, dy):
    dw = np.zeros((1, x.shape[1], dy.shape[1]), x.dtype)
    convolution.weight_gradient(x, dy, *own_pairs(len(x)), dw, 1, ops.isa, 1)
    return dw[0]


def roundings(ops, dtype, cin, cout, rows):
    """How much of e^2 the kernels leave of (1 + e)^2 - (1 + 2e), among up to so many rows.

    {1} if every product is rounded together with the sum that it is added to, {0} if every one is
    rounded before.
    """
    e = dtype(2.0**-12 if dtype == np.float32 else 2.0**-27)
    w, seen = np.full((1, cin, cout), 1 + e, dtype), set()
    w[:, 0] = 1
    for channel in {1, cin - 1} if cin > 1 else ():
        x = np.zeros((rows, cin), dtype)
        x[:, 0], x[:, channel] = -(1 + 2 * e), 1 + e
        for count in range(1, rows + 1):
            y = convolve_rows(ops, x[:count], w, np.zeros((count, cout), dtype))
            seen |= set(np.unique(y / (e * e)).tolist())
    x, dy = np.full((2, cin), 1 + e, dtype), np.full((2, cout), 1 + e, dtype)
    x[0], dy[0] = -(1 + 2 * e), 1
    return seen | set(np.unique(weight_gradient_of_rows(ops, x, dy) / (e * e)).tolist())
