/* Memory aligned to cache lines, and free lists of it by size. Callers lock.
 *
 * Large blocks are aligned to huge pages and ask for them. */
#ifndef SPCONV_ALIGNED_H
#define SPCONV_ALIGNED_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define SPCONV_LINE ((size_t)64)
#define SPCONV_HUGE_PAGE ((size_t)2 << 20)

#if defined(_MSC_VER)
#include <malloc.h>
static inline void *aligned_block(size_t bytes) { return _aligned_malloc(bytes, SPCONV_LINE); }
static inline void aligned_release(void *block) { _aligned_free(block); }
#else
#if defined(__linux__)
#include <sys/mman.h>
#endif
static inline void *aligned_block(size_t bytes) {
    void *block = NULL;
    const int large = bytes >= 2 * SPCONV_HUGE_PAGE;
    if (posix_memalign(&block, large ? SPCONV_HUGE_PAGE : SPCONV_LINE, bytes)) return NULL;
#if defined(MADV_HUGEPAGE)
    if (large) (void)madvise(block, bytes, MADV_HUGEPAGE); /* a wish: failure changes nothing */
#endif
    return block;
}
static inline void aligned_release(void *block) { free(block); }
#endif

/* Sizes have 8 steps per power of two, so that rounding up wastes at most an eighth. */
enum { SPCONV_STEPS = 8, SPCONV_CLASSES = 64 * SPCONV_STEPS };

static inline size_t class_step(size_t bytes) {
    size_t step = 1;
    while (bytes / SPCONV_STEPS >= 2 * step) step *= 2;
    return step;
}

static inline size_t class_size(size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    return bytes; /* every byte too far is to be seen */
#endif
    const size_t step = class_step(bytes);
    return (bytes + step - 1) / step * step;
}

/* A rounded size's list. */
static inline int class_of(size_t size) {
    int log2 = 0;
    for (size_t step = class_step(size); step > 1; step /= 2) ++log2;
    return log2 * SPCONV_STEPS + (int)(size / class_step(size) - SPCONV_STEPS);
}

/* Idle blocks hold the next one's address. */
typedef struct spconv_idle {
    struct spconv_idle *next;
} spconv_idle;

typedef struct {
    spconv_idle *first[SPCONV_CLASSES];
    size_t bytes, limit;
} spconv_pool;

/* A block of a rounded size, or NULL. */
static inline void *pool_take(spconv_pool *pool, size_t size) {
    spconv_idle **first = &pool->first[class_of(size)], *block = *first;
    if (block) {
        *first = block->next;
        pool->bytes -= size;
    }
    return block;
}

/* Whether the block is kept; the caller releases it otherwise. */
static inline int pool_give(spconv_pool *pool, void *pointer, size_t size) {
    spconv_idle **first = &pool->first[class_of(size)], *block = (spconv_idle *)pointer;
#if defined(__SANITIZE_ADDRESS__)
    return 0; /* and every use after the end */
#endif
    if (pool->bytes + size > pool->limit) return 0;
    block->next = *first;
    *first = block;
    pool->bytes += size;
    return 1;
}

/* Release the largest idle blocks until the limit is met. */
static inline void pool_trim(spconv_pool *pool) {
    for (int c = SPCONV_CLASSES - 1; c >= 0; --c)
        while (pool->first[c] && pool->bytes > pool->limit) {
            const size_t size = ((size_t)1 << c / SPCONV_STEPS) * (size_t)(c % SPCONV_STEPS + SPCONV_STEPS);
            aligned_release(pool_take(pool, size));
        }
}
#endif
