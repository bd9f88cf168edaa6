/* Pairs of input and output rows of every kernel offset.
 *
 * A site's key is its row-major position in the (batch, *spatial) grid. On one axis an input
 * coordinate meets a kernel index at no more than one output coordinate, so the key of the output
 * is a sum of one term per axis; an invalid term makes the sum negative. Shifting sorted sites
 * keeps them sorted, so pairs come out ordered by output row with no sort.
 *
 * Offsets that differ in their last index only form a group. If the group spans at most 64 cells of
 * the last axis, one look at the bitmap answers for the whole group; with a stride of s only every
 * s-th kernel index meets an output, and those outputs are neighbours.
 *
 * Where the grid is too large for a bitmap, its lines along the last axis may not be: of those that
 * may have an output, put together without the others, a bitmap is small again, and keys that are
 * counted within it are in the order of those of the grid.
 */
#ifndef SPCONV_MATCH_H
#define SPCONV_MATCH_H
#include "site_index.h"
#include "strides.h"

#define SPCONV_INVALID (-((int64_t)1 << 60))

typedef struct {
    int64_t kernel_size, stride, padding, dilation, extent; /* extent: of the output */
    int64_t first_term; /* row of terms where the axis starts */
} spconv_axis;

typedef struct {
    spconv_axis axes[SPCONV_MAX_DIMS];
    int64_t num_sites, ndim, group_size, computed;
    int transposed;
    const int32_t *sites; /* (num_sites, 1 + ndim) */
    int64_t *terms;       /* (sum of kernel sizes, num_sites); windows need no last axis' */
    const int32_t *last;  /* coordinate on the last axis, every last_step-th entry */
    int64_t last_step, last_extent;
    int64_t first_tap, tap_step; /* kernel index j of the last axis: output = input + first + j*step */
    int64_t stride; /* of the last axis */
    int windowed, in_lines; /* in_lines: the terms of the leading axes sum to the number of a line */
    const uint64_t *line_bits; /* lines to count keys in, if there */
    const int32_t *line_ranks;
    const uint64_t *bits; /* either a bitmap with ranks ... */
    const int32_t *ranks;
    const int64_t *keys; /* ... or sorted keys */
    int64_t num_keys;
} spconv_matcher;

SPCONV_FORCE_INLINE int64_t match_cell(int64_t y, int64_t extent, int64_t cell) {
    return y >= 0 && y < extent ? y * cell : SPCONV_INVALID;
}

/* The terms of kernel index j on one axis: cell * (output coordinate), or invalid, plus sample_cell
 * * (sample in the batch). Regular: (x + shift) / stride; transposed: x * stride - shift. */
static void match_term(const spconv_matcher *m, int64_t axis, int64_t j, int64_t cell,
                       int64_t sample_cell) {
    const spconv_axis *a = m->axes + axis;
    const int32_t *sites = m->sites, *x = sites + 1 + axis;
    const int64_t step = m->ndim + 1, n = m->num_sites, extent = a->extent;
    const int64_t stride = a->stride, below = stride - 1, shift = a->padding - j * a->dilation;
    const int log2 = stride_log2(stride);
    int64_t *term = m->terms + (a->first_term + j) * n;
    if (m->transposed)
        for (int64_t i = 0; i < n; ++i)
            term[i] = match_cell(x[i * step] * stride - shift, extent, cell) +
                      sites[i * step] * sample_cell;
    else if (log2 < 0)
        for (int64_t i = 0; i < n; ++i) {
            const int64_t value = x[i * step] + shift;
            term[i] = match_cell(value % stride ? -1 : value / stride, extent, cell) +
                      sites[i * step] * sample_cell;
        }
    else
        for (int64_t i = 0; i < n; ++i) {
            const int64_t value = x[i * step] + shift;
            term[i] = match_cell(value & below ? -1 : value >> log2, extent, cell) +
                      sites[i * step] * sample_cell;
        }
}

/* Where a group is worked on: the sites that all axes but the last allow, with the sum of those
 * axes' terms, and the pairs found, offset after offset. The spare entry of every row lets a loop
 * write before it knows whether to keep. */
