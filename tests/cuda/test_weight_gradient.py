"""The weight-gradient kernels in the emulation, against NumPy in float64."""

import numpy as np
import pytest
from convolutions import (
    from_storage,
    partners,
    random_pairs,
    relative_error,
    to_storage,
    weight_gradient,
)
from emulation import ORDERS, EmulationError
from emulation.build import has_compiler
from launches import run_weight_gradient

from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.ops.cuda.tiles import split_pairs
from spconv.testing.tolerances import tolerance

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs g++")

CASES = [  # kind, cin, cout, groups, volume, density
    ("float16", 64, 64, 1, 27, 0.3),
    ("float16", 13, 183, 1, 8, 0.5),
    ("bfloat16", 1, 3, 1, 125, 0.2),
    ("bfloat16", 100, 32, 1, 1, 1.0),
    ("tf32", 32, 48, 1, 8, 0.5),
    ("float32", 61, 7, 2, 8, 0.5),
    ("float64", 7, 13, 3, 27, 0.3),
    ("float64", 70, 64, 1, 8, 0.3),
]


def small_tasks(starts, longest):
    """Many tasks per offset, their ends anywhere within a tile of pairs."""
    counts = np.diff(starts)
    tasks = -(-counts // 29)
    ends = [starts[k] + counts[k] * np.arange(1, n + 1) // n for k, n in enumerate(tasks) if n]
    return (
        np.concatenate([[0], *ends]).astype(np.int64),
        np.concatenate([[0], np.cumsum(tasks)]).astype(np.int32),
    )


def check(rng, case, num_in=90, num_out=150, orders=ORDERS, **options):
    kind, cin, cout, groups, volume, density = case
    pairs = random_pairs(rng, num_in, num_out, volume, density)
    x = to_storage(rng.standard_normal((num_in, groups * cin)), ARITHMETIC[kind].storage)
    dy = to_storage(rng.standard_normal((num_out, groups * cout)), ARITHMETIC[kind].storage)
    expected = weight_gradient(from_storage(x), from_storage(dy), pairs, groups)
    longest = int(np.diff(pairs.starts).max(initial=1))
    results = []
    for order in orders:
        dw = run_weight_gradient(kind, x, dy, pairs, groups, order=order, **options)
        # Products of 16-bit operands are exact in the sum's float32; nothing else is rounded.
        sums = {"float16": "float32", "bfloat16": "float32"}.get(kind, kind)
        assert relative_error(dw, expected) <= tolerance(sums, longest), order
        results.append(dw)
    for dw in results[1:]:
        np.testing.assert_array_equal(dw, results[0])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("split", [split_pairs, small_tasks])
def test_weight_gradient(rng, case, split):
    check(rng, case, split=split)


def test_no_pairs_give_zeros(rng):
    pairs = random_pairs(rng, 5, 5, 3, 0)
    x = rng.standard_normal((5, 7))
    assert (run_weight_gradient("float64", x, x, pairs) == 0).all()


BUGS = {
    "missing barrier": {"__syncthreads();  // everyone's": "// everyone's"},
    "one copy too few waited for": {"wait<STAGES - 2>": "wait<STAGES - 1>"},
    "pairs of the next task": {"there = pair < last": "there = pair < last + 1"},
    "wrong stage": {"writing = STAGES - 1;": "writing = STAGES - 2;"},
    "matrices exchanged": {
        "lane / 16 * 8 + lane % 8) * X_ROW": "lane / 8 % 2 * 8 + lane % 8) * X_ROW"
    },
}


@pytest.mark.parametrize("bug", BUGS)
def test_injected_bugs_are_caught(rng, bug):
    case = ("float16", 64, 64, 1, 2, 0.9)
    check(rng, case, 190, 200, split=small_tasks)
    caught = 0
    for order in ORDERS:
        try:
            check(rng, case, 190, 200, [order], replace=BUGS[bug], split=small_tasks)
            check(rng, case, 190, 200, [order], replace=BUGS[bug])
        except (AssertionError, EmulationError):
            caught += 1
    assert caught, bug


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ARITHMETIC))
@pytest.mark.parametrize(("cin", "cout"), partners((1, 3, 4, 8, 13, 32, 96, 183)))
def test_lattice(rng, kind, cin, cout):
    for volume, groups, density in ((1, 1, 1), (8, 2, 0.3), (27, 1, 0.3)):
        check(rng, (kind, cin, cout, groups, volume, density), 60, 100, orders=["random"])
