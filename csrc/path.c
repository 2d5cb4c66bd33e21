#include "path.h"

#include <stdlib.h>

/* max_align_t, which not every compiler's library has. */
typedef union {
    long long integer;
    long double number;
    void *pointer;
} aligned;

struct fc_plan_memory {
    struct fc_plan_memory *next;
    aligned bytes[];
};

void *fc_plan_allocate(fc_plan *plan, size_t bytes) {
    struct fc_plan_memory *memory = calloc(1, sizeof *memory + bytes);
    if (!memory) return NULL;
    memory->next = plan->memory;
    plan->memory = memory;
    return memory->bytes;
}

void fc_plan_release(fc_plan *plan) {
    for (struct fc_plan_memory *memory = plan->memory, *next; memory; memory = next) {
        next = memory->next;
        free(memory);
    }
    plan->memory = NULL;
}
