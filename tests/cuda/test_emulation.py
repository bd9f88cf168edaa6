"""The emulation itself: it computes what a device computes, and sees what a device would punish."""

import numpy as np
import pytest
from emulation import ORDERS, EmulationError, emulate
from emulation.build import SAMPLES, has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs g++")


def plain(kernel, grid, block, args, mask="~0u", **options):
    emulate(
        "plain", grid, block, args, kernel=kernel, folder=SAMPLES, defines={"MASK": mask}, **options
    )


def tensor(kernel, grid, block, args, replace=None, order="forward", shared=0, **defines):
    macros = {
        "MMA": "mma_float16",
        "SHIFT": 0,
        "BYTES": 4,
        "WAIT": 0,
        "BARRIER": "__syncthreads()",
        "LOAD_TRANSPOSED": 0,
    }
    emulate(
        "tensor",
        grid,
        block,
        args,
        kernel=kernel,
        folder=SAMPLES,
        defines=macros | defines,
        replace=replace,
        order=order,
        shared=shared,
    )


@pytest.mark.parametrize("order", ORDERS)
def test_plain_kernels(order, rng):
    x = rng.standard_normal((5, 300)).astype(np.float32)
    y, count = np.zeros(5), np.zeros(1, np.int32)
    plain("sum_rows", 5, 128, (x, y, np.int64(300), count), order=order, seed=1)
    np.testing.assert_allclose(y, x.sum(1, dtype=np.float64), rtol=1e-13)
    assert count[0] == 5

    x, y = np.arange(150, dtype=np.int32), np.zeros(150, np.int32)
    plain("reverse", 3, 64, (x, y, np.int32(150)), shared=256, order=order, seed=2)
    assert y.tolist() == [*range(63, -1, -1), *range(127, 63, -1), *range(149, 127, -1)]

    flags, total = (rng.random(100) < 0.3).astype(np.uint8), np.zeros(1, np.int32)
    found = np.full(100, -1, np.int32)
    plain("compact", 1, 32, (flags, found, np.int32(100), total), order=order, seed=3)
    assert found[: total[0]].tolist() == np.flatnonzero(flags).tolist()
    assert (found[total[0] :] == -1).all()

    votes = np.zeros((96, 6), np.int32)
    plain("votes", 1, 96, (votes,), order=order, seed=4)
    lane, warp = np.arange(96) % 32, np.arange(96) // 32 * 32
    assert (votes[:, :3] == [32, 1, 0]).all()
    assert (votes[:, 3] == warp + np.where(lane + 3 < 32, lane + 3, lane)).all()
    assert (votes[:, 4] == warp + np.where(lane >= 2, lane - 2, lane)).all()
    assert (votes[:, 5] == warp + lane // 16 * 16 + 5).all()


def test_missing_barrier_shows():
    x, y = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    wrong = []
    for order in ORDERS:
        plain("reverse", 1, 64, (x, y, np.int32(64)), shared=256, order=order)
        assert (y == x[::-1]).all()
        plain(
            "reverse",
            1,
            64,
            (x, y, np.int32(64)),
            shared=256,
            order=order,
            replace={
                "chunk[threadIdx.x] = x[i];\n    __syncthreads();": "chunk[threadIdx.x] = x[i];"
            },
        )
        wrong.append((y != x[::-1]).any())
    assert any(wrong)


def test_what_a_device_would_punish():
    x = np.zeros(64, np.float32)
    plain("write_at", 1, 1, (x, np.int32(63)))
    assert x[63] == 1
    for outside in (-1, 64):
        with pytest.raises(EmulationError, match="outside an array"):
            plain("write_at", 1, 1, (x, np.int32(outside)))
    with pytest.raises(EmulationError, match="deadlock"):
        plain("divergent", 1, 32, (np.zeros(32, np.int32),))
    plain("divergent", 1, 32, (np.zeros(32, np.int32),), mask="0xffffu")
    with pytest.raises(EmulationError, match="more than 227 KB"):
        plain("write_at", 1, 1, (x, np.int32(0)), shared=232449)
    with pytest.raises(EmulationError, match="a block of 1025 threads"):
        plain("write_at", 1, 1025, (x, np.int32(0)))
    plain("half_barrier", 1, 64, (np.zeros(64, np.int32),))


def test_arguments_must_have_the_kernels_types():
    x = np.zeros(4, np.float32)
    with pytest.raises(TypeError, match="argument 1 must be a NumPy scalar of type i4, got int64"):
        plain("write_at", 1, 1, (x, np.int64(0)))
    with pytest.raises(TypeError, match="argument 1 must be a NumPy scalar of type i4, got <class"):
        plain("write_at", 1, 1, (x, 0))
    with pytest.raises(TypeError, match="argument 0 is float64, the kernel has \\*f4"):
        plain("write_at", 1, 1, (x.astype(float), np.int32(0)))
    with pytest.raises(TypeError, match="expected 2 arguments"):
        plain("write_at", 1, 1, (x,))
    with pytest.raises(TypeError, match=r"argument 0 is None; the null pointer is np.intp\(0\)"):
        plain("write_at", 1, 1, (None, np.int32(0)))
    x.flags.writeable = False
    with pytest.raises(TypeError, match="read-only"):
        plain("write_at", 1, 1, (x, np.int32(0)))


@pytest.mark.parametrize("order", ORDERS)
def test_tensor_cores(order, rng):
    a, b = rng.standard_normal((16, 16)), rng.standard_normal((16, 8))
    half_a, half_b = a.astype(np.float16), b.astype(np.float16)
    c = np.zeros((16, 8), np.float32)
    tensor("multiply", 1, 32, (half_a.view(np.uint16), half_b.view(np.uint16), c), order=order)
    np.testing.assert_allclose(c, half_a.astype(float) @ half_b.astype(float), rtol=1e-5, atol=1e-5)

    coarse_a, coarse_b = np.round(a * 4), np.round(b * 4)  # exact in bfloat16 and tf32
    bits_a = (coarse_a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    bits_b = (coarse_b.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensor("multiply", 1, 32, (bits_a, bits_b, c), order=order, MMA="mma_bfloat16")
    np.testing.assert_array_equal(c, coarse_a @ coarse_b)
    left = np.ascontiguousarray(coarse_a[:, :8], np.float32)
    right = np.ascontiguousarray(coarse_b[:8], np.float32)
    tensor("multiply_tf32", 1, 32, (left, right, c), order=order)
    np.testing.assert_array_equal(c, left @ right)


def test_matrix_loads_give_lanes_what_ptx_says():
    values, registers = np.arange(256, dtype=np.uint16), np.zeros((32, 4), np.uint32)
    matrices = values.reshape(4, 8, 8)
    for transposed in (0, 1):
        tensor("dump_matrices", 1, 32, (values, registers), LOAD_TRANSPOSED=transposed)
        for lane in range(32):
            for i in range(4):
                matrix = matrices[i].T if transposed else matrices[i]
                low, high = matrix[lane // 4, lane % 4 * 2 : lane % 4 * 2 + 2].tolist()
                assert registers[lane, i] == low | high << 16


def test_copies_in_the_background(rng):
    x, y = rng.standard_normal(224).astype(np.float32), np.zeros(224, np.float32)
    tensor("copy", 1, 32, (x, y), shared=896)
    np.testing.assert_array_equal(y, x)
    tensor("copy", 1, 32, (x, y), shared=896, BYTES=0)
    assert y[0] == 0
    assert (y[1:] == x[1:]).all()


@pytest.mark.parametrize(
    ("bug", "message"),
    [
        ({"SHIFT": 1, "replace": {"copy_async_4(": "copy_async_8("}}, "source is not aligned"),
        ({"shared": 892}, "outside shared memory"),
        ({"WAIT": 1}, "did not wait"),
        ({"replace": {"x + 96": "x + 97 * 4"}}, "outside every array"),
    ],
)
def test_misused_copies(bug, message):
    x, y = np.zeros(224, np.float32), np.zeros(224, np.float32)
    with pytest.raises(EmulationError, match=message):
        tensor("copy", 1, 32, (x, y), **{"shared": 896} | bug)


def test_reading_too_early_is_poison(rng):
    """The last group is still under way; it is waited for after the reads."""
    x, y = rng.standard_normal(224).astype(np.float32), np.zeros(224, np.float32)
    late = {
        "y[from] = __uint_as_float(load_shared(shared_address(buffer + from)));\n    }": (
            "y[from] = __uint_as_float(load_shared(shared_address(buffer + from)));\n    }\n"
            "    __syncthreads();\n    copy_async_wait<0>();"
        )
    }
    tensor("copy", 1, 32, (x, y), shared=896, WAIT=1, replace=late)
    assert (y[:96] == x[:96]).all()
    assert np.isnan(y[96:]).all()
    tensor("copy", 1, 32, (x, y), shared=896, BARRIER="")
    assert np.isnan(y).any()


def test_conversions():
    x = np.array(
        [0, 1, -2.5, 65504, 70000, 1e-7, 1 + 2**-11, 1 + 3 * 2**-11, np.inf, np.nan, 3.1, -0.0]
    )
    x = x.astype(np.float32)
    n = len(x)
    half, tf32, back = np.zeros(n, np.uint16), np.zeros(n, np.uint32), np.zeros(n, np.float32)
    tensor("convert", 1, n, (x, half, tf32, back))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half.view(np.float16), x.astype(np.float16))
    np.testing.assert_array_equal(back, half.view(np.float16).astype(np.float32))
    finite = np.isfinite(x)
    near = tf32.view(np.float32)
    assert (np.abs(near[finite] - x[finite]) <= 2.0**-11 * np.abs(x[finite])).all()
    assert near[6] == 1 + 2**-10  # a tie goes away from zero
    assert (tf32 & 0x1FFF == 0)[finite].all()
