// Sparse convolution without tensor cores, for float64 (and float32 as a check): the arithmetic,
// the tile map and the arguments of implicit_gemm.cu, with `math` (double for double) in place of
// float for init and slope.
//
// Grid (num_tiles, ceil(cout / TILE_N), groups), block 256, no dynamic shared memory. Macros:
// STORAGE (storage.cuh), OUTPUT (output.cuh), TILE_M and TILE_N (multiples of 16).
#include "output.cuh"

constexpr int SLICE = 16;  // input channels in one step
constexpr int PER_CHUNK = 16 / (int)sizeof(STORAGE);
constexpr int ROWS = TILE_M / 16, COLUMNS = TILE_N / 16;  // of one thread

extern "C" __global__ void __launch_bounds__(256)
implicit_gemm_simt(const STORAGE* __restrict__ x, const STORAGE* __restrict__ w,
                   OUTPUT* __restrict__ y, const math* __restrict__ init,
                   const OUTPUT* __restrict__ residual, const int* __restrict__ tile_starts,
                   const int* __restrict__ tile_offsets, const int* __restrict__ tile_rows,
                   const unsigned* __restrict__ tile_groups, const int* __restrict__ out_rows,
                   int num_out, int cin, int cout, int volume, math slope) {
    __shared__ math x_tile[SLICE][TILE_M + 1], w_tile[SLICE][TILE_N + 1];
    const int thread = threadIdx.x, row = thread / 16, column = thread % 16;
    const int first_column = blockIdx.y * TILE_N, group = blockIdx.z;
    const int cin_padded = (cin + PER_CHUNK - 1) / PER_CHUNK * PER_CHUNK;
    const i64 x_stride = (i64)gridDim.z * cin;

    math sum[ROWS][COLUMNS] = {};
    for (int entry = tile_starts[blockIdx.x]; entry < tile_starts[blockIdx.x + 1]; entry++) {
        const int* rows = tile_rows + (i64)entry * TILE_M;
        const STORAGE* matrix =
            w + ((i64)group * volume + tile_offsets[entry]) * cout * cin_padded;
        for (int slice = 0; slice < cin; slice += SLICE) {
            const int channel = slice + thread % SLICE;
            for (int i = thread / SLICE; i < TILE_M; i += 256 / SLICE) {
                const bool there = rows[i] >= 0 && channel < cin;
                x_tile[thread % SLICE][i] =
                    there ? widen(x[rows[i] * x_stride + group * cin + channel]) : 0;
            }
            for (int i = thread / SLICE; i < TILE_N; i += 256 / SLICE) {
                const bool there = first_column + i < cout && channel < cin;
                w_tile[thread % SLICE][i] =
                    there ? widen(matrix[(i64)(first_column + i) * cin_padded + channel]) : 0;
            }
            __syncthreads();
#pragma unroll
            for (int c = 0; c < SLICE; c++)
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int j = 0; j < COLUMNS; j++)
                        sum[i][j] += x_tile[c][row + i * 16] * w_tile[c][column + j * 16];
            __syncthreads();
        }
    }

    const Output output = {y, residual, slope, (int)gridDim.z * cout};
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const i64 position = (i64)blockIdx.x * TILE_M + row + i * 16;
        if (position >= num_out) continue;
        const i64 begin = (i64)out_rows[position] * output.stride + group * cout;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            const int c = first_column + column + j * 16;
            if (c >= cout) continue;
            output.write(begin + c, sum[i][j] + (init ? init[group * cout + c] : 0));
        }
    }
}
