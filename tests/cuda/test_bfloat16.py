"""bfloat16 kernels. NumPy has no such type: its bits stand in for it, under the name of uint16."""

import numpy as np
import pytest
from convolutions import from_storage, to_storage

import spconv
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)


@pytest.fixture
def ops(emulated, monkeypatch):
    monkeypatch.setitem(ARITHMETIC, "uint16", ARITHMETIC["bfloat16"])
    return CudaOps()


def random(*shape, seed=0):
    return to_storage(np.random.default_rng(seed).standard_normal(shape), "bfloat16")


def compare(ops, name, *arguments, result=np.uint16):
    device = [ops.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    floats = [
        from_storage(a) if isinstance(a, np.ndarray) and a.dtype == np.uint16 else a
        for a in arguments
    ]
    actual = getattr(ops, name)(*device).get()
    assert actual.dtype == result
    expected = getattr(SPECIFICATION, name)(*floats)
    assert_close(from_storage(actual), expected, tolerance("bfloat16", 8), name)


def test_elementwise(ops):
    x, dy = random(37, 33), random(37, 33, seed=1)
    vectors = [from_storage(random(33, seed=seed)).astype(np.float32) for seed in (2, 3, 4)]
    compare(ops, "sum_rows", x, result=np.float32)
    compare(ops, "leaky_relu", x, 1 / 3)
    compare(ops, "leaky_relu_gradient", x, dy, 1 / 3)
    for kind in ("silu", "gelu"):
        compare(ops, "gate", x, kind)
        compare(ops, "gate_gradient", x, dy, kind)
    compare(ops, "normalize", x, *vectors)
    compare(ops, "moments_gradient", x, *vectors)
    compare(ops, "sum_centred_squares", x, vectors[0], result=np.float32)
    compare(ops, "sum_centred_products", dy, x, vectors[0], result=np.float32)


def test_pooling(ops):
    indices = np.argwhere(np.random.default_rng(0).random((2, 9, 7)) < 0.35)
    book = spconv.build_rulebook(indices, (9, 7), 2, 2, 2)
    x, g = random(len(book.in_sites), 7), random(7, seed=1)
    compare(ops, "sum_pairs", x, book, result=np.float32)
    y, winner = ops.max_pairs(ops.xp.asarray(x), book, ops.xp.asarray(g))
    expected, expected_winner = SPECIFICATION.max_pairs(from_storage(x), book, from_storage(g))
    np.testing.assert_array_equal(from_storage(y.get()), expected)
    np.testing.assert_array_equal(winner.get(), expected_winner)
    compare(ops, "max_pairs_gradient", random(*y.shape, seed=2), expected_winner, book)
