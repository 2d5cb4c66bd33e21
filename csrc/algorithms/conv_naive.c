/* The defining sums as plain loops: the oracle of every other algorithm, and the last row of the
 * list. Sums are kept in double and rounded once. It never gets a fast path. */
#include "../compiler.h"
#include "conv_algorithm.h"

#define FC_DTYPE float
#include "conv_naive.tmpl.h"
#undef FC_DTYPE

#define FC_DTYPE double
#include "conv_naive.tmpl.h"
#undef FC_DTYPE

static const char *refuses(fc_conv_op op, const fc_conv_problem *p) {
    (void)op;
    (void)p;
    return NULL;
}

static fc_status run(fc_conv_op op, const fc_conv_problem *p, const fc_conv_arrays *a) {
    const int is_float = p->dtype == FC_FLOAT32;
    switch (op) {
    case FC_FORWARD:
        (is_float ? forward_float : forward_double)(p, a);
        break;
    case FC_BACKWARD_DATA:
        (is_float ? backward_data_float : backward_data_double)(p, a);
        break;
    case FC_BACKWARD_WEIGHTS:
        if (a->w) (is_float ? backward_weights_float : backward_weights_double)(p, a);
        if (a->b) (is_float ? backward_bias_float : backward_bias_double)(p, a);
        break;
    }
    return FC_OK;
}

const fc_conv_algorithm fc_conv_naive = {"naive", refuses, run};
