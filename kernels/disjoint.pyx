"""Rulebooks of windows that do not overlap, over disjoint.h. Callers check every argument."""

import numpy as np

from .memory import empty

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from .memory cimport Block
from .sites cimport Bitmap

cdef extern from "site_index.h" nogil:
    void site_mark(uint64_t* bits, int64_t key)

cdef extern from "disjoint.h" nogil:
    ctypedef struct spconv_windows:
        const int32_t* sites
        int64_t ndim
        int64_t* size
        int64_t* out_shape

    void disjoint_assign(const spconv_windows* windows, int64_t first, int64_t last,
                         int64_t* keys, int32_t* offsets, int64_t* counts)
    void disjoint_pairs(const int64_t* keys, const int32_t* offsets, int64_t first, int64_t last,
                        const uint64_t* bits, const int32_t* ranks, int64_t* next,
                        int32_t* in_rows, int32_t* out_rows)

# Entries of two cache lines: threads that count in one, or in a pair that is fetched together,
# wait for each other.
cdef Py_ssize_t APART = 16


cdef class Windows:
    """The window of every site; marks the windows that have some.

    Parameters
    ----------
    indices : int32 (N, 1 + ndim), sorted
    size, out_shape : tuple of ndim ints
    bits : Bitmap
        A cleared one of the output grid.
    num_threads : int
    """

    cdef Py_ssize_t num_sites, volume, stride
    cdef int num_threads
    cdef Bitmap bits
    cdef Block memory
    # Number of pairs of every offset in each thread's part of the sites: (num_threads, stride), of
    # which K are used.
    cdef int64_t* counts
    # Of the output cell; -1 beyond the last whole window.
    cdef int64_t* keys
    # Kernel offset.
    cdef int32_t* offsets

    def __init__(self, const int32_t[:, ::1] indices, tuple size, tuple out_shape, Bitmap bits,
                 int num_threads):
        cdef Py_ssize_t n = indices.shape[0], axis, i
        cdef int64_t* keys
        cdef int part
        cdef spconv_windows windows
        self.volume = 1
        windows.ndim = len(size)
        for axis in range(windows.ndim):
            windows.size[axis], windows.out_shape[axis] = size[axis], out_shape[axis]
            self.volume *= windows.size[axis]
        self.num_sites, self.num_threads, self.bits = n, num_threads, bits
        self.stride = self.volume + APART
        self.memory = Block(sizeof(int64_t) * (self.stride * num_threads + n)
                            + sizeof(int32_t) * n)
        self.counts = <int64_t*> self.memory.pointer
        self.keys = keys = self.counts + self.stride * num_threads
        self.offsets = <int32_t*> (keys + n)
        memset(self.counts, 0, self.stride * num_threads * sizeof(int64_t))
        if n == 0:
            return
        windows.sites = &indices[0, 0]
        for part in prange(num_threads, nogil=True, schedule="static", num_threads=num_threads):
            disjoint_assign(&windows, part * n // num_threads, (part + 1) * n // num_threads,
                            keys, self.offsets, self.counts + part * self.stride)
        with nogil:
            for i in range(n):
                if keys[i] >= 0:
                    site_mark(bits.bits, keys[i])
            bits.rank()

    def pairs(self):
        """Return in_rows (P,) int32, out_rows (P,) int32 and offset_starts (K + 1,) int64; once."""
        cdef Py_ssize_t n = self.num_sites, k
        cdef int num_threads = self.num_threads, part
        cdef int64_t total = 0, count
        starts_array = empty(self.volume + 1, np.int64)
        cdef int64_t[::1] starts = starts_array
        # The counts become where the next pair of an offset goes.
        cdef int64_t* next = self.counts
        for k in range(self.volume):
            starts[k] = total
            for part in range(num_threads):
                count = next[part * self.stride + k]
                next[part * self.stride + k] = total
                total += count
        starts[self.volume] = total
        rows_array = empty((2, total), np.int32)
        cdef int32_t[:, ::1] rows = rows_array
        if total:
            for part in prange(num_threads, nogil=True, schedule="static",
                               num_threads=num_threads):
                disjoint_pairs(self.keys, self.offsets, part * n // num_threads,
                               (part + 1) * n // num_threads, self.bits.bits, self.bits.ranks,
                               next + part * self.stride, &rows[0, 0], &rows[1, 0])
        rows_array.setflags(False)  # nor are its rows to be written to
        return rows_array[0], rows_array[1], starts_array
