"""Active sites -> rulebook arrays, over match.h. Callers check every argument."""

import numpy as np

from .memory import empty, zeros

from cython.parallel cimport prange, threadid
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

cdef extern from "match.h" nogil:
    ctypedef struct spconv_matcher:
        int64_t num_sites, ndim, group_size, computed
        const int64_t* kernel_size
        const int64_t* terms
        const int64_t* first_term
        const int32_t* last
        int64_t last_step, last_extent, first_tap, tap_step, stride
        int windowed, in_lines
        const uint64_t* line_bits
        const int32_t* line_ranks
        uint64_t* bits
        const int32_t* ranks
        const int64_t* keys
        int64_t num_keys

    void match_term(const int32_t* sites, int64_t step, int64_t axis, int64_t n, int64_t stride,
                    int64_t shift, int64_t extent, int64_t cell, int transposed,
                    int64_t sample_cell, int64_t* term)
    ctypedef struct spconv_scratch:
        int64_t* lead
        int32_t* sites
        int32_t* pairs
        int64_t count

    void match_mark(const spconv_matcher* m, int64_t group, spconv_scratch* scratch)
    void match_mark_lines(const spconv_matcher* m, int64_t group, spconv_scratch* scratch)
    void match_group(const spconv_matcher* m, int64_t group, spconv_scratch* scratch,
                     int64_t* counts)
    void match_lead(const spconv_matcher* m, int64_t group, spconv_scratch* scratch)

cdef extern from "sort_pairs.h" nogil:
    void sort_offset(const int32_t* in_rows, const int32_t* out_rows, int64_t count,
                     const int64_t* order, int64_t num_out, uint64_t* bits, int32_t* source,
                     int32_t* in_sorted, int32_t* out_sorted)

cdef extern from "site_index.h" nogil:
    const int SPCONV_PAD_CELLS
    void site_mark(uint64_t* bits, int64_t key)
    int32_t site_count(const uint64_t* bits, const int32_t* ranks, int64_t key)
    int64_t site_rank(const uint64_t* bits, int32_t* ranks, int64_t words)
    void site_keys(const uint64_t* bits, int64_t begin, int64_t end, int64_t* keys)

# Words of a bitmap that a thread takes at once.
cdef Py_ssize_t BLOCK = 4096


