/* Signatures of polygonal paths in the plane, orders 1 to 3, by Chen's identity.
 *
 * A signature is stored as s = (x, y, xx, xy, yx, yy, xxx, xxy, ..., yyy), without its order 0.
 */
#ifndef SPCONV_SIGNATURE_H
#define SPCONV_SIGNATURE_H

#include <stdint.h>

enum { SIGNATURE_MAX = 14 };

static inline int64_t signature_size(int order) { return (2 << order) - 2; }

/* s := s (x) exp(d), the signature of the path with the straight step d at its end. */
static inline void signature_extend(double *s, double dx, double dy, int order) {
    const double d[2] = {dx, dy};
    if (order > 2)
        for (int a = 0; a < 2; ++a)
            for (int b = 0; b < 2; ++b) {
                /* s2 d + s1 d^2 / 2 + d^3 / 6, as Horner would */
                double factor = s[2 + 2 * a + b] + (s[a] + d[a] * (1.0 / 3)) * d[b] * 0.5;
                s[6 + 4 * a + 2 * b] += factor * dx;
                s[7 + 4 * a + 2 * b] += factor * dy;
            }
    if (order > 1)
        for (int a = 0; a < 2; ++a) {
            double factor = s[a] + d[a] * 0.5;
            s[2 + 2 * a] += factor * dx;
            s[3 + 2 * a] += factor * dy;
        }
    s[0] += dx;
    s[1] += dy;
}

/* The signature of the part [from, to] by arc length, clipped to the stroke, times k! / (to -
 * from)^k in order k. `first` is a segment at or before the part's beginning, and so is the
 * result: a window that slides on need not search again.
 */
static int64_t signature_of_window(const double *points, const double *arc, int64_t count,
                                   double from, double to, int64_t first, int order, double *s) {
    double factor = 1 / (to - from), scale = 1;
    if (order > 0) {
        while (first + 2 < count && arc[first + 1] <= from) ++first;
        for (int64_t i = first; i + 1 < count && arc[i] < to; ++i) {
            const double *p = points + 2 * i;
            double low = arc[i], high = arc[i + 1], share = 1;
            if (!(high > low)) continue;
            if (from > low || to < high)
                share = ((to < high ? to : high) - (from > low ? from : low)) / (high - low);
            signature_extend(s, share * (p[2] - p[0]), share * (p[3] - p[1]), order);
        }
    }
    for (int k = 1, at = 0; k <= order; ++k) {
        scale *= k * factor;
        for (int i = 0; i < 1 << k; ++i) s[at++] *= scale;
    }
    return first;
}

#endif
