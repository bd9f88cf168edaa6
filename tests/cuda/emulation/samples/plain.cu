// What plain kernels use: shared memory of both kinds, barriers, warp operations, atomics.
#define WARP_SUM(value) \
    for (int bits = 16; bits; bits >>= 1) value += __shfl_xor_sync(~0u, value, bits)

template <class T> __device__ __forceinline__ T block_sum(T value) {
    __shared__ T partial[32];
    WARP_SUM(value);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x % 32] : T(0);
    WARP_SUM(value);
    return value;
}

extern "C" __global__ void __launch_bounds__(128)
sum_rows(const float* __restrict__ x, double* __restrict__ y, long long n, int* __restrict__ count) {
    double sum = 0;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) sum += x[blockIdx.x * n + i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        y[blockIdx.x] = sum;
        atomicAdd(count, 1);
    }
}

// Reverses each block's chunk through dynamic shared memory.
extern "C" __global__ void reverse(const int* x, int* y, int n) {
    extern __shared__ int chunk[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) chunk[threadIdx.x] = x[i];
    __syncthreads();
    int last = min((int)blockDim.x, n - (int)(blockIdx.x * blockDim.x)) - 1;
    if (i < n) y[i] = chunk[last - threadIdx.x];
}

// Positions of the set flags, in order (one block).
extern "C" __global__ void compact(const unsigned char* flags, int* positions, int n, int* total) {
    __shared__ int base;
    if (threadIdx.x == 0) base = 0;
    __syncthreads();
    for (int start = 0; start < n; start += 32) {
        int i = start + threadIdx.x;
        bool set = i < n && flags[i];
        unsigned ballot = __ballot_sync(~0u, set);
        if (set) positions[base + __popc(ballot & ((1u << threadIdx.x) - 1))] = i;
        __syncwarp();
        if (threadIdx.x == 0) base += __popc(ballot);
        __syncwarp();
    }
    if (threadIdx.x == 0) *total = base;
}

extern "C" __global__ void votes(int* out) {
    int n = __syncthreads_count(threadIdx.x % 3 == 0);
    int any = __syncthreads_or(threadIdx.x == 77), all = __syncthreads_and(threadIdx.x < 70);
    int down = __shfl_down_sync(~0u, (int)threadIdx.x, 3), up = __shfl_up_sync(~0u, (int)threadIdx.x, 2);
    int from = __shfl_sync(~0u, (int)threadIdx.x, 5, 16);
    int* mine = out + threadIdx.x * 6;
    mine[0] = n, mine[1] = any, mine[2] = all, mine[3] = down, mine[4] = up, mine[5] = from;
}

extern "C" __global__ void write_at(float* x, int i) { x[i] = 1; }
extern "C" __global__ void divergent(int* x) {
    if (threadIdx.x < 16) x[threadIdx.x] = __shfl_xor_sync(MASK, x[threadIdx.x], 1);
}
extern "C" __global__ void half_barrier(int* x) {
    if (threadIdx.x < 32) __syncthreads();
    else x[threadIdx.x] = __shfl_sync(~0u, 1, 0) + __shfl_sync(~0u, 1, threadIdx.x < 40 ? 0 : 1);
}
