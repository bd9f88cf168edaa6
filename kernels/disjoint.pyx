"""Rulebooks of windows that do not overlap, over disjoint.h. Callers check every argument."""

import numpy as np

from .memory import empty

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "site_index.h" nogil:
    void site_mark(uint64_t* bits, int64_t key)

cdef extern from "disjoint.h" nogil:
    ctypedef struct spconv_windows:
        const int32_t* sites
        int64_t ndim
        const int64_t* size
        const int64_t* out_shape

    void disjoint_assign(const spconv_windows* windows, int64_t first, int64_t last,
                         int64_t* keys, int32_t* offsets, int64_t* counts)
    void disjoint_pairs(const int64_t* keys, const int32_t* offsets, int64_t first, int64_t last,
                        const uint64_t* bits, const int32_t* ranks, int64_t* next,
                        int32_t* in_rows, int32_t* out_rows)


def assign(const int32_t[:, ::1] indices, const int64_t[::1] size, const int64_t[::1] out_shape,
           uint64_t[::1] bits, int num_threads):
    """Give every site its window, and mark the windows that have some.

    Parameters
    ----------
    indices : int32 (N, 1 + ndim), sorted
    size, out_shape : int64 (ndim,)
    bits : uint64
        A cleared bitmap of the output grid.

    Returns
    -------
    keys : int64 (N,)
        Of the output cell; -1 beyond the last whole window.
    offsets : int32 (N,)
        Kernel offset.
    counts : int64 (num_threads, K)
        Number of pairs of every offset in each thread's part of the sites.
    """
    cdef Py_ssize_t n = indices.shape[0], axis, i
    cdef int part
    cdef Py_ssize_t volume = 1
    for axis in range(size.shape[0]):
        volume *= size[axis]
    keys_array, offsets_array = empty(n, np.int64), empty(n, np.int32)
    counts_array = np.zeros((num_threads, volume), np.int64)
    cdef int64_t[::1] keys = keys_array
    cdef int32_t[::1] offsets = offsets_array
    cdef int64_t[:, ::1] counts = counts_array
    cdef spconv_windows windows
    windows.ndim, windows.size, windows.out_shape = size.shape[0], &size[0], &out_shape[0]
    if n:
        windows.sites = &indices[0, 0]
        for part in prange(num_threads, nogil=True, schedule="static", num_threads=num_threads):
            disjoint_assign(&windows, part * n // num_threads, (part + 1) * n // num_threads,
                            &keys[0], &offsets[0], &counts[part, 0])
        with nogil:
            for i in range(n):
                if keys[i] >= 0:
                    site_mark(&bits[0], keys[i])
    return keys_array, offsets_array, counts_array


def pairs(const int64_t[::1] keys, const int32_t[::1] offsets, const int64_t[:, ::1] counts,
          const uint64_t[::1] bits, const int32_t[::1] ranks):
    """Return in_rows (P,) int32, out_rows (P,) int32 and offset_starts (K + 1,) int64.

    Parameters
    ----------
    keys, offsets, counts
        As from :func:`assign`.
    bits, ranks : uint64, int32
        The marked bitmap, and the number of marked cells before each of its words.
    """
    cdef Py_ssize_t n = keys.shape[0], volume = counts.shape[1], k
    cdef int num_threads = <int> counts.shape[0], part
    cdef int64_t total = 0
    starts_array = np.empty(volume + 1, np.int64)
    cdef int64_t[::1] starts = starts_array
    cdef int64_t[:, ::1] next = np.empty((num_threads, volume), np.int64)
    for k in range(volume):
        starts[k] = total
        for part in range(num_threads):
            next[part, k] = total
            total += counts[part, k]
    starts[volume] = total
    in_array, out_array = empty(total, np.int32), empty(total, np.int32)
    cdef int32_t[::1] in_rows = in_array, out_rows = out_array
    if total:
        for part in prange(num_threads, nogil=True, schedule="static", num_threads=num_threads):
            disjoint_pairs(&keys[0], &offsets[0], part * n // num_threads,
                           (part + 1) * n // num_threads, &bits[0], &ranks[0], &next[part, 0],
                           &in_rows[0], &out_rows[0])
    return in_array, out_array, starts_array
