"""Arrays whose memory is kept for the next one of about the same size.

A fresh page costs more to touch than the arithmetic on it does, and a training step asks for the
same sizes again and again. The memory is aligned to cache lines, so that no vector of a row of 16
channels or more is split between two of them.
"""

from math import prod

import numpy as np

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uintptr_t

cdef extern from "aligned.h" nogil:
    ctypedef struct spconv_pool:
        size_t bytes, limit

    void* aligned_block(size_t bytes)
    void aligned_release(void* block)
    size_t class_size(size_t bytes)
    void* pool_take(spconv_pool* pool, size_t size)
    bint pool_give(spconv_pool* pool, void* pointer, size_t size)
    void pool_trim(spconv_pool* pool)

cdef extern from "Python.h":
    int PyTraceMalloc_Track(unsigned int domain, uintptr_t pointer, size_t size)
    int PyTraceMalloc_Untrack(unsigned int domain, uintptr_t pointer)

# Smaller arrays come from NumPy: the C library keeps such memory itself.
cdef size_t LEAST_BYTES = 16 * 1024
# tracemalloc's number for memory that is not Python's.
cdef unsigned int TRACE_DOMAIN = 0x5bc0

cdef spconv_pool pool
pool.limit = <size_t> 1 << 30
# Held for C code only: nothing in between can start a garbage collection, which frees blocks.
cdef cython.pymutex lock


@cython.final
cdef class Block:
    """Uninitialized memory with the buffer protocol; kept for later when nothing uses it."""

    def __cinit__(self, size_t size):
        self.size = class_size(max(size, sizeof(void*)))  # an idle one holds an address
        with lock:
            self.pointer = pool_take(&pool, self.size)
        if self.pointer == NULL:
            self.pointer = aligned_block(self.size)
        if self.pointer == NULL:
            raise MemoryError(f"spconv: no memory for an array of {size:,} bytes")
        PyTraceMalloc_Track(TRACE_DOMAIN, <uintptr_t> self.pointer, self.size)

    def __dealloc__(self):
        cdef bint kept
        if self.pointer == NULL:
            return
        PyTraceMalloc_Untrack(TRACE_DOMAIN, <uintptr_t> self.pointer)
        with lock:
            kept = pool_give(&pool, self.pointer, self.size)
        if not kept:
            aligned_release(self.pointer)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.pointer, <Py_ssize_t> self.size, False, flags)


def empty(shape, dtype):
    """Uninitialized C-contiguous array, like ``numpy.empty``; ``shape`` is an int or a tuple."""
    cdef object kind = np.dtype(dtype)
    cdef size_t size = (prod(shape) if isinstance(shape, tuple) else shape) * kind.itemsize
    if size < LEAST_BYTES:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, Block(size))


def zeros(shape, dtype):
    """:func:`empty`, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def idle_bytes():
    """Bytes that are kept for later arrays."""
    return pool.bytes


def set_idle_limit(size_t limit):
    """Keep at most so many bytes, and give back to the system now what is more."""
    with lock:
        pool.limit = limit
        pool_trim(&pool)
