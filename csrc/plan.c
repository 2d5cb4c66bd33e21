/* Which path runs: per op the ordered list of paths, the choice among them, and the plans that are made of it. */
#include <stdlib.h>
#include <string.h>

#include "columns/columns.h"
#include "conv/algorithm.h"
#include "path.h"
#include "pool/pool.h"

/* A path that refuses a problem is passed over; so is one that doubts whether it is the one to take, unless it is asked
 * for or no other is left. The first of the rest is taken: naive refuses nothing and doubts nothing. */
static const fc_path *const forward[] = {
    &fc_path_fully_connected,
    &fc_path_direct_channels, &fc_path_direct_narrow, &fc_path_direct_transposed, &fc_path_direct_in_place,
    &fc_path_direct_copies, &fc_path_direct_mixed,
    &fc_path_winograd_2x2_3x3, &fc_path_winograd_4x4_3x3, &fc_path_winograd_4x2_5x5, &fc_path_winograd_5x5_2x2,
    &fc_path_winograd_5_2, &fc_path_winograd_4_3, &fc_path_winograd_4_5, &fc_path_winograd_2_7,
    &fc_path_packed_pixels,
    &fc_path_gemm_pixels, &fc_path_gemm_pixels_apart, &fc_path_gemm_channels, &fc_path_gemm_pieces,
    &fc_path_gemm_row_pieces, &fc_path_gemm_mixed,
    &fc_path_naive, NULL,
};
static const fc_path *const backward_data[] = {
    &fc_path_fully_connected,
    &fc_path_direct_channels, &fc_path_direct_narrow, &fc_path_direct_transposed, &fc_path_direct_in_place,
    &fc_path_direct_copies, &fc_path_direct_mixed,
    &fc_path_winograd_2x2_3x3, &fc_path_winograd_4x4_3x3, &fc_path_winograd_4x2_5x5, &fc_path_winograd_5x5_2x2,
    &fc_path_winograd_5_2, &fc_path_winograd_4_3, &fc_path_winograd_4_5, &fc_path_winograd_2_7,
    &fc_path_packed_pixels,
    &fc_path_gemm_together_pixels, &fc_path_gemm_together_channels, &fc_path_gemm_pixels, &fc_path_gemm_pixels_apart,
    &fc_path_gemm_channels, &fc_path_gemm_dx_pieces, &fc_path_gemm_dx_row_pieces, &fc_path_gemm_dx_mixed,
    &fc_path_naive, NULL,
};
static const fc_path *const backward_weights[] = {
    &fc_path_fully_connected,
    &fc_path_direct_channels, &fc_path_direct_narrow, &fc_path_direct_transposed, &fc_path_direct_in_place,
    &fc_path_direct_copies, &fc_path_direct_mixed,
    &fc_path_winograd_2x2_3x3, &fc_path_winograd_4x4_3x3, &fc_path_winograd_4x2_5x5, &fc_path_winograd_5x5_2x2,
    &fc_path_winograd_5_2, &fc_path_winograd_4_3, &fc_path_winograd_4_5, &fc_path_winograd_2_7,
    &fc_path_gemm_dw_few_sums, &fc_path_gemm_dw_mixed, &fc_path_gemm_dw_by_tap, &fc_path_gemm_dw_first_by_tap,
    &fc_path_gemm_dw_by_block,
    &fc_path_naive, NULL,
};

static const fc_path *const pool_forward[] = {
    &fc_path_pool_lines, &fc_path_pool_whole, &fc_path_pool_windows, &fc_path_pool_rows, NULL,
};
static const fc_path *const avg_pool_backward[] = {
    &fc_path_pool_backward_whole, &fc_path_pool_backward_windows, &fc_path_pool_backward_rows, NULL,
};
static const fc_path *const scatter[] = {&fc_path_scatter, NULL};
static const fc_path *const columns[] = {&fc_path_columns, NULL};

static const fc_path *const *const paths[FC_OPS] = {
    [FC_FORWARD] = forward,
    [FC_BACKWARD_DATA] = backward_data,
    [FC_BACKWARD_WEIGHTS] = backward_weights,
    [FC_MAX_POOL] = pool_forward,
    [FC_AVG_POOL] = pool_forward,
    [FC_AVG_POOL_BACKWARD] = avg_pool_backward,
    [FC_SCATTER] = scatter,
    [FC_IM2COL] = columns,
    [FC_COL2IM] = columns,
};

const char *fc_path_name(fc_op op, int index) { return paths[op][index] ? paths[op][index]->name : NULL; }

/* Whether `name` is the path's, its algorithm's, or NULL. */
static int is_named(const fc_path *path, const char *name) {
    if (!name) return 1;
    const size_t length = strlen(name);
    return !strncmp(path->name, name, length) && (!path->name[length] || path->name[length] == '/');
}

const char *fc_path_refusal(fc_op op, const char *name, const fc_problem *problem) {
    const char *reason = "it has no path for this operation or direction";
    for (const fc_path *const *path = paths[op]; *path; path++) {
        if (!is_named(*path, name)) continue;
        reason = (*path)->refuses(*path, op, problem);
        if (!reason) return NULL;
    }
    return reason;
}

static const char *doubt_of(const fc_path *path, fc_op op, const fc_problem *problem, int of_algorithm) {
    const char *reason = path->doubt ? path->doubt(path, op, problem) : NULL;
    if (!reason && of_algorithm && path->algorithm) reason = path->algorithm->doubt(op, problem);
    return reason;
}

