// Softmax cross-entropy; one warp for each row of logits, its lanes in a fixed butterfly.
#include "storage.cuh"

#define FULL_WARP 0xFFFFFFFFu

__device__ __forceinline__ math warp_max(math x) {
    for (int step = 16; step; step >>= 1) {
        const math other = __shfl_xor_sync(FULL_WARP, x, step);
        if (other > x) x = other;
    }
    return x;
}

__device__ __forceinline__ math warp_sum(math x) {
    for (int step = 16; step; step >>= 1) x += __shfl_xor_sync(FULL_WARP, x, step);
    return x;
}

// losses[n] = log(sum exp(logits[n])) - logits[n, labels[n]], and the softmax for the gradient.
// A NaN or +inf in a row makes its loss NaN.
extern "C" __global__ void cross_entropy(const storage* logits, const i64* labels,
                                         storage* probability, math* losses, i64 rows,
                                         i64 classes) {
    const i64 n = thread_index() / 32;
    const int lane = threadIdx.x % 32;
    if (n >= rows) return;
    const storage* row = logits + n * classes;
    math largest = -(math)__longlong_as_double(0x7FF0000000000000ll);
    for (i64 c = lane; c < classes; c += 32) {
        const math value = widen(row[c]);
        if (value > largest) largest = value;
    }
    largest = warp_max(largest);
    math total = 0;
    for (i64 c = lane; c < classes; c += 32) total += exponential(widen(row[c]) - largest);
    total = warp_sum(total);
    for (i64 c = lane; c < classes; c += 32)
        narrow(exponential(widen(row[c]) - largest) / total, probability[n * classes + c]);
    if (lane == 0) losses[n] = logarithm(total) - (widen(row[labels[n]]) - largest);
}

// dx = (probability - one at the label) * scale[0]
extern "C" __global__ void cross_entropy_gradient(const storage* probability, const i64* labels,
                                                  const math* scale, storage* dx, i64 rows,
                                                  i64 classes) {
    const i64 i = thread_index();
    if (i >= rows * classes) return;
    const i64 n = quotient(i, classes);
    const math one = i - n * classes == labels[n] ? 1 : 0;
    narrow((widen(probability[i]) - one) * scale[0], dx[i]);
}
