"""Memory for one launch: nobody else's, as large as it was ever asked for, counts left at zero."""

import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from spconv.ops.cuda.engine import CudaOps
from spconv.ops.cuda.scratch import Scratch


def test_it_grows_and_stays(cupy):
    scratch = Scratch(cupy)
    sums, counts = scratch.of(10, 3)
    assert (sums.dtype, counts.dtype) == (np.float64, np.uint32)
    assert scratch.of(7, 2)[0] is sums
    more, others = scratch.of(11, 1)
    assert (len(more), len(others)) == (11, 3)
    assert others.get().tolist() == [0, 0, 0]


def test_threads_devices_and_streams_have_their_own(emulated, monkeypatch):
    scratch = Scratch(emulated)
    sums, _ = scratch.of(10, 1)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(scratch.of, 10, 1).result()[0] is not sums
    with emulated.cuda.Device(1):
        assert scratch.of(10, 1)[0] is not sums
    assert scratch.of(10, 1)[0] is sums
    stream = types.SimpleNamespace(ptr=5)
    monkeypatch.setattr(emulated.cuda, "get_current_stream", lambda: stream)
    assert scratch.of(10, 1)[0] is not sums


def test_kernels_leave_counts_at_zero(cupy):
    """Sums, pairs, cells and tile maps: what runs next finds zeros."""
    from spconv import SparseConvTensor
    from spconv.geometry import Geometry

    ops, rng = CudaOps(), np.random.default_rng(0)
    indices = np.argwhere(rng.random((2, 20, 30)) < 0.4)
    x = SparseConvTensor(np.ones((len(indices), 3), np.float32), indices, (20, 30), 2)
    for geometry in (Geometry.make(2, 3, submanifold=True), Geometry.make(2, 3, 2, 1)):
        book = ops.build_rulebook(x.sites, geometry, "test")
        rows, w = cupy.asarray(x.features.data), cupy.asarray(np.ones((9, 3, 40), np.float32))
        y = ops.convolve(rows, w, book)
        ops.weight_gradient(rows, y, book)
        ops.sum_rows(y)
    assert not ops._scratch.of(0, 1)[1].get().any()