typedef struct {
    int64_t *lead;  /* (num_sites,) */
    int32_t *sites; /* (num_sites,) */
    int32_t *pairs; /* (group_size, 2, num_sites + 1): input rows, then output rows */
    int64_t count;
} spconv_scratch;

/* Loops below advance by a condition instead of branching on it: whether a tap is active is as
 * good as random, and a wrong guess costs more than a store. */
SPCONV_FORCE_INLINE int64_t match_compact(const int axes, const int64_t *const *terms,
                                          int64_t num_sites, int64_t *leads, int32_t *sites) {
    int64_t count = 0;
    for (int64_t i = 0; i < num_sites; ++i) {
        int64_t lead = 0;
        for (int axis = 0; axis < axes; ++axis) lead += terms[axis][i];
        sites[count] = (int32_t)i;
        leads[count] = lead;
        count += lead >= 0;
    }
    return count;
}

SPCONV_FORCE_INLINE void match_sites(const spconv_matcher *m, int64_t group, spconv_scratch *s) {
    const int64_t *terms[SPCONV_MAX_DIMS];
    const int axes = (int)m->ndim - 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
        const spconv_axis *a = m->axes + axis;
        terms[axis] = m->terms + (a->first_term + group % a->kernel_size) * m->num_sites;
        group /= a->kernel_size;
    }
    if (axes == 1) s->count = match_compact(1, terms, m->num_sites, s->lead, s->sites);
    else if (axes == 2) s->count = match_compact(2, terms, m->num_sites, s->lead, s->sites);
    else s->count = match_compact(axes, terms, m->num_sites, s->lead, s->sites);
}

SPCONV_POPCNT_CLONES static void match_lead(const spconv_matcher *m, int64_t group, spconv_scratch *s) {
    match_sites(m, group, s);
    if (m->line_bits) {
        const int64_t count = s->count;
        int64_t kept = 0;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t line = s->lead[i];
            s->sites[kept] = s->sites[i];
            s->lead[kept] = m->last_extent * site_count(m->line_bits, m->line_ranks, line);
            kept += (int64_t)(site_window(m->line_bits, line) & 1);
        }
        s->count = kept;
    } else if (m->in_lines)
        for (int64_t i = 0; i < s->count; ++i) s->lead[i] *= m->last_extent;
}

/* Mark every line that the group reaches. */
SPCONV_POPCNT_CLONES static void match_mark_lines(const spconv_matcher *m, int64_t group,
                                                  spconv_scratch *s, uint64_t *bits) {
    match_sites(m, group, s);
    for (int64_t i = 0; i < s->count; ++i) site_mark(bits, s->lead[i]);
}

/* The window of one site: its first cell on the last axis, and the bits of the taps inside. */
SPCONV_FORCE_INLINE uint64_t match_taps(const spconv_matcher *m, uint64_t pattern, int64_t span,
                                  int64_t first) {
    if (first < 0) pattern = first <= -64 ? 0 : pattern >> -first << -first;
    const int64_t left = m->last_extent - first;
    if (left < span) pattern = left <= 0 ? 0 : pattern & (((uint64_t)1 << left) - 1);
    return pattern;
}

SPCONV_FORCE_INLINE int64_t match_lowest(const spconv_matcher *m) {
    return m->tap_step > 0 ? m->first_tap : m->first_tap + (m->group_size - 1) * m->tap_step;
}

SPCONV_FORCE_INLINE uint64_t match_pattern(const spconv_matcher *m) {
    uint64_t pattern = 0;
    for (int64_t j = 0; j < m->group_size; ++j)
        pattern |= (uint64_t)1 << (m->first_tap + j * m->tap_step - match_lowest(m));
    return pattern;
}

SPCONV_FORCE_INLINE int64_t match_span(const spconv_matcher *m) {
    const int64_t step = m->tap_step > 0 ? m->tap_step : -m->tap_step;
    return (m->group_size - 1) * step + 1;
}

