/* Softmax cross-entropy and its gradient, row by row: a row's exponentials are still in cache when they are
 * scaled. Losses are added in blocks of rows, the blocks in their order, whatever the threads. */
#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"

typedef struct {
    const fc_softmax_problem *p;
    const fc_activation_kernels *kernels;
    fc_run run;
    const char *scores;
    const long long *labels;
    char *gradient;
    double *losses;                           /* of the blocks */
    ptrdiff_t row_bytes, rows, blocks, tasks; /* rows of a block, unless it is the last */
} job;

static void blocks_task(void *context, int task) {
    job *j = context;
    const fc_softmax_problem *p = j->p;
    const fc_units blocks = fc_units_of(j->blocks, j->tasks, task);
    const ptrdiff_t bytes = j->rows * j->row_bytes;
    for (ptrdiff_t block = blocks.begin; block < blocks.end; block++) {
        if (fc_stopped_at(&j->run, block - blocks.begin, bytes)) return;
        const ptrdiff_t end = min(p->batch, (block + 1) * j->rows);
        double loss = 0;
        for (ptrdiff_t n = block * j->rows; n < end; n++) {
            const ptrdiff_t label = (ptrdiff_t)j->labels[n];
            if ((size_t)label >= (size_t)p->classes) { /* the caller's array has changed since it was checked */
                fc_stop(&j->run, FC_OUT_OF_RANGE);
                return;
            }
            loss += j->kernels->softmax(p->classes, j->scores + n * j->row_bytes, label, 1 / (double)p->batch,
                                        j->gradient + n * j->row_bytes);
        }
        j->losses[block] = loss;
    }
}

fc_status fc_softmax_cross_entropy(const fc_softmax_problem *p, const void *scores, const long long *labels,
                                   double *loss, void *gradient) {
    const double elements = (double)p->batch * (double)p->classes;
    FC_ASSERT(p->batch >= 1 && p->classes >= 1);
    job j = {
        .p = p,
        .kernels = &fc_find_kernels(p->call.isa, p->call.dtype)->activation,
        .run = fc_start(fc_useful_threads(p->call.threads, elements, FC_SOFTMAX_THREAD_ELEMENTS), p->call.interrupted),
        .scores = scores,
        .labels = labels,
        .gradient = gradient,
        .row_bytes = p->classes * (p->call.dtype == FC_FLOAT32 ? 4 : 8),
        .rows = max(1, FC_LAYER_BLOCK / p->classes),
    };
    j.blocks = quotient_up(p->batch, j.rows);
    j.tasks = min(j.blocks, j.run.threads);
    j.losses = fc_scratch_acquire((size_t)j.blocks * sizeof *j.losses);
    if (!j.losses) return FC_NO_MEMORY;
    fc_parallel(&j.run, (int)j.tasks, blocks_task, &j);
    *loss = 0;
    for (ptrdiff_t block = 0; block < j.blocks && j.run.status == FC_OK; block++) *loss += j.losses[block];
    *loss /= (double)p->batch;
    fc_scratch_release(j.losses);
    return (fc_status)j.run.status;
}
