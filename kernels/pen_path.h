/* Pen paths on a grid of unit cells: which cells they pass, and what they do there.
 *
 * A character is a few polygonal strokes, points (x, y) in cells; cell (j, i) is the half-open
 * square [i, i + 1) x [j, j + 1). All sums are in double precision and in the order of the path.
 */
#ifndef SPCONV_PEN_PATH_H
#define SPCONV_PEN_PATH_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signature.h"

enum { PEN_OCCUPANCY, PEN_DIRECTION, PEN_OCTOGRAM, PEN_SIGNATURE };

/* A path touches a cell without entering it, up to rounding, if it is no longer than this in it. */
static const double PEN_TOUCH = 1e-9;

typedef struct {
    int64_t height, width, sums; /* sums: averaged features of a site */
    int kind, order;
    double window;
    /* A site has a slot; cells without one have -1. By slot: */
    int32_t *slot_of_cell;
    int64_t *cell;
    double *length; /* of the path inside the cell */
    double *sum;    /* (slots, sums), integrals over this length */
    uint8_t *dot;   /* a stroke without length lies here */
    int64_t slots;
    /* The stroke under way: arc length at its points, and its present stay in one cell. */
    double *arc;
    int64_t arc_size;
    double stay_from, stay_to;
    int64_t stay_cell, window_first;
} PenCanvas;

static int pen_canvas_open(PenCanvas *canvas, int64_t height, int64_t width, int kind, int order,
                           double window) {
    int64_t cells = height * width;
    memset(canvas, 0, sizeof *canvas);
    canvas->height = height;
    canvas->width = width;
    canvas->kind = kind;
    canvas->order = order;
    canvas->window = window;
    canvas->sums = kind == PEN_OCCUPANCY   ? 0
                   : kind == PEN_DIRECTION ? 2
                   : kind == PEN_OCTOGRAM  ? 8
                                           : signature_size(order);
    canvas->slot_of_cell = malloc(cells * sizeof(int32_t));
    canvas->cell = malloc(cells * sizeof(int64_t));
    canvas->length = malloc(cells * sizeof(double));
    canvas->sum = malloc((cells * canvas->sums + 1) * sizeof(double));
    canvas->dot = malloc(cells);
    if (!canvas->slot_of_cell || !canvas->cell || !canvas->length || !canvas->sum || !canvas->dot)
        return 0;
    memset(canvas->slot_of_cell, 0xff, cells * sizeof(int32_t)); /* all -1 */
    return 1;
}

static void pen_canvas_close(PenCanvas *canvas) {
    free(canvas->slot_of_cell);
    free(canvas->cell);
    free(canvas->length);
    free(canvas->sum);
    free(canvas->dot);
    free(canvas->arc);
}

static int64_t pen_slot(PenCanvas *canvas, int64_t cell) {
    int64_t slot = canvas->slot_of_cell[cell];
    if (slot < 0) {
        slot = canvas->slots++;
        canvas->slot_of_cell[cell] = (int32_t)slot;
        canvas->cell[slot] = cell;
        canvas->length[slot] = 0;
        canvas->dot[slot] = 0;
        for (int64_t k = 0; k < canvas->sums; ++k) canvas->sum[slot * canvas->sums + k] = 0;
    }
    return slot;
}

/* The path leaves a cell: the signature in the middle of the stay counts by the stay's length. */
static void pen_end_stay(PenCanvas *canvas, const double *points, int64_t count) {
    if (canvas->stay_cell < 0) return;
    int64_t slot = pen_slot(canvas, canvas->stay_cell);
    double length = canvas->stay_to - canvas->stay_from;
    double middle = (canvas->stay_from + canvas->stay_to) / 2, half = canvas->window / 2;
    double s[SIGNATURE_MAX] = {0};
    canvas->window_first = signature_of_window(points, canvas->arc, count, middle - half,
                                               middle + half, canvas->window_first, canvas->order, s);
    double *sum = canvas->sum + slot * canvas->sums;
    for (int64_t k = 0; k < canvas->sums; ++k) sum[k] += length * s[k];
    canvas->length[slot] += length;
    canvas->stay_cell = -1;
}

