// Rulebooks on the device. Sites are keys: row-major positions in the (batch, *spatial) grid, as
// in spconv/sites.py. Every entry has one writer or gets bits, and sums are of integers, so nothing
// depends on the launch. Mostly a thread has one site and one kernel offset (blockIdx.y).
//
// -DNDIM is the number of spatial dimensions. `geometry` holds kernel_size, stride, padding,
// dilation, in_shape and out_shape, NDIM entries each.
#include "last_block.cuh"

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

// Key of the output that the input with this key feeds through an offset, or -1.
__device__ __forceinline__ i64 output_key(i64 rest, i64 offset, const i64* geometry,
                                          int transposed) {
    i64 cell = 1, key = 0;
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
    return key < 0 ? -1 : key + rest * cell;
}

// candidates[k, i] = key of the output that input i feeds through offset k, or `none`.
extern "C" __global__ void candidate_keys(const i64* keys, const i64* geometry, i64* candidates,
                                          i64 count, int transposed, i64 none) {
    const i64 i = thread_index();
    if (i >= count) return;
    const i64 key = output_key(keys[i], blockIdx.y, geometry, transposed);
    candidates[blockIdx.y * count + i] = key < 0 ? none : key;
}

// Sets the bit of every output that input i feeds through offset k. counts[k] are the inputs that
// feed one, counts[offsets] the outputs; both come as zeros, and so do the bits.
extern "C" __global__ void mark_cells(const i64* keys, const i64* geometry, u32* bits, int* counts,
                                      i64 count, int transposed) {
    const i64 i = thread_index();
    const i64 key = i < count ? output_key(keys[i], blockIdx.y, geometry, transposed) : -1;
    const u32 bit = 1u << (key & 31);
    const bool first = key >= 0 && !(atomicOr(bits + (key >> 5), bit) & bit);
    const int feed = __syncthreads_count(key >= 0), outputs = __syncthreads_count(first);
    if (threadIdx.x) return;
    if (feed) atomicAdd(counts + blockIdx.y, feed);
    if (outputs) atomicAdd(counts + gridDim.y, outputs);
}

// ends[block] = marked cells in the words up to and with those of a block.
extern "C" __global__ void tally_cells(const u32* bits, i64* ends, u32* finished, i64 words) {
    __shared__ int sum;
    const i64 w = thread_index();
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    if (w < words) atomicAdd(&sum, __popc(bits[w]));
    __syncthreads();
    if (threadIdx.x == 0) ends[blockIdx.x] = sum;
    if (is_last(finished, gridDim.x)) running_sums(ends, gridDim.x);
}

#define MOST_THREADS 1024

// Keys of the marked cells, ascending; `ends` are those of the same launch of tally_cells.
extern "C" __global__ void list_cells(const u32* bits, const i64* ends, i64* cells, i64 words) {
    __shared__ int sums[MOST_THREADS];  // of the words up to and with a thread's
    const i64 w = thread_index();
    const int t = threadIdx.x;
    u32 word = w < words ? bits[w] : 0;
    sums[t] = __popc(word);
    __syncthreads();
    for (int step = 1; step < (int)blockDim.x; step <<= 1) {
        const int before = t >= step ? sums[t - step] : 0;
        __syncthreads();
        sums[t] += before;
        __syncthreads();
    }
    i64 place = (blockIdx.x ? ends[blockIdx.x - 1] : 0) + sums[t] - __popc(word);
    for (; word; word &= word - 1) cells[place++] = 32 * w + __popc((word & (0 - word)) - 1);
}