/* What the group of a strided convolution reaches from one site: `taps` neighbouring cells of the
 * last axis that end at `high`, by kernel indices offset, offset + stride, ... */
typedef struct {
    int64_t high, offset, taps;
} spconv_reach;

SPCONV_FORCE_INLINE spconv_reach match_reach(const spconv_matcher *m, int32_t site, int64_t log2) {
    const int64_t value = m->last[site * m->last_step] + m->first_tap;
    spconv_reach reach;
    reach.high = log2 >= 0 ? value >> log2 : value / m->stride;
    reach.offset = value - reach.high * m->stride;
    const int64_t left = m->group_size - 1 - reach.offset;
    reach.taps = left < 0 ? 0 : (log2 >= 0 ? left >> log2 : left / m->stride) + 1;
    return reach;
}

/* The terms of kernel index j on the last axis. */
SPCONV_FORCE_INLINE const int64_t *match_last(const spconv_matcher *m, int64_t j) {
    return m->terms + (m->axes[m->ndim - 1].first_term + j) * m->num_sites;
}

/* Keys of the output cells that offset j of the group reaches; returns their number. */
static int64_t match_keys(const spconv_matcher *m, const spconv_scratch *s, int64_t j,
                          int64_t *keys) {
    const int64_t *last = match_last(m, j);
    int64_t found = 0;
    for (int64_t i = 0; i < s->count; ++i) {
        keys[found] = s->lead[i] + last[s->sites[i]];
        found += keys[found] >= 0;
    }
    return found;
}

/* Mark every output cell that the group reaches. */
SPCONV_POPCNT_CLONES static void match_mark(const spconv_matcher *m, int64_t group,
                                            spconv_scratch *s, uint64_t *bits) {
    match_lead(m, group, s);
    if (m->windowed && m->stride > 1) {
        const int64_t log2 = stride_log2(m->stride);
        for (int64_t i = 0; i < s->count; ++i) {
            const spconv_reach reach = match_reach(m, s->sites[i], log2);
            const int64_t first = reach.high - reach.taps + 1;
            const uint64_t pattern = ((uint64_t)1 << reach.taps) - 1;
            site_mark_window(bits, s->lead[i] + first,
                             match_taps(m, pattern, reach.taps, first));
        }
        return;
    }
    if (m->windowed) {
        const uint64_t pattern = match_pattern(m);
        const int64_t lowest = match_lowest(m), span = match_span(m);
        for (int64_t i = 0; i < s->count; ++i) {
            const int64_t first = m->last[s->sites[i] * m->last_step] + lowest;
            site_mark_window(bits, s->lead[i] + first, match_taps(m, pattern, span, first));
        }
        return;
    }
    for (int64_t j = 0; j < m->group_size; ++j) {
        const int64_t *last = match_last(m, j);
        for (int64_t i = 0; i < s->count; ++i) {
            const int64_t key = s->lead[i] + last[s->sites[i]];
            site_mark_window(bits, key >= 0 ? key : 0, key >= 0);
        }
    }
}

/* Pairs of one offset, one look-up each; returns their number. */
SPCONV_FORCE_INLINE int64_t match_offset(const spconv_matcher *m, const spconv_scratch *s, int64_t j,
                                   int32_t *in_rows, int32_t *out_rows) {
    const int64_t *last = match_last(m, j);
    int64_t found = 0, cursor = 0;
    for (int64_t i = 0; i < s->count; ++i) {
        const int64_t key = s->lead[i] + last[s->sites[i]];
        int active = key >= 0;
        in_rows[found] = s->sites[i];
        if (m->bits) {
            const int64_t cell = active ? key : 0;
            out_rows[found] = site_count(m->bits, m->ranks, cell);
            active &= (int)(site_window(m->bits, cell) & 1);
        } else if (active) {
            while (cursor < m->num_keys && m->keys[cursor] < key) ++cursor;
            out_rows[found] = (int32_t)cursor;
            active = cursor < m->num_keys && m->keys[cursor] == key;
        }
        found += active;
    }
    return found;
}

