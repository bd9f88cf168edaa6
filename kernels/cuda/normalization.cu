// The elementwise halves of batch normalization; its sums are in column_sums.cu.
#include "storage.cuh"

// y = (x - mean) * scale + bias.
extern "C" __global__ void normalize(const storage* x, const storage* mean, const storage* scale,
                                     const storage* bias, storage* y, i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    narrow((widen(x[i]) - widen(mean[c])) * widen(scale[c]) + widen(bias[c]), y[i]);
}

// dx = shift + factor * (x - mean): what the moments add to the input gradient.
extern "C" __global__ void moments_gradient(const storage* x, const storage* mean,
                                            const storage* shift, const storage* factor,
                                            storage* dx, i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i - quotient(i, channels) * channels;
    narrow(widen(shift[c]) + widen(factor[c]) * (widen(x[i]) - widen(mean[c])), dx[i]);
}
