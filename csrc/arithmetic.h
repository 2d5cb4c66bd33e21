/* Whole numbers, as blocking needs them. */
#ifndef FC_ARITHMETIC_H
#define FC_ARITHMETIC_H

#include <stddef.h>

static inline ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
/* a >= 0, b > 0; both may be as large as sizes go. */
static inline ptrdiff_t quotient_up(ptrdiff_t a, ptrdiff_t b) { return a / b + (a % b > 0); }

/* Size of the blocks when `total` is cut evenly into blocks of at most `limit`. */
static inline ptrdiff_t even_block(ptrdiff_t total, ptrdiff_t limit) {
    return quotient_up(total, quotient_up(total, max(limit, 1)));
}

static inline ptrdiff_t greatest_common_divisor(ptrdiff_t a, ptrdiff_t b) {
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

#endif
