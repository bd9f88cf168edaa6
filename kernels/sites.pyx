"""Sites as coordinates and as keys; callers check every argument."""

import numpy as np

from .memory import empty

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef extern from "encode_keys.h" nogil:
    const int SITES_OUTSIDE, SITES_FALL
    int encode_keys(const int32_t* indices, int64_t first, int64_t n, int64_t columns,
                    const int64_t* extents, const uint32_t* most, int64_t* keys)

cdef extern from "decode_keys.h" nogil:
    void decode_keys(const int64_t* keys, int64_t n, const int64_t* extents, int64_t columns,
                     int32_t* indices)

# The largest coordinate that an int32 holds.
cdef int64_t LARGEST = 2**31 - 1
# Sites that a thread takes at once.
cdef Py_ssize_t BLOCK = 4096


def site_keys_of(const int32_t[:, ::1] indices, const int64_t[::1] extents, int num_threads):
    """Keys (N,) int64 of sites (N, 1 + ndim) in a grid of ``extents`` (batch first).

    Returns the keys, whether all sites are in the grid, and whether the keys are strictly
    ascending. Keys of sites outside mean nothing.
    """
    cdef Py_ssize_t n = indices.shape[0], columns = indices.shape[1], block, first
    cdef int found = 0
    out = empty(n, np.int64)
    cdef int64_t[::1] keys = out
    cdef uint32_t[::1] most = np.empty(columns, np.uint32)
    if n == 0:
        return out, True, True
    for block in range(columns):
        if extents[block] < 1:
            return out, False, False
        most[block] = <uint32_t> min(extents[block] - 1, LARGEST)
    for block in prange((n + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        found |= encode_keys(&indices[0, 0], first, min(BLOCK, n - first), columns, &extents[0],
                             &most[0], &keys[0])
    return out, not found & SITES_OUTSIDE, not found & SITES_FALL


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
