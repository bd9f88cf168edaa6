/* Runs machine code with AMX on processors without: each instruction of it traps, is decoded and
 * done by the emulation. Checks what the emulated source cannot: the instructions that the compiler
 * chose, their operands, and that memory is written before a tile reads it. */
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "amx_tiles.h"

static struct sigaction other_action;
static int64_t trapped;

/* Register 0 to 15, as instructions number them. */
static int64_t trap_register(const ucontext_t *context, int number) {
    static const int names[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return context->uc_mcontext.gregs[names[number]];
}

typedef struct {
    int64_t base, index; /* what an address is the sum of; the index is the stride of a tile */
    int has_index;
    const uint8_t *end;
} trap_address;

/* The memory operand behind a ModRM byte; `vex` holds the inverted high bits of registers. */
static trap_address trap_decode(const ucontext_t *context, const uint8_t *modrm, uint8_t vex) {
    const int mod = *modrm >> 6, extra_index = vex & 0x40 ? 0 : 8, extra_base = vex & 0x20 ? 0 : 8;
    int base = *modrm & 7, wide = mod == 2;
    trap_address found = {0, 0, 0, modrm + 1};
    if (base == 4) {
        const uint8_t sib = *found.end++;
        const int index = (sib >> 3 & 7) + extra_index;
        base = sib & 7;
        if (index != 4) {
            found.has_index = 1;
            found.index = trap_register(context, index) * (1 << (sib >> 6));
        }
    }
    if (base == 5 && mod == 0) wide = 1;
    else found.base = trap_register(context, base + extra_base);
    if (wide) {
        int32_t displacement;
        memcpy(&displacement, found.end, 4);
        found.base += displacement;
        found.end += 4;
        if (base == 5 && mod == 0 && (*modrm & 7) == 5) found.base += (int64_t)(intptr_t)found.end;
    } else if (mod == 1) found.base += (int8_t)*found.end++;
    return found;
}

static void trap_handler(int signal, siginfo_t *info, void *raw) {
    ucontext_t *context = raw;
    const uint8_t *code = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
    const uint8_t *modrm = code + 4, *end = code + 5;
    (void)info;
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || code[2] & 0x84) { /* map 2, W0, L0 */
        sigaction(signal, &other_action, 0);
        return;
    }
    const int prefix = code[2] & 3, third = ~code[2] >> 3 & 15;
    const int reg = *modrm >> 3 & 7, rm = *modrm & 7, is_register = *modrm >= 0xc0;
    const int opcode = code[3] << 4 | prefix;
    if (opcode == 0x490 && is_register && *modrm == 0xc0) tile_release();
    else if (opcode == 0x493 && is_register && rm == 0) tile_zero(reg);
    else if (opcode == 0x5c2 && is_register) tile_dot(reg, rm, third);
    else if (!is_register && (opcode == 0x490 || opcode == 0x4b3 || opcode == 0x4b2)) {
        const trap_address at = trap_decode(context, modrm, code[1]);
        end = at.end;
        if (opcode == 0x490)
            tile_config((const tile_shapes *)(intptr_t)(at.base + at.index));
        else if (tile_check(at.has_index, "a tile in memory without a stride")) {
            if (opcode == 0x4b3) tile_load(reg, (const void *)(intptr_t)at.base, at.index);
            else tile_store(reg, (void *)(intptr_t)at.base, at.index);
        }
    } else tile_check(0, "an unknown instruction");
    __atomic_add_fetch(&trapped, 1, __ATOMIC_RELAXED);
    context->uc_mcontext.gregs[REG_RIP] = (int64_t)(intptr_t)end;
}

void trap_begin(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO, .sa_sigaction = trap_handler};
    emulation_error = 0;
    trapped = 0;
    sigaction(SIGILL, &action, &other_action);
}

/* What went wrong; notes down how many instructions there were. */
const char *trap_end(int64_t *count) {
    sigaction(SIGILL, &other_action, 0);
    tile_check(!tiles_of_thread.configured, "tiles are left configured");
    *count = trapped;
    return emulation_error;
}
