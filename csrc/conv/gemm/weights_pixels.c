/* dw and db with pixels in the vector, for few sums: lanes of products are added up once a block. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "../../tuning.h"
#include "weights.h"

typedef struct {
    fc_few_sums_layout layout;
    const fc_weights_gradient *gradient;
    const fc_correlation *c; /* the gradient's */
    const fc_kernels *kernels;
    ptrdiff_t size;
    fc_run *run;
    int accumulate;
    char *sums;         /* [partial][channels of a tile][tile][FC_DOT_SUMS] */
    double *bias_sums;  /* [partial][channel] */
} job;

typedef struct {
    char *copy;
    ptrdiff_t *tap; /* offset of each, in x or its copy */
} scratch;

static ptrdiff_t pixels_of(const fc_blocks *b) { return b->size[0] * b->size[1] * b->size[2]; }

static size_t carve(const fc_few_sums_layout *l, ptrdiff_t planes, ptrdiff_t size, char *base, scratch *s) {
    size_t used = 0;
    s->copy = fc_carve(base, &used, l->blocks.in_place ? 0 : planes * l->blocks.plane_stride * size);
    s->tap = fc_carve(base, &used, l->taps * (ptrdiff_t)sizeof *s->tap);
    return used;
}

/* ---- The layout ---- */

/* Blocks of so many pixels that what they read of x stays within its bytes, or of a vector. */
static void cut_blocks(const fc_weights_call *call, fc_few_sums_layout *l) {
    const fc_correlation *c = &call->gradient->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t lanes = call->kernels->lanes;
    fc_blocks *b = &l->blocks;
    *b = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    b->residues[0] = fc_whole_axis(h, min(h->outputs, FC_GEMM_DW_BLOCK_LINES));
    b->residues[1] = fc_split_axis(w, min(w->outputs, FC_FEW_SUMS_MAX_PIXELS));
    b->in_place = fc_is_inside(h) && fc_is_inside(w) && w->stride * w->source_stride == 1 && fc_has_all_planes(c);
    const ptrdiff_t outputs = c->images * h->outputs * w->outputs;
    ptrdiff_t pixels = min(FC_FEW_SUMS_MAX_PIXELS, max(FC_FEW_SUMS_MIN_PIXELS, outputs / FC_FEW_SUMS_MAX_PARTIALS));
    do {
        b->size[2] = min(w->outputs, quotient_up(even_block(w->outputs, pixels), lanes) * lanes);
        b->size[1] = even_block(h->outputs, pixels / b->size[2]);
        b->size[0] = b->size[1] == h->outputs && b->size[2] == w->outputs
                         ? even_block(c->images, pixels / (b->size[1] * b->size[2])) : 1;
        fc_lay_out(b);
        l->bytes = c->planes * (b->in_place ? pixels_of(b) * h->stride : b->plane_stride) * call->size;
        pixels /= 2;
    } while (l->bytes > FC_FEW_SUMS_BLOCK_BYTES && pixels >= lanes);
}

fc_few_sums_layout fc_lay_out_few_sums(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_few_sums_layout l = {0};
    fc_blocks *b = &l.blocks;
    scratch nowhere;
    FC_ASSERT(!fc_few_sums_refusal(call));
    cut_blocks(call, &l);
    l.dense = b->size[2] == w->outputs && b->pitch[1] == b->size[2] && h->target_stride == b->size[2];
    l.taps = c->planes * h->taps * w->taps;
    l.tiles = quotient_up(l.taps, call->kernels->pixel_dots_taps);
    l.elements = quotient_up(c->out_channels, FC_DOT_ROWS) * l.tiles * FC_DOT_SUMS;
    l.partials = min(FC_FEW_SUMS_MAX_PARTIALS, b->count[0] * b->count[1] * b->count[2]);
    l.tasks.tasks = min(l.partials, call->run->threads);
    l.tasks.task_bytes = carve(&l, c->planes, call->size, NULL, &nowhere);
    l.tasks.shared_bytes = fc_aligned(l.partials * c->out_channels * (ptrdiff_t)sizeof(double)) +
                           (size_t)(l.partials * l.elements * call->size);
    b->axis = NULL; /* those of the call */
    return l;
}

/* Outputs that the kernel sees as one line. */
static ptrdiff_t line_length(const fc_few_sums_layout *l) {
    const ptrdiff_t *size = l->blocks.size;
    return l->dense ? size[1] * size[2] : size[2];
}

/* ---- Whether it is the one to take ---- */

/* Taps that the register tiles multiply by, those included that stand in for others. */
static ptrdiff_t multiplied_taps(const fc_few_sums_layout *l, ptrdiff_t max_taps) {
    const ptrdiff_t left = l->taps % max_taps;
    return l->taps - left + (!left ? 0 : 2 * left > max_taps ? max_taps : max_taps / 2);
}

