// One fiber per CUDA thread, one block at a time, on one CPU thread.
//
// A warp runs as far as it can (to a block barrier or its end) before the next one starts, so a
// missing barrier shows as a read of poison or of stale data. Blocks, warps and lanes take turns
// in forward, reverse or random order. Shared memory is poisoned (0xFF: NaN in every float
// format) at the start of every block.
//
// Compiled once, with tensor_core.cpp, and linked into the library of every kernel.
#include "scheduler.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulation {

constexpr size_t STACK_BYTES = 128 * 1024;
constexpr size_t MAX_STATIC_SHARED = 49152;

__attribute__((aligned(1024))) unsigned char dynamic_shared[MAX_DYNAMIC_SHARED];
__attribute__((section(EMULATION_SHARED_SECTION), used)) static unsigned char section_exists[16];

Launch launch;
Thread* current;
uint3 block_index;
int barrier_sum;
static std::vector<Fiber> fibers;
static uint64_t random_state;
static char message[512];
static jmp_buf failure;
static void (*kernel_body)(void**);
static void** kernel_arguments;

static uint64_t random_bits() {  // splitmix64
    uint64_t z = (random_state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static void switch_to_main();

// Ends the launch: from a fiber the main stack is resumed first, its frame holds the jump target.
static bool failed, on_fiber;
void fail(const char* format, ...) {
    char text[384];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    Thread* f = current;
    snprintf(message, sizeof message, "%s (block %u,%u,%u thread %u,%u,%u)", text, block_index.x,
             block_index.y, block_index.z, f ? f->thread.x : 0, f ? f->thread.y : 0,
             f ? f->thread.z : 0);
    if (on_fiber) {
        failed = true;
        switch_to_main();
    }
    longjmp(failure, 1);
}

#if defined(__x86_64__)
extern "C" void emulation_switch(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
.text
.globl emulation_switch
.hidden emulation_switch
.type emulation_switch, @function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static void* main_stack_pointer;
static void switch_to_main() { emulation_switch(&running()->stack_pointer, main_stack_pointer); }
static void switch_to(Fiber* f) { emulation_switch(&main_stack_pointer, f->stack_pointer); }
#else
static ucontext_t main_context;
static void switch_to_main() { swapcontext(&running()->context, &main_context); }
static void switch_to(Fiber* f) { swapcontext(&main_context, &f->context); }
#endif

static void fiber_main() {
    kernel_body(kernel_arguments);
    running()->state = DONE;
    switch_to_main();
    abort();
}

static void start(Fiber* f) {
    f->state = READY;
    f->open.clear();
    f->groups.clear();
#if defined(__x86_64__)
    void** top = (void**)((uintptr_t)(f->stack + STACK_BYTES) & ~(uintptr_t)15);
    *--top = nullptr;  // keeps the stack aligned as after a call
    *--top = (void*)fiber_main;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    f->stack_pointer = top;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = nullptr;
    makecontext(&f->context, (void (*)())fiber_main, 0);
#endif
}

static void wait(State state) {
    running()->state = state;
    switch_to_main();
}

void wait_at_barrier() { wait(AT_BARRIER); }

uint64_t collective(void (*run)(Thread**, uint32_t), uint32_t mask) {
    current->call.run = run;
    current->call.mask = mask;
    wait(AT_COLLECTIVE);
    return current->call.out[0];
}

static void resume(Fiber* f) {
    current = f;
    on_fiber = true;
    switch_to(f);
    on_fiber = false;
    if (failed) longjmp(failure, 1);
    current = nullptr;
}

// 0..count-1 in the order of the launch.
static void take_order(std::vector<int>& order, int count) {
    order.resize(count);
    for (int i = 0; i < count; i++) order[i] = launch.order == 1 ? count - 1 - i : i;
    if (launch.order == 2)
        for (int i = count - 1; i > 0; i--) std::swap(order[i], order[random_bits() % (i + 1)]);
}

static bool run_collectives(Fiber* warp, int lanes) {
    bool any = false;
    for (int lane = 0; lane < lanes; lane++) {
        Fiber* f = warp + lane;
        if (f->state != AT_COLLECTIVE) continue;
        uint32_t mask = f->call.mask;
        if (!(mask >> lane & 1)) {
            current = f;
            fail("a warp-wide operation whose mask %08x lacks the calling lane", mask);
        }
        Thread* members[32] = {};
        bool complete = true;
        for (int other = 0; other < 32; other++) {
            if (!(mask >> other & 1)) continue;
            Fiber* o = other < lanes ? warp + other : nullptr;
            complete &= o && o->state == AT_COLLECTIVE && o->call.mask == mask &&
                        o->call.run == f->call.run;
            members[other] = o;
        }
        if (!complete) continue;
        current = f;
        f->call.run(members, mask);
        current = nullptr;
        for (Thread* member : members)
            if (member) ((Fiber*)member)->state = READY;
        any = true;
    }
    return any;
}

static bool run_warp(Fiber* warp, int lanes) {
    static std::vector<int> order;
    bool progress = false;
    for (;;) {
        bool ran = false;
        take_order(order, lanes);
        for (int lane : order)
            if (warp[lane].state == READY) {
                resume(warp + lane);
                ran = true;
            }
        ran |= run_collectives(warp, lanes);
        if (!ran) return progress;
        progress = true;
    }
}

static void release_barrier(int count) {
    barrier_sum = 0;
    for (int i = 0; i < count; i++)
        if (fibers[i].state == AT_BARRIER) {
            barrier_sum += fibers[i].predicate;
            fibers[i].state = READY;
        }
}

static void run_block(int count) {
    memset(dynamic_shared, POISON, launch.shared_bytes);
    memset(__start_emulated_shared, POISON, __stop_emulated_shared - __start_emulated_shared);
    for (int i = 0; i < count; i++) {
        Fiber* f = &fibers[i];
        unsigned bx = launch.block[0], by = launch.block[1];
        f->thread = {i % bx, i / bx % by, i / (bx * by)};
        f->lane = i & 31;
        start(f);
    }
    std::vector<int> warps;
    for (;;) {
        bool progress = false;
        take_order(warps, (count + 31) / 32);
        for (int w : warps) {
            int lanes = count - w * 32 < 32 ? count - w * 32 : 32;
            progress |= run_warp(&fibers[w * 32], lanes);
        }
        int live = 0, waiting = 0;
        Fiber* stuck = nullptr;
        for (int i = 0; i < count; i++) {
            live += fibers[i].state != DONE;
            waiting += fibers[i].state == AT_BARRIER;
            if (fibers[i].state == AT_COLLECTIVE) stuck = &fibers[i];
        }
        if (!live) break;
        if (waiting == live) {
            release_barrier(count);
        } else if (!progress) {
            current = stuck;
            fail("deadlock: a warp-wide operation (mask %08x) waits for lanes that have ended or "
                 "wait elsewhere", stuck->call.mask);
        }
    }
    for (int i = 0; i < count; i++) {
        current = &fibers[i];
        bool pending = !fibers[i].open.empty();
        for (auto& group : fibers[i].groups) pending |= !group.empty();
        if (pending) fail("the thread ended with asynchronous copies that it did not wait for");
    }
    current = nullptr;
}

const char* run(const Launch* config, void (*body)(void**), void** arguments) {
    launch = *config;
    kernel_body = body;
    kernel_arguments = arguments;
    random_state = launch.seed;
    failed = on_fiber = false;
    current = nullptr;
    block_index = {0, 0, 0};
    if (setjmp(failure)) return message;
    uint64_t count = (uint64_t)launch.block[0] * launch.block[1] * launch.block[2];
    if (count < 1 || count > 1024) fail("a block of %llu threads", (unsigned long long)count);
    if (launch.grid[1] > 65535 || launch.grid[2] > 65535) fail("grid y and z end at 65535");
    if (launch.shared_bytes > MAX_DYNAMIC_SHARED) fail("more than 227 KB of dynamic shared memory");
    if ((size_t)(__stop_emulated_shared - __start_emulated_shared) > MAX_STATIC_SHARED + 16)
        fail("more than 48 KB of static shared memory");
    while (fibers.size() < count) {
        fibers.emplace_back();
        fibers.back().stack = (char*)malloc(STACK_BYTES);
    }
    std::vector<int> blocks;
    take_order(blocks, (int)(launch.grid[0] * launch.grid[1] * launch.grid[2]));
    for (int b : blocks) {
        unsigned gx = launch.grid[0], gy = launch.grid[1];
        block_index = {b % gx, b / gx % gy, b / (gx * gy)};
        run_block((int)count);
    }
    return nullptr;
}

}  // namespace emulation
