// Rectifiers, elementwise on contiguous arrays.
#include "storage.cuh"

// x where positive, else slope * x; with slope 0 negative infinity gives 0, not NaN.
extern "C" __global__ void leaky_relu(const storage* x, math slope, storage* y, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    const math value = widen(x[i]);
    if (slope == 0)
        narrow(value < 0 ? (math)0 : value, y[i]);
    else
        narrow(value > 0 ? value : slope * value, y[i]);
}

extern "C" __global__ void leaky_relu_gradient(const storage* y, const storage* dy, math slope,
                                               storage* dx, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    const math gradient = widen(dy[i]);
    narrow(widen(y[i]) > 0 ? gradient : slope * gradient, dx[i]);
}
