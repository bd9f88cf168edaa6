"""What only a device can show: repeated bits at full size, and steps without the host."""

import numpy as np
import pytest

import spconv
from spconv.compat import has_gpu, import_cupy
from spconv.geometry import Geometry
from spconv.ops import CpuOps
from spconv.ops.cuda import CudaOps
from spconv.ops.settings import CUDA_PRECISIONS
from spconv.rulebook import build
from spconv.sites import SiteSet
from spconv.testing import assert_close, tolerance

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not has_gpu(), reason="needs a CUDA device"),
]


def surface(extent=160):
    """About 100,000 sites: a few planes and a sphere."""
    z, y, x = np.ogrid[:extent, :extent, :extent]
    center = extent / 2
    sphere = np.abs(np.sqrt((x - center) ** 2 + (y - center) ** 2 + (z - center) ** 2) - 50) < 0.6
    planes = (np.abs(x + 2 * y - 200) < 1) | (np.abs(z - y - 3) < 0.5)
    indices = np.argwhere((sphere | planes)[None]).astype(np.int32)
    return SiteSet(np.ascontiguousarray(indices), (extent,) * 3, 1)


@pytest.fixture(scope="module")
def case():
    ops, sites = CudaOps(), surface()
    book = ops.build_rulebook(sites, Geometry.make(3, 3, submanifold=True), "test")
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, len(sites), 64), np.float32)
    w = rng.standard_normal((27, 64, 64), np.float32)
    return ops, sites, book, x, dy, w


def run(ops, book, x, dy, w):
    return (
        ops.convolve(x, w, book),
        ops.convolve(dy, w, book.inverse, transposed=True),
        ops.weight_gradient(x, dy, book),
    )


def test_rulebook_at_full_size(case):
    _, sites, book, *_ = case
    assert len(sites) > 50_000
    expected = build(sites, book.geometry, "test")
    np.testing.assert_array_equal(book.in_rows, expected.in_rows)
    np.testing.assert_array_equal(book.out_rows, expected.out_rows)


@pytest.mark.parametrize("kind", ["float32", "tf32", "bfloat16", "float64", "float16"])
def test_against_the_cpu_and_itself(case, kind):
    """The same bits ten times over, within tolerance of the CPU engine in float64."""
    ops, _, book, *arrays = case
    dtype = "float32" if kind in CUDA_PRECISIONS else kind
    device = [ops.xp.asarray(array.astype(dtype)) for array in arrays]
    if kind in CUDA_PRECISIONS:
        spconv.set_cuda_precision(kind)
    try:
        first = run(ops, book, *device)
        for _ in range(9):
            for one, two in zip(first, run(ops, book, *device), strict=True):
                assert bool((one == two).all())
    finally:
        spconv.set_cuda_precision("float32")
    wide = [array.get().astype(np.float64) for array in device]
    expected = run(CpuOps(), build(book.in_sites, book.geometry, "test"), *wide)
    for result, reference, length in zip(
        first, expected, (27 * 64, 27 * 64, len(wide[0])), strict=True
    ):
        assert_close(result.get(), reference, tolerance(kind, length), kind)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
def test_tuning_changes_no_bit(case, kind, monkeypatch, tmp_path):
    ops, _, book, *arrays = case
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    dtype = "float32" if kind in CUDA_PRECISIONS else kind
    device = [ops.xp.asarray(array.astype(dtype)) for array in arrays]
    if kind in CUDA_PRECISIONS:
        spconv.set_cuda_precision(kind)
    try:
        expected = run(ops, book, *device)
        spconv.set_cuda_tuning(True)
        tuned = run(CudaOps(), book, *device)
    finally:
        spconv.set_cuda_precision("float32")
        spconv.set_cuda_tuning(False)
    assert (tmp_path / "spconv_tiles.json").exists()
    for one, two in zip(expected, tuned, strict=True):
        assert bool((one == two).all())


def test_a_step_needs_no_host(case):
    """A stream that is being captured refuses every synchronization."""
    ops, _, book, *arrays = case
    cupy = import_cupy()
    device = [cupy.asarray(array) for array in arrays]
    # The uploads ran on the null stream, behind which a non-blocking stream does not wait.
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        expected = [array.get() for array in run(ops, book, *device)]  # warms the memory pool
        kept = run(ops, book, *device)
        del kept
        stream.synchronize()
        stream.begin_capture()
        results = run(ops, book, *device)
        graph = stream.end_capture()
        for _ in range(3):
            graph.launch(stream)
        stream.synchronize()
        for result, reference in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result.get(), reference)
