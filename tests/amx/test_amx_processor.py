"""The matrix unit of this processor against its emulation, bit for bit: certifies the latter."""

import numpy as np
import pytest
from amx_library import convolve
from test_amx_kernel import BOOKS, layer

from spconv.kernels import amx
from spconv.ops import CpuOps, set_cpu_precision
from spconv.ops.matrix_unit import LEAST_CHANNELS, PARTS

pytestmark = pytest.mark.skipif(bool(amx.missing()), reason=f"needs AMX; here {amx.missing()}")


@pytest.fixture(params=list(PARTS))
def precision(request):
    set_cpu_precision(request.param)
    yield request.param
    set_cpu_precision("float32")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38, -3.395e38, 1e-40])
def test_what_the_instruction_for_parts_does_not_give(precision, value, monkeypatch):
    """Parts of the largest numbers, and of what is not finite, are made by other code."""
    monkeypatch.setitem(LEAST_CHANNELS, PARTS[precision], 0)
    x, w, book, groups = layer(BOOKS["regular"], 70, 20)
    x[::3, 5], x[1::3, 69] = value, value
    w *= 0.1
    actual = CpuOps().convolve(x, w, book, groups)
    np.testing.assert_array_equal(actual, convolve(x, w, book, groups, parts=PARTS[precision]))


@pytest.mark.parametrize("kind", BOOKS)
@pytest.mark.parametrize("scale", [1.0, 1e-37, 1e30])
def test_the_same_bits_as_emulated(precision, kind, scale, monkeypatch):
    monkeypatch.setitem(LEAST_CHANNELS, PARTS[precision], 0)
    for cin, cout, groups in [(16, 16, 1), (183, 60, 1), (66, 34, 2)]:
        arguments = layer(BOOKS[kind], cin, cout, groups, scale=scale)
        actual = CpuOps().convolve(*arguments)
        np.testing.assert_array_equal(actual, convolve(*arguments, parts=PARTS[precision]))
