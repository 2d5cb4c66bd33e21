/* Which algorithm runs. */
#include <string.h>

#include "algorithms/conv_algorithm.h"

/* The first that does not refuse wins; naive refuses nothing. */
static const fc_conv_algorithm *const conv_algorithms[] = {
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

fc_status fc_conv_run(fc_conv_op op, const char *algorithm, const fc_conv_problem *problem,
                      const fc_conv_arrays *arrays) {
    for (int i = 0; i < CONV_ALGORITHMS; i++) {
        const fc_conv_algorithm *candidate = conv_algorithms[i];
        if (algorithm && strcmp(candidate->name, algorithm)) continue;
        if (candidate->refuses(op, problem)) continue;
        return candidate->run(op, problem, arrays);
    }
    return FC_REFUSED;
}
