/* Elements to where indices say: dx of a maximum, and max_unpool. */
#include <string.h>

#include "../arithmetic.h"
#include "../platform/threads.h"
#include "shared.h"

typedef struct {
    const fc_scatter_problem *p;
    const fc_kernels *kernels;
    fc_run run;
    const char *source;
    const long long *indices;
    char *target;
    ptrdiff_t size, chunk, chunks, units, parts; /* units: planes, or chunks of channels of images */
} scatter;

/* Outputs between two questions whether to stop. */
enum { PIECE = 64 << 10 };

static void scatter_task(void *context, int index) {
    scatter *j = context;
    const fc_scatter_problem *p = j->p;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    for (ptrdiff_t u = share.begin; u < share.end; u++) {
        if (fc_stopped_at(&j->run, u - share.begin, p->plane * j->size)) return;
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
        for (ptrdiff_t i = 0; i < p->count && !fc_stopped_at(&j->run, i / PIECE, PIECE); i += PIECE) {
            shape.count = min(PIECE, p->count - i);
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

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_scatter_problem *p = &plan->problem.scatter;
    const double bytes = (double)p->batch * (double)p->channels * (double)(p->plane + 3 * p->count) * 4;
    scatter j = {
        .p = p,
        .kernels = fc_find_kernels(p->call.isa, p->call.dtype),
        .run = fc_start(fc_useful_threads(p->call.threads, bytes, FC_POOL_THREAD_BYTES), interrupted),
        .source = a->y,
        .indices = a->indices,
        .target = a->x,
        .size = p->call.dtype == FC_FLOAT32 ? 4 : 8,
    };
    /* A chunk is whole lines, so that threads do not write to the same ones. */
    j.chunk = p->channels_last && p->batch < j.run.threads ? max(16, even_block(p->channels, 64)) : p->channels;
    j.chunks = quotient_up(p->channels, j.chunk);
    j.units = p->batch * (p->channels_last ? j.chunks : p->channels);
    j.parts = min(j.units, j.run.threads);
    fc_parallel(&j.run, (int)j.parts, scatter_task, &j);
    return (fc_status)j.run.status;
}

const fc_path fc_path_scatter = {.name = "scatter", .exact = 1, .refuses = refuses, .run = run};
