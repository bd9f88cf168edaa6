// Number formats and fragment layouts of the PTX instructions that kernels/cuda/ptx.cuh wraps, warp
// operations, and copies in the background.
//
// The layouts are those of the PTX ISA, "Matrix Fragments for mma.m16n8k16" (16-bit), "... for
// mma.m16n8k8" (tf32) and "ldmatrix". Products are exact in double and summed there, or truncated as
// on a device.
#include "tensor_core.h"

#include <cstring>

#include "scheduler.h"

namespace emulation {

float half_to_float(uint16_t bits) {
    _Float16 h = from_bits<_Float16>(bits);
    return (float)h;
}
uint16_t float_to_half(float x) {
    if (x != x) return 0x7FFF;
    return (uint16_t)to_bits((_Float16)x);
}
static float bfloat_to_float(uint16_t bits) { return __uint_as_float((uint32_t)bits << 16); }
// mma reads the upper 19 bits of a tf32 operand.
static float tf32_operand(uint32_t bits) { return __uint_as_float(bits & 0xFFFFE000u); }
// cvt.rna.tf32.f32: to nearest, ties away from zero.
uint32_t float_to_tf32(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7F800000u) == 0x7F800000u) return bits & 0xFFFFE000u;
    return (bits + 0x1000u) & 0xFFFFE000u;
}

static void full_warp(uint32_t mask) {
    if (mask != ~0u) fail("ldmatrix and mma need all 32 lanes");
}

// Lane l of matrix i names row l % 8; it receives two neighbours of row l / 4 (or, transposed,
// of column l / 4).
template <bool TRANSPOSED> static void load_lanes(Thread** lanes, uint32_t mask) {
    full_warp(mask);
    for (int matrix = 0; matrix < 4; matrix++)
        for (int lane = 0; lane < 32; lane++) {
            uint32_t packed = 0;
            for (int e = 0; e < 2; e++) {
                int row = TRANSPOSED ? lane % 4 * 2 + e : lane / 4;
                int column = TRANSPOSED ? lane / 4 : lane % 4 * 2 + e;
                const uint16_t* p = (const uint16_t*)lanes[matrix * 8 + row]->call.in[0];
                packed |= (uint32_t)p[column] << 16 * e;
            }
            lanes[lane]->call.out[matrix] = packed;
        }
}

static double power_of_two(int n) { return from_bits<double>((uint64_t)(n + 1023) << 52); }
static int exponent(double x) {  // of x = 0 below all others
    return x == 0 ? -600 : (int)(to_bits(x) >> 52 & 0x7FF) - 1023;
}
static double cut(double x, int unit) {
    return (double)(int64_t)(x * power_of_two(-unit)) * power_of_two(unit);
}

// What experiments show of devices (Fasi, Higham, Mikaitis & Pranesh 2021, "Numerical behavior of
// NVIDIA tensor cores", for the A100; Ootomo & Yokota 2022, arXiv 2203.03341): BLOCK products at a
// time are aligned with the accumulator to the largest exponent among them, cut there one bit
// behind float32's last, added, and the sum is cut to float32. Never rounded: positive sums shrink.
constexpr int KEPT_BITS = 23 + 1;
template <int BLOCK> static double add_truncating(double sum, const float* a, const float* b) {
    int top = exponent(sum);
    for (int k = 0; k < BLOCK; k++)
        if (int at = exponent(a[k]) + exponent(b[k]); a[k] != 0 && b[k] != 0 && at > top) top = at;
    double total = cut(sum, top - KEPT_BITS);
    for (int k = 0; k < BLOCK; k++) total += cut((double)a[k] * b[k], top - KEPT_BITS);
    return total == 0 ? 0 : cut(total, exponent(total) - 23);
}

template <int K> static void multiply(const float (*a)[16], const float (*b)[8], float (*c)[8]) {
    constexpr int BLOCK = K / 2;
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 8; n++) {
            float column[K];
            double sum = c[m][n], exact = sum;
            for (int k = 0; k < K; k++) {
                column[k] = b[k][n];
                exact += (double)a[m][k] * column[k];
            }
            if (launch.truncating && __builtin_isfinite(exact))
                for (int k = 0; k < K; k += BLOCK)
                    sum = add_truncating<BLOCK>(sum, a[m] + k, column + k);
            else
                sum = exact;
            c[m][n] = (float)sum;
        }
}

