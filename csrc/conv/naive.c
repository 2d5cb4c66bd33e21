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

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)path, (void)op, (void)problem;
    return NULL;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_conv_problem *p = &plan->problem.conv;
    const int is_float = p->call.dtype == FC_FLOAT32;
    fc_run r = fc_start(1, interrupted);
    switch (plan->op) {
    case FC_FORWARD:
        (is_float ? forward_float : forward_double)(p, a, &r);
        break;
    case FC_BACKWARD_DATA:
        (is_float ? backward_data_float : backward_data_double)(p, a, &r, 0);
        break;
    default:
        if (p->has_w) (is_float ? backward_weights_float : backward_weights_double)(p, a, &r);
        if (p->has_b) (is_float ? backward_bias_float : backward_bias_double)(p, a);
    }
    return (fc_status)r.status;
}

void fc_naive_repair_edges(const fc_conv_problem *p, const fc_arrays *a, fc_run *r) {
    (p->call.dtype == FC_FLOAT32 ? backward_data_float : backward_data_double)(p, a, r, 1);
}

fc_status fc_naive_weights(const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted) {
    fc_run r = fc_start(1, interrupted);
    (p->call.dtype == FC_FLOAT32 ? backward_weights_float : backward_weights_double)(p, a, &r);
    return (fc_status)r.status;
}

static void describe(const fc_plan *plan, fc_description *d) {
    (void)plan;
    snprintf(d->how, sizeof d->how, "the defining sums one by one, in double");
    d->tasks = 1;
}

const fc_path fc_path_naive = {.name = "naive", .exact = 1, .refuses = refuses, .run = run, .describe = describe};
