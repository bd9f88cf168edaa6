// What happens to a sum, which has its init[column] already, on its way to memory: y =
// activation(sum + residual). OUTPUT is the type of y and residual: STORAGE, unless it is given
// (float beside bfloat16).
#pragma once
#include "rectifier.cuh"

#ifndef OUTPUT
#define OUTPUT STORAGE
#endif

struct __align__(2 * sizeof(OUTPUT)) Two {
    OUTPUT first, second;
};

struct Output {
    OUTPUT* y;               // aligned to two elements
    const OUTPUT* residual;  // as y, or null
    math slope;              // of values below zero; 1 for no activation
    int stride;              // elements of a row

    __device__ __forceinline__ bool plain() const { return !residual && slope == 1; }

    template <bool PLAIN> __device__ __forceinline__ math finish(i64 at, math sum) const {
        if (PLAIN) return sum;
        if (residual) sum += widen(residual[at]);
        return rectified(sum, slope);
    }

    // PLAIN: nothing is to be done but storing.
    template <bool PLAIN = false> __device__ __forceinline__ void write(i64 at, math sum) const {
        narrow(finish<PLAIN>(at, sum), y[at]);
    }

    // Elements `at`, an even number, and at + 1.
    template <bool PLAIN = false>
    __device__ __forceinline__ void write_two(i64 at, math first, math second) const {
        Two two;
        narrow(finish<PLAIN>(at, first), two.first);
        narrow(finish<PLAIN>(at + 1, second), two.second);
        *(Two*)(y + at) = two;
    }
};