// in: 0..3 A, 4..5 B, 6..9 C; out: D. The rows of C belong to lane / 4, its columns to lane % 4.
static void read_accumulators(Thread** lanes, float (*c)[8]) {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
            c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] =
                __uint_as_float((uint32_t)lanes[lane]->call.in[6 + i]);
}
static void write_accumulators(Thread** lanes, const float (*c)[8]) {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
            lanes[lane]->call.out[i] = __float_as_uint(c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
}

template <float (*CONVERT)(uint16_t)> static void multiply_16bit(Thread** lanes, uint32_t mask) {
    full_warp(mask);
    float a[16][16], b[16][8], c[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int group = lane / 4, t = lane % 4;
        const uint64_t* in = lanes[lane]->call.in;
        for (int e = 0; e < 2; e++) {
            for (int i = 0; i < 4; i++)
                a[group + i % 2 * 8][t * 2 + i / 2 * 8 + e] = CONVERT((uint16_t)(in[i] >> 16 * e));
            for (int i = 0; i < 2; i++)
                b[t * 2 + i * 8 + e][group] = CONVERT((uint16_t)(in[4 + i] >> 16 * e));
        }
    }
    read_accumulators(lanes, c);
    multiply<16>(a, b, c);
    write_accumulators(lanes, c);
}

void run_mma_tf32(Thread** lanes, uint32_t mask) {
    full_warp(mask);
    float a[16][16], b[8][8], c[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int group = lane / 4, t = lane % 4;
        const uint64_t* in = lanes[lane]->call.in;
        for (int i = 0; i < 4; i++)
            a[group + i % 2 * 8][t + i / 2 * 4] = tf32_operand((uint32_t)in[i]);
        for (int i = 0; i < 2; i++) b[t + i * 4][group] = tf32_operand((uint32_t)in[4 + i]);
    }
    read_accumulators(lanes, c);
    multiply<8>(a, b, c);
    write_accumulators(lanes, c);
}

void check_shared(const unsigned char* p, size_t bytes) {
    bool dynamic = p >= dynamic_shared && p + bytes <= dynamic_shared + launch.shared_bytes;
    bool fixed = p >= __start_emulated_shared && p + bytes <= __stop_emulated_shared;
    if (!dynamic && !fixed) fail("%zu bytes outside shared memory", bytes);
}

static void check_global(const unsigned char* p, size_t bytes) {
    for (unsigned i = 0; i < launch.num_ranges; i++)
        if (p >= launch.ranges[i].begin && p + bytes <= launch.ranges[i].end) return;
    fail("an asynchronous copy reads %zu bytes outside every array", bytes);
}

// The destination is poison from now on and holds the data only once the copy is waited for.
void copy_async(void* to, const void* from, int size, int bytes) {
    if ((uintptr_t)to % size) fail("cp.async: the destination is not aligned to %d bytes", size);
    if ((uintptr_t)from % size) fail("cp.async: the source is not aligned to %d bytes", size);
    if (bytes < 0 || bytes > size) fail("cp.async: %d of %d bytes", bytes, size);
    check_shared((unsigned char*)to, size);
    if (bytes) check_global((const unsigned char*)from, bytes);
    memset(to, POISON, size);
    running()->open.push_back({(unsigned char*)to, from, bytes, size - bytes});
}

void copy_commit() {
    running()->groups.emplace_back();
    running()->groups.back().swap(running()->open);
}

void copy_wait(size_t pending) {
    auto& groups = running()->groups;
    while (groups.size() > pending) {
        for (const Copy& copy : groups.front()) {
            memcpy(copy.to, copy.from, copy.bytes);
            memset(copy.to + copy.bytes, 0, copy.zeros);
        }
        groups.erase(groups.begin());
    }
}

void run_ldmatrix(Thread** lanes, uint32_t mask) { load_lanes<false>(lanes, mask); }
void run_ldmatrix_transposed(Thread** lanes, uint32_t mask) { load_lanes<true>(lanes, mask); }
void run_mma_float16(Thread** lanes, uint32_t mask) { multiply_16bit<half_to_float>(lanes, mask); }
void run_mma_bfloat16(Thread** lanes, uint32_t mask) {
    multiply_16bit<bfloat_to_float>(lanes, mask);
}

// in[1] is the source lane; a source outside the mask gives poison.
void run_shuffle(Thread** lanes, uint32_t mask) {
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            Thread* source = lanes[lanes[lane]->call.in[1] & 31];
            lanes[lane]->call.out[0] = source ? source->call.in[0] : ~0ull;
        }
}

void run_ballot(Thread** lanes, uint32_t mask) {
    uint64_t bits = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && lanes[lane]->call.in[0]) bits |= 1ull << lane;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) lanes[lane]->call.out[0] = bits;
}

void run_match(Thread** lanes, uint32_t mask) {
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            uint64_t bits = 0;
            for (int other = 0; other < 32; other++)
                if (mask >> other & 1 && lanes[other]->call.in[0] == lanes[lane]->call.in[0])
                    bits |= 1ull << other;
            lanes[lane]->call.out[0] = bits;
        }
}

void run_nothing(Thread**, uint32_t) {}

}  // namespace emulation
