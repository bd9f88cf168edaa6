// Steps of the optimizers over all parameters of one kind, one pass over parameter, gradient and
// state, in the order of operations of spconv/optim: compiled without contraction (--fmad=false) the
// results are those of NumPy to the bit, up to denormal numbers, which CuPy's options flush to zero.
//
// STORAGE is the type of the parameter, GRADIENT that of its gradient (float where a loss scaler
// has been at work on 16-bit ones); the state is of type `math`. With
// -DMASTER=1 the parameter is kept a second time in `math` precision and rounded from there.
//
// The addresses in `table` are those of data, master, gradient and state.
#include "tensors.cuh"

enum { DATA = ADDRESSES, MASTERS, GRADIENTS, STATE };

// The copy's value, unless it is not what the parameter was rounded from: somebody changed that.
__device__ __forceinline__ math parameter(const storage* data, const math* master, i64 i) {
    const math value = widen(data[i]);
    if (!MASTER) return value;
    storage rounded;
    narrow(master[i], rounded);
    return widen(rounded) == value ? master[i] : value;
}

__device__ __forceinline__ void update(storage* data, math* master, i64 i, math value) {
    if (MASTER) master[i] = value;
    narrow(value, data[i]);
}

// v = momentum v + (d + decay p); p -= lr v, or lr (d + momentum v) with nesterov. No velocity
// means no momentum.
extern "C" __global__ void sgd(const i64* table, int tensors, math lr, math momentum, math decay,
                               int nesterov) {
    const place at = find_place(table, tensors);
    const i64 i = at.element;
    if (i < 0) return;
    storage* data = row<storage>(table, tensors, DATA, at);
    math* master = row<math>(table, tensors, MASTERS, at);
    math* velocity = row<math>(table, tensors, STATE, at);
    const math value = parameter(data, master, i);
    math direction = widen(row<const GRADIENT>(table, tensors, GRADIENTS, at)[i]);
    if (decay != 0) direction = value * decay + direction;
    if (velocity) {
        const math kept = velocity[i] * momentum + direction;
        velocity[i] = kept;
        direction = nesterov ? direction + momentum * kept : kept;
    }
    update(data, master, i, value - direction * lr);
}

// Adam and AdamW. `rest1` is 1 - beta1, `correction` sqrt(1 - beta2^t), `rate` lr / (1 - beta1^t);
// `shrink` multiplies the parameter first (AdamW), `decay` times it joins the gradient (Adam).
extern "C" __global__ void adam(const i64* table, int tensors, math beta1, math rest1, math beta2,
                                math rest2, math correction, math eps, math rate, math decay,
                                math shrink) {
    const place at = find_place(table, tensors);
    const i64 i = at.element;
    if (i < 0) return;
    storage* data = row<storage>(table, tensors, DATA, at);
    math* master = row<math>(table, tensors, MASTERS, at);
    math* mean = row<math>(table, tensors, STATE, at);
    math* square = row<math>(table, tensors, STATE + 1, at);
    math value = parameter(data, master, i) * shrink;
    math gradient = widen(row<const GRADIENT>(table, tensors, GRADIENTS, at)[i]);
    if (decay != 0) gradient = gradient + decay * value;
    const math first = mean[i] * beta1 + gradient * rest1;
    const math second = square[i] * beta2 + gradient * gradient * rest2;
    mean[i] = first;
    square[i] = second;
    value -= first / (square_root(second) / correction + eps) * rate;
    update(data, master, i, value);
}
