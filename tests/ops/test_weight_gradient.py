"""How a weight's gradient is shared out among threads."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spconv.kernels import convolution
from spconv.testing.tolerances import tolerance

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
