/* dw and db with pixels in the vector, for few sums: dy is read where it lies, which weights.c would
 * transpose for them. Lanes of products are added up once a block; threads share out a number of partial results that
 * depends on the problem alone. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"
#include "weights.h"

/* Pixels of a block: long enough that adding the lanes up costs little (cs231n_three_layer with 1024 took 1.04 times as
 * long), few enough that dy of a tile and what it reads of x stay near. */
enum { MAX_PIXELS = 2048, MIN_PIXELS = 1024, MAX_PARTIALS = 16 };
/* Bytes that a block reads of x, and of a partial result. */
enum { BLOCK_BYTES = 256 << 10, SUMS_BYTES = 96 << 10 };
/* Rows so far apart are in the same sets of L1, in which those of a tile would not stay. */
enum { SAME_SETS = 2048 };

typedef struct {
    const fc_weights_gradient *gradient;
    const fc_correlation *c; /* the gradient's */
    const fc_kernels *kernels;
    ptrdiff_t size;
    fc_run *run;
    int accumulate;
    fc_blocks blocks;
    ptrdiff_t bytes;    /* that a block reads of x */
    int dense;          /* all rows of a block follow each other, in x as in dy */
    ptrdiff_t taps;     /* of all planes */
    ptrdiff_t tiles;    /* of taps */
    ptrdiff_t elements; /* of a partial result */
    ptrdiff_t partials;
    char *sums;         /* [partial][channels of a tile][tile][FC_DOT_SUMS] */
    double *bias_sums;  /* [partial][channel] */
} plan;

static ptrdiff_t block_pixels(const fc_blocks *b) { return b->size[0] * b->size[1] * b->size[2]; }

static void choose(plan *p) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t lanes = p->kernels->lanes, *size = p->blocks.size;
    fc_blocks *b = &p->blocks;
    *b = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    b->residues[0] = fc_whole_axis(h, min(h->outputs, 32));
    b->residues[1] = fc_split_axis(w, min(w->outputs, MAX_PIXELS));
    b->in_place = fc_is_inside(h) && fc_is_inside(w) && w->stride * w->source_stride == 1;
    b->in_place &= fc_has_all_planes(c);
    ptrdiff_t pixels = min(MAX_PIXELS, max(MIN_PIXELS, c->images * h->outputs * w->outputs / MAX_PARTIALS));
    for (p->bytes = BLOCK_BYTES + 1; p->bytes > BLOCK_BYTES && pixels >= lanes; pixels /= 2) {
        b->size[2] = min(w->outputs, quotient_up(even_block(w->outputs, pixels), lanes) * lanes);
        b->size[1] = even_block(h->outputs, pixels / size[2]);
        b->size[0] = size[1] == h->outputs && size[2] == w->outputs
                         ? even_block(c->images, pixels / (size[1] * size[2])) : 1;
        fc_lay_out(b);
        p->bytes = c->planes * (b->in_place ? block_pixels(b) * h->stride : b->plane_stride) * p->size;
    }
    p->dense = size[2] == w->outputs && b->pitch[1] == size[2] && h->target_stride == size[2];
    p->taps = c->planes * h->taps * w->taps;
    p->tiles = quotient_up(p->taps, p->kernels->pixel_dots_taps);
    p->elements = quotient_up(c->rows, FC_DOT_ROWS) * p->tiles * FC_DOT_SUMS;
    p->partials = min(MAX_PARTIALS, b->count[0] * b->count[1] * b->count[2]);
}

/* Taps that the register tiles multiply by, those included that stand in for others. */
static ptrdiff_t multiplied_taps(const plan *p) {
    const ptrdiff_t max_taps = p->kernels->pixel_dots_taps, left = p->taps % max_taps;
    return p->taps - left + (!left ? 0 : 2 * left > max_taps ? max_taps : max_taps / 2);
}

/* Cycles that a pixel takes: of products, of adding up lanes, of copies and their rows, of db; and the same of
 * weights.c with its transposes. Fitted on Zen 4, with AVX-512, to 1400 problems of 1 to 128 channels by 4 to
 * 256, 1x1 to 7x7 taps, strides 1 and 2, outputs 4 to 224 wide, and to 280 of float64: those that this is said to win
 * take 0.63 of the time (float64 0.80), the hundredth that loses most 1.08 (1.23). */
