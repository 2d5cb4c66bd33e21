/* dw and db of a correlation by a GEMM whose depth is the pixels.
 *
 * Tasks sum units: partial results of some blocks of pixels, or the results of some planes. Georganas et al. 2018,
 * arXiv:1808.05567, discuss the reductions; the parallel one here is over a number of partial results that depends on
 * the problem alone. */
#include <string.h>

#include "../../platform/memory.h"
#include "weights_shared.h"

/* Unit `index` of partials * ranges, of its first held channels; the sums that are not shared are the task's `own`. */
static fc_weights_unit find_unit(const fc_weights_job *j, ptrdiff_t index, char *own) {
    const fc_weights_layout *l = &j->layout;
    const fc_correlation *c = j->c;
    const ptrdiff_t *count = l->blocks.count, blocks = count[0] * count[1] * count[2];
    const ptrdiff_t partial = index / l->ranges, range = index % l->ranges;
    return (fc_weights_unit){
        .first_block = blocks * partial / l->partials,
        .end_block = blocks * (partial + 1) / l->partials,
        .first_plane = c->planes * range / l->ranges,
        .end_plane = c->planes * (range + 1) / l->ranges,
        .sums = j->sums ? j->sums + partial * c->planes * fc_weights_taps(c) * l->pitch * j->size : own,
        .bias_sums = j->gradient->has_db && range == 0 ? j->bias_sums + partial * c->out_channels : NULL,
    };
}

static void sum_task(void *context, int task) {
    fc_weights_job *j = context;
    const fc_weights_layout *l = &j->layout;
    const ptrdiff_t channels = j->c->out_channels;
    fc_weights_scratch s;
    char *base = fc_scratch_acquire(l->tasks.task_bytes);
    if (!base) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    fc_carve_weights(l, j->size, base, &s);
    memset(s.dy, 0, (size_t)(l->dy_elements * j->size)); /* the lanes beyond the channels */
    const fc_units units = fc_units_of(l->partials * l->ranges, l->tasks.tasks, task);
    for (ptrdiff_t index = units.begin; index < units.end; index++) {
        fc_weights_unit u = find_unit(j, index, s.sums);
        for (; u.first_channel < channels; u.first_channel += l->held_channels) {
            u.end_channel = min(channels, u.first_channel + l->held_channels);
            fc_sum_weights(j, &s, &u);
            if (j->gradient->has_dw && !j->sums)
                fc_store_weights(j, &u, 0, (u.end_plane - u.first_plane) * fc_weights_taps(j->c), s.stored);
        }
    }
    fc_scratch_release(base);
}

static ptrdiff_t reduce_tasks(const fc_weights_job *j) { return min(j->run->threads, j->c->planes); }

/* Adds the partial sums of some planes to the first, in order, and transposes them into dw. */
static void reduce_task(void *context, int task) {
    const fc_weights_job *j = context;
    const fc_correlation *c = j->c;
    const ptrdiff_t taps = fc_weights_taps(c), row_bytes = j->layout.pitch * j->size;
    const fc_units planes = fc_units_of(c->planes, reduce_tasks(j), task);
    const ptrdiff_t first = planes.begin * taps, end = planes.end * taps;
    const fc_weights_unit all = {.end_plane = c->planes, .end_channel = c->out_channels, .sums = j->sums};
    char *stored = fc_scratch_acquire(FC_STORED_ROWS * FC_MAX_TILE_COLS * (size_t)j->size);
    if (!stored) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t partial = 1; partial < j->layout.partials; partial++)
        j->kernels->add((end - first) * j->layout.pitch, j->sums + (partial * c->planes * taps + first) * row_bytes,
                        j->sums + first * row_bytes);
    fc_store_weights(j, &all, first, end, stored);
    fc_scratch_release(stored);
}

int fc_run_weights(const fc_weights_layout *layout, const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    fc_weights_job j = {
        .layout = *layout,
        .gradient = call->gradient,
        .c = c,
        .kernels = call->kernels,
        .size = call->size,
        .run = call->run,
        .accumulate = call->accumulate,
    };
    FC_ASSERT(!layout->by_tap || !call->accumulate);
    FC_ASSERT(layout->tasks.tasks <= call->run->threads);
    j.layout.blocks.axis = c->axis;
    char *scratch = fc_scratch_acquire(layout->tasks.shared_bytes);
    if (!scratch) {
        fc_stop(call->run, FC_NO_MEMORY);
        return 1;
    }
    const size_t bias_bytes = fc_aligned(layout->partials * c->out_channels * (ptrdiff_t)sizeof *j.bias_sums);
    j.bias_sums = (double *)scratch;
    if (layout->tasks.shared_bytes > bias_bytes) j.sums = scratch + bias_bytes;
    memset(j.bias_sums, 0, bias_bytes);
    fc_parallel(call->run, (int)layout->tasks.tasks, sum_task, &j);
    if (!j.not_finite) {
        if (j.sums && !fc_stopped(call->run)) fc_parallel(call->run, (int)reduce_tasks(&j), reduce_task, &j);
        fc_store_bias(&j);
    }
    fc_scratch_release(scratch);
    return !j.not_finite;
}
