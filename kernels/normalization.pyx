"""Batch normalization over rows (N, C); callers check every argument.

Sums are made of parts, whose rows do not depend on the number of threads, in float64, and then of
the parts in order. ``slope`` is that of a rectifier behind the normalization, or None.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport isfinite, isinf, sqrt
from libc.stdint cimport int64_t

cdef extern from "normalization.h" nogil:
    void mean_and_squares_f32(const float* x, int64_t rows, int64_t channels, double* mean,
                              double* squares)
    void mean_and_squares_f64(const double* x, int64_t rows, int64_t channels, double* mean,
                              double* squares)
    void normalize_rows_f32(const float* x, const float* mean, const float* scale,
                            const float* shift, int rectify, float slope, int64_t rows,
                            int64_t channels, float* y)
    void normalize_rows_f64(const double* x, const double* mean, const double* scale,
                            const double* shift, int rectify, double slope, int64_t rows,
                            int64_t channels, double* y)
    void normalize_sums_f32(const float* dy, const float* x, const float* y, const float* mean,
                            int rectify, float slope, int64_t rows, int64_t channels,
                            double* plain, double* centred)
    void normalize_sums_f64(const double* dy, const double* x, const double* y,
                            const double* mean, int rectify, double slope, int64_t rows,
                            int64_t channels, double* plain, double* centred)
    void normalize_gradient_f32(const float* dy, const float* x, const float* y,
                                const float* mean, const float* scale, const float* shift,
                                const float* factor, int rectify, float slope, int64_t rows,
                                int64_t channels, float* dx)
    void normalize_gradient_f64(const double* dy, const double* x, const double* y,
                                const double* mean, const double* scale, const double* shift,
                                const double* factor, int rectify, double slope, int64_t rows,
                                int64_t channels, double* dx)

cdef extern from "ranges.h" nogil:
    int64_t part_rows(int64_t row_bytes)


cdef mean_and_squares_of(const floating[:, ::1] x, int num_threads):
    """Mean and sum of squared deviations, (2, C) in float64 (Chan, Golub & LeVeque 1983)."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count, c
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    cdef Py_ssize_t parts = (rows + size - 1) // size
    cdef double[:, :, ::1] partial = np.empty((parts, 2, channels))
    results = np.zeros((2, channels))
    cdef double[:, ::1] result = results
    cdef double difference, share
    if channels == 0 or parts == 0:
        return results
    with nogil:
        for part in prange(parts, schedule="static", num_threads=num_threads):
            first = part * size
            count = min(size, rows - first)
            if floating is float:
                mean_and_squares_f32(&x[first, 0], count, channels, &partial[part, 0, 0],
                                     &partial[part, 1, 0])
            else:
                mean_and_squares_f64(&x[first, 0], count, channels, &partial[part, 0, 0],
                                     &partial[part, 1, 0])
        result[...] = partial[0]
        for part in range(1, parts):
            first = part * size
            count = min(size, rows - first)
            share = <double> count / <double> (first + count)
            for c in range(channels):
                if isinf(result[0, c]) and isfinite(partial[part, 0, c]):
                    continue  # it stays the mean; the difference would make it NaN
                difference = partial[part, 0, c] - result[0, c]
                result[0, c] += difference * share
                result[1, c] += (partial[part, 1, c] +
                                 difference * difference * share * <double> first)
    return results


