// Weight gradient on tensor cores: dW_k = sum over the pairs of offset k of x[in]^T dy[out].
//
// The pairs of an offset are cut into tasks. A block computes one task for TILE_M input by TILE_N
// output channels of one group, with the pairs as the inner dimension, and writes a partial sum;
// reduce_partials.cu adds the tasks of every offset in their order, so the bits depend on how the
// pairs were cut but not on timing.
//
// Arguments
//   x            STORAGE (num_in, groups * cin)
//   dy           STORAGE (num_out, groups * cout)
//   partials     float (num_tasks, cin, groups * cout)
//   in_rows, out_rows  int (pairs)   grouped by offset, as in the rulebook
//   task_starts  i64 (num_tasks + 1) pairs of each task: task_starts[t] up to task_starts[t + 1]
//   cin, cout    int                 of one group
// Grid (num_tasks, ceil(cin / TILE_M) * ceil(cout / TILE_N), groups), block 32 * WARPS_M *
// WARPS_N, dynamic shared memory STAGES * TILE_PAIRS * ((TILE_M + TILE_N) * sizeof(STORAGE) +
// 2 * PADDING), PADDING = 16 bytes for 16-bit types and 32 for float. No launch without tasks.
// Macros: STORAGE and MULTIPLY (fragments.cuh); TILE_M, TILE_N (input and output channels, for
// float multiples of 32); TILE_PAIRS (a multiple of 16); WARPS_M, WARPS_N; STAGES >= 2; X_WIDTH,
// DY_WIDTH: the largest of 16, 8, 4, 2 bytes that divides cin and cout * sizeof(STORAGE).
#include "fragments.cuh"
#include "tiles.cuh"

constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int WARP_M = TILE_M / WARPS_M, WARP_N = TILE_N / WARPS_N;
constexpr int SIZE = sizeof(STORAGE);
constexpr int STEP = 32 / SIZE;  // pairs in one product of fragments
// Rows of eight consecutive pairs start in different banks: 16-bit matrices are read by rows of
// 16 bytes, floats by single words of four pairs.
constexpr u32 PADDING = SIZE == 2 ? 16 : 32;
constexpr u32 X_ROW = TILE_M * SIZE + PADDING, DY_ROW = TILE_N * SIZE + PADDING;
constexpr u32 DY_BEGIN = TILE_PAIRS * X_ROW;
constexpr u32 STAGE_BYTES = TILE_PAIRS * (X_ROW + DY_ROW);
constexpr int PAIRS_STEP = THREADS / TILE_PAIRS;  // threads that share the copies of one pair
static_assert(WARP_M % 16 == 0 && WARP_N % 16 == 0, "a warp computes blocks of 16 x 16");
static_assert(THREADS % TILE_PAIRS == 0 && TILE_PAIRS % STEP == 0, "whole pairs, whole steps");
static_assert(STAGES >= 2, "one stage is read while another is filled");

// A thread copies pieces of one pair in every stage; its rows are read one stage ahead.
struct Cursor {
    i64 pair, last;
    int in_row, out_row;

    __device__ __forceinline__ void read_ahead(const int* in_rows, const int* out_rows) {
        const bool there = pair < last;
        in_row = there ? in_rows[pair] : -1;
        out_row = there ? out_rows[pair] : -1;
    }
};

// One row of `channels` elements from `row` on, as far as it goes, zeros behind.
template <int WIDTH, int TILE>
__device__ __forceinline__ void copy_row(u32 to, const STORAGE* row, int channels, bool there,
                                         const STORAGE* aligned) {
    for (int chunk = threadIdx.x % PAIRS_STEP; chunk < TILE / PER_CHUNK; chunk += PAIRS_STEP)
        copy_chunk<WIDTH>(to + chunk * 16, row + chunk * PER_CHUNK, channels - chunk * PER_CHUNK,
                          there, aligned);
}

// Fragments of x^T and dy. There is no transposed matrix load of 32-bit elements.
__device__ __forceinline__ void load_x(u32 (&a)[4], u32 stage, int pair, int channel) {
    const int lane = threadIdx.x % 32;
    if constexpr (SIZE == 2) {
        load_matrices_transposed(a, stage + (pair + lane / 16 * 8 + lane % 8) * X_ROW +
                                        (channel + lane / 8 % 2 * 8) * 2);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = load_shared(stage + (pair + lane % 4 + i / 2 * 4) * X_ROW +
                               (channel + lane / 4 + i % 2 * 8) * 4);
    }
}

