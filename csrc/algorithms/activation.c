/* ReLU and sigmoid, forward and backward: one pass over memory. */
#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../threads.h"

/* Bytes worth a thread more: about 10 us. */
static const double THREAD_BYTES = 128 << 10;

typedef struct {
    fc_activation activation;
    const fc_norm_kernels *kernels;
    const char *x, *dy;
    char *y;
    ptrdiff_t count, size;
    int parts;
} job;

static void activate_part(void *context, int index) {
    const job *j = context;
    const ptrdiff_t each = quotient_up(j->count, j->parts), begin = least(j->count, index * each);
    const ptrdiff_t count = least(j->count - begin, each);
    const char *x = j->x + begin * j->size, *dy = j->dy ? j->dy + begin * j->size : NULL;
    char *y = j->y + begin * j->size;
    if (j->activation == FC_RELU) j->kernels->relu(count, x, dy, y);
    else if (dy) j->kernels->sigmoid_gradient(count, x, dy, y);
    else j->kernels->sigmoid(count, x, y);
}

void fc_activate(fc_activation activation, fc_dtype dtype, int isa, int threads, ptrdiff_t count,
                 const void *x, const void *dy, void *y) {
    const fc_norm_kernels *kernels = &fc_find_kernels(isa, dtype)->norm;
    job j = {activation, kernels, x, dy, y, count, dtype == FC_FLOAT32 ? 4 : 8, 1};
    const double useful = 1 + (double)count * (double)j.size / THREAD_BYTES;
    j.parts = useful < threads ? (int)useful : threads;
    fc_run run = fc_start(j.parts, NULL);
    fc_parallel(&run, j.parts, activate_part, &j);
}
