// Sparse convolution on tensor cores: y[out] = sum over kernel offsets k of x[in] W_k, for tiles
// of TILE_M output rows that miss nearly the same offsets.
//
// Output-stationary: one block owns TILE_M rows by TILE_N columns of one group and walks through
// all (kernel offset, slice of input channels) of the tile. Nothing is added by atomics, so the
// bits do not depend on timing. The input gradient is the same kernel over the tile map of the
// inverse rulebook (for a symmetric submanifold kernel: over the same map, weights mirrored).
//
// Arguments
//   x            STORAGE (num_in, groups * cin)      features, or deviations from the ground state
//   w            STORAGE (groups, volume, cout, cin_padded)   from pack_weights.cu; cin_padded =
//                cin rounded up to 16 bytes
//   y            OUTPUT (num_out, groups * cout)     aligned to two elements
//   init         float (groups * cout) or null       bias, or the output's ground state; null is
//                np.intp(0), never None
//   residual     OUTPUT (num_out, groups * cout) or null
//   tile_starts  int (num_tiles + 1)   entries of each tile: see spconv/ops/cuda/tile_map.py
//   tile_offsets int (entries)         kernel offset
//   tile_rows    int (entries, TILE_M) input row or -1
//   tile_groups  unsigned (entries)    bit i: one of the rows 16 i .. 16 i + 15 is there
//   out_rows     int (num_out)         output row of each sorted position
//   num_out, cin, cout, volume  int    cin and cout of one group
//   slope        float                 leaky ReLU of the result; 1 for none
// Grid (num_tiles, ceil(cout / TILE_N), groups), block 32 * WARPS_M * WARPS_N, dynamic shared
// memory STAGES * (TILE_M + TILE_N) * TILE_K bytes. No launch if num_tiles is 0.
// Macros: STORAGE and MULTIPLY (fragments.cuh), OUTPUT (output.cuh); TILE_M, TILE_N; TILE_K in bytes: 32, 64 or 128;
// WARPS_M, WARPS_N; STAGES >= 2; X_WIDTH: the largest of 16, 8, 4, 2 bytes that divides cin *
// sizeof(STORAGE), to which x must be aligned too (w: to 16). spconv/ops/cuda/tiles.py chooses.
#include "fragments.cuh"
#include "output.cuh"
#include "tiles.cuh"

constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int WARP_M = TILE_M / WARPS_M, WARP_N = TILE_N / WARPS_N;
constexpr int CHUNKS = TILE_K / 16;
constexpr int SLICE = CHUNKS * PER_CHUNK;  // input channels in one stage
constexpr int ROW_STEP = THREADS / CHUNKS;
constexpr int X_ROWS = TILE_M / ROW_STEP;  // rows that one thread copies
constexpr int W_ROWS = (TILE_N + ROW_STEP - 1) / ROW_STEP;
constexpr u32 W_BEGIN = TILE_M * TILE_K;
constexpr u32 STAGE_BYTES = (TILE_M + TILE_N) * TILE_K;
static_assert(WARP_M % 16 == 0 && WARP_N % 16 == 0, "a warp computes blocks of 16 x 16");
static_assert(TILE_M % ROW_STEP == 0, "every thread copies equally many rows");
static_assert(TILE_M <= 512 && STAGES >= 2, "tile_groups has 32 bits");

struct Tile {
    const STORAGE *x, *w;  // of this group; w of the block's first column
    const int *offsets, *rows;
    int last, cin, cout, columns;  // columns: from the block's first one on
    i64 x_stride;
};

// Where the copies are on their way through the tile's offsets and channel slices. The rows of
// the next offset are read one offset ahead, so that no copy waits for its own address.
struct Cursor {
    int entry, slice, offset, next_offset;
    int rows[X_ROWS], next_rows[X_ROWS];

    __device__ __forceinline__ void read_ahead(const Tile& tile, int ahead) {
        const bool there = ahead < tile.last;
        next_offset = there ? tile.offsets[ahead] : 0;
        const int* rows_ahead = tile.rows + (i64)ahead * TILE_M + threadIdx.x / CHUNKS;
#pragma unroll
        for (int i = 0; i < X_ROWS; i++) next_rows[i] = there ? rows_ahead[i * ROW_STEP] : -1;
    }

    __device__ __forceinline__ void enter(const Tile& tile, int at) {
        entry = at;
        slice = 0;
        offset = next_offset;
#pragma unroll
        for (int i = 0; i < X_ROWS; i++) rows[i] = next_rows[i];
        read_ahead(tile, at + 1);
    }
};

__device__ __forceinline__ void start_copies(const Tile& tile, Cursor& cursor, u32 stage) {
    if (cursor.entry < tile.last) {
        const int chunk = threadIdx.x % CHUNKS, row = threadIdx.x / CHUNKS;
        const int channel = cursor.slice * SLICE + chunk * PER_CHUNK;
        const int count = tile.cin - channel;
#pragma unroll
        for (int i = 0; i < X_ROWS; i++) {
            const int source = cursor.rows[i];
            copy_chunk<X_WIDTH>(stage + swizzled<CHUNKS>(row + i * ROW_STEP, chunk),
                                tile.x + source * tile.x_stride + channel, source < 0 ? 0 : count,
                                tile.x);
        }
        const int cin_padded = (tile.cin + PER_CHUNK - 1) / PER_CHUNK * PER_CHUNK;
        const STORAGE* w = tile.w + ((i64)cursor.offset * tile.cout + row) * cin_padded + channel;
#pragma unroll
        for (int i = 0; i < W_ROWS; i++) {
            const int column = row + i * ROW_STEP;
            if (TILE_N % ROW_STEP && column >= TILE_N) break;
            copy_chunk<16>(stage + W_BEGIN + swizzled<CHUNKS>(column, chunk),
                           w + (i64)i * ROW_STEP * cin_padded, column < tile.columns ? count : 0,
                           tile.w);
        }
        if (++cursor.slice * SLICE >= tile.cin) cursor.enter(tile, cursor.entry + 1);
    }
    copy_async_commit();  // empty at the end, so that the number of groups still counts stages
}