static int is_quicker(const plan *p) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t lanes = p->kernels->lanes, *size = p->blocks.size, run = p->dense ? size[1] * size[2] : size[2];
    const double channels = (double)c->rows, channel_vectors = (double)quotient_up(c->rows, lanes);
    const double taps = (double)p->taps;
    const double vectors = (double)quotient_up(run, lanes) / (double)run;
    const double tiles = (double)(p->tiles * quotient_up(c->rows, FC_DOT_ROWS));
    const double copied = (double)(c->planes * min(h->stride, h->taps) * min(w->stride, w->taps));
    const double copy = copied * (0.2 * (double)p->size + 16 / (double)w->outputs);
    const int gemm_in_place = fc_is_inside(h) && fc_is_inside(w);
    const double own = ((double)multiplied_taps(p) + 5) * channels * vectors + (p->blocks.in_place ? 0 : copy) +
                       370 * tiles / (double)block_pixels(&p->blocks) + 2;
    const double gemm = 1.12 * taps * channel_vectors + 11 * channel_vectors + (gemm_in_place ? 0 : copy) + 6;
    return own * (p->blocks.in_place ? 1.08 : 1) < gemm; /* x in place comes from further away */
}

static int suits(const plan *p) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    if (!p->kernels->pixel_dots[0] || !p->gradient->has_dw || w->target_stride != 1) return 0;
    return h->taps * w->taps > 1 || h->stride * w->stride == 1; /* 1x1 with stride 2: 0.7 to 1 */
}

static int fits(const plan *p) {
    const fc_correlation *c = p->c;
    const ptrdiff_t *size = p->blocks.size, run = p->dense ? size[1] * size[2] : size[2];
    if (p->bytes > BLOCK_BYTES || p->elements * p->size > SUMS_BYTES || 2 * run < p->kernels->lanes) return 0;
    return !p->blocks.in_place || c->planes < 2 ||
           (c->x_plane[1] - c->x_plane[0]) * p->size % SAME_SETS != 0;
}

typedef struct {
    char *copy;
    ptrdiff_t *tap;
} workspace;

/* db of some channels of a block. */
static void sum_dy(const plan *p, const fc_pixel_dots *d, ptrdiff_t channels, double *sums) {
    const int rows_follow = d->y_line == d->width;
    const ptrdiff_t rows = rows_follow ? 1 : d->lines, width = rows_follow ? d->lines * d->width : d->width;
    for (ptrdiff_t i = 0; i < channels; i++)
        for (ptrdiff_t n = 0; n < d->images; n++)
            for (ptrdiff_t row = 0; row < rows; row++)
                sums[i] += p->kernels->pool.sum_run(
                    width, (const char *)d->y + (i * d->y_channel + n * d->y_image + row * d->y_line) * p->size);
}

static const char *find_dy(const plan *p, const fc_block *block) {
    const fc_correlation *c = p->c;
    return p->gradient->dy + (block->start[0] * c->y_image + block->start[1] * c->axis[0].target_stride +
                                 block->start[2]) * p->size;
}

static void add_block(const plan *p, const workspace *ws, const fc_block *block, const fc_block *next, char *sums,
                      double *bias_sums) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0];
    const char *x = ws->copy;
    if (p->blocks.in_place) x = fc_plane(c, 0, p->size) + fc_block_offset(&p->blocks, block) * p->size;
    else fc_fill_block(p->kernels, p->size, &p->blocks, block, c->x, c->x_plane, 0, c->planes, ws->copy);
    const char *y = find_dy(p, block), *y_next = find_dy(p, next);
    fc_pixel_dots d = {
        .images = block->count[0], .lines = block->count[1], .width = block->count[2],
        .x_image = p->blocks.pitch[0], .x_line = p->blocks.pitch[1],
        .y_image = c->y_image, .y_line = h->target_stride,
        .x = x, .y_channel = c->y_row, .taps = p->taps, .tap = ws->tap, .sums = sums,
    };
    if (p->dense) {
        d.width *= d.lines;
        d.lines = 1;
    }
    for (ptrdiff_t channel = 0; channel < c->rows; channel += FC_DOT_ROWS) {
        const ptrdiff_t channels = min(FC_DOT_ROWS, c->rows - channel);
        if (fc_stopped(p->run)) return;
        d.y = y + channel * c->y_row * p->size;
        d.next = channel + channels < c->rows ? (const char *)d.y + channels * c->y_row * p->size : y_next;
        p->kernels->pixel_dots[channels - 1](&d);
        d.sums = (char *)d.sums + p->tiles * FC_DOT_SUMS * p->size;
        if (bias_sums) sum_dy(p, &d, channels, bias_sums + channel);
    }
}

