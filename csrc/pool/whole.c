/* Pools of one window a plane, all of it, whose elements are adjacent: forward, and the gradient of an average. */
#include "../arithmetic.h"
#include "../platform/threads.h"
#include "../tuning.h"
#include "pool.h"
#include "windows.h"

/* A call, or without arrays what is kept of it in a plan. */
typedef struct {
    fc_pool pool;
    ptrdiff_t count; /* elements of a window */
    double divisor;
    ptrdiff_t tasks;
    fc_run run;
    const char *x; /* or dy */
    char *y;       /* or dx */
    long long *indices;
} job;

static void forward_task(void *context, int task) {
    job *j = context;
    const fc_units planes = fc_units_of(j->pool.planes, j->tasks, task);
    const fc_pool_kernels *k = &j->pool.kernels->pool;
    const ptrdiff_t size = j->pool.size, bytes = j->count * size;
    for (ptrdiff_t u = planes.begin; u < planes.end && !fc_stopped_at(&j->run, u - planes.begin, bytes); u++) {
        const char *x = j->x + u * bytes;
        if (j->pool.has_indices) {
            const ptrdiff_t at = k->max_run(j->count, x, 1, j->y + u * size);
            if (j->indices) j->indices[u] = at;
            continue;
        }
        const double mean = k->sum_run(j->count, x) / j->divisor;
        if (size == 4) ((float *)j->y)[u] = (float)mean;
        else ((double *)j->y)[u] = mean;
    }
}

static void backward_task(void *context, int task) {
    job *j = context;
    const fc_units planes = fc_units_of(j->pool.planes, j->tasks, task);
    const ptrdiff_t count = j->count, bytes = count * j->pool.size;
    for (ptrdiff_t u = planes.begin; u < planes.end && !fc_stopped_at(&j->run, u - planes.begin, bytes); u++) {
        if (j->pool.size == 4) {
            const float each = (float)(((const float *)j->x)[u] / j->divisor);
            for (ptrdiff_t i = 0; i < count; i++) ((float *)j->y)[u * count + i] = each;
        } else {
            const double each = ((const double *)j->x)[u] / j->divisor;
            for (ptrdiff_t i = 0; i < count; i++) ((double *)j->y)[u * count + i] = each;
        }
    }
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    if (fc_pool_is_too_large(&problem->pool)) return "a plane has 2**31 positions or more";
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    const fc_pool_problem *p = &pool.p;
    (void)path;
    if (pool.element != pool.size) return "elements are not of the type that is pooled in";
    if (pool.inner > 1) return "channels are last";
    if (p->adaptive) return "windows differ in size";
    for (int axis = 0; axis < 3; axis++) {
        if (p->kernel[axis] != p->in_size[axis] || p->pad[axis] || p->pad_after[axis])
            return "a window is not the whole plane";
        if (p->kernel[axis] > 1 && p->dilation[axis] > 1) return "a window has gaps";
    }
    return NULL;
}

/* Where the axes are not joined, pool/rows takes the lines apart: the last bit of a sum depends on the order. */
static const char *doubts_lines(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    (void)path;
    return pool.p.in_size[0] * pool.p.in_size[1] > 1 ? "lines of a window are summed apart, then across" : NULL;
}

static fc_status create(fc_plan *plan) {
    job *j = plan->state = fc_plan_allocate(plan, sizeof *j);
    if (!j) return FC_NO_MEMORY;
    j->pool = fc_pool_of(plan->op, &plan->problem.pool);
    const fc_pool_problem *p = &j->pool.p;
    j->count = p->in_size[0] * p->in_size[1] * p->in_size[2];
    j->divisor = p->divisor != 0 ? p->divisor : (double)j->count;
    j->tasks = min(j->pool.planes, plan->op == FC_AVG_POOL_BACKWARD ? p->call.threads : fc_pool_threads(p));
    FC_ASSERT(j->tasks >= 1);
    return FC_OK;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    job j = *(const job *)plan->state;
    const int is_forward = plan->op != FC_AVG_POOL_BACKWARD;
    FC_ASSERT(a->x && a->y);
    j.x = is_forward ? a->x : a->y;
    j.y = is_forward ? a->y : a->x;
    j.indices = a->indices;
    j.run = fc_start((int)j.tasks, interrupted);
    fc_parallel(&j.run, (int)j.tasks, is_forward ? forward_task : backward_task, &j);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *description) {
    const job *j = plan->state;
    fc_pool_describe(description, "one window a plane, all of it", 0, j->tasks, 0);
}

const fc_path fc_path_pool_whole = {
    .name = "pool/whole",
    .exact = 1,
    .refuses = refuses,
    .doubt = doubts_lines,
    .create = create,
    .run = run,
    .describe = describe,
};

const fc_path fc_path_pool_backward_whole = {
    .name = "pool/whole",
    .exact = 1,
    .refuses = refuses,
    .create = create,
    .run = run,
    .describe = describe,
};
