/* Arrays between pages without access, filled with small integers, and the count of checks. */
#ifndef GUARDED_H
#define GUARDED_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fastconv.h"

enum { MAX_ARRAYS = 32 };

static struct {
    void *start;
    size_t bytes;
} mapped[MAX_ARRAYS];
static int arrays_in_use;

/* `bytes` between two pages without access: flush with the second, or with the first. */
static void *guarded(size_t bytes, int at_end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page - 1) / page * page + (bytes ? 0 : page);
    char *start = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + page, inner, PROT_READ | PROT_WRITE)) abort();
    mapped[arrays_in_use].start = start;
    mapped[arrays_in_use++].bytes = inner + 2 * page;
    return at_end ? start + page + inner - bytes : start + page;
}

static void release_all(void) {
    while (arrays_in_use--) munmap(mapped[arrays_in_use].start, mapped[arrays_in_use].bytes);
    arrays_in_use = 0;
}

static uint32_t random_state = 1;

static int random_below(int n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 8) % (uint32_t)n);
}

static void fill(void *array, size_t count, fc_dtype dtype) {
    for (size_t i = 0; i < count; i++) {
        const int value = random_below(9) - 4;
        if (dtype == FC_FLOAT32) ((float *)array)[i] = (float)value;
        else ((double *)array)[i] = value;
    }
}

static int passed, failed;

#endif
