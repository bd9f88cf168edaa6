// Sums over the rows of (rows, channels) arrays in float64, in two stages of fixed order: blocks
// of 32 channels sum parts of `part` rows, and the last of them to be done adds the parts in the same
// way. The order depends on the number of rows alone, so the bits do not depend on the device, nor on
// which block is the last.
//
// `partial` is memory for the sums of all parts; `finished` has a count for every 32 channels, zero
// before and after a launch. Grid (parts, channels / 32), block (32, LANES).
#include "last_block.cuh"
#include "rectifier.cuh"
#include "sum_range.cuh"

// partial[p, c] = sum over the rows of part p = blockIdx.x.
template <class Term>
__device__ __forceinline__ void sum_part(double* partial, i64 rows, i64 channels, i64 part,
                                         Term term) {
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x, begin = blockIdx.x * part;
    const double sum = sum_range(begin, begin + part < rows ? begin + part : rows, channels,
                                 nullptr, term);
    if (threadIdx.y == 0 && c < channels) partial[blockIdx.x * channels + c] = sum;
}

// One thread for each channel has its sum over all parts, rounded to the math type; the others
// have garbage and false.
__device__ __forceinline__ bool add_all(const double* partial, i64 channels, math& total) {
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x;
    const volatile double* written = partial;  // by other blocks, in this launch
    narrow(sum_range(0, gridDim.x, channels, nullptr, [=](i64 i, i64) { return written[i]; }),
           total);
    return threadIdx.y == 0 && c < channels;
}

// Sums of terms: true and the sum in the threads that have to do with it.
template <class Term>
__device__ __forceinline__ bool sum_all(double* partial, u32* finished, i64 rows, i64 channels,
                                        i64 part, math& total, Term term) {
    sum_part(partial, rows, channels, part, term);
    return is_last(finished + blockIdx.y, gridDim.x) && add_all(partial, channels, total);
}

// The same of two terms, `partial` for both of them: types of their own, with shared memory of their
// own.
template <class One, class Other>
__device__ __forceinline__ bool sum_both(double* partial, u32* finished, i64 rows, i64 channels,
                                         i64 part, math& total, math& other_total, One one,
                                         Other other) {
    double* others = partial + gridDim.x * channels;
    sum_part(partial, rows, channels, part, one);
    sum_part(others, rows, channels, part, other);
    if (!is_last(finished + blockIdx.y, gridDim.x)) return false;
    add_all(partial, channels, total);
    __syncthreads();
    return add_all(others, channels, other_total);
}

__device__ __forceinline__ i64 channel() { return (i64)blockIdx.y * 32 + threadIdx.x; }

// What is summed, of element i in channel c.
struct value_of {
    const storage* x;
    __device__ __forceinline__ double operator()(i64 i, i64) const { return widen(x[i]); }
};

// Square of the deviation from a row.
struct square_of {
    const storage* x;
    const math* mean;
    __device__ __forceinline__ double operator()(i64 i, i64 c) const {
        const double value = widen(x[i]) - mean[c];
        return value * value;
    }
};

extern "C" __global__ void sums(const storage* x, double* partial, u32* finished, math* total,
                                i64 rows, i64 channels, i64 part) {
    math sum;
    if (sum_all(partial, finished, rows, channels, part, sum, value_of{x}))
        total[channel()] = sum;
}

// Of squares of deviations from a row.
extern "C" __global__ void centred_squares(const storage* x, const math* mean, double* partial,
                                           u32* finished, math* total, i64 rows, i64 channels,
                                           i64 part) {
    math sum;
    if (sum_all(partial, finished, rows, channels, part, sum, square_of{x, mean}))
        total[channel()] = sum;
}

// Of dy times the deviation of x from a row.
extern "C" __global__ void centred_products(const storage* dy, const storage* x, const math* mean,
                                            double* partial, u32* finished, math* total, i64 rows,
                                            i64 channels, i64 part) {
    math sum;
    if (sum_all(partial, finished, rows, channels, part, sum, [=](i64 i, i64 c) {
            return (double)widen(dy[i]) * (double)(widen(x[i]) - mean[c]);
        }))
        total[channel()] = sum;
}

