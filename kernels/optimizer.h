/* Optimizer steps in one pass over the parameters; rounded as NumPy rounds operation by operation.
 */
#ifndef SPCONV_OPTIMIZER_H
#define SPCONV_OPTIMIZER_H
#include <math.h>
#include <stdint.h>

#include "clones.h"

#define SPCONV_OPTIMIZER(real, type, root)                                                       \
    /* velocity may be NULL. */                                                                  \
    SPCONV_CLONES static void sgd_##type(real *restrict value, const real *restrict grad,        \
                                         real *restrict velocity, real lr, real momentum,        \
                                         int nesterov, real decay, int64_t count) {              \
        for (int64_t i = 0; i < count; ++i) {                                                    \
            real direction = decay != 0 ? value[i] * decay + grad[i] : grad[i];                  \
            if (velocity) {                                                                      \
                const real v = velocity[i] * momentum + direction;                               \
                velocity[i] = v;                                                                 \
                direction = nesterov ? direction + momentum * v : v;                             \
            }                                                                                    \
            value[i] -= direction * lr;                                                          \
        }                                                                                        \
    }                                                                                            \
    SPCONV_CLONES static void adam_##type(                                                       \
        real *restrict value, const real *restrict grad, real *restrict mean,                    \
        real *restrict square, real beta1, real rest1, real beta2, real rest2, real correction,  \
        real eps, real rate, real decay, real shrink, int64_t count) {                           \
        for (int64_t i = 0; i < count; ++i) {                                                    \
            const real w = shrink != 1 ? value[i] * shrink : value[i];                           \
            const real g = decay != 0 ? grad[i] + decay * w : grad[i];                           \
            const real m = mean[i] * beta1 + g * rest1, s = square[i] * beta2 + g * g * rest2;   \
            mean[i] = m;                                                                         \
            square[i] = s;                                                                       \
            value[i] = w - m / (root(s) / correction + eps) * rate;                              \
        }                                                                                        \
    }
SPCONV_OPTIMIZER(float, f32, sqrtf)
SPCONV_OPTIMIZER(double, f64, sqrt)
#endif
