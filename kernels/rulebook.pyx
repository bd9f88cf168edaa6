"""Active sites -> rulebook arrays. Callers check every argument; see spconv.rulebook.

A site's *key* is its row-major position in the (batch, *spatial) grid. On one axis an input
coordinate meets kernel index j at no more than one output coordinate, so the key of the output
is a sum of one *term* per axis, and INVALID terms make the sum negative. Shifting sorted sites
keeps them sorted: pairs come out ordered by output row with no sort.
"""

import numpy as np

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

cdef extern from "site_index.h" nogil:
    void site_mark(uint64_t* bits, int64_t key)
    int64_t site_rank(const uint64_t* bits, int32_t* counts, int64_t words)
    int32_t site_row(const uint64_t* bits, const int32_t* counts, int64_t key)
    void site_keys(const uint64_t* bits, int64_t words, int64_t* keys)

cdef int64_t INVALID = -(<int64_t> 1 << 60)


def site_keys_of(const int32_t[:, ::1] indices, const int64_t[::1] extents):
    """Keys (N,) int64 of sites (N, 1 + ndim) in a grid of ``extents`` (batch first)."""
    cdef Py_ssize_t n = indices.shape[0], columns = indices.shape[1], i, c
    cdef int64_t key
    out = np.empty(n, np.int64)
    cdef int64_t[::1] keys = out
    with nogil:
        for i in range(n):
            key = 0
            for c in range(columns):
                key = key * extents[c] + indices[i, c]
            keys[i] = key
    return out


def sites_of_keys(const int64_t[::1] keys, const int64_t[::1] extents):
    """Inverse of :func:`site_keys_of`."""
    cdef Py_ssize_t n = keys.shape[0], columns = extents.shape[0], i, c
    cdef int64_t key, quotient
    out = np.empty((n, columns), np.int32)
    cdef int32_t[:, ::1] indices = out
    with nogil:
        for i in range(n):
            key = keys[i]
            for c in range(columns - 1, 0, -1):
                quotient = key // extents[c]
                indices[i, c] = <int32_t> (key - quotient * extents[c])
                key = quotient
            indices[i, 0] = <int32_t> key
    return out


def first_out_of_range(const int32_t[:, ::1] indices, const int64_t[::1] extents):
    """First row with a coordinate outside the grid, or -1."""
    cdef Py_ssize_t n = indices.shape[0], columns = indices.shape[1], i, c
    with nogil:
        for i in range(n):
            for c in range(columns):
                if indices[i, c] < 0 or indices[i, c] >= extents[c]:
                    with gil:
                        return i
    return -1


