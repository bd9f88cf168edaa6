"""Pooling and reductions over pair lists; callers check every argument.

Threads own tiles of output rows, so every output is reduced over the kernel offsets in order.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

cdef extern from "pairs.h" nogil:
    int64_t lower_bound(const int32_t* rows, int64_t begin, int64_t end, int64_t row)

cdef Py_ssize_t TILE_BYTES = 128 * 1024


cdef Py_ssize_t tile_rows(Py_ssize_t rows, Py_ssize_t row_bytes, int num_threads) noexcept nogil:
    cdef Py_ssize_t fit = max(64, TILE_BYTES // max(row_bytes, 1))
    return max(64, min(fit, (rows + 4 * num_threads - 1) // (4 * num_threads)))


def sum_pairs(const floating[:, ::1] x, const int32_t[::1] in_rows, const int32_t[::1] out_rows,
              const int64_t[::1] starts, floating[:, ::1] y, int num_threads):
    """y[n] += sum of x[m] over all pairs (m, n)."""
    cdef Py_ssize_t num_out = y.shape[0], channels = y.shape[1], volume = starts.shape[0] - 1
    cdef Py_ssize_t rows = tile_rows(num_out, channels * sizeof(floating), num_threads)
    cdef Py_ssize_t tile
    if in_rows.shape[0] == 0 or channels == 0:
        return
    for tile in prange((num_out + rows - 1) // rows, nogil=True, schedule="dynamic",
                       num_threads=num_threads):
        sum_tile(&x[0, 0], &in_rows[0], &out_rows[0], &starts[0], volume, &y[0, 0], channels,
                 tile * rows, (tile + 1) * rows)


cdef void sum_tile(const floating* x, const int32_t* in_rows, const int32_t* out_rows,
                   const int64_t* starts, Py_ssize_t volume, floating* y, Py_ssize_t channels,
                   Py_ssize_t row_begin, Py_ssize_t row_end) noexcept nogil:
    cdef Py_ssize_t k, c
    cdef int64_t p, begin, end
    cdef const floating* source
    cdef floating* target
    for k in range(volume):
        begin = lower_bound(out_rows, starts[k], starts[k + 1], row_begin)
        end = lower_bound(out_rows, begin, starts[k + 1], row_end)
        for p in range(begin, end):
            source = x + in_rows[p] * channels
            target = y + out_rows[p] * channels
            for c in range(channels):
                target[c] += source[c]


def max_pairs(const floating[:, ::1] x, const int32_t[::1] in_rows, const int32_t[::1] out_rows,
              const int64_t[::1] starts, floating[:, ::1] y, int32_t[:, ::1] winner,
              int num_threads):
    """y[n] = largest x[m] over the pairs (m, n), winner[n] = its m; winner comes filled with -1."""
    cdef Py_ssize_t num_out = y.shape[0], channels = y.shape[1], volume = starts.shape[0] - 1
    cdef Py_ssize_t rows = tile_rows(num_out, channels * (4 + sizeof(floating)), num_threads)
    cdef Py_ssize_t tile
    if in_rows.shape[0] == 0 or channels == 0:
        return
    for tile in prange((num_out + rows - 1) // rows, nogil=True, schedule="dynamic",
                       num_threads=num_threads):
        max_tile(&x[0, 0], &in_rows[0], &out_rows[0], &starts[0], volume, &y[0, 0],
                 &winner[0, 0], channels, tile * rows, (tile + 1) * rows)


cdef void max_tile(const floating* x, const int32_t* in_rows, const int32_t* out_rows,
                   const int64_t* starts, Py_ssize_t volume, floating* y, int32_t* winner,
                   Py_ssize_t channels, Py_ssize_t row_begin, Py_ssize_t row_end) noexcept nogil:
    cdef Py_ssize_t k, c
    cdef int64_t p, begin, end
    cdef int32_t row
    cdef const floating* source
    cdef floating* target
    cdef int32_t* best
    for k in range(volume):
        begin = lower_bound(out_rows, starts[k], starts[k + 1], row_begin)
        end = lower_bound(out_rows, begin, starts[k + 1], row_end)
        for p in range(begin, end):
            row = in_rows[p]
            source = x + row * channels
            target = y + out_rows[p] * channels
            best = winner + out_rows[p] * channels
            for c in range(channels):
                # Written so that a NaN wins, as in the specification.
                if best[c] < 0 or not source[c] <= target[c]:
                    target[c] = source[c]
                    best[c] = row


def max_pairs_gradient(const floating[:, ::1] dy, const int32_t[:, ::1] winner,
                       const int32_t[::1] out_rows, const int32_t[::1] in_rows,
                       const int64_t[::1] starts, floating[:, ::1] dx, int num_threads):
    """dx[m] += dy[n] where winner[n] is m, over pairs sorted by m (an inverse rulebook)."""
    cdef Py_ssize_t num_in = dx.shape[0], channels = dx.shape[1], volume = starts.shape[0] - 1
    cdef Py_ssize_t rows = tile_rows(num_in, channels * (4 + sizeof(floating)), num_threads)
    cdef Py_ssize_t tile
    if in_rows.shape[0] == 0 or channels == 0:
        return
    for tile in prange((num_in + rows - 1) // rows, nogil=True, schedule="dynamic",
                       num_threads=num_threads):
        max_gradient_tile(&dy[0, 0], &winner[0, 0], &out_rows[0], &in_rows[0], &starts[0], volume,
                          &dx[0, 0], channels, tile * rows, (tile + 1) * rows)


cdef void max_gradient_tile(const floating* dy, const int32_t* winner, const int32_t* out_rows,
                            const int32_t* in_rows, const int64_t* starts, Py_ssize_t volume,
                            floating* dx, Py_ssize_t channels, Py_ssize_t row_begin,
                            Py_ssize_t row_end) noexcept nogil:
    cdef Py_ssize_t k, c
    cdef int64_t p, begin, end
    cdef int32_t row
    cdef const floating* source
    cdef const int32_t* best
    cdef floating* target
    for k in range(volume):
        begin = lower_bound(in_rows, starts[k], starts[k + 1], row_begin)
        end = lower_bound(in_rows, begin, starts[k + 1], row_end)
        for p in range(begin, end):
            row = in_rows[p]
            source = dy + out_rows[p] * channels
            best = winner + out_rows[p] * channels
            target = dx + row * channels
            for c in range(channels):
                target[c] += source[c] if best[c] == row else 0


def sum_rows(const floating[:, ::1] x):
    """Sum over the rows, (C,), accumulated in float64."""
    cdef Py_ssize_t channels = x.shape[1], n, c
    sums = np.zeros(channels)
    cdef double[::1] total = sums
    with nogil:
        for n in range(x.shape[0]):
            for c in range(channels):
                total[c] += x[n, c]
    return sums.astype(np.asarray(x).dtype)


def sum_squares(const floating[:, ::1] x):
    """Sum of squares over the rows, (C,), accumulated in float64."""
    cdef Py_ssize_t channels = x.shape[1], n, c
    sums = np.zeros(channels)
    cdef double[::1] total = sums
    with nogil:
        for n in range(x.shape[0]):
            for c in range(channels):
                total[c] += <double> x[n, c] * x[n, c]
    return sums.astype(np.asarray(x).dtype)
