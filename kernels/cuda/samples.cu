// Global pooling: sums and maxima over the rows of every sample of a batch.
//
// Sample b has the rows order[starts[b]] .. order[starts[b + 1] - 1] (without an order the
// positions are the rows). Blocks of (32, LANES) threads take `parts` equal parts of every sample,
// blockIdx.x = b * parts + part, and 32 channels each; then one block for each sample joins the
// parts. What is a part follows from numbers of rows alone, and so do the bits.
#include "sum_range.cuh"

struct Part {
    i64 begin, end;
};

__device__ __forceinline__ Part part_of(const i64* starts, i64 parts) {
    const i64 sample = blockIdx.x / parts, part = blockIdx.x % parts;
    const i64 first = starts[sample], last = starts[sample + 1];
    const i64 length = (last - first + parts - 1) / parts;
    const i64 begin = first + part * length, end = begin + length;
    return {begin < last ? begin : last, end < last ? end : last};
}

extern "C" __global__ void sum_sample_parts(const storage* x, const i64* starts, const i64* order,
                                            double* partial, i64 parts, i64 channels) {
    const Part part = part_of(starts, parts);
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x;
    const double sum = sum_range(part.begin, part.end, channels, order,
                                 [=](i64 at, i64) { return (double)widen(x[at]); });
    if (threadIdx.y == 0 && c < channels) partial[blockIdx.x * channels + c] = sum;
}

// y[b] = sum of partial[b * parts] .. partial[b * parts + parts - 1]
extern "C" __global__ void add_sample_parts(const double* partial, math* y, i64 parts,
                                            i64 channels) {
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x, first = blockIdx.x * parts;
    const double sum = sum_range(first, first + parts, channels, nullptr,
                                 [=](i64 at, i64) { return partial[at]; });
    if (threadIdx.y == 0 && c < channels) narrow(sum, y[blockIdx.x * channels + c]);
}

// The larger value, NaN above all; of equal ones that of the smaller row. Row -1 is none.
struct Best {
    math value;
    i64 row;

    __device__ __forceinline__ void take(math other, i64 from) {
        if (from < 0) return;
        const bool nan = value != value, other_nan = other != other;
        const bool equal = other == value || (nan && other_nan);
        const bool larger = other > value || (other_nan && !nan);
        if (row < 0 || larger || (equal && from < row)) {
            value = other;
            row = from;
        }
    }
};

// Best of this thread's channel over what read(position) gives for begin..end, in lane 0.
template <class Read>
__device__ __forceinline__ Best best_of_range(i64 begin, i64 end, bool active, Read read) {
    __shared__ Best found[LANES][32];
    Best best = {0, -1};
    if (active)
        for (i64 at = begin + threadIdx.y; at < end; at += LANES) {
            const Best next = read(at);
            best.take(next.value, next.row);
        }
    found[threadIdx.y][threadIdx.x] = best;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int lane = 1; lane < LANES; ++lane) {
            const Best next = found[lane][threadIdx.x];
            best.take(next.value, next.row);
        }
    return best;
}

extern "C" __global__ void max_sample_parts(const storage* x, const i64* starts, const i64* order,
                                            storage* values, i64* rows, i64 parts, i64 channels) {
    const Part part = part_of(starts, parts);
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x, at = blockIdx.x * channels + c;
    const Best best = best_of_range(part.begin, part.end, c < channels, [=](i64 position) {
        const i64 row = order ? order[position] : position;
        return Best{widen(x[row * channels + c]), row};
    });
    if (threadIdx.y || c >= channels) return;
    narrow(best.value, values[at]);
    rows[at] = best.row;
}

extern "C" __global__ void join_max_parts(const storage* values, const i64* rows, storage* y,
                                          i64* winner, i64 parts, i64 channels) {
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x, first = blockIdx.x * parts;
    const Best best = best_of_range(first, first + parts, c < channels, [=](i64 part) {
        return Best{widen(values[part * channels + c]), rows[part * channels + c]};
    });
    if (threadIdx.y || c >= channels) return;
    narrow(best.value, y[blockIdx.x * channels + c]);
    winner[blockIdx.x * channels + c] = best.row;
}

// dx[winner[b, c], c] = dy[b, c]; dx comes filled with zeros, winners of -1 are none.
extern "C" __global__ void max_samples_gradient(const storage* dy, const i64* winner, storage* dx,
                                                i64 samples, i64 channels) {
    const i64 i = thread_index();
    if (i >= samples * channels || winner[i] < 0) return;
    dx[winner[i] * channels + i - quotient(i, channels) * channels] = dy[i];
}

// x[n] = y[sample of row n]; keys[n] / cells is the sample.
extern "C" __global__ void spread_samples(const storage* y, const i64* keys, storage* x, i64 cells,
                                          i64 rows, i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 n = quotient(i, channels);
    x[i] = y[keys[n] / cells * channels + i - n * channels];
}
