// The functions of kernels/cuda/ptx.cuh, on the CPU.
#pragma once
#include "tensor_core.h"

typedef unsigned short u16;
typedef unsigned int u32;

namespace emulation {
constexpr u32 STATIC_WINDOW = 0x100000;  // where static shared memory begins

inline unsigned char* shared_pointer(u32 address, size_t bytes) {
    unsigned char* p = address < STATIC_WINDOW ? dynamic_shared + address
                                               : __start_emulated_shared + (address - STATIC_WINDOW);
    check_shared(p, bytes);
    return p;
}
}  // namespace emulation

inline u32 shared_address(const void* pointer) {
    const unsigned char* p = (const unsigned char*)pointer;
    emulation::check_shared(p, 1);
    bool dynamic = p >= emulation::dynamic_shared &&
                   p < emulation::dynamic_shared + emulation::MAX_DYNAMIC_SHARED;
    return dynamic ? (u32)(p - emulation::dynamic_shared)
                   : emulation::STATIC_WINDOW + (u32)(p - __start_emulated_shared);
}

inline void copy_async_16(u32 to, const void* from, int bytes) {
    emulation::copy_async(emulation::shared_pointer(to, 16), from, 16, bytes);
}
inline void copy_async_8(u32 to, const void* from, int bytes) {
    emulation::copy_async(emulation::shared_pointer(to, 8), from, 8, bytes);
}
inline void copy_async_4(u32 to, const void* from, int bytes) {
    emulation::copy_async(emulation::shared_pointer(to, 4), from, 4, bytes);
}
inline void copy_async_commit() { emulation::copy_commit(); }
template <int PENDING> void copy_async_wait() { emulation::copy_wait(PENDING); }

namespace emulation {
inline void load_matrices(u32 (&r)[4], u32 row, void (*run)(Thread**, uint32_t)) {
    if (row % 16) fail("ldmatrix: the row is not aligned to 16 bytes");
    current->call.in[0] = (uint64_t)shared_pointer(row, 16);
    collective(run, ~0u);
    for (int i = 0; i < 4; i++) r[i] = (u32)current->call.out[i];
}

inline void mma(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2],
                void (*run)(Thread**, uint32_t)) {
    Collective& call = current->call;
    for (int i = 0; i < 4; i++) call.in[i] = a[i], call.in[6 + i] = __float_as_uint(d[i]);
    for (int i = 0; i < 2; i++) call.in[4 + i] = b[i];
    collective(run, ~0u);
    for (int i = 0; i < 4; i++) d[i] = __uint_as_float((u32)current->call.out[i]);
}
}  // namespace emulation

inline void load_matrices(u32 (&r)[4], u32 row) {
    emulation::load_matrices(r, row, emulation::run_ldmatrix);
}
inline void load_matrices_transposed(u32 (&r)[4], u32 row) {
    emulation::load_matrices(r, row, emulation::run_ldmatrix_transposed);
}
inline void store_shared(u32 address, u32 bits) {
    if (address % 4) emulation::fail("st.shared: the address is not aligned to 4 bytes");
    *(u32*)emulation::shared_pointer(address, 4) = bits;
}
inline u32 load_shared(u32 address) {
    if (address % 4) emulation::fail("ld.shared: the address is not aligned to 4 bytes");
    return *(const u32*)emulation::shared_pointer(address, 4);
}
inline void mma_float16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emulation::mma(d, a, b, emulation::run_mma_float16);
}
inline void mma_bfloat16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emulation::mma(d, a, b, emulation::run_mma_bfloat16);
}
inline void mma_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emulation::mma(d, a, b, emulation::run_mma_tf32);
}

using emulation::float_to_half;
using emulation::float_to_tf32;
using emulation::half_to_float;
