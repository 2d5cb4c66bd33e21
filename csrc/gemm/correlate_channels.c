/* Correlation with output channels in the vector: a tile is some outputs, their inputs broadcast, by
 * vectors of output channels, whose weights are packed.
 *
 * The outputs of a tile lie anywhere, so no stride and no width wastes a lane. Where channels are not
 * adjacent in y, a group of outputs is transposed on its way out. */
#include "../arithmetic.h"
#include "correlate_plan.h"

/* Cycles that an output takes for each term, all channels of it, in panels of `vecs` vectors. */
static double output_cycles(const fc_kernels *k, ptrdiff_t channels, ptrdiff_t vecs) {
    const ptrdiff_t vectors = quotient_up(channels, k->lanes), rest = vectors % vecs;
    const ptrdiff_t rows = fc_highest_tile(k, vecs);
    double cycles = (double)(vectors / vecs) * fc_tile_cycles(rows, vecs, 1);
    if (rest) cycles += fc_tile_cycles(rows, rest, 1);
    return cycles / (double)rows;
}

ptrdiff_t fc_highest_tile(const fc_kernels *k, ptrdiff_t vecs) {
    ptrdiff_t rows = FC_MAX_ROWS;
    while (!k->gemm[rows - 1][vecs - 1]) rows--;
    return rows;
}

ptrdiff_t fc_channel_vecs(const fc_kernels *k, ptrdiff_t channels) {
    ptrdiff_t best = 0;
    for (ptrdiff_t vecs = least(FC_MAX_VECS, quotient_up(channels, k->lanes)); vecs > 0; vecs--) {
        if (fc_highest_tile(k, vecs) < 3) continue; /* loads would outnumber the multiply-adds */
        if (!best || output_cycles(k, channels, vecs) < output_cycles(k, channels, best)) best = vecs;
    }
    return best;
}

/* Whether the planes lie side by side in each position of the source. */
static int are_adjacent(const fc_plan *p) {
    const fc_correlation *c = p->c;
    if (c->planes == 1 || c->axis[1].source_stride < c->planes) return 0;
    for (ptrdiff_t i = 0; i < c->planes; i++)
        if (!c->x_plane[i] || (const char *)c->x_plane[i] != (const char *)c->x_plane[0] + i * p->size)
            return 0;
    return 1;
}

/* Outputs whose tables and stage stay in L1. */
enum { MAX_PIXELS = 2048 };

static void choose_size(fc_plan *p) {
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    const ptrdiff_t budget = FC_BLOCK_BYTES / p->size;
    for (int a = 0; a < 2; a++)
        b->phases[a] = fc_whole_axis(&b->axis[a], least(b->axis[a].outputs, a ? 640 : 64));
    b->size[0] = b->size[1] = 1;
    b->size[2] = even_block(w->outputs, h->outputs == 1 ? MAX_PIXELS / 2 : 640);
    fc_lay_out(b);
    /* Elements that a row of outputs takes, and rows that all of them share. */
    const ptrdiff_t phases = b->phases[0].phases * b->phases[1].phases;
    const ptrdiff_t per_row = p->planes * (b->in_place ? b->size[2] : b->pitch[1] / b->inner * phases);
    const ptrdiff_t shared = b->in_place ? 0 : b->phases[0].reach / b->phases[0].advance;
    const ptrdiff_t limit = least(budget / per_row - shared, MAX_PIXELS / b->size[2]);
    b->size[1] = even_block(h->outputs, limit);
    fc_lay_out(b);
    if (b->size[1] < h->outputs || b->size[2] < w->outputs) return;
    const ptrdiff_t image = h->outputs * w->outputs;
    const ptrdiff_t per_image = p->planes * (b->in_place ? image : b->pitch[0] / b->inner * phases);
    b->size[0] = even_block(b->images, least(budget / per_image, MAX_PIXELS / image));
    fc_lay_out(b);
}

void fc_plan_channels(fc_plan *p) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    fc_blocks *b = &p->blocks;
    p->by_channel = 1;
    p->by_line = 0;
    p->vecs = fc_channel_vecs(k, c->rows);
    p->tile_rows = fc_highest_tile(k, p->vecs);
    p->panel = p->vecs * k->lanes;
    p->planes = even_block(c->planes, most(1, FC_CHAIN / fc_taps(p)));
    b->in_place = fc_is_inside(&b->axis[0]) && fc_is_inside(&b->axis[1]);
    for (ptrdiff_t i = 0; i < c->planes; i++) b->in_place &= c->x_plane[i] != NULL;
    b->inner = !b->in_place && are_adjacent(p) ? p->planes : 1;
    choose_size(p);
    const double terms = (double)(c->planes * fc_taps(p));
    const double chunks = (double)quotient_up(c->planes, p->planes);
    const double outputs = (double)(c->images * b->axis[0].outputs * b->axis[1].outputs);
    const double per_output = output_cycles(k, c->rows, p->vecs);
    const double channels = (double)(quotient_up(c->rows, k->lanes) * k->lanes);
    /* Per output: a share of the call, and each value stored, transposed and stored again. */
    const double panels = (double)quotient_up(c->rows, p->panel);
    const double store = c->y_row == 1 ? 0.1 : 0.6;
    p->cycles = outputs * (terms * per_output + chunks * (panels * 30 / (double)p->tile_rows + store * channels));
}

/* Whether outputs follow each other in y as in the block, evenly. */
static int is_uniform(const fc_plan *p, const fc_block *block) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    if (block->count[1] > 1 && h->target_stride != block->count[2] * w->target_stride) return 0;
    return block->count[0] == 1 ||
           p->c->y_image == block->count[1] * block->count[2] * w->target_stride;
}