static void run_task(void *context, int part) {
    const plan *p = context;
    const fc_correlation *c = p->c;
    const fc_blocks *b = &p->blocks;
    workspace ws;
    const size_t copy = b->in_place ? 0 : fc_aligned(c->planes * b->plane_stride * p->size);
    char *scratch = fc_scratch_acquire(copy + (size_t)p->taps * sizeof(ptrdiff_t));
    if (!scratch) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    ws.copy = scratch;
    ws.tap = (ptrdiff_t *)(scratch + copy);
    for (ptrdiff_t plane = 0, i = 0; plane < c->planes; plane++) {
        const ptrdiff_t base = b->in_place ? c->x_plane[plane] - c->x_plane[0]
                                           : plane * b->plane_stride;
        for (ptrdiff_t s = 0; s < c->axis[0].taps; s++)
            for (ptrdiff_t t = 0; t < c->axis[1].taps; t++) ws.tap[i++] = base + fc_tap_offset(b, s, t);
    }
    const ptrdiff_t blocks = b->count[0] * b->count[1] * b->count[2], parts = min(p->partials, p->run->threads);
    for (ptrdiff_t partial = p->partials * part / parts; partial < p->partials * (part + 1) / parts; partial++) {
        const ptrdiff_t first = blocks * partial / p->partials, last = blocks * (partial + 1) / p->partials;
        char *sums = p->sums + partial * p->elements * p->size;
        memset(sums, 0, (size_t)(p->elements * p->size));
        for (ptrdiff_t index = first; index < last && !fc_stopped(p->run); index++) {
            const fc_block block = fc_find_block(b, index), next = fc_find_block(b, min(index + 1, last - 1));
            add_block(p, &ws, &block, &next, sums, p->gradient->has_db ? p->bias_sums + partial * c->rows : NULL);
        }
    }
    fc_scratch_release(scratch);
}

/* Adds the partial results to the first, in order, and writes dw and db. */
static void store_sums(const plan *p) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t max_taps = p->kernels->pixel_dots_taps;
    for (ptrdiff_t partial = 1; partial < p->partials; partial++) {
        p->kernels->add(p->elements, p->sums + partial * p->elements * p->size, p->sums);
        for (ptrdiff_t i = 0; i < c->rows; i++) p->bias_sums[i] += p->bias_sums[partial * c->rows + i];
    }
    for (ptrdiff_t channel = 0; channel < c->rows; channel++) {
        const ptrdiff_t tiles = channel / FC_DOT_ROWS * p->tiles, row = channel % FC_DOT_ROWS;
        for (ptrdiff_t plane = 0, tap = 0; plane < c->planes; plane++)
            for (ptrdiff_t s = 0; s < h->taps; s++)
                for (ptrdiff_t t = 0; t < w->taps; t++, tap++) {
                    const ptrdiff_t tile = tap / max_taps, left = p->taps - tile * max_taps;
                    const ptrdiff_t row_sums = 2 * left > max_taps ? max_taps : max_taps / 2;
                    const ptrdiff_t from = (tiles + tile) * FC_DOT_SUMS + row * row_sums + tap % max_taps;
                    const ptrdiff_t to = c->w_plane[plane] + channel * c->w_row + h->weight + w->weight +
                                         s * h->weight_step + t * w->weight_step;
                    const double sum =
                        p->size == 4 ? ((const float *)p->sums)[from] : ((const double *)p->sums)[from];
                    fc_put_gradient(p->size, p->gradient->dw, to, sum, p->accumulate);
                }
        if (p->gradient->has_db)
            fc_put_gradient(p->size, p->gradient->db, channel, p->bias_sums[channel], p->accumulate);
    }
}

int fc_correlate_weights_by_pixels(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                                   const fc_weights_gradient *gradient, int accumulate) {
    const fc_correlation *c = &gradient->c;
    plan p = {.gradient = gradient, .c = c, .kernels = kernels, .size = element_size, .run = run,
              .accumulate = accumulate};
    if (!suits(&p)) return 0;
    choose(&p);
    if (!fits(&p) || !is_quicker(&p)) return 0;
    const size_t bias_bytes = fc_aligned(p.partials * c->rows * (ptrdiff_t)sizeof(double));
    char *scratch = fc_scratch_acquire(bias_bytes + (size_t)(p.partials * p.elements * p.size));
    if (!scratch) {
        fc_stop(run, FC_NO_MEMORY);
        return 1;
    }
    p.bias_sums = (double *)scratch;
    p.sums = scratch + bias_bytes;
    memset(p.bias_sums, 0, bias_bytes);
    fc_parallel(run, (int)min(p.partials, run->threads), run_task, &p);
    if (!fc_stopped(run)) store_sums(&p);
    fc_scratch_release(scratch);
    return 1;
}
