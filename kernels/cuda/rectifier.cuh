// The leaky rectifier of one value, and of its gradient.
#pragma once
#include "storage.cuh"

// With slope 0 infinity gives 0, not NaN.
__device__ __forceinline__ math rectified(math value, math slope) {
    if (value < 0) value = slope == 0 ? 0 : slope * value;
    return value;
}

__device__ __forceinline__ math rectified_gradient(math result, math gradient, math slope) {
    if (slope == 0) return result > 0 ? gradient : (math)0;
    return result > 0 ? gradient : slope * gradient;
}
