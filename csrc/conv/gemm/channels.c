/* Correlation with output channels in the vector: a tile is some outputs, their inputs broadcast, by
 * vectors of output channels, whose weights are packed.
 *
 * The outputs of a tile lie anywhere, so no stride and no width wastes a lane. Where channels are not
 * adjacent in y, a group of outputs is transposed on its way out. */
#include <math.h>
#include <string.h>

#include "../../arithmetic.h"
#include "stage.h"

/* Outputs whose tables and stage stay in L1. */
enum { MAX_PIXELS = 2048 };
/* Blocks of few planes are copied as fast when they are small, and their tables are: cifar_rn20_down, 16 planes, took
 * 0.96 of the time; with 32 planes and more nothing or, where there is more than one block an image, 1.03. */
enum { FEW_IN_BLOCK = 16, FEW_BYTES_OF_BLOCK = 240 << 10 };

static void choose_size(fc_gemm_stage *p) {
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    const ptrdiff_t budget = (p->planes <= FEW_IN_BLOCK ? FEW_BYTES_OF_BLOCK : FC_BLOCK_BYTES) / p->size;
    for (int a = 0; a < 2; a++)
        b->residues[a] = fc_whole_axis(&b->axis[a], min(b->axis[a].outputs, a ? 640 : 64));
    b->size[0] = b->size[1] = 1;
    b->size[2] = even_block(w->outputs, h->outputs == 1 ? MAX_PIXELS / 2 : 640);
    if (b->in_place && h->outputs == 1) /* 512 -> 128 channels of 28x28 at once took 1.3 times as long */
        b->size[2] = even_block(w->outputs, max(FC_GROUP, min(MAX_PIXELS / 2, budget / p->planes)));
    fc_lay_out(b);
    /* Elements that a row of outputs takes, and rows that all of them share. */
    const ptrdiff_t residues = b->residues[0].residues * b->residues[1].residues;
    const ptrdiff_t per_row = p->planes * (b->in_place ? b->size[2] : b->pitch[1] / b->inner * residues);
    const ptrdiff_t shared = b->in_place ? 0 : b->residues[0].reach / b->residues[0].advance;
    const ptrdiff_t limit = min(budget / per_row - shared, MAX_PIXELS / b->size[2]);
    b->size[1] = even_block(h->outputs, limit);
    fc_lay_out(b);
    if (b->size[1] < h->outputs || b->size[2] < w->outputs) return;
    const ptrdiff_t image = h->outputs * w->outputs;
    const ptrdiff_t per_image = p->planes * (b->in_place ? image : b->pitch[0] / b->inner * residues);
    b->size[0] = even_block(b->images, min(budget / per_image, MAX_PIXELS / image));
    fc_lay_out(b);
}

/* `share`: of the terms that are not left out. */
static double estimate(const fc_gemm_stage *p, double share) {
    const fc_correlation *c = p->c;
    const ptrdiff_t lanes = p->kernels->lanes;
    const double terms = (double)(c->planes * fc_taps(p)) * share;
    const double chunks = (double)quotient_up(c->planes, p->planes);
    const double outputs = (double)(c->images * c->axis[0].outputs * c->axis[1].outputs);
    const double channels = (double)(quotient_up(c->rows, lanes) * lanes);
    const double panels = (double)quotient_up(c->rows, p->panel);
    /* A share of the call, and each value stored, transposed and stored again. */
    const double store = c->y_row == 1 ? 0.1 : c->axis[1].target_stride == 1 ? 0.6 : 1.6;
    return fc_fill_cycles(p) + outputs * (terms * fc_channel_cycles(p->kernels, c->rows, p->tile_vectors) +
                      chunks * (panels * 30 / (double)p->tile_rows + store * channels));
}

/* Whether reading planes with a stride, once a panel, takes longer than to copy them, as with 1x1 kernels a tile
 * meets a page of each plane: rn50_l2_down1x1 took 1.26 times as long on one thread, 1.66 on two; with a single
 * panel 0.8, with 64 planes or more taps 0.9. */
