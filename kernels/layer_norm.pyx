"""Layer normalization over the channels of rows (N, C); callers check every argument.

Gradients of weight and bias are summed over parts of a fixed number of rows, in float64, and then
over the parts in order, so that they do not depend on the number of threads.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int64_t

cdef extern from "layer_norm.h" nogil:
    void layer_norm_rows_f32(const float* x, const float* weight, const float* bias, double eps,
                             int64_t rows, int64_t channels, float* y, double* means,
                             double* inverses)
    void layer_norm_rows_f64(const double* x, const double* weight, const double* bias, double eps,
                             int64_t rows, int64_t channels, double* y, double* means,
                             double* inverses)
    void layer_norm_gradient_f32(const float* dy, const float* x, const float* weight,
                                 const double* means, const double* inverses, int64_t rows,
                                 int64_t channels, float* dx, double* scaled, double* plain)
    void layer_norm_gradient_f64(const double* dy, const double* x, const double* weight,
                                 const double* means, const double* inverses, int64_t rows,
                                 int64_t channels, double* dx, double* scaled, double* plain)

cdef extern from "ranges.h" nogil:
    int64_t part_rows(int64_t row_bytes)


def layer_norm(const floating[:, ::1] x, const floating[::1] weight, const floating[::1] bias,
               double eps, floating[:, ::1] y, double[:, ::1] statistics, int num_threads):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias.

    ``statistics`` (2, N) get mean and 1 / sqrt(variance + eps) of every row.
    """
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    if channels == 0:
        return
    for part in prange((rows + size - 1) // size, nogil=True, schedule="static",
                       num_threads=num_threads):
        first = part * size
        count = min(size, rows - first)
        if floating is float:
            layer_norm_rows_f32(&x[first, 0], &weight[0], &bias[0], eps, count, channels,
                                &y[first, 0], &statistics[0, first], &statistics[1, first])
        else:
            layer_norm_rows_f64(&x[first, 0], &weight[0], &bias[0], eps, count, channels,
                                &y[first, 0], &statistics[0, first], &statistics[1, first])


def layer_norm_gradient(const floating[:, ::1] dy, const floating[:, ::1] x,
                        const floating[::1] weight, const double[:, ::1] statistics,
                        floating[:, ::1] dx, int num_threads):
    """The gradient dx of layer_norm; returns those of weight and bias, (2, C)."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    cdef Py_ssize_t parts = (rows + size - 1) // size
    sums = np.empty((parts, 2, channels))
    cdef double[:, :, ::1] partial = sums
    if channels:
        for part in prange(parts, nogil=True, schedule="static", num_threads=num_threads):
            first = part * size
            count = min(size, rows - first)
            if floating is float:
                layer_norm_gradient_f32(&dy[first, 0], &x[first, 0], &weight[0],
                                        &statistics[0, first], &statistics[1, first], count,
                                        channels, &dx[first, 0], &partial[part, 0, 0],
                                        &partial[part, 1, 0])
            else:
                layer_norm_gradient_f64(&dy[first, 0], &x[first, 0], &weight[0],
                                        &statistics[0, first], &statistics[1, first], count,
                                        channels, &dx[first, 0], &partial[part, 0, 0],
                                        &partial[part, 1, 0])
    return sums.sum(axis=0).astype(np.float32 if floating is float else np.float64)