def empty_bitmap(int64_t num_cells):
    """A cleared bitmap for :meth:`Matcher.use_bits`, with a spare word at both ends."""
    return zeros((num_cells + 2 * SPCONV_PAD_CELLS + 63) // 64, np.uint64)


def rank_bits(const uint64_t[::1] bits):
    """Per word of the bitmap the number of marked cells before it (int32), and their total."""
    ranks = empty(bits.shape[0], np.int32)
    cdef int32_t[::1] view = ranks
    cdef int64_t total
    with nogil:
        total = site_rank(&bits[0], &view[0], bits.shape[0])
    return ranks, total


def mark_keys(const int64_t[::1] keys, uint64_t[::1] bits):
    """Mark cells by key."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(keys.shape[0]):
            site_mark(&bits[0], keys[i])


def marked_keys(const uint64_t[::1] bits, const int32_t[::1] ranks, Py_ssize_t total,
                int num_threads):
    """Keys (total,) int64 of the marked cells, ascending."""
    cdef Py_ssize_t words = bits.shape[0], block, first
    keys = empty(total, np.int64)
    cdef int64_t[::1] view = keys
    if total:
        for block in prange((words + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                            num_threads=num_threads):
            first = block * BLOCK
            site_keys(&bits[0], first, min(words, first + BLOCK), &view[0] + ranks[first])
    return keys


def mark_in_lines(const int64_t[::1] keys, const int64_t[::1] lines, int64_t extent,
                  const uint64_t[::1] line_bits, const int32_t[::1] line_ranks, uint64_t[::1] bits):
    """Mark cells by key, and the line of every key, in a bitmap of the marked lines alone."""
    cdef Py_ssize_t i
    cdef int64_t missing
    with nogil:
        for i in range(keys.shape[0]):
            missing = lines[i] - site_count(&line_bits[0], &line_ranks[0], lines[i])
            site_mark(&bits[0], keys[i] - missing * extent)


def keys_in_lines(int64_t[::1] keys, const int64_t[::1] lines, int64_t extent):
    """Ascending keys within some lines of a grid -> within the grid, in place."""
    cdef Py_ssize_t i, line = 0
    with nogil:
        for i in range(keys.shape[0]):
            while keys[i] >= (line + 1) * extent:
                line += 1
            keys[i] += (lines[line] - line) * extent


def rows_by_rank(const int64_t[::1] keys, const uint64_t[::1] bits, const int32_t[::1] ranks):
    """Rows (N,) int64 in ascending order of their keys, which are distinct and all marked."""
    cdef Py_ssize_t n = keys.shape[0], i
    order_array = empty(n, np.int64)
    cdef int64_t[::1] order = order_array
    with nogil:
        for i in range(n):
            order[site_count(&bits[0], &ranks[0], keys[i])] = i
    return order_array


cdef class Matcher:
    """Pairs of input and output rows of every kernel offset, over sorted sites.

    Parameters
    ----------
    indices : int32 (N, 1 + ndim), sorted
    kernel_size, stride, padding, dilation, out_shape : int64 (ndim,)
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
    cdef const int32_t[:, ::1] indices
    cdef const int64_t[::1] kernel_size, stride, padding, dilation, out_shape
    cdef bint transposed
    cdef int num_threads
    cdef int64_t[:, ::1] terms
    cdef int64_t[::1] first_term
    cdef uint64_t[::1] bits
    cdef const int32_t[::1] ranks
    cdef const uint64_t[::1] line_bits
    cdef const int32_t[::1] line_ranks
    cdef const int64_t[::1] keys
    cdef int64_t[:, ::1] lead
    cdef int32_t[:, ::1] sites
    cdef int32_t[:, :, :, ::1] found

    def __init__(self, const int32_t[:, ::1] indices, const int64_t[::1] kernel_size,
                 const int64_t[::1] stride, const int64_t[::1] padding,
                 const int64_t[::1] dilation, const int64_t[::1] out_shape,
                 bint transposed, bint symmetric, bint in_lines, int num_threads):
        cdef Py_ssize_t axis, n = indices.shape[0], ndim = kernel_size.shape[0]
        cdef Py_ssize_t last = ndim - 1, num_terms = 0
        cdef int64_t[::1] first_term = np.empty(ndim, np.int64)
        self.volume = 1
        for axis in range(ndim):
            first_term[axis] = num_terms
            num_terms += kernel_size[axis]
            self.volume *= kernel_size[axis]
        self.terms = empty((num_terms, n), np.int64)
        self.first_term = first_term
        self.num_groups = self.volume // kernel_size[last]
        self.indices, self.kernel_size, self.stride = indices, kernel_size, stride
        self.padding, self.dilation, self.out_shape = padding, dilation, out_shape
        self.transposed, self.num_threads = transposed, num_threads
        self.m.num_sites, self.m.ndim, self.m.group_size = n, ndim, kernel_size[last]
        self.m.computed = self.volume // 2 + 1 if symmetric else self.volume
        self.m.in_lines = in_lines
        if n == 0:
            return
        for axis in range(last):
            self.fill_terms(axis)
        self.m.kernel_size, self.m.terms = &kernel_size[0], &self.terms[0, 0]
        self.m.first_term = &first_term[0]
        self.m.last, self.m.last_step = &indices[0, ndim], ndim + 1
        self.m.last_extent = out_shape[last]
        self.m.first_tap = -padding[last] if transposed else padding[last]
        self.m.tap_step = dilation[last] if transposed else -dilation[last]
        cdef int64_t reach = (kernel_size[last] - 1) * dilation[last]
        self.m.stride = stride[last]
        # With one axis the batch is part of the only term, and there is no group to share it.
        # Cropping by more than the kernel's reach would put windows outside the bitmap.
        self.m.windowed = ndim > 1 and reach < 63 and (
            dilation[last] == 1 and not transposed if stride[last] > 1
            else not transposed or padding[last] <= reach
        )
        if not self.m.windowed:
            self.fill_terms(last)

    cdef void fill_terms(self, Py_ssize_t axis) noexcept:
        """The terms of one axis; the first one's hold the sample in the batch as well.

        The leading axes' are numbers of lines with ``in_lines``.
        """
        cdef Py_ssize_t j, later, taps = self.kernel_size[axis]
        cdef int64_t cell = 1, sample_cell
        for later in range(axis + 1, self.out_shape.shape[0] - self.m.in_lines):
            cell *= self.out_shape[later]
        sample_cell = cell * self.out_shape[axis] if axis == 0 else 0
        for j in prange(taps, nogil=True, schedule="static", num_threads=self.num_threads):
            match_term(&self.indices[0, 0], self.indices.shape[1], axis, self.indices.shape[0],
                       self.stride[axis], self.padding[axis] - j * self.dilation[axis],
                       self.out_shape[axis], cell, self.transposed, sample_cell,
                       &self.terms[self.first_term[axis] + j, 0])

    cdef reserve(self, Py_ssize_t num_threads, Py_ssize_t num_groups):
        """Make scratch memory for threads, and for the pairs of groups."""
        cdef Py_ssize_t room = self.m.num_sites + 1
        self.lead = empty((num_threads, room), np.int64)
        self.sites = empty((num_threads, room), np.int32)
        self.found = empty((max(num_groups, 1), self.m.group_size, 2, room), np.int32)

    cdef spconv_scratch scratch(self, int thread, Py_ssize_t slot) noexcept nogil:
        cdef spconv_scratch scratch
        scratch.lead = &self.lead[thread, 0]
        scratch.sites = &self.sites[thread, 0]
        scratch.pairs = &self.found[slot, 0, 0, 0]
        scratch.count = 0
        return scratch

    cdef void run(self, Py_ssize_t group, Py_ssize_t slot, int thread,
                  int64_t* counts) noexcept nogil:
        cdef spconv_scratch scratch = self.scratch(thread, slot)
        match_group(&self.m, group, &scratch, counts)

    def mark(self, uint64_t[::1] bits, bint lines=False):
        """Mark every output cell, or with ``lines`` every line of them, that some offset reaches."""
        cdef Py_ssize_t words = bits.shape[0], groups = self.num_groups if self.m.num_sites else 0
        cdef Py_ssize_t group, word, thread
        # Every thread has a bitmap of its own; to put them together must not be most of the work.
        cdef Py_ssize_t worth = <Py_ssize_t> sqrt(<double> groups * self.m.num_sites / words)
        cdef int threads = <int> max(1, min(self.num_threads, min(groups, worth)))
        cdef uint64_t[:, ::1] others = zeros((max(threads - 1, 1), words if threads > 1 else 1),
                                             np.uint64)
        self.reserve(threads, 0)
        for group in prange(groups, nogil=True, schedule="dynamic", num_threads=threads):
            self.mark_group(group, threadid(), lines,
                            &others[threadid() - 1, 0] if threadid() else &bits[0])
        for word in prange(words if threads > 1 else 0, nogil=True, schedule="static",
                           num_threads=threads):
            for thread in range(threads - 1):
                bits[word] = bits[word] | others[thread, word]

    cdef void mark_group(self, Py_ssize_t group, int thread, bint lines,
                         uint64_t* bits) noexcept nogil:
        cdef spconv_matcher own = self.m
        cdef spconv_scratch scratch = self.scratch(thread, 0)
        own.bits = bits
        if lines:
            match_mark_lines(&own, group, &scratch)
        else:
            match_mark(&own, group, &scratch)

    def reached_keys(self):
        """Keys of all output cells that some offset reaches, sorted and unique."""
        terms = np.asarray(self.terms)
        self.without_windows()
        parts = [np.empty(0, np.int64)]
        self.reserve(1, 0)
        cdef spconv_scratch scratch = self.scratch(0, 0)
        lead, sites = np.asarray(self.lead)[0], np.asarray(self.sites)[0]
        for group in range(self.num_groups if self.m.num_sites else 0):
            match_lead(&self.m, group, &scratch)
            count = scratch.count
            for j in range(self.m.group_size):
                term = terms[self.first_term[self.m.ndim - 1] + j]
                keys = lead[:count] + term[sites[:count]]
                parts.append(keys[keys >= 0])
        return np.unique(np.concatenate(parts))

    def use_lines(self, const uint64_t[::1] bits, const int32_t[::1] ranks):
        """Count output cells within the lines that are marked in this bitmap only."""
        self.line_bits, self.line_ranks = bits, ranks
        self.m.line_bits, self.m.line_ranks = &bits[0], &ranks[0]

    def use_bits(self, uint64_t[::1] bits, const int32_t[::1] ranks):
        """Look output rows up in a marked and ranked bitmap."""
        self.bits, self.ranks = bits, ranks
        self.m.bits, self.m.ranks = &bits[0], &ranks[0]

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
        cdef int64_t[::1] counts = np.zeros(groups * size, np.int64)
        starts_array = np.zeros(self.volume + 1, np.int64)
        cdef int64_t[::1] starts = starts_array
        pieces = []
        for first in range(0, groups if self.m.num_sites else 0, at_once):
            batch = min(at_once, groups - first)
            self.reserve(self.num_threads, batch)
            for group in prange(batch, nogil=True, schedule="dynamic",
                                num_threads=self.num_threads):
                self.run(first + group, group, threadid(), &counts[(first + group) * size])
            if batch < groups:
                pieces.append(self.collected(counts[first * size:(first + batch) * size]))
        for k in range(self.volume):
            starts[k + 1] = starts[k] + counts[self.volume - 1 - k if k >= self.m.computed else k]
        in_array = empty(starts[self.volume], np.int32)
        out_array = empty(starts[self.volume], np.int32)
        cdef int32_t[::1] in_rows = in_array, out_rows = out_array
        if pieces:
            np.concatenate([piece[0] for piece in pieces], out=in_array[:starts[self.m.computed]])
            np.concatenate([piece[1] for piece in pieces], out=out_array[:starts[self.m.computed]])
        elif in_rows.shape[0]:
            self.collect(counts, &in_rows[0], &out_rows[0])
        if in_rows.shape[0]:
            for k in prange(self.m.computed, self.volume, nogil=True, schedule="static",
                            num_threads=self.num_threads):
                mirror(&in_rows[0], &out_rows[0], starts[self.volume - 1 - k], starts[k],
                       starts[k + 1] - starts[k])
        return in_array, out_array, starts_array

    cdef collected(self, int64_t[::1] counts):
        """The pairs found, of all offsets one after another: in_rows and out_rows, (2, P)."""
        cdef Py_ssize_t total = np.sum(counts)
        rows_array = empty((2, total), np.int32)
        cdef int32_t[:, ::1] rows = rows_array
        if total:
            self.collect(counts, &rows[0, 0], &rows[1, 0])
        return rows_array

    cdef int collect(self, int64_t[::1] counts, int32_t* in_rows, int32_t* out_rows) except -1:
        cdef Py_ssize_t size = self.m.group_size, k
        cdef int64_t[::1] starts = np.zeros(counts.shape[0] + 1, np.int64)
        for k in range(counts.shape[0]):
            starts[k + 1] = starts[k] + counts[k]
        for k in prange(counts.shape[0], nogil=True, schedule="static",
                        num_threads=self.num_threads):
            memcpy(in_rows + starts[k], &self.found[k // size, k % size, 0, 0],
                   counts[k] * sizeof(int32_t))
            memcpy(out_rows + starts[k], &self.found[k // size, k % size, 1, 0],
                   counts[k] * sizeof(int32_t))
        return 0


cdef void mirror(int32_t* in_rows, int32_t* out_rows, int64_t source, int64_t target,
                 int64_t count) noexcept nogil:
    """The pairs of the offset that points the other way, with their rows exchanged."""
    memcpy(in_rows + target, out_rows + source, count * sizeof(int32_t))
    memcpy(out_rows + target, in_rows + source, count * sizeof(int32_t))


def sort_pairs(const int32_t[::1] in_rows, const int32_t[::1] out_rows,
               const int64_t[::1] offset_starts, Py_ssize_t num_out, int num_threads,
               const int64_t[::1] order=None):
    """Sort the pairs of every offset by output row (no output row occurs twice in one).

    With an ``order``, row r of either side becomes ``order[r]`` before.
    """
    cdef Py_ssize_t volume = offset_starts.shape[0] - 1, k
    cdef const int64_t* becomes = NULL
    in_array = empty(in_rows.shape[0], np.int32)
    out_array = empty(in_rows.shape[0], np.int32)
    cdef int32_t[::1] in_sorted = in_array, out_sorted = out_array
    cdef int32_t[:, ::1] source = empty((num_threads, num_out), np.int32)
    cdef uint64_t[:, ::1] bits = empty((num_threads, (num_out + 63) // 64), np.uint64)
    if order is not None and order.shape[0]:
        becomes = &order[0]
    if in_rows.shape[0]:
        for k in prange(volume, nogil=True, schedule="dynamic", num_threads=num_threads):
            if offset_starts[k] < offset_starts[k + 1]:
                sort_offset(&in_rows[offset_starts[k]], &out_rows[offset_starts[k]],
                            offset_starts[k + 1] - offset_starts[k], becomes, num_out,
                            &bits[threadid(), 0], &source[threadid(), 0],
                            &in_sorted[offset_starts[k]], &out_sorted[offset_starts[k]])
    return in_array, out_array
