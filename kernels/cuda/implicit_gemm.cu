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
// The last tiles come first: their rows have most of the rare offsets, so most work.
// Grid (num_tiles, ceil(cout / TILE_N), groups), block 32 * WARPS_M * WARPS_N, dynamic shared
// memory STAGES * (TILE_M + TILE_N) * TILE_K bytes. No launch if num_tiles is 0.
// Macros: STORAGE and MULTIPLY (fragments.cuh), OUTPUT (output.cuh); TILE_M, TILE_N; TILE_K in bytes: 32, 64 or 128;
// WARPS_M, WARPS_N; STAGES >= 2; STEPS_UNROLLED of 32 bytes in a stage; MIN_BLOCKS for whose registers
// a multiprocessor must have room; X_WIDTH: the largest of 16, 8, 4, 2 bytes that divides cin *
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
constexpr int ROW_GROUPS = WARP_M / 16;  // of a warp
static_assert(WARP_M % 16 == 0 && WARP_N % 16 == 0, "a warp computes blocks of 16 x 16");
static_assert(ROW_GROUPS <= 2, "multiply_stage knows which of two groups of rows are missing");
static_assert(TILE_M % ROW_STEP == 0, "every thread copies equally many rows");
static_assert(ROW_STEP % 8 == 0, "all rows of a thread have their chunks in the same places");
static_assert(TILE_M <= 512 && STAGES >= 2, "tile_groups has 32 bits");

// What one thread copies of a tile: the same chunk of every ROW_STEP-th row.
struct Source {
    const STORAGE *x, *w;  // the thread's chunk in row 0 of x, and in its first row of w
    const int *offsets, *rows;
    int last, cin, columns;  // columns: from the thread's first row of w on
    int x_bytes, w_step;     // from one row of x to the next, from one of its rows of w to the next
    i64 matrix;              // elements of w from one offset to the next
};

__device__ __forceinline__ const STORAGE* bytes_behind(const STORAGE* p, int count, int bytes) {
    return (const STORAGE*)((const char*)p + (i64)count * bytes);
}

// Where the copies are on their way through the tile's offsets and channel slices. The rows of
// the next offset are read one offset ahead, so that no copy waits for its own address.
struct Cursor {
    int entry, slice, offset, next_offset;
    int rows[X_ROWS], next_rows[X_ROWS];

    __device__ __forceinline__ void read_ahead(const Source& source, int ahead) {
        const bool there = ahead < source.last;
        next_offset = there ? source.offsets[ahead] : 0;
        const int* rows_ahead = source.rows + (i64)ahead * TILE_M;
#pragma unroll
        for (int i = 0; i < X_ROWS; i++) next_rows[i] = there ? rows_ahead[i * ROW_STEP] : -1;
    }

    __device__ __forceinline__ void enter(const Source& source, int at) {
        entry = at;
        slice = 0;
        offset = next_offset;
#pragma unroll
        for (int i = 0; i < X_ROWS; i++) rows[i] = next_rows[i];
        read_ahead(source, at + 1);
    }
};

// `to` is the place of the thread's first chunk in the stage.
__device__ __forceinline__ void start_copies(const Source& source, Cursor& cursor, u32 to) {
    if (cursor.entry < source.last) {
        const int first = cursor.slice * SLICE;
        const int count = source.cin - first - (int)threadIdx.x % CHUNKS * PER_CHUNK;
        const STORAGE *x = source.x + first, *w = source.w + cursor.offset * source.matrix + first;
#pragma unroll
        for (int i = 0; i < X_ROWS; i++)
            copy_chunk<X_WIDTH>(to + i * ROW_STEP * TILE_K,
                                bytes_behind(x, cursor.rows[i], source.x_bytes), count,
                                cursor.rows[i] >= 0, source.w);
#pragma unroll
        for (int i = 0; i < W_ROWS; i++) {
            const int row = threadIdx.x / CHUNKS + i * ROW_STEP;
            if (TILE_N % ROW_STEP && row >= TILE_N) break;
            copy_chunk<16>(to + W_BEGIN + i * ROW_STEP * TILE_K,
                           bytes_behind(w, i, source.w_step), count,
                           i * ROW_STEP < source.columns, source.w);
        }
        if (first + SLICE < source.cin) cursor.slice++;
        else cursor.enter(source, cursor.entry + 1);
    }
    copy_async_commit();  // empty at the end, so that the number of groups still counts stages
}

typedef float Accumulators[ROW_GROUPS][WARP_N / 8][4];

// COUNT groups of rows from group FIRST on. `a` and `b` are the chunks of the stage that the lane
// names first; those of another step differ in bits of the chunk's number, so in nothing else.
template <int FIRST, int COUNT>
__device__ __forceinline__ void multiply_groups(Accumulators& sum, u32 a_begin, u32 b_begin) {
#pragma unroll STEPS_UNROLLED
    for (int step = 0; step < CHUNKS / 2; step++) {
        u32 b[WARP_N / 8][2];
#pragma unroll
        for (int j = 0; j < WARP_N / 16; j++) {
            u32 r[4];
            load_matrices(r, (b_begin ^ step * 32) + j * 16 * TILE_K);
            b[2 * j][0] = r[0], b[2 * j][1] = r[1], b[2 * j + 1][0] = r[2], b[2 * j + 1][1] = r[3];
        }
#pragma unroll
        for (int i = FIRST; i < FIRST + COUNT; i++) {
            u32 a[4];
            load_matrices(a, (a_begin ^ step * 32) + i * 16 * TILE_K);
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++) MULTIPLY(sum[i][j], a, b[j]);
        }
    }
}

