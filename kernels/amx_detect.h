/* Does this process have AMX? Asks the processor, the system, and Linux for permission. */
#ifndef SPCONV_AMX_DETECT_H
#define SPCONV_AMX_DETECT_H
#include "amx_tiles.h"

enum {
    AMX_USABLE = 0,
    AMX_NOT_COMPILED = 1,
    AMX_NO_PROCESSOR = 2,
    AMX_NO_SYSTEM = 3,
    AMX_NO_PERMISSION = 4,
};

#if defined(SPCONV_AMX) && !defined(SPCONV_AMX_EMULATED)
#include <cpuid.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One of the above; `error` is errno where permission was refused. Permission is the process's. */
static int amx_state(int *error) {
    const unsigned vectors = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* AVX-512 F, DQ, BW, VL */
    const unsigned tiles = 1u << 22 | 1u << 24;                         /* AMX-BF16, AMX-TILE */
    const unsigned xsave = 1u << 27;
    /* SSE, AVX, AVX-512 masks and registers, tile configuration and data */
    const unsigned saved = 1u << 1 | 1u << 2 | 7u << 5 | 3u << 17;
    const unsigned brain_floats = 1u << 5;                              /* AVX-512 BF16 */
    unsigned a, b, c, d, low, high;
    *error = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return AMX_NO_PROCESSOR;
    const int has_xgetbv = (c & xsave) != 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & vectors) != vectors ||
        (d & tiles) != tiles)
        return AMX_NO_PROCESSOR;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & brain_floats)) return AMX_NO_PROCESSOR;
    if (!has_xgetbv) return AMX_NO_SYSTEM;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & saved) != saved) return AMX_NO_SYSTEM;
    /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) {
        *error = errno;
        return AMX_NO_PERMISSION;
    }
    return AMX_USABLE;
}
#else
static int amx_state(int *error) {
    *error = 0;
#ifdef SPCONV_AMX
    return AMX_USABLE;
#else
    return AMX_NOT_COMPILED;
#endif
}
#endif
#endif
