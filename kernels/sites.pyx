"""Sites as coordinates, as keys, and as bits of a grid; callers check every argument."""

import numpy as np

from .memory import empty

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from .memory cimport Block

cdef extern from "encode_keys.h" nogil:
    const int SITES_OUTSIDE, SITES_FALL
    int encode_keys(const int32_t* indices, int64_t first, int64_t n, int64_t columns,
                    const int64_t* extents, const uint32_t* most, int64_t* keys)

cdef extern from "decode_keys.h" nogil:
    void decode_keys(const int64_t* keys, int64_t n, const int64_t* extents, int64_t columns,
                     int32_t* indices)

cdef extern from "site_index.h" nogil:
    const int SPCONV_PAD_CELLS
    void site_mark(uint64_t* bits, int64_t key)
    int32_t site_count(const uint64_t* bits, const int32_t* ranks, int64_t key)
    int64_t site_rank(const uint64_t* bits, int32_t* ranks, int64_t words)
    void site_keys(const uint64_t* bits, int64_t begin, int64_t end, int64_t* keys)

# The largest coordinate that an int32 holds.
cdef int64_t LARGEST = 2**31 - 1
# Sites, or words of a bitmap, that a thread takes at once.
cdef Py_ssize_t BLOCK = 4096


cdef Block extents_of(extents, Py_ssize_t entry_bytes):
    """The extents as int64, and behind them room for as many entries of another type."""
    cdef Py_ssize_t columns = len(extents), c
    block = Block(columns * (sizeof(int64_t) + entry_bytes))
    for c in range(columns):
        (<int64_t*> block.pointer)[c] = extents[c]
    return block


def site_keys_of(const int32_t[:, ::1] indices, extents, int num_threads):
    """Keys (N,) int64 of sites (N, 1 + ndim) in a grid of ``extents`` (batch first).

    Returns the keys, whether all sites are in the grid, and whether the keys are strictly
    ascending. Keys of sites outside mean nothing.
    """
    cdef Py_ssize_t n = indices.shape[0], columns = indices.shape[1], block, first
    cdef int found = 0
    out = empty(n, np.int64)
    cdef int64_t[::1] keys = out
    cdef Block memory = extents_of(extents, sizeof(uint32_t))
    cdef int64_t* sizes = <int64_t*> memory.pointer
    cdef uint32_t* most = <uint32_t*> (sizes + columns)
    if n == 0:
        return out, True, True
    for block in range(columns):
        if sizes[block] < 1:
            return out, False, False
        most[block] = <uint32_t> min(sizes[block] - 1, LARGEST)
    for block in prange((n + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        found |= encode_keys(&indices[0, 0], first, min(BLOCK, n - first), columns, sizes, most,
                             &keys[0])
    return out, not found & SITES_OUTSIDE, not found & SITES_FALL


def sites_of_keys(const int64_t[::1] keys, extents, int num_threads):
    """Inverse of :func:`site_keys_of` for ascending keys."""
    cdef Py_ssize_t n = keys.shape[0], columns = len(extents), block, first
    out = empty((n, columns), np.int32)
    cdef int32_t[:, ::1] indices = out
    cdef Block memory = extents_of(extents, 0)
    cdef const int64_t* sizes = <const int64_t*> memory.pointer
    for block in prange((n + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        decode_keys(&keys[first], min(BLOCK, n - first), sizes, columns, &indices[first, 0])
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


cdef class Bitmap:
    """Which cells of a grid are marked, and how many are before each. At first none is.

    It has a spare word at both ends, of cells that nobody marks.
    """

    def __cinit__(self, int64_t num_cells):
        self.words = (num_cells + 2 * SPCONV_PAD_CELLS + 63) // 64
        self.memory = Block(self.words * (sizeof(uint64_t) + sizeof(int32_t)))
        self.bits = <uint64_t*> self.memory.pointer
        self.ranks = <int32_t*> (self.bits + self.words)
        with nogil:
            memset(self.bits, 0, self.words * sizeof(uint64_t))

    cdef void rank(self) noexcept nogil:
        """To be called when all cells are marked: number them."""
        self.total = site_rank(self.bits, self.ranks, self.words)

    def mark(self, const int64_t[::1] keys, int64_t extent=1):
        """Mark cells by key or, for an ``extent`` of the last axis, lines by the key of a cell."""
        cdef Py_ssize_t i
        cdef uint64_t* bits = self.bits
        with nogil:
            if extent == 1:
                for i in range(keys.shape[0]):
                    site_mark(bits, keys[i])
            else:
                for i in range(keys.shape[0]):
                    site_mark(bits, keys[i] // extent)
            self.rank()

    def mark_in_lines(self, const int64_t[::1] keys, Bitmap lines, int64_t extent):
        """Mark cells by key in a grid of the marked lines alone."""
        cdef Py_ssize_t i
        cdef int64_t line, missing
        with nogil:
            for i in range(keys.shape[0]):
                line = keys[i] // extent
                missing = line - site_count(lines.bits, lines.ranks, line)
                site_mark(self.bits, keys[i] - missing * extent)
            self.rank()

    def keys(self, int num_threads):
        """Keys (total,) int64 of the marked cells, ascending."""
        cdef Py_ssize_t words = self.words, block, first
        out = empty(self.total, np.int64)
        cdef int64_t[::1] keys = out
        if self.total:
            for block in prange((words + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                                num_threads=num_threads):
                first = block * BLOCK
                site_keys(self.bits, first, min(words, first + BLOCK),
                          &keys[0] + self.ranks[first])
        return out

    def rows_of(self, const int64_t[::1] keys):
        """Rows (N,) int64 in ascending order of their keys, which are distinct and all marked."""
        cdef Py_ssize_t i
        out = empty(keys.shape[0], np.int64)
        cdef int64_t[::1] order = out
        with nogil:
            for i in range(keys.shape[0]):
                order[site_count(self.bits, self.ranks, keys[i])] = i
        return out


def keys_in_lines(int64_t[::1] keys, const int64_t[::1] lines, int64_t extent):
    """Ascending keys within some lines of a grid -> within the grid, in place."""
    cdef Py_ssize_t i, line = 0
    with nogil:
        for i in range(keys.shape[0]):
            while keys[i] >= (line + 1) * extent:
                line += 1
            keys[i] += (lines[line] - line) * extent
