#include "arrange.h"

#include "cost.h"

_Static_assert(FC_GEMM_PACKED_BYTES == 12 << 20 && FC_GEMM_MAX_PIECES == 25 && FC_GEMM_MAX_ROW_PIECES == 64,
               "refusals say these numbers");

ptrdiff_t fc_channels_at_once(const fc_correlation *c, ptrdiff_t size) {
    const ptrdiff_t of_channel = c->planes * c->axis[0].taps * c->axis[1].taps * size;
    const ptrdiff_t limit = FC_GEMM_PACKED_BYTES / of_channel / FC_MAX_TILE_COLS * FC_MAX_TILE_COLS;
    const double outputs = (double)c->images * (double)c->axis[0].outputs * (double)c->axis[1].outputs;
    if (c->out_channels <= limit || !limit || outputs < FC_GEMM_WORTH_PACKING) return c->out_channels;
    return min(limit, quotient_up(even_block(c->out_channels, limit), FC_MAX_TILE_COLS) * FC_MAX_TILE_COLS);
}

int fc_needs_packed(const fc_gemm_stage *p) {
    if (fc_by_channel(p)) return 1;
    return fc_weight_elements(p) * p->size <= FC_GEMM_PACKED_BYTES && !fc_weights_are_in_order(p->c);
}

/* ---- Pixels in the vector ---- */

static void choose_lines(fc_gemm_stage *p) {
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    const ptrdiff_t budget = FC_GEMM_BLOCK_BYTES / p->size;
    b->size[0] = b->size[1] = 1;
    b->size[2] = even_block(w->outputs, h->outputs == 1 ? FC_GEMM_BLOCK_OUTPUTS : FC_GEMM_LINE_OUTPUTS);
    if (b->in_place) {
        const ptrdiff_t columns = budget / p->planes / FC_GEMM_LINE_STEP * FC_GEMM_LINE_STEP;
        if (h->outputs == 1) b->size[2] = even_block(w->outputs, max(FC_GEMM_LINE_MIN, columns));
        b->size[1] = even_block(h->outputs, budget / p->planes / b->size[2]);
        fc_lay_out(b);
        return;
    }
    fc_lay_out(b);
    const ptrdiff_t line = b->pitch[1] * b->residues[0].residues * b->residues[1].residues * p->planes;
    const ptrdiff_t lines = even_block(h->outputs, budget / line - b->residues[0].reach);
    const fc_residues own = fc_split_axis(h, 1);
    b->size[1] = lines;
    if ((lines + b->residues[0].reach) * b->residues[0].residues > lines * own.residues + own.reach) {
        /* Taps further apart than the block is high share nothing. */
        b->residues[0] = own;
        const ptrdiff_t own_line = b->pitch[1] * own.residues * b->residues[1].residues * p->planes;
        b->size[1] = even_block(h->outputs, budget / own_line - own.reach);
    }
    fc_lay_out(b);
    if (b->size[1] == h->outputs && b->size[2] == w->outputs) {
        b->size[0] = even_block(b->images, budget / p->planes / b->plane_stride);
        fc_lay_out(b);
    }
}

/* Whether planes are lines that begin alike in a cache line. */
static int can_align(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    const fc_blocks *b = &p->blocks;
    if (!b->in_place || !p->by_line || fc_taps(p) > 1 || b->axis[0].outputs > 1) return 0;
    if (b->axis[1].outputs < FC_GEMM_WORTH_ALIGNING) return 0;
    for (ptrdiff_t i = 1; i < c->planes; i++)
        if ((c->x_plane[i] - c->x_plane[0]) * p->size % FC_CACHE_LINE) return 0;
    return 1;
}

/* Whether lines of a block follow each other without a gap in its copy, as those of a 1x1 kernel do, and in y. */
static int lines_are_dense(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    return !b->in_place && h->outputs > 1 && b->count[2] == 1 && b->pitch[1] == w->outputs && w->target_stride == 1 &&
           h->target_stride == w->outputs;
}

