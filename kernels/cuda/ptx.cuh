// The only file with assembly: one function per PTX instruction. Under SPCONV_EMULATION the same
// functions are those of tests/cuda/emulation/ptx_emulation.h. Needs sm_80 or later.
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;

#ifndef SPCONV_EMULATION

#define PTX __device__ __forceinline__

// Shared memory is addressed by 32-bit offsets in its own window.
PTX u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Copies to shared memory that run in the background: `bytes` from global memory (0 for none;
// the address must be aligned all the same), zeros after them.
PTX void copy_async_16(u32 to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}
PTX void copy_async_8(u32 to, const void* from, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;\n" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}
PTX void copy_async_4(u32 to, const void* from, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}
PTX void copy_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

// Waits until at most PENDING of this thread's latest groups are under way.
template <int PENDING> PTX void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(PENDING) : "memory");
}

// Four 8x8 matrices of 16-bit elements; lane l names the row l % 8 of matrix l / 8.
PTX void load_matrices(u32 (&r)[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
PTX void load_matrices_transposed(u32 (&r)[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
PTX void store_shared(u32 address, u32 bits) {
    asm volatile("st.shared.b32 [%0], %1;\n" ::"r"(address), "r"(bits) : "memory");
}
PTX u32 load_shared(u32 address) {
    u32 bits;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(bits) : "r"(address) : "memory");
    return bits;
}

// d += a b on tensor cores, float32 accumulation: 16x16 by 16x8 (16-bit), 16x8 by 8x8 (tf32).
#define PTX_MMA(name, shape)                                                                  \
    PTX void name(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {                      \
        asm volatile("mma.sync.aligned." shape                                                \
                     " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"               \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                         \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));     \
    }
PTX_MMA(mma_float16, "m16n8k16.row.col.f32.f16.f16.f32")
PTX_MMA(mma_bfloat16, "m16n8k16.row.col.f32.bf16.bf16.f32")
PTX_MMA(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")

// Conversions, to nearest.
PTX float half_to_float(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
PTX u16 float_to_half(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
PTX u32 float_to_tf32(float x) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

#endif
