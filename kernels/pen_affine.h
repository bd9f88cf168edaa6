/* An affine map and a smooth wobble of one character's points. */
#ifndef SPCONV_PEN_AFFINE_H
#define SPCONV_PEN_AFFINE_H

#include <math.h>
#include <stdint.h>

/* The uniform cubic B-spline with periodic knots (x, y), at place >= 0. */
static void pen_spline(const double *knots, int64_t num_knots, double place, double *value) {
    double whole = floor(place), t = place - whole, r = 1 - t;
    double weight[4] = {r * r * r / 6, (4 + t * t * (3 * t - 6)) / 6, (4 + r * r * (3 * r - 6)) / 6,
                        t * t * t / 6};
    int64_t knot = (int64_t)fmod(whole, (double)num_knots);
    value[0] = value[1] = 0;
    for (int k = 0; k < 4; ++k) {
        value[0] += weight[k] * knots[2 * knot];
        value[1] += weight[k] * knots[2 * knot + 1];
        if (++knot == num_knots) knot = 0;
    }
}

static void pen_affine(const double *points, const int64_t *stroke_starts, int64_t strokes,
                       const double *matrix, const double *shift, const double *knots,
                       int64_t num_knots, double spacing, double *out) {
    int64_t first = stroke_starts[0], end = stroke_starts[strokes];
    double low[2], high[2], middle[2], wobble[2] = {0, 0}, arc = 0;
    for (int k = 0; k < 2; ++k) low[k] = high[k] = points[2 * first + k];
    for (int64_t i = first; i < end; ++i)
        for (int k = 0; k < 2; ++k) {
            double value = points[2 * i + k];
            if (value < low[k]) low[k] = value;
            if (value > high[k]) high[k] = value;
        }
    double width = high[0] - low[0], height = high[1] - low[1];
    double size = width > height ? width : height;
    double per_arc = size > 0 ? 1 / (spacing * size) : 0;
    for (int k = 0; k < 2; ++k) middle[k] = low[k] + (high[k] - low[k]) / 2;
    for (int64_t stroke = 0; stroke < strokes; ++stroke)
        for (int64_t i = stroke_starts[stroke]; i < stroke_starts[stroke + 1]; ++i) {
            const double *p = points + 2 * i;
            double x = p[0] - middle[0], y = p[1] - middle[1];
            if (num_knots) {
                if (i > stroke_starts[stroke]) {
                    double dx = p[0] - p[-2], dy = p[1] - p[-1];
                    arc += sqrt(dx * dx + dy * dy);
                }
                pen_spline(knots, num_knots, arc * per_arc, wobble);
            }
            out[2 * i] = middle[0] + matrix[0] * x + matrix[1] * y + size * (shift[0] + wobble[0]);
            out[2 * i + 1] =
                middle[1] + matrix[2] * x + matrix[3] * y + size * (shift[1] + wobble[1]);
        }
}

#endif
