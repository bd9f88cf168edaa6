"""Active sites -> rulebook arrays, over match.h. Callers check every argument."""

import numpy as np

from .memory import empty

from cython.parallel cimport prange, threadid
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from .memory cimport Block
from .sites cimport Bitmap

cdef extern from "match.h" nogil:
    ctypedef struct spconv_axis:
        int64_t kernel_size, stride, padding, dilation, extent, first_term

    ctypedef struct spconv_matcher:
        spconv_axis* axes
        int64_t num_sites, ndim, group_size, computed
        int transposed
        const int32_t* sites
        int64_t* terms
        const int32_t* last
        int64_t last_step, last_extent, first_tap, tap_step, stride
        int windowed, in_lines
        const uint64_t* line_bits
        const int32_t* line_ranks
        const uint64_t* bits
        const int32_t* ranks
        const int64_t* keys
        int64_t num_keys

    ctypedef struct spconv_scratch:
        int64_t* lead
        int32_t* sites
        int32_t* pairs
        int64_t count

    void match_term(const spconv_matcher* m, int64_t axis, int64_t j, int64_t cell,
                    int64_t sample_cell)
    void match_mark(const spconv_matcher* m, int64_t group, spconv_scratch* scratch,
                    uint64_t* bits)
    void match_mark_lines(const spconv_matcher* m, int64_t group, spconv_scratch* scratch,
                          uint64_t* bits)
    void match_group(const spconv_matcher* m, int64_t group, spconv_scratch* scratch,
                     int64_t* counts)
    void match_lead(const spconv_matcher* m, int64_t group, spconv_scratch* scratch)
    int64_t match_keys(const spconv_matcher* m, const spconv_scratch* scratch, int64_t j,
                       int64_t* keys)

cdef extern from "sort_pairs.h" nogil:
    int sort_offset(const int32_t* in_rows, const int32_t* out_rows, int64_t count,
                    const int64_t* order, int64_t num_out, uint64_t* bits, int32_t* source,
                    int32_t* in_sorted, int32_t* out_sorted)


