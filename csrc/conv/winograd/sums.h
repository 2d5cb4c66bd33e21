/* y or dx of one group by tiles: sums.c. */
#ifndef FC_CONV_WINOGRAD_SUMS_H
#define FC_CONV_WINOGRAD_SUMS_H

#include "shared.h"

/* Plans a correlation of all planes for the threads of the job; of a spread, its outputs are those of the larger
 * residue. */
fc_winograd_sums fc_winograd_plan_sums(const fc_conv_job *cj, fc_op op, fc_winograd_form form, const fc_correlation *c,
                                       const fc_axis *depth);

/* Bytes that a task keeps, with the weights of the group transformed or not; and bytes of these. */
size_t fc_winograd_task_bytes(const fc_winograd_sums *s, int has_weights);
size_t fc_winograd_weights_bytes(const fc_winograd_sums *s);

/* All weights of a group, transformed, in scratch; NULL: the run has stopped. */
char *fc_winograd_transform(const fc_winograd_sums *s, const fc_correlation *c, fc_run *run);

/* `weights`: what fc_winograd_transform gave, or NULL. Returns whether the plan's fallback must do it again: more is
 * infinite or NaN than is done again here. */
int fc_winograd_sum(const fc_winograd_sums *s, const fc_correlation *c, const char *weights, fc_run *run);

#endif
