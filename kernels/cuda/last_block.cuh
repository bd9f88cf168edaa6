// What one block does for the others of its launch when they are done.
#pragma once
#include "storage.cuh"

// Whether all others of `blocks` blocks have been here; what they wrote can be read then, through
// volatile pointers. `*finished` is zero before and after.
__device__ __forceinline__ bool is_last(u32* finished, u32 blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicAdd(finished, 1u) == blocks - 1;
        if (last) *finished = 0;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// Sum of `value` over this and all lower lanes.
template <class T> __device__ __forceinline__ T sum_below(T value) {
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const T lower = __shfl_up_sync(0xFFFFFFFFu, value, step);
        if ((int)(threadIdx.x % 32) >= step) value += lower;
    }
    return value;
}

#define ITEMS 8  // of a thread at a time

// values[i] becomes values[0] + ... + values[i], by a block of whole warps along x.
template <class T> __device__ __forceinline__ void running_sums(T* values, i64 count) {
    __shared__ T sums[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const volatile T* written = values;
    T before = 0;
    for (i64 first = 0; first < count; first += (i64)blockDim.x * ITEMS) {
        const i64 begin = first + threadIdx.x * ITEMS;
        T own[ITEMS], sum = 0;
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            sum += begin + i < count ? written[begin + i] : 0;
            own[i] = sum;
        }
        const T upto = sum_below(sum);
        if (lane == 31) sums[warp] = upto;
        __syncthreads();
        T lower = before + upto - sum;
        for (int other = 0; other < warps; other++) {
            if (other < warp) lower += sums[other];
            before += sums[other];
        }
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
            if (begin + i < count) values[begin + i] = lower + own[i];
        __syncthreads();
    }
}