static int is_spread(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    const ptrdiff_t outputs = c->images * c->axis[0].outputs * c->axis[1].outputs;
    return fc_taps(p) == 1 && c->axis[1].stride > 1 && !p->blocks.adjacent && c->planes >= 128 &&
           c->rows >= 4 * p->panel && outputs >= 64;
}

/* Weights of a panel that stay in L1: cifar_rn20_down, 18 KiB of them, took 0.96 of the time without a fetch. */
enum { NEAR_BYTES = 24 << 10 };

void fc_plan_channels(fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    fc_blocks *b = &p->blocks;
    p->by_channel = 1;
    p->by_piece = p->by_row = p->by_line = 0;
    p->tile_vectors = fc_channel_tile_vectors(p->kernels, c->rows);
    p->tile_rows = fc_highest_tile(p->kernels, p->tile_vectors);
    p->panel = p->tile_vectors * p->kernels->lanes;
    p->planes = even_block(c->planes, max(1, FC_CHAIN / fc_taps(p)));
    p->rows_of_b = p->planes * fc_taps(p) * p->panel * p->size <= NEAR_BYTES ? FC_ROWS_NEAR : FC_ROWS_FOLLOW;
    b->in_place = fc_is_inside(&b->axis[0]) && fc_is_inside(&b->axis[1]) && !is_spread(p);
    b->in_place &= fc_has_all_planes(c);
    b->inner = !b->in_place && b->adjacent ? p->planes : 1;
    choose_size(p);
    p->cycles = estimate(p, 1);
}

/* Planes whose tiles by pieces are too short for their tables: of 3x3 and 5x5 taps and 7x7 to 14x14 outputs,
 * pieces took 3.7 times as long with 1 plane, 2 with 4, 1.3 with 16, and as long with 32. */
enum { FEW_PLANES = 32 };

void fc_plan_pieces(fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    fc_blocks *b = &p->blocks;
    ptrdiff_t count[2];
    fc_plan_channels(p);
    p->by_piece = 1;
    p->cycles = INFINITY;
    if (b->in_place || c->planes < FEW_PLANES) return;
    double share = 1;
    for (int a = 0; a < 2; a++) share *= fc_share_inside(&c->axis[a], &count[a]);
    if (count[0] * count[1] > FC_MAX_PIECES) return;
    if (!fc_has_all_planes(c)) return;
    b->in_place = 1;
    b->inner = 1;
    choose_size(p);
    /* Tiles end with their piece, and each piece has its tables: with 3x3 pad 1, 28x28 and 14x14 took
     * longer by pieces, 8x8 and 7x7 less. */
    p->cycles = 1.15 * estimate(p, share);
}

/* Of their tables, and of tiles that end with them: 4x32x56x56 with 7x7, 11x11, 15x15 and 31x31 taps, whose shares
 * are 0.97, 0.95, 0.93 and 0.86, took 0.98, 0.96, 0.935 and 0.88 of the time, 8x256x14x14 with 3x3 0.97. */
static const double ROW_PIECES_COST = 1.02;

/* Share of the terms that tiles have if taps above and below the source are left out. */
static double share_of_rows(const fc_gemm_stage *p, ptrdiff_t *pieces) {
    const fc_axis *h = &p->c->axis[0];
    const ptrdiff_t width = p->c->axis[1].outputs;
    double terms = 0;
    *pieces = 0;
    for (ptrdiff_t o = 0, end; o < h->outputs; o = end, ++*pieces) {
        const fc_taps_inside inside = fc_inside(h, o);
        end = fc_end_of_alike(h, o, h->outputs);
        const ptrdiff_t tiles = quotient_up((end - o) * width, p->tile_rows);
        terms += (double)(inside.last - inside.first) * (double)tiles * (double)p->tile_rows;
    }
    return terms / ((double)h->taps * (double)h->outputs * (double)width);
}

void fc_plan_row_pieces(fc_gemm_stage *p) {
    ptrdiff_t pieces;
    fc_plan_channels(p);
    const double share = share_of_rows(p, &pieces);
    p->by_piece = p->by_row = 1;
    p->cycles = p->blocks.in_place || pieces > FC_MAX_ROW_PIECES ? INFINITY : ROW_PIECES_COST * estimate(p, share);
}

