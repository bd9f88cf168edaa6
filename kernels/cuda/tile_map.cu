// The tile map of a rulebook (spconv/ops/cuda/tile_map.py says what that is) from its table of input
// rows (volume, count), -1 where a tap is inactive. Every entry has one writer, so nothing depends
// on the launch, and nobody has to know how many entries there are before they are written.
//
// -DTILE_ROWS is the number of rows of a tile, a multiple of 32; -DKEY the type of a word of a
// sort key, u32 or u64. A cell is a pair (tile, kernel offset), cell = tile * volume + offset;
// `order` (count) are the output rows in tile order. Cells are counted in 32 bits, as tables of
// input rows with 2^31 cells of 64 rows fit nowhere.
#include "last_block.cuh"

typedef unsigned long long u64;

#ifndef KEY
#define KEY u64
#endif
typedef KEY key;

#define KEY_BITS (8 * (int)sizeof(key))
#define WARPS 8  // of a block that has a tile

// Bit of offset k in the masks: of two offsets the one with more pairs, or the first, is lower.
__device__ __forceinline__ int rank_of(const int* counts, int volume, int k) {
    int rank = 0;
    for (int other = 0; other < volume; other++)
        rank += counts[other] > counts[k] || (counts[other] == counts[k] && other < k);
    return rank;
}

extern "C" __global__ void rank_offsets(const int* counts, int* ranks, int volume) {
    const int k = (int)thread_index();
    if (k < volume) ranks[k] = rank_of(counts, volume, k);
}

// keys[word, n] = place of row n's offset mask in the Gray code, the most significant word first.
// `all_ranks` are those of rank_offsets; of no more offsets than a word has bits every block ranks
// them itself.
extern "C" __global__ void gray_keys(const int* table, const int* counts, const int* all_ranks,
                                     key* keys, i64 count, int volume, int words) {
    __shared__ int own_ranks[KEY_BITS];
    if (words == 1 && (int)threadIdx.x < volume)
        own_ranks[threadIdx.x] = rank_of(counts, volume, threadIdx.x);
    __syncthreads();
    const int* ranks = words == 1 ? own_ranks : all_ranks;
    const i64 n = thread_index();
    if (n >= count) return;
    key parity = 0;  // of all higher bits: all ones or all zeros
    for (int word = 0; word < words; word++) {
        const int lowest = (words - 1 - word) * KEY_BITS;
        key mask = 0;
        for (int k = 0; k < volume; k++) {
            const int bit = ranks[k] - lowest;
            if (bit >= 0 && bit < KEY_BITS && table[k * count + n] >= 0) mask |= (key)1 << bit;
        }
#pragma unroll
        for (int shift = 1; shift < KEY_BITS; shift *= 2) mask ^= mask >> shift;
        mask ^= parity;
        parity = 0 - (mask & 1);
        keys[word * count + n] = mask;
    }
}

// The lane's output rows of a tile, -1 behind the last one.
template <class T>
__device__ __forceinline__ void load_rows(const T* order, i64 count, int (&rows)[TILE_ROWS / 32]) {
#pragma unroll
    for (int i = 0; i < TILE_ROWS / 32; i++) {
        const i64 position = (i64)blockIdx.x * TILE_ROWS + i * 32 + threadIdx.x % 32;
        rows[i] = position < count ? (int)order[position] : -1;
    }
}

// One block for each tile. groups[cell], bit i: one of the rows 16 i to 16 i + 15 is there.
// starts[tile + 1] becomes the number of cells that have a row in the tiles up to and with this one.
extern "C" __global__ void cell_groups(const int* table, const i64* order, u32* groups,
                                       int* out_rows, int* starts, u32* finished, i64 count,
                                       int volume) {
    __shared__ int found_cells[WARPS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int rows[TILE_ROWS / 32], cells = 0;
    load_rows(order, count, rows);
    for (int k = warp; k < volume; k += WARPS) {
        u32 found = 0;
#pragma unroll
        for (int i = 0; i < TILE_ROWS / 32; i++) {
            const int row = rows[i] < 0 ? -1 : table[k * count + rows[i]];
            const u32 there = __ballot_sync(0xFFFFFFFFu, row >= 0);
            found |= (u32)((there & 0xFFFF) != 0) << 2 * i;
            found |= (u32)(there >> 16 != 0) << (2 * i + 1);
        }
        if (lane == 0) groups[(i64)blockIdx.x * volume + k] = found;
        cells += found != 0;
    }
    if (warp == 0) {
#pragma unroll
        for (int i = 0; i < TILE_ROWS / 32; i++)
            if (rows[i] >= 0) out_rows[(i64)blockIdx.x * TILE_ROWS + i * 32 + lane] = rows[i];
    }
    if (lane == 0) found_cells[warp] = cells;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int other = 1; other < WARPS; other++) cells += found_cells[other];
        starts[blockIdx.x + 1] = cells;
        if (blockIdx.x == 0) starts[0] = 0;
    }
    if (is_last(finished, gridDim.x)) running_sums(starts + 1, gridDim.x);
}

// Entries of the cells that have a row. One block for each tile.
extern "C" __global__ void fill_entries(const int* table, const int* out_rows, const u32* groups,
                                        const int* starts, int* offsets, int* in_rows,
                                        u32* entry_groups, i64 count, int volume) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32* tile_groups = groups + (i64)blockIdx.x * volume;
    int rows[TILE_ROWS / 32];
    load_rows(out_rows, count, rows);
    for (int k = warp; k < volume; k += WARPS) {
        const u32 found = tile_groups[k];
        if (!found) continue;
        i64 entry = starts[blockIdx.x];
        for (int first = 0; first < k; first += 32) {
            const int other = first + lane;
            entry += __popc(__ballot_sync(0xFFFFFFFFu, other < k && tile_groups[other]));
        }
        if (lane == 0) {
            offsets[entry] = k;
            entry_groups[entry] = found;
        }
#pragma unroll
        for (int i = 0; i < TILE_ROWS / 32; i++)
            in_rows[entry * TILE_ROWS + i * 32 + lane] =
                rows[i] < 0 ? -1 : table[k * count + rows[i]];
    }
}
