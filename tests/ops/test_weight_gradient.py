"""How a weight's gradient is shared out among threads."""

from itertools import pairwise

import numpy as np
import pytest
from engine_checks import random
from hypothesis import given, settings
from hypothesis import strategies as st

from spconv.kernels import convolution
from spconv.testing import assert_close, tolerance

ROWS = 40


@st.composite
def sums(draw):
    """Pairs of some offsets, many, few or none each, with channels and threads."""
    counts = draw(st.lists(st.sampled_from([0, 1, 3, 39, ROWS]), min_size=1, max_size=9))
    groups = draw(st.sampled_from([1, 2]))
    cin, cout = (draw(st.sampled_from([1, 3, 8, 17, 64])) for _ in range(2))
    return counts, groups, cin, cout, draw(st.sampled_from([2, 3, 5, 16, 61]))


@given(sums(), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=150, deadline=None)
def test_every_offset_and_channel_has_one_thread(case, dtype):
    counts, groups, cin, cout, threads = case
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((ROWS, groups * width)).astype(dtype) for width in (cin, cout))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = [np.sort(rng.permutation(ROWS)[:count]) for count in counts]
    out_rows = np.concatenate(rows).astype(np.int32)
    in_rows = rng.integers(0, ROWS, len(out_rows), dtype=np.int32)

    def gradient(num_threads):
        dw = np.zeros((len(counts), cin, groups * cout), dtype)
        pairs, isa = (in_rows, out_rows, starts), convolution.best_isa()
        convolution.weight_gradient(x, dy, *pairs, dw, groups, isa, num_threads)
        return dw

    one = gradient(1)
    assert gradient(threads).tobytes() == one.tobytes()
    for actual, (begin, end) in zip(one, pairwise(starts), strict=True):
        a = x[in_rows[begin:end]].reshape(-1, groups, cin).astype(float)
        b = dy[out_rows[begin:end]].reshape(-1, groups, cout).astype(float)
        exact = np.einsum("pgi,pgo->igo", a, b).reshape(cin, -1)
        bound = tolerance(dtype, len(a)) * max(1.0, np.abs(exact).max())
        assert np.abs(actual - exact).max() <= bound


@pytest.mark.parametrize(("cin", "cout"), [(1, 8), (33, 7), (64, 64)])
def test_weight_gradients_of_many_rows_keep_their_digits(ops, cin, cout):
    """Of one sign, so that rounding errors do not cancel; of sixteen segments."""
    rows = 3 * 32 * 1024 + 1000
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1, (rows, cin)).astype(np.float32)
    dy = rng.uniform(0.5, 1, (rows, cout)).astype(np.float32)
    expected = x.astype(np.float64).T @ dy.astype(np.float64)
    np.testing.assert_allclose(ops.matmul_gradient(x, dy), expected, rtol=1e-5)
    results = []
    for threads in (1, 2, 3):
        dw, pairs = np.zeros((1, cin, cout), np.float32), np.arange(rows, dtype=np.int32)
        starts = np.array([0, rows])
        convolution.weight_gradient(x, dy, pairs, pairs, starts, dw, 1, ops.isa, threads)
        results.append(dw)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize(("groups", "channels"), [(1, 8), (3, 21), (1, 64)])
def test_weight_gradients_of_many_segments_do_not_depend_on_threads(dtype, groups, channels):
    """One offset without pairs, one of all rows, and most of the others' in the last rows."""
    rng, rows, volume = np.random.default_rng(0), 20_000, 4
    shares = np.linspace(0, 1, rows) ** 3
    out_rows = [np.empty(0, np.int64), np.arange(rows)]
    out_rows += [np.flatnonzero(rng.random(rows) < shares) for _ in range(volume - 2)]
    in_rows = [rng.permutation(rows)[: len(own)].astype(np.int32) for own in out_rows]
    starts = np.cumsum([0, *map(len, out_rows)])
    x, dy = (random(rng, dtype, rows, channels) for _ in range(2))
    results = []
    for threads in (1, 2, 3, 8):
        dw = np.zeros((volume, channels // groups, channels), dtype)
        pairs = np.concatenate(in_rows), np.concatenate(out_rows).astype(np.int32), starts
        convolution.weight_gradient(x, dy, *pairs, dw, groups, convolution.best_isa(), threads)
        results.append(dw)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    own = channels // groups
    for k, (ins, outs) in enumerate(zip(in_rows, out_rows, strict=True)):
        for group in range(groups):
            part = slice(group * own, (group + 1) * own)
            expected = x[ins, part].T.astype("f8") @ dy[outs, part].astype("f8")
            assert_close(results[0][k, :, part], expected, tolerance(dtype, rows // 4), "dw")
