/* The tile registers of AMX in plain C, stricter than the processor.
 *
 * A thread has eight tiles, poisoned with NaN by a configuration (the processor fills them with
 * zeros). What a processor would fault at, and what it would leave undefined, is noted down in
 * `emulation_error` and not done: tiles out of range, shapes that are too large or do not fit,
 * tiles that are used without a configuration or read before they are written. Products round as
 * Intel's manual says: fused, to nearest even, denormals taken and given for zero.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    int configured, written[8];
    uint8_t rows[8];
    uint16_t row_bytes[8];
    uint8_t data[8][16][64];
} tile_file;

static _Thread_local tile_file tiles_of_thread;
static const char *emulation_error;

static int tile_check(int fine, const char *message) {
    const char *none = 0;
    if (!fine)
        __atomic_compare_exchange_n(&emulation_error, &none, message, 0, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    return fine;
}

static int tile_usable(int tile) {
    return tile_check(tiles_of_thread.configured, "a tile is used without a configuration") &&
           tile_check(tile >= 0 && tile < 8, "a tile out of range");
}

static int tile_readable(int tile) {
    return tile_usable(tile) &&
           tile_check(tiles_of_thread.written[tile], "a tile is read before it is written");
}

static void tile_config(const tile_shapes *shapes) {
    tile_file *file = &tiles_of_thread;
    int fine = tile_check(!file->configured, "a configuration is loaded over another one") &
               tile_check(shapes->palette == 1, "the palette is not 1") &
               tile_check(shapes->start_row == 0, "the start row is not 0");
    for (int i = 0; i < 14; ++i) fine &= tile_check(!shapes->reserved[i], "reserved bytes are set");
    for (int tile = 0; tile < 16; ++tile) {
        const int rows = shapes->rows[tile], bytes = shapes->row_bytes[tile];
        fine &= tile_check(rows <= 16 && bytes <= 64 && bytes % 4 == 0, "a tile is too large");
        fine &= tile_check(!rows == !bytes, "a tile has rows without bytes");
        if (tile >= 8) fine &= tile_check(!rows, "a ninth tile is configured");
        else file->rows[tile] = shapes->rows[tile], file->row_bytes[tile] = shapes->row_bytes[tile];
    }
    if (!fine) return;
    memset(file->data, 0xff, sizeof file->data);
    memset(file->written, 0, sizeof file->written);
    file->configured = 1;
}

static void tile_release(void) {
    tile_check(tiles_of_thread.configured, "tiles are released that are not configured");
    tiles_of_thread.configured = 0;
}

static void tile_zero(int tile) {
    if (!tile_usable(tile)) return;
    memset(tiles_of_thread.data[tile], 0, sizeof tiles_of_thread.data[tile]);
    tiles_of_thread.written[tile] = 1;
}

static void tile_load(int tile, const void *source, int64_t stride) {
    tile_file *file = &tiles_of_thread;
    if (!tile_usable(tile)) return;
    memset(file->data[tile], 0, sizeof file->data[tile]);
    for (int row = 0; row < file->rows[tile]; ++row)
        memcpy(file->data[tile][row], (const char *)source + row * stride, file->row_bytes[tile]);
    file->written[tile] = 1;
}

static void tile_store(int tile, void *target, int64_t stride) {
    tile_file *file = &tiles_of_thread;
    if (!tile_readable(tile)) return;
    for (int row = 0; row < file->rows[tile]; ++row)
        memcpy((char *)target + row * stride, file->data[tile][row], file->row_bytes[tile]);
}

static inline float flushed(float value) {
    return fabsf(value) < 0x1p-126f ? copysignf(0, value) : value;
}

/* Number i of a row of bfloat16. */
static inline float widened(const uint8_t *row, int i) {
    uint16_t half;
    uint32_t bits;
    float value;
    memcpy(&half, row + 2 * i, sizeof half);
    bits = (uint32_t)half << 16;
    memcpy(&value, &bits, sizeof value);
    return flushed(value);
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("fma", "default"))) /* without it fmaf is a call; any maker's processor */
#endif
static void tile_products(int rows, int pairs, uint8_t (*sums)[64], const uint8_t (*a)[64],
                          const uint8_t (*b)[64]) {
    float right[2][16][16];
    for (int k = 0; k < pairs; ++k)
        for (int n = 0; n < 16; ++n) /* behind the end of a row are zeros */
            for (int i = 0; i < 2; ++i) right[i][k][n] = widened(b[k], 2 * n + i);
    for (int m = 0; m < rows; ++m) {
        float even[16] = {0}, odd[16] = {0}, total[16];
        memcpy(total, sums[m], sizeof total);
        for (int k = 0; k < pairs; ++k) {
            const float first = widened(a[m], 2 * k), second = widened(a[m], 2 * k + 1);
            for (int n = 0; n < 16; ++n) {
                even[n] = flushed(fmaf(first, right[0][k][n], even[n]));
                odd[n] = flushed(fmaf(second, right[1][k][n], odd[n]));
            }
        }
        for (int n = 0; n < 16; ++n)
            total[n] = flushed(flushed(total[n]) + flushed(even[n] + odd[n]));
        memcpy(sums[m], total, sizeof total);
    }
}

static void tile_dot(int sums, int a, int b) {
    tile_file *f = &tiles_of_thread;
    if (!tile_readable(sums) || !tile_readable(a) || !tile_readable(b)) return;
    if (!tile_check(sums != a && sums != b && a != b, "a product needs three tiles") ||
        !tile_check(f->rows[sums] == f->rows[a] && f->row_bytes[sums] == f->row_bytes[b] &&
                        f->row_bytes[a] / 4 == f->rows[b],
                    "tiles do not fit together"))
        return;
    tile_products(f->rows[a], f->row_bytes[a] / 4, f->data[sums], (const uint8_t(*)[64])f->data[a],
                  (const uint8_t(*)[64])f->data[b]);
}