/* Pairs of all offsets of a group, one look-up for all. `taps` is a literal at the calls that
 * matter, so that the counters stay in registers. */
SPCONV_FORCE_INLINE void match_windows(const spconv_matcher *m, const spconv_scratch *s,
                                       const int taps, int64_t *counts) {
    const uint64_t pattern = match_pattern(m);
    const int64_t lowest = match_lowest(m), span = match_span(m), room = m->num_sites + 1;
    int64_t found[64];
    for (int j = 0; j < taps; ++j) found[j] = 0;
    for (int64_t i = 0; i < s->count; ++i) {
        const int32_t site = s->sites[i];
        const int64_t first = m->last[site * m->last_step] + lowest, key = s->lead[i] + first;
        const uint64_t cells = site_window(m->bits, key);
        const uint64_t active = cells & match_taps(m, pattern, span, first);
        const int32_t before = site_count(m->bits, m->ranks, key);
        int64_t tap = m->first_tap - lowest;
        for (int j = 0; j < taps; ++j, tap += m->tap_step) {
            int32_t *pairs = s->pairs + 2 * j * room + found[j];
            pairs[0] = site;
            pairs[room] = before + SPCONV_POPCOUNT(cells & (((uint64_t)1 << tap) - 1));
            found[j] += (int64_t)(active >> tap & 1);
        }
    }
    for (int j = 0; j < taps; ++j) counts[j] = found[j];
}

/* The same with a stride. A tap too many writes to a spare entry. */
SPCONV_FORCE_INLINE void match_strided(const spconv_matcher *m, const spconv_scratch *s,
                                       const int most, int64_t *counts) {
    const int64_t log2 = stride_log2(m->stride), room = m->num_sites + 1, size = m->group_size;
    int64_t found[64];
    for (int64_t j = 0; j < size; ++j) found[j] = 0;
    for (int64_t i = 0; i < s->count; ++i) {
        const int32_t site = s->sites[i];
        const spconv_reach reach = match_reach(m, site, log2);
        const int64_t first = reach.high - most + 1, key = s->lead[i] + first;
        const uint64_t cells = site_window(m->bits, key);
        const int32_t before = site_count(m->bits, m->ranks, key);
        for (int t = 0; t < most; ++t) {
            const int64_t wanted = reach.offset + t * m->stride, cell = reach.high - t;
            const int64_t j = wanted < size ? wanted : size - 1;
            const int bit = most - 1 - t;
            const int inside = (wanted < size) & (cell >= 0) & (cell < m->last_extent);
            int32_t *pairs = s->pairs + 2 * j * room + found[j];
            pairs[0] = site;
            pairs[room] = before + SPCONV_POPCOUNT(cells & (((uint64_t)1 << bit) - 1));
            found[j] += inside & (int)(cells >> bit & 1);
        }
    }
    for (int64_t j = 0; j < size; ++j) counts[j] = found[j];
}

/* Pairs of one group and their numbers. */
SPCONV_POPCNT_CLONES static void match_group(const spconv_matcher *m, int64_t group,
                                             spconv_scratch *s, int64_t *counts) {
    const int64_t left = m->computed - group * m->group_size, room = m->num_sites + 1;
    const int64_t taps = left < m->group_size ? left : m->group_size;
    match_lead(m, group, s);
    if (!m->windowed) {
        for (int64_t j = 0; j < taps; ++j) {
            int32_t *pairs = s->pairs + 2 * j * room;
            counts[j] = match_offset(m, s, j, pairs, pairs + room);
        }
    } else if (m->stride > 1) {
        const int64_t most = (m->group_size + m->stride - 1) / m->stride;
        if (most == 1) match_strided(m, s, 1, counts);
        else if (most == 2) match_strided(m, s, 2, counts);
        else match_strided(m, s, (int)most, counts);
    } else if (taps == 2) match_windows(m, s, 2, counts);
    else if (taps == 3) match_windows(m, s, 3, counts);
    else match_windows(m, s, (int)taps, counts);
}
#endif
