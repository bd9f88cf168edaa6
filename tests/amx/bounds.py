"""The error bound of ``kernels/amx_gemm.h``, evaluated for every output in float64."""

from __future__ import annotations

import numpy as np
from engine_checks import SPECIFICATION, exactly

from spconv.ops.epilogue import PLAIN

LEFT_OUT = {1: 2.0**-7, 2: 3 * 2.0**-16, 3: 2.0**-23}
TINY = 2.0**-126


def reference(x, w, book, groups=1, **options):
    wide = {name: exactly(option) for name, option in options.items()}
    return SPECIFICATION.convolve(exactly(x), exactly(w), book, groups, **wide)


def bound(x, w, book, groups=1, *, transposed=False, epilogue=PLAIN, parts):
    """Largest error of each output (N_out, C_out); what the sums start from counts as a pair."""
    init, residual, slope = epilogue
    x, w = abs(exactly(x)), abs(exactly(w))
    products = parts * (parts + 1) // 2
    channels = x.shape[1] // groups
    pairs = np.bincount(book.out_rows, minlength=len(book.out_sites))[:, None]

    def convolve(x, w):
        return SPECIFICATION.convolve(x, w, book, groups, transposed=transposed)

    total = convolve(x, w)
    start = sum(abs(exactly(array)) for array in (init, residual) if array is not None)
    rounding = 20 + 4 * products + (pairs + 2) * -(-channels // 128)
    tiny = convolve(x, np.ones_like(w)) + convolve(np.ones_like(x), w)
    tiny += 34 * products * pairs * -(-channels // 32)
    sums = LEFT_OUT[parts] * total + rounding * 2.0**-24 * (total + start)
    factor = 1 if slope is None else max(1, slope)
    return factor * (1 + 2.0**-5) * (sums + TINY * tiny)


def check(actual, *arguments, parts, **options):
    """An output against float64 and its bound."""
    error = abs(exactly(actual) - reference(*arguments, **options))
    largest = bound(*arguments, **options, parts=parts)
    assert actual.dtype == np.float32
    missed = ~(error <= largest)
    assert not missed.any(), f"error {error[missed][:3]}, bound {largest[missed][:3]}"
