/* Vectors of one instruction set: load, store, and their forms for the end of a row.
 *
 * Included once per (REAL, instruction set) by indirect_gemm.h. GCC and Clang compile the same
 * expressions to AVX-512, AVX2, SSE2 or NEON; elsewhere a vector has one lane and the compiler's
 * own vectorizer does what it can.
 */
#undef LANES
#undef VEC
#undef SPCONV_INLINE
#undef SPCONV_UNROLL

#if defined(__GNUC__) && !defined(SPCONV_SCALAR)
#define SPCONV_INLINE static inline __attribute__((always_inline)) SPCONV_TARGET
#define SPCONV_UNROLL _Pragma("GCC unroll 16")
#define LANES ((int)(SPCONV_BYTES / sizeof(REAL)))
typedef REAL NAME(vec) __attribute__((vector_size(SPCONV_BYTES), aligned(sizeof(REAL)), may_alias));
#else
#define SPCONV_INLINE static inline
#define SPCONV_UNROLL
#define LANES 1
typedef REAL NAME(vec);
#endif
#define VEC NAME(vec)

SPCONV_INLINE VEC NAME(load)(const REAL *source) { return *(const VEC *)source; }
SPCONV_INLINE void NAME(store)(REAL *target, VEC value) { *(VEC *)target = value; }

/* The first `lanes` lanes only; memory beyond them is not touched. */
#if SPCONV_MASKS && SPCONV_BYTES == 64
SPCONV_INLINE VEC NAME(load_part)(const REAL *source, int lanes) {
    return sizeof(REAL) == 4 ? (VEC)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), source)
                             : (VEC)_mm512_maskz_loadu_pd((__mmask8)((1u << lanes) - 1), source);
}
SPCONV_INLINE void NAME(store_part)(REAL *target, VEC value, int lanes) {
    if (sizeof(REAL) == 4)
        _mm512_mask_storeu_ps(target, (__mmask16)((1u << lanes) - 1), (__m512)value);
    else
        _mm512_mask_storeu_pd(target, (__mmask8)((1u << lanes) - 1), (__m512d)value);
}
#elif SPCONV_MASKS
SPCONV_INLINE VEC NAME(load_part)(const REAL *source, int lanes) {
    const __mmask8 mask = (__mmask8)((1u << lanes) - 1);
    return sizeof(REAL) == 4 ? (VEC)_mm256_maskz_loadu_ps(mask, (const float *)source)
                             : (VEC)_mm256_maskz_loadu_pd(mask, (const double *)source);
}
SPCONV_INLINE void NAME(store_part)(REAL *target, VEC value, int lanes) {
    const __mmask8 mask = (__mmask8)((1u << lanes) - 1);
    if (sizeof(REAL) == 4) _mm256_mask_storeu_ps(target, mask, (__m256)value);
    else _mm256_mask_storeu_pd(target, mask, (__m256d)value);
}
#else
SPCONV_INLINE VEC NAME(load_part)(const REAL *source, int lanes) {
    VEC value;
    REAL lane[LANES];
    for (int i = 0; i < LANES; ++i) lane[i] = i < lanes ? source[i] : (REAL)0;
    memcpy(&value, lane, sizeof value);
    return value;
}
SPCONV_INLINE void NAME(store_part)(REAL *target, VEC value, int lanes) {
    REAL lane[LANES];
    memcpy(lane, &value, sizeof value);
    for (int i = 0; i < lanes; ++i) target[i] = lane[i];
}
#endif