static double cycles(const fc_weights_call *call, const fc_few_sums_layout *l) {
    const fc_correlation *c = &call->gradient->c;
    const ptrdiff_t run = line_length(l);
    const double channels = (double)c->out_channels;
    const double vectors = (double)quotient_up(run, call->kernels->lanes) / (double)run;
    const double tiles = (double)(l->tiles * quotient_up(c->out_channels, FC_DOT_ROWS));
    const double taps = (double)multiplied_taps(l, call->kernels->pixel_dots_taps);
    const double own = (taps + FC_FEW_SUMS_CYCLES.dots) * channels * vectors +
                       (l->blocks.in_place ? 0 : fc_weights_copy_cycles(call)) +
                       FC_FEW_SUMS_CYCLES.tile * tiles / (double)pixels_of(&l->blocks) + FC_FEW_SUMS_CYCLES.pixel;
    return own * (l->blocks.in_place ? FC_FEW_SUMS_CYCLES.in_place : 1);
}

double fc_few_sums_cycles(const fc_weights_call *call) {
    const fc_few_sums_layout l = fc_lay_out_few_sums(call);
    return cycles(call, &l);
}

const char *fc_few_sums_refusal(const fc_weights_call *call) {
    if (!call->kernels->pixel_dots[0]) return "the instruction set has no kernel for it";
    if (!call->gradient->has_dw) return "dw is not wanted";
    return call->gradient->c.axis[1].target_stride == 1 ? NULL : "the outputs of a line of dy do not lie side by side";
}

const char *fc_few_sums_doubt(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    if (!c->images) return NULL; /* there is nothing to lay out */
    if (h->taps * w->taps == 1 && h->stride * w->stride > 1)
        return "a GEMM of blocks is measured to take less time for one tap with a stride";
    const fc_few_sums_layout l = fc_lay_out_few_sums(call);
    if (l.bytes > FC_FEW_SUMS_BLOCK_BYTES) return "what a block reads of x does not stay in the cache";
    if (l.elements * call->size > FC_FEW_SUMS_SUMS_BYTES) return "there are too many sums";
    if (2 * line_length(&l) < call->kernels->lanes) return "lines of dy are shorter than half a vector";
    if (l.blocks.in_place && c->planes > 1 &&
        (c->x_plane[1] - c->x_plane[0]) * call->size % FC_FEW_SUMS_SAME_SETS == 0)
        return "the planes of x lie in the same sets of the cache";
    return cycles(call, &l) < fc_weights_cycles(call) ? NULL : "a GEMM of blocks is estimated to take less time";
}

/* ---- The run ---- */

/* db of some channels of a block. */
static void sum_dy(const job *j, const fc_pixel_dots *d, ptrdiff_t channels, double *sums) {
    const int lines_follow = d->y_line == d->width;
    const ptrdiff_t lines = lines_follow ? 1 : d->lines, width = lines_follow ? d->lines * d->width : d->width;
    for (ptrdiff_t i = 0; i < channels; i++)
        for (ptrdiff_t n = 0; n < d->images; n++)
            for (ptrdiff_t line = 0; line < lines; line++)
                sums[i] += j->kernels->pool.sum_run(
                    width, (const char *)d->y + (i * d->y_channel + n * d->y_image + line * d->y_line) * j->size);
}

static const char *find_dy(const job *j, const fc_block *block) {
    const fc_correlation *c = j->c;
    return j->gradient->dy + (block->start[0] * c->y_image + block->start[1] * c->axis[0].target_stride +
                              block->start[2]) * j->size;
}

/* Adds a block to a partial result; its last tiles fetch dy of the block `next`. */
static void add_block(const job *j, const scratch *s, const fc_block *block, const fc_block *next, char *sums,
                      double *bias_sums) {
    const fc_few_sums_layout *l = &j->layout;
    const fc_correlation *c = j->c;
    const char *x = s->copy;
    if (l->blocks.in_place) x = fc_plane(c, 0, j->size) + fc_block_offset(&l->blocks, block) * j->size;
    else fc_fill_block(j->kernels, j->size, &l->blocks, block, c->x, c->x_plane, c->planes, s->copy);
    const char *y = find_dy(j, block), *y_next = find_dy(j, next);
    fc_pixel_dots d = {
        .images = block->count[0], .lines = block->count[1], .width = block->count[2],
        .x_image = l->blocks.pitch[0], .x_line = l->blocks.pitch[1],
        .y_image = c->y_image, .y_line = c->axis[0].target_stride,
        .x = x, .y_channel = c->y_channel, .taps = l->taps, .tap = s->tap, .sums = sums,
    };
    if (l->dense) {
        d.width *= d.lines;
        d.lines = 1;
    }
    for (ptrdiff_t channel = 0; channel < c->out_channels; channel += FC_DOT_ROWS) {
        const ptrdiff_t channels = min(FC_DOT_ROWS, c->out_channels - channel);
        if (fc_stopped(j->run)) return;
        d.y = y + channel * c->y_channel * j->size;
        d.next = channel + channels < c->out_channels ? (const char *)d.y + channels * c->y_channel * j->size : y_next;
        j->kernels->pixel_dots[channels - 1](&d);
        d.sums = (char *)d.sums + l->tiles * FC_DOT_SUMS * j->size;
        if (bias_sums) sum_dy(j, &d, channels, bias_sums + channel);
    }
}