def is_increasing(const int64_t[::1] keys):
    """Whether keys are strictly ascending."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(1, keys.shape[0]):
            if keys[i - 1] >= keys[i]:
                with gil:
                    return False
    return True


cdef void axis_term(const int32_t* column, Py_ssize_t step, Py_ssize_t n, int64_t stride,
                    int64_t shift, int64_t extent, int64_t cell, bint transposed,
                    int64_t* term) noexcept nogil:
    """term[i] = cell * (output coordinate of input coordinate i), or INVALID.

    Regular: (x + shift) / stride with shift = padding - j * dilation;
    transposed: x * stride - shift.
    """
    cdef Py_ssize_t i
    cdef int64_t value, y
    for i in range(n):
        value = column[i * step]
        if transposed:
            y = value * stride - shift
        elif stride == 1:
            y = value + shift
        else:
            value = value + shift
            y = value // stride
            if value < 0 or y * stride != value:
                y = -1
        term[i] = y * cell if 0 <= y < extent else INVALID


cdef void add_rows(const int64_t* a, const int64_t* b, Py_ssize_t n, int64_t* out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = a[i] + b[i]


cdef class Matcher:
    """Pairs of input and output rows for every kernel offset.

    Offsets are processed in *groups* that share all kernel indices but the last, because the
    sum of the leading terms is then the same.
    """

    cdef Py_ssize_t n, ndim, group_size, num_groups
    cdef int64_t[:, ::1] terms
    cdef int64_t[::1] kernel_size
    cdef int64_t[::1] first_term
    cdef uint64_t[::1] bits
    cdef int32_t[::1] ranks
    cdef int64_t[::1] keys
    cdef bint direct, submanifold
    cdef Py_ssize_t computed

    def __init__(self, const int32_t[:, ::1] indices, const int64_t[::1] kernel_size,
                 const int64_t[::1] stride, const int64_t[::1] padding,
                 const int64_t[::1] dilation, const int64_t[::1] out_shape,
                 bint transposed, bint submanifold, bint symmetric):
        cdef Py_ssize_t axis, j, row = 0, i, columns = indices.shape[1]
        cdef int64_t cell, shift
        cdef Py_ssize_t volume = 1
        self.n = indices.shape[0]
        self.ndim = kernel_size.shape[0]
        self.group_size = kernel_size[self.ndim - 1]
        for axis in range(self.ndim):
            volume *= kernel_size[axis]
        self.num_groups = volume // self.group_size
        self.kernel_size = np.array(kernel_size)
        self.terms = np.empty((int(np.sum(kernel_size)), self.n), np.int64)
        self.first_term = np.zeros(self.ndim, np.int64)
        self.submanifold = submanifold
        # Of a symmetric submanifold kernel, offset volume-1-k is offset k with its rows swapped.
        self.computed = volume // 2 + 1 if symmetric else volume
        cdef int64_t[:, ::1] terms = self.terms
        cdef int64_t[::1] cells = np.ones(self.ndim + 1, np.int64)
        for axis in range(self.ndim - 1, -1, -1):
            cells[axis] = cells[axis + 1] * out_shape[axis]
        if self.n == 0:
            return
        for axis in range(self.ndim):
            self.first_term[axis] = row
            for j in range(kernel_size[axis]):
                shift = padding[axis] - j * dilation[axis]
                axis_term(&indices[0, axis + 1], columns, self.n, stride[axis], shift,
                          out_shape[axis], cells[axis + 1], transposed, &terms[row, 0])
                if axis == 0:
                    cell = cells[0]
                    for i in range(self.n):
                        terms[row, i] += indices[i, 0] * cell
                row += 1

    cdef const int64_t* last_term(self, Py_ssize_t j) noexcept nogil:
        return &self.terms[self.first_term[self.ndim - 1] + j, 0]

    cdef void lead(self, Py_ssize_t group, int64_t* out) noexcept nogil:
        """Sum of the terms of all axes but the last, for the offsets of one group."""
        cdef Py_ssize_t axis, j
        memset(out, 0, self.n * sizeof(int64_t))
        for axis in range(self.ndim - 2, -1, -1):
            j = group % self.kernel_size[axis]
            group = group // self.kernel_size[axis]
            add_rows(out, &self.terms[self.first_term[axis] + j, 0], self.n, out)

    def mark(self, uint64_t[::1] bits):
        """Mark every output cell that some offset reaches."""
        cdef Py_ssize_t group, j, i
        cdef const int64_t* last
        if self.n == 0:
            return
        cdef int64_t[::1] scratch = np.empty(self.n, np.int64)
        cdef int64_t* lead = &scratch[0]
        with nogil:
            for group in range(self.num_groups):
                self.lead(group, lead)
                for j in range(self.group_size):
                    last = self.last_term(j)
                    for i in range(self.n):
                        if lead[i] + last[i] >= 0:
                            site_mark(&bits[0], lead[i] + last[i])

    def reached_keys(self):
        """Keys of all output cells that some offset reaches, sorted and unique."""
        parts = [np.empty(0, np.int64)]
        cdef Py_ssize_t group, j
        for group in range(self.num_groups):
            lead = np.zeros(self.n, np.int64)
            rest = group
            for axis in range(self.ndim - 2, -1, -1):
                lead += self.terms[self.first_term[axis] + rest % self.kernel_size[axis]]
                rest //= self.kernel_size[axis]
            for j in range(self.group_size):
                keys = lead + self.terms[self.first_term[self.ndim - 1] + j]
                parts.append(keys[keys >= 0])
        return np.unique(np.concatenate(parts))

    def use_bits(self, uint64_t[::1] bits, int32_t[::1] ranks):
        """Look output rows up in a marked and ranked bitmap."""
        self.bits, self.ranks, self.direct = bits, ranks, True

    def use_keys(self, int64_t[::1] keys):
        """Look output rows up in a sorted list of keys."""
        self.keys, self.direct = keys, False

    cdef int64_t scan(self, const int64_t* lead, const int64_t* last, int32_t* in_rows,
                      int32_t* out_rows) noexcept nogil:
        """Pairs of one offset; only counts them where in_rows is NULL."""
        cdef int64_t found = 0, key, cursor = 0, num_keys = self.keys.shape[0]
        cdef int32_t row
        cdef Py_ssize_t i
        for i in range(self.n):
            key = lead[i] + last[i]
            if key < 0:
                continue
            if self.direct:
                row = site_row(&self.bits[0], &self.ranks[0], key)
            else:
                while cursor < num_keys and self.keys[cursor] < key:
                    cursor += 1
                row = cursor if cursor < num_keys and self.keys[cursor] == key else -1
            if row < 0:
                continue
            if in_rows != NULL:
                in_rows[found] = i
                out_rows[found] = row
            found += 1
        return found

    cdef void run_group(self, Py_ssize_t group, int64_t* lead, const int64_t* starts,
                        int64_t* counts, int32_t* in_rows, int32_t* out_rows) noexcept nogil:
        cdef Py_ssize_t j, k
        self.lead(group, lead)
        for j in range(self.group_size):
            k = group * self.group_size + j
            if k >= self.computed:
                break
            if starts == NULL:
                counts[k] = self.scan(lead, self.last_term(j), NULL, NULL)
            else:
                self.scan(lead, self.last_term(j), in_rows + starts[k], out_rows + starts[k])

    def pairs(self, int num_threads):
        """Return in_rows (P,) int32, out_rows (P,) int32 and offset_starts (K + 1,) int64."""
        cdef Py_ssize_t volume = self.num_groups * self.group_size, k, mirror, group
        cdef Py_ssize_t groups = (self.computed + self.group_size - 1) // self.group_size
        counts_array = np.zeros(volume, np.int64)
        starts_array = np.zeros(volume + 1, np.int64)
        cdef int64_t[::1] counts = counts_array, starts = starts_array
        cdef int32_t* no_rows = NULL
        cdef int64_t[:, ::1] scratch = np.empty((num_threads, self.n), np.int64)
        if self.n:
            for group in prange(groups, nogil=True, schedule="dynamic", num_threads=num_threads):
                self.run_group(group, &scratch[threadid(), 0], NULL, &counts[0],
                               no_rows, no_rows)
        for k in range(self.computed, volume):
            counts[k] = counts[volume - 1 - k]
        np.cumsum(counts_array, out=starts_array[1:])
        total = int(starts_array[volume])
        in_array, out_array = np.empty(total, np.int32), np.empty(total, np.int32)
        cdef int32_t[::1] in_rows = in_array, out_rows = out_array
        if total:
            for group in prange(groups, nogil=True, schedule="dynamic", num_threads=num_threads):
                self.run_group(group, &scratch[threadid(), 0], &starts[0], NULL, &in_rows[0],
                               &out_rows[0])
            for k in range(self.computed, volume):
                mirror = volume - 1 - k
                source = slice(starts_array[mirror], starts_array[mirror + 1])
                target = slice(starts_array[k], starts_array[k + 1])
                in_array[target] = out_array[source]
                out_array[target] = in_array[source]
        return in_array, out_array, starts_array


def rank_bits(const uint64_t[::1] bits):
    """Per 64-cell word the number of marked cells before it (int32), and their total."""
    ranks = np.empty(bits.shape[0], np.int32)
    cdef int32_t[::1] view = ranks
    cdef int64_t total = 0
    if bits.shape[0]:
        with nogil:
            total = site_rank(&bits[0], &view[0], bits.shape[0])
    return ranks, total


def mark_keys(const int64_t[::1] keys, uint64_t[::1] bits):
    """Mark cells by key."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(keys.shape[0]):
            site_mark(&bits[0], keys[i])


