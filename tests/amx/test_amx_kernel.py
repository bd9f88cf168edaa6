"""The convolution on emulated tiles against float64, within the bound that the kernel promises."""

import ctypes

import numpy as np
import pytest
from amx_library import convolve, load, split
from bounds import TINY, check, reference
from example_books import KINDS, make_book

import spconv
from spconv.ops import Epilogue

CHANNELS = [1, 3, 16, 17, 31, 33, 64, 129, 183]


def make_volume(volume):
    """A rulebook in 3-D with so many kernel offsets; 0 to some hundred pairs for one."""
    rng = np.random.default_rng(0)
    if volume == 8:
        indices = rng.permutation(np.argwhere(rng.random((1, 9, 8, 7)) < 0.4))
        return spconv.build_rulebook(indices, (9, 8, 7), 1, 2, 2)
    indices = rng.permutation(np.argwhere(rng.random((2, 7, 6, 5)) < 0.4))
    return spconv.build_rulebook(indices, (7, 6, 5), 2, round(volume ** (1 / 3)), padding=1)


BOOKS = {kind: make_book(kind) for kind in KINDS}
BOOKS |= {str(volume): make_volume(volume) for volume in (8, 27, 125)}
BOOKS["inverse"] = BOOKS["down"].inverse  # some outputs have no pair


@pytest.fixture(params=[1, 2, 3], ids=["bfloat16", "bfloat16x2", "bfloat16x3"])
def parts(request):
    return request.param


def layer(book, cin, cout, groups=1, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal((len(book.in_sites), cin))
    w = rng.standard_normal((book.volume, cin // groups, cout))
    return x.astype(np.float32), w.astype(np.float32), book, groups


def both_ways(book, cin, cout, groups, parts, **options):
    """Forward, and the input gradient of the same layer."""
    x, w, *_ = layer(book, cin, cout, groups)
    check(convolve(x, w, book, groups, parts=parts, **options), x, w, book, groups, parts=parts)
    dy, back = layer(book.inverse, cout, cout)[0], (w, book.inverse, groups)
    dx = convolve(dy, *back, transposed=True, parts=parts, **options)
    check(dx, dy, *back, transposed=True, parts=parts)


@pytest.mark.parametrize("cin", CHANNELS)
def test_every_pair_of_widths(parts, cin):
    for cout in CHANNELS:
        both_ways(BOOKS["down"], cin, cout, 1, parts)


@pytest.mark.parametrize("kind", BOOKS)
def test_every_kind_of_rulebook(parts, kind):
    for cin, cout in [(16, 16), (13, 37)]:
        both_ways(BOOKS[kind], cin, cout, 1, parts)


@pytest.mark.parametrize(
    ("cin", "cout", "groups"), [(4, 6, 2), (70, 34, 2), (9, 51, 3), (24, 24, 24), (64, 32, 2)]
)
def test_groups(parts, cin, cout, groups):
    for kind in ("regular", "inverse"):
        both_ways(BOOKS[kind], cin, cout, groups, parts)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 32, 33, 48, 100])
def test_every_number_of_pairs_left_over(parts, count):
    book = spconv.build_rulebook([[0, i] for i in range(count)], (count,), 1, 3, submanifold=True)
    both_ways(book, 40, 50, 1, parts)


@pytest.mark.parametrize("slope", [None, 0.0, 0.25])
def test_first_values_residuals_and_rectifiers(parts, slope):
    book = BOOKS["regular"]
    x, w, *_ = layer(book, 33, 21)
    rng = np.random.default_rng(1)
    init = rng.standard_normal(21).astype(np.float32)
    residual = rng.standard_normal((len(book.out_sites), 21)).astype(np.float32)
    for start in ((None, None), (init, None), (None, residual), (init, residual)):
        epilogue = Epilogue(*start, slope)
        y = convolve(x, w, book, epilogue=epilogue, parts=parts)
        check(y, x, w, book, epilogue=epilogue, parts=parts)


def test_the_same_bits_for_any_threads_and_ranges(parts):
    """A pair's product must not depend on its place in a tile, nor a sum on who computes it."""
    for kind, groups in [("27", 2), ("inverse", 1)]:
        arguments = layer(BOOKS[kind], 34, 20, groups)
        results = [
            convolve(*arguments, parts=parts, threads=threads, range_rows=rows).tobytes()
            for threads, rows in [(1, 96), (1, 1), (1, 7), (1, 10_000), (3, 96), (4, 5)]
        ]
        assert len(set(results)) == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-36, 1e-38, 1e-41, 1e30, 1e36])
