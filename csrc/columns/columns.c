/* im2col and col2im: the columns of a plane are shifted copies of its lines. */
#include <stdio.h>
#include <string.h>

#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"
#include "columns.h"

/* A call, or without arrays what is kept of it in a plan. */
typedef struct {
    fc_columns_problem p;
    const fc_kernels *kernels;
    ptrdiff_t size, taps, pixels, plane; /* bytes of an element; elements of a row of cols, of x */
    ptrdiff_t band, bands;               /* lines of a band */
    ptrdiff_t residues, pitch;           /* of the stride along a line; elements of each */
    ptrdiff_t units, tasks;
    fc_run run;
    const char *source;
    char *target;
} job;

/* The outputs of an axis whose tap, `offset` from the output's start, lies in [low, high). */
typedef struct {
    ptrdiff_t first, last;
} outputs;

/* Strides may be as large as sizes go. */
static ptrdiff_t steps_up(ptrdiff_t distance, ptrdiff_t stride) {
    return distance > 0 ? (distance - 1) / stride + 1 : 0;
}

static outputs outputs_in(const fc_columns_problem *p, int axis, ptrdiff_t offset, ptrdiff_t low,
                          ptrdiff_t high) {
    const ptrdiff_t first = min(p->out_size[axis], steps_up(low - offset, p->stride[axis]));
    const ptrdiff_t last = min(p->out_size[axis], steps_up(high - offset, p->stride[axis]));
    return (outputs){first, max(first, last)};
}

static ptrdiff_t tap_offset(const fc_columns_problem *p, int axis, ptrdiff_t tap) {
    return tap * p->dilation[axis] - p->pad[axis];
}

/* One row of cols: a tap of a channel of an image, all outputs. */
static void im2col_row(const job *j, ptrdiff_t u) {
    const fc_columns_problem *p = &j->p;
    const ptrdiff_t t = u % j->taps, Q = p->out_size[2], W = p->in_size[2], size = j->size;
    const ptrdiff_t tap[3] = {t / (p->kernel[1] * p->kernel[2]), t / p->kernel[2] % p->kernel[1],
                              t % p->kernel[2]};
    ptrdiff_t offset[3];
    outputs in[3];
    for (int axis = 0; axis < 3; axis++) {
        offset[axis] = tap_offset(p, axis, tap[axis]);
        in[axis] = outputs_in(p, axis, offset[axis], 0, p->in_size[axis]);
    }
    const int empty = in[1].first == in[1].last || in[2].first == in[2].last;
    const char *x = j->source + u / j->taps * j->plane * size;
    char *target = j->target + u * j->pixels * size;
    for (ptrdiff_t o = 0; o < p->out_size[0]; o++, target += p->out_size[1] * Q * size) {
        if (empty || o < in[0].first || o >= in[0].last) {
            memset(target, 0, (size_t)(p->out_size[1] * Q * size));
            continue;
        }
        const ptrdiff_t depth = o * p->stride[0] + offset[0];
        const ptrdiff_t height = in[1].first * p->stride[1] + offset[1];
        const fc_padded_lines shape = {
            .lines = in[1].last - in[1].first,
            .before = in[2].first,
            .count = in[2].last - in[2].first,
            .after = Q - in[2].last,
            .source_pitch = in[1].last - in[1].first > 1 ? p->stride[1] * W : 0,
            .step = p->stride[2],
            .target_pitch = Q,
            .inner = 1,
            .adjacent = 1,
        };
        const ptrdiff_t at = (depth * p->in_size[1] + height) * W + in[2].first * p->stride[2] + offset[2];
        memset(target, 0, (size_t)(in[1].first * Q * size));
        j->kernels->pad(&shape, x + at * size, target + in[1].first * Q * size);
        memset(target + in[1].last * Q * size, 0, (size_t)((p->out_size[1] - in[1].last) * Q * size));
    }
}

/* One band of lines of a plane of x: all taps added, for a stride in residues that are then interleaved. */
static void col2im_band(const job *j, ptrdiff_t u, char *residues) {
    const fc_columns_problem *p = &j->p;
    const ptrdiff_t H = p->in_size[1], W = p->in_size[2], Q = p->out_size[2], size = j->size;
    const ptrdiff_t group = u / j->bands, low = u % j->bands * j->band, high = min(H, low + j->band);
    const ptrdiff_t depth = group % p->in_size[0], plane = group / p->in_size[0];
    const ptrdiff_t stride = p->stride[2], line = j->residues * j->pitch;
    char *x = j->target + ((group * H) + low) * W * size, *sums = j->residues == 1 ? x : residues;
    const char *cols = j->source + plane * j->taps * j->pixels * size;
    memset(sums, 0, (size_t)((high - low) * line * size));
    for (ptrdiff_t t = 0; t < j->taps; t++, cols += j->pixels * size) {
        const ptrdiff_t behind = depth - tap_offset(p, 0, t / (p->kernel[1] * p->kernel[2]));
        if (behind < 0 || behind % p->stride[0] || behind / p->stride[0] >= p->out_size[0]) continue;
        const ptrdiff_t h = tap_offset(p, 1, t / p->kernel[2] % p->kernel[1]);
        const ptrdiff_t w = tap_offset(p, 2, t % p->kernel[2]);
        const outputs lines = outputs_in(p, 1, h, low, high), in = outputs_in(p, 2, w, 0, W);
        if (in.first == in.last) continue;
        const ptrdiff_t first = in.first * stride + w;
        const char *source = cols + (behind / p->stride[0] * p->out_size[1] * Q + in.first) * size;
        char *target = sums + (first % stride * j->pitch + first / stride) * size;
        for (ptrdiff_t o = lines.first; o < lines.last; o++)
            j->kernels->add(in.last - in.first, source + o * Q * size,
                            target + (o * p->stride[1] + h - low) * line * size);
    }
    if (j->residues == 1) return;
    for (ptrdiff_t i = 0; i < high - low; i++)
        j->kernels->pool.interleave(W, j->residues, residues + i * line * size, j->pitch, x + i * W * size);
}