def marked_keys(const uint64_t[::1] bits, Py_ssize_t total):
    """Keys (total,) int64 of the marked cells, ascending."""
    keys = np.empty(total, np.int64)
    cdef int64_t[::1] view = keys
    if total:
        with nogil:
            site_keys(&bits[0], bits.shape[0], &view[0])
    return keys


def sort_pairs(const int32_t[::1] in_rows, const int32_t[::1] out_rows,
               const int64_t[::1] offset_starts, Py_ssize_t num_out, int num_threads):
    """Sort the pairs of every offset by output row (no output row occurs twice in one)."""
    cdef Py_ssize_t volume = offset_starts.shape[0] - 1, k
    in_array = np.empty(in_rows.shape[0], np.int32)
    out_array = np.empty(in_rows.shape[0], np.int32)
    cdef int32_t[::1] in_sorted = in_array, out_sorted = out_array
    cdef int32_t[:, ::1] scratch = np.empty((num_threads, num_out), np.int32)
    if in_rows.shape[0]:
        for k in prange(volume, nogil=True, schedule="dynamic", num_threads=num_threads):
            sort_offset(&in_rows[0], &out_rows[0], offset_starts[k], offset_starts[k + 1],
                        num_out, &scratch[threadid(), 0], &in_sorted[0], &out_sorted[0])
    return in_array, out_array


cdef void sort_offset(const int32_t* in_rows, const int32_t* out_rows, int64_t start, int64_t stop,
                      Py_ssize_t num_out, int32_t* source, int32_t* in_sorted,
                      int32_t* out_sorted) noexcept nogil:
    cdef int64_t p, position
    cdef Py_ssize_t row
    cdef bint sorted_already = True
    for p in range(start + 1, stop):
        if out_rows[p - 1] >= out_rows[p]:
            sorted_already = False
            break
    if sorted_already:
        for p in range(start, stop):
            in_sorted[p] = in_rows[p]
            out_sorted[p] = out_rows[p]
        return
    memset(source, 255, num_out * sizeof(int32_t))
    for p in range(start, stop):
        source[out_rows[p]] = in_rows[p]
    position = start
    for row in range(num_out):
        if source[row] >= 0:
            in_sorted[position] = source[row]
            out_sorted[position] = row
            position += 1
