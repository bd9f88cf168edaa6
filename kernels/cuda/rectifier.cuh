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

// The gradient of element i in front of a rectifier with the results y, where `rectify` says that
// there is one.
__device__ __forceinline__ math gradient_at(const storage* dy, const storage* y, int rectify,
                                            math slope, i64 i) {
    const math gradient = widen(dy[i]);
    return rectify ? rectified_gradient(widen(y[i]), gradient, slope) : gradient;
}
