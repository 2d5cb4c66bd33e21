/* dw and db of a correlation: a GEMM whose depth is the pixels.
 *
 * A tile has taps as rows, broadcast from the padded copy of the planes, and output channels as
 * columns, read from a copy of dy with its channels adjacent. Its depth is the pixels of a block.
 * (Georganas et al. 2018, arXiv:1808.05567, discuss the reductions; the parallel one here is over
 * a number of partial results that depends on the problem alone.) */
#include <string.h>

#include "../arithmetic.h"
#include "../memory.h"
#include "../packing/fill.h"
#include "correlate.h"

/* Pixels of a block: long enough that adding a tile to dw costs little. */
enum { BLOCK_PIXELS = 1024 };
/* Bytes of the planes and of the transposed dy that a block holds. */
enum { PLANES_BYTES = 512 << 10, DY_BYTES = 384 << 10 };
/* dw up to this size is summed in several parts, so that threads share out the pixels. */
enum { PARTIAL_BYTES = 896 << 10, MAX_PARTIALS = 16 };
/* Rows of dw that a task has at least: transposing dy costs as much as about 50 of them. */
enum { TASK_ROWS = 1024 };

typedef struct {
    const fc_correlation *c;
    const fc_kernels *kernels;
    ptrdiff_t size;
    fc_run *run;
    int accumulate;
    fc_phases phases[2];
    ptrdiff_t images, rectangle[2], blocks[3]; /* of a block of pixels; blocks in all */
    ptrdiff_t pitch[2], phase_stride, plane_stride;
    ptrdiff_t planes;         /* filled at once */
    ptrdiff_t channels;       /* transposed at once */
    ptrdiff_t rows, vecs;     /* of a register tile */
    ptrdiff_t partials;       /* sums that the pixels are shared out among */
    ptrdiff_t plane_tasks;    /* or tasks that the planes are */
    char *sums;               /* partials 1.. of dw, contiguous: (rows, planes, taps) */
    double *bias_sums;        /* (partials, rows) */
} plan;

static ptrdiff_t taps_of(const plan *p) { return p->c->axis[0].taps * p->c->axis[1].taps; }

static void choose(plan *p) {
    const fc_correlation *c = p->c;
    const ptrdiff_t image = c->axis[0].outputs * c->axis[1].outputs, taps = taps_of(p);
    for (int a = 0; a < 2; a++)
        p->phases[a] = fc_split_axis(&c->axis[a], least(c->axis[a].outputs, a ? BLOCK_PIXELS : 32));
    p->rectangle[1] = even_block(c->axis[1].outputs, BLOCK_PIXELS);
    p->rectangle[0] = even_block(c->axis[0].outputs, BLOCK_PIXELS / p->rectangle[1]);
    p->images = p->rectangle[0] * p->rectangle[1] == image
                    ? even_block(c->images, BLOCK_PIXELS / image) : 1;
    const ptrdiff_t image_elements =
        p->phases[0].phases * p->phases[1].phases *
        (p->rectangle[0] + p->phases[0].reach) * (p->rectangle[1] + p->phases[1].reach);
    p->images = least(p->images, most(1, PLANES_BYTES / p->size / image_elements));
    p->blocks[0] = quotient_up(c->images, p->images);
    p->blocks[1] = quotient_up(c->axis[0].outputs, p->rectangle[0]);
    p->blocks[2] = quotient_up(c->axis[1].outputs, p->rectangle[1]);
    p->pitch[1] = p->rectangle[1] + p->phases[1].reach;
    p->pitch[0] = (p->rectangle[0] + p->phases[0].reach) * p->pitch[1];
    p->phase_stride = p->images * p->pitch[0];
    p->plane_stride = p->phases[0].phases * p->phases[1].phases * p->phase_stride;
    p->planes = even_block(c->planes, PLANES_BYTES / p->size / p->plane_stride);
    const ptrdiff_t pixels = p->images * p->rectangle[0] * p->rectangle[1];
    p->channels = least(c->rows, most(1, DY_BYTES / p->size / pixels));
    /* Of the two widest tiles, the one that leaves fewer lanes of the channels unused. */
    const ptrdiff_t lanes = p->kernels->lanes, narrow = 3 * lanes, wide = 4 * lanes;
    p->vecs = 3;
    p->rows = p->kernels->rows;
    if (quotient_up(c->rows, wide) * wide < quotient_up(c->rows, narrow) * narrow) {
        p->vecs = 4;
        while (!p->kernels->gemm[p->rows - 1][3]) p->rows--;
    }
    const ptrdiff_t tile = p->vecs * lanes;
    if (p->channels < c->rows) p->channels = most(tile, p->channels / tile * tile);
    const ptrdiff_t blocks = p->blocks[0] * p->blocks[1] * p->blocks[2];
    const ptrdiff_t bytes = c->rows * c->planes * taps * p->size;
    p->partials = bytes <= PARTIAL_BYTES ? least(MAX_PARTIALS, blocks) : 1;
    p->plane_tasks = p->partials > 1 || !c->w ? 1 : least(c->planes, most(1, c->planes * taps / TASK_ROWS));
}

