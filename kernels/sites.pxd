from libc.stdint cimport int32_t, int64_t, uint64_t

from .memory cimport Block

cdef class Bitmap:
    cdef Block memory
    cdef uint64_t* bits
    cdef int32_t* ranks
    cdef Py_ssize_t words
    cdef readonly int64_t total

    cdef void rank(self) noexcept nogil