cdef class Matcher:
    """Pairs of input and output rows of every kernel offset, over sorted sites.

    Parameters
    ----------
    indices : int32 (N, 1 + ndim), sorted
    kernel_size, stride, padding, dilation, out_shape : tuple of ndim ints
    transposed : bool
    symmetric : bool
        Output sites are the input's and offset K - 1 - k points opposite to offset k, so that
        half of the pairs are the other half with rows exchanged.
    in_lines : bool
        Output cells are to be found by lines along the last axis; with more axes than that.
    num_threads : int
    """

    cdef spconv_matcher m
    cdef Py_ssize_t num_groups, volume
    cdef int num_threads
    cdef const int32_t[:, ::1] indices
    cdef const int64_t[::1] keys
    cdef Bitmap bits, lines
    cdef Block terms, reserved
    cdef int64_t* lead
    cdef int32_t* sites
    cdef int32_t* found

    def __init__(self, const int32_t[:, ::1] indices, tuple kernel_size, tuple stride,
                 tuple padding, tuple dilation, tuple out_shape, bint transposed, bint symmetric,
                 bint in_lines, int num_threads):
        cdef Py_ssize_t n = indices.shape[0], ndim = len(kernel_size), i
        cdef spconv_axis* axis = self.m.axes
        cdef int64_t num_terms = 0, reach
        self.volume = 1
        for i in range(ndim):
            axis = &self.m.axes[i]
            axis.kernel_size, axis.stride = kernel_size[i], stride[i]
            axis.padding, axis.dilation, axis.extent = padding[i], dilation[i], out_shape[i]
            axis.first_term = num_terms
            num_terms += axis.kernel_size
            self.volume *= axis.kernel_size
        self.num_threads, self.num_groups = num_threads, self.volume // axis.kernel_size
        self.m.num_sites, self.m.ndim, self.m.group_size = n, ndim, axis.kernel_size
        self.m.computed = self.volume // 2 + 1 if symmetric else self.volume
        self.m.transposed, self.m.in_lines = transposed, in_lines
        if n == 0:
            return
        # Python's ints do not overflow.
        self.terms = Block(sizeof(int64_t) * <object> num_terms * n)
        self.m.terms = <int64_t*> self.terms.pointer
        self.indices, self.m.sites = indices, &indices[0, 0]
        for i in range(ndim - 1):
            self.fill_terms(i)
        self.m.last, self.m.last_step = &indices[0, ndim], ndim + 1
        self.m.last_extent, self.m.stride = axis.extent, axis.stride
        self.m.first_tap = -axis.padding if transposed else axis.padding
        self.m.tap_step = axis.dilation if transposed else -axis.dilation
        reach = (axis.kernel_size - 1) * axis.dilation
        # With one axis the batch is part of the only term, and there is no group to share it.
        # Cropping by more than the kernel's reach would put windows outside the bitmap.
        self.m.windowed = ndim > 1 and reach < 63 and (
            axis.dilation == 1 and not transposed if axis.stride > 1
            else not transposed or axis.padding <= reach
        )
        if not self.m.windowed:
            self.fill_terms(ndim - 1)

    cdef void fill_terms(self, Py_ssize_t axis) noexcept:
        """The terms of one axis; the first one's hold the sample in the batch as well.

        The leading axes' are numbers of lines with ``in_lines``.
        """
        cdef Py_ssize_t j, later
        cdef int64_t cell = 1, sample_cell
        for later in range(axis + 1, self.m.ndim - self.m.in_lines):
            cell *= self.m.axes[later].extent
        sample_cell = cell * self.m.axes[axis].extent if axis == 0 else 0
        for j in prange(self.m.axes[axis].kernel_size, nogil=True, schedule="static",
                        num_threads=self.num_threads):
            match_term(&self.m, axis, j, cell, sample_cell)

    cdef reserve(self, int num_threads, Py_ssize_t num_groups):
        """Make scratch memory for threads, and for the pairs of groups."""
        cdef Py_ssize_t room = self.m.num_sites + 1
        cdef int64_t pairs = 2 * max(num_groups, 1) * self.m.group_size
        self.reserved = Block((3 * num_threads + pairs) * sizeof(int32_t) * <object> room)
        self.lead = <int64_t*> self.reserved.pointer
        self.sites = <int32_t*> (self.lead + num_threads * room)
        self.found = self.sites + num_threads * room

    cdef spconv_scratch scratch(self, int thread, Py_ssize_t slot) noexcept nogil:
        cdef Py_ssize_t room = self.m.num_sites + 1
        cdef spconv_scratch scratch
        scratch.lead = self.lead + thread * room
        scratch.sites = self.sites + thread * room
        scratch.pairs = self.found + slot * self.m.group_size * 2 * room
        scratch.count = 0
        return scratch

    cdef void run(self, Py_ssize_t group, Py_ssize_t slot, int thread,
                  int64_t* counts) noexcept nogil:
        cdef spconv_scratch scratch = self.scratch(thread, slot)
        match_group(&self.m, group, &scratch, counts)

    def mark(self, Bitmap bitmap, bint lines=False):
        """Mark every output cell, or with ``lines`` every line of them, that some offset reaches."""
        cdef Py_ssize_t words = bitmap.words, groups = self.num_groups if self.m.num_sites else 0
        cdef Py_ssize_t group, word, thread
        # Every thread has a bitmap of its own; to put them together must not be most of the work.
        cdef Py_ssize_t worth = <Py_ssize_t> sqrt(<double> groups * self.m.num_sites / words)
        cdef int threads = <int> max(1, min(self.num_threads, min(groups, worth)))
        cdef Block memory
        cdef uint64_t* bits = bitmap.bits
        cdef uint64_t* others = NULL
        if threads > 1:
            memory = Block((threads - 1) * words * sizeof(uint64_t))
            others = <uint64_t*> memory.pointer
            memset(others, 0, (threads - 1) * words * sizeof(uint64_t))
        self.reserve(threads, 0)
        for group in prange(groups, nogil=True, schedule="dynamic", num_threads=threads):
            self.mark_group(group, threadid(), lines,
                            others + (threadid() - 1) * words if threadid() else bits)
        for word in prange(words if threads > 1 else 0, nogil=True, schedule="static",
                           num_threads=threads):
            for thread in range(threads - 1):
                bits[word] = bits[word] | others[thread * words + word]
        with nogil:
            bitmap.rank()

    cdef void mark_group(self, Py_ssize_t group, int thread, bint lines,
                         uint64_t* bits) noexcept nogil:
        cdef spconv_scratch scratch = self.scratch(thread, 0)
        if lines:
            match_mark_lines(&self.m, group, &scratch, bits)
        else:
            match_mark(&self.m, group, &scratch, bits)

    def reached_keys(self):
        """Keys of all output cells that some offset reaches, sorted and unique."""
        cdef Py_ssize_t group, j
        keys_array = empty(self.m.num_sites + 1, np.int64)
        cdef int64_t[::1] keys = keys_array
        parts = [np.empty(0, np.int64)]
        self.without_windows()
        self.reserve(1, 0)
        cdef spconv_scratch scratch = self.scratch(0, 0)
        for group in range(self.num_groups if self.m.num_sites else 0):
            match_lead(&self.m, group, &scratch)
            for j in range(self.m.group_size):
                parts.append(keys_array[:match_keys(&self.m, &scratch, j, &keys[0])].copy())
        return np.unique(np.concatenate(parts))

    def use_lines(self, Bitmap lines):
        """Count output cells within the marked lines only."""
        self.lines, self.m.line_bits, self.m.line_ranks = lines, lines.bits, lines.ranks

    def use_bits(self, Bitmap bits):
        """Look output rows up in the bitmap of their cells."""
        self.bits, self.m.bits, self.m.ranks = bits, bits.bits, bits.ranks

    cdef void without_windows(self) noexcept:
        if self.m.windowed and self.m.num_sites:
            self.fill_terms(self.m.ndim - 1)
        self.m.windowed = False

    def use_keys(self, const int64_t[::1] keys):
        """Look output rows up in a sorted list of keys."""
        self.without_windows()
        self.m.bits, self.m.num_keys = NULL, keys.shape[0]
        if keys.shape[0]:
            self.m.keys = &keys[0]
        self.keys = keys

    def pairs(self, Py_ssize_t scratch_bytes):
        """Return in_rows (P,) int32, out_rows (P,) int32 and offset_starts (K + 1,) int64.

        Pairs are found in scratch memory of about that size, or as much as one group takes, before
        they are put together.
        """
        cdef Py_ssize_t size = self.m.group_size, group, first, batch, k
        cdef Py_ssize_t groups = (self.m.computed + size - 1) // size
        cdef Py_ssize_t group_bytes = 8 * size * (self.m.num_sites + 1)
        cdef Py_ssize_t at_once = max(self.num_threads, min(groups, scratch_bytes // group_bytes))
        cdef Block counts_memory = Block(groups * size * sizeof(int64_t))
        cdef int64_t* counts = <int64_t*> counts_memory.pointer
        starts_array = empty(self.volume + 1, np.int64)
        cdef int64_t[::1] starts = starts_array
        memset(counts, 0, groups * size * sizeof(int64_t))
        pieces = []
        for first in range(0, groups if self.m.num_sites else 0, at_once):
            batch = min(at_once, groups - first)
            self.reserve(self.num_threads, batch)
            for group in prange(batch, nogil=True, schedule="dynamic",
                                num_threads=self.num_threads):
                self.run(first + group, group, threadid(), counts + (first + group) * size)
            if batch < groups:
                pieces.append(self.collected(counts + first * size, batch * size))
        starts[0] = 0
        for k in range(self.volume):
            starts[k + 1] = starts[k] + counts[self.volume - 1 - k if k >= self.m.computed else k]
        rows_array = empty((2, starts[self.volume]), np.int32)
        cdef int32_t[:, ::1] rows = rows_array
        if pieces:
            np.concatenate(pieces, axis=1, out=rows_array[:, :starts[self.m.computed]])
        elif rows.shape[1]:
            self.collect(counts, groups * size, &rows[0, 0], &rows[1, 0])
        if rows.shape[1]:
            for k in prange(self.m.computed, self.volume, nogil=True, schedule="static",
                            num_threads=self.num_threads):
                mirror(&rows[0, 0], &rows[1, 0], starts[self.volume - 1 - k], starts[k],
                       starts[k + 1] - starts[k])
        rows_array.setflags(False)  # nor are its rows to be written to
        return rows_array[0], rows_array[1], starts_array

    cdef collected(self, const int64_t* counts, Py_ssize_t offsets):
        """The pairs found, of all offsets one after another: in_rows and out_rows, (2, P)."""
        cdef Py_ssize_t total = 0, k
        for k in range(offsets):
            total += counts[k]
        rows_array = empty((2, total), np.int32)
        cdef int32_t[:, ::1] rows = rows_array
        if total:
            self.collect(counts, offsets, &rows[0, 0], &rows[1, 0])
        return rows_array

    cdef collect(self, const int64_t* counts, Py_ssize_t offsets, int32_t* in_rows,
                 int32_t* out_rows):
        cdef Py_ssize_t room = self.m.num_sites + 1, k
        cdef Block memory = Block((offsets + 1) * sizeof(int64_t))
        cdef int64_t* starts = <int64_t*> memory.pointer
        starts[0] = 0
        for k in range(offsets):
            starts[k + 1] = starts[k] + counts[k]
        for k in prange(offsets, nogil=True, schedule="static", num_threads=self.num_threads):
            memcpy(in_rows + starts[k], self.found + 2 * k * room, counts[k] * sizeof(int32_t))
            memcpy(out_rows + starts[k], self.found + (2 * k + 1) * room,
                   counts[k] * sizeof(int32_t))


cdef void mirror(int32_t* in_rows, int32_t* out_rows, int64_t source, int64_t target,
                 int64_t count) noexcept nogil:
    """The pairs of the offset that points the other way, with their rows exchanged."""
    memcpy(in_rows + target, out_rows + source, count * sizeof(int32_t))
    memcpy(out_rows + target, in_rows + source, count * sizeof(int32_t))


def sort_pairs(const int32_t[::1] in_rows, const int32_t[::1] out_rows,
               const int64_t[::1] offset_starts, Py_ssize_t num_out, int num_threads,
               const int64_t[::1] order=None):
    """Sort the pairs of every offset by output row.

    With an ``order``, row r of either side becomes ``order[r]`` before. An output row that occurs
    twice in one offset, because a site was given twice, is a ValueError.
    """
    cdef Py_ssize_t volume = offset_starts.shape[0] - 1, k
    cdef const int64_t* becomes = NULL
    cdef Py_ssize_t words = (num_out + 63) // 64
    cdef Block memory = Block(num_threads * (words + 1) * (sizeof(uint64_t) + 64 * sizeof(int32_t)))
    cdef uint64_t* bits = <uint64_t*> memory.pointer
    cdef int32_t* source = <int32_t*> (bits + num_threads * words)
    rows_array = empty((2, in_rows.shape[0]), np.int32)
    cdef int32_t[:, ::1] rows = rows_array
    cdef int twice = 0
    if order is not None and order.shape[0]:
        becomes = &order[0]
    if in_rows.shape[0]:
        for k in prange(volume, nogil=True, schedule="dynamic", num_threads=num_threads):
            if offset_starts[k] < offset_starts[k + 1]:
                twice += not sort_offset(
                    &in_rows[offset_starts[k]], &out_rows[offset_starts[k]],
                    offset_starts[k + 1] - offset_starts[k], becomes, num_out,
                    bits + threadid() * words, source + threadid() * num_out,
                    &rows[0, offset_starts[k]], &rows[1, offset_starts[k]])
    if twice:
        raise ValueError(
            "rulebook: a site has two pairs in one offset, so some site was given twice; leave "
            "check=True, which names it")
    rows_array.setflags(False)  # nor are its rows to be written to
    return rows_array[0], rows_array[1]