static void im2col_task(void *context, int task) {
    job *j = context;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(&j->run, u - units.begin, j->pixels * j->size); u++)
        im2col_row(j, u);
}

/* A band split into the residues of the stride. */
static size_t scratch_of(const job *j) {
    return j->residues > 1 ? (size_t)(j->band * j->residues * j->pitch * j->size) : 0;
}

static void col2im_task(void *context, int task) {
    job *j = context;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    char *residues = NULL;
    if (j->residues > 1) {
        residues = fc_scratch_acquire(scratch_of(j));
        if (!residues) {
            fc_stop(&j->run, FC_NO_MEMORY);
            return;
        }
    }
    for (ptrdiff_t u = units.begin; u < units.end; u++) {
        if (fc_stopped_at(&j->run, u - units.begin, FC_COLUMNS_BAND_BYTES)) break;
        col2im_band(j, u, residues);
    }
    fc_scratch_release(residues);
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_columns_problem *p = &problem->columns;
    const ptrdiff_t residues = min(p->stride[2], p->in_size[2]), pitch = quotient_up(p->in_size[2], residues);
    const ptrdiff_t size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    (void)path;
    return op == FC_COL2IM && residues > 1 && residues * pitch * size > FC_COLUMNS_WORKSPACE
               ? "a line split into the residues of the stride passes the workspace" : NULL;
}

static fc_status create(fc_plan *plan) {
    const fc_columns_problem *p = &plan->problem.columns;
    job *j = plan->state = fc_plan_allocate(plan, sizeof *j);
    if (!j) return FC_NO_MEMORY;
    j->p = *p;
    j->kernels = fc_find_kernels(p->call.isa, p->call.dtype);
    j->size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    j->taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    j->pixels = p->out_size[0] * p->out_size[1] * p->out_size[2];
    j->plane = p->in_size[0] * p->in_size[1] * p->in_size[2];
    if (plan->op == FC_IM2COL) {
        j->units = p->batch * p->channels * j->taps;
    } else {
        j->residues = min(p->stride[2], p->in_size[2]);
        j->pitch = quotient_up(p->in_size[2], j->residues);
        j->band = even_block(p->in_size[1], max(1, FC_COLUMNS_BAND_BYTES / (j->residues * j->pitch * j->size)));
        j->bands = quotient_up(p->in_size[1], j->band);
        j->units = p->batch * p->channels * p->in_size[0] * j->bands;
    }
    const double bytes = (double)p->batch * (double)p->channels * (double)j->taps * (double)j->pixels * (double)j->size;
    j->tasks = min(j->units, fc_useful_threads(p->call.threads, bytes, FC_COLUMNS_THREAD_BYTES));
    FC_ASSERT(j->tasks >= 1);
    return FC_OK;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    job j = *(const job *)plan->state;
    FC_ASSERT(a->x && a->y);
    j.source = plan->op == FC_IM2COL ? a->x : a->y;
    j.target = plan->op == FC_IM2COL ? a->y : a->x;
    j.run = fc_start((int)j.tasks, interrupted);
    fc_parallel(&j.run, (int)j.tasks, plan->op == FC_IM2COL ? im2col_task : col2im_task, &j);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *description) {
    const job *j = plan->state;
    description->tasks = j->tasks;
    if (plan->op == FC_IM2COL) {
        snprintf(description->how, sizeof description->how, "rows of columns, each a shifted copy of a plane");
        return;
    }
    snprintf(description->how, sizeof description->how, "bands of lines of x, to which every tap is added");
    description->block[0] = 1;
    description->block[1] = j->band;
    description->block[2] = j->p.in_size[2];
    description->workspace = scratch_of(j) * (size_t)j->tasks;
}

const fc_path fc_path_columns = {
    .name = "columns",
    .exact = 1,
    .refuses = refuses,
    .create = create,
    .run = run,
    .describe = describe,
};
