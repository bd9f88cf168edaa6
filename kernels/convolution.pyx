"""Adapters over the microkernels of indirect_gemm.h; callers check every argument."""

import numpy as np

from .memory import empty, zeros

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t

cdef extern from "indirect_gemm.h" nogil:
    int spconv_best_isa()
    int64_t gathered_stride(int64_t channels, size_t size)
    int64_t packed_width_f32(int isa, int64_t cout)
    int64_t packed_width_f64(int isa, int64_t cout)
    void pack_f32(int isa, const float* w, int64_t row_stride, int64_t column_stride,
                  int64_t cin, int64_t cout, float* packed)
    void pack_f64(int isa, const double* w, int64_t row_stride, int64_t column_stride,
                  int64_t cin, int64_t cout, double* packed)
    void forward_range_f32(
        int isa, const float* x, int64_t ldx, const float* packed, const float* init,
        const float* residual, float* y, int64_t ldy, const int32_t* in_rows,
        const int32_t* out_rows, const int64_t* starts, int64_t volume, int64_t cin, int64_t cout,
        int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t* cursors, int rectify,
        float slope)
    void forward_range_f64(
        int isa, const double* x, int64_t ldx, const double* packed, const double* init,
        const double* residual, double* y, int64_t ldy, const int32_t* in_rows,
        const int32_t* out_rows, const int64_t* starts, int64_t volume, int64_t cin, int64_t cout,
        int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t* cursors, int rectify,
        double slope)
    void weight_gradient_f32(
        int isa, const float* x, int64_t ldx, const float* dy, int64_t ldy,
        const int32_t* in_rows, const int32_t* out_rows, const int64_t* starts, int64_t k_begin,
        int64_t k_end, int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t chunk,
        float* dw, int64_t offset_stride, int64_t ldw, int64_t cin, int64_t cout, float* scratch)
    void weight_gradient_f64(
        int isa, const double* x, int64_t ldx, const double* dy, int64_t ldy,
        const int32_t* in_rows, const int32_t* out_rows, const int64_t* starts, int64_t k_begin,
        int64_t k_end, int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t chunk,
        double* dw, int64_t offset_stride, int64_t ldw, int64_t cin, int64_t cout, double* scratch)

cdef extern from "pairs.h" nogil:
    int64_t lower_bound(const int32_t* rows, int64_t begin, int64_t end, int64_t row)

cdef extern from "ranges.h" nogil:
    int64_t SPCONV_RANGE_BYTES
    int64_t rows_within(int64_t bytes, int64_t row_bytes)
    int64_t range_rows(int64_t num_rows, int64_t row_bytes, int64_t bytes, int64_t num_threads)

ISA_NAMES = ("portable", "avx2", "avx512")
# Outputs of one tile: a share of a second-level cache, unless the weights would crowd them out.
cdef Py_ssize_t TILE_BYTES = 128 * 1024
cdef Py_ssize_t SMALL_WEIGHT_BYTES = 128 * 1024
# Input channels of a weight's gradient that are worth a block of their own, and the part of a
# thread's share that is not worth to cut an offset for.
cdef Py_ssize_t LEAST_CHANNELS = 16
cdef int64_t SLACK = 16
# Rows of one chunk of pairs: half of a first-level cache.
cdef Py_ssize_t CHUNK_BYTES = 16 * 1024
# A layer gathers if each value that is copied takes part in at least so many products, and then so
# many pairs at once.
cdef Py_ssize_t GATHER_FROM = 32
cdef Py_ssize_t GATHERED_PAIRS = 96
# Pairs of a mean offset that are worth a segment of a weight's gradient, and how many of the fullest
# are summed in float32, on average, before segments are added up in float64.
cdef Py_ssize_t SEGMENT_PAIRS = 4 * 1024
cdef Py_ssize_t MOST_PAIRS = 32 * 1024
# Segments that have sums of their own at one time.
cdef Py_ssize_t PARTIAL_BYTES = 16 * 1024 * 1024


def best_isa():
    """Position in ISA_NAMES of the best instruction set of this processor."""
    return spconv_best_isa()


