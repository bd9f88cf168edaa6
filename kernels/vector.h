/* Vectors of one instruction set: load, store, and their forms for the end of a row.
 *
 * Included once per (REAL, instruction set) by indirect_gemm.h. GCC and Clang compile the same
 * expressions to AVX-512, AVX2, SSE2 or NEON; elsewhere a vector has one lane and the compiler's
 * own vectorizer does what it can. Only multiply_add fuses a product and a sum, by intrinsics: the
 * compiler, which would in some loops and not in others, is told not to (-ffp-contract=off).
 */
#undef LANES
#undef VEC
#undef SPCONV_INLINE
#undef SPCONV_NOINLINE
#undef SPCONV_OPAQUE
#undef SPCONV_UNROLL

#if defined(__GNUC__) && !defined(SPCONV_SCALAR)
#define SPCONV_INLINE static inline __attribute__((always_inline)) SPCONV_TARGET
#define SPCONV_NOINLINE __attribute__((noinline, unused))
/* Keeps the compiler from addressing a row by its distance from another one. */
#define SPCONV_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define SPCONV_UNROLL _Pragma("GCC unroll 16")
#define LANES ((int)(SPCONV_BYTES / sizeof(REAL)))
typedef REAL NAME(vec) __attribute__((vector_size(SPCONV_BYTES), aligned(sizeof(REAL)), may_alias));
#else
#define SPCONV_INLINE static inline
#define SPCONV_NOINLINE
#define SPCONV_OPAQUE(pointer)
#define SPCONV_UNROLL
#define LANES 1
typedef REAL NAME(vec);
#endif
#define VEC NAME(vec)

SPCONV_INLINE VEC NAME(load)(const REAL *source) { return *(const VEC *)source; }
SPCONV_INLINE void NAME(store)(REAL *target, VEC value) { *(VEC *)target = value; }

/* a w + sum, rounded once on AVX2, AVX-512 and NEON, and twice elsewhere. */
SPCONV_INLINE VEC NAME(multiply_add)(REAL a, VEC w, VEC sum) {
#if SPCONV_MASKS == 512 && SPCONV_BYTES == 64
    return sizeof(REAL) == 4
               ? (VEC)_mm512_fmadd_ps((__m512)w, _mm512_set1_ps((float)a), (__m512)sum)
               : (VEC)_mm512_fmadd_pd((__m512d)w, _mm512_set1_pd(a), (__m512d)sum);
#elif SPCONV_BYTES == 32
    return sizeof(REAL) == 4
               ? (VEC)_mm256_fmadd_ps((__m256)w, _mm256_set1_ps((float)a), (__m256)sum)
               : (VEC)_mm256_fmadd_pd((__m256d)w, _mm256_set1_pd(a), (__m256d)sum);
#elif defined(SPCONV_NEON)
    return sizeof(REAL) == 4
               ? (VEC)vfmaq_n_f32((float32x4_t)sum, (float32x4_t)w, (float)a)
               : (VEC)vfmaq_n_f64((float64x2_t)sum, (float64x2_t)w, a);
#else
    return a * w + sum;
#endif
}

/* The first `lanes` lanes only; memory beyond them is not touched. */
#if SPCONV_MASKS == 512 && SPCONV_BYTES == 64
SPCONV_INLINE VEC NAME(load_part)(const REAL *source, int lanes) {
    return sizeof(REAL) == 4 ? (VEC)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), source)
                             : (VEC)_mm512_maskz_loadu_pd((__mmask8)((1u << lanes) - 1), source);
}
#elif SPCONV_MASKS == 512
SPCONV_INLINE VEC NAME(load_part)(const REAL *source, int lanes) {
    const __mmask8 mask = (__mmask8)((1u << lanes) - 1);
    return sizeof(REAL) == 4 ? (VEC)_mm256_maskz_loadu_ps(mask, (const float *)source)
                             : (VEC)_mm256_maskz_loadu_pd(mask, (const double *)source);
}
#elif SPCONV_MASKS == 256
SPCONV_INLINE VEC NAME(load_part)(const REAL *source, int lanes) {
    static const int64_t ones[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
    const char *end = (const char *)(ones + 4);
    const __m256i mask = _mm256_loadu_si256((const __m256i *)(end - lanes * sizeof(REAL)));
    return sizeof(REAL) == 4 ? (VEC)_mm256_maskload_ps((const float *)source, mask)
                             : (VEC)_mm256_maskload_pd((const double *)source, mask);
}
#else
static SPCONV_NOINLINE SPCONV_TARGET VEC NAME(load_part)(const REAL *source, int lanes) {
    VEC value;
    REAL lane[LANES];
    for (int i = 0; i < LANES; ++i) lane[i] = i < lanes ? source[i] : (REAL)0;
    memcpy(&value, lane, sizeof value);
    return value;
}
#endif

/* target += the first `lanes` lanes. By halves: masked stores are slow on some processors. */
#if SPCONV_MASKS
typedef REAL NAME(vec32) __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(vec16) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));
SPCONV_INLINE void NAME(add_part)(REAL *target, VEC value, int lanes) {
#if SPCONV_BYTES == 64
    NAME(vec32) vector = (NAME(vec32))_mm512_castpd512_pd256((__m512d)value);
    if (2 * lanes >= LANES) {
        *(NAME(vec32) *)target += vector;
        vector = (NAME(vec32))_mm512_extractf64x4_pd((__m512d)value, 1);
        target += LANES / 2, lanes -= LANES / 2;
    }
#else
    const NAME(vec32) vector = (NAME(vec32))value;
#endif
    const int few = 16 / sizeof(REAL);
    NAME(vec16) half = (NAME(vec16))_mm256_castpd256_pd128((__m256d)vector);
    if (lanes >= few) {
        *(NAME(vec16) *)target += half;
        half = (NAME(vec16))_mm256_extractf128_pd((__m256d)vector, 1);
        target += few, lanes -= few;
    }
    if (few == 4 && lanes >= 2) {
        target[0] += half[0];
        target[1] += half[1];
        half = (NAME(vec16))_mm_unpackhi_pd((__m128d)half, (__m128d)half);
        target += 2, lanes -= 2;
    }
    if (lanes) target[0] += half[0];
}
#else
static SPCONV_NOINLINE SPCONV_TARGET void NAME(add_part)(REAL *target, VEC value, int lanes) {
    REAL lane[LANES];
    memcpy(lane, &value, sizeof value);
    for (int i = 0; i < lanes; ++i) target[i] += lane[i];
}
#endif
