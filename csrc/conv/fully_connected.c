/* Convolutions with one output pixel an image, whose kernel covers it: fully connected layers, which are products of
 * matrices, with D = channels of a group * taps:
 *
 *   y[n][k] = b[k] + x[n] . w[k]      dx[n] = sum over k of dy[n][k] * w[k]      dw[k] = sum over n of dy[n][k] * x[n]
 *
 * Rows of x and w are read where they lie (kernels/product.tmpl.h), the larger of them once: packed, weights
 * of few images would be read, written and read again. What is shared out among threads, and how, changes no sum. */
#include <stdio.h>
#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "correlations.h"

/* Blocks of a matrix's rows or columns. */
typedef struct {
    ptrdiff_t total, block, count;
} cut;

typedef struct {
    const fc_conv_problem *p;
    const fc_arrays *a;
    const fc_kernels *kernels;
    ptrdiff_t size;    /* bytes of an element */
    ptrdiff_t C, K, D; /* of a group */
    fc_run run;
    cut rows, columns; /* of a group: y's filters and images, dx's images and positions of D, dw's filters and these */
    ptrdiff_t chunk;   /* terms that are summed at a time: elements of D, filters or images */
    ptrdiff_t tile;    /* of forward: images of a register tile */
    int parts;
    char *scratch;     /* sums: of each part of forward, of db; or b of dx, spread over D */
    size_t bytes;      /* of a part of forward */
} job;

enum {
    CHAIN = 1152, /* longest chain of sums in a lane, as in gemm/ */
    /* Bytes that a single tile fetches ahead: of weights in memory, 0.75 of the time that 256 took, as 512 to 4096. */
    AHEAD = 1024,
    /* Of a row of x and w that several tiles of images use, of FILTERS rows: 2 KiB 1.15 times as long, 4 KiB 1.05;
     * 48 filters 1.05, of 4096 channels 1.25. */
    ROW = 8192,
    FILTERS = 24,
};

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
    return p->batch == 0 || are_alike(p)
               ? NULL
               : "the channels and taps of x do not lie side by side in the order of those of w";
}

/* Many images pay for weights that are packed. Against implicit_gemm, of 1 to 2048 images, D of 16 to 2048 and 10 to
 * 1000 filters (both named in turn, one thread): dx won up to 256 images (1.1 to 4.3), dw up to 512, but of short rows
 * (D = 64 of 128 images 0.85 to 1.1); forward, which adds up the lanes of each product, from D = 10 * N on, from
 * 16 * N on where weights are packed before, with few filters far sooner (10 of 128 images: D = 128). */
static int suits(fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t N = p->batch, K = p->out_channels / p->groups, D = p->in_channels / p->groups * taps(p);
    if (op == FC_BACKWARD_DATA) return N <= 256;
    if (op == FC_BACKWARD_WEIGHTS) return N <= 512 && (K <= 16 || D >= N);
    if (p->groups > 1 && K < 4) return 0; /* most of a tile would be empty: depthwise 7x7 took 2 to 4 times as long */
    return K <= 16 ? D >= min(N, 256) : N <= 128 && D >= 16 * N;
}

/* Blocks of at most `limit`, multiples of `grain`, of which there are `others` times as many; so many that threads
 * get as many each. */
static cut cut_up(ptrdiff_t total, ptrdiff_t limit, ptrdiff_t grain, ptrdiff_t others, ptrdiff_t threads) {
    ptrdiff_t count = quotient_up(total, limit);
    if (count * others < 8 * threads) count = quotient_up(quotient_up(count * others, threads) * threads, others);
    const ptrdiff_t block = quotient_up(quotient_up(total, count), grain) * grain;
    return (cut){total, block, quotient_up(total, block)};
}

static fc_units block_of(const cut *c, ptrdiff_t index) {
    return (fc_units){index * c->block, min(c->total, (index + 1) * c->block)};
}

static const char *x_of(const job *j, ptrdiff_t n, ptrdiff_t g) {
    return (const char *)j->a->x + (n * j->p->x_strides[0] + g * j->C * j->p->x_strides[1]) * j->size;
}

static const char *w_of(const job *j, ptrdiff_t k) { return (const char *)j->a->w + k * j->p->w_strides[0] * j->size; }

static char *y_of(const job *j, ptrdiff_t n, ptrdiff_t k) {
    return (char *)j->a->y + (n * j->p->y_strides[0] + k * j->p->y_strides[1]) * j->size;
}

/* Elements of the sums of so many filters and images, at most FC_DOT_ROWS. */
static ptrdiff_t room_of_sums(const fc_kernels *kernels, ptrdiff_t filters, ptrdiff_t images) {
    return quotient_up(filters, kernels->dots_filters[images - 1]) * FC_DOT_SUMS;
}

