/* Paths of backward weights by gathered GEMMs: any geometry, any strides. */
#include "../correlations.h"
#include "limits.h"
#include "weights.h"

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)path;
    return fc_gemm_refusal(op, &problem->conv);
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    fc_conv_job j = fc_conv_start(&plan->problem.conv, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    for (ptrdiff_t g = 0; g < j.p->groups; g++)
        for (ptrdiff_t o = 0; o < j.p->out_size[0] && j.run.status == FC_OK; o++) {
            const fc_correlation c = fc_conv_forward_correlation(&j, g, o);
            const fc_weights_gradient gradient = fc_conv_weights_gradient(&j, g, &c);
            fc_correlate_weights(j.kernels, j.size, &j.run, &gradient, o > 0);
        }
    return fc_conv_end(&j);
}

const fc_path fc_path_gemm_weights = {.name = "implicit_gemm", .exact = 1, .refuses = refuses, .run = run};