void fc_set_pixels(const fc_gemm_stage *p, fc_workspace *ws, const fc_block *block) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    const ptrdiff_t *pitch = p->blocks.pitch, *start = block->start;
    const ptrdiff_t bottom = start[1] + block->count[1], right = start[2] + block->count[2];
    const fc_taps_inside all[2] = {{0, h->taps}, {0, w->taps}};
    const int by_column = p->by_piece && !p->by_row;
    ptrdiff_t i = 0;
    ws->y = (char *)p->c->y + start[0] * p->c->y_image * p->size;
    /* Blocks often differ only in their images. */
    if (ws->count && memcmp(&ws->block.start[1], &start[1], 2 * sizeof *start) == 0 &&
        memcmp(ws->block.count, block->count, sizeof block->count) == 0) return;
    ws->block = *block;
    ws->count = 0;
    for (ptrdiff_t h0 = start[1], h1; h0 < bottom; h0 = h1) {
        h1 = p->by_piece ? fc_end_of_alike(h, h0, bottom) : bottom;
        for (ptrdiff_t w0 = start[2], w1; w0 < right; w0 = w1) {
            w1 = by_column ? fc_end_of_alike(w, w0, right) : right;
            for (ptrdiff_t n = 0; n < block->count[0]; n++)
                for (ptrdiff_t y = h0; y < h1; y++)
                    for (ptrdiff_t x = w0; x < w1; x++, i++) {
                        ws->pixels[i] = n * pitch[0] + (y - start[1]) * pitch[1] + (x - start[2]) * pitch[2];
                        ws->targets[i] = n * p->c->y_image + y * h->target_stride + x * w->target_stride;
                    }
            ws->pieces[ws->count++] = (fc_piece){
                .last = i,
                .taps = {p->by_piece ? fc_inside(h, h0) : all[0], by_column ? fc_inside(w, w0) : all[1]},
            };
        }
    }
    while (i-- > 0) {
        const int last = i + 1 == ws->pieces[ws->count - 1].last;
        ws->ends[i] = !last && ws->targets[i + 1] == ws->targets[i] + w->target_stride ? ws->ends[i + 1] : i + 1;
    }
}

/* Outputs [first, last) of the block for channels [row, row + rows), on their way out. */
typedef struct {
    ptrdiff_t first, last, row, rows, width; /* width: elements between pixels of the stage */
    int accumulate, relu;
} group;

/* Channels of a run of outputs, from `pixel` on, that follow each other evenly in y: y of each, and
 * the length of the run. */
static ptrdiff_t find_run(const fc_gemm_stage *p, const fc_workspace *ws, const group *g, ptrdiff_t pixel,
                          void **y_rows) {
    char *y = ws->y + (g->row * p->c->y_row + ws->targets[pixel]) * p->size;
    for (ptrdiff_t j = 0; j < g->rows; j++) y_rows[j] = y + j * p->c->y_row * p->size;
    return min(g->last, ws->ends[pixel]) - pixel;
}

/* While the group is computed, its lines of y come nearer. */
static void prefetch_group(const fc_gemm_stage *p, const fc_workspace *ws, const group *g) {
    void *y_rows[FC_MAX_TILE_COLS];
    for (ptrdiff_t i = g->first; i < g->last;) {
        const ptrdiff_t length = find_run(p, ws, g, i, y_rows);
        const ptrdiff_t bytes = ((length - 1) * p->c->axis[1].target_stride + 1) * p->size;
        for (ptrdiff_t j = 0; j < g->rows; j++) {
            const char *y = y_rows[j];
            for (ptrdiff_t offset = 0; offset < bytes; offset += FC_CACHE_LINE) FC_PREFETCH_TO_WRITE(y + offset);
            FC_PREFETCH_TO_WRITE(y + bytes - 1);
        }
        i += length;
    }
}

