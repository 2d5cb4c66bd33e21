/* Convolutions with one output pixel an image, whose kernel covers it: fully connected layers, which are products of
 * matrices, with D = channels of a group * taps:
 *
 *   y[n][k] = b[k] + x[n] . w[k]      dx[n] = sum over k of dy[n][k] * w[k]      dw[k] = sum over n of dy[n][k] * x[n]
 *
 * Lines of x and w, D elements, are read where they lie (kernels/product.h), the larger of them once: packed, weights
 * of few images would be read, written and read again. What is shared out among threads, and how, changes no sum. */
#include <stdio.h>
#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../tuning.h"
#include "correlations.h"

/* Blocks of a matrix's rows or columns. */
typedef struct {
    ptrdiff_t total, block, count;
} cut;

/* What a plan keeps. A unit is a block of rows by one of columns of a group: of y its filters and images, of dx its
 * images and positions of D, of dw its filters and positions of D. */
typedef struct {
    cut rows, columns;
    ptrdiff_t chunk;    /* terms that are summed at a time: elements of D, filters or images */
    ptrdiff_t images;   /* of a register tile of y */
    ptrdiff_t tasks;
    size_t task_bytes;  /* scratch of a task: sums of y, of db in the last task; b of dx, spread over a block of D */
} layout;

typedef struct {
    const fc_conv_problem *p;
    const fc_arrays *a; /* NULL: a plan is made */
    const fc_kernels *kernels;
    ptrdiff_t size;     /* bytes of an element */
    ptrdiff_t C, K, D;  /* of a group */
    layout layout;
    fc_run run;
    char *scratch; /* of all tasks */
} job;

/* ---- The choice ---- */

static ptrdiff_t taps(const fc_conv_problem *p) { return p->kernel[0] * p->kernel[1] * p->kernel[2]; }

/* Whether the (C, taps) of every image and group lie side by side, in the order of every filter's. The strides of an
 * axis of size 1 mean nothing. */
static int are_alike(const fc_conv_problem *p) {
    const ptrdiff_t size[4] = {p->in_channels / p->groups, p->kernel[0], p->kernel[1], p->kernel[2]};
    ptrdiff_t adjacent = 1, D = size[0] * taps(p);
    for (int axis = 0; axis < 4; axis++)
        if (size[axis] > 1 && p->x_strides[axis + 1] != p->w_strides[axis + 1]) return 0;
    while (adjacent < D) { /* the axis whose elements are what lies side by side already */
        int axis = 0;
        while (axis < 4 && (size[axis] == 1 || p->w_strides[axis + 1] != adjacent)) axis++;
        if (axis == 4) return 0;
        adjacent *= size[axis];
    }
    return 1;
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    (void)path, (void)op;
    for (int axis = 0; axis < 3; axis++)
        if (p->out_size[axis] != 1 || p->pad[axis] || p->in_size[axis] != p->kernel[axis] ||
            (p->kernel[axis] > 1 && p->dilation[axis] > 1))
            return "the kernel is not just as large as the image";
    const int without_dw = op == FC_BACKWARD_WEIGHTS && !p->has_w; /* nor are there strides of it */
    return p->batch == 0 || without_dw || are_alike(p)
               ? NULL
               : "the channels and taps of x do not lie side by side in the order of those of w";
}

/* Whether weights that are read where they lie take less time than packed ones, for which many images pay. */
static int suits(fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t N = p->batch, K = p->out_channels / p->groups, D = p->in_channels / p->groups * taps(p);
    const int few_filters = K <= FC_FULLY_CONNECTED_FEW_FILTERS;
    if (op == FC_BACKWARD_DATA) return N <= FC_FULLY_CONNECTED_DX_IMAGES;
    if (op == FC_BACKWARD_WEIGHTS) return N <= FC_FULLY_CONNECTED_DW_IMAGES && (few_filters || D >= N);
    if (p->groups > 1 && K < FC_FULLY_CONNECTED_MIN_GROUP) return 0;
    if (few_filters) return D >= min(N, FC_FULLY_CONNECTED_FORWARD_ENOUGH);
    const int has_16_lanes = fc_find_kernels(p->call.isa, p->call.dtype)->lanes >= 16;
    const ptrdiff_t ratio = has_16_lanes ? FC_FULLY_CONNECTED_FORWARD_RATIO_16_LANES : FC_FULLY_CONNECTED_FORWARD_RATIO;
    return N <= FC_FULLY_CONNECTED_FORWARD_IMAGES && D >= ratio * N;
}

