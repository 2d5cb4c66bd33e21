/* ReLU and sigmoid, forward and backward: one pass over memory. */
#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/threads.h"
#include "../tuning.h"

typedef struct {
    fc_activation activation;
    const fc_activation_kernels *kernels;
    fc_run run;
    const char *x, *dy;
    char *y;
    ptrdiff_t count, size, units, tasks;
} job;

static void activate_task(void *context, int task) {
    job *j = context;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(&j->run, u - units.begin, FC_LAYER_BLOCK); u++) {
        const ptrdiff_t count = min(FC_LAYER_BLOCK, j->count - u * FC_LAYER_BLOCK), at = u * FC_LAYER_BLOCK * j->size;
        const char *dy = j->dy ? j->dy + at : NULL;
        if (j->activation == FC_RELU) j->kernels->relu(count, j->x + at, dy, j->y + at);
        else if (dy) j->kernels->sigmoid_gradient(count, j->x + at, dy, j->y + at);
        else j->kernels->sigmoid(count, j->x + at, j->y + at);
    }
}

fc_status fc_activate(const fc_activation_problem *p, const void *x, const void *dy, void *y) {
    const ptrdiff_t size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    const double bytes = (double)p->count * (double)size;
    FC_ASSERT(p->count >= 0);
    job j = {
        .activation = p->activation,
        .kernels = &fc_find_kernels(p->call.isa, p->call.dtype)->activation,
        .run = fc_start(fc_useful_threads(p->call.threads, bytes, FC_LAYER_THREAD_BYTES), p->call.interrupted),
        .x = x,
        .dy = dy,
        .y = y,
        .count = p->count,
        .size = size,
        .units = quotient_up(p->count, FC_LAYER_BLOCK),
    };
    j.tasks = max(1, min(j.units, j.run.threads));
    fc_parallel(&j.run, (int)j.tasks, activate_task, &j);
    return (fc_status)j.run.status;
}