typedef struct {
    char *planes, *dy, *tile;
    ptrdiff_t *a_offsets, *b_offsets;
} workspace;

static size_t aligned(ptrdiff_t bytes) {
    return ((size_t)bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
}

static ptrdiff_t dy_pitch(const plan *p) {
    return quotient_up(p->channels, p->kernels->lanes) * p->kernels->lanes;
}

static char *acquire(const plan *p, workspace *ws) {
    const ptrdiff_t pixels = p->images * p->rectangle[0] * p->rectangle[1];
    const ptrdiff_t filled = p->c->w ? p->planes * p->plane_stride : 0;
    const size_t planes = aligned((filled + FC_MAX_COLS) * p->size);
    const size_t dy = aligned((pixels * dy_pitch(p) + FC_MAX_COLS) * p->size);
    const size_t tile = aligned(FC_MAX_ROWS * FC_MAX_COLS * p->size);
    const size_t table = aligned(pixels * (ptrdiff_t)sizeof(ptrdiff_t));
    char *scratch = fc_scratch_acquire(planes + dy + tile + 2 * table);
    if (!scratch) return NULL;
    ws->planes = scratch;
    ws->dy = scratch + planes;
    ws->tile = ws->dy + dy;
    ws->a_offsets = (ptrdiff_t *)(ws->tile + tile);
    ws->b_offsets = (ptrdiff_t *)((char *)ws->a_offsets + table);
    memset(ws->dy, 0, dy); /* the lanes beyond the channels */
    return scratch;
}

/* A block of pixels. */
typedef struct {
    ptrdiff_t image, images;
    fc_rectangle rectangle;
    ptrdiff_t pixels;
} share;

static share find_share(const plan *p, ptrdiff_t index) {
    share sh;
    for (int a = 1; a >= 0; a--) {
        sh.rectangle.start[a] = index % p->blocks[a + 1] * p->rectangle[a];
        sh.rectangle.count[a] =
            least(p->rectangle[a], p->c->axis[a].outputs - sh.rectangle.start[a]);
        index /= p->blocks[a + 1];
    }
    sh.image = index * p->images;
    sh.images = least(p->images, p->c->images - sh.image);
    sh.pixels = sh.images * sh.rectangle.count[0] * sh.rectangle.count[1];
    return sh;
}

/* Offsets of the block's pixels in a filled plane, and in the transposed dy. */
static void set_offsets(const plan *p, const workspace *ws, const share *sh) {
    ptrdiff_t i = 0;
    for (ptrdiff_t n = 0; n < sh->images; n++)
        for (ptrdiff_t h = 0; h < sh->rectangle.count[0]; h++)
            for (ptrdiff_t w = 0; w < sh->rectangle.count[1]; w++, i++) {
                ws->a_offsets[i] = n * p->pitch[0] + h * p->pitch[1] + w;
                ws->b_offsets[i] = i * dy_pitch(p);
            }
}

static void fill(const plan *p, const workspace *ws, const share *sh, ptrdiff_t plane0,
                 ptrdiff_t plane1) {
    const fc_correlation *c = p->c;
    for (ptrdiff_t plane = plane0; plane < plane1; plane++)
        for (ptrdiff_t n = 0; n < sh->images; n++) {
            const char *source = c->x_plane[plane];
            if (source) source += (sh->image + n) * c->x_image * p->size;
            char *target =
                ws->planes + ((plane - plane0) * p->plane_stride + n * p->pitch[0]) * p->size;
            fc_fill_plane(p->kernels, p->size, c->axis, p->phases, &sh->rectangle, source, target,
                          p->pitch[1], p->phase_stride);
        }
}

/* dy of the block's pixels and of channels [channel0, channel1), channels adjacent. */
static void transpose_dy(const plan *p, const workspace *ws, const share *sh, ptrdiff_t channel0,
                         ptrdiff_t channel1) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    char *target = ws->dy;
    ptrdiff_t rows = sh->rectangle.count[0], run = sh->rectangle.count[1];
    if (run == w->outputs && h->target_stride == run * w->target_stride) {
        run *= rows; /* whole rows follow each other */
        rows = 1;
    }
    for (ptrdiff_t n = 0; n < sh->images; n++)
        for (ptrdiff_t row = 0; row < rows; row++) {
            const char *source = (const char *)c->y +
                                 ((sh->image + n) * c->y_image + channel0 * c->y_row +
                                  (sh->rectangle.start[0] + row) * h->target_stride +
                                  sh->rectangle.start[1] * w->target_stride) * p->size;
            if (w->target_stride == 1) {
                p->kernels->transpose(channel1 - channel0, run, source, c->y_row, target,
                                      dy_pitch(p));
            } else {
                for (ptrdiff_t i = 0; i < run; i++)
                    p->kernels->copy(channel1 - channel0, source + i * w->target_stride * p->size,
                                     c->y_row, target + i * dy_pitch(p) * p->size);
            }
            target += run * dy_pitch(p) * p->size;
        }
}

