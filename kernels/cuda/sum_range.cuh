// Sum over a range of rows by one block: 32 channels, LANES rows at a time.
#pragma once
#include "storage.cuh"

#define LANES 8

// Sum of term(entry, channel) over positions begin..end of this thread's channel, in the threads
// of lane 0; launched with (32, LANES) threads. The row of a position is order[position], or
// itself without an order.
template <class Term>
__device__ __forceinline__ double sum_range(i64 begin, i64 end, i64 channels, const i64* order,
                                            Term term) {
    __shared__ double sums[LANES][32];
    const i64 c = (i64)blockIdx.y * 32 + threadIdx.x;
    double sum = 0;
    if (c < channels)
        for (i64 at = begin + threadIdx.y; at < end; at += LANES)
            sum += term((order ? order[at] : at) * channels + c, c);
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int lane = 1; lane < LANES; ++lane) sum += sums[lane][threadIdx.x];
    return sum;
}