/* Shares of the two compass directions k * 45 degrees next to (dx, dy), linear in the angle. */
static void pen_octogram(double dx, double dy, double *share) {
    double turn = atan2(dy, dx) * (4 / 3.14159265358979323846);
    double below = floor(turn);
    int64_t k = (int64_t)below & 7;
    for (int i = 0; i < 8; ++i) share[i] = 0;
    share[(k + 1) & 7] = turn - below;
    share[k] = 1 - (turn - below);
}

/* Where the segment p + t d, t in [from, to], lies in [0, size] along one axis; 0 if nowhere. */
static int pen_clip(double p, double d, double size, double *from, double *to) {
    if (d == 0) return p >= 0 && p < size;
    double enter = (d > 0 ? -p : size - p) / d, leave = (d > 0 ? size - p : -p) / d;
    if (enter > *from) *from = enter;
    if (leave < *to) *to = leave;
    return *from < *to;
}

/* The part [now, next] of a segment with displacement (dx, dy) lies in one cell. */
static inline void pen_piece(PenCanvas *canvas, const double *points, int64_t count, int64_t first,
                             int64_t cell, double now, double next, double dx, double dy,
                             const double *share) {
    double arc = canvas->arc[first], length = canvas->arc[first + 1] - arc;
    if (canvas->kind == PEN_SIGNATURE) {
        if (cell != canvas->stay_cell) {
            pen_end_stay(canvas, points, count);
            canvas->stay_cell = cell;
            canvas->stay_from = arc + now * length;
        }
        canvas->stay_to = arc + next * length;
        return;
    }
    int64_t slot = pen_slot(canvas, cell);
    double *sum = canvas->sum + slot * canvas->sums;
    double piece = (next - now) * length;
    canvas->length[slot] += piece;
    if (canvas->kind == PEN_DIRECTION) {
        sum[0] += (next - now) * dx;
        sum[1] += (next - now) * dy;
    } else if (canvas->kind == PEN_OCTOGRAM) {
        for (int k = 0; k < 8; ++k) sum[k] += piece * share[k];
    }
}

/* Cut the segment from point `first` to the next where it crosses grid lines. */
static void pen_segment(PenCanvas *canvas, const double *points, int64_t count, int64_t first) {
    const double *p = points + 2 * first;
    const double width = (double)canvas->width, height = (double)canvas->height;
    double dx = p[2] - p[0], dy = p[3] - p[1], from = 0, to = 1, share[8];
    if (!(canvas->arc[first + 1] > canvas->arc[first])) return;
    int inside = p[0] >= 0 && p[1] >= 0 && p[2] >= 0 && p[3] >= 0 && p[0] < width &&
                 p[2] < width && p[1] < height && p[3] < height;
    if (!inside && (!pen_clip(p[0], dx, width, &from, &to) ||
                    !pen_clip(p[1], dy, height, &from, &to))) {
        if (canvas->kind == PEN_SIGNATURE) pen_end_stay(canvas, points, count);
        return;
    }
    if (canvas->kind == PEN_OCTOGRAM) pen_octogram(dx, dy, share);
    if (inside && (int64_t)p[0] == (int64_t)p[2] && (int64_t)p[1] == (int64_t)p[3]) {
        int64_t cell = (int64_t)p[1] * canvas->width + (int64_t)p[0];
        pen_piece(canvas, points, count, first, cell, 0, 1, dx, dy, share);
        return;
    }
    if (from > 0 && canvas->kind == PEN_SIGNATURE) pen_end_stay(canvas, points, count);

    /* The grid lines that the segment meets next, and when. */
    double line_x = (double)(int64_t)(p[0] + from * dx), line_y = (double)(int64_t)(p[1] + from * dy);
    double step_x = dx > 0 ? 1 : -1, step_y = dy > 0 ? 1 : -1;
    double per_x = 1 / dx, per_y = 1 / dy;
    line_x += dx > 0;
    line_y += dy > 0;
    double next_x = dx != 0 ? (line_x - p[0]) * per_x : 2, now = from;
    double next_y = dy != 0 ? (line_y - p[1]) * per_y : 2;
    while (now < to) {
        double next = to;
        if (next_x < next) next = next_x;
        if (next_y < next) next = next_y;
        if (next > now) {
            double at_x = p[0] + (now + next) / 2 * dx, at_y = p[1] + (now + next) / 2 * dy;
            if (at_x >= 0 && at_y >= 0 && at_x < width && at_y < height)
                pen_piece(canvas, points, count, first,
                          (int64_t)at_y * canvas->width + (int64_t)at_x, now, next, dx, dy, share);
            now = next;
        }
        if (next_x <= next) {
            line_x += step_x;
            next_x = (line_x - p[0]) * per_x;
        }
        if (next_y <= next) {
            line_y += step_y;
            next_y = (line_y - p[1]) * per_y;
        }
    }
    if (to < 1 && canvas->kind == PEN_SIGNATURE) pen_end_stay(canvas, points, count);
}

