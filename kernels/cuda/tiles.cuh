// Tiles in shared memory: rows of 16-byte chunks, and the copies that fill them.
#pragma once
#include "storage.cuh"

constexpr int PER_CHUNK = 16 / (int)sizeof(STORAGE);

// Byte offset of a chunk. Its place is exchanged with the row number, so that the eight rows of
// one 8x8 matrix lie in eight different groups of banks.
template <int CHUNKS> __device__ __forceinline__ u32 swizzled(int row, int chunk) {
    static_assert(CHUNKS == 2 || CHUNKS == 4 || CHUNKS == 8, "a row has 32, 64 or 128 bytes");
    return (u32)(row * CHUNKS + (chunk ^ (row / (8 / CHUNKS) % CHUNKS))) * 16;
}

__device__ __forceinline__ u32 raw_bits(float16 x) { return x.bits; }
__device__ __forceinline__ u32 raw_bits(bfloat16 x) { return x.bits; }
__device__ __forceinline__ u32 raw_bits(float x) { return __float_as_uint(x); }

// Fills one chunk with the first `count` elements at `from` (none if not positive, or if it is not
// there) and zeros. WIDTH: bytes to which rows, and pieces that exist or not as a whole, are aligned;
// `sound` is any address of the device, aligned to 8 bytes. An element at an odd place among 16-bit
// ones cannot be copied in the background and goes through registers.
template <int WIDTH>
__device__ __forceinline__ void copy_chunk(u32 to, const STORAGE* from, int count, bool there,
                                           const STORAGE* sound) {
    if (WIDTH == 16) {
        copy_async_16(to, from, there && count > 0 ? 16 : 0);
    } else if (WIDTH >= 4) {
        constexpr int STEP = WIDTH / (int)sizeof(STORAGE);
#pragma unroll
        for (int i = 0; i < 16 / WIDTH; i++) {
            const bool piece_there = there && i * STEP < count;
            const STORAGE* piece = piece_there ? from + i * STEP : sound;
            if (WIDTH == 8) copy_async_8(to + i * 8, piece, piece_there ? 8 : 0);
            else copy_async_4(to + i * 4, piece, piece_there ? 4 : 0);
        }
    } else {
        if (!there) count = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 low = 2 * i < count ? raw_bits(from[2 * i]) : 0;
            const u32 high = 2 * i + 1 < count ? raw_bits(from[2 * i + 1]) : 0;
            store_shared(to + i * 4, low | high << 16);
        }
    }
}
