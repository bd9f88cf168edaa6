"""A product and the sum that it is added to are rounded alike in every path of the kernels.

Which path computes a row depends on the rows beside it, and so on how threads share them out.
"""

import numpy as np
import pytest
from engine_checks import convolve_rows, random, roundings, weight_gradient_of_rows

from spconv.ops.cpu import INSTRUCTION_SETS

CHANNELS = [1, 3, 4, 7, 8, 9, 13, 16, 17, 24, 33, 34, 70]
"""Whole and broken vectors of every size, blocks of them, and weights that are held."""
ROWS = 26
"""Blocks of every number of rows, alone and behind whole ones; one chunk of pairs."""

each_width = pytest.mark.parametrize("cin", CHANNELS)


@each_width
def test_a_row_among_others_is_the_row_alone(ops, dtype, cin):
    rng = np.random.default_rng(cin)
    for cout in CHANNELS:
        x, w = random(rng, dtype, ROWS, cin), random(rng, dtype, 1, cin, cout)
        residual = random(rng, dtype, ROWS, cout)
        each = (slice(i, i + 1) for i in range(ROWS))
        alone = np.concatenate([convolve_rows(ops, x[i], w, residual[i]) for i in each])
        for count in range(2, ROWS + 1):
            y = convolve_rows(ops, x[:count], w, residual[:count])
            np.testing.assert_array_equal(y, alone[:count], f"{count} rows of {cout} channels")


@each_width
def test_a_weight_gradient_among_others_is_that_of_its_channel_alone(ops, dtype, cin):
    rng = np.random.default_rng(cin)
    for cout in CHANNELS:
        x, dy = random(rng, dtype, ROWS, cin), random(rng, dtype, ROWS, cout)
        each = (x[:, c : c + 1].copy() for c in range(cin))
        alone = np.concatenate([weight_gradient_of_rows(ops, one, dy) for one in each])
        dw = weight_gradient_of_rows(ops, x, dy)
        np.testing.assert_array_equal(dw, alone, f"{cout} channels")


def test_every_product_is_rounded_with_its_sum_or_none_is(ops, dtype):
    seen = set()
    for cin in CHANNELS:
        for cout in CHANNELS:
            seen |= roundings(ops, dtype, cin, cout, ROWS)
    if INSTRUCTION_SETS[ops.isa] == "portable":
        assert seen in ({0.0}, {1.0})
    else:
        assert seen == {1.0}


@each_width
def test_products_are_summed_before_they_are_added(ops, dtype, cin):
    """Halves beside a number whose last digit is 2: one by one they would all be lost."""
    large = dtype(2.0**25 if dtype == np.float32 else 2.0**54)
    for cout in CHANNELS:
        x, w = np.ones((ROWS, cin), dtype), np.full((1, cin, cout), 0.5, dtype)
        for count in (1, 2, ROWS):
            y = convolve_rows(ops, x[:count], w, np.full((count, cout), large))
            np.testing.assert_array_equal(y, large + dtype(cin / 2))
