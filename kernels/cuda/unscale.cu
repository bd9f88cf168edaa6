// Gradients of a scaled loss, divided by the scale, of all parameters of one kind.
//
// The addresses in `table` are those of the gradients, of type STORAGE, and of their quotients, of
// type `math`; `*overflow` becomes 1 if one of them is not finite, and is left alone otherwise.
#include "tensors.cuh"

extern "C" __global__ void unscale(const i64* table, int tensors, math scale, int* overflow) {
    const place at = find_place(table, tensors);
    if (at.element < 0) return;
    const storage* gradients = row<const storage>(table, tensors, ADDRESSES, at);
    const math value = widen(gradients[at.element]) / scale;
    row<math>(table, tensors, ADDRESSES + 1, at)[at.element] = value;
    if (value - value != 0) *overflow = 1;  // infinite or no number
}
