// The elementwise halves of batch normalization, with a rectifier behind it where `rectify` says
// so; its sums are in column_sums.cu.
#include "rectifier.cuh"

// y = (x - mean) * scale + bias.
extern "C" __global__ void normalize(const storage* x, const math* mean, const math* scale,
                                     const VECTOR* bias, storage* y, int rectify, math slope,
                                     i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    const math value = (widen(x[i]) - mean[c]) * scale[c] + widen(bias[c]);
    narrow(rectify ? rectified(value, slope) : value, y[i]);
}

__device__ __forceinline__ void gradient_of_one(const storage* dy, const storage* x,
                                                const storage* y, math mean, math scale,
                                                math shift, math factor, storage* dx, int rectify,
                                                math slope, i64 i) {
    const math moments = shift + factor * (widen(x[i]) - mean);
    narrow(gradient_at(dy, y, rectify, slope, i) * scale + moments, dx[i]);
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
    gradient_of_one(dy, x, y, mean[c], scale[c], shift[c], factor[c], dx, rectify, slope, i);
}

// The same of what batch_gradients (column_sums.cu) made.
extern "C" __global__ void batch_normalize_gradient(const storage* dy, const storage* x,
                                                    const storage* y, const math* moments,
                                                    const math* vectors, storage* dx, int rectify,
                                                    math slope, i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    gradient_of_one(dy, x, y, moments[c], vectors[c], vectors[channels + c],
                    vectors[2 * channels + c], dx, rectify, slope, i);
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

// A step of moving averages: result[0] = (1 - share) * old + share * batch of the means, result[1]
// the same of the variances, the batch's times factor.
extern "C" __global__ void track(const storage* old_mean, const storage* old_variance,
                                 const storage* mean, const storage* variance, storage* result,
                                 math keep, math share, math factor, i64 channels) {
    const i64 c = thread_index();
    if (c >= channels) return;
    narrow(keep * widen(old_mean[c]) + share * widen(mean[c]), result[c]);
    narrow(keep * widen(old_variance[c]) + share * (factor * widen(variance[c])),
           result[channels + c]);
}