typedef float Accumulators[WARP_M / 16][WARP_N / 8][4];

// One stage; `groups` has a bit for each 16 rows of the warp that are not all missing.
__device__ __forceinline__ void multiply_stage(Accumulators& sum, u32 stage, int warp_row,
                                               int warp_column, u32 groups) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < CHUNKS / 2; step++) {
        u32 b[WARP_N / 8][2];
#pragma unroll
        for (int j = 0; j < WARP_N / 16; j++) {
            u32 r[4];
            const int column = warp_column + j * 16 + lane / 16 * 8 + lane % 8;
            load_matrices(r, stage + W_BEGIN + swizzled<CHUNKS>(column, step * 2 + lane / 8 % 2));
            b[2 * j][0] = r[0], b[2 * j][1] = r[1], b[2 * j + 1][0] = r[2], b[2 * j + 1][1] = r[3];
        }
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++) {
            if (!(groups >> i & 1)) continue;
            u32 a[4];
            const int row = warp_row + i * 16 + lane % 16;
            load_matrices(a, stage + swizzled<CHUNKS>(row, step * 2 + lane / 16));
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++) MULTIPLY(sum[i][j], a, b[j]);
        }
    }
}

// One block per multiprocessor is enough: left to itself the assembler spills for one more.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
implicit_gemm(const STORAGE* __restrict__ x, const STORAGE* __restrict__ w, OUTPUT* __restrict__ y,
              const float* __restrict__ init, const OUTPUT* __restrict__ residual,
              const int* __restrict__ tile_starts, const int* __restrict__ tile_offsets,
              const int* __restrict__ tile_rows, const u32* __restrict__ tile_groups,
              const int* __restrict__ out_rows, int num_out, int cin, int cout, int volume,
              float slope) {
    extern __shared__ __align__(128) unsigned char stages[];
    const u32 shared = shared_address(stages);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % WARPS_M * WARP_M, warp_column = warp / WARPS_M * WARP_N;
    const int first_column = blockIdx.y * TILE_N, group = blockIdx.z;
    const int first = tile_starts[blockIdx.x], last = tile_starts[blockIdx.x + 1];
    const int cin_padded = (cin + PER_CHUNK - 1) / PER_CHUNK * PER_CHUNK;
    const int slices = (cin + SLICE - 1) / SLICE;

    Tile tile;
    tile.x = x + group * cin;
    tile.w = w + ((i64)group * volume * cout + first_column) * cin_padded;
    tile.offsets = tile_offsets;
    tile.rows = tile_rows;
    tile.last = last;
    tile.cin = cin;
    tile.cout = cout;
    tile.columns = cout - first_column;
    tile.x_stride = (i64)gridDim.z * cin;

    Accumulators sum = {};
    Cursor cursor;
    cursor.read_ahead(tile, first);
    cursor.enter(tile, first);
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++)
        start_copies(tile, cursor, shared + stage * STAGE_BYTES);

    u32 reading = 0, writing = STAGES - 1;
    u32 next_groups = first < last ? tile_groups[first] : 0;  // one entry ahead, as the rows are
    for (int entry = first; entry < last; entry++) {
        const u32 groups = next_groups >> warp_row / 16;
        next_groups = entry + 1 < last ? tile_groups[entry + 1] : 0;
        for (int slice = 0; slice < slices; slice++) {
            copy_async_wait<STAGES - 2>();
            __syncthreads();  // everyone's copies are there, everyone has left the stage to fill
            start_copies(tile, cursor, shared + writing * STAGE_BYTES);
            writing = writing + 1 == STAGES ? 0 : writing + 1;
            multiply_stage(sum, shared + reading * STAGE_BYTES, warp_row, warp_column, groups);
            reading = reading + 1 == STAGES ? 0 : reading + 1;
        }
    }

    const Output output = {y, init, residual, slope, (int)gridDim.z * cout};
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const i64 position = (i64)blockIdx.x * TILE_M + warp_row + i * 16 + half * 8 + lane / 4;
            if (position >= num_out) continue;
            const int row = out_rows[position];
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++) {
                const int column = first_column + warp_column + j * 8 + lane % 4 * 2;
                const float first_sum = sum[i][j][half * 2], second_sum = sum[i][j][half * 2 + 1];
                if (cout % 2 == 0 && column < cout) {
                    output.write_two(row, group * cout + column, first_sum, second_sum);
                } else {
                    if (column < cout) output.write(row, group * cout + column, first_sum);
                    if (column + 1 < cout) output.write(row, group * cout + column + 1, second_sum);
                }
            }
        }
}
