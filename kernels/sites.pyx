"""Sites as coordinates and as keys; callers check every argument."""

import numpy as np

from .memory import empty

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

cdef extern from "decode_keys.h" nogil:
    void decode_keys(const int64_t* keys, int64_t n, const int64_t* extents, int64_t columns,
                     int32_t* indices)

# Sites that a thread takes at once.
cdef Py_ssize_t BLOCK = 4096


def site_keys_of(const int32_t[:, ::1] indices, const int64_t[::1] extents):
    """Keys (N,) int64 of sites (N, 1 + ndim) in a grid of ``extents`` (batch first)."""
    cdef Py_ssize_t n = indices.shape[0], columns = indices.shape[1], i, c
    cdef int64_t key
    out = empty(n, np.int64)
    cdef int64_t[::1] keys = out
    with nogil:
        for i in range(n):
            key = 0
            for c in range(columns):
                key = key * extents[c] + indices[i, c]
            keys[i] = key
    return out


def sites_of_keys(const int64_t[::1] keys, const int64_t[::1] extents, int num_threads):
    """Inverse of :func:`site_keys_of` for ascending keys."""
    cdef Py_ssize_t n = keys.shape[0], columns = extents.shape[0], block, first
    out = empty((n, columns), np.int32)
    cdef int32_t[:, ::1] indices = out
    for block in prange((n + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        decode_keys(&keys[first], min(BLOCK, n - first), &extents[0], columns, &indices[first, 0])
    return out


def first_out_of_range(const int32_t[:, ::1] indices, const int64_t[::1] extents):
    """First row with a coordinate outside the grid, or -1."""
    cdef Py_ssize_t n = indices.shape[0], columns = indices.shape[1], i, c
    with nogil:
        for i in range(n):
            for c in range(columns):
                if indices[i, c] < 0 or indices[i, c] >= extents[c]:
                    with gil:
                        return i
    return -1


def is_increasing(const int64_t[::1] keys):
    """Whether keys are strictly ascending."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(1, keys.shape[0]):
            if keys[i - 1] >= keys[i]:
                with gil:
                    return False
    return True
