/* Softmax cross-entropy and its gradient, row by row: a row's exponentials are still in cache when they are
 * scaled. Losses are added in blocks of rows, the blocks in their order, whatever the threads. */
#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/memory.h"
#include "../platform/threads.h"

/* Elements of a block, at most, unless one row has more; that are worth a thread more: about 10 us. */
enum { BLOCK = 4096, THREAD_ELEMENTS = 16384 };

typedef struct {
    const fc_softmax_problem *p;
    const fc_activation_kernels *kernels;
    fc_run run;
    const char *scores;
    const long long *labels;
    char *gradient;
    double *losses; /* of the blocks */
    ptrdiff_t row_bytes, rows, blocks, parts;
} job;

static void blocks_task(void *context, int index) {
    job *j = context;
    const fc_softmax_problem *p = j->p;
    const fc_units share = fc_units_of(j->blocks, j->parts, index);
    const ptrdiff_t bytes = j->rows * j->row_bytes;
    for (ptrdiff_t block = share.begin; block < share.end; block++) {
        if (fc_stopped_at(&j->run, block - share.begin, bytes)) return;
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
    job j = {
        .p = p,
        .kernels = &fc_find_kernels(p->call.isa, p->call.dtype)->activation,
        .run = fc_start(fc_useful_threads(p->call.threads, elements, THREAD_ELEMENTS), p->call.interrupted),
        .scores = scores,
        .labels = labels,
        .gradient = gradient,
        .row_bytes = p->classes * (p->call.dtype == FC_FLOAT32 ? 4 : 8),
        .rows = max(1, BLOCK / p->classes),
    };
    j.blocks = quotient_up(p->batch, j.rows);
    j.parts = min(j.blocks, j.run.threads);
    j.losses = fc_scratch_acquire((size_t)j.blocks * sizeof *j.losses);
    if (!j.losses) return FC_NO_MEMORY;
    fc_parallel(&j.run, (int)j.parts, blocks_task, &j);
    *loss = 0;
    for (ptrdiff_t block = 0; block < j.blocks && j.run.status == FC_OK; block++) *loss += j.losses[block];
    *loss /= (double)p->batch;
    fc_scratch_release(j.losses);
    return (fc_status)j.run.status;
}
