"""Certifies the emulation on a device: the same sources there and here, number for number.

The layouts of fragments in ``emulation/tensor_core.h`` are a reading of the PTX documentation.
"""

import numpy as np
import pytest
from emulation import emulate
from emulation.build import SAMPLES, has_compiler
from nvrtc import one_text

from spconv.compat import has_gpu, import_cupy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not has_gpu(), reason="needs a CUDA device"),
    pytest.mark.skipif(not has_compiler(), reason="needs g++"),
]
MACROS = {
    "MMA": "mma_float16",
    "SHIFT": 0,
    "BYTES": 4,
    "WAIT": 0,
    "BARRIER": "__syncthreads()",
    "LOAD_TRANSPOSED": 0,
}


def both(kernel, arguments, threads=32, shared=0, **macros):
    """Run a sample on the device and in the emulation; the arguments of both afterwards."""
    cupy = import_cupy()
    macros = MACROS | macros
    here = [np.array(a) for a in arguments]
    emulate(
        "tensor", 1, threads, here, kernel=kernel, folder=SAMPLES, defines=macros, shared=shared
    )
    there = [cupy.asarray(a) for a in arguments]
    options = ("-std=c++17", *(f"-D{k}={v}" for k, v in macros.items()))
    module = cupy.RawModule(code=one_text(SAMPLES / "tensor.cu"), options=options)
    module.get_function(kernel)((1,), (threads,), tuple(there), shared_mem=shared)
    return [cupy.asnumpy(a) for a in there], here


def assert_same(kernel, arguments, **options):
    for device, emulated in zip(*both(kernel, arguments, **options), strict=True):
        np.testing.assert_array_equal(device, emulated)


@pytest.mark.parametrize("transposed", [0, 1])
def test_matrix_loads(transposed):
    values = np.arange(256, dtype=np.uint16)
    assert_same("dump_matrices", (values, np.zeros((32, 4), np.uint32)), LOAD_TRANSPOSED=transposed)


@pytest.mark.parametrize("product", ["mma_float16", "mma_bfloat16", "mma_tf32"])
def test_products_of_every_register(product):
    """Small integers: every sum is exact, in whatever order a device adds."""
    rng = np.random.default_rng(0)
    for _ in range(8):
        a, b = rng.integers(-8, 9, (32, 4, 2)), rng.integers(-8, 9, (32, 2, 2))
        registers = []
        for values in (a, b):
            exact = values.astype(np.float32)
            if product == "mma_tf32":
                # Products read the upper 19 bits only: what lies below must not matter.
                below = rng.integers(0, 1 << 13, exact.shape[:2], dtype=np.uint32)
                registers.append(exact[..., 0].copy().view(np.uint32) | below)
            elif product == "mma_float16":
                registers.append(exact.astype(np.float16).view(np.uint32)[..., 0].copy())
            else:
                bits = (exact.view(np.uint32) >> 16).astype(np.uint16)
                registers.append(bits.view(np.uint32)[..., 0].copy())
        assert_same("dump_product", (*registers, np.zeros((32, 4), np.float32)), MMA=product)


def test_copies_and_conversions():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(224).astype(np.float32)
    assert_same("copy", (x, np.zeros_like(x)), shared=896)
    assert_same("copy", (x, np.zeros_like(x)), shared=896, BYTES=0)
    values = np.concatenate([x, x * 1e5, [0, -0.0, np.inf, 1 + 2**-11, 1 + 3 * 2**-11]])
    values = values.astype(np.float32)
    n = len(values)
    out = np.zeros(n, np.uint16), np.zeros(n, np.uint32), np.zeros(n, np.float32)
    assert_same("convert", (values, *out), threads=n)
