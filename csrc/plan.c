/* Which algorithm runs. */
#include <string.h>

#include "conv/algorithm.h"

/* The first that suits and does not refuse is taken; naive refuses nothing. */
static const fc_conv_algorithm *const conv_algorithms[] = {
    &fc_conv_fully_connected,
    &fc_conv_direct,
    &fc_conv_winograd,
    &fc_conv_implicit_gemm,
    &fc_conv_naive,
};
enum { CONV_ALGORITHMS = sizeof conv_algorithms / sizeof *conv_algorithms };

const char *fc_conv_algorithm_name(int index) {
    return index < CONV_ALGORITHMS ? conv_algorithms[index]->name : NULL;
}

static const fc_conv_algorithm *find(const char *name) {
    for (int i = 0; i < CONV_ALGORITHMS; i++)
        if (!strcmp(conv_algorithms[i]->name, name)) return conv_algorithms[i];
    return NULL;
}

const char *fc_conv_refusal(fc_conv_op op, const char *algorithm, const fc_conv_problem *problem) {
    const fc_conv_algorithm *found = find(algorithm);
    return found ? found->refuses(op, problem) : "there is no algorithm of this name";
}

/* The named algorithm, or the first that suits; NULL if it refuses. */
static const fc_conv_algorithm *choose(fc_conv_op op, const char *name, const fc_conv_problem *problem) {
    for (int i = 0; i < CONV_ALGORITHMS; i++) {
        const fc_conv_algorithm *candidate = conv_algorithms[i];
        if (name ? strcmp(candidate->name, name) : candidate->suits && !candidate->suits(op, problem)) continue;
        if (!candidate->refuses(op, problem)) return candidate;
    }
    return NULL;
}

fc_status fc_conv_run(fc_conv_op op, const char *algorithm, const fc_conv_problem *problem,
                      const fc_conv_arrays *arrays) {
    const fc_conv_algorithm *chosen = choose(op, algorithm, problem);
    return chosen ? chosen->run(op, problem, arrays) : FC_REFUSED;
}

fc_status fc_conv_prepare(const char *algorithm, const fc_conv_problem *problem,
                          const fc_conv_arrays *arrays, fc_conv_weights **weights) {
    const fc_conv_algorithm *chosen = choose(FC_FORWARD, algorithm, problem);
    *weights = NULL;
    return chosen ? chosen->prepare(problem, arrays, weights) : FC_REFUSED;
}

void fc_conv_free_weights(fc_conv_weights *weights) {
    if (weights) weights->free(weights);
}

void fc_conv_describe(const char *algorithm, const fc_conv_problem *problem,
                      fc_conv_description *description) {
    const fc_conv_algorithm *chosen = choose(FC_FORWARD, algorithm, problem);
    *description = (fc_conv_description){.algorithm = chosen ? chosen->name : NULL};
    if (chosen) chosen->describe(problem, description);
}
