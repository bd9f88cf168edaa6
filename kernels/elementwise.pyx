"""Activations, dropout and sums over rows; callers check every argument."""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "rows.h" nogil:
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

cdef Py_ssize_t BLOCK = 1 << 14
cdef Py_ssize_t ROWS_PER_PART = 2048


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

    Parts of a fixed number of rows are summed in float64 by themselves and then in order, so the
    result does not depend on the number of threads.
    """
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part
    cdef Py_ssize_t parts = (rows + ROWS_PER_PART - 1) // ROWS_PER_PART
    totals = np.empty((parts, channels))
    cdef double[:, ::1] total = totals
    if channels:
        for part in prange(parts, nogil=True, schedule="static", num_threads=num_threads):
            if floating is float:
                sum_rows_f32(&x[part * ROWS_PER_PART, 0],
                             min(ROWS_PER_PART, rows - part * ROWS_PER_PART), channels,
                             &total[part, 0])
            else:
                sum_rows_f64(&x[part * ROWS_PER_PART, 0],
                             min(ROWS_PER_PART, rows - part * ROWS_PER_PART), channels,
                             &total[part, 0])
    return totals.sum(axis=0).astype(np.float32 if floating is float else np.float64)