/* Where channels are adjacent in y: outputs [first, first + count) of a group, from the stage. */
static void store_outputs(const fc_gemm_stage *p, const fc_workspace *ws, const group *g, ptrdiff_t first,
                          ptrdiff_t count) {
    void *y_rows[FC_MAX_TILE_ROWS];
    for (ptrdiff_t i = 0; i < count; i++)
        y_rows[i] = ws->y + (g->row + ws->targets[first + i]) * p->size;
    p->kernels->store(count, g->rows, ws->stage[0], g->width, y_rows, 1, g->accumulate, g->relu);
}

/* Where they are not: all of a group. */
static void store_group(const fc_gemm_stage *p, const fc_workspace *ws, const group *g) {
    const fc_kernels *k = p->kernels;
    void *y_rows[FC_MAX_TILE_COLS];
    k->transpose(g->last - g->first, g->rows, ws->stage[0], g->width, ws->stage[1], FC_GROUP);
    for (ptrdiff_t i = g->first; i < g->last;) {
        const ptrdiff_t length = find_run(p, ws, g, i, y_rows);
        k->store(g->rows, length, ws->stage[1] + (i - g->first) * p->size, FC_GROUP, y_rows,
                 p->c->axis[1].target_stride, g->accumulate, g->relu);
        i += length;
    }
}

/* One panel of channels of all outputs of the block. */
static void multiply_panel(const fc_gemm_stage *p, fc_workspace *ws, group *g, fc_tile *tile,
                           const char *x, const void **x_rows) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t pixels = ws->pieces[ws->count - 1].last, size = p->size;
    const ptrdiff_t tile_vectors = g->width / k->lanes;
    const int adjacent = c->y_row == 1;
    const fc_piece *piece = ws->pieces;
    for (g->first = 0; g->first < pixels; g->first = g->last) {
        g->last = min(pixels, g->first + FC_GROUP);
        if (!adjacent) prefetch_group(p, ws, g);
        for (ptrdiff_t i = g->first, n; i < g->last; i += n) {
            while (i == piece->last) piece++;
            n = min(p->tile_rows, min(g->last, piece->last) - i);
            for (ptrdiff_t j = 0; j < n; j++) x_rows[j] = x + ws->pixels[i + j] * size;
            const int direct = adjacent && g->rows == g->width && ws->ends[i] >= i + n;
            const ptrdiff_t table = (piece - ws->pieces) * ws->table;
            tile->depth = piece->depth;
            tile->a_offsets = ws->x_offsets + table;
            tile->b_offsets = ws->w_offsets + table;
            tile->c = direct ? ws->y + (g->row + ws->targets[i]) * size
                             : ws->stage[0] + (adjacent ? 0 : (i - g->first) * g->width * size);
            tile->c_row = direct ? c->axis[1].target_stride : g->width;
            tile->accumulate = direct && g->accumulate;
            tile->relu = direct && g->relu;
            fc_fetch_ahead(&ws->fetch, tile);
            k->gemm[n - 1][tile_vectors - 1](tile);
            if (adjacent && !direct) store_outputs(p, ws, g, i, n);
        }
        if (!adjacent) store_group(p, ws, g);
    }
}

void fc_multiply_channels(const fc_gemm_stage *p, fc_workspace *ws, const fc_block *block, ptrdiff_t row0,
                          ptrdiff_t row1, const fc_terms *terms) {
    const fc_correlation *c = p->c;
    const ptrdiff_t total = c->planes * fc_taps(p), lanes = p->kernels->lanes;
    const char *x = fc_input(p, ws, block, terms);
    group g = {.accumulate = terms->first > 0, .relu = c->relu && terms->last == total};
    for (g.row = row0; g.row < row1; g.row += p->panel) {
        if (fc_stopped(p->run)) return;
        g.rows = min(p->panel, row1 - g.row);
        g.width = quotient_up(g.rows, lanes) * lanes;
        const void *x_rows[FC_MAX_TILE_ROWS];
        fc_tile tile = {
            .a_rows = x_rows,
            .b = ws->weights + ((g.row - ws->first_row) * total + terms->first * p->panel) * p->size,
            .rows_of_b = p->rows_of_b,
            .bias = p->bias && !g.accumulate ? p->bias + g.row * p->size : NULL,
        };
        multiply_panel(p, ws, &g, &tile, x, x_rows);
    }
}
