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


@pytest.mark.parametrize("kind", BOOKS)
@pytest.mark.parametrize("scale", [1.0, 1e-37, 1e30])
def test_the_same_bits_as_emulated(precision, kind, scale, monkeypatch):
    monkeypatch.setitem(LEAST_CHANNELS, PARTS[precision], 0)
    for cin, cout, groups in [(16, 16, 1), (183, 60, 1), (66, 34, 2)]:
        arguments = layer(BOOKS[kind], cin, cout, groups, scale=scale)
        actual = CpuOps().convolve(*arguments)
        np.testing.assert_array_equal(actual, convolve(*arguments, parts=PARTS[precision]))