static const char *choose_pixels(fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    p->panel = p->tile_rows = p->kernels->tile_rows;
    p->tile_vectors = p->kernels->tile_vectors;
    p->planes = even_block(c->planes, max(1, FC_GEMM_CHAIN / fc_taps(p)));
    b->inner = 1;
    b->in_place = w->stride * w->source_stride == 1 && fc_is_inside(h) && fc_is_inside(w) && h->source_stride >= 0 &&
                  fc_has_all_planes(c);
    choose_lines(p);
    p->is_dense = lines_are_dense(p);
    p->by_line = 1;
    double cycles = fc_pixel_cycles(p);
    if (!p->is_dense) {
        p->by_line = 0;
        const double at_once = fc_pixel_cycles(p);
        const int lines_overlap = b->in_place && h->outputs > 1 && b->pitch[1] < b->size[2];
        p->by_line = lines_overlap || cycles <= at_once;
        if (!p->by_line) cycles = at_once;
    }
    p->cycles = fc_fill_cycles(p) + cycles;
    p->rows_of_b = b->in_place || p->planes >= FC_GEMM_SCATTERED_PLANES ? FC_ROWS_SCATTERED : FC_ROWS_NEAR;
    p->by_cache_line = can_align(p);
    return NULL;
}

static const char *choose_pixels_apart(fc_gemm_stage *p) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    const fc_residues along = p->blocks.residues[0];
    if (h->outputs == 1) return "an image has one line of outputs";
    if (w->target_stride != 1 || h->target_stride != w->outputs) return "lines of outputs do not follow each other";
    choose_pixels(p);
    if (p->blocks.in_place) return "planes are read in place";
    if (p->is_dense) return "lines of a copy follow each other as they are";
    p->blocks.residues[0] = along;
    p->blocks.residues[1] = fc_taps_apart(w);
    choose_pixels(p);
    return p->is_dense ? NULL : "lines of outputs are cut";
}

/* ---- Output channels in the vector ---- */

static void choose_outputs(fc_gemm_stage *p) {
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    const ptrdiff_t bytes = p->planes <= FC_GEMM_FEW_IN_BLOCK ? FC_GEMM_BLOCK_OF_FEW_BYTES : FC_GEMM_BLOCK_BYTES;
    const ptrdiff_t budget = bytes / p->size;
    for (int a = 0; a < 2; a++)
        b->residues[a] = fc_whole_axis(&b->axis[a], min(b->axis[a].outputs, a ? FC_GEMM_LINE_OUTPUTS
                                                                              : FC_GEMM_BLOCK_LINES));
    b->size[0] = b->size[1] = 1;
    b->size[2] = even_block(w->outputs, h->outputs == 1 ? FC_GEMM_BLOCK_OUTPUTS / 2 : FC_GEMM_LINE_OUTPUTS);
    if (b->in_place && h->outputs == 1) /* 512 -> 128 channels of 28x28 at once took 1.3 times as long */
        b->size[2] = even_block(w->outputs, max(FC_GEMM_GROUP, min(FC_GEMM_BLOCK_OUTPUTS / 2, budget / p->planes)));
    fc_lay_out(b);
    /* Elements that a line of outputs takes, and lines that all of them share. */
    const ptrdiff_t residues = b->residues[0].residues * b->residues[1].residues;
    const ptrdiff_t of_line = p->planes * (b->in_place ? b->size[2] : b->pitch[1] / b->inner * residues);
    const ptrdiff_t shared = b->in_place ? 0 : b->residues[0].reach / b->residues[0].advance;
    const ptrdiff_t limit = min(budget / of_line - shared, FC_GEMM_BLOCK_OUTPUTS / b->size[2]);
    b->size[1] = even_block(h->outputs, limit);
    fc_lay_out(b);
    if (b->size[1] < h->outputs || b->size[2] < w->outputs) return;
    const ptrdiff_t image = h->outputs * w->outputs;
    const ptrdiff_t of_image = p->planes * (b->in_place ? image : b->pitch[0] / b->inner * residues);
    b->size[0] = even_block(b->images, min(budget / of_image, FC_GEMM_BLOCK_OUTPUTS / image));
    fc_lay_out(b);
}

/* Whether reading planes with a stride, once a panel, takes longer than to copy them, as with 1x1 kernels a tile
 * meets a page of each plane. */
static int is_spread(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    const ptrdiff_t outputs = c->images * c->axis[0].outputs * c->axis[1].outputs;
    return fc_taps(p) == 1 && c->axis[1].stride > 1 && !p->blocks.adjacent &&
           c->planes >= FC_GEMM_SPREAD_PLANES && c->out_channels >= FC_GEMM_SPREAD_PANELS * p->panel &&
           outputs >= FC_GEMM_SPREAD_OUTPUTS;
}

