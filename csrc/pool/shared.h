/* What the files of pools share. */
#ifndef FC_POOL_H
#define FC_POOL_H

#include "../kernels/kernels.h"
#include "../path.h"

/* Elements that kernels may touch beyond the end of a row of workspace. */
enum { FC_POOL_SLACK = 32 };
static const size_t FC_POOL_WORKSPACE = 16 << 20;

/* Bytes worth a thread more: about 10 us of copying. */
static const double FC_POOL_THREAD_BYTES = 128 << 10;

/* Consecutive positions, `step` apart. */
typedef struct {
    ptrdiff_t first, count;
} fc_range;

/* Positions of the input that output o of an axis sees, dilation apart; in x. */
fc_range fc_pool_window(const fc_pool_problem *p, int axis, ptrdiff_t o);

/* Outputs of an axis that see position i; dilation 1. */
fc_range fc_pool_outputs(const fc_pool_problem *p, int axis, ptrdiff_t i);

/* What the axis contributes to the divisor of output o. */
double fc_pool_cells(const fc_pool_problem *p, int axis, ptrdiff_t o);
/* What kernels take for a divisor: of floats its reciprocal. */
double fc_pool_divisor(const fc_pool_problem *p, double cells);

/* Adaptive windows that are all of one size are regular ones. */
fc_pool_problem fc_pool_regular(const fc_pool_problem *p);

fc_dtype fc_pool_dtype(fc_element element);
ptrdiff_t fc_element_size(fc_element element);
/* Whether a place in the padded plane may not fit 31 bits. */
int fc_pool_is_too_large(const fc_pool_problem *p);
int fc_pool_threads(const fc_pool_problem *p);

/* Small windows, a column or two apart, of channels first: whether they are to be pooled line by line; and that,
 * indices being NULL for averages. */
int fc_pool_suits_lines(const fc_pool_problem *p, const fc_kernels *kernels, fc_op op);
fc_status fc_pool_by_lines(const fc_pool_problem *p, const fc_kernels *kernels, const void *x, void *y,
                           long long *indices, fc_question interrupted);

extern const fc_path fc_path_pool, fc_path_avg_pool_backward, fc_path_scatter;

#endif