static const char *doubt(fc_op op, const fc_problem *problem) {
    return suits(op, &problem->conv) ? NULL : "weights that are packed are estimated to take less time";
}

/* ---- The plan ---- */

/* Elements of the sums of so many filters and images, at most FC_DOT_ROWS. */
static ptrdiff_t sum_elements(const fc_kernels *kernels, ptrdiff_t filters, ptrdiff_t images) {
    return quotient_up(filters, kernels->dots_filters[images - 1]) * FC_DOT_SUMS;
}

/* Blocks of at most `limit`, multiples of `grain`, of which there are `others` times as many; so many that threads
 * get as many each. */
static cut cut_up(ptrdiff_t total, ptrdiff_t limit, ptrdiff_t grain, ptrdiff_t others, ptrdiff_t threads) {
    ptrdiff_t count = quotient_up(total, limit);
    if (count * others < FC_FULLY_CONNECTED_MANY_BLOCKS * threads)
        count = quotient_up(quotient_up(count * others, threads) * threads, others);
    const ptrdiff_t block = quotient_up(quotient_up(total, count), grain) * grain;
    return (cut){total, block, quotient_up(total, block)};
}

static void lay_out_forward(job *j, ptrdiff_t threads) {
    const ptrdiff_t N = j->p->batch, lanes = j->kernels->lanes;
    layout *l = &j->layout;
    l->images = even_block(N, FC_DOT_ROWS);
    const ptrdiff_t depth = N > l->images ? FC_FULLY_CONNECTED_LINE_BYTES / j->size : FC_FULLY_CONNECTED_CHAIN * lanes;
    l->columns = cut_up(N, FC_FULLY_CONNECTED_IMAGES, l->images, 1, 1);
    l->rows = cut_up(j->K, FC_FULLY_CONNECTED_FILTERS, 1, l->columns.count * j->p->groups, threads);
    l->chunk = quotient_up(even_block(j->D, depth), lanes) * lanes;
    l->task_bytes = fc_aligned(quotient_up(l->columns.block, l->images) * j->size *
                               sum_elements(j->kernels, l->rows.block, l->images));
}

static void lay_out_data(job *j, ptrdiff_t threads) {
    const ptrdiff_t N = j->p->batch, tile_rows = j->kernels->outer_tile_rows, line = FC_CACHE_LINE / j->size;
    const ptrdiff_t bytes = N <= tile_rows ? FC_FULLY_CONNECTED_FEW_DX_BYTES : FC_FULLY_CONNECTED_DX_BYTES;
    layout *l = &j->layout;
    l->columns = cut_up(j->D, bytes / j->size, line, j->p->groups, threads);
    l->rows = cut_up(N, FC_FULLY_CONNECTED_IMAGES, tile_rows, l->columns.count * j->p->groups, threads);
    l->chunk = N <= FC_FULLY_CONNECTED_FEW_IMAGES ? FC_FULLY_CONNECTED_FEW_TERMS : FC_FULLY_CONNECTED_TERMS;
    l->task_bytes = j->p->has_b ? fc_aligned(min(j->D, l->columns.block) * j->size) : 0;
}

static void lay_out_weights(job *j, ptrdiff_t threads) {
    const ptrdiff_t line = FC_CACHE_LINE / j->size;
    layout *l = &j->layout;
    l->chunk = even_block(j->p->batch, FC_FULLY_CONNECTED_DW_TERMS);
    const ptrdiff_t width = max(line, FC_FULLY_CONNECTED_DW_BYTES / j->size / max(l->chunk, 1) / line * line);
    l->columns = cut_up(j->D, width, line, j->p->groups, 1);
    l->rows = cut_up(j->K, FC_FULLY_CONNECTED_DW_FILTERS, j->kernels->outer_tile_rows,
                     l->columns.count * j->p->groups, threads);
}

static job start(const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted) {
    const ptrdiff_t C = p->in_channels / p->groups;
    job j = {
        .p = p,
        .a = a,
        .kernels = fc_find_kernels(p->call.isa, p->call.dtype),
        .size = p->call.dtype == FC_FLOAT32 ? 4 : 8,
        .C = C,
        .K = p->out_channels / p->groups,
        .D = C * taps(p),
        .run = fc_start(fc_conv_useful_threads(p), interrupted),
    };
    j.run.flush = 1;
    return j;
}

