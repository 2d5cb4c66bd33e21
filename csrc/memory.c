#include "memory.h"

#include <stdlib.h>

void *fc_scratch_acquire(size_t bytes) {
    const size_t rounded = (bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
    return aligned_alloc(FC_ALIGNMENT, rounded ? rounded : FC_ALIGNMENT);
}

void fc_scratch_release(void *scratch) { free(scratch); }
