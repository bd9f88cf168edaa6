// What tensor_core.cpp does for the functions of ptx_emulation.h.
#pragma once
#include "builtins.h"

namespace emulation {

float half_to_float(uint16_t bits);
uint16_t float_to_half(float x);
uint32_t float_to_tf32(float x);

void run_ldmatrix(Thread** lanes, uint32_t mask);
void run_ldmatrix_transposed(Thread** lanes, uint32_t mask);
void run_mma_float16(Thread** lanes, uint32_t mask);
void run_mma_bfloat16(Thread** lanes, uint32_t mask);
void run_mma_tf32(Thread** lanes, uint32_t mask);

void check_shared(const unsigned char* p, size_t bytes);
void copy_async(void* to, const void* from, int size, int bytes);
void copy_commit();
void copy_wait(size_t pending);

}  // namespace emulation
