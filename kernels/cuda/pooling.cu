// Pooling over a table of input rows (volume, out_rows), -1 where a tap is inactive. One thread
// for each output row and channel walks the kernel offsets in order, so the result does not
// depend on the launch; gradients walk the table of the inverse rulebook.
#include "storage.cuh"

// y[n] = sum of x[table[k, n]] over k.
extern "C" __global__ void sum_table(const storage* x, const int* table, math* y, i64 out_rows,
                                     i64 channels, int volume) {
    const i64 i = thread_index();
    if (i >= out_rows * channels) return;
    const i64 n = quotient(i, channels), c = i - n * channels;
    math sum = 0;
    for (int k = 0; k < volume; ++k) {
        const i64 row = table[k * out_rows + n];
        if (row >= 0) sum += widen(x[row * channels + c]);
    }
    y[i] = sum;
}

// y[n] = largest x[table[k, n]], winner[n] = its row. Of equal values the first offset wins, the
// first NaN stays. With a ground row (or null) a window with an inactive site takes it into the
// maximum; winner is -1 where it is larger. A window is complete with `volume` active taps or, if
// windows have different sizes, where taps[n] (or null) is `volume`.
extern "C" __global__ void max_table(const storage* x, const int* table, const storage* ground,
                                     const i64* taps, storage* y, int* winner, i64 out_rows,
                                     i64 channels, int volume) {
    const i64 i = thread_index();
    if (i >= out_rows * channels) return;
    const i64 n = quotient(i, channels), c = i - n * channels;
    math best = 0;
    int from = -1, active = 0;
    for (int k = 0; k < volume; ++k) {
        const int row = table[k * out_rows + n];
        if (row < 0) continue;
        ++active;
        const math value = widen(x[row * channels + c]);
        if (from < 0 || (!(value <= best) && best == best)) {
            best = value;
            from = row;
        }
    }
    if (ground && (taps ? taps[n] : active) < volume) {
        const math background = widen(ground[c]);
        if (!(best >= background) && best == best) {
            best = background;
            from = -1;
        }
    }
    narrow(best, y[i]);
    winner[i] = from;
}

// dx[m] = sum of dy[n] over the outputs n = table[k, m] that m won.
extern "C" __global__ void max_table_gradient(const storage* dy, const int* winner,
                                              const int* table, storage* dx, i64 in_rows,
                                              i64 channels, int volume) {
    const i64 i = thread_index();
    if (i >= in_rows * channels) return;
    const i64 m = quotient(i, channels), c = i - m * channels;
    math sum = 0;
    for (int k = 0; k < volume; ++k) {
        const i64 row = table[k * in_rows + m];
        if (row >= 0 && winner[row * channels + c] == m) sum += widen(dy[row * channels + c]);
    }
    narrow(sum, dx[i]);
}
