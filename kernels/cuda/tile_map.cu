// The tile map of a rulebook (spconv/ops/cuda/tile_map.py says what that is) from its table of input
// rows (volume, count), -1 where a tap is inactive. Every entry has one writer, so nothing depends
// on the launch, and nobody has to know how many entries there are before they are written.
//
// -DTILE_ROWS is the number of rows of a tile, a multiple of 32. A cell is a pair (tile, kernel
// offset), cell = tile * volume + offset; `order` (count) are the output rows in tile order. Cells
// are counted in 32 bits, as tables of input rows with 2^31 cells of 64 rows fit nowhere.
#include "storage.cuh"

typedef unsigned long long u64;

// keys[word, n] = place of row n's offset mask in the Gray code, 64 bits in each word, the most
// significant first. ranks[k] is the bit of offset k in the mask.
extern "C" __global__ void gray_keys(const int* table, const int* ranks, u64* keys, i64 count,
                                     int volume, int words) {
    const i64 n = thread_index();
    if (n >= count) return;
    u64 parity = 0;  // of all higher bits: all ones or all zeros
    for (int word = 0; word < words; word++) {
        const int lowest = (words - 1 - word) * 64;
        u64 mask = 0;
        for (int k = 0; k < volume; k++) {
            const int bit = ranks[k] - lowest;
            if (bit >= 0 && bit < 64 && table[k * count + n] >= 0) mask |= 1ull << bit;
        }
#pragma unroll
        for (int shift = 1; shift < 64; shift *= 2) mask ^= mask >> shift;
        mask ^= parity;
        parity = 0 - (mask & 1);
        keys[word * count + n] = mask;
    }
}

// Input row of the lane's position in a cell, or -1.
__device__ __forceinline__ int row_of(const int* table, const i64* order, i64 count, int cell,
                                      int volume, int place) {
    const int tile = cell / volume;
    const i64 position = (i64)tile * TILE_ROWS + place;
    return position < count ? table[(cell - tile * volume) * count + order[position]] : -1;
}

// groups[cell], bit i: one of the rows 16 i to 16 i + 15 is there. One warp for each cell.
extern "C" __global__ void cell_groups(const int* table, const i64* order, u32* groups, i64 count,
                                       int cells, int volume) {
    const int cell = (int)(thread_index() >> 5);
    const int lane = threadIdx.x % 32;
    if (cell >= cells) return;
    u32 found = 0;
#pragma unroll
    for (int first = 0; first < TILE_ROWS; first += 32) {
        const int row = row_of(table, order, count, cell, volume, first + lane);
        const u32 there = __ballot_sync(0xFFFFFFFFu, row >= 0);
        found |= (u32)((there & 0xFFFF) != 0) << first / 16;
        found |= (u32)(there >> 16 != 0) << (first / 16 + 1);
    }
    if (lane == 0) groups[cell] = found;
}

// Entries of the cells that have a row; ends[cell] counts them up to and with a cell. One warp for
// each cell; starts (tiles + 1) comes with a zero in front.
extern "C" __global__ void fill_entries(const int* table, const i64* order, const u32* groups,
                                        const int* ends, int* starts, int* offsets, int* in_rows,
                                        u32* entry_groups, i64 count, int cells, int volume) {
    const int cell = (int)(thread_index() >> 5);
    const int lane = threadIdx.x % 32;
    if (cell >= cells) return;
    if (lane == 0 && (cell + 1) % volume == 0) starts[(cell + 1) / volume] = ends[cell];
    if (!groups[cell]) return;
    const i64 entry = ends[cell] - 1;
    if (lane == 0) {
        offsets[entry] = cell % volume;
        entry_groups[entry] = groups[cell];
    }
#pragma unroll
    for (int first = 0; first < TILE_ROWS; first += 32)
        in_rows[entry * TILE_ROWS + first + lane] =
            row_of(table, order, count, cell, volume, first + lane);
}
