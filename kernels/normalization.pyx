"""Batch normalization over rows (N, C); callers check every argument.

Sums are made of parts of a fixed number of rows, in float64, and then of the parts in order, so
that they do not depend on the number of threads. ``slope`` is that of a rectifier behind the
normalization, or None.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int64_t

cdef extern from "normalization.h" nogil:
    void normalize_rows_f32(const float* x, const float* mean, const float* scale,
                            const float* shift, int rectify, float slope, int64_t rows,
                            int64_t channels, float* y)
    void normalize_rows_f64(const double* x, const double* mean, const double* scale,
                            const double* shift, int rectify, double slope, int64_t rows,
                            int64_t channels, double* y)
    void sum_centred_f32(const float* dy, const float* x, const float* mean, int64_t rows,
                         int64_t channels, double* total)
    void sum_centred_f64(const double* dy, const double* x, const double* mean, int64_t rows,
                         int64_t channels, double* total)
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

cdef Py_ssize_t ROWS_PER_PART = 2048


def normalize(const floating[:, ::1] x, const floating[::1] mean, const floating[::1] scale,
              const floating[::1] shift, slope, floating[:, ::1] y, int num_threads):
    """y = (x - mean) * scale + shift."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef bint rectify = slope is not None
    cdef double low = slope or 0.0
    if channels == 0:
        return
    for part in prange((rows + ROWS_PER_PART - 1) // ROWS_PER_PART, nogil=True, schedule="static",
                       num_threads=num_threads):
        first = part * ROWS_PER_PART
        count = min(ROWS_PER_PART, rows - first)
        if floating is float:
            normalize_rows_f32(&x[first, 0], &mean[0], &scale[0], &shift[0], rectify, <float>low,
                               count, channels, &y[first, 0])
        else:
            normalize_rows_f64(&x[first, 0], &mean[0], &scale[0], &shift[0], rectify, low, count,
                               channels, &y[first, 0])


def sum_centred(const floating[:, ::1] x, const floating[::1] mean, const floating[:, ::1] dy,
                int num_threads):
    """Sum over the rows of dy (x - mean), (C,), or of (x - mean)^2 if ``dy`` is None."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef Py_ssize_t parts = (rows + ROWS_PER_PART - 1) // ROWS_PER_PART
    totals = np.zeros((max(parts, 1), channels))
    cdef double[:, ::1] total = totals
    cdef const floating* weights = NULL
    if dy is not None and dy.shape[0] and channels:
        weights = &dy[0, 0]
    if channels:
        for part in prange(parts, nogil=True, schedule="static", num_threads=num_threads):
            first = part * ROWS_PER_PART
            count = min(ROWS_PER_PART, rows - first)
            if floating is float:
                sum_centred_f32(weights + first * channels if weights != NULL else NULL,
                                &x[first, 0], &mean[0], count, channels, &total[part, 0])
            else:
                sum_centred_f64(weights + first * channels if weights != NULL else NULL,
                                &x[first, 0], &mean[0], count, channels, &total[part, 0])
    return totals.sum(axis=0).astype(np.float32 if floating is float else np.float64)


def normalize_sums(const floating[:, ::1] dy, const floating[:, ::1] x, const floating[:, ::1] y,
                   const floating[::1] mean, slope, int num_threads):
    """Sums over the rows of dy and of dy (x - mean), (2, C); y is the result."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef Py_ssize_t parts = (rows + ROWS_PER_PART - 1) // ROWS_PER_PART
    totals = np.zeros((max(parts, 1), 2, channels))
    cdef double[:, :, ::1] total = totals
    cdef bint rectify = slope is not None
    cdef double low = slope or 0.0
    if channels:
        for part in prange(parts, nogil=True, schedule="static", num_threads=num_threads):
            first = part * ROWS_PER_PART
            count = min(ROWS_PER_PART, rows - first)
            if floating is float:
                normalize_sums_f32(&dy[first, 0], &x[first, 0], &y[first, 0], &mean[0], rectify,
                                   <float>low, count, channels, &total[part, 0, 0],
                                   &total[part, 1, 0])
            else:
                normalize_sums_f64(&dy[first, 0], &x[first, 0], &y[first, 0], &mean[0], rectify,
                                   low, count, channels, &total[part, 0, 0], &total[part, 1, 0])
    return totals.sum(axis=0).astype(np.float32 if floating is float else np.float64)


def normalize_gradient(const floating[:, ::1] dy, const floating[:, ::1] x,
                       const floating[:, ::1] y, const floating[::1] mean,
                       const floating[::1] scale, const floating[::1] shift,
                       const floating[::1] factor, slope, floating[:, ::1] dx, int num_threads):
    """dx = dy * scale + factor * (x - mean) + shift."""
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1], part, first, count
    cdef bint rectify = slope is not None
    cdef double low = slope or 0.0
    if channels == 0:
        return
    for part in prange((rows + ROWS_PER_PART - 1) // ROWS_PER_PART, nogil=True, schedule="static",
                       num_threads=num_threads):
        first = part * ROWS_PER_PART
        count = min(ROWS_PER_PART, rows - first)
        if floating is float:
            normalize_gradient_f32(&dy[first, 0], &x[first, 0], &y[first, 0], &mean[0], &scale[0],
                                   &shift[0], &factor[0], rectify, <float>low, count, channels,
                                   &dx[first, 0])
        else:
            normalize_gradient_f64(&dy[first, 0], &x[first, 0], &y[first, 0], &mean[0], &scale[0],
                                   &shift[0], &factor[0], rectify, low, count, channels,
                                   &dx[first, 0])