cdef _pack(const floating[:, :, ::1] w, Py_ssize_t groups, bint transposed, int isa,
           int num_threads):
    """Weight (K, cin/groups, cout) as zero-padded panels, group after group."""
    cdef Py_ssize_t volume = w.shape[0], rows = w.shape[1], columns = w.shape[2] // groups
    cdef Py_ssize_t cin = columns if transposed else rows, cout = rows if transposed else columns
    cdef Py_ssize_t row_stride = 1 if transposed else w.shape[2]
    cdef Py_ssize_t column_stride = w.shape[2] if transposed else 1
    cdef Py_ssize_t width, part, group, k
    cdef floating[:, :, ::1] packed
    if floating is float:
        width = packed_width_f32(isa, cout)
        packed = empty((groups, volume, cin * width), np.float32)
    else:
        width = packed_width_f64(isa, cout)
        packed = empty((groups, volume, cin * width), np.float64)
    if w.shape[0] * w.shape[1] * w.shape[2] == 0:
        return packed
    for part in prange(groups * volume, nogil=True, schedule="static", num_threads=num_threads):
        group, k = part // volume, part % volume
        if floating is float:
            pack_f32(isa, &w[k, 0, group * columns], row_stride, column_stride, cin, cout,
                     &packed[group, k, 0])
        else:
            pack_f64(isa, &w[k, 0, group * columns], row_stride, column_stride, cin, cout,
                     &packed[group, k, 0])
    return packed


def convolve(const floating[:, ::1] x, const floating[:, :, ::1] w, floating[:, ::1] y,
             const floating[::1] init, const floating[:, ::1] residual,
             const int32_t[::1] in_rows, const int32_t[::1] out_rows,
             const int64_t[::1] offset_starts, Py_ssize_t groups, bint transposed, bint rectify,
             double slope, int isa, int num_threads):
    """y[n] = init + residual[n] + sum over pairs (m, n) of x[m] W_k, W_k^T if ``transposed``.

    ``init`` is a row (cout,) or None, ``residual`` of the shape of y or None. To ``rectify``
    multiplies negative sums by ``slope``. Threads own ranges of output rows, and work through
    each in tiles.
    """
    cdef Py_ssize_t volume = w.shape[0], num_out = y.shape[0], width = y.shape[1]
    cdef Py_ssize_t cin = x.shape[1] // groups, cout = width // groups
    cdef Py_ssize_t ldx = x.shape[1], rows, tile_rows, ranges, part, group, begin, end
    cdef const floating* start
    cdef const floating* first
    cdef const floating* added = NULL
    cdef const floating* more
    cdef const int32_t* in_pointer = NULL
    cdef const int32_t* out_pointer = NULL
    cdef const floating* x_pointer = NULL
    if num_out == 0 or width == 0:
        return
    if x.shape[0] and ldx:
        x_pointer = &x[0, 0]
    if in_rows.shape[0]:
        in_pointer, out_pointer = &in_rows[0], &out_rows[0]
    cdef floating[:, :, ::1] packed = _pack[floating](w, groups, transposed, isa, num_threads)
    first = &init[0] if init is not None else NULL
    if residual is not None:
        added = &residual[0, 0]
    rows = range_rows(num_out, width * sizeof(floating), SPCONV_RANGE_BYTES, num_threads)
    tile_rows = rows
    if volume * cin * width * sizeof(floating) <= SMALL_WEIGHT_BYTES:
        tile_rows = rows_within(TILE_BYTES, width * sizeof(floating))
    ranges = (num_out + rows - 1) // rows
    cdef int64_t[:, ::1] cursors = empty((ranges, volume), np.int64)
    for part in prange(ranges, nogil=True, schedule="dynamic", num_threads=num_threads):
        begin = part * rows
        end = min(num_out, begin + rows)
        for group in range(groups):
            start = first + group * cout if first != NULL else NULL
            more = added + group * cout if added != NULL else NULL
            if floating is float:
                forward_range_f32(isa, x_pointer + group * cin, ldx, &packed[group, 0, 0], start,
                                  more, &y[0, group * cout], width, in_pointer, out_pointer,
                                  &offset_starts[0], volume, cin, cout, begin, end, tile_rows,
                                  &cursors[part, 0], rectify, slope)
            else:
                forward_range_f64(isa, x_pointer + group * cin, ldx, &packed[group, 0, 0], start,
                                  more, &y[0, group * cout], width, in_pointer, out_pointer,
                                  &offset_starts[0], volume, cin, cout, begin, end, tile_rows,
                                  &cursors[part, 0], rectify, slope)


