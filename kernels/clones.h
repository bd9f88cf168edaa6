/* Functions compiled for several instruction sets, where the loader can choose among them (GNU
 * libc); the results do not depend on the choice. */
#ifndef SPCONV_CLONES_H
#define SPCONV_CLONES_H

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define SPCONV_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define SPCONV_CLONES
#endif

/* Into the versions above, so that their instructions are used. */
#if defined(__GNUC__)
#define SPCONV_FORCE_INLINE static inline __attribute__((always_inline))
#else
#define SPCONV_FORCE_INLINE static inline
#endif
#endif
