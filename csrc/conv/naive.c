/* The defining sums as plain loops: the oracle of every other algorithm, and the last row of the
 * list. Sums are kept in double and rounded once. It never gets a fast path. */
#include <stdio.h>

#include "../compiler.h"
#include "../platform/threads.h"
#include "algorithm.h"

/* The o with o * stride - pad + t * dilation == i on one axis; -1 if there is none. */
static ptrdiff_t output_of(const fc_conv_problem *p, int axis, ptrdiff_t i, ptrdiff_t t) {
    const ptrdiff_t scaled = i + p->pad[axis] - t * p->dilation[axis];
    if (scaled < 0 || scaled % p->stride[axis]) return -1;
    const ptrdiff_t o = scaled / p->stride[axis];
    return o < p->out_size[axis] ? o : -1;
}

/* Whether a tap that could reach position i of dx, by its remainder, comes from beside dy. */
static int is_edge(const fc_conv_problem *p, const ptrdiff_t i[3]) {
    for (int axis = 0; axis < 3; axis++)
        for (ptrdiff_t t = 0; t < p->kernel[axis]; t++)
            if ((i[axis] + p->pad[axis] - t * p->dilation[axis]) % p->stride[axis] == 0 &&
                output_of(p, axis, i[axis], t) < 0)
                return 1;
    return 0;
}

#define FC_DTYPE float
#include "naive.tmpl.h"
#undef FC_DTYPE

#define FC_DTYPE double
#include "naive.tmpl.h"
#undef FC_DTYPE

static const char *refuses(fc_conv_op op, const fc_conv_problem *p) {
    (void)op;
    (void)p;
    return NULL;
}

static fc_status run(fc_conv_op op, const fc_conv_problem *p, const fc_conv_arrays *a) {
    const int is_float = p->dtype == FC_FLOAT32;
    fc_run r = fc_start(1, p->interrupted);
    switch (op) {
    case FC_FORWARD:
        (is_float ? forward_float : forward_double)(p, a, &r);
        break;
    case FC_BACKWARD_DATA:
        (is_float ? backward_data_float : backward_data_double)(p, a, &r, 0);
        break;
    case FC_BACKWARD_WEIGHTS:
        if (a->w) (is_float ? backward_weights_float : backward_weights_double)(p, a, &r);
        if (a->b) (is_float ? backward_bias_float : backward_bias_double)(p, a);
        break;
    }
    return (fc_status)r.status;
}

void fc_conv_repair_edges(const fc_conv_problem *p, const fc_conv_arrays *a, fc_run *r) {
    (p->dtype == FC_FLOAT32 ? backward_data_float : backward_data_double)(p, a, r, 1);
}

static fc_status prepare(const fc_conv_problem *p, const fc_conv_arrays *a, fc_conv_weights **weights) {
    (void)p, (void)a, (void)weights;
    return FC_OK;
}

static void describe(const fc_conv_problem *p, fc_conv_description *d) {
    (void)p;
    snprintf(d->how, sizeof d->how, "the defining sums one by one, in double");
}

const fc_conv_algorithm fc_conv_naive = {"naive", refuses, NULL, run, prepare, describe};
