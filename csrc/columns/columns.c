/* im2col and col2im: the columns of a plane are shifted copies of its rows. */
#include <string.h>

#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "columns.h"

/* A band of rows of x should stay in L1 or L2 while all taps are added to it. */
static const ptrdiff_t BAND = 64 << 10;
static const ptrdiff_t WORKSPACE = 16 << 20;
/* Bytes worth a thread more: about 10 us of copying. */
static const double THREAD_BYTES = 256 << 10;

typedef struct {
    const fc_columns_problem *p;
    const fc_kernels *kernels;
    fc_run run;
    const char *source;
    char *target;
    ptrdiff_t size, taps, pixels, plane; /* bytes of an element; elements of a row of cols, of x */
    ptrdiff_t band, bands;               /* rows of a band */
    ptrdiff_t residues, pitch;             /* of the stride along a row; elements of each */
    ptrdiff_t units, parts;
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
    const fc_columns_problem *p = j->p;
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

/* One band of rows of a plane of x: all taps added, for a stride in residues that are then interleaved. */
static void col2im_band(const job *j, ptrdiff_t u, char *residues) {
    const fc_columns_problem *p = j->p;
    const ptrdiff_t H = p->in_size[1], W = p->in_size[2], Q = p->out_size[2], size = j->size;
    const ptrdiff_t group = u / j->bands, low = u % j->bands * j->band, high = min(H, low + j->band);
    const ptrdiff_t depth = group % p->in_size[0], plane = group / p->in_size[0];
    const ptrdiff_t stride = p->stride[2], row = j->residues * j->pitch;
    char *x = j->target + ((group * H) + low) * W * size, *sums = j->residues == 1 ? x : residues;
    const char *cols = j->source + plane * j->taps * j->pixels * size;
    memset(sums, 0, (size_t)((high - low) * row * size));
    for (ptrdiff_t t = 0; t < j->taps; t++, cols += j->pixels * size) {
        const ptrdiff_t behind = depth - tap_offset(p, 0, t / (p->kernel[1] * p->kernel[2]));
        if (behind < 0 || behind % p->stride[0] || behind / p->stride[0] >= p->out_size[0]) continue;
        const ptrdiff_t h = tap_offset(p, 1, t / p->kernel[2] % p->kernel[1]);
        const ptrdiff_t w = tap_offset(p, 2, t % p->kernel[2]);
        const outputs rows = outputs_in(p, 1, h, low, high), in = outputs_in(p, 2, w, 0, W);
        if (in.first == in.last) continue;
        const ptrdiff_t first = in.first * stride + w;
        const char *source = cols + (behind / p->stride[0] * p->out_size[1] * Q + in.first) * size;
        char *target = sums + (first % stride * j->pitch + first / stride) * size;
        for (ptrdiff_t o = rows.first; o < rows.last; o++)
            j->kernels->add(in.last - in.first, source + o * Q * size,
                            target + (o * p->stride[1] + h - low) * row * size);
    }
    if (j->residues == 1) return;
    for (ptrdiff_t i = 0; i < high - low; i++)
        j->kernels->pool.interleave(W, j->residues, residues + i * row * size, j->pitch, x + i * W * size);
}

static void im2col_task(void *context, int index) {
    job *j = context;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, j->pixels * j->size); u++)
        im2col_row(j, u);
}

static void col2im_task(void *context, int index) {
    job *j = context;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    char *residues = NULL;
    if (j->residues > 1) {
        residues = fc_scratch_acquire((size_t)(j->band * j->residues * j->pitch * j->size));
        if (!residues) {
            fc_stop(&j->run, FC_NO_MEMORY);
            return;
        }
    }
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, BAND); u++)
        col2im_band(j, u, residues);
    fc_scratch_release(residues);
}

static job start(const fc_columns_problem *p, const void *source, void *target, fc_question interrupted) {
    job j = {.p = p, .kernels = fc_find_kernels(p->call.isa, p->call.dtype), .source = source, .target = target};
    j.size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    j.taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    j.pixels = p->out_size[0] * p->out_size[1] * p->out_size[2];
    j.plane = p->in_size[0] * p->in_size[1] * p->in_size[2];
    const double bytes = (double)p->batch * (double)p->channels * (double)j.taps * (double)j.pixels * (double)j.size;
    j.run = fc_start(fc_useful_threads(p->call.threads, bytes, THREAD_BYTES), interrupted);
    return j;
}

static fc_status im2col(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_columns_problem *p = &plan->problem.columns;
    job j = start(p, a->x, a->y, interrupted);
    j.units = p->batch * p->channels * j.taps;
    j.parts = min(j.units, j.run.threads);
    fc_parallel(&j.run, (int)j.parts, im2col_task, &j);
    return (fc_status)j.run.status;
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_columns_problem *p = &problem->columns;
    const ptrdiff_t residues = min(p->stride[2], p->in_size[2]), pitch = quotient_up(p->in_size[2], residues);
    const ptrdiff_t size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    (void)path;
    return op == FC_COL2IM && residues > 1 && residues * pitch * size > WORKSPACE
               ? "a row split into the residues of the stride passes the workspace" : NULL;
}

static fc_status col2im(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_columns_problem *p = &plan->problem.columns;
    job j = start(p, a->y, a->x, interrupted);
    j.residues = min(p->stride[2], p->in_size[2]);
    j.pitch = quotient_up(p->in_size[2], j.residues);
    j.band = even_block(p->in_size[1], max(1, BAND / (j.residues * j.pitch * j.size)));
    j.bands = quotient_up(p->in_size[1], j.band);
    j.units = p->batch * p->channels * p->in_size[0] * j.bands;
    j.parts = min(j.units, j.run.threads);
    fc_parallel(&j.run, (int)j.parts, col2im_task, &j);
    return (fc_status)j.run.status;
}

const fc_path fc_path_im2col = {.name = "columns", .exact = 1, .refuses = refuses, .run = im2col};
const fc_path fc_path_col2im = {.name = "columns", .exact = 1, .refuses = refuses, .run = col2im};