int fc_find_candidate(fc_op op, const fc_problem *problem, int index, fc_candidate *candidate) {
    const fc_path *path = paths[op][index];
    if (!path) return 0;
    *candidate = (fc_candidate){.name = path->name, .exact = path->exact, .refusal = path->refuses(path, op, problem)};
    if (candidate->refusal) return 1;
    candidate->doubt = doubt_of(path, op, problem, 1);
    candidate->cycles = path->cycles ? path->cycles(path, op, problem) : 0;
    return 1;
}

/* The path that was asked for, or the first of an algorithm, or of all, that has no doubt; where all doubt, the first
 * that does not refuse. NULL: all that are named refuse. */
static const fc_path *choose(fc_op op, const char *name, const fc_problem *problem) {
    const fc_path *last_resort = NULL;
    for (const fc_path *const *path = paths[op]; *path; path++) {
        if (!is_named(*path, name) || (*path)->refuses(*path, op, problem)) continue;
        if (name && !strcmp(name, (*path)->name)) return *path;
        if (!doubt_of(*path, op, problem, !name)) return *path;
        if (!last_resort) last_resort = *path;
    }
    return last_resort;
}

/* Whether there are no images: then nothing is planned, and all there is to do is to clear gradients. Without a
 * default, so that the compiler names an op that is missing. */
static int is_empty(fc_op op, const fc_problem *problem) {
    switch (op) {
    case FC_FORWARD:
    case FC_BACKWARD_DATA:
    case FC_BACKWARD_WEIGHTS:
        return problem->conv.batch == 0;
    case FC_MAX_POOL:
    case FC_AVG_POOL:
    case FC_AVG_POOL_BACKWARD:
        return problem->pool.batch == 0;
    case FC_SCATTER:
        return problem->scatter.batch == 0;
    case FC_IM2COL:
    case FC_COL2IM:
        return problem->columns.batch == 0;
    case FC_OPS:
        break;
    }
    return 1;
}

static fc_status create(fc_op op, const fc_path *path, const fc_problem *problem, fc_plan **plan);

/* The plan that takes over; where the path's own wish refuses, the last of the list, which never does. */
static fc_status create_fallback(fc_plan *plan) {
    if (!plan->path->fallback) return FC_OK;
    const fc_path *path = choose(plan->op, plan->path->fallback, &plan->problem);
    if (!path) path = choose(plan->op, "naive", &plan->problem);
    return create(plan->op, path, &plan->problem, &plan->fallback);
}

static fc_status create(fc_op op, const fc_path *path, const fc_problem *problem, fc_plan **plan) {
    fc_plan *made = calloc(1, sizeof *made);
    *plan = NULL;
    if (!made) return FC_NO_MEMORY;
    made->op = op;
    made->problem = *problem;
    made->path = path;
    fc_status status = FC_OK;
    if (!is_empty(op, problem)) {
        if (path->create) status = path->create(made);
        if (status == FC_OK) status = create_fallback(made);
    }
    if (status == FC_OK) *plan = made;
    else fc_plan_free(made);
    return status;
}

/* Algorithms that sum db along with dw have no path for db alone, which is the same sum whatever dw is done by: where
 * such an algorithm is asked for it and can do dw, what takes over from its path sums db. */
static const fc_path *choose_for_bias(const char *algorithm, const fc_problem *problem) {
    fc_problem with_dw = *problem;
    with_dw.conv.has_w = 1;
    const fc_path *path = choose(FC_BACKWARD_WEIGHTS, algorithm, &with_dw);
    return path && path->fallback ? choose(FC_BACKWARD_WEIGHTS, path->fallback, problem) : NULL;
}

fc_status fc_plan_create(fc_op op, const char *name, const fc_problem *problem, fc_plan **plan) {
    const fc_path *path = choose(op, name, problem);
    const int is_bias_alone = op == FC_BACKWARD_WEIGHTS && !problem->conv.has_w;
    if (!path && is_bias_alone && name && !strchr(name, '/')) path = choose_for_bias(name, problem);
    *plan = NULL;
    return path ? create(op, path, problem, plan) : FC_REFUSED;
}

void fc_plan_free(fc_plan *plan) {
    if (!plan) return;
    fc_plan_free(plan->fallback);
    fc_plan_release(plan);
    free(plan);
}

fc_status fc_plan_run(const fc_plan *plan, const fc_arrays *arrays, fc_question interrupted) {
    if (is_empty(plan->op, &plan->problem)) {
        if (plan->op == FC_BACKWARD_WEIGHTS) fc_conv_clear_gradients(&plan->problem.conv, arrays);
        return FC_OK;
    }
    return plan->path->run(plan, arrays, interrupted);
}

fc_status fc_plan_prepare(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights) {
    *weights = NULL;
    if (!plan->path->prepare || is_empty(plan->op, &plan->problem)) return FC_OK;
    return plan->path->prepare(plan, w, interrupted, weights);
}

void fc_weights_free(fc_weights *weights) {
    if (weights) weights->free(weights);
}

void fc_plan_describe(const fc_plan *plan, fc_description *description) {
    *description = (fc_description){
        .path = plan->path->name,
        .fallback = plan->fallback ? plan->fallback->path->name : NULL,
    };
    if (plan->path->describe && !is_empty(plan->op, &plan->problem)) plan->path->describe(plan, description);
}
