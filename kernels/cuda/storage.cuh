// What every elementwise kernel shares: the storage type and the type it computes in.
//
// STORAGE is float, double, float16 or bfloat16 (-DSTORAGE=...), the type of arrays in memory;
// `math` is double for double and float for the others. Values are widened when they are read and
// rounded once when they are written. Indices are 64-bit: sites x channels passes 2^31.
#pragma once
#include "ptx.cuh"

struct float16 {
    unsigned short bits;
};
struct bfloat16 {
    unsigned short bits;
};

template <class T> struct math_of {
    typedef float type;
};
template <> struct math_of<double> {
    typedef double type;
};

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(float16 x) { return half_to_float(x.bits); }
__device__ __forceinline__ float widen(bfloat16 x) {
    return __uint_as_float((unsigned)x.bits << 16);
}

// To nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ void narrow(float x, float& y) { y = x; }
__device__ __forceinline__ void narrow(double x, float& y) { y = (float)x; }
__device__ __forceinline__ void narrow(double x, double& y) { y = x; }
__device__ __forceinline__ void narrow(float x, float16& y) { y.bits = float_to_half(x); }
__device__ __forceinline__ void narrow(double x, float16& y) { y.bits = float_to_half((float)x); }
__device__ __forceinline__ void narrow(float x, bfloat16& y) {
    const unsigned bits = __float_as_uint(x);
    y.bits = (unsigned short)(x == x ? (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16 : 0x7FFFu);
}
__device__ __forceinline__ void narrow(double x, bfloat16& y) { narrow((float)x, y); }

// By names of their own: sqrt(float) of C is a double.
__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return sqrt(x); }
__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float complementary_error(float x) { return erfcf(x); }
__device__ __forceinline__ double complementary_error(double x) { return erfc(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }

#ifdef STORAGE
typedef STORAGE storage;
typedef math_of<STORAGE>::type math;
#ifndef VECTOR  // the type of weights and biases of normalizations
#define VECTOR math
#endif
#endif

// a / b for a >= 0, b > 0. Most pairs fit in 32 bits, which a device divides several times faster.
__device__ __forceinline__ i64 quotient(i64 a, i64 b) {
    return (unsigned long long)(a | b) >> 32 ? a / b : (i64)((unsigned)a / (unsigned)b);
}

// Index of this thread in a one-dimensional launch.
__device__ __forceinline__ i64 thread_index() {
    return (i64)blockIdx.x * blockDim.x + threadIdx.x;
}

// The first of `count` ascending ends that is greater than `value`; the last one is.
template <class T>
__device__ __forceinline__ int first_above(const T* ends, int count, i64 value) {
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high) >> 1;
        if (ends[middle] <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
