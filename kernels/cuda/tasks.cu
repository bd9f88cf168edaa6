// The tasks of a weight gradient: split_pairs of spconv/ops/cuda/tiles.py, by one block.
//
// Arguments
//   counts         int (volume)           pairs of each kernel offset
//   offset_starts  i64 (volume + 1)       scratch
//   offset_tasks   int (volume + 1)       where the tasks of each offset start
//   task_starts    i64 (num_tasks + 1)    where the pairs of each task start
//   longest        i64                    pairs that a task has at most
#include "last_block.cuh"

extern "C" __global__ void split_pairs(const int* counts, i64* offset_starts, int* offset_tasks,
                                       i64* task_starts, int volume, int num_tasks, i64 longest) {
    for (int k = threadIdx.x; k < volume; k += blockDim.x) {
        offset_starts[k + 1] = counts[k];
        offset_tasks[k + 1] = (int)((counts[k] + longest - 1) / longest);
    }
    if (threadIdx.x == 0) offset_starts[0] = offset_tasks[0] = 0;
    __syncthreads();
    running_sums(offset_starts + 1, volume);
    running_sums(offset_tasks + 1, volume);
    for (int task = threadIdx.x; task < num_tasks; task += blockDim.x) {
        const int k = first_above(offset_tasks + 1, volume, task), first = offset_tasks[k];
        const i64 pairs = counts[k];
        task_starts[task] =
            offset_starts[k] + pairs * (task - first) / (offset_tasks[k + 1] - first);
    }
    if (threadIdx.x == 0) task_starts[num_tasks] = offset_starts[volume];
}
