// SiLU and GELU: x times a share of it, elementwise on contiguous arrays.
#include "storage.cuh"

// The share, a logistic function or a normal distribution's, and its slope.
struct gate_at {
    math share, slope;
};

__device__ __forceinline__ gate_at gate_of(math x, int normal) {
    gate_at gate;
    if (normal) {
        gate.share = (math)0.5 * complementary_error((math)-0.7071067811865476 * x);
        gate.slope = exponential((math)-0.5 * x * x) * (math)0.3989422804014327;
    } else {
        // exp does not overflow, and small shares keep their digits.
        const math small = exponential(x < 0 ? x : -x);
        const math scale = 1 / (1 + small);
        gate.share = (x < 0 ? small : 1) * scale;
        gate.slope = small * scale * scale;
    }
    return gate;
}

// Nothing changes beyond there, and infinity times 0 would be NaN. NaN stays.
__device__ __forceinline__ math far_of(int normal) { return normal ? (math)40 : (math)800; }
__device__ __forceinline__ math at_least(math x, math low) { return x < low ? low : x; }

extern "C" __global__ void gate(const storage* x, int normal, storage* y, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    const math value = widen(x[i]);
    narrow(at_least(value, -far_of(normal)) * gate_of(value, normal).share, y[i]);
}

extern "C" __global__ void gate_gradient(const storage* x, const storage* dy, int normal,
                                         storage* dx, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    const math far = far_of(normal), value = at_least(widen(x[i]), -far);
    const math near = value > far ? far : value;
    const gate_at gate = gate_of(near, normal);
    narrow(widen(dy[i]) * (gate.share + near * gate.slope), dx[i]);
}
