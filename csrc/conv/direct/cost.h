/* Estimates in cycles of one thread, which say what is to be expected of a path; choice.c does not ask them. */
#ifndef FC_DIRECT_COST_H
#define FC_DIRECT_COST_H

#include "shared.h"

/* The correlations of `job` in an arrangement other than FC_DIRECT_MIXED: y, dx or dw of all groups and images. */
double fc_direct_cycles(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job);

#endif
