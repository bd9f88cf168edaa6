/* The tile instructions of AMX, or their emulation (-DSPCONV_AMX_EMULATED, for tests).
 *
 * Defines SPCONV_AMX where the compiler has them. A thread loads a configuration before its first
 * tile and releases it after its last one. -DSPCONV_NO_AMX leaves all of it out, for assemblers
 * that do not know the instructions.
 */
#ifndef SPCONV_AMX_TILES_H
#define SPCONV_AMX_TILES_H
#include <stdint.h>

/* What ldtilecfg reads. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

#if defined(SPCONV_AMX_EMULATED)
#define SPCONV_AMX 1
#define SPCONV_TARGET
#define SPCONV_MASKS 0
#include "amx_emulated.h"

#elif defined(__x86_64__) && defined(__linux__) && !defined(SPCONV_NO_AMX) && \
    (defined(__clang__) ? __clang_major__ >= 12 : defined(__GNUC__) && __GNUC__ >= 11)
#define SPCONV_AMX 1
#define SPCONV_TARGET \
    __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define SPCONV_MASKS 512
#include <immintrin.h>

/* GCC's intrinsics do not say that they read memory: stores in front of them could move or go. */
#define SPCONV_READS(address) __asm__ volatile("" : : "r"(address) : "memory")

#define tile_config(shapes) \
    do {                                 \
        SPCONV_READS(shapes);            \
        _tile_loadconfig(shapes);        \
    } while (0)
#define tile_release() _tile_release()
#define tile_zero(tile) _tile_zero(tile)
#define tile_load(tile, source, stride)     \
    do {                                    \
        SPCONV_READS(source);               \
        _tile_loadd(tile, source, stride);  \
    } while (0)
#define tile_store(tile, target, stride) _tile_stored(tile, target, stride)
/* sums += a b of bfloat16, in float32; denormals are zero, in and out. */
#define tile_dot(sums, a, b) _tile_dpbf16ps(sums, a, b)
#endif
#endif