/* Whether all of the weights may be packed at once. */
static int weights_are_few(const fc_gemm_stage *p) {
    return fc_weight_elements(p) * p->size <= FC_GEMM_PACKED_BYTES;
}

static const char *choose_channels(fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    fc_blocks *b = &p->blocks;
    p->tile_vectors = fc_channel_tile_vectors(p->kernels, c->out_channels);
    p->tile_rows = fc_highest_tile(p->kernels, p->tile_vectors);
    p->panel = p->tile_vectors * p->kernels->lanes;
    p->planes = even_block(c->planes, max(1, FC_GEMM_CHAIN / fc_taps(p)));
    p->rows_of_b = p->planes * fc_taps(p) * p->panel * p->size <= FC_GEMM_NEAR_BYTES ? FC_ROWS_NEAR : FC_ROWS_FOLLOW;
    b->in_place = fc_is_inside(&b->axis[0]) && fc_is_inside(&b->axis[1]) && !is_spread(p) && fc_has_all_planes(c);
    b->inner = !b->in_place && b->adjacent ? p->planes : 1;
    choose_outputs(p);
    p->cycles = fc_fill_cycles(p) + fc_channel_tile_cycles(p, 1);
    /* As many as fc_channels_at_once takes, whatever the last panel is filled up with. */
    return c->out_channels * c->planes * fc_taps(p) * p->size <= FC_GEMM_PACKED_BYTES
               ? NULL : "packed weights take more than 12 MiB";
}

static const char *choose_pieces(fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    fc_blocks *b = &p->blocks;
    ptrdiff_t count[2];
    double share = 1;
    const char *refusal = choose_channels(p);
    if (refusal) return refusal;
    if (b->in_place) return "no tap leaves the input";
    for (int a = 0; a < 2; a++) share *= fc_share_inside(&c->axis[a], &count[a]);
    if (count[0] * count[1] > FC_GEMM_MAX_PIECES) return "outputs of an image read more than 25 sets of taps";
    if (!fc_has_all_planes(c)) return "planes lie in the padding";
    b->in_place = 1;
    b->inner = 1;
    choose_outputs(p);
    p->cycles = FC_GEMM_PIECES_COST * (fc_fill_cycles(p) + fc_channel_tile_cycles(p, share));
    return NULL;
}

static const char *choose_row_pieces(fc_gemm_stage *p) {
    ptrdiff_t pieces;
    const char *refusal = choose_channels(p);
    if (refusal) return refusal;
    const double share = fc_share_of_lines(p, &pieces);
    if (p->blocks.in_place || fc_is_inside(&p->c->axis[0])) return "no tap lies above or below the input";
    if (pieces > FC_GEMM_MAX_ROW_PIECES) return "lines of an image read more than 64 sets of taps";
    p->cycles = FC_GEMM_ROW_PIECES_COST * (fc_fill_cycles(p) + fc_channel_tile_cycles(p, share));
    return NULL;
}

/* ---- Tasks ---- */

/* Whether blocks that are a little smaller are a multiple of the threads; then they are that. */
static int cut_evenly(fc_gemm_stage *p, ptrdiff_t threads) {
    fc_blocks *b = &p->blocks;
    const ptrdiff_t outputs[3] = {b->images, b->axis[0].outputs, b->axis[1].outputs};
    if (p->arrangement == FC_GEMM_PIECES) return 0;
    for (int a = 0; a < (p->is_dense ? 2 : 3); a++) { /* parts of lines are not dense */
        const fc_blocks before = *b;
        const ptrdiff_t others = fc_count_blocks(b) / b->count[a];
        for (ptrdiff_t n = b->count[a] + 1; n <= min(outputs[a], b->count[a] + threads); n++) {
            b->size[a] = quotient_up(outputs[a], n);
            fc_lay_out(b);
            if (b->count[a] * others % threads == 0) return 1;
            *b = before;
        }
    }
    return 0;
}

/* Whether tasks are dealt the panels of output channels, not the blocks: the input is read again for each panel then,
 * and the weights of a panel are packed into L2 by the task that multiplies them. */
static int suits_by_panel(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    const double outputs = (double)c->images * (double)c->axis[0].outputs * (double)c->axis[1].outputs;
    const ptrdiff_t panels = fc_panels(p), threads = p->run->threads;
    if (p->arrangement != FC_GEMM_CHANNELS || !p->blocks.in_place || p->planes < c->planes) return 0;
    if (outputs * (double)c->planes * (double)p->size > FC_GEMM_BY_PANEL_BYTES) return 0;
    return 8 * quotient_up(panels, threads) * threads <= 9 * panels; /* all tasks get nearly the same */
}

