// Rulebooks on the device. Sites are keys: row-major positions in the (batch, *spatial) grid, as
// in spconv/sites.py. Every thread has one site and one kernel offset (blockIdx.y) and writes one
// entry, so nothing depends on the launch.
//
// -DNDIM is the number of spatial dimensions. `geometry` holds kernel_size, stride, padding,
// dilation, in_shape and out_shape, NDIM entries each.
#include "storage.cuh"

#define KERNEL_SIZE(axis) geometry[axis]
#define STRIDE(axis) geometry[NDIM + axis]
#define PADDING(axis) geometry[2 * NDIM + axis]
#define DILATION(axis) geometry[3 * NDIM + axis]
#define IN_EXTENT(axis) geometry[4 * NDIM + axis]
#define OUT_EXTENT(axis) geometry[5 * NDIM + axis]

// Output coordinate that input x feeds through kernel index j, or -1.
__device__ __forceinline__ i64 forward_site(i64 x, i64 j, i64 stride, i64 padding, i64 dilation,
                                            i64 extent, int transposed) {
    i64 y = transposed ? x * stride - padding + j * dilation : x + padding - j * dilation;
    if (y < 0) return -1;
    if (!transposed) {
        if (y % stride) return -1;
        y /= stride;
    }
    return y < extent ? y : -1;
}

// candidates[k, i] = key of the output that input i feeds through offset k, or `none`.
extern "C" __global__ void candidate_keys(const i64* keys, const i64* geometry, i64* candidates,
                                          i64 count, int transposed, i64 none) {
    const i64 i = thread_index();
    if (i >= count) return;
    i64 rest = keys[i], offset = blockIdx.y, cell = 1, key = 0;
#pragma unroll
    for (int axis = NDIM - 1; axis >= 0; --axis) {
        const i64 x = rest % IN_EXTENT(axis), j = offset % KERNEL_SIZE(axis);
        rest /= IN_EXTENT(axis);
        offset /= KERNEL_SIZE(axis);
        const i64 y = forward_site(x, j, STRIDE(axis), PADDING(axis), DILATION(axis),
                                   OUT_EXTENT(axis), transposed);
        key = y < 0 || key < 0 ? -1 : key + y * cell;
        cell *= OUT_EXTENT(axis);
    }
    candidates[blockIdx.y * count + i] = key < 0 ? none : key + rest * cell;
}

// Position of `key` in the ascending `keys`, or -1.
__device__ __forceinline__ i64 find_key(const i64* keys, i64 count, i64 key) {
    i64 low = 0, high = count;
    while (low < high) {
        const i64 middle = (low + high) >> 1;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && keys[low] == key ? low : -1;
}

// table[k, n] = row of the input that feeds output n through offset k, or -1. `in_keys` ascend;
// `in_order` (or null) turns positions among them into rows.
extern "C" __global__ void lookup(const i64* out_keys, const i64* in_keys, const i64* in_order,
                                  const i64* geometry, int* table, i64 out_count, i64 in_count,
                                  int transposed) {
    const i64 n = thread_index();
    if (n >= out_count) return;
    i64 rest = out_keys[n], offset = blockIdx.y, cell = 1, key = 0;
#pragma unroll
    for (int axis = NDIM - 1; axis >= 0; --axis) {
        const i64 y = rest % OUT_EXTENT(axis), j = offset % KERNEL_SIZE(axis);
        rest /= OUT_EXTENT(axis);
        offset /= KERNEL_SIZE(axis);
        // The input of a regular kernel is where a transposed one would lead, and the reverse.
        i64 x = transposed ? y + PADDING(axis) - j * DILATION(axis)
                           : y * STRIDE(axis) - PADDING(axis) + j * DILATION(axis);
        if (transposed && x >= 0) x = x % STRIDE(axis) ? -1 : x / STRIDE(axis);
        if (x < 0 || x >= IN_EXTENT(axis)) x = -1;
        key = x < 0 || key < 0 ? -1 : key + x * cell;
        cell *= IN_EXTENT(axis);
    }
    i64 row = key < 0 ? -1 : find_key(in_keys, in_count, key + rest * cell);
    if (row >= 0 && in_order) row = in_order[row];
    table[blockIdx.y * out_count + n] = (int)row;
}

// The entries of `table` (volume, out_count) that are no -1, in order; ends[i] counts those up to
// and with entry i.
extern "C" __global__ void compact_pairs(const int* table, const i64* ends, int* in_rows,
                                         int* out_rows, i64 out_count) {
    const i64 n = thread_index();
    if (n >= out_count) return;
    const i64 entry = blockIdx.y * out_count + n;
    if (table[entry] < 0) return;
    in_rows[ends[entry] - 1] = table[entry];
    out_rows[ends[entry] - 1] = (int)n;
}

// inverse[k, table[k, n]] = n; the inverse comes filled with -1.
extern "C" __global__ void invert_table(const int* table, int* inverse, i64 out_count,
                                        i64 in_count) {
    const i64 n = thread_index();
    if (n >= out_count) return;
    const i64 row = table[blockIdx.y * out_count + n];
    if (row >= 0) inverse[blockIdx.y * in_count + row] = (int)n;
}

// table[k, out_rows[p]] = in_rows[p] for the pairs p of offset k, which end at starts[k + 1]; the
// table comes filled with -1.
extern "C" __global__ void table_of_pairs(const int* in_rows, const int* out_rows,
                                          const i64* starts, int* table, i64 num_pairs,
                                          i64 out_count, int volume) {
    const i64 p = thread_index();
    if (p >= num_pairs) return;
    int low = 0, high = volume - 1;  // the offset k with starts[k] <= p < starts[k + 1]
    while (low < high) {
        const int middle = (low + high) >> 1;
        if (starts[middle + 1] <= p)
            low = middle + 1;
        else
            high = middle;
    }
    table[low * out_count + out_rows[p]] = in_rows[p];
}