static fc_status create(fc_plan *plan) {
    const fc_conv_problem *p = &plan->problem.conv;
    job j = start(p, NULL, NULL);
    const ptrdiff_t threads = j.run.threads;
    layout *kept = fc_plan_allocate(plan, sizeof *kept);
    if (!kept) return FC_NO_MEMORY;
    if (plan->op == FC_FORWARD) lay_out_forward(&j, threads);
    else if (plan->op == FC_BACKWARD_DATA) lay_out_data(&j, threads);
    else lay_out_weights(&j, threads);
    j.layout.tasks = min(threads, p->groups * j.layout.rows.count * j.layout.columns.count);
    *kept = j.layout;
    plan->state = kept;
    return FC_OK;
}

/* ---- The run ---- */

static fc_units block_of(const cut *c, ptrdiff_t index) {
    return (fc_units){index * c->block, min(c->total, (index + 1) * c->block)};
}

static char *x_of(const job *j, ptrdiff_t n, ptrdiff_t g) {
    return (char *)j->a->x + (n * j->p->x_strides[0] + g * j->C * j->p->x_strides[1]) * j->size;
}

static char *w_of(const job *j, ptrdiff_t k) { return (char *)j->a->w + k * j->p->w_strides[0] * j->size; }

static char *y_of(const job *j, ptrdiff_t n, ptrdiff_t k) {
    return (char *)j->a->y + (n * j->p->y_strides[0] + k * j->p->y_strides[1]) * j->size;
}

/* y of some filters and images, summed in scratch. */
static void forward(job *j, ptrdiff_t g, fc_units k, fc_units n, char *sums) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t filters = k.end - k.begin, first = g * j->K + k.begin, chunk = j->layout.chunk;
    const ptrdiff_t tile_images = j->layout.images, tiles = quotient_up(n.end - n.begin, tile_images);
    const ptrdiff_t tile_bytes = sum_elements(j->kernels, filters, tile_images) * j->size;
    for (ptrdiff_t d = 0; d < j->D; d += chunk)
        for (ptrdiff_t i = n.begin; i < n.end; i += tile_images) {
            const ptrdiff_t tile = (i - n.begin) / tile_images, images = min(tile_images, n.end - i);
            if (fc_stopped_at(&j->run, tile, filters * chunk * j->size)) return;
            const fc_dots dots = {
                .filters = filters,
                .depth = min(chunk, j->D - d),
                .x = x_of(j, i, g) + d * j->size,
                .w = w_of(j, first) + d * j->size,
                .x_row = p->x_strides[0],
                .w_row = p->w_strides[0],
                .sums = sums + tile * tile_bytes,
                .accumulate = d > 0,
                .ahead = tiles == 1 ? FC_FULLY_CONNECTED_AHEAD_BYTES / j->size
                         : d + chunk < j->D ? chunk : filters * p->w_strides[0] - d,
                .ahead_first = tile,
                .ahead_every = tiles,
            };
            j->kernels->dots[images - 1](&dots);
            if (d + chunk < j->D) continue;
            const fc_dot_outputs outputs = {
                .filters = filters,
                .sums = dots.sums,
                .bias = j->a->b ? (const char *)j->a->b + first * j->size : NULL,
                .y = y_of(j, i, first),
                .y_row = p->y_strides[0],
                .y_step = p->y_strides[1],
                .relu = p->relu,
            };
            j->kernels->store_dots[images - 1](&outputs);
        }
}

static void repeat(ptrdiff_t size, const void *value, ptrdiff_t count, void *target) {
    if (size == 4)
        for (ptrdiff_t i = 0; i < count; i++) ((float *)target)[i] = *(const float *)value;
    else
        for (ptrdiff_t i = 0; i < count; i++) ((double *)target)[i] = *(const double *)value;
}

