"""SiLU and GELU of float32, over gates.h; callers check every argument."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t

cdef extern from "gates.h" nogil:
    void silu_f32(const float* x, float* y, int64_t count)
    void gelu_f32(const float* x, float* y, int64_t count)
    void silu_gradient_f32(const float* x, const float* dy, float* dx, int64_t count)
    void gelu_gradient_f32(const float* x, const float* dy, float* dx, int64_t count)

# Values that a thread takes at once.
cdef Py_ssize_t BLOCK = 1 << 12


def gate(const float[::1] x, bint normal, float[::1] y, int num_threads):
    """y = x times the share of a normal distribution below it, or of a logistic one."""
    cdef Py_ssize_t block, first, count = x.shape[0]
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        if normal:
            gelu_f32(&x[first], &y[first], min(BLOCK, count - first))
        else:
            silu_f32(&x[first], &y[first], min(BLOCK, count - first))


def gate_gradient(const float[::1] x, const float[::1] dy, bint normal, float[::1] dx,
                  int num_threads):
    """dx = dy times the slope of :func:`gate` at x."""
    cdef Py_ssize_t block, first, count = x.shape[0]
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        if normal:
            gelu_gradient_f32(&x[first], &dy[first], &dx[first], min(BLOCK, count - first))
        else:
            silu_gradient_f32(&x[first], &dy[first], &dx[first], min(BLOCK, count - first))
