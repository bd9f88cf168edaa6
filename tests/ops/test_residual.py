"""Convolutions that start from a residual, on every instruction set of this processor."""

import numpy as np
import pytest
from example_books import make_book

import spconv
from spconv.ops import Epilogue, Ops
from spconv.ops.cpu import convolution
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)
WIDTHS = [(1, 1, 1), (3, 5, 1), (7, 13, 1), (60, 33, 1), (17, 83, 1), (34, 66, 2), (7, 21, 7)]
every_width = pytest.mark.parametrize(("cin", "cout", "groups"), WIDTHS)


BOOK = make_book()
PAIRS = BOOK.in_rows, BOOK.out_rows, BOOK.offset_starts
INVERSE = make_book("down").inverse


def arrays(dtype, book, cin, cout, groups):
    """Features, weight, constant row and residual."""
    rng = np.random.default_rng(1)
    shapes = (len(book.in_sites), cin), (book.volume, cin // groups, cout), (cout,)
    shapes = *shapes, (len(book.out_sites), cout)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def test_the_specification_is_a_sum():
    x, w, init, residual = arrays(np.float64, BOOK, 3, 5, 1)
    plain = SPECIFICATION.convolve(x, w, BOOK, epilogue=Epilogue(init)) + residual
    y = SPECIFICATION.convolve(x, w, BOOK, epilogue=Epilogue(init, residual))
    assert_close(y, plain, 1e-12)
    y = SPECIFICATION.convolve(x, w, BOOK, epilogue=Epilogue(init, residual, 0.3))
    assert_close(y, SPECIFICATION.leaky_relu(plain, 0.3), 1e-12)


@every_width
@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
@pytest.mark.parametrize("with_init", [True, False])
def test_values(ops, dtype, cin, cout, groups, slope, with_init):
    for book in (BOOK, INVERSE):
        x, w, init, residual = arrays(dtype, book, cin, cout, groups)
        init = init if with_init else None
        wide = [None if a is None else a.astype(np.float64) for a in (x, w, init, residual)]
        y = ops.convolve(x, w, book, groups, epilogue=Epilogue(init, residual, slope))
        expected = SPECIFICATION.convolve(
            *wide[:2], book, groups, epilogue=Epilogue(*wide[2:], slope)
        )
        assert y.dtype == dtype
        assert_close(y, expected, tolerance(dtype, book.volume * cin // groups))


def test_sums_start_from_it(ops, dtype):
    """Where no pair adds to it, it comes out as it went in."""
    alone = INVERSE.pairs_per_output == 0
    assert 0 < alone.sum() < len(alone)
    x, w, init, residual = arrays(dtype, INVERSE, 3, 5, 1)
    y = ops.convolve(x, w, INVERSE, epilogue=Epilogue(residual=residual))
    np.testing.assert_array_equal((y == residual).all(axis=1), alone)
    y = ops.convolve(x, w, INVERSE, epilogue=Epilogue(init, residual, 0.5))
    expected = SPECIFICATION.leaky_relu(init + residual, 0.5)
    np.testing.assert_array_equal(y[alone], expected[alone])


@every_width
def test_the_same_bits_at_any_number_of_threads(ops, dtype, cin, cout, groups):
    x, w, init, residual = arrays(dtype, BOOK, cin, cout, groups)
    expected = ops.convolve(x, w, BOOK, groups, epilogue=Epilogue(init, residual, 0.3))
    for threads in (1, 2, 4):
        y = np.full_like(residual, np.nan)
        behind = groups, False, True, 0.3, ops.isa, threads
        convolution.convolve(x, w, y, init, residual, *PAIRS, *behind)
        np.testing.assert_array_equal(y, expected)


def test_any_strides_and_read_only_arrays(ops, dtype):
    x, w, init, residual = arrays(dtype, BOOK, 7, 13, 1)
    expected = ops.convolve(x, w, BOOK, epilogue=Epilogue(init, residual))
    strided = np.repeat(np.asfortranarray(residual), 2, axis=1)[:, ::2]
    before = strided.copy()
    strided.flags.writeable = False
    y = ops.convolve(x, w, BOOK, epilogue=Epilogue(init, strided))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(strided, before)


@every_width
def test_nothing_behind_the_end_is_read(ops, dtype, cin, cout, groups):
    x, w, init, residual = arrays(dtype, BOOK, cin, cout, groups)
    expected = ops.convolve(x, w, BOOK, groups, epilogue=Epilogue(init, residual))
    buffer = np.full(residual.size + 64, np.nan, dtype)
    view = buffer[: residual.size].reshape(residual.shape)
    view[...] = residual
    y = ops.convolve(x, w, BOOK, groups, epilogue=Epilogue(init, view))
    np.testing.assert_array_equal(y, expected)


def test_no_outputs(ops, dtype):
    book = spconv.build_rulebook([], (19, 15), 2, 3, submanifold=True)
    x, w, init, residual = arrays(dtype, book, 3, 5, 1)
    assert ops.convolve(x, w, book, epilogue=Epilogue(init, residual)).shape == (0, 5)
