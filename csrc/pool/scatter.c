/* Elements to where indices say: dx of a maximum, and max_unpool. */
#include <stdio.h>
#include <string.h>

#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/threads.h"
#include "../tuning.h"
#include "pool.h"

/* A call, or without arrays what is kept of it in a plan. */
typedef struct {
    fc_scatter_problem p;
    const fc_kernels *kernels;
    ptrdiff_t size, chunk, chunks; /* channels of a chunk; chunks of an image */
    ptrdiff_t units, tasks;        /* units: planes, or chunks of channels of images */
    fc_run run;
    const char *source;
    const long long *indices;
    char *target;
} job;

static void scatter_task(void *context, int task) {
    job *j = context;
    const fc_scatter_problem *p = &j->p;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    for (ptrdiff_t u = units.begin; u < units.end; u++) {
        if (fc_stopped_at(&j->run, u - units.begin, p->plane * j->size)) return;
        fc_scattered shape = {p->count, 1, 1, p->plane, p->add};
        ptrdiff_t from = u * p->count, to = u * p->plane;
        if (p->channels_last) {
            const ptrdiff_t image = u / j->chunks, c = u % j->chunks * j->chunk;
            shape.channels = min(j->chunk, p->channels - c);
            shape.stride = p->channels;
            from = image * p->count * p->channels + c;
            to = image * p->plane * p->channels + c;
            for (ptrdiff_t i = 0; i < (j->chunks == 1 ? 1 : p->plane); i++)
                memset(j->target + (to + i * p->channels) * j->size, 0,
                       (size_t)((j->chunks == 1 ? p->plane * p->channels : shape.channels) * j->size));
        } else {
            memset(j->target + to * j->size, 0, (size_t)(p->plane * j->size));
        }
        for (ptrdiff_t i = 0; i < p->count; i += FC_SCATTER_OUTPUTS) {
            if (fc_stopped_at(&j->run, i / FC_SCATTER_OUTPUTS, FC_SCATTER_OUTPUTS)) break;
            shape.count = min(FC_SCATTER_OUTPUTS, p->count - i);
            if (!j->kernels->pool.scatter(&shape, j->source + (from + i * shape.stride) * j->size,
                                          (const int64_t *)j->indices + from + i * shape.stride,
                                          j->target + to * j->size))
                fc_stop(&j->run, FC_OUT_OF_RANGE);
        }
    }
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)path, (void)op, (void)problem;
    return NULL;
}

static fc_status create(fc_plan *plan) {
    const fc_scatter_problem *p = &plan->problem.scatter;
    const double bytes = (double)p->batch * (double)p->channels * (double)(p->plane + 3 * p->count) * 4;
    const ptrdiff_t threads = fc_useful_threads(p->call.threads, bytes, FC_POOL_THREAD_BYTES);
    const int by_chunks = p->channels_last && p->batch < threads;
    job *j = plan->state = fc_plan_allocate(plan, sizeof *j);
    if (!j) return FC_NO_MEMORY;
    j->p = *p;
    j->kernels = fc_find_kernels(p->call.isa, p->call.dtype);
    j->size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    j->chunk = by_chunks ? max(FC_SCATTER_MIN_CHANNELS, even_block(p->channels, FC_SCATTER_CHANNELS)) : p->channels;
    j->chunks = quotient_up(p->channels, j->chunk);
    j->units = p->batch * (p->channels_last ? j->chunks : p->channels);
    j->tasks = min(j->units, threads);
    FC_ASSERT(p->count >= 0 && p->plane >= 0 && j->chunk >= 1);
    return FC_OK;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    job j = *(const job *)plan->state;
    FC_ASSERT(a->x && a->y && a->indices);
    j.source = a->y;
    j.indices = a->indices;
    j.target = a->x;
    j.run = fc_start((int)j.tasks, interrupted);
    fc_parallel(&j.run, (int)j.tasks, scatter_task, &j);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *description) {
    const job *j = plan->state;
    snprintf(description->how, sizeof description->how, "planes of zeros, %s to where the indices say",
             j->p.add ? "elements added" : "elements copied");
    description->tasks = j->tasks;
}

const fc_path fc_path_scatter = {
    .name = "scatter",
    .exact = 1,
    .refuses = refuses,
    .create = create,
    .run = run,
    .describe = describe,
};
