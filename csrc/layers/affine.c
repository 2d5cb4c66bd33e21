/* What a fully connected layer adds to its matrix products: the bias of y, and db. */
#include <string.h>

#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"

typedef struct {
    const fc_affine_problem *p;
    const fc_kernels *kernels;
    fc_run run;
    const char *bias;
    char *y;        /* or dy */
    double *sums;   /* (partials, cols), or NULL: the bias is added */
    ptrdiff_t size, length, units, partials, tasks; /* length: rows of a unit */
} job;

static job start(const fc_affine_problem *p, const void *y, const void *bias) {
    const ptrdiff_t size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    const double bytes = (double)p->rows * (double)p->cols * (double)size;
    FC_ASSERT(p->rows >= 1 && p->cols >= 1);
    job j = {
        .p = p,
        .kernels = fc_find_kernels(p->call.isa, p->call.dtype),
        .run = fc_start(fc_useful_threads(p->call.threads, bytes, FC_LAYER_THREAD_BYTES), p->call.interrupted),
        .bias = bias,
        .y = (char *)y,
        .size = size,
        .length = max(1, FC_LAYER_CHUNK_BYTES / size / p->cols),
    };
    j.units = quotient_up(p->rows, j.length);
    j.partials = min(j.units, FC_AFFINE_PARTIALS);
    return j;
}

static void unit(const job *j, ptrdiff_t u, double *sums) {
    const ptrdiff_t cols = j->p->cols, rows = min(j->length, j->p->rows - u * j->length);
    char *y = j->y + u * j->length * cols * j->size;
    if (sums) j->kernels->sum(rows, cols, y, cols, sums);
    else
        for (ptrdiff_t i = 0; i < rows; i++) j->kernels->add(cols, j->bias, y + i * cols * j->size);
}

/* Units are dealt to partials, these to tasks: the sums are the same whatever the threads. */
static void affine_task(void *context, int task) {
    job *j = context;
    const ptrdiff_t partials = j->sums ? j->partials : j->units;
    const fc_units mine = fc_units_of(partials, j->tasks, task);
    const ptrdiff_t bytes = j->length * j->p->cols * j->size;
    for (ptrdiff_t i = mine.begin; i < mine.end; i++) {
        const fc_units units = fc_units_of(j->units, partials, i);
        for (ptrdiff_t u = units.begin; u < units.end; u++) {
            if (fc_stopped_at(&j->run, u - units.begin, bytes)) return;
            unit(j, u, j->sums ? j->sums + i * j->p->cols : NULL);
        }
    }
}

fc_status fc_add_bias(const fc_affine_problem *p, const void *bias, void *y) {
    job j = start(p, y, bias);
    j.tasks = min(j.units, j.run.threads);
    fc_parallel(&j.run, (int)j.tasks, affine_task, &j);
    return (fc_status)j.run.status;
}

fc_status fc_sum_rows(const fc_affine_problem *p, const void *dy, double *sums) {
    job j = start(p, dy, NULL);
    const size_t bytes = (size_t)(j.partials * p->cols) * sizeof *sums;
    j.sums = fc_scratch_acquire(bytes);
    if (!j.sums) return FC_NO_MEMORY;
    memset(j.sums, 0, bytes);
    j.tasks = min(j.partials, j.run.threads);
    fc_parallel(&j.run, (int)j.tasks, affine_task, &j);
    for (ptrdiff_t c = 0; c < p->cols; c++) {
        sums[c] = 0;
        for (ptrdiff_t i = 0; i < j.partials; i++) sums[c] += j.sums[i * p->cols + c];
    }
    fc_scratch_release(j.sums);
    return (fc_status)j.run.status;
}
