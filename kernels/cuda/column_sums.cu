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

// Of dy in front of a rectifier with the result y, and of that times the deviation of x.
extern "C" __global__ void rectified_parts(const storage* dy, const storage* y, math slope,
                                           double* partial, i64 rows, i64 channels, i64 part) {
    sum_part(partial, rows, channels, part, [=](i64 i, i64) {
        return (double)rectified_gradient(widen(y[i]), widen(dy[i]), slope);
    });
}

extern "C" __global__ void rectified_product_parts(const storage* dy, const storage* y,
                                                   const storage* x, const math* mean,
                                                   math slope, double* partial, i64 rows,
                                                   i64 channels, i64 part) {
    sum_part(partial, rows, channels, part, [=](i64 i, i64 c) {
        const math gradient = rectified_gradient(widen(y[i]), widen(dy[i]), slope);
        return (double)gradient * (double)(widen(x[i]) - mean[c]);
    });
}

// Of the rows where the ground state won.
extern "C" __global__ void ground_parts(const storage* dy, const int* winner, double* partial,
                                        i64 rows, i64 channels, i64 part) {
    sum_part(partial, rows, channels, part,
             [=](i64 i, i64) { return winner[i] < 0 ? (double)widen(dy[i]) : 0.0; });
}

extern "C" __global__ void add_parts(const double* partial, math* total, i64 parts,
                                     i64 channels) {
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x;
    const double sum = sum_range(0, parts, channels, nullptr, [=](i64 i, i64) { return partial[i]; });
    if (threadIdx.y == 0 && c < channels) narrow(sum, total[c]);
}
