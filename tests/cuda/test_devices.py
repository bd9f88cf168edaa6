"""What is kept with a rulebook is kept for one device."""

import gc
import weakref

import numpy as np
from fake_cupy import Device

from spconv.geometry import Geometry
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.regions import region_rulebook
from spconv.sites import SiteSet


def sites():
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((2, 6, 6)) < 0.5)).astype(np.int32)
    return SiteSet(np.ascontiguousarray(indices), (6, 6), 2)


def test_every_device_has_copies_of_its_own(emulated):
    """An array of one device in a launch on another is an illegal address."""
    ops, where = CudaOps(), sites()
    book = Ops(np).build_rulebook(where, Geometry.make(2, 3, submanifold=True), "test")
    cuts = np.array([0, 2, 3, 5], np.int64)
    regions = region_rulebook(where, [cuts, cuts], True)
    results = []
    for number in (0, 1, 0):
        with Device(number):
            x = emulated.ones((len(where), 8), np.float32)
            w = emulated.ones((9, 8, 8), np.float32)
            y = ops.convolve(x, w, book)
            results.append(
                [
                    y,
                    ops.convolve(y, w, book.inverse, transposed=True),
                    ops.weight_gradient(x, y, book),
                    ops.matmul(x, w[0]),
                    ops.matmul_gradient(x, y),
                    ops.max_pairs(x, regions, x[0] * 2)[0],
                    ops.sum_samples(x, where),
                ]
            )
            assert all(array.device == number for array in results[-1])
    for other in results[1:]:
        for array, first in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(array.get(), first.get())


def test_copies_go_with_what_they_are_of(emulated):
    ops, where = CudaOps(), sites()
    book = Ops(np).build_rulebook(where, Geometry.make(2, 3, submanifold=True), "test")
    x = emulated.ones((len(where), 8), np.float32)
    ops.convolve(x, emulated.ones((9, 8, 8), np.float32), book)
    table = weakref.ref(ops._store.table(book))
    assert table() is not None
    del book
    gc.collect()
    assert table() is None
