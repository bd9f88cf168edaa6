// Weights as the convolution kernels read them: for every group and kernel offset a matrix with
// one row for each output channel, rows padded with zeros to 16 bytes.
//
//   forward         packed[g][k][o][c] = w[k][c][g * cout + o]
//   input gradient  packed[g][k][c][o] = w[k][c][g * cout + o]     (transposed = 1)
// (of one group, without padding and rounding, that is w itself: nothing is launched)
// mirrored = 1 takes w[volume - 1 - k]: the input gradient of a symmetric submanifold kernel then
// runs over the tile map of its forward.
//
// Arguments
//   w       WEIGHT (volume, cin, groups * cout)
//   packed  STORAGE (groups, volume, rows, row_length): rows = cout, row_length = cin rounded up
//           to 16 bytes; transposed: rows = cin, row_length = cout rounded up
//   groups, volume, cin, cout  int   channels of one group
//   transposed, mirrored       int   0 or 1
// Grid ceil(size of packed / 256), block 256. Macros: STORAGE, WEIGHT (storage.cuh); ROUND_TF32 (0
// or 1): numbers are rounded to the 11 bits of tf32.
#include "storage.cuh"

extern "C" __global__ void __launch_bounds__(256)
pack_weights(const WEIGHT* __restrict__ w, STORAGE* __restrict__ packed, int groups, int volume,
             int cin, int cout, int transposed, int mirrored) {
    constexpr int PER_CHUNK = 16 / (int)sizeof(STORAGE);
    const int rows = transposed ? cin : cout, columns = transposed ? cout : cin;
    const int row_length = (columns + PER_CHUNK - 1) / PER_CHUNK * PER_CHUNK;
    const i64 at = thread_index();
    if (at >= (i64)groups * volume * rows * row_length) return;
    const i64 line = quotient(at, row_length), matrix = quotient(line, rows);
    const int column = at - line * row_length, row = line - matrix * rows;
    const int group = quotient(matrix, volume), offset = matrix - (i64)group * volume;
    const int c = transposed ? row : column, o = transposed ? column : row;
    const i64 source = mirrored ? volume - 1 - offset : offset;
    const math value =
        column < columns ? widen(w[(source * cin + c) * groups * cout + (i64)group * cout + o]) : 0;
#if ROUND_TF32
    packed[at] = __uint_as_float(float_to_tf32(value));
#else
    narrow(value, packed[at]);
#endif
}
