// What a CUDA source may use without any header: qualifiers, indices, barriers, warp operations,
// atomics, vector types and arithmetic.
#pragma once
#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section(EMULATION_SHARED_SECTION)))

#define threadIdx (emulation::current->thread)
#define blockIdx (emulation::block_index)
#define blockDim (*(const uint3*)emulation::launch.block)
#define gridDim (*(const uint3*)emulation::launch.grid)
#define warpSize 32

// Vector types with the alignment of CUDA's.
#define EMULATED_VECTOR2(name, type)                                \
    struct alignas(2 * sizeof(type)) name {                         \
        type x, y;                                                  \
    };                                                              \
    inline name make_##name(type x, type y) { return {x, y}; }
#define EMULATED_VECTOR4(name, type)                                \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name { \
        type x, y, z, w;                                            \
    };                                                              \
    inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATED_VECTOR2(char2, signed char)
EMULATED_VECTOR2(uchar2, unsigned char)
EMULATED_VECTOR2(short2, short)
EMULATED_VECTOR2(ushort2, unsigned short)
EMULATED_VECTOR2(int2, int)
EMULATED_VECTOR2(uint2, unsigned)
EMULATED_VECTOR2(longlong2, long long)
EMULATED_VECTOR2(ulonglong2, unsigned long long)
EMULATED_VECTOR2(float2, float)
EMULATED_VECTOR2(double2, double)
EMULATED_VECTOR4(uchar4, unsigned char)
EMULATED_VECTOR4(short4, short)
EMULATED_VECTOR4(ushort4, unsigned short)
EMULATED_VECTOR4(int4, int)
EMULATED_VECTOR4(uint4, unsigned)
EMULATED_VECTOR4(float4, float)
EMULATED_VECTOR4(double4, double)

// Block barriers.
inline int emulated_barrier(int predicate) {
    emulation::current->predicate = predicate != 0;
    emulation::wait_at_barrier();
    return emulation::barrier_sum;
}
inline void __syncthreads() { emulated_barrier(0); }
inline int __syncthreads_count(int predicate) { return emulated_barrier(predicate); }
inline int __syncthreads_or(int predicate) { return emulated_barrier(predicate) != 0; }
inline int __syncthreads_and(int predicate) { return emulated_barrier(!predicate) == 0; }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Warp operations: `in` and `out` of every lane, one function per operation.
namespace emulation {

template <class T> uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8, "warp operations take up to eight bytes");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T> T from_bits(uint64_t bits) {
    T value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

void run_shuffle(Thread** lanes, uint32_t mask);
void run_ballot(Thread** lanes, uint32_t mask);
void run_match(Thread** lanes, uint32_t mask);
void run_nothing(Thread** lanes, uint32_t mask);

template <class T> T shuffle(uint32_t mask, T value, int source) {
    current->call.in[0] = to_bits(value);
    current->call.in[1] = (uint64_t)source;
    return from_bits<T>(collective(run_shuffle, mask));
}

}  // namespace emulation

inline void __syncwarp(unsigned mask = ~0u) {
    emulation::collective(emulation::run_nothing, mask);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    emulation::current->call.in[0] = predicate != 0;
    return (unsigned)emulation::collective(emulation::run_ballot, mask);
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
template <class T> unsigned __match_any_sync(unsigned mask, T value) {
    emulation::current->call.in[0] = emulation::to_bits(value);
    return (unsigned)emulation::collective(emulation::run_match, mask);
}
template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    int lane = emulation::current->lane;
    return emulation::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int lane = emulation::current->lane, source = lane ^ bits;
    return emulation::shuffle(mask, value, source / width > lane / width ? lane : source);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = emulation::current->lane, source = lane + (int)delta;
    return emulation::shuffle(mask, value, source / width == lane / width ? source : lane);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = emulation::current->lane, source = lane - (int)delta;
    return emulation::shuffle(mask, value, source >= (lane & ~(width - 1)) ? source : lane);
}

namespace emulation {
template <class T> struct Same {  // keeps an argument from taking part in deduction
    typedef T type;
};
}  // namespace emulation

// Atomics; threads change places at barriers and warp operations only.
#define EMULATED_ATOMIC(name, expression)                                        \
    template <class T> T name(T* address, typename emulation::Same<T>::type value) { \
        T old = *address;                                                        \
        *address = (expression);                                                 \
        return old;                                                              \
    }
EMULATED_ATOMIC(atomicAdd, old + value)
EMULATED_ATOMIC(atomicSub, old - value)
EMULATED_ATOMIC(atomicExch, value)
EMULATED_ATOMIC(atomicMin, value < old ? value : old)
EMULATED_ATOMIC(atomicMax, value > old ? value : old)
EMULATED_ATOMIC(atomicAnd, old& value)
EMULATED_ATOMIC(atomicOr, old | value)
EMULATED_ATOMIC(atomicXor, old ^ value)
template <class T>
T atomicCAS(T* address, typename emulation::Same<T>::type compare,
            typename emulation::Same<T>::type value) {
    T old = *address;
    if (old == compare) *address = value;
    return old;
}

// Arithmetic.
#define EMULATED_FUNCTION(name)       \
    extern "C" double name(double);   \
    extern "C" float name##f(float);
EMULATED_FUNCTION(exp)
EMULATED_FUNCTION(erfc)
EMULATED_FUNCTION(log)
EMULATED_FUNCTION(sqrt)
EMULATED_FUNCTION(fabs)
EMULATED_FUNCTION(tanh)
extern "C" float fmaf(float, float, float);
template <class T> T __ldg(const T* p) { return *p; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
    return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline int __float_as_int(float x) { return emulation::from_bits<int>(emulation::to_bits(x)); }
inline unsigned __float_as_uint(float x) { return (unsigned)__float_as_int(x); }
inline float __int_as_float(int x) { return emulation::from_bits<float>(emulation::to_bits(x)); }
inline float __uint_as_float(unsigned x) { return __int_as_float((int)x); }
inline long long __double_as_longlong(double x) {
    return emulation::from_bits<long long>(emulation::to_bits(x));
}
inline double __longlong_as_double(long long x) {
    return emulation::from_bits<double>(emulation::to_bits(x));
}
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
template <class A, class B> auto min(A a, B b) { return b < a ? b : a; }
template <class A, class B> auto max(A a, B b) { return a < b ? b : a; }
template <class T> bool isfinite(T x) { return __builtin_isfinite(x); }
template <class T> bool isinf(T x) { return __builtin_isinf(x); }
template <class T> bool isnan(T x) { return __builtin_isnan(x); }