cdef void normalize_by(const floating[:, ::1] x, const floating* mean, const floating* scale,
                       const floating* shift, bint rectify, double slope, floating[:, ::1] y,
                       int num_threads) noexcept nogil:
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    for part in prange((rows + size - 1) // size, schedule="static", num_threads=num_threads):
        first = part * size
        count = min(size, rows - first)
        if floating is float:
            normalize_rows_f32(&x[first, 0], mean, scale, shift, rectify, <float> slope, count,
                               channels, &y[first, 0])
        else:
            normalize_rows_f64(&x[first, 0], mean, scale, shift, rectify, slope, count, channels,
                               &y[first, 0])


cdef sums_of(const floating[:, ::1] dy, const floating[:, ::1] x, const floating[:, ::1] y,
             const floating[::1] mean, bint rectify, double slope, int num_threads):
    """Sums over the rows of dy and of dy (x - mean), (2, C) in float64."""
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
                normalize_sums_f32(&dy[first, 0], &x[first, 0], &y[first, 0], &mean[0], rectify,
                                   <float> slope, count, channels, &partial[part, 0, 0],
                                   &partial[part, 1, 0])
            else:
                normalize_sums_f64(&dy[first, 0], &x[first, 0], &y[first, 0], &mean[0], rectify,
                                   slope, count, channels, &partial[part, 0, 0], &partial[part, 1, 0])
    return sums.sum(axis=0)


def mean_and_squares(const floating[:, ::1] x, int num_threads):
    """Mean of the rows and sum of squared deviations from it, (2, C)."""
    return mean_and_squares_of[floating](x, num_threads).astype(_dtype(floating is float), copy=False)


def normalize(const floating[:, ::1] x, const floating[::1] mean, const floating[::1] scale,
              const floating[::1] shift, slope, floating[:, ::1] y, int num_threads):
    """y = (x - mean) * scale + shift."""
    if x.shape[1]:
        normalize_by[floating](x, &mean[0], &scale[0], &shift[0], slope is not None, slope or 0.0,
                               y, num_threads)


def normalize_sums(const floating[:, ::1] dy, const floating[:, ::1] x, const floating[:, ::1] y,
                   const floating[::1] mean, slope, int num_threads):
    """Sums over the rows of dy and of dy (x - mean), (2, C); y is the result."""
    sums = sums_of[floating](dy, x, y, mean, slope is not None, slope or 0.0, num_threads)
    return sums.astype(_dtype(floating is float), copy=False)


def batch_norm(const floating[:, ::1] x, const floating[::1] weight, const floating[::1] bias,
               double eps, slope, floating[:, ::1] y, int num_threads):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias; returns mean and variance, (2, C)."""
    cdef Py_ssize_t channels = x.shape[1], c
    wide = mean_and_squares_of[floating](x, num_threads)
    wide[1] /= max(x.shape[0], 1)
    results = wide.astype(_dtype(floating is float), copy=False)
    cdef floating[:, ::1] moments = results
    cdef floating[::1] scale = np.empty(channels, results.dtype)
    if channels:
        for c in range(channels):
            scale[c] = <floating> (weight[c] / sqrt(moments[1, c] + eps))
        normalize_by[floating](x, &moments[0, 0], &scale[0], &bias[0], slope is not None,
                               slope or 0.0, y, num_threads)
    return results


def batch_norm_gradient(const floating[:, ::1] dy, const floating[:, ::1] x,
                        const floating[:, ::1] y, const floating[::1] weight,
                        const floating[:, ::1] moments, double eps, slope, floating[:, ::1] dx,
                        int num_threads):
    """The gradient dx of batch_norm; returns those of weight and bias, (2, C)."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count, c
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    cdef bint rectify = slope is not None
    cdef double factor = slope or 0.0, inverse, scaled
    sums = sums_of[floating](dy, x, y, moments[0], rectify, factor, num_threads)
    cdef double[:, ::1] total = sums
    results = np.empty((2, channels), _dtype(floating is float))
    cdef floating[:, ::1] result = results
    cdef floating[:, ::1] factors = np.empty((3, channels), results.dtype)
    if channels == 0:
        return results
    for c in range(channels):
        inverse = 1 / sqrt(moments[1, c] + eps)
        scaled = weight[c] * inverse
        factors[0, c] = <floating> scaled
        # Rounded as dy * scale will be, so that one row's gradient is zero.
        factors[1, c] = -factors[0, c] * <floating> total[0, c] / <floating> max(rows, 1)
        factors[2, c] = <floating> (-scaled * inverse * inverse * total[1, c] / max(rows, 1))
        result[0, c] = <floating> (total[1, c] * inverse)
        result[1, c] = <floating> total[0, c]
    for part in prange((rows + size - 1) // size, nogil=True, schedule="static",
                       num_threads=num_threads):
        first = part * size
        count = min(size, rows - first)
        if floating is float:
            normalize_gradient_f32(&dy[first, 0], &x[first, 0], &y[first, 0], &moments[0, 0],
                                   &factors[0, 0], &factors[1, 0], &factors[2, 0], rectify,
                                   <float> factor, count, channels, &dx[first, 0])
        else:
            normalize_gradient_f64(&dy[first, 0], &x[first, 0], &y[first, 0], &moments[0, 0],
                                   &factors[0, 0], &factors[1, 0], &factors[2, 0], rectify, factor,
                                   count, channels, &dx[first, 0])
    return results


def _dtype(bint single):
    return np.dtype(np.float32 if single else np.float64)
