// What a kernel sees of the scheduler in runtime.cpp: its thread, its block, and ways to wait.
//
// No header of the standard library: dozens of kernels are compiled against this one, and reading
// <vector> would take longer than most of them.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 {
    unsigned x, y, z;
};

#define EMULATION_SHARED_SECTION "emulated_shared"
extern "C" {
extern unsigned char __start_emulated_shared[] __attribute__((visibility("hidden")));
extern unsigned char __stop_emulated_shared[] __attribute__((visibility("hidden")));
}

namespace emulation {

struct Range {
    const unsigned char* begin;
    const unsigned char* end;
};

struct Launch {
    unsigned grid[3], block[3];
    unsigned order, num_ranges;  // order: 0 forward, 1 reverse, 2 random
    uint64_t truncating;         // whether tensor cores add as a device's do
    uint64_t shared_bytes, seed;
    const Range* ranges;  // device arrays, for checks of asynchronous copies
};

// `out[lane] = f(in of all lanes)`, run once all lanes named by the mask have arrived.
struct Collective {
    void (*run)(struct Thread** lanes, uint32_t mask);
    uint32_t mask;
    uint64_t in[12], out[4];
};

struct Thread {
    uint3 thread;
    int lane;
    int predicate;  // of a block barrier
    Collective call;
};

constexpr size_t MAX_DYNAMIC_SHARED = 232448;  // 227 KB, sm_90

extern unsigned char dynamic_shared[MAX_DYNAMIC_SHARED];
extern Launch launch;
extern Thread* current;
extern uint3 block_index;
extern int barrier_sum;  // predicates of the last block barrier

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...);
void wait_at_barrier();
uint64_t collective(void (*run)(Thread**, uint32_t), uint32_t mask);  // out[0]
const char* run(const Launch* config, void (*body)(void**), void** arguments);

}  // namespace emulation
