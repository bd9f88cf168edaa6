cdef class Block:
    cdef void* pointer
    cdef size_t size