__device__ __forceinline__ void load_dy(u32 (&b0)[2], u32 (&b1)[2], u32 stage, int pair,
                                        int channel) {
    const int lane = threadIdx.x % 32;
    const u32 corner = stage + DY_BEGIN;
    if constexpr (SIZE == 2) {
        u32 r[4];
        load_matrices_transposed(
            r, corner + (pair + lane % 16) * DY_ROW + (channel + lane / 16 * 8) * 2);
        b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
    } else {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const u32 at =
                corner + (pair + lane % 4 + i * 4) * DY_ROW + (channel + lane / 4) * 4;
            b0[i] = load_shared(at);
            b1[i] = load_shared(at + 32);
        }
    }
}

typedef float Accumulators[WARP_M / 16][WARP_N / 8][4];

__device__ __forceinline__ void multiply_stage(Accumulators& sum, u32 stage, int warp_row,
                                               int warp_column) {
#pragma unroll
    for (int pair = 0; pair < TILE_PAIRS; pair += STEP) {
        u32 b[WARP_N / 8][2];
#pragma unroll
        for (int j = 0; j < WARP_N / 8; j += 2)
            load_dy(b[j], b[j + 1], stage, pair, warp_column + j * 8);
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++) {
            u32 a[4];
            load_x(a, stage, pair, warp_row + i * 16);
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++) MULTIPLY(sum[i][j], a, b[j]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
weight_gradient(const STORAGE* __restrict__ x, const STORAGE* __restrict__ dy,
                float* __restrict__ partials, const int* __restrict__ in_rows,
                const int* __restrict__ out_rows, const i64* __restrict__ task_starts, int cin,
                int cout) {
    extern __shared__ __align__(128) unsigned char stages[];
    const u32 shared = shared_address(stages);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % WARPS_M * WARP_M, warp_column = warp / WARPS_M * WARP_N;
    const int column_tiles = (cout + TILE_N - 1) / TILE_N;
    const int first_row = blockIdx.y / column_tiles * TILE_M;
    const int first_column = blockIdx.y % column_tiles * TILE_N;
    const i64 x_stride = (i64)gridDim.z * cin, dy_stride = (i64)gridDim.z * cout;
    const STORAGE* my_x = x + blockIdx.z * cin + first_row;
    const STORAGE* my_dy = dy + blockIdx.z * cout + first_column;
    const int slot = threadIdx.x / PAIRS_STEP;
    const i64 first = task_starts[blockIdx.x], last = task_starts[blockIdx.x + 1];
    const i64 rounds = (last - first + TILE_PAIRS - 1) / TILE_PAIRS;

    Accumulators sum = {};
    Cursor cursor = {first + slot, last, -1, -1};
    cursor.read_ahead(in_rows, out_rows);
    auto start_copies = [&](u32 stage) {
        if (cursor.pair - slot < last) {  // missing pairs of the last round are zeros
            copy_row<X_WIDTH, TILE_M>(stage + slot * X_ROW, my_x + cursor.in_row * x_stride,
                                      cin - first_row, cursor.in_row >= 0, x);
            copy_row<DY_WIDTH, TILE_N>(stage + DY_BEGIN + slot * DY_ROW,
                                       my_dy + cursor.out_row * dy_stride, cout - first_column,
                                       cursor.out_row >= 0, dy);
            cursor.pair += TILE_PAIRS;
            cursor.read_ahead(in_rows, out_rows);
        }
        copy_async_commit();  // empty at the end, so that the number of groups still counts stages
    };
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++) start_copies(shared + stage * STAGE_BYTES);

    u32 reading = 0, writing = STAGES - 1;
    for (i64 round = 0; round < rounds; round++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();  // everyone's copies are there, everyone has left the stage to fill
        start_copies(shared + writing * STAGE_BYTES);
        writing = writing + 1 == STAGES ? 0 : writing + 1;
        multiply_stage(sum, shared + reading * STAGE_BYTES, warp_row, warp_column);
        reading = reading + 1 == STAGES ? 0 : reading + 1;
    }

    float* partial = partials + (i64)blockIdx.x * cin * dy_stride + blockIdx.z * cout;
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
        for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = first_row + warp_row + i * 16 + e / 2 * 8 + lane / 4;
                const int column = first_column + warp_column + j * 8 + lane % 4 * 2 + e % 2;
                if (row < cin && column < cout) partial[row * dy_stride + column] = sum[i][j][e];
            }
}
