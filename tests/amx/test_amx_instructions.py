"""The instructions that the compiler makes of the kernel, emulated one by one, bit for bit."""

import numpy as np
import pytest
from amx_library import EmulationError, convolve
from test_amx_kernel import BOOKS, layer

from spconv.kernels import amx

if not amx.missing():
    pytest.skip("this processor has AMX: nothing traps", allow_module_level=True)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("kind", ["down", "inverse", "one pair", "no pairs", "no sites", "8"])
def test_the_same_bits_as_the_emulated_source(parts, kind):
    for cin, cout, groups in [(16, 16, 1), (150, 36, 1), (66, 34, 2)]:
        arguments = layer(BOOKS[kind], cin, cout, groups)
        actual = convolve(*arguments, parts=parts, trapped=True)
        np.testing.assert_array_equal(actual, convolve(*arguments, parts=parts))


def test_every_thread_has_its_own_tiles():
    arguments = layer(BOOKS["regular"], 40, 20)
    options = {"parts": 3, "trapped": True, "range_rows": 5}
    actual = convolve(*arguments, **options, threads=4)
    np.testing.assert_array_equal(actual, convolve(*arguments, **options))


@pytest.mark.parametrize(
    ("text", "bug"),
    [
        ("_tile_dpbf16ps(sums, a, b)", "_tile_dpbf16ps(sums, b, a)"),
        ("_tile_loadd(tile, source, stride)", "_tile_loadd(tile, source, 2 * (stride))"),
        ("_tile_release()", "(void)0"),
        ("_tile_loadconfig(shapes)", "(void)0"),
    ],
)
def test_bugs_of_the_macros_are_caught(text, bug):
    arguments = layer(BOOKS["regular"], 40, 20)
    expected = convolve(*arguments, parts=2)
    try:
        actual = convolve(*arguments, parts=2, trapped=True, replace=((text, bug),))
    except EmulationError:
        return
    assert not np.array_equal(actual, expected)
