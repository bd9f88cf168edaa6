"""SiLU and GELU as compiled, against SciPy's functions in float64."""

import numpy as np
import pytest
from scipy.special import erfc, expit

from spconv import threads
from spconv.ops.base import Ops
from spconv.ops.cpu import CpuOps

CPU, SPECIFICATION = CpuOps(), Ops(np)
KINDS = ["silu", "gelu"]
VALUES = np.concatenate(
    [
        np.random.default_rng(0).standard_normal(20_000) * 3,
        np.linspace(-120, 120, 20_001),
        [-0.0, 1e-40, -1e-40, 3e38, -3e38, 1e-3, -1e-3],
    ]
).astype(np.float32)


def share(x, kind):
    return expit(x) if kind == "silu" else 0.5 * erfc(-x / np.sqrt(2))


def density(x, kind):
    if kind == "silu":
        return expit(x) * expit(-x)
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_rounded_well(kind):
    """Of every size, denormal ones too: six tenths of the distance between floats."""
    exact = VALUES.astype(np.float64)
    expected = exact * share(exact, kind)
    off = abs(CPU.gate(VALUES, kind) - expected) / np.spacing(abs(expected.astype(np.float32)))
    assert off.max() < 0.65


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    exact = VALUES.astype(np.float64)
    dy = np.random.default_rng(1).standard_normal(len(VALUES)).astype(np.float32)
    near = exact.clip(-100, 100)
    expected = dy * (share(exact, kind) + near * density(near, kind))
    np.testing.assert_allclose(CPU.gate_gradient(VALUES, dy, kind), expected, 2e-7, 1e-8)


@pytest.mark.parametrize("ops", [CPU, SPECIFICATION], ids=["cpu", "numpy"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite(kind, dtype, ops):
    x = np.array([np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(ops.gate(x, kind), [np.inf, 0, np.nan])
    np.testing.assert_array_equal(ops.gate_gradient(x, np.ones_like(x), kind), [1, 0, np.nan])
    y = ops.gate_gradient(np.ones(2, dtype), np.array([np.inf, np.nan], dtype), kind)
    np.testing.assert_array_equal(y, [np.inf, np.nan])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_memory_order(kind, dtype):
    rng = np.random.default_rng(2)
    grid = np.moveaxis(rng.standard_normal((2, 5, 4, 3)), -1, 1).astype(dtype, order="K")
    for x in (grid, grid[::2, 1:], np.broadcast_to(grid[0], (3, 3, 5, 4)), grid[:0]):
        dy = rng.standard_normal(x.shape).astype(dtype)
        y, dx = CPU.gate(x, kind), CPU.gate_gradient(x, dy, kind)
        assert y.dtype == dx.dtype == dtype
        bound = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(y, SPECIFICATION.gate(x, kind), bound, bound)
        np.testing.assert_allclose(dx, SPECIFICATION.gate_gradient(x, dy, kind), bound, bound)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_wherever_a_value_stands(kind, monkeypatch):
    """In a vector, behind the last whole one, in the part of another thread."""
    monkeypatch.setattr(threads, "WORTH_WAKING", 0)
    monkeypatch.setitem(threads._state, "num_threads", 3)
    monkeypatch.setitem(threads._state, "chosen", True)
    x = VALUES[:9001]
    whole, dy = CPU.gate(x, kind), np.ones_like(x)
    slopes = CPU.gate_gradient(x, dy, kind)
    for first in (1, 5, 4096, 8998):
        np.testing.assert_array_equal(CPU.gate(x[first:], kind), whole[first:])
        np.testing.assert_array_equal(
            CPU.gate_gradient(x[first:], dy[first:], kind), slopes[first:]
        )
