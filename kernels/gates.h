/* SiLU and GELU of float32, computed in double without branches, for the compiler to vectorize.
 *
 * Every operation is rounded by itself (no product and sum are fused), so that all instruction sets
 * give the same bits.
 */
#ifndef SPCONV_GATES_H
#define SPCONV_GATES_H
#include <stdint.h>
#include <string.h>

#include "clones.h"

/* exp(-a) of 0 <= a <= 700, to 6e-11: a polynomial of degree 7, fitted at Chebyshev's points, of
 * what is left of a less the nearest multiple n of log 2. */
SPCONV_FORCE_INLINE double gate_decay(double a) {
    const double whole = 6755399441055744.0; /* 1.5 * 2^52: sums with it are rounded to integers */
    const double shifted = whole - a * 1.4426950408889634;
    const double r = -a - (shifted - whole) * 0.6931471805599453;
    const double r2 = r * r, r4 = r2 * r2;
    const double low = (0.9999999999595478 + 0.9999999999797803 * r) +
                       (0.5000000107749489 + 0.1666666689107252 * r) * r2;
    const double high = (0.04166621827423561 + 0.008333266093648779 * r) +
                        (0.0013948580825290048 + 0.000199158689433201 * r) * r2;
    double p = low + high * r4;
    uint64_t n, bits;
    memcpy(&n, &shifted, sizeof n);
    memcpy(&bits, &p, sizeof bits);
    bits += n << 52; /* to the exponent */
    memcpy(&p, &bits, sizeof p);
    return p;
}

/* exp(z^2) erfc(z) of 0 <= z <= 14.2, to 7e-9: (1 + 2 z) times it is smooth in u = (z - 3) / (z + 3)
 * (Schonfelder 1978), here a polynomial of degree 10 fitted at Chebyshev's points. */
SPCONV_FORCE_INLINE double gate_erfcx(double z) {
    const double scale = 1 / ((z + 3) * (1 + 2 * z));
    const double u = (z - 3) * (1 + 2 * z) * scale;
    const double u2 = u * u, u4 = u2 * u2, u8 = u4 * u4;
    const double low = (1.2530080641223806 - 0.13562115774562078 * u) +
                       (-0.047562869643282754 + 0.12964654938729037 * u) * u2;
    const double middle = (-0.11926411189636155 + 0.06830011720367163 * u) +
                          (-0.023828522573496606 + 0.0025298282308846747 * u) * u2;
    const double high = (0.002036635491857934 - 0.0007039259177395372 * u) -
                        0.0002377794309222296 * u2;
    const double p = low + middle * u4 + high * u8;
    return p * (z + 3) * scale;
}

/* Nothing changes in float32 beyond these, and infinity times 0 would be NaN. */
#define SILU_FAR 200.0
#define GELU_FAR 20.0

SPCONV_FORCE_INLINE double gate_clip(double x, double far) {
    x = x > far ? far : x;
    return x < -far ? -far : x; /* NaN stays */
}

/* The share of x that stays, a logistic function, and its slope. */
SPCONV_FORCE_INLINE void silu_share(double x, double *share, double *slope) {
    const double size = x < 0 ? -x : x, small = gate_decay(size);
    const double scale = 1 / (1 + small);
    *share = (x < 0 ? small : 1) * scale;
    *slope = small * scale * scale;
}

/* The share of a normal distribution below x, and its density there. */
SPCONV_FORCE_INLINE void gelu_share(double x, double *share, double *slope) {
    const double size = x < 0 ? -x : x, small = gate_decay(0.5 * size * size);
    const double tail = 0.5 * small * gate_erfcx(size * 0.7071067811865476);
    *share = x < 0 ? tail : 1 - tail;
    *slope = small * 0.3989422804014327;
}

#define SPCONV_GATE(name, FAR)                                                                   \
    SPCONV_CLONES static void name##_f32(const float *x, float *y, int64_t count) {              \
        for (int64_t i = 0; i < count; ++i) {                                                    \
            double share, slope;                                                                 \
            name##_share(gate_clip(x[i], FAR), &share, &slope);                                  \
            y[i] = (float)((x[i] < -FAR ? -FAR : x[i]) * share);                                 \
        }                                                                                        \
    }                                                                                            \
    SPCONV_CLONES static void name##_gradient_f32(const float *x, const float *dy, float *dx,    \
                                                  int64_t count) {                               \
        for (int64_t i = 0; i < count; ++i) {                                                    \
            const double near = gate_clip(x[i], FAR);                                            \
            double share, slope;                                                                 \
            name##_share(near, &share, &slope);                                                  \
            dx[i] = (float)(dy[i] * (share + near * slope));                                     \
        }                                                                                        \
    }
SPCONV_GATE(silu, SILU_FAR)
SPCONV_GATE(gelu, GELU_FAR)
#endif
