/* Output channels in the vector: a tile is some outputs, their inputs broadcast, by vectors of output channels, whose
 * weights are packed.
 *
 * The outputs of a tile lie anywhere, so no stride and no width wastes a lane. Where channels are not adjacent in y, a
 * group of outputs is transposed on its way out. */
#include <string.h>

#include "multiply.h"

void fc_set_pixels(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const fc_block *block) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    const ptrdiff_t *pitch = p->blocks.pitch, *start = block->start;
    const ptrdiff_t bottom = start[1] + block->count[1], right = start[2] + block->count[2];
    const fc_taps_inside all[2] = {{0, h->taps}, {0, w->taps}};
    const int by_piece = fc_by_piece(p), by_column = p->arrangement == FC_GEMM_PIECES;
    ptrdiff_t i = 0;
    scratch->y = p->c->y + start[0] * p->c->y_image * p->size;
    /* Blocks often differ only in their images. */
    if (scratch->count && memcmp(&scratch->block.start[1], &start[1], 2 * sizeof *start) == 0 &&
        memcmp(scratch->block.count, block->count, sizeof block->count) == 0) return;
    scratch->block = *block;
    scratch->count = 0;
    for (ptrdiff_t h0 = start[1], h1; h0 < bottom; h0 = h1) {
        h1 = by_piece ? fc_end_of_alike(h, h0, bottom) : bottom;
        for (ptrdiff_t w0 = start[2], w1; w0 < right; w0 = w1) {
            w1 = by_column ? fc_end_of_alike(w, w0, right) : right;
            for (ptrdiff_t n = 0; n < block->count[0]; n++)
                for (ptrdiff_t y = h0; y < h1; y++)
                    for (ptrdiff_t x = w0; x < w1; x++, i++) {
                        scratch->pixels[i] = n * pitch[0] + (y - start[1]) * pitch[1] + (x - start[2]) * pitch[2];
                        scratch->targets[i] = n * p->c->y_image + y * h->target_stride + x * w->target_stride;
                    }
            scratch->pieces[scratch->count++] = (fc_piece){
                .last = i,
                .taps = {by_piece ? fc_inside(h, h0) : all[0], by_column ? fc_inside(w, w0) : all[1]},
            };
        }
    }
    while (i-- > 0) {
        const int last = i + 1 == scratch->pieces[scratch->count - 1].last;
        const int follows = !last && scratch->targets[i + 1] == scratch->targets[i] + w->target_stride;
        scratch->ends[i] = follows ? scratch->ends[i + 1] : i + 1;
    }
}

/* Outputs [first, last) of the block for some output channels, on their way out. */
typedef struct {
    ptrdiff_t first, last;
    ptrdiff_t channel, channels; /* the first, and their number */
    ptrdiff_t width;             /* elements between pixels of scratch->stage */
    int accumulate, relu;
} group;

/* y of each of the group's channels at `pixel`, and the length of the run of outputs from there on that follow each
 * other evenly in y. */
static ptrdiff_t find_run(const fc_gemm_stage *p, const fc_gemm_scratch *scratch, const group *g, ptrdiff_t pixel,
                          void **y_rows) {
    char *y = scratch->y + (g->channel * p->c->y_channel + scratch->targets[pixel]) * p->size;
    for (ptrdiff_t j = 0; j < g->channels; j++) y_rows[j] = y + j * p->c->y_channel * p->size;
    return min(g->last, scratch->ends[pixel]) - pixel;
}

/* Brings the lines of y nearer to which a group will be stored. */
static void prefetch_group(const fc_gemm_stage *p, const fc_gemm_scratch *scratch, const group *g) {
    void *y_rows[FC_MAX_TILE_COLS];
    for (ptrdiff_t i = g->first; i < g->last;) {
        const ptrdiff_t length = find_run(p, scratch, g, i, y_rows);
        const ptrdiff_t bytes = ((length - 1) * p->c->axis[1].target_stride + 1) * p->size;
        for (ptrdiff_t j = 0; j < g->channels; j++) {
            const char *y = y_rows[j];
            for (ptrdiff_t offset = 0; offset < bytes; offset += FC_CACHE_LINE) FC_PREFETCH_TO_WRITE(y + offset);
            FC_PREFETCH_TO_WRITE(y + bytes - 1);
        }
        i += length;
    }
}

