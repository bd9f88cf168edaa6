"""Sums, activations, dropout and sums over rows; callers check every argument."""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "rows.h" nogil:
    void add_f32(const float* a, const float* b, int subtract, int64_t rows, int64_t channels,
                 float* y)
    void add_f64(const double* a, const double* b, int subtract, int64_t rows, int64_t channels,
                 double* y)
    void leaky_relu_f32(const float* x, float slope, float* y, int64_t count)
    void leaky_relu_f64(const double* x, double slope, double* y, int64_t count)
    void leaky_relu_gradient_f32(const float* y, const float* dy, float slope, float* dx,
                                 int64_t count)
    void leaky_relu_gradient_f64(const double* y, const double* dy, double slope, double* dx,
                                 int64_t count)
    void dropout_f32(const float* x, uint32_t key, uint32_t salt, uint64_t threshold, float scale,
                     int64_t first, int32_t count, float* y)
    void dropout_f64(const double* x, uint32_t key, uint32_t salt, uint64_t threshold,
                     double scale, int64_t first, int32_t count, double* y)

cdef extern from "row_sums.h" nogil:
    void sum_rows_f32(const float* x, int64_t rows, int64_t channels, double* total)
    void sum_rows_f64(const double* x, int64_t rows, int64_t channels, double* total)

cdef extern from "ranges.h" nogil:
    int64_t part_rows(int64_t row_bytes)

cdef Py_ssize_t BLOCK = 1 << 14


def add(const floating[::1] a, const floating[::1] b, bint subtract, floating[::1] y,
        int num_threads):
    """y = a + b, or a - b; b is as long as a, or is added to every row of its length."""
    cdef Py_ssize_t count = a.shape[0], width = b.shape[0], part, first, size, own
    cdef bint repeated = width < count
    if width == 0:
        return
    size = max(1, BLOCK // width) * width if repeated else BLOCK
    for part in prange((count + size - 1) // size, nogil=True, schedule="static",
                       num_threads=num_threads):
        first = part * size
        own = min(size, count - first)
        if floating is float:
            add_f32(&a[first], &b[0 if repeated else first], subtract,
                    own // width if repeated else 1, width if repeated else own, &y[first])
        else:
            add_f64(&a[first], &b[0 if repeated else first], subtract,
                    own // width if repeated else 1, width if repeated else own, &y[first])


def leaky_relu(const floating[::1] x, floating slope, floating[::1] y, int num_threads):
    """y = x where positive, else slope * x."""
    cdef Py_ssize_t block, count = x.shape[0]
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        if floating is float:
            leaky_relu_f32(&x[block * BLOCK], slope, &y[block * BLOCK],
                           min(BLOCK, count - block * BLOCK))
        else:
            leaky_relu_f64(&x[block * BLOCK], slope, &y[block * BLOCK],
                           min(BLOCK, count - block * BLOCK))


def leaky_relu_gradient(const floating[::1] y, const floating[::1] dy, floating slope,
                        floating[::1] dx, int num_threads):
    """dx = dy where the activation y is positive, else slope * dy."""
    cdef Py_ssize_t block, count = y.shape[0]
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        if floating is float:
            leaky_relu_gradient_f32(&y[block * BLOCK], &dy[block * BLOCK], slope,
                                    &dx[block * BLOCK], min(BLOCK, count - block * BLOCK))
        else:
            leaky_relu_gradient_f64(&y[block * BLOCK], &dy[block * BLOCK], slope,
                                    &dx[block * BLOCK], min(BLOCK, count - block * BLOCK))


def dropout(const floating[::1] x, uint32_t key, uint32_t salt, uint64_t threshold, double scale,
            floating[::1] y, int num_threads):
    """y = scale * x where the number drawn for the position reaches the threshold, else 0."""
    cdef Py_ssize_t block, first, count = x.shape[0]
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        if floating is float:
            dropout_f32(&x[first], key, salt, threshold, <float>scale, first,
                        <int32_t>min(BLOCK, count - first), &y[first])
        else:
            dropout_f64(&x[first], key, salt, threshold, scale, first,
                        <int32_t>min(BLOCK, count - first), &y[first])


def sum_rows(const floating[:, ::1] x, int num_threads):
    """Sum over the rows, (C,).

    Parts, whose rows do not depend on the number of threads, are summed in float64 by themselves
    and then in order.
    """
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    cdef Py_ssize_t parts = (rows + size - 1) // size
    totals = np.empty((parts, channels))
    cdef double[:, ::1] total = totals
    if channels:
        for part in prange(parts, nogil=True, schedule="static", num_threads=num_threads):
            if floating is float:
                sum_rows_f32(&x[part * size, 0], min(size, rows - part * size), channels,
                             &total[part, 0])
            else:
                sum_rows_f64(&x[part * size, 0], min(size, rows - part * size), channels,
                             &total[part, 0])
    return totals.sum(axis=0).astype(np.float32 if floating is float else np.float64)