/* Where rows of dw are written: dw itself, or a partial sum. */
typedef struct {
    char *base;
    ptrdiff_t channel, plane, tap[2]; /* strides */
    int accumulate;
} destination;

static destination find_destination(const plan *p, ptrdiff_t partial) {
    const fc_correlation *c = p->c;
    const ptrdiff_t taps = taps_of(p);
    if (partial == 0)
        return (destination){(char *)c->w, c->w_row, 0,
                             {c->axis[0].weight_step, c->axis[1].weight_step}, p->accumulate};
    return (destination){p->sums + (partial - 1) * c->rows * c->planes * taps * p->size,
                         c->planes * taps, taps, {c->axis[1].taps, 1}, 0};
}

static void multiply(const plan *p, const workspace *ws, const share *sh,
                     const destination *to, int accumulate, ptrdiff_t plane0, ptrdiff_t plane1, ptrdiff_t channel0,
                     ptrdiff_t channel1) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t taps_w = c->axis[1].taps, taps = taps_of(p), size = p->size;
    for (ptrdiff_t row = 0; row < (plane1 - plane0) * taps; row += p->rows) {
        const ptrdiff_t rows = least(p->rows, (plane1 - plane0) * taps - row);
        if (fc_stopped(p->run)) return;
        const void *a_rows[FC_MAX_ROWS];
        char *dw_rows[FC_MAX_ROWS];
        for (ptrdiff_t i = 0; i < rows; i++) {
            const ptrdiff_t plane = (row + i) / taps, tap = (row + i) % taps;
            const ptrdiff_t s = tap / taps_w, t = tap % taps_w;
            const ptrdiff_t phase = fc_phase_of_tap(&p->phases[0], s) * p->phases[1].phases +
                                    fc_phase_of_tap(&p->phases[1], t);
            const ptrdiff_t shift = fc_shift_of_tap(&p->phases[0], s) * p->pitch[1] +
                                    fc_shift_of_tap(&p->phases[1], t);
            a_rows[i] =
                ws->planes + (plane * p->plane_stride + phase * p->phase_stride + shift) * size;
            const ptrdiff_t base = to->plane ? (plane0 + plane) * to->plane
                                             : c->w_plane[plane0 + plane] + c->axis[0].weight +
                                                   c->axis[1].weight;
            dw_rows[i] = to->base + (base + s * to->tap[0] + t * to->tap[1]) * size;
        }
        for (ptrdiff_t column = channel0; column < channel1; column += p->vecs * k->lanes) {
            const ptrdiff_t width = least(p->vecs * k->lanes, channel1 - column);
            const ptrdiff_t vecs = quotient_up(width, k->lanes);
            void *targets[FC_MAX_ROWS];
            k->gemm[rows - 1][vecs - 1](sh->pixels, a_rows, ws->a_offsets,
                                        ws->dy + (column - channel0) * size, ws->b_offsets,
                                        ws->tile);
            for (ptrdiff_t i = 0; i < rows; i++)
                targets[i] = dw_rows[i] + column * to->channel * size;
            k->store_columns(rows, width, ws->tile, vecs * k->lanes, targets, to->channel,
                             accumulate);
        }
    }
}

