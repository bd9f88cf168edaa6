// What happens to a sum on its way to memory: y = activation(sum + init[column] + residual).
#pragma once
#include "storage.cuh"

struct Output {
    storage* y;               // (num_out, stride)
    const math* init;         // (stride,) or null
    const storage* residual;  // (num_out, stride) or null
    math slope;               // of values below zero; 1 for no activation
    int stride;

    __device__ __forceinline__ void write(int row, int column, math sum) const {
        const i64 at = (i64)row * stride + column;
        if (init) sum += init[column];
        if (residual) sum += widen(residual[at]);
        if (sum < 0) sum = slope == 0 ? 0 : slope * sum;  // 0 * -inf would be NaN
        narrow(sum, y[at]);
    }
};
