// Copies of whole rows by a list of row numbers, all of them in range.
#include "storage.cuh"

// y[i] = x[rows[i]]
extern "C" __global__ void gather_rows(const storage* x, const int* rows, storage* y, i64 count,
                                       i64 channels) {
    const i64 i = thread_index();
    if (i < count * channels) y[i] = x[rows[i / channels] * channels + i % channels];
}

// y[rows[i]] = x[i]; no row twice.
extern "C" __global__ void scatter_rows(const storage* x, const int* rows, storage* y, i64 count,
                                        i64 channels) {
    const i64 i = thread_index();
    if (i < count * channels) y[rows[i / channels] * channels + i % channels] = x[i];
}