/* Adds blocks [block0, block1) to a partial sum, planes [plane0, plane1); db if `with_bias`. */
static void run_blocks(const plan *p, const workspace *ws, ptrdiff_t partial,
                       ptrdiff_t block0, ptrdiff_t block1, ptrdiff_t plane0, ptrdiff_t plane1,
                       int with_bias) {
    const fc_correlation *c = p->c;
    const destination to = find_destination(p, partial);
    for (ptrdiff_t block = block0; block < block1; block++) {
        const share sh = find_share(p, block);
        const int accumulate = to.accumulate || block > block0;
        set_offsets(p, ws, &sh);
        const ptrdiff_t step = c->w ? p->planes : plane1 - plane0;
        for (ptrdiff_t first = plane0; first < plane1; first += step) {
            const ptrdiff_t last = least(plane1, first + step);
            if (c->w) fill(p, ws, &sh, first, last);
            for (ptrdiff_t channel = 0; channel < c->rows; channel += p->channels) {
                const ptrdiff_t end = least(c->rows, channel + p->channels);
                if (fc_stopped(p->run)) return;
                transpose_dy(p, ws, &sh, channel, end);
                if (with_bias && first == plane0)
                    p->kernels->sum(sh.pixels, end - channel, ws->dy, dy_pitch(p),
                                    p->bias_sums + partial * c->rows + channel);
                if (c->w) multiply(p, ws, &sh, &to, accumulate, first, last, channel, end);
            }
        }
    }
}

static void run_part(void *context, int part) {
    const plan *p = context;
    const fc_correlation *c = p->c;
    workspace ws;
    char *scratch = acquire(p, &ws);
    if (!scratch) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    const ptrdiff_t blocks = p->blocks[0] * p->blocks[1] * p->blocks[2];
    const ptrdiff_t tasks = p->partials * p->plane_tasks;
    const ptrdiff_t parts = least(tasks, p->run->threads);
    for (ptrdiff_t task = tasks * part / parts; task < tasks * (part + 1) / parts; task++) {
        const ptrdiff_t partial = task / p->plane_tasks, planes = task % p->plane_tasks;
        run_blocks(p, &ws, partial, blocks * partial / p->partials,
                   blocks * (partial + 1) / p->partials, c->planes * planes / p->plane_tasks,
                   c->planes * (planes + 1) / p->plane_tasks, c->bias && planes == 0);
    }
    fc_scratch_release(scratch);
}

/* Adds the partial sums to the first, in order. */
static void reduce(const plan *p) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    for (ptrdiff_t partial = 1; c->w && partial < p->partials; partial++) {
        const destination from = find_destination(p, partial);
        for (ptrdiff_t i = 0; i < c->rows; i++)
            for (ptrdiff_t plane = 0; plane < c->planes; plane++)
                for (ptrdiff_t s = 0; s < h->taps; s++) {
                    const char *source =
                        from.base + (i * from.channel + plane * from.plane + s * from.tap[0]) * p->size;
                    char *target = (char *)c->w + (i * c->w_row + c->w_plane[plane] + h->weight +
                                                   w->weight + s * h->weight_step) * p->size;
                    p->kernels->add(w->taps, source, target);
                }
    }
    for (ptrdiff_t i = 0; c->bias && i < c->rows; i++) {
        double sum = 0;
        for (ptrdiff_t partial = 0; partial < p->partials; partial++)
            sum += p->bias_sums[partial * c->rows + i];
        if (p->size == 4) {
            float *db = (float *)c->bias + i;
            *db = (float)(p->accumulate ? *db + sum : sum);
        } else {
            double *db = (double *)c->bias + i;
            *db = p->accumulate ? *db + sum : sum;
        }
    }
}

void fc_correlate_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                          const fc_correlation *correlation, int accumulate) {
    const fc_correlation *c = correlation;
    plan p = {.c = c, .kernels = kernels, .size = element_size, .run = run, .accumulate = accumulate};
    choose(&p);
    const size_t bias_bytes = aligned(p.partials * c->rows * (ptrdiff_t)sizeof(double));
    const size_t sum_bytes =
        c->w ? aligned((p.partials - 1) * c->rows * c->planes * taps_of(&p) * p.size) : 0;
    char *scratch = fc_scratch_acquire(bias_bytes + sum_bytes);
    if (!scratch) {
        fc_stop(run, FC_NO_MEMORY);
        return;
    }
    p.bias_sums = (double *)scratch;
    p.sums = scratch + bias_bytes;
    memset(p.bias_sums, 0, bias_bytes);
    fc_parallel(run, (int)least(p.partials * p.plane_tasks, run->threads), run_part, &p);
    reduce(&p);
    fc_scratch_release(scratch);
}
