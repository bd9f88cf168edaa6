// What stands behind a convolution at inference, in one pass: scale and shift of every channel
// (or null), a residual (or null), a rectifier (slope 1: none).
#include "storage.cuh"

extern "C" __global__ void epilogue(const storage* x, const storage* scale, const storage* shift,
                                    const storage* residual, math slope, storage* y, i64 rows,
                                    i64 channels) {
    const i64 i = thread_index();
    if (i >= rows * channels) return;
    const i64 c = i % channels;
    math value = widen(x[i]);
    if (scale) value *= widen(scale[c]);
    if (shift) value += widen(shift[c]);
    if (residual) value += widen(residual[i]);
    if (slope == 0)
        value = value < 0 ? (math)0 : value;
    else
        value = value > 0 ? value : slope * value;
    narrow(value, y[i]);
}
