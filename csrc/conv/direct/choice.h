/* What direct sums can do, and what they do unasked. */
#ifndef FC_DIRECT_CHOICE_H
#define FC_DIRECT_CHOICE_H

#include "shared.h"

/* Why no arrangement can do the problem, or NULL. */
const char *fc_direct_refuses_problem(fc_op op, const fc_conv_problem *problem);

/* Why another algorithm is to be preferred, or NULL. */
const char *fc_direct_doubts_problem(fc_op op, const fc_conv_problem *problem);

/* Why an arrangement, but FC_DIRECT_MIXED, cannot run the correlations of `job`, of the forward, dx or dw; or NULL. */
const char *fc_direct_refuses(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job);

/* Why an arrangement that does not refuse them is not the one to run them unasked, or NULL: exactly one is. */
const char *fc_direct_doubts(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job);

/* The one to run them unasked. */
fc_direct_arrangement fc_direct_choose(fc_op op, const fc_direct_job *job);

#endif