// Of the rows where the ground state won.
extern "C" __global__ void ground_sums(const storage* dy, const int* winner, double* partial,
                                       u32* finished, math* total, i64 rows, i64 channels,
                                       i64 part) {
    math sum;
    if (sum_all(partial, finished, rows, channels, part, sum,
                [=](i64 i, i64) { return winner[i] < 0 ? (double)widen(dy[i]) : 0.0; }))
        total[channel()] = sum;
}

// What batch normalization makes of its sums, `moments` (2, channels): the mean; then the variance,
// and the scale of rows.
extern "C" __global__ void batch_means(const storage* x, double* partial, u32* finished,
                                       math* moments, math count, i64 rows, i64 channels,
                                       i64 part) {
    math sum;
    if (sum_all(partial, finished, rows, channels, part, sum, value_of{x}))
        moments[channel()] = sum / count;
}

extern "C" __global__ void batch_variances(const storage* x, double* partial, u32* finished,
                                           const VECTOR* weight, math* moments, math* scale,
                                           math count, math eps, i64 rows, i64 channels,
                                           i64 part) {
    math sum;
    if (!sum_all(partial, finished, rows, channels, part, sum, square_of{x, moments})) return;
    const i64 c = channel();
    const math variance = sum / count;
    moments[channels + c] = variance;
    scale[c] = widen(weight[c]) / square_root(variance + eps);
}

// Of dy in front of the rectifier, and of that times the deviation of x.
__device__ __forceinline__ bool sum_gradients(const storage* dy, const storage* y,
                                              const storage* x, const math* mean, int rectify,
                                              math slope, double* partial, u32* finished, i64 rows,
                                              i64 channels, i64 part, math& sum, math& product) {
    const auto gradient = [=](i64 i) { return (double)gradient_at(dy, y, rectify, slope, i); };
    return sum_both(partial, finished, rows, channels, part, sum, product,
                    [=](i64 i, i64) { return gradient(i); },
                    [=](i64 i, i64 c) { return gradient(i) * (double)(widen(x[i]) - mean[c]); });
}

// totals[0] of dy, totals[1] of that times the deviation of x.
extern "C" __global__ void gradient_sums(const storage* dy, const storage* y, const storage* x,
                                         const math* mean, int rectify, math slope,
                                         double* partial, u32* finished, math* totals, i64 rows,
                                         i64 channels, i64 part) {
    math sum, product;
    if (!sum_gradients(dy, y, x, mean, rectify, slope, partial, finished, rows, channels, part, sum,
                       product))
        return;
    totals[channel()] = sum;
    totals[channels + channel()] = product;
}

// What the gradients of batch normalization are made of, `vectors` (3, channels): scale, shift and
// factor (normalization.cu); and those of weight and bias. `moments`: mean and variance.
extern "C" __global__ void batch_gradients(const storage* dy, const storage* y, const storage* x,
                                           const math* moments, int rectify, math slope,
                                           double* partial, u32* finished, const VECTOR* weight,
                                           math* vectors, VECTOR* d_weight, VECTOR* d_bias,
                                           math count, math eps, i64 rows, i64 channels,
                                           i64 part) {
    math sum, product;
    if (!sum_gradients(dy, y, x, moments, rectify, slope, partial, finished, rows, channels, part,
                       sum, product))
        return;
    const i64 c = channel();
    const math inverse = 1 / square_root(moments[channels + c] + eps);
    const math scale = widen(weight[c]) * inverse;
    vectors[c] = scale;
    vectors[channels + c] = -scale * sum / count;
    vectors[2 * channels + c] = -scale * (inverse * inverse) * product / count;
    narrow(product * inverse, d_weight[c]);
    narrow(sum, d_bias[c]);
}