// One stage; `groups` has a bit for each 16 rows of the warp that are not all missing.
__device__ __forceinline__ void multiply_stage(Accumulators& sum, u32 a_begin, u32 b_begin,
                                               u32 groups) {
    constexpr u32 ALL = (1u << ROW_GROUPS) - 1;
    groups &= ALL;
    if (groups == ALL) multiply_groups<0, ROW_GROUPS>(sum, a_begin, b_begin);
    else if (groups == 1) multiply_groups<0, 1>(sum, a_begin, b_begin);
    else if (groups == 2) multiply_groups<ROW_GROUPS - 1, 1>(sum, a_begin, b_begin);
}

// What the block has summed, with init, to the output rows that `out_rows` names.
template <bool PLAIN>
__device__ __forceinline__ void write_tile(const Accumulators& sum, const float (&start)[WARP_N / 8][2],
                                           const Output& output, const int* out_rows, int rows_left,
                                           int begin, int columns_left) {
    const int lane = threadIdx.x % 32;
    const bool pairs = columns_left % 2 == 0 && output.stride % 2 == 0;
#pragma unroll
    for (int i = 0; i < ROW_GROUPS; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int place = i * 16 + half * 8 + lane / 4;
            if (place >= rows_left) continue;
            const i64 at = (i64)out_rows[place] * output.stride + begin;
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++) {
                const float one = sum[i][j][half * 2] + start[j][0];
                const float two = sum[i][j][half * 2 + 1] + start[j][1];
                if (pairs && j * 8 < columns_left) {
                    output.write_two<PLAIN>(at + j * 8, one, two);
                } else {
                    if (j * 8 < columns_left) output.write<PLAIN>(at + j * 8, one);
                    if (j * 8 + 1 < columns_left) output.write<PLAIN>(at + j * 8 + 1, two);
                }
            }
        }
}

// One block per multiprocessor is enough: left to itself the assembler spills for one more.
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
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
    const int tile = gridDim.x - 1 - blockIdx.x;
    const int first_column = blockIdx.y * TILE_N, group = blockIdx.z;
    const int first = tile_starts[tile], last = tile_starts[tile + 1];
    const int cin_padded = (cin + PER_CHUNK - 1) / PER_CHUNK * PER_CHUNK;
    const int slices = (cin + SLICE - 1) / SLICE;

    const int chunk = threadIdx.x % CHUNKS, row = threadIdx.x / CHUNKS;
    Source source;
    source.x = x + group * cin + chunk * PER_CHUNK;
    source.matrix = (i64)cout * cin_padded;
    source.w = w + (i64)group * volume * source.matrix + (i64)(first_column + row) * cin_padded +
               chunk * PER_CHUNK;
    source.offsets = tile_offsets;
    source.rows = tile_rows + row;
    source.last = last;
    source.cin = cin;
    source.columns = cout - first_column - row;
    source.x_bytes = (int)gridDim.z * cin * (int)sizeof(STORAGE);
    source.w_step = ROW_STEP * cin_padded * (int)sizeof(STORAGE);

    Accumulators sum = {};
    Cursor cursor;
    cursor.read_ahead(source, first);
    cursor.enter(source, first);
    const u32 copy_begin = shared + swizzled<CHUNKS>(row, chunk);
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++)
        start_copies(source, cursor, copy_begin + stage * STAGE_BYTES);

    const u32 a_begin = shared + swizzled<CHUNKS>(warp_row + lane % 16, lane / 16);
    const u32 b_begin = shared + W_BEGIN +
                        swizzled<CHUNKS>(warp_column + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    u32 reading = 0, writing = (STAGES - 1) * STAGE_BYTES;
    u32 next_groups = first < last ? tile_groups[first] : 0;  // one entry ahead, as the rows are
    for (int entry = first; entry < last; entry++) {
        const u32 groups = next_groups >> warp_row / 16;
        next_groups = entry + 1 < last ? tile_groups[entry + 1] : 0;
        for (int slice = 0; slice < slices; slice++) {
            copy_async_wait<STAGES - 2>();
            __syncthreads();  // everyone's copies are there, everyone has left the stage to fill
            start_copies(source, cursor, copy_begin + writing);
            multiply_stage(sum, a_begin + reading, b_begin + reading, groups);
            writing = writing == (STAGES - 1) * STAGE_BYTES ? 0 : writing + STAGE_BYTES;
            reading = reading == (STAGES - 1) * STAGE_BYTES ? 0 : reading + STAGE_BYTES;
        }
    }

    const int column = first_column + warp_column + lane % 4 * 2;  // of the lane's first pair
    float start[WARP_N / 8][2];
#pragma unroll
    for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int at = column + j * 8 + e;
            start[j][e] = init && at < cout ? init[group * cout + at] : 0;
        }
    const Output output = {y, residual, slope, (int)gridDim.z * cout};
    const i64 begin = (i64)tile * TILE_M + warp_row;
    const int rows_left = num_out - begin < WARP_M ? (int)(num_out - begin) : WARP_M;
    if (output.plain())
        write_tile<true>(sum, start, output, out_rows + begin, rows_left, group * cout + column,
                         cout - column);
    else
        write_tile<false>(sum, start, output, out_rows + begin, rows_left, group * cout + column,
                          cout - column);
}
