// Sums over the rows of (rows, channels) arrays in float64, in two stages of fixed order: blocks
// of 32 channels sum parts of `part` rows, then blocks add the parts in the same way. The order
// depends on the number of rows alone, so the bits do not depend on the device.
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

extern "C" __global__ void sum_parts(const storage* x, double* partial, i64 rows, i64 channels,
                                     i64 part) {
    sum_part(partial, rows, channels, part, [=](i64 i, i64) { return (double)widen(x[i]); });
}

// Of squares of deviations from a row.
extern "C" __global__ void centred_square_parts(const storage* x, const math* mean,
                                                double* partial, i64 rows, i64 channels,
                                                i64 part) {
    sum_part(partial, rows, channels, part, [=](i64 i, i64 c) {
        const double value = widen(x[i]) - mean[c];
        return value * value;
    });
}

// Of dy times the deviation of x from a row.
extern "C" __global__ void centred_product_parts(const storage* dy, const storage* x,
                                                 const math* mean, double* partial, i64 rows,
                                                 i64 channels, i64 part) {
    sum_part(partial, rows, channels, part, [=](i64 i, i64 c) {
        return (double)widen(dy[i]) * (double)(widen(x[i]) - mean[c]);
    });
}

// Of the rows where the ground state won.
extern "C" __global__ void ground_parts(const storage* dy, const int* winner, double* partial,
                                        i64 rows, i64 channels, i64 part) {
    sum_part(partial, rows, channels, part,
             [=](i64 i, i64) { return winner[i] < 0 ? (double)widen(dy[i]) : 0.0; });
}

// partial[0, p, c] and partial[1, p, c]: of dy in front of a rectifier with the result y, where
// `rectify` says that there is one, and of that times the deviation of x.
extern "C" __global__ void gradient_parts(const storage* dy, const storage* y, const storage* x,
                                          const math* mean, int rectify, math slope,
                                          double* partial, i64 rows, i64 channels, i64 part) {
    const auto gradient = [=](i64 i) {
        return rectify ? rectified_gradient(widen(y[i]), widen(dy[i]), slope) : widen(dy[i]);
    };
    sum_part(partial, rows, channels, part, [=](i64 i, i64) { return (double)gradient(i); });
    sum_part(partial + gridDim.x * channels, rows, channels, part, [=](i64 i, i64 c) {
        return (double)gradient(i) * (double)(widen(x[i]) - mean[c]);
    });
}

// One thread for each channel has its sum over all parts, rounded to the math type; the others
// have garbage and false.
__device__ __forceinline__ bool add_all(const double* partial, i64 parts, i64 channels,
                                        math& total) {
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x;
    narrow(sum_range(0, parts, channels, nullptr, [=](i64 i, i64) { return partial[i]; }), total);
    return threadIdx.y == 0 && c < channels;
}

extern "C" __global__ void add_parts(const double* partial, math* total, i64 parts,
                                     i64 channels) {
    math sum;
    if (add_all(partial, parts, channels, sum)) total[blockIdx.y * 32 + threadIdx.x] = sum;
}

// What batch normalization makes of its sums: the mean; the variance and the scale of rows; what
// the gradients are made of, `vectors` (5, channels): scale, shift, factor (normalization.cu), and
// the gradients of weight and bias.
extern "C" __global__ void add_means(const double* partial, math* mean, math count, i64 parts,
                                     i64 channels) {
    math sum;
    if (add_all(partial, parts, channels, sum)) mean[blockIdx.y * 32 + threadIdx.x] = sum / count;
}

extern "C" __global__ void add_variances(const double* partial, const math* weight,
                                         math* variance, math* scale, math count, math eps,
                                         i64 parts, i64 channels) {
    math sum;
    if (!add_all(partial, parts, channels, sum)) return;
    const i64 c = blockIdx.y * 32 + threadIdx.x;
    variance[c] = sum / count;
    scale[c] = weight[c] / square_root(variance[c] + eps);
}

extern "C" __global__ void add_gradients(const double* partial, const math* weight,
                                         const math* variance, math* vectors, math count, math eps,
                                         i64 parts, i64 channels) {
    math d_bias, d_scale;
    const bool mine = add_all(partial, parts, channels, d_bias);
    __syncthreads();
    add_all(partial + parts * channels, parts, channels, d_scale);
    if (!mine) return;
    const i64 c = blockIdx.y * 32 + threadIdx.x;
    const math inverse = 1 / square_root(variance[c] + eps), scale = weight[c] * inverse;
    vectors[c] = scale;
    vectors[channels + c] = -scale * d_bias / count;
    vectors[2 * channels + c] = -scale * (inverse * inverse) * d_scale / count;
    vectors[3 * channels + c] = d_scale * inverse;
    vectors[4 * channels + c] = d_bias;
}
