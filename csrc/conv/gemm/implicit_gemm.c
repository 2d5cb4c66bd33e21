/* Dense convolution by gathered GEMMs (gemm/correlate.h), forward and backward data: any geometry, any strides. */
#include <stdlib.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "../correlations.h"
#include "correlate.h"
#include "limits.h"

/* The weights of each group in the arrangement of its correlations. */
typedef struct {
    fc_weights common;
    ptrdiff_t groups;
    fc_packed packed[];
} prepared;

static void forward(fc_conv_job *j, const prepared *weights) {
    const ptrdiff_t depth = j->p->out_size[0];
    for (ptrdiff_t g = 0; g < j->p->groups; g++) {
        fc_packed own = {0};
        if (!weights && depth > 1) { /* once for all output planes */
            const fc_correlation middle = fc_conv_forward_correlation(j, g, depth / 2);
            fc_pack_weights(j->kernels, j->size, &j->run, &middle, &own);
        }
        for (ptrdiff_t o = 0; o < depth && j->run.status == FC_OK; o++) {
            fc_correlation c = fc_conv_forward_correlation(j, g, o);
            c.packed = weights ? &weights->packed[g] : &own;
            fc_correlate(j->kernels, j->size, &j->run, &c);
        }
        fc_scratch_release(own.weights);
    }
}

static void correlate_each(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    (void)context;
    fc_correlate_residues(j->kernels, j->size, &j->run, residue, lines * residues);
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)path;
    return fc_gemm_refusal(op, &problem->conv);
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    fc_conv_job j = fc_conv_start(&plan->problem.conv, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    if (plan->op == FC_FORWARD) forward(&j, (const prepared *)fc_weights_of(plan, a));
    else fc_conv_backward_data(&j, plan->problem.conv.groups, correlate_each, NULL);
    return fc_conv_end(&j);
}

static void free_prepared(fc_weights *weights) {
    prepared *all = (prepared *)weights;
    for (ptrdiff_t g = 0; g < all->groups; g++) fc_scratch_release(all->packed[g].weights);
    free(all);
}

static fc_status prepare(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights) {
    const fc_conv_problem *p = &plan->problem.conv;
    const fc_arrays arrays = {.w = (void *)w};
    prepared *all = calloc(1, sizeof *all + (size_t)p->groups * sizeof *all->packed);
    if (!all) return FC_NO_MEMORY;
    all->common = (fc_weights){prepare, p->call.isa, free_prepared};
    all->groups = p->groups;
    fc_conv_job j = fc_conv_start(p, &arrays, interrupted);
    if (!j.plane) fc_stop(&j.run, FC_NO_MEMORY);
    for (ptrdiff_t g = 0; g < p->groups && j.run.status == FC_OK; g++) {
        const fc_correlation c = fc_conv_forward_correlation(&j, g, p->out_size[0] / 2);
        fc_pack_weights(j.kernels, j.size, &j.run, &c, &all->packed[g]);
    }
    fc_scratch_release(j.plane);
    if (j.run.status == FC_OK) *weights = &all->common;
    else free_prepared(&all->common);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *d) {
    const fc_conv_problem *p = &plan->problem.conv;
    if (plan->op != FC_FORWARD) return;
    fc_conv_job j = fc_conv_start(p, NULL, NULL);
    if (!j.plane) return;
    const fc_correlation c = fc_conv_forward_correlation(&j, 0, p->out_size[0] / 2);
    d->workspace = fc_describe_correlation(j.kernels, j.size, &j.run, &c, d->how, sizeof d->how, &d->packed);
    d->packed *= (size_t)p->groups;
    fc_scratch_release(j.plane);
}

const fc_path fc_path_implicit_gemm = {
    .name = "implicit_gemm", .exact = 1, .refuses = refuses, .run = run, .prepare = prepare, .describe = describe,
};
