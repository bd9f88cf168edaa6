// Rounds or widens an array: y[i] = x[i] in another storage format.
//
// Macros: STORAGE, the type of y, and FROM, that of x (storage.cuh). One thread for each element.
#include "storage.cuh"

extern "C" __global__ void convert(const FROM* x, storage* y, i64 count) {
    const i64 i = thread_index();
    if (i < count) narrow(widen(x[i]), y[i]);
}