static void set_taps(const job *j, const scratch *s) {
    const fc_correlation *c = j->c;
    const fc_blocks *b = &j->layout.blocks;
    for (ptrdiff_t plane = 0, i = 0; plane < c->planes; plane++) {
        const ptrdiff_t base = b->in_place ? c->x_plane[plane] - c->x_plane[0] : plane * b->plane_stride;
        for (ptrdiff_t r = 0; r < c->axis[0].taps; r++)
            for (ptrdiff_t q = 0; q < c->axis[1].taps; q++) s->tap[i++] = base + fc_tap_offset(b, r, q);
    }
}

static void sum_task(void *context, int task) {
    const job *j = context;
    const fc_correlation *c = j->c;
    const fc_few_sums_layout *l = &j->layout;
    const fc_blocks *b = &l->blocks;
    scratch s;
    char *base = fc_scratch_acquire(l->tasks.task_bytes);
    if (!base) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    carve(l, c->planes, j->size, base, &s);
    set_taps(j, &s);
    const ptrdiff_t blocks = b->count[0] * b->count[1] * b->count[2];
    const fc_units partials = fc_units_of(l->partials, l->tasks.tasks, task);
    for (ptrdiff_t partial = partials.begin; partial < partials.end; partial++) {
        const ptrdiff_t first = blocks * partial / l->partials, end = blocks * (partial + 1) / l->partials;
        char *sums = j->sums + partial * l->elements * j->size;
        memset(sums, 0, (size_t)(l->elements * j->size));
        for (ptrdiff_t index = first; index < end && !fc_stopped(j->run); index++) {
            const fc_block block = fc_find_block(b, index), next = fc_find_block(b, min(index + 1, end - 1));
            add_block(j, &s, &block, &next, sums,
                      j->gradient->has_db ? j->bias_sums + partial * c->out_channels : NULL);
        }
    }
    fc_scratch_release(base);
}

/* Adds the partial results to the first, in order, and writes dw and db. */
static void store_sums(const job *j) {
    const fc_few_sums_layout *l = &j->layout;
    const fc_correlation *c = j->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t max_taps = j->kernels->pixel_dots_taps;
    for (ptrdiff_t partial = 1; partial < l->partials; partial++) {
        j->kernels->add(l->elements, j->sums + partial * l->elements * j->size, j->sums);
        for (ptrdiff_t i = 0; i < c->out_channels; i++) j->bias_sums[i] += j->bias_sums[partial * c->out_channels + i];
    }
    for (ptrdiff_t channel = 0; channel < c->out_channels; channel++) {
        const ptrdiff_t tiles = channel / FC_DOT_ROWS * l->tiles, row = channel % FC_DOT_ROWS;
        for (ptrdiff_t plane = 0, tap = 0; plane < c->planes; plane++)
            for (ptrdiff_t r = 0; r < h->taps; r++)
                for (ptrdiff_t q = 0; q < w->taps; q++, tap++) {
                    const ptrdiff_t tile = tap / max_taps, left = l->taps - tile * max_taps;
                    const ptrdiff_t row_sums = 2 * left > max_taps ? max_taps : max_taps / 2;
                    const ptrdiff_t from = (tiles + tile) * FC_DOT_SUMS + row * row_sums + tap % max_taps;
                    const ptrdiff_t to = c->w_plane[plane] + channel * c->w_out_channel + h->weight + w->weight +
                                         r * h->weight_step + q * w->weight_step;
                    const double sum =
                        j->size == 4 ? ((const float *)j->sums)[from] : ((const double *)j->sums)[from];
                    fc_put_gradient(j->size, j->gradient->dw, to, sum, j->accumulate);
                }
        if (j->gradient->has_db)
            fc_put_gradient(j->size, j->gradient->db, channel, j->bias_sums[channel], j->accumulate);
    }
}

void fc_run_few_sums(const fc_few_sums_layout *layout, const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    job j = {
        .layout = *layout,
        .gradient = call->gradient,
        .c = c,
        .kernels = call->kernels,
        .size = call->size,
        .run = call->run,
        .accumulate = call->accumulate,
    };
    FC_ASSERT(!fc_few_sums_refusal(call));
    FC_ASSERT(layout->tasks.tasks <= call->run->threads);
    j.layout.blocks.axis = c->axis;
    char *base = fc_scratch_acquire(layout->tasks.shared_bytes);
    if (!base) {
        fc_stop(call->run, FC_NO_MEMORY);
        return;
    }
    const size_t bias_bytes = fc_aligned(layout->partials * c->out_channels * (ptrdiff_t)sizeof *j.bias_sums);
    j.bias_sums = (double *)base;
    j.sums = base + bias_bytes;
    memset(j.bias_sums, 0, bias_bytes);
    fc_parallel(call->run, (int)layout->tasks.tasks, sum_task, &j);
    if (!fc_stopped(call->run)) store_sums(&j);
    fc_scratch_release(base);
}
