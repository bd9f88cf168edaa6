// What the scheduler keeps of every thread; kernels do not see it.
#pragma once
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "runtime.h"

namespace emulation {

constexpr unsigned char POISON = 0xFF;

struct Copy {
    unsigned char* to;
    const void* from;
    int bytes, zeros;
};

enum State { READY, AT_BARRIER, AT_COLLECTIVE, DONE };

struct Fiber : Thread {
    void* stack_pointer = nullptr;
    char* stack = nullptr;
    State state = DONE;
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
#if !defined(__x86_64__)
    ucontext_t context;
#endif
};

inline Fiber* running() { return (Fiber*)current; }

}  // namespace emulation