def weight_gradient(const floating[:, ::1] x, const floating[:, ::1] dy,
                    const int32_t[::1] in_rows, const int32_t[::1] out_rows,
                    const int64_t[::1] offset_starts, floating[:, :, ::1] dw, Py_ssize_t groups,
                    int isa, int num_threads):
    """dw[k] = sum over the pairs (m, n) of offset k of x[m]^T dy[n]; ``dw`` comes with zeros.

    Threads own segments of output rows, and where there are fewer of those, ranges of offsets or
    blocks of input channels in them. Segments are summed by themselves, and then in order.
    """
    cdef Py_ssize_t volume = dw.shape[0], cin = dw.shape[1], cout = dw.shape[2] // groups
    cdef Py_ssize_t ldx = x.shape[1], ldy = dy.shape[1]
    cdef Py_ssize_t task, part, segment, group, c, channels, first, wave, size = cin * dw.shape[2]
    cdef Py_ssize_t rows = rows_within(SPCONV_RANGE_BYTES, (cin + cout) * sizeof(floating))
    # From the layer alone, as the segments: a sum's order must not depend on the threads.
    cdef Py_ssize_t chunk = max(32, CHUNK_BYTES // ((cin + cout) * sizeof(floating)))
    cdef bint gather = cin * cout >= GATHER_FROM * (cin + cout)
    cdef floating[:, ::1] scratch = None
    cdef floating* thread_scratch = NULL
    cdef Py_ssize_t room
    if in_rows.shape[0] == 0 or cin == 0 or cout == 0:
        return
    dtype = np.float32 if floating is float else np.float64
    if gather:
        chunk = GATHERED_PAIRS
        room = gathered_stride(cin, sizeof(floating)) + gathered_stride(cout, sizeof(floating))
        scratch = empty((num_threads, chunk * room), dtype)
    cdef int64_t[::1] bounds = _segments(out_rows, offset_starts, dy.shape[0])
    cdef Py_ssize_t segments = bounds.shape[0] - 1, at_once, num_parts
    at_once = PARTIAL_BYTES // (volume * size * <Py_ssize_t> sizeof(floating))
    at_once = min(segments, 4 * num_threads, max(1, at_once))
    cdef int64_t[:, ::1] parts = _gradient_parts(offset_starts, cin, _shares(at_once, num_threads))
    cdef floating[:, :, ::1] partial
    cdef floating* sums = &dw[0, 0, 0]
    cdef double[::1] total = None
    if segments > 1:
        partial = zeros((at_once, volume, size), dtype)
        sums = &partial[0, 0, 0]
        total = zeros(volume * size, np.float64)
    num_parts = parts.shape[0]
    for wave in range(0, segments, at_once):
        for task in prange(min(at_once, segments - wave) * num_parts * groups, nogil=True,
                           schedule="dynamic", num_threads=num_threads):
            segment = task // (num_parts * groups)
            part = task // groups % num_parts
            group = task % groups
            c = parts[part, 2]
            channels = parts[part, 3] - c
            thread_scratch = &scratch[threadid(), 0] if gather else NULL
            first = segment * volume * size + c * dw.shape[2] + group * cout
            if floating is float:
                weight_gradient_f32(isa, &x[0, group * cin + c], ldx, &dy[0, group * cout], ldy,
                                    &in_rows[0], &out_rows[0], &offset_starts[0], parts[part, 0],
                                    parts[part, 1], bounds[wave + segment],
                                    bounds[wave + segment + 1], rows, chunk,
                                    sums + first, size, dw.shape[2], channels, cout, thread_scratch)
            else:
                weight_gradient_f64(isa, &x[0, group * cin + c], ldx, &dy[0, group * cout], ldy,
                                    &in_rows[0], &out_rows[0], &offset_starts[0], parts[part, 0],
                                    parts[part, 1], bounds[wave + segment],
                                    bounds[wave + segment + 1], rows, chunk,
                                    sums + first, size, dw.shape[2], channels, cout, thread_scratch)
        if segments > 1:
            _add_up(partial, min(at_once, segments - wave), total, wave + at_once >= segments, dw,
                    num_threads)


cdef void _add_up(floating[:, :, ::1] sums, Py_ssize_t segments, double[::1] total, bint last,
                  floating[:, :, ::1] dw, int num_threads) noexcept:
    """Move the sums of segments into the total, which becomes ``dw`` with the last of them."""
    cdef Py_ssize_t volume = dw.shape[0], size = dw.shape[1] * dw.shape[2], k, i, segment
    cdef floating* source
    cdef floating* target
    cdef double* kept
    for k in prange(volume, nogil=True, schedule="static", num_threads=num_threads):
        kept = &total[k * size]
        for segment in range(segments):
            source = &sums[segment, k, 0]
            for i in range(size):
                kept[i] += source[i]
                source[i] = 0
        if last:
            target = &dw[k, 0, 0]
            for i in range(size):
                target[i] = <floating> kept[i]


cdef _segments(const int32_t[::1] out_rows, const int64_t[::1] starts, Py_ssize_t num_out):
    """Where segments of output rows begin and end, about as many pairs in one as in another."""
    cdef Py_ssize_t volume = starts.shape[0] - 1, count = 1, number, k
    cdef int64_t pairs = starts[volume], most = 0, low, high, middle, before
    for k in range(volume):
        most = max(most, starts[k + 1] - starts[k])
    while 2 * count * SEGMENT_PAIRS * volume <= pairs or count * MOST_PAIRS < most:
        count *= 2
    cdef int64_t[::1] bounds = np.zeros(count + 1, np.int64)
    bounds[count] = num_out
    for number in range(1, count):
        low, high = bounds[number - 1], num_out
        while low < high:
            middle = (low + high) // 2
            before = 0
            for k in range(volume):
                before += lower_bound(&out_rows[0], starts[k], starts[k + 1], middle) - starts[k]
            if before * count < pairs * number:
                low = middle + 1
            else:
                high = middle
        bounds[number] = low
    return bounds


cdef Py_ssize_t _shares(Py_ssize_t segments, Py_ssize_t num_threads) noexcept:
    """Into how many shares of work each segment is cut, so that every thread has as many."""
    cdef Py_ssize_t shares = num_threads
    if segments >= 4 * num_threads:
        return 1
    while shares % 2 == 0 and segments % 2 == 0:
        shares //= 2
        segments //= 2
    return shares


cdef _gradient_parts(const int64_t[::1] starts, Py_ssize_t cin, Py_ssize_t num_threads):
    """Rows (first offset, end, first input channel, end) of a weight's gradient for threads.

    Offsets in one thread's share of all pairs stay together, because rows are fetched once for all
    of a part. One in several shares, as the central offset often is, is cut by channels if there
    are many, and comes last.
    """
    cdef Py_ssize_t volume = starts.shape[0] - 1, begin = 0, share = 0, own, k, cut, piece
    cdef int64_t total = starts[volume], first, last
    ranges, blocks = [], []
    for k in range(volume):
        first = (SLACK * starts[k] * num_threads + total) // (SLACK * total)
        last = (SLACK * starts[k + 1] * num_threads - total - 1) // (SLACK * total)
        cut = max(1, min(last - first + 1, cin // LEAST_CHANNELS))
        own = (starts[k] + starts[k + 1]) * num_threads // (2 * total)
        if begin < k and (cut > 1 or own > share):
            ranges.append((begin, k, 0, cin))
            begin = k
        if begin == k:
            share = own
        if cut > 1:
            for piece in range(cut):
                blocks.append((k, k + 1, cin * piece // cut, cin * (piece + 1) // cut))
            begin = k + 1
    if begin < volume:
        ranges.append((begin, volume, 0, cin))
    return np.array(ranges + blocks, np.int64)