/* b of a group's channels at positions of D, in the order in which they lie in memory. */
static void spread_bias(const job *j, ptrdiff_t g, fc_units d, char *target) {
    const ptrdiff_t step = j->C > 1 ? j->p->x_strides[1] : j->D; /* positions of a channel that follow each other */
    const char *bias = (const char *)j->a->b + g * j->C * j->size;
    FC_ASSERT(step > 0);
    for (ptrdiff_t i = d.begin, count; i < d.end; i += count, target += count * j->size) {
        const ptrdiff_t channel = i / step % j->C;
        count = min(d.end - i, step == 1 ? j->C - channel : step - i % step);
        if (step == 1) memcpy(target, bias + channel * j->size, (size_t)(count * j->size));
        else repeat(j->size, bias + channel * j->size, count, target);
    }
}

/* dx of some images at some positions. */
static void backward_data(job *j, ptrdiff_t g, fc_units n, fc_units d, char *bias) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t tile_rows = j->kernels->outer_tile_rows, tiles = quotient_up(n.end - n.begin, tile_rows);
    const ptrdiff_t chunk = j->layout.chunk, width = d.end - d.begin;
    if (j->a->b) spread_bias(j, g, d, bias);
    for (ptrdiff_t k = 0; k < j->K; k += chunk)
        for (ptrdiff_t i = n.begin; i < n.end; i += tile_rows) {
            const ptrdiff_t tile = (i - n.begin) / tile_rows;
            if (fc_stopped_at(&j->run, tile, chunk * width * j->size)) return;
            char *dx = x_of(j, i, g) + d.begin * j->size;
            const fc_outer outer = {
                .depth = min(chunk, j->K - k),
                .width = width,
                .a = y_of(j, i, g * j->K + k),
                .b = w_of(j, g * j->K + k) + d.begin * j->size,
                .from = k ? dx : j->a->b ? bias : NULL,
                .a_row = p->y_strides[0],
                .a_step = p->y_strides[1],
                .b_row = p->w_strides[0],
                .from_row = k ? p->x_strides[0] : 0,
                .c_row = p->x_strides[0],
                .c = dx,
                .ahead = tiles == 1 ? FC_FULLY_CONNECTED_AHEAD_BYTES / j->size
                         : k + chunk < j->K ? chunk * p->w_strides[0] : width - k * p->w_strides[0],
                .ahead_first = tile,
                .ahead_every = tiles,
            };
            j->kernels->outer[min(tile_rows, n.end - i) - 1](&outer);
        }
}

/* dw of some filters at some positions. */
static void backward_weights(job *j, ptrdiff_t g, fc_units k, fc_units d, char *unused) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t tile_rows = j->kernels->outer_tile_rows, width = d.end - d.begin;
    (void)unused;
    for (ptrdiff_t n = 0; n < p->batch; n += j->layout.chunk)
        for (ptrdiff_t i = k.begin; i < k.end; i += tile_rows) {
            if (fc_stopped_at(&j->run, (i - k.begin) / tile_rows, tile_rows * width * j->size)) return;
            char *dw = w_of(j, g * j->K + i) + d.begin * j->size;
            const fc_outer outer = {
                .depth = min(j->layout.chunk, p->batch - n),
                .width = width,
                .a = y_of(j, n, g * j->K + i),
                .b = x_of(j, n, g) + d.begin * j->size,
                .from = n ? dw : NULL,
                .a_row = p->y_strides[1],
                .a_step = p->y_strides[0],
                .b_row = p->x_strides[0],
                .from_row = p->w_strides[0],
                .c_row = p->w_strides[0],
                .c = dw,
                .ahead_first = -1,
            };
            j->kernels->outer[min(tile_rows, k.end - i) - 1](&outer);
        }
}

/* db, summed in double in scratch. */
static void backward_bias(const job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t K = p->out_channels;
    double *sums = (double *)j->scratch;
    memset(sums, 0, (size_t)K * sizeof *sums);
    if (K == 1 || p->y_strides[1] == 1) j->kernels->sum(p->batch, K, j->a->y, p->y_strides[0], sums);
    else
        for (ptrdiff_t k = 0; k < K; k++) j->kernels->sum(p->batch, 1, y_of(j, 0, k), p->y_strides[0], sums + k);
    for (ptrdiff_t k = 0; k < K; k++) fc_put_gradient(j->size, j->a->b, k, sums[k], 0);
}