// First position in [low, high) of the ascending `keys` that holds no less than `key`, or `high`.
__device__ __forceinline__ i64 lower_bound(const i64* keys, i64 low, i64 high, i64 key) {
    while (low < high) {
        const i64 middle = (low + high) >> 1;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Input coordinate that feeds output y through kernel index j, or -1: where a transposed kernel
// would lead for a regular one, and the reverse.
__device__ __forceinline__ i64 source_site(i64 y, i64 j, i64 stride, i64 padding, i64 dilation,
                                           i64 extent, int transposed) {
    i64 x = transposed ? y + padding - j * dilation : y * stride - padding + j * dilation;
    if (x < 0) return -1;
    if (transposed) {
        if (x % stride) return -1;
        x /= stride;
    }
    return x < extent ? x : -1;
}

// table[k, n] = row of the input that feeds output n through offset k, or -1. `in_keys` ascend;
// `in_order` (or null) turns positions among them into rows. counts[k], which come as zeros, are
// the numbers of rows.
//
// A thread has all offsets of one line along the last axis, blockIdx.y the others. Taken in the
// order of their inputs their keys ascend, and what a key is larger than the one before bounds
// how much further it is: neighbours cost one comparison.
extern "C" __global__ void lookup(const i64* out_keys, const i64* in_keys, const i64* in_order,
                                  const i64* geometry, int* table, int* counts, i64 out_count,
                                  i64 in_count, int transposed) {
    const i64 n = thread_index();
    const bool exists = n < out_count;
    const int last = NDIM - 1, taps = (int)KERNEL_SIZE(last);
    i64 rest = exists ? out_keys[n] : 0, offset = blockIdx.y, cell = IN_EXTENT(last), line = 0;
    i64 before = quotient(rest, OUT_EXTENT(last));
    const i64 y_last = rest - before * OUT_EXTENT(last);
    rest = before;
#pragma unroll
    for (int axis = NDIM - 2; axis >= 0; --axis) {
        before = quotient(rest, OUT_EXTENT(axis));
        const i64 y = rest - before * OUT_EXTENT(axis);
        rest = before;
        const i64 outer = quotient(offset, KERNEL_SIZE(axis));
        const i64 j = offset - outer * KERNEL_SIZE(axis);
        offset = outer;
        const i64 x = source_site(y, j, STRIDE(axis), PADDING(axis), DILATION(axis),
                                  IN_EXTENT(axis), transposed);
        line = x < 0 || line < 0 ? -1 : line + x * cell;
        cell *= IN_EXTENT(axis);
    }
    const bool inside = exists && line >= 0;
    line += rest * cell;
    i64 low = 0, sought = -1;
    for (int step = 0; step < taps; step++) {
        const int j = transposed ? taps - 1 - step : step;
        const i64 x = !inside ? -1
                              : source_site(y_last, j, STRIDE(last), PADDING(last),
                                            DILATION(last), IN_EXTENT(last), transposed);
        i64 row = -1;
        if (x >= 0) {
            const i64 key = line + x, most = low + (key - sought);
            low = lower_bound(in_keys, low, sought < 0 || most > in_count ? in_count : most, key);
            if (low < in_count && in_keys[low] == key) row = in_order ? in_order[low] : low;
            sought = key;
        }
        const i64 k = (i64)blockIdx.y * taps + j;
        if (exists) table[k * out_count + n] = (int)row;
        const int found = __syncthreads_count(row >= 0);
        if (threadIdx.x == 0 && found) atomicAdd(counts + k, found);
    }
}

#define MOST_WARPS 32

// ends[k, block] = entries of `table` (volume, out_count) that are no -1 up to and with a block's.
extern "C" __global__ void tally_pairs(const int* table, i64* ends, u32* finished,
                                       i64 out_count) {
    const i64 n = thread_index();
    const int found =
        __syncthreads_count(n < out_count && table[blockIdx.y * out_count + n] >= 0);
    if (threadIdx.x == 0) ends[(i64)blockIdx.y * gridDim.x + blockIdx.x] = found;
    if (is_last(finished, gridDim.x * gridDim.y))
        running_sums(ends, (i64)gridDim.x * gridDim.y);
}

// The entries that are no -1, in order; `ends` are those of the same launch of tally_pairs.
extern "C" __global__ void compact_pairs(const int* table, const i64* ends, int* in_rows,
                                         int* out_rows, i64 out_count) {
    __shared__ int sums[MOST_WARPS];
    const i64 n = thread_index(), block = (i64)blockIdx.y * gridDim.x + blockIdx.x;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = n < out_count ? table[blockIdx.y * out_count + n] : -1;
    const u32 there = __ballot_sync(0xFFFFFFFFu, row >= 0);
    if (lane == 0) sums[warp] = __popc(there);
    __syncthreads();
    if (row < 0) return;
    i64 place = (block ? ends[block - 1] : 0) + __popc(there & ((1u << lane) - 1));
    for (int other = 0; other < warp; other++) place += sums[other];
    in_rows[place] = row;
    out_rows[place] = (int)n;
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
    const i64 k = first_above(starts + 1, volume, p);
    table[k * out_count + out_rows[p]] = in_rows[p];
}
