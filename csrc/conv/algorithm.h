/* What an algorithm is: a row of the list in plan.c. */
#ifndef FC_CONV_ALGORITHM_H
#define FC_CONV_ALGORITHM_H

#include "../fastconv.h"
#include "../platform/threads.h"

typedef struct {
    const char *name;
    const char *(*refuses)(fc_conv_op op, const fc_conv_problem *p); /* what it cannot do, or NULL */
    int (*suits)(fc_conv_op op, const fc_conv_problem *p); /* whether it is the one to take unasked; NULL: yes */
    fc_status (*run)(fc_conv_op op, const fc_conv_problem *p, const fc_conv_arrays *a);
    /* Of forward calls: fc_conv_prepare and fc_conv_describe. */
    fc_status (*prepare)(const fc_conv_problem *p, const fc_conv_arrays *a, fc_conv_weights **weights);
    void (*describe)(const fc_conv_problem *p, fc_conv_description *description);
} fc_conv_algorithm;

extern const fc_conv_algorithm fc_conv_fully_connected, fc_conv_direct, fc_conv_winograd, fc_conv_implicit_gemm,
    fc_conv_naive;

/* What prepare gives: made by one algorithm for one instruction set, then its own. */
struct fc_conv_weights {
    const fc_conv_algorithm *algorithm;
    int isa;
    void (*free)(fc_conv_weights *weights);
};

/* Recomputes those elements of dx that are NaN and beside which dy ends. An algorithm that takes
 * dy as zero outside its bounds needs it when w is not finite: 0 * inf has no place in that sum. */
void fc_conv_repair_edges(const fc_conv_problem *p, const fc_conv_arrays *a, fc_run *r);

#endif