/* Runs a task's units; those of the same columns follow each other. */
static void run_units(job *j, int task, void (*unit)(job *, ptrdiff_t g, fc_units rows, fc_units columns, char *)) {
    const layout *l = &j->layout;
    const ptrdiff_t of_group = l->rows.count * l->columns.count;
    const fc_units mine = fc_units_of(j->p->groups * of_group, l->tasks, task);
    char *own = j->scratch + (size_t)task * l->task_bytes;
    for (ptrdiff_t u = mine.begin; u < mine.end && !fc_stopped(&j->run); u++)
        unit(j, u / of_group, block_of(&l->rows, u % l->rows.count),
             block_of(&l->columns, u % of_group / l->rows.count), own);
}

static void forward_task(void *context, int task) { run_units(context, task, forward); }
static void backward_data_task(void *context, int task) { run_units(context, task, backward_data); }
static void backward_weights_task(void *context, int task) {
    job *j = context;
    if (j->a->w) run_units(j, task, backward_weights);
    if (j->a->b && task == j->layout.tasks - 1) backward_bias(j);
}

/* Bytes of scratch of all tasks; dw has none, and db the sums of all channels. */
static size_t scratch_bytes(fc_op op, const fc_conv_problem *p, const layout *l) {
    if (op == FC_BACKWARD_WEIGHTS) return p->has_b ? (size_t)p->out_channels * sizeof(double) : 0;
    return (size_t)l->tasks * l->task_bytes;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    static void (*const tasks[])(void *context, int task) = {
        [FC_FORWARD] = forward_task,
        [FC_BACKWARD_DATA] = backward_data_task,
        [FC_BACKWARD_WEIGHTS] = backward_weights_task,
    };
    const fc_conv_problem *p = &plan->problem.conv;
    job j = start(p, a, interrupted);
    j.layout = *(const layout *)plan->state;
    FC_ASSERT(j.layout.tasks <= j.run.threads);
    FC_ASSERT(!a->b == !p->has_b);
    const size_t bytes = scratch_bytes(plan->op, p, &j.layout);
    if (bytes && !(j.scratch = fc_scratch_acquire(bytes))) return FC_NO_MEMORY;
    fc_parallel(&j.run, (int)j.layout.tasks, tasks[plan->op], &j);
    fc_scratch_release(j.scratch);
    return (fc_status)j.run.status;
}

/* ---- What it says ---- */

static void describe(const fc_plan *plan, fc_description *d) {
    const fc_conv_problem *p = &plan->problem.conv;
    const layout *l = plan->state;
    const job j = start(p, NULL, NULL);
    const ptrdiff_t outer_rows = min(j.kernels->outer_tile_rows, plan->op == FC_BACKWARD_DATA ? p->batch : j.K);
    d->tasks = l->tasks;
    d->workspace = scratch_bytes(plan->op, p, l);
    d->tile[0] = plan->op == FC_FORWARD ? l->images : outer_rows;
    d->tile[1] = plan->op == FC_FORWARD ? j.kernels->dots_filters[l->images - 1]
                                        : j.kernels->outer_tile_vectors[outer_rows - 1] * j.kernels->lanes;
    d->block[1] = d->block[2] = 1;
    if (plan->op == FC_FORWARD) {
        snprintf(d->how, sizeof d->how,
                 "dot products of %td elements, %td at a time, blocks of %td images by %td filters, "
                 "weights read where they lie",
                 j.D, l->chunk, l->columns.block, l->rows.block);
        d->block[0] = l->columns.block;
    } else if (plan->op == FC_BACKWARD_DATA) {
        snprintf(d->how, sizeof d->how,
                 "sums of %td lines of weights, %td at a time, blocks of %td images by %td positions, "
                 "weights read where they lie",
                 j.K, min(j.K, l->chunk), min(p->batch, l->rows.block), min(j.D, l->columns.block));
        d->block[0] = l->rows.block;
    } else {
        snprintf(d->how, sizeof d->how,
                 "sums of %td lines of x, %td at a time, blocks of %td filters by %td positions, x read where it lies",
                 p->batch, l->chunk, min(j.K, l->rows.block), min(j.D, l->columns.block));
        d->block[0] = l->chunk;
    }
}

static const fc_algorithm algorithm = {doubt};

const fc_path fc_path_fully_connected = {
    .name = "fully_connected",
    .algorithm = &algorithm,
    .exact = 1,
    .refuses = refuses,
    .create = create,
    .run = run,
    .describe = describe,
};
