/* What an algorithm is: a row of the list in plan.c. */
#ifndef FC_CONV_ALGORITHM_H
#define FC_CONV_ALGORITHM_H

#include "../fastconv.h"

typedef struct {
    const char *name;
    const char *(*refuses)(fc_conv_op op, const fc_conv_problem *p);
    fc_status (*run)(fc_conv_op op, const fc_conv_problem *p, const fc_conv_arrays *a);
} fc_conv_algorithm;

extern const fc_conv_algorithm fc_conv_naive;

#endif
