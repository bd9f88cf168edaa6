// Steps of the optimizers, one pass over parameter, gradient and state, in the order of
// operations of spconv/optim: compiled without contraction (--fmad=false) the results are those of
// NumPy to the bit, up to denormal numbers, which CuPy's options flush to zero.
//
// STORAGE is the type of the parameter, GRADIENT that of its gradient (float where a loss scaler
// has been at work on 16-bit ones); the state is of type `math`. With
// -DMASTER=1 the parameter is kept a second time in `math` precision and rounded from there.
#include "storage.cuh"

#if MASTER
#define VALUE master[i]
#else
#define VALUE data[i]
#endif

// v = momentum v + (d + decay p); p -= lr v, or lr (d + momentum v) with nesterov. A null
// velocity means no momentum.
extern "C" __global__ void sgd(storage* data, math* master, const GRADIENT* grad, math* velocity,
                               math lr, math momentum, math decay, int nesterov, i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    const math value = VALUE;
    math direction = widen(grad[i]);
    if (decay != 0) direction = value * decay + direction;
    if (velocity) {
        const math kept = velocity[i] * momentum + direction;
        velocity[i] = kept;
        direction = nesterov ? direction + momentum * kept : kept;
    }
    const math result = value - direction * lr;
    VALUE = result;
#if MASTER
    narrow(result, data[i]);
#endif
}

// Adam and AdamW. `rest1` is 1 - beta1, `correction` sqrt(1 - beta2^t), `rate` lr / (1 - beta1^t);
// `shrink` multiplies the parameter first (AdamW), `decay` times it joins the gradient (Adam).
extern "C" __global__ void adam(storage* data, math* master, const GRADIENT* grad, math* mean,
                                math* square, math beta1, math rest1, math beta2, math rest2,
                                math correction, math eps, math rate, math decay, math shrink,
                                i64 count) {
    const i64 i = thread_index();
    if (i >= count) return;
    math value = VALUE * shrink;
    math gradient = widen(grad[i]);
    if (decay != 0) gradient = gradient + decay * value;
    const math first = mean[i] * beta1 + gradient * rest1;
    const math second = square[i] * beta2 + gradient * gradient * rest2;
    mean[i] = first;
    square[i] = second;
    value -= first / (square_root(second) / correction + eps) * rate;
    VALUE = value;
#if MASTER
    narrow(value, data[i]);
#endif
}
