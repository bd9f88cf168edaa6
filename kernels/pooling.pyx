"""Pooling over pair lists; callers check every argument.

Threads own tiles of output rows, so every output is reduced over the kernel offsets in order.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

cdef extern from "pooling.h" nogil:
    void sum_tile_f32(const float* x, const int32_t* in_rows, const int32_t* out_rows,
                      const int64_t* starts, int64_t volume, float* y, int64_t channels,
                      int64_t row_begin, int64_t row_end)
    void sum_tile_f64(const double* x, const int32_t* in_rows, const int32_t* out_rows,
                      const int64_t* starts, int64_t volume, double* y, int64_t channels,
                      int64_t row_begin, int64_t row_end)
    void max_tile_f32(const float* x, const int32_t* in_rows, const int32_t* out_rows,
                      const int64_t* starts, int64_t volume, float* y, int32_t* winner,
                      int64_t channels, int64_t row_begin, int64_t row_end)
    void max_tile_f64(const double* x, const int32_t* in_rows, const int32_t* out_rows,
                      const int64_t* starts, int64_t volume, double* y, int32_t* winner,
                      int64_t channels, int64_t row_begin, int64_t row_end)
    void ground_tile_f32(const float* ground, const int64_t* active, int64_t volume, float* y,
                         int32_t* winner, int64_t channels, int64_t row_begin, int64_t row_end)
    void ground_gradient_f32(const float* dy, const int32_t* winner, int64_t rows,
                             int64_t channels, double* total)
    void max_gradient_tile_f32(const float* dy, const int32_t* winner, const int32_t* out_rows,
                               const int32_t* in_rows, const int64_t* starts, int64_t volume,
                               float* dx, int64_t channels, int64_t row_begin, int64_t row_end)
    void ground_tile_f64(const double* ground, const int64_t* active, int64_t volume, double* y,
                         int32_t* winner, int64_t channels, int64_t row_begin, int64_t row_end)
    void ground_gradient_f64(const double* dy, const int32_t* winner, int64_t rows,
                             int64_t channels, double* total)
    void max_gradient_tile_f64(const double* dy, const int32_t* winner, const int32_t* out_rows,
                               const int32_t* in_rows, const int64_t* starts, int64_t volume,
                               double* dx, int64_t channels, int64_t row_begin, int64_t row_end)

cdef extern from "ranges.h" nogil:
    int64_t part_rows(int64_t row_bytes)

cdef Py_ssize_t TILE_BYTES = 128 * 1024


cdef Py_ssize_t tile_rows(Py_ssize_t rows, Py_ssize_t row_bytes, int num_threads) noexcept nogil:
    cdef Py_ssize_t fit = max(64, TILE_BYTES // max(row_bytes, 1))
    return max(64, min(fit, (rows + 4 * num_threads - 1) // (4 * num_threads)))


def sum_pairs(const floating[:, ::1] x, const int32_t[::1] in_rows, const int32_t[::1] out_rows,
              const int64_t[::1] starts, floating[:, ::1] y, int num_threads):
    """y[n] = sum of x[m] over all pairs (m, n)."""
    cdef Py_ssize_t num_out = y.shape[0], channels = y.shape[1], volume = starts.shape[0] - 1
    cdef Py_ssize_t rows = tile_rows(num_out, channels * sizeof(floating), num_threads)
    cdef Py_ssize_t tile
    cdef const floating* x_pointer = &x[0, 0] if x.shape[0] and channels else NULL
    cdef const int32_t* in_pointer = &in_rows[0] if in_rows.shape[0] else NULL
    cdef const int32_t* out_pointer = &out_rows[0] if in_rows.shape[0] else NULL
    if channels == 0:
        return
    for tile in prange((num_out + rows - 1) // rows, nogil=True, schedule="dynamic",
                       num_threads=num_threads):
        if floating is float:
            sum_tile_f32(x_pointer, in_pointer, out_pointer, &starts[0], volume, &y[0, 0],
                         channels, tile * rows, min(num_out, (tile + 1) * rows))
        else:
            sum_tile_f64(x_pointer, in_pointer, out_pointer, &starts[0], volume, &y[0, 0],
                         channels, tile * rows, min(num_out, (tile + 1) * rows))


def max_pairs(const floating[:, ::1] x, const int32_t[::1] in_rows, const int32_t[::1] out_rows,
              const int64_t[::1] starts, floating[:, ::1] y, int32_t[:, ::1] winner,
              const floating[::1] ground, const int64_t[::1] active, int num_threads):
    """y[n] = largest x[m] over the pairs (m, n), winner[n] = its m, or -1 for no pairs.

    With a ``ground`` row (or None), outputs with fewer ``active`` taps than offsets take it into
    the maximum, and winner is -1 where it is larger.
    """
    cdef Py_ssize_t num_out = y.shape[0], channels = y.shape[1], volume = starts.shape[0] - 1
    cdef Py_ssize_t rows = tile_rows(num_out, channels * (4 + sizeof(floating)), num_threads)
    cdef Py_ssize_t tile
    cdef bint has_ground = ground is not None
    cdef const floating* x_pointer = &x[0, 0] if x.shape[0] and channels else NULL
    cdef const int32_t* in_pointer = &in_rows[0] if in_rows.shape[0] else NULL
    cdef const int32_t* out_pointer = &out_rows[0] if in_rows.shape[0] else NULL
    if channels == 0:
        return
    for tile in prange((num_out + rows - 1) // rows, nogil=True, schedule="dynamic",
                       num_threads=num_threads):
        if floating is float:
            max_tile_f32(x_pointer, in_pointer, out_pointer, &starts[0], volume, &y[0, 0],
                         &winner[0, 0], channels, tile * rows, min(num_out, (tile + 1) * rows))
            if has_ground:
                ground_tile_f32(&ground[0], &active[0], volume, &y[0, 0], &winner[0, 0], channels,
                                tile * rows, min(num_out, (tile + 1) * rows))
        else:
            max_tile_f64(x_pointer, in_pointer, out_pointer, &starts[0], volume, &y[0, 0],
                         &winner[0, 0], channels, tile * rows, min(num_out, (tile + 1) * rows))
            if has_ground:
                ground_tile_f64(&ground[0], &active[0], volume, &y[0, 0], &winner[0, 0], channels,
                                tile * rows, min(num_out, (tile + 1) * rows))


def max_pairs_gradient(const floating[:, ::1] dy, const int32_t[:, ::1] winner,
                       const int32_t[::1] out_rows, const int32_t[::1] in_rows,
                       const int64_t[::1] starts, floating[:, ::1] dx, int num_threads):
    """dx[m] = sum of dy[n] where winner[n] is m, over pairs sorted by m (an inverse rulebook)."""
    cdef Py_ssize_t num_in = dx.shape[0], channels = dx.shape[1], volume = starts.shape[0] - 1
    cdef Py_ssize_t rows = tile_rows(num_in, channels * (4 + sizeof(floating)), num_threads)
    cdef Py_ssize_t tile
    cdef const floating* dy_pointer = &dy[0, 0] if dy.shape[0] and channels else NULL
    cdef const int32_t* winner_pointer = &winner[0, 0] if dy.shape[0] and channels else NULL
    cdef const int32_t* in_pointer = &in_rows[0] if in_rows.shape[0] else NULL
    cdef const int32_t* out_pointer = &out_rows[0] if in_rows.shape[0] else NULL
    if channels == 0:
        return
    for tile in prange((num_in + rows - 1) // rows, nogil=True, schedule="dynamic",
                       num_threads=num_threads):
        if floating is float:
            max_gradient_tile_f32(dy_pointer, winner_pointer, out_pointer, in_pointer, &starts[0],
                                  volume, &dx[0, 0], channels, tile * rows,
                                  min(num_in, (tile + 1) * rows))
        else:
            max_gradient_tile_f64(dy_pointer, winner_pointer, out_pointer, in_pointer, &starts[0],
                                  volume, &dx[0, 0], channels, tile * rows,
                                  min(num_in, (tile + 1) * rows))


def ground_gradient(const floating[:, ::1] dy, const int32_t[:, ::1] winner, int num_threads):
    """Sum of dy over the rows where winner is -1, (C,), accumulated in float64.

    Parts, whose rows do not depend on the number of threads, are summed by themselves and then in
    order.
    """
    cdef Py_ssize_t rows = dy.shape[0], channels = dy.shape[1], part
    cdef Py_ssize_t size = part_rows(channels * sizeof(floating))
    cdef Py_ssize_t parts = (rows + size - 1) // size
    totals = np.zeros((parts, channels))
    cdef double[:, ::1] total = totals
    if channels:
        for part in prange(parts, nogil=True, schedule="static", num_threads=num_threads):
            if floating is float:
                ground_gradient_f32(&dy[part * size, 0], &winner[part * size, 0],
                                    min(size, rows - part * size), channels, &total[part, 0])
            else:
                ground_gradient_f64(&dy[part * size, 0], &winner[part * size, 0],
                                    min(size, rows - part * size), channels, &total[part, 0])
    return totals.sum(axis=0).astype(np.float32 if floating is float else np.float64)
