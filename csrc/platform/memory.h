/* Workspace: kept between calls, since fresh pages cost more than small convolutions. */
#ifndef FC_MEMORY_H
#define FC_MEMORY_H

#include <stddef.h>

enum { FC_ALIGNMENT = 64 };

/* The bytes that a piece of a block takes, aligned. */
static inline size_t fc_aligned(ptrdiff_t bytes) {
    return ((size_t)bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
}

/* The next piece of a block of which *used bytes are taken; of no block, if base is NULL, it counts only. */
static inline void *fc_carve(char *base, size_t *used, ptrdiff_t bytes) {
    void *piece = base ? base + *used : NULL;
    *used += fc_aligned(bytes);
    return piece;
}

/* At least `bytes` at a multiple of FC_ALIGNMENT, uninitialised; NULL if there is no memory. */
void *fc_scratch_acquire(size_t bytes);
void fc_scratch_release(void *scratch);

#endif