static void deal_tasks(fc_gemm_stage *p) {
    const int threads = p->run->threads;
    const ptrdiff_t blocks = fc_count_blocks(&p->blocks), panels = fc_panels(p);
    p->by_panel = suits_by_panel(p);
    p->by_chunk = !p->by_panel && fc_by_channel(p) && p->planes < p->c->planes;
    p->panel_runs = 1;
    p->tasks = threads;
    if (p->by_panel) return;
    /* Few blocks are cut, by panels or smaller, so that every thread gets the same: no sum is another then. */
    while (blocks < FC_GEMM_FEW_BLOCKS * threads && p->panel_runs < panels && blocks * p->panel_runs % threads)
        p->panel_runs++;
    if (blocks < FC_GEMM_FEW_BLOCKS * threads && blocks * p->panel_runs % threads && cut_evenly(p, threads))
        p->panel_runs = 1;
    p->tasks = (int)min(threads, fc_count_blocks(&p->blocks) * p->panel_runs);
}

/* ---- The choice ---- */

/* A stage of which only the tasks are not yet dealt. */
static const char *begin(fc_gemm_stage *p, fc_gemm_arrangement arrangement) {
    static const char *(*const choose[FC_GEMM_ARRANGEMENTS])(fc_gemm_stage *) = {
        [FC_GEMM_PIXELS] = choose_pixels, [FC_GEMM_PIXELS_APART] = choose_pixels_apart,
        [FC_GEMM_CHANNELS] = choose_channels, [FC_GEMM_PIECES] = choose_pieces,
        [FC_GEMM_ROW_PIECES] = choose_row_pieces,
    };
    const fc_correlation *c = p->c;
    p->arrangement = arrangement;
    p->by_line = p->is_dense = p->by_cache_line = 0;
    p->blocks = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image};
    p->blocks.adjacent = fc_are_adjacent(c);
    for (int a = 0; a < 2; a++)
        p->blocks.residues[a] = fc_split_axis(&c->axis[a], min(c->axis[a].outputs, a ? FC_GEMM_BLOCK_OUTPUTS
                                                                                     : FC_GEMM_BLOCK_LINES));
    return choose[arrangement](p);
}

static void end(fc_gemm_stage *p) {
    deal_tasks(p);
    p->packed = fc_needs_packed(p) ? fc_weight_elements(p) * p->size : 0;
}

const char *fc_arrange(fc_gemm_stage *p, fc_gemm_arrangement arrangement) {
    const char *refusal = begin(p, arrangement);
    if (!refusal) end(p);
    return refusal;
}

/* Whether an arrangement that can run a correlation may be taken unasked. */
static int suits(const fc_gemm_stage *p) {
    if (p->arrangement == FC_GEMM_PIXELS_APART) return p->c->axis[1].stride <= FC_GEMM_APART_STRIDE;
    if (p->arrangement == FC_GEMM_PIECES && p->c->planes < FC_GEMM_PIECES_PLANES) return 0;
    return !fc_by_channel(p) || weights_are_few(p);
}

/* Takes the arrangement if it is estimated to be quicker. */
static void consider(fc_gemm_stage *best, fc_gemm_arrangement arrangement) {
    fc_gemm_stage other = *best;
    if (begin(&other, arrangement) || !suits(&other)) return;
    const int copies = arrangement == FC_GEMM_PIXELS_APART; /* as those of pixels, whose lines are longer */
    const double more = copies ? fc_copied_line_cycles(&other) : 0, of_best = copies ? fc_copied_line_cycles(best) : 0;
    if (other.cycles + more < best->cycles + of_best) *best = other;
}

void fc_choose_arrangement(fc_gemm_stage *p, int alone) {
    begin(p, FC_GEMM_PIXELS);
    if (alone) consider(p, FC_GEMM_PIXELS_APART);
    if (p->cycles >= FC_GEMM_WORTH_CHOOSING) {
        consider(p, FC_GEMM_CHANNELS);
        consider(p, FC_GEMM_PIECES);
        if (alone) consider(p, FC_GEMM_ROW_PIECES);
    }
    end(p);
}
