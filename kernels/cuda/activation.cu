// Rectifiers and dropout, elementwise on contiguous arrays.
#include "rectifier.cuh"

extern "C" __global__ void leaky_relu(const storage* x, math slope, storage* y, i64 count) {
    const i64 i = thread_index();
    if (i < count) narrow(rectified(widen(x[i]), slope), y[i]);
}

// Of a sum, rounded as it would be kept.
extern "C" __global__ void add_rectified(const storage* a, const storage* b, math slope,
                                         storage* y, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    storage sum;
    narrow(widen(a[i]) + widen(b[i]), sum);
    narrow(rectified(widen(sum), slope), y[i]);
}

extern "C" __global__ void leaky_relu_gradient(const storage* y, const storage* dy, math slope,
                                               storage* dx, i64 count) {
    const i64 i = thread_index();
    if (i < count) narrow(rectified_gradient(widen(y[i]), widen(dy[i]), slope), dx[i]);
}

// A well mixed 32-bit integer (Wellons 2018, "lowbias32").
__device__ __forceinline__ unsigned mixed(unsigned x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

// scale * x where the number drawn for the position reaches the threshold, else 0.
extern "C" __global__ void dropout(const storage* x, unsigned key, unsigned salt, i64 threshold,
                                   math scale, storage* y, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    const unsigned high = (unsigned)(i >> 32) * 0x9e3779b9u;
    const unsigned drawn = mixed(mixed((unsigned)i ^ key) + (salt + high));
    narrow(drawn >= threshold ? widen(x[i]) * scale : (math)0, y[i]);
}