/* y of some filters and images, summed in scratch. */
static void forward(job *j, ptrdiff_t g, fc_units k, fc_units n, char *sums) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t filters = k.end - k.begin, first = g * j->K + k.begin;
    const ptrdiff_t room = room_of_sums(j->kernels, filters, j->tile) * j->size;
    const ptrdiff_t tiles = quotient_up(n.end - n.begin, j->tile);
    for (ptrdiff_t d = 0; d < j->D; d += j->chunk)
        for (ptrdiff_t i = n.begin; i < n.end; i += j->tile) {
            if (fc_stopped_at(&j->run, (i - n.begin) / j->tile, filters * j->chunk * j->size)) return;
            const ptrdiff_t images = min(j->tile, n.end - i);
            const fc_dots dots = {
                .filters = filters,
                .depth = min(j->chunk, j->D - d),
                .x = x_of(j, i, g) + d * j->size,
                .w = w_of(j, first) + d * j->size,
                .x_row = p->x_strides[0],
                .w_row = p->w_strides[0],
                .sums = sums + (i - n.begin) / j->tile * room,
                .accumulate = d > 0,
                .ahead = tiles == 1 ? AHEAD / j->size : d + j->chunk < j->D ? j->chunk : filters * p->w_strides[0] - d,
                .ahead_first = (i - n.begin) / j->tile,
                .ahead_every = tiles,
            };
            j->kernels->dots[images - 1](&dots);
            if (d + j->chunk < j->D) continue;
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

/* dx of some images at some positions. */
static void backward_data(job *j, ptrdiff_t g, fc_units n, fc_units d, char *unused) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t most = j->kernels->outer_tile_rows, tiles = quotient_up(n.end - n.begin, most);
    (void)unused;
    for (ptrdiff_t k = 0; k < j->K; k += j->chunk)
        for (ptrdiff_t i = n.begin; i < n.end; i += most) {
            if (fc_stopped_at(&j->run, (i - n.begin) / most, j->chunk * (d.end - d.begin) * j->size)) return;
            void *const dx = (void *)(x_of(j, i, g) + d.begin * j->size);
            const void *const bias = j->a->b ? j->scratch + (g * j->D + d.begin) * j->size : NULL;
            const fc_outer outer = {
                .depth = min(j->chunk, j->K - k),
                .width = d.end - d.begin,
                .a = y_of(j, i, g * j->K + k),
                .b = w_of(j, g * j->K + k) + d.begin * j->size,
                .from = k ? dx : bias,
                .a_row = p->y_strides[0],
                .a_step = p->y_strides[1],
                .b_row = p->w_strides[0],
                .from_row = k ? p->x_strides[0] : 0,
                .c_row = p->x_strides[0],
                .c = dx,
                .ahead = tiles == 1 ? AHEAD / j->size
                         : k + j->chunk < j->K ? j->chunk * p->w_strides[0] : d.end - d.begin - k * p->w_strides[0],
                .ahead_first = (i - n.begin) / most,
                .ahead_every = tiles,
            };
            j->kernels->outer[min(most, n.end - i) - 1](&outer);
        }
}