/* Outputs [first, first + count) of a group, where channels are adjacent in y. */
static void store_outputs(const fc_gemm_stage *p, const fc_gemm_scratch *scratch, const group *g, ptrdiff_t first,
                          ptrdiff_t count) {
    void *y_rows[FC_MAX_TILE_ROWS];
    for (ptrdiff_t i = 0; i < count; i++)
        y_rows[i] = scratch->y + (g->channel + scratch->targets[first + i]) * p->size;
    p->kernels->store(count, g->channels, scratch->stage[0], g->width, y_rows, 1, g->accumulate, g->relu);
}

/* All of a group, where channels are not adjacent in y. */
static void store_group(const fc_gemm_stage *p, const fc_gemm_scratch *scratch, const group *g) {
    const fc_kernels *k = p->kernels;
    void *y_rows[FC_MAX_TILE_COLS];
    k->transpose(g->last - g->first, g->channels, scratch->stage[0], g->width, scratch->stage[1], FC_GEMM_GROUP);
    for (ptrdiff_t i = g->first; i < g->last;) {
        const ptrdiff_t length = find_run(p, scratch, g, i, y_rows);
        k->store(g->channels, length, scratch->stage[1] + (i - g->first) * p->size, FC_GEMM_GROUP, y_rows,
                 p->c->axis[1].target_stride, g->accumulate, g->relu);
        i += length;
    }
}

/* One panel of channels of all outputs of the block, whose inputs begin at x. */
static void multiply_panel(const fc_gemm_stage *p, fc_gemm_scratch *scratch, group *g, fc_tile *tile, const char *x,
                           const void **x_rows) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t pixels = scratch->pieces[scratch->count - 1].last, size = p->size;
    const ptrdiff_t tile_vectors = g->width / k->lanes;
    const int adjacent = c->y_channel == 1;
    const fc_piece *piece = scratch->pieces;
    for (g->first = 0; g->first < pixels; g->first = g->last) {
        g->last = min(pixels, g->first + FC_GEMM_GROUP);
        if (!adjacent) prefetch_group(p, scratch, g);
        for (ptrdiff_t i = g->first, n; i < g->last; i += n) {
            while (i == piece->last) piece++;
            n = min(p->tile_rows, min(g->last, piece->last) - i);
            for (ptrdiff_t j = 0; j < n; j++) x_rows[j] = x + scratch->pixels[i + j] * size;
            const int direct = adjacent && g->channels == g->width && scratch->ends[i] >= i + n;
            const ptrdiff_t table = (piece - scratch->pieces) * scratch->table;
            tile->depth = piece->depth;
            tile->a_offsets = scratch->x_offsets + table;
            tile->b_offsets = scratch->w_offsets + table;
            tile->c = direct ? scratch->y + (g->channel + scratch->targets[i]) * size
                             : scratch->stage[0] + (adjacent ? 0 : (i - g->first) * g->width * size);
            tile->c_row = direct ? c->axis[1].target_stride : g->width;
            tile->accumulate = direct && g->accumulate;
            tile->relu = direct && g->relu;
            fc_fetch_ahead(&scratch->fetch, tile);
            k->gemm[n - 1][tile_vectors - 1](tile);
            if (adjacent && !direct) store_outputs(p, scratch, g, i, n);
        }
        if (!adjacent) store_group(p, scratch, g);
    }
}

void fc_multiply_channels(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const fc_block *block,
                          fc_units channels, const fc_terms *terms) {
    const fc_correlation *c = p->c;
    const ptrdiff_t total = c->planes * fc_taps(p), lanes = p->kernels->lanes;
    const char *x = fc_input(p, scratch, block, terms);
    group g = {.accumulate = terms->first > 0, .relu = c->relu && terms->last == total};
    FC_ASSERT(scratch->weights && scratch->count > 0 && channels.begin % p->panel == 0);
    for (g.channel = channels.begin; g.channel < channels.end; g.channel += p->panel) {
        if (fc_stopped(p->run)) return;
        g.channels = min(p->panel, channels.end - g.channel);
        g.width = quotient_up(g.channels, lanes) * lanes;
        const ptrdiff_t row = (g.channel - scratch->first_channel) * total + terms->first * p->panel;
        const void *x_rows[FC_MAX_TILE_ROWS];
        fc_tile tile = {
            .a_rows = x_rows,
            .b = scratch->weights + row * p->size,
            .rows_of_b = p->rows_of_b,
            .bias = p->bias && !g.accumulate ? p->bias + g.channel * p->size : NULL,
        };
        multiply_panel(p, scratch, &g, &tile, x, x_rows);
    }
}
