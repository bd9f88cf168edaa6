// Weight gradient without tensor cores, for float64 (and float32 as a check): the arguments of
// weight_gradient.cu, with partials of type `math` (double for double).
//
// Grid (num_tasks, ceil(cin / TILE_M) * ceil(cout / TILE_N), groups), block 256, no dynamic
// shared memory. Macros: STORAGE (storage.cuh), TILE_M and TILE_N (multiples of 16).
#include "storage.cuh"

constexpr int PAIRS = 16;  // in one step
constexpr int ROWS = TILE_M / 16, COLUMNS = TILE_N / 16;  // of one thread

extern "C" __global__ void __launch_bounds__(256)
weight_gradient_simt(const STORAGE* __restrict__ x, const STORAGE* __restrict__ dy,
                     math* __restrict__ partials, const int* __restrict__ in_rows,
                     const int* __restrict__ out_rows, const i64* __restrict__ task_starts,
                     int cin, int cout) {
    __shared__ math x_tile[PAIRS][TILE_M], dy_tile[PAIRS][TILE_N];
    const int thread = threadIdx.x, row = thread / 16, column = thread % 16;
    const int column_tiles = (cout + TILE_N - 1) / TILE_N;
    const int first_row = blockIdx.y / column_tiles * TILE_M;
    const int first_column = blockIdx.y % column_tiles * TILE_N;
    const i64 x_stride = (i64)gridDim.z * cin, dy_stride = (i64)gridDim.z * cout;
    const i64 last = task_starts[blockIdx.x + 1];

    math sum[ROWS][COLUMNS] = {};
    for (i64 first = task_starts[blockIdx.x]; first < last; first += PAIRS) {
        const i64 pair = first + row;
        const bool there = pair < last;
        const STORAGE* x_row = x + (there ? in_rows[pair] * x_stride : 0) + blockIdx.z * cin;
        const STORAGE* dy_row = dy + (there ? out_rows[pair] * dy_stride : 0) + blockIdx.z * cout;
        for (int c = column; c < TILE_M; c += 16)
            x_tile[row][c] = there && first_row + c < cin ? widen(x_row[first_row + c]) : 0;
        for (int c = column; c < TILE_N; c += 16)
            dy_tile[row][c] = there && first_column + c < cout ? widen(dy_row[first_column + c]) : 0;
        __syncthreads();
#pragma unroll
        for (int p = 0; p < PAIRS; p++)
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    sum[i][j] += x_tile[p][row + i * 16] * dy_tile[p][column + j * 16];
        __syncthreads();
    }

    math* partial = partials + (i64)blockIdx.x * cin * dy_stride + blockIdx.z * cout;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            const int r = first_row + row + i * 16, c = first_column + column + j * 16;
            if (r < cin && c < cout) partial[r * dy_stride + c] = sum[i][j];
        }
}