/* Draw one stroke; 0 if there is no memory. */
static int pen_stroke(PenCanvas *canvas, const double *points, int64_t count) {
    if (count > canvas->arc_size) {
        double *arc = realloc(canvas->arc, 2 * count * sizeof(double));
        if (!arc) return 0;
        canvas->arc = arc;
        canvas->arc_size = 2 * count;
    }
    canvas->arc[0] = 0;
    for (int64_t i = 1; i < count; ++i) {
        double dx = points[2 * i] - points[2 * i - 2], dy = points[2 * i + 1] - points[2 * i - 1];
        canvas->arc[i] = canvas->arc[i - 1] + sqrt(dx * dx + dy * dy);
    }
    if (!(canvas->arc[count - 1] > PEN_TOUCH)) {
        double x = points[0], y = points[1];
        if (x >= 0 && y >= 0 && x < (double)canvas->width && y < (double)canvas->height)
            canvas->dot[pen_slot(canvas, (int64_t)y * canvas->width + (int64_t)x)] = 1;
        return 1;
    }
    canvas->stay_cell = -1;
    canvas->window_first = 0;
    for (int64_t i = 0; i + 1 < count; ++i) pen_segment(canvas, points, count, i);
    if (canvas->kind == PEN_SIGNATURE) pen_end_stay(canvas, points, count);
    return 1;
}

/* Write the character's sites in the order of the cells and clear the canvas.
 *
 * indices has rows (sample, y, x), features 1 (but for octograms) and the averages. A dot has no
 * direction: zeros, or equal shares of an octogram. Both arrays have room for all slots.
 */
static int64_t pen_flush(PenCanvas *canvas, int32_t sample, int32_t *indices, float *features) {
    int64_t low = canvas->height * canvas->width, high = -1, written = 0;
    const int lead = canvas->kind != PEN_OCTOGRAM;
    for (int64_t slot = 0; slot < canvas->slots; ++slot) {
        if (canvas->cell[slot] < low) low = canvas->cell[slot];
        if (canvas->cell[slot] > high) high = canvas->cell[slot];
    }
    int64_t row = low / canvas->width, row_start = row * canvas->width;
    for (int64_t cell = low; cell <= high; ++cell) {
        int64_t slot = canvas->slot_of_cell[cell];
        if (slot < 0) continue;
        canvas->slot_of_cell[cell] = -1;
        double length = canvas->length[slot];
        int drawn = length > PEN_TOUCH;
        if (!drawn && !canvas->dot[slot]) continue;
        for (; cell - row_start >= canvas->width; row_start += canvas->width) ++row;
        int32_t *index = indices + 3 * written;
        float *feature = features + (canvas->sums + lead) * written;
        const double *sum = canvas->sum + slot * canvas->sums;
        index[0] = sample;
        index[1] = (int32_t)row;
        index[2] = (int32_t)(cell - row_start);
        if (lead) *feature++ = 1;
        double factor = drawn ? 1 / length : 0, dot = drawn || lead ? 0 : 0.125;
        for (int64_t k = 0; k < canvas->sums; ++k) feature[k] = (float)(sum[k] * factor + dot);
        ++written;
    }
    canvas->slots = 0;
    return written;
}

#endif