/* dw of some filters at some positions. */
static void backward_weights(job *j, ptrdiff_t g, fc_units k, fc_units d, char *unused) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t most = j->kernels->outer_tile_rows;
    (void)unused;
    for (ptrdiff_t n = 0; n < p->batch; n += j->chunk)
        for (ptrdiff_t i = k.begin; i < k.end; i += most) {
            if (fc_stopped_at(&j->run, (i - k.begin) / most, most * (d.end - d.begin) * j->size)) return;
            void *const dw = (void *)(w_of(j, g * j->K + i) + d.begin * j->size);
            const fc_outer outer = {
                .depth = min(j->chunk, p->batch - n),
                .width = d.end - d.begin,
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
            j->kernels->outer[min(most, k.end - i) - 1](&outer);
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

/* b of dx's channels, at all positions: what its sums begin with. */
static void spread_bias(const job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t *s = p->x_strides;
    for (ptrdiff_t c = 0; c < p->in_channels; c++)
        for (ptrdiff_t t = 0; t < taps(p); t++) {
            const ptrdiff_t h = t / p->kernel[2];
            const ptrdiff_t d = c % j->C * s[1] + h / p->kernel[1] * s[2] + h % p->kernel[1] * s[3] +
                                t % p->kernel[2] * s[4];
            memcpy(j->scratch + (c / j->C * j->D + d) * j->size, (const char *)j->a->b + c * j->size, (size_t)j->size);
        }
}

/* A unit is a block of rows by one of columns of a group; those of the same columns follow each other. */
static void run_units(job *j, int part, void (*unit)(job *, ptrdiff_t g, fc_units rows, fc_units columns, char *)) {
    const ptrdiff_t of_group = j->rows.count * j->columns.count;
    const fc_units mine = fc_units_of(j->p->groups * of_group, j->parts, part);
    char *own = j->scratch + (size_t)part * j->bytes;
    for (ptrdiff_t u = mine.begin; u < mine.end && !fc_stopped(&j->run); u++)
        unit(j, u / of_group, block_of(&j->rows, u % j->rows.count),
             block_of(&j->columns, u % of_group / j->rows.count), own);
}

static void forward_task(void *context, int part) { run_units(context, part, forward); }
static void backward_data_task(void *context, int part) { run_units(context, part, backward_data); }
static void backward_weights_task(void *context, int part) {
    job *j = context;
    if (j->a->w) run_units(j, part, backward_weights);
    if (j->a->b && part == j->parts - 1) backward_bias(j);
}

static job start(fc_op op, const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups, D = C * taps(p);
    const ptrdiff_t threads = fc_conv_useful_threads(p), N = p->batch;
    job j = {p, a, fc_find_kernels(p->call.isa, p->call.dtype), p->call.dtype == FC_FLOAT32 ? 4 : 8, C, K, D,
             .run = fc_start((int)threads, interrupted)};
    j.run.flush = 1;
    const ptrdiff_t lanes = j.kernels->lanes, line = FC_CACHE_LINE / j.size;
    if (op == FC_FORWARD) {
        j.tile = even_block(N, FC_DOT_ROWS);
        const ptrdiff_t depth = N > j.tile ? ROW / j.size : CHAIN * lanes;
        j.columns = cut_up(N, 128, j.tile, 1, 1);
        j.rows = cut_up(K, FILTERS, 1, j.columns.count * p->groups, threads);
        j.chunk = quotient_up(even_block(D, depth), lanes) * lanes;
        j.bytes = fc_aligned(quotient_up(j.columns.block, j.tile) * j.size *
                             room_of_sums(j.kernels, j.rows.block, j.tile));
    } else if (op == FC_BACKWARD_DATA) {
        const int few = N <= j.kernels->outer_tile_rows;
        j.columns = cut_up(D, (few ? 16384 : 2048) / j.size, line, p->groups, threads);
        j.rows = cut_up(N, 128, j.kernels->outer_tile_rows, j.columns.count * p->groups, threads);
        j.chunk = N <= 2 ? 8 : 64;
    } else {
        j.chunk = even_block(N, 256);
        const ptrdiff_t width = max(line, (256 << 10) / j.size / max(j.chunk, 1) / line * line);
        j.columns = cut_up(D, width, line, p->groups, 1);
        j.rows = cut_up(K, 64, j.kernels->outer_tile_rows, j.columns.count * p->groups, threads);
    }
    j.parts = (int)min(threads, p->groups * j.rows.count * j.columns.count);
    return j;
}

static const char *doubt(fc_op op, const fc_problem *problem) {
    return suits(op, &problem->conv) ? NULL : "weights that are packed are estimated to take less time";
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_conv_problem *p = &plan->problem.conv;
    const fc_op op = plan->op;
    job j = start(op, p, a, interrupted);
    const int is_biased = op == FC_BACKWARD_DATA && p->has_b;
    const size_t bytes = op == FC_FORWARD         ? (size_t)j.parts * j.bytes
                         : op == FC_BACKWARD_DATA ? (size_t)(is_biased ? p->groups * j.D * j.size : 0)
                                                  : (size_t)p->out_channels * sizeof(double);
    if (bytes && !(j.scratch = fc_scratch_acquire(bytes))) return FC_NO_MEMORY;
    if (is_biased) spread_bias(&j);
    fc_parallel(&j.run, j.parts,
                op == FC_FORWARD ? forward_task : op == FC_BACKWARD_DATA ? backward_data_task : backward_weights_task,
                &j);
    fc_scratch_release(j.scratch);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *d) {
    const fc_arrays none = {0};
    if (plan->op != FC_FORWARD) return;
    const job j = start(FC_FORWARD, &plan->problem.conv, &none, NULL);
    snprintf(d->how, sizeof d->how,
             "dot products of %td elements, %td at a time, blocks of %td images by %td filters, "
             "weights read where they lie",
             j.D, j.chunk, j.columns.block, j.rows.block);
    d->workspace = (size_t)j.parts * j.bytes;
}

static const fc_algorithm algorithm = {doubt};

const fc_path fc_path_fully_connected = {
    .name = "fully_connected", .algorithm = &algorithm, .exact = 1, .refuses = refuses, .run = run,
    .describe = describe,
};
