// Several arrays in one launch. `table` has rows of `tensors` entries: the blocks up to the end of an
// array, its size, and addresses, 0 for what there is not.
#pragma once
#include "storage.cuh"

enum { ENDS, SIZES, ADDRESSES };

struct place {
    int tensor;
    i64 element;  // or -1: the block reaches over the end
};

__device__ __forceinline__ place find_place(const i64* table, int tensors) {
    const int tensor = first_above(table, tensors, blockIdx.x);
    const i64 block = blockIdx.x - (tensor ? table[tensor - 1] : 0);
    const i64 element = block * blockDim.x + threadIdx.x;
    return {tensor, element < table[SIZES * tensors + tensor] ? element : -1};
}

template <typename T>
__device__ __forceinline__ T* row(const i64* table, int tensors, int kind, place at) {
    return (T*)table[kind * tensors + at.tensor];
}
