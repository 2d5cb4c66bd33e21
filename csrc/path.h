/* What a path is: a row of the lists in plan.c, and what a plan holds of it.
 *
 * A path is one way to run an op, `algorithm/arrangement`. It can be asked, without arrays, whether it can do a
 * problem, whether it is the one to take, and what that is estimated to cost. Paths of one algorithm share its
 * functions, which find their own arrangement in `variant`. */
#ifndef FC_PATH_H
#define FC_PATH_H

#include "fastconv.h"

typedef struct fc_path fc_path;

typedef struct {
    /* Why none of its paths is to be taken unasked, as a sentence without a full stop; NULL: one may. */
    const char *(*doubt)(fc_op op, const fc_problem *problem);
} fc_algorithm;

struct fc_path {
    const char *name;
    const fc_algorithm *algorithm; /* NULL: it has no doubts */
    int variant;                   /* which of its algorithm's arrangements it is */
    int exact;                     /* sums of small whole numbers are */
    const char *fallback;          /* the path or algorithm that the plan holds ready for values that are not finite */
    /* What it cannot do, as a sentence without a full stop, or NULL. */
    const char *(*refuses)(const fc_path *path, fc_op op, const fc_problem *problem);
    /* Why another of its algorithm's paths is to be taken, or NULL; asked if it does not refuse. NULL: never. */
    const char *(*doubt)(const fc_path *path, fc_op op, const fc_problem *problem);
    /* Estimate in cycles of one thread, asked if it does not refuse; NULL: it has none. */
    double (*cycles)(const fc_path *path, fc_op op, const fc_problem *problem);
    /* Sets plan->state, in memory of fc_plan_allocate; NULL: nothing is to be kept. The batch is not empty. */
    fc_status (*create)(fc_plan *plan);
    /* Binds the addresses and computes. */
    fc_status (*run)(const fc_plan *plan, const fc_arrays *arrays, fc_question interrupted);
    /* fc_plan_prepare of a forward plan; NULL: there is nothing to arrange. */
    fc_status (*prepare)(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights);
    /* Completes what fc_plan_describe says beside the names; NULL: there is nothing to say. */
    void (*describe)(const fc_plan *plan, fc_description *description);
};

struct fc_plan {
    const fc_path *path;
    fc_op op;
    fc_problem problem;
    void *state;       /* the path's own; NULL where the batch is empty, or it keeps nothing */
    fc_plan *fallback; /* of path->fallback, or NULL */
    struct fc_plan_memory *memory;
};

/* Zeroed memory that lives as long as the plan, aligned for any type; NULL if there is none. */
void *fc_plan_allocate(fc_plan *plan, size_t bytes);
/* All of it. */
void fc_plan_release(fc_plan *plan);

/* What prepare gives: made by one algorithm for one instruction set, then its own. */
struct fc_weights {
    fc_status (*made_by)(const fc_plan *plan, const void *w, fc_question interrupted, fc_weights **weights);
    int isa;
    void (*free)(fc_weights *weights);
};

/* The weights of a call if this plan's algorithm made them for its instruction set, else NULL. */
static inline const fc_weights *fc_weights_of(const fc_plan *plan, const fc_arrays *arrays) {
    const fc_weights *weights = arrays->weights;
    if (!weights || weights->made_by != plan->path->prepare || weights->isa != plan->problem.call.isa) return NULL;
    return weights;
}

#endif
