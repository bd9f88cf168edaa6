// c = a b on one warp, through every instruction of ptx.cuh.
#include "ptx.cuh"

extern "C" __global__ void multiply(const u16* a, const u16* b, float* c) {  // 16x16, 16x8
    __shared__ __align__(16) u16 sa[16][24], sb[16][8];
    int lane = threadIdx.x;
    copy_async_16(shared_address(&sa[lane / 2][lane % 2 * 8]), a + lane * 8, 16);
    if (lane < 16) copy_async_16(shared_address(&sb[lane][0]), b + lane * 8, 16);
    copy_async_commit();
    copy_async_wait<0>();
    __syncwarp();
    u32 fa[4], fb[4], two[2];
    load_matrices(fa, shared_address(&sa[lane % 16][lane / 16 * 8]));
    load_matrices_transposed(fb, shared_address(&sb[lane % 16][0]));
    float sum[4] = {0, 0, 0, 0};
    two[0] = fb[0], two[1] = fb[1];
    MMA(sum, fa, two);
    for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

extern "C" __global__ void multiply_tf32(const float* a, const float* b, float* c) {  // 16x8, 8x8
    int lane = threadIdx.x, group = lane / 4, t = lane % 4;
    u32 fa[4], fb[2];
    for (int i = 0; i < 4; i++) fa[i] = float_to_tf32(a[(group + i % 2 * 8) * 8 + t + i / 2 * 4]);
    for (int i = 0; i < 2; i++) fb[i] = float_to_tf32(b[(t + i * 4) * 8 + group]);
    float sum[4] = {0, 0, 0, 0};
    mma_tf32(sum, fa, fb);
    for (int i = 0; i < 4; i++) c[(group + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}

// Shared memory through copies of 4, 8 and 16 bytes; lane 0 copies only BYTES of its piece.
extern "C" __global__ void copy(const float* x, float* y) {
    extern __shared__ __align__(16) float buffer[];
    int lane = threadIdx.x;
    copy_async_4(shared_address(buffer + lane), x + lane + SHIFT, lane ? 4 : BYTES);
    copy_async_commit();
    copy_async_8(shared_address(buffer + 32 + lane * 2), x + 32 + lane * 2, 8);
    copy_async_commit();
    copy_async_16(shared_address(buffer + 96 + lane * 4), x + 96 + lane * 4, 16);
    copy_async_commit();
    copy_async_wait<WAIT>();
    BARRIER;
    for (int i = 0; i < 7; i++) {
        int from = i * 32 + (lane + 1) % 32;
        y[from] = __uint_as_float(load_shared(shared_address(buffer + from)));
    }
}

extern "C" __global__ void convert(const float* x, u16* half, u32* tf32, float* back) {
    int i = threadIdx.x;
    half[i] = float_to_half(x[i]);
    tf32[i] = float_to_tf32(x[i]);
    back[i] = half_to_float(half[i]);
}

// Registers of every lane, for the comparison with a device.
extern "C" __global__ void dump_matrices(const u16* x, u32* registers) {
    __shared__ __align__(16) u16 rows[32][8];
    int lane = threadIdx.x;
    for (int i = 0; i < 8; i++) rows[lane][i] = x[lane * 8 + i];
    __syncwarp();
    u32 r[4];
    if (LOAD_TRANSPOSED) load_matrices_transposed(r, shared_address(rows[lane]));
    else load_matrices(r, shared_address(rows[lane]));
    for (int i = 0; i < 4; i++) registers[lane * 4 + i] = r[i];
}

extern "C" __global__ void dump_product(const u32* a, const u32* b, float* c) {
    int lane = threadIdx.x;
    u32 fa[4], fb[2];
    for (int i = 0; i < 4; i++) fa[i] = a[lane * 4 + i];
    for (int i = 0; i < 2; i++) fb[i] = b[lane * 2 + i];
    float sum[4] = {1, 2, 3, 4};
    MMA(sum, fa, fb);
    for (int i = 0; i < 4; i++) c[lane * 4 + i] = sum[i];
}