def test_small_and_large_numbers(parts, scale):
    """Denormal numbers and parts are taken for zero; the bound says what that costs."""
    arguments = layer(BOOKS["regular"], 33, 21, scale=scale)
    check(convolve(*arguments, parts=parts), *arguments, parts=parts)


def test_mixed_magnitudes(parts):
    rng = np.random.default_rng(0)
    x, w, book, groups = layer(BOOKS["regular"], 40, 20)
    x *= 2.0 ** rng.integers(-60, 50, x.shape)
    w *= 2.0 ** rng.integers(-60, 50, w.shape)
    check(convolve(x, w, book, groups, parts=parts), x, w, book, groups, parts=parts)


def test_three_parts_are_as_exact_as_float32():
    x, w, book, _ = layer(BOOKS["27"], 64, 64)
    expected = reference(x, w, book)
    error = abs(convolve(x, w, book, parts=3) - expected).max()
    plain = abs(spconv.ops.Ops(np).convolve(x, w, book) - expected).max()
    assert error < 2 * plain


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("where", ["features", "weight"])
def test_infinities_and_nan_reach_the_same_outputs(parts, value, where):
    """Where float32 says infinite, the other parts' zeros make NaN of it at most."""
    x, w, book, _ = layer(BOOKS["regular"], 40, 20)
    if where == "features":
        x[3, 5] = value
    else:
        w[2, 7, 3] = value
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(reference(x, w, book))
    y = convolve(x, w, book, parts=parts)
    assert 0 < (~finite).sum() < finite.size
    np.testing.assert_array_equal(np.isfinite(y), finite)
    infinite = np.isinf(y)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(y[infinite], reference(x, w, book)[infinite])
    if where == "features" and not np.isnan(value):
        one = np.ones((1, 1, 1), np.float32)
        single = BOOKS["pointwise"]
        x = np.full((len(single.in_sites), 1), value, np.float32)
        assert not np.isfinite(convolve(x, one, single, parts=parts)).any()


def test_a_denormal_weight_hides_no_infinity(parts):
    book = BOOKS["pointwise"]
    x = np.full((len(book.in_sites), 1), np.inf, np.float32)
    w = np.full((1, 1, 1), 1e-40, np.float32)
    assert np.isnan(convolve(x, w, book, parts=parts)).all()


def check_parts(**options):
    """Three parts hold any normal number to the last bit, unless they are below the smallest."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 0x7F800000, 32 * 500).astype(np.uint32)
    special = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0x3F808000]
    bits[: len(special)] = special
    values = (bits | rng.integers(0, 2, bits.size).astype(np.uint32) << 31).view(np.float32)
    for row in values.reshape(-1, 32):
        exact = row.astype(np.float64)
        for parts, left in [(1, 2.0**-8), (2, 2.0**-16), (3, 0.0)]:
            found = split(row, parts, **options)
            assert np.isfinite(found).all()
            error = abs(found.astype(np.float64).sum(axis=0) - exact)
            assert (error <= left * abs(exact) + TINY * (abs(exact) < 2.0**-100)).all()


def test_parts_add_up_to_the_number():
    check_parts()


def test_parts_of_what_is_not_finite():
    values = np.resize(np.array([np.inf, -np.inf, np.nan], np.float32), 32)
    signalling = np.array([0x7F800001], np.uint32).view(np.float32)
    values[31:] = signalling
    for parts in (1, 2, 3):
        found = split(values, parts)
        np.testing.assert_array_equal(found[0, :31], values[:31])
        assert np.isnan(found[0, 31])
        assert (found[1:] == 0).all()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (0, None),
        (1, "without a configuration"),
        (2, "too large"),
        (3, "too large"),
        (4, "do not fit together"),
        (5, "out of range"),
        (6, "over another one"),
        (7, "read before it is written"),
        (8, "not configured"),
    ],
)
def test_the_emulation_knows_misuse(kind, message):
    sums = np.ones((16, 16), np.float32)
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (16, 32)), rng.integers(-9, 9, (32, 16))
    columns = b.reshape(16, 2, 16).transpose(0, 2, 1)
    arrays = [sums]
    for matrix in (a, columns):
        bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32)
        arrays.append((bits >> 16).astype(np.uint16))
    error = load().misuse(kind, *(ctypes.c_void_p(array.ctypes.data) for array in arrays))
    if message is None:
        assert error is None
        np.testing.assert_array_equal(sums, 1 + a @ b)
    else:
        assert message in error.decode()
