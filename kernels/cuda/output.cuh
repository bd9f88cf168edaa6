// What happens to a sum on its way to memory: y = activation(sum + init[column] + residual).
// OUTPUT is the type of y and residual: STORAGE, unless it is given (float beside bfloat16).
#pragma once
#include "rectifier.cuh"

#ifndef OUTPUT
#define OUTPUT STORAGE
#endif

struct __align__(2 * sizeof(OUTPUT)) Two {
    OUTPUT first, second;
};

struct Output {
    OUTPUT* y;                // (num_out, stride), aligned to two elements
    const math* init;         // (stride,) or null
    const OUTPUT* residual;   // (num_out, stride) or null
    math slope;               // of values below zero; 1 for no activation
    int stride;

    __device__ __forceinline__ math finish(i64 at, int column, math sum) const {
        if (init) sum += init[column];
        if (residual) sum += widen(residual[at]);
        return rectified(sum, slope);
    }

    __device__ __forceinline__ void write(int row, int column, math sum) const {
        const i64 at = (i64)row * stride + column;
        narrow(finish(at, column, sum), y[at]);
    }

    // Columns `column` and `column` + 1; both even numbers: `column` and `stride`.
    __device__ __forceinline__ void write_two(int row, int column, math first, math second) const {
        const i64 at = (i64)row * stride + column;
        Two two;
        narrow(finish(at, column, first), two.first);
        narrow(finish(at + 1, column + 1, second), two.second);
        *(Two*)(y + at) = two;
    }
};
