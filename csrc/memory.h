/* Workspace: kept between calls, since fresh pages cost more than small convolutions. */
#ifndef FC_MEMORY_H
#define FC_MEMORY_H

#include <stddef.h>

enum { FC_ALIGNMENT = 64 };

/* At least `bytes` at a multiple of FC_ALIGNMENT, uninitialised; NULL if there is no memory. */
void *fc_scratch_acquire(size_t bytes);
void fc_scratch_release(void *scratch);

#endif
