/* Windows of pools: where they lie, what divides them, and what every path of a pool starts from. */
#ifndef FC_POOL_WINDOWS_H
#define FC_POOL_WINDOWS_H

#include "../kernels/kernels.h"
#include "../path.h"

/* Elements that kernels may touch beyond the end of a line of scratch. */
enum { FC_POOL_SLACK = 32 };

/* Consecutive positions, `step` apart. */
typedef struct {
    ptrdiff_t first, count;
} fc_range;

/* A pool as its paths see it, without arrays. */
typedef struct {
    fc_pool_problem p; /* with regular windows and, forward, with joined axes where these describe the same pool */
    const fc_kernels *kernels;
    int has_indices;         /* a maximum, whose indices may be wanted */
    ptrdiff_t element, size; /* bytes: of x and y, of a value while pooling */
    ptrdiff_t inner;         /* channels that lie side by side, or 1 */
    ptrdiff_t planes;        /* of inner channels each */
} fc_pool;

/* The pool of an op: FC_MAX_POOL, FC_AVG_POOL or FC_AVG_POOL_BACKWARD. */
fc_pool fc_pool_of(fc_op op, const fc_pool_problem *problem);

/* Positions of the input that output o of an axis sees, dilation apart; in x. */
fc_range fc_pool_window(const fc_pool_problem *p, int axis, ptrdiff_t o);

/* Outputs of an axis that see position i; dilation 1. */
fc_range fc_pool_outputs(const fc_pool_problem *p, int axis, ptrdiff_t i);

/* What the axis contributes to the divisor of output o. */
double fc_pool_cells(const fc_pool_problem *p, int axis, ptrdiff_t o);
/* What kernels take for the divisor of a window of so many cells: for floats its reciprocal. */
double fc_pool_divisor(const fc_pool_problem *p, double cells);

/* Whether a place in the padded plane may not fit 31 bits. */
int fc_pool_is_too_large(const fc_pool_problem *p);
/* Threads that are worth waking for it. */
int fc_pool_threads(const fc_pool_problem *p);

/* Completes how a path of pools describes itself. */
void fc_pool_describe(fc_description *description, const char *how, ptrdiff_t columns, ptrdiff_t tasks,
                      size_t scratch_of_a_task);

#endif
