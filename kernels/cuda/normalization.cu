// The elementwise halves of batch normalization, with a rectifier behind it where `rectify` says
// so; its sums are in column_sums.cu.
#include "rectifier.cuh"

// y = (x - mean) * scale + bias.
extern "C" __global__ void normalize(const storage* x, const math* mean, const math* scale,
                                     const math* bias, storage* y, int rectify, math slope,
                                     i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    const math value = (widen(x[i]) - mean[c]) * scale[c] + bias[c];
    narrow(rectify ? rectified(value, slope) : value, y[i]);
}

// dx = dy * scale + (shift + factor * (x - mean)), dy through the rectifier.
extern "C" __global__ void normalize_gradient(const storage* dy, const storage* x,
                                              const storage* y, const math* mean,
                                              const math* scale, const math* shift,
                                              const math* factor, storage* dx, int rectify,
                                              math slope, i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    const math gradient = widen(dy[i]);
    const math kept = rectify ? rectified_gradient(widen(y[i]), gradient, slope) : gradient;
    const math moments = shift[c] + factor[c] * (widen(x[i]) - mean[c]);
    narrow(kept * scale[c] + moments, dx[i]);
}

// dx = shift + factor * (x - mean): what the moments add to the input gradient.
extern "C" __global__ void moments_gradient(const storage* x, const math* mean,
                                            const math* shift, const math* factor,
                                            storage* dx, i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    narrow(shift[c] + factor[c] * (widen(x[i]) - mean[c]), dx[i]);
}

// result = (1 - share) * old + share * (factor * batch), a step of a moving average.
extern "C" __global__ void blend(const storage* old, const storage* batch, storage* result,
                                 math keep, math share, math factor, i64 channels) {
    const i64 c = thread_index();
    if (c < channels) narrow(keep * widen(old[c]) + share * (factor * widen(batch[c])), result[c]);
}
