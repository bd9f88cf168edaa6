// Adds the partial sums of weight_gradient.cu, in the order of the tasks.
//
// Arguments
//   partials     math (num_tasks, size)      math: double for double, otherwise float
//   result       STORAGE (volume, size)
//   offset_tasks int (volume + 1)            tasks of each kernel offset; none gives zeros
//   size         i64                         cin * groups * cout
// Grid (ceil(size / 256), volume), block 256. Macros: STORAGE (storage.cuh).
#include "storage.cuh"

extern "C" __global__ void __launch_bounds__(256)
reduce_partials(const math* __restrict__ partials, STORAGE* __restrict__ result,
                const int* __restrict__ offset_tasks, i64 size) {
    const i64 at = thread_index();
    if (at >= size) return;
    math sum = 0;
    for (int task = offset_tasks[blockIdx.y]; task < offset_tasks[blockIdx.y + 1]; task++)
        sum += partials[task * size + at];
    narrow(sum, result[blockIdx.y * size + at]);
}