/* Runs of outputs that follow each other evenly in y. */
typedef struct {
    ptrdiff_t run, height; /* length of a run; runs of an image */
} runs;

static runs find_runs(const fc_plan *p, const fc_block *block) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    runs r = {block->count[2], block->count[1]};
    if (r.height > 1 && h->target_stride == r.run * w->target_stride) {
        r.run *= r.height;
        r.height = 1;
    }
    return r;
}

static ptrdiff_t y_offset(const fc_plan *p, const fc_block *block, ptrdiff_t pixel) {
    const ptrdiff_t columns = block->count[2], image = columns * block->count[1];
    return (block->start[0] + pixel / image) * p->c->y_image +
           (block->start[1] + pixel % image / columns) * p->c->axis[0].target_stride +
           (block->start[2] + pixel % columns) * p->c->axis[1].target_stride;
}

/* Outputs [first, last) of the block for channels [row, row + rows), on their way out. */
typedef struct {
    ptrdiff_t first, last, row, rows, width; /* width: elements between pixels of the stage */
    int accumulate, relu;
} group;

/* Channels of a run of pixels, from `pixel` on: y of each, and the length of the run. */
static ptrdiff_t find_run(const fc_plan *p, const fc_block *block, const group *g, ptrdiff_t pixel,
                          void **y_rows) {
    const runs r = find_runs(p, block);
    char *y = (char *)p->c->y + (g->row * p->c->y_row + y_offset(p, block, pixel)) * p->size;
    for (ptrdiff_t j = 0; j < g->rows; j++) y_rows[j] = y + j * p->c->y_row * p->size;
    return least(r.run - pixel % r.run, g->last - pixel);
}

/* While the group is computed, its lines of y come nearer. */
static void prefetch_group(const fc_plan *p, const fc_block *block, const group *g) {
    enum { LINE = 64 };
    void *y_rows[FC_MAX_COLS];
    for (ptrdiff_t i = g->first; i < g->last;) {
        const ptrdiff_t length = find_run(p, block, g, i, y_rows);
        const ptrdiff_t bytes = ((length - 1) * p->c->axis[1].target_stride + 1) * p->size;
        for (ptrdiff_t j = 0; j < g->rows; j++) {
            const char *y = y_rows[j];
            for (ptrdiff_t offset = 0; offset < bytes; offset += LINE) FC_PREFETCH_TO_WRITE(y + offset);
            FC_PREFETCH_TO_WRITE(y + bytes - 1);
        }
        i += length;
    }
}

static void store_group(const fc_plan *p, const fc_workspace *ws, const fc_block *block,
                        const group *g) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    void *y_rows[FC_MAX_COLS];
    if (c->y_row == 1) {
        char *y = (char *)c->y + g->row * p->size;
        for (ptrdiff_t i = g->first; i < g->last; i++)
            y_rows[i - g->first] = y + y_offset(p, block, i) * p->size;
        k->store(g->last - g->first, g->rows, ws->stage[0], g->width, y_rows, 1, g->accumulate, g->relu);
        return;
    }
    k->transpose(g->last - g->first, g->rows, ws->stage[0], g->width, ws->stage[1], FC_GROUP);
    for (ptrdiff_t i = g->first; i < g->last;) {
        const ptrdiff_t length = find_run(p, block, g, i, y_rows);
        k->store(g->rows, length, ws->stage[1] + (i - g->first) * p->size, FC_GROUP, y_rows,
                 c->axis[1].target_stride, g->accumulate, g->relu);
        i += length;
    }
}

void fc_multiply_channels(const fc_plan *p, const fc_workspace *ws, const fc_block *block,
                          ptrdiff_t row0, ptrdiff_t row1, const fc_terms *terms) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t total = c->planes * fc_taps(p), size = p->size;
    const ptrdiff_t pixels = block->count[0] * block->count[1] * block->count[2];
    const int accumulate = terms->first > 0, relu = c->relu && terms->last == total;
    const int uniform = c->y_row == 1 && is_uniform(p, block);
    const char *x = fc_input(p, ws, block, terms);
    for (ptrdiff_t row = row0; row < row1; row += p->panel) {
        if (fc_stopped(p->run)) return;
        const ptrdiff_t rows = least(p->panel, row1 - row);
        const ptrdiff_t vecs = quotient_up(rows, k->lanes), width = vecs * k->lanes;
        const int direct = uniform && rows == width;
        const char *bias = p->bias && !accumulate ? p->bias + row * size : NULL;
        const void *x_rows[FC_MAX_ROWS];
        fc_tile tile = {
            .depth = terms->last - terms->first,
            .a_rows = x_rows,
            .a_offsets = ws->x_offsets,
            .b = p->weights + (row * total + terms->first * p->panel) * size,
            .b_offsets = ws->w_offsets,
            .c_row = direct ? c->axis[1].target_stride : width,
            .bias = bias,
            .accumulate = direct && accumulate,
            .relu = direct && relu,
        };
        group g = {.row = row, .rows = rows, .width = width, .accumulate = accumulate, .relu = relu};
        for (g.first = 0; g.first < pixels; g.first = g.last) {
            g.last = least(pixels, g.first + FC_GROUP);
            if (c->y_row != 1) prefetch_group(p, block, &g);
            for (ptrdiff_t i = g.first; i < g.last; i += p->tile_rows) {
                const ptrdiff_t n = least(p->tile_rows, g.last - i);
                for (ptrdiff_t j = 0; j < n; j++) x_rows[j] = x + ws->pixels[i + j] * size;
                tile.c = direct ? (char *)c->y + (row + y_offset(p, block, i)) * size
                                : ws->stage[0] + (i - g.first) * width * size;
                k->gemm[n - 1][vecs - 1](&tile);
            }
            if (!direct) store_group(p, ws, block, &g);
        }
    }
}
