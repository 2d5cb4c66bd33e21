/* Correlation with pixels in the vector: a tile is a panel of output channels, their weights
 * broadcast, by vectors of consecutive outputs.
 *
 * Its columns are either lines of outputs, whose whole vectors go straight to y, or all positions of a
 * block from its first output to its last, those between two lines among them. */
#include "../../arithmetic.h"
#include "stage.h"

/* Length of the block's columns taken as one line. */
static ptrdiff_t positions(const fc_blocks *b, const ptrdiff_t count[3]) {
    return (count[0] - 1) * b->pitch[0] + (count[1] - 1) * b->pitch[1] + count[2];
}

/* Cycles that `count` lines of `length` columns take; direct: whole vectors go straight to y. */
static double line_cycles(const fc_gemm_stage *p, double count, ptrdiff_t length, int direct) {
    const fc_kernels *k = p->kernels;
    const double terms = (double)(p->c->planes * fc_taps(p));
    const double chunks = (double)quotient_up(p->c->planes, p->planes);
    const double strided = (k->stores_apart && p->c->axis[1].target_stride == 2 ? 0.4 : 1.2) * k->lanes;
    double cycles = 0;
    for (ptrdiff_t row = 0; row < p->c->rows; row += k->tile_rows) {
        const ptrdiff_t rows = min(k->tile_rows, p->c->rows - row);
        const ptrdiff_t vectors = quotient_up(length, k->lanes);
        const ptrdiff_t tile_vectors = even_block(vectors, fc_widest_tile(k, rows));
        const ptrdiff_t full = vectors / tile_vectors, rest = vectors % tile_vectors;
        const double store = p->c->axis[1].target_stride != 1 ? strided
                             : direct && (length % k->lanes == 0 || (vectors > tile_vectors && chunks == 1)) ? 1 : 5;
        cycles += (double)full * (terms * fc_tile_cycles(rows, tile_vectors, 2) +
                                  chunks * (30 + store * (double)(rows * tile_vectors)));
        if (rest)
            cycles += terms * fc_tile_cycles(rows, rest, 2) + chunks * (30 + store * (double)(rows * rest));
        if (row == 0 && p->c->rows / k->tile_rows > 1) { /* the full panels alike */
            cycles *= (double)(p->c->rows / k->tile_rows);
            row = (p->c->rows / k->tile_rows - 1) * k->tile_rows;
        }
    }
    return cycles * count;
}

static void choose_size(fc_gemm_stage *p) {
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    const ptrdiff_t budget = FC_BLOCK_BYTES / p->size;
    b->size[0] = 1;
    b->size[1] = 1;
    b->size[2] = even_block(w->outputs, h->outputs == 1 ? 2048 : 640);
    if (b->in_place) {
        if (h->outputs == 1)
            b->size[2] = even_block(w->outputs, max(512, budget / p->planes / 48 * 48));
        b->size[1] = even_block(h->outputs, budget / p->planes / b->size[2]);
        fc_lay_out(b);
        return;
    }
    fc_lay_out(b);
    const ptrdiff_t row = b->pitch[1] * b->residues[0].residues * b->residues[1].residues * p->planes;
    const ptrdiff_t rows = even_block(h->outputs, budget / row - b->residues[0].reach);
    const fc_residues own = fc_split_axis(h, 1);
    b->size[1] = rows;
    if ((rows + b->residues[0].reach) * b->residues[0].residues > rows * own.residues + own.reach) {
        /* Taps further apart than the block is high share nothing. */
        b->residues[0] = own;
        const ptrdiff_t own_row = b->pitch[1] * own.residues * b->residues[1].residues * p->planes;
        b->size[1] = even_block(h->outputs, budget / own_row - own.reach);
    }
    fc_lay_out(b);
    if (b->size[1] == h->outputs && b->size[2] == w->outputs) {
        b->size[0] = even_block(b->images, budget / p->planes / b->plane_stride);
        fc_lay_out(b);
    }
}

/* Whether rows of planes are lines that begin alike in a cache line. Tiles that do not begin with one, as those of
 * NumPy's arrays, 16 bytes into one, take 1.08 to 1.12 times as long in L2. */
static int can_align(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    const fc_blocks *b = &p->blocks;
    if (!b->in_place || !p->by_line || fc_taps(p) > 1 || b->axis[0].outputs > 1) return 0;
    if (b->axis[1].outputs < 256) return 0; /* the tiles at both ends would take more than is gained */
    for (ptrdiff_t i = 1; i < c->planes; i++)
        if ((c->x_plane[i] - c->x_plane[0]) * p->size % FC_CACHE_LINE) return 0;
    return 1;
}

/* Whether rows of a block follow each other without a gap in its copy, as those of a 1x1 kernel do, and in y. */
static int rows_are_dense(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    return !b->in_place && h->outputs > 1 && b->count[2] == 1 && b->pitch[1] == w->outputs && w->target_stride == 1 &&
           h->target_stride == w->outputs;
}

/* Planes of a copy from which on processors do not foresee the rows that a tile reads: with 32, tiles that look them
 * up took 0.97 to 0.99 times as long, dx of stems, 32 to 64 planes, 0.88, with 3 to 16 planes 1.00 to 1.06. */
enum { MANY_PLANES = 32 };

void fc_plan_pixels(fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    fc_blocks *b = &p->blocks;
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    p->by_channel = 0;
    p->panel = p->tile_rows = p->kernels->tile_rows;
    p->tile_vectors = p->kernels->tile_vectors;
    p->planes = even_block(c->planes, max(1, FC_CHAIN / fc_taps(p)));
    b->inner = 1;
    b->in_place = w->stride * w->source_stride == 1 && fc_is_inside(h) && fc_is_inside(w) && h->source_stride >= 0;
    p->last_plane = c->x_plane[0];
    for (ptrdiff_t i = 0; i < c->planes; i++) {
        b->in_place &= c->x_plane[i] != FC_ZEROS;
        p->last_plane = max(p->last_plane, c->x_plane[i]);
    }
    choose_size(p);
    const double images = (double)c->images;
    const double by_line = line_cycles(p, images * (double)(h->outputs * b->count[2]), b->size[2],
                                       w->target_stride == 1);
    const double at_once = line_cycles(p, images / (double)b->size[0] * (double)(b->count[1] * b->count[2]),
                                       positions(b, b->size), 0);
    const int lines_overlap = b->in_place && h->outputs > 1 && b->pitch[1] < b->size[2];
    p->by_line = lines_overlap || by_line <= at_once;
    p->cycles = fc_fill_cycles(p) + (p->by_line ? by_line : at_once);
    p->is_dense = rows_are_dense(p);
    if (p->is_dense) {
        p->by_line = 1;
        p->cycles = fc_fill_cycles(p) + line_cycles(p, images * (double)b->count[1], b->size[1] * b->size[2], 1);
    }
    p->rows_of_b = b->in_place || p->planes >= MANY_PLANES ? FC_ROWS_SCATTERED : FC_ROWS_NEAR;
    p->by_cache_line = can_align(p);
}

/* Elements from an address to the next cache line, 0 at its beginning. */
static ptrdiff_t to_line(const fc_gemm_stage *p, const char *address) {
    return (ptrdiff_t)(-(uintptr_t)address % FC_CACHE_LINE) / p->size;
}

/* The end of a block at `column`, moved to the next cache line of its image. */
static ptrdiff_t moved(const fc_gemm_stage *p, ptrdiff_t image, ptrdiff_t column) {
    const ptrdiff_t outputs = p->c->axis[1].outputs;
    if (column == 0 || column >= outputs) return min(column, outputs);
    const fc_block at = {.start = {image, 0, column}};
    const char *first = fc_plane(p->c, 0, p->size) + fc_block_offset(&p->blocks, &at) * p->size;
    return min(outputs, column + to_line(p, first));
}

void fc_align_block(const fc_gemm_stage *p, fc_block *block) {
    if (!p->by_cache_line) return;
    const ptrdiff_t end = block->start[2] + block->count[2];
    block->start[2] = moved(p, block->start[0], block->start[2]);
    block->count[2] = moved(p, block->start[0], end) - block->start[2];
}

/* Writes the outputs among columns [column, column + width) of the block's one line. */
static void store_positions(const fc_gemm_stage *p, const char *tile, ptrdiff_t tile_stride,
                            const fc_block *block, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t column,
                            ptrdiff_t width, int accumulate, int relu) {
    const fc_correlation *c = p->c;
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t run = block->count[2], height = block->count[1], pitch = max(b->pitch[1], run);
    const ptrdiff_t image = block->count[0] > 1 ? b->pitch[0] : height * pitch;
    ptrdiff_t n = column / image, h = column % image / pitch, w = column % image % pitch;
    for (ptrdiff_t done = 0; done < width;) {
        const ptrdiff_t length = h < height ? min(run - w, width - done) : 0;
        if (length > 0) {
            void *y_rows[FC_MAX_TILE_ROWS];
            char *y = (char *)c->y + (row * c->y_row + (block->start[0] + n) * c->y_image +
                                      (block->start[1] + h) * c->axis[0].target_stride +
                                      (block->start[2] + w) * c->axis[1].target_stride) * p->size;
            for (ptrdiff_t i = 0; i < rows; i++) y_rows[i] = y + i * c->y_row * p->size;
            p->kernels->store(rows, length, tile + done * p->size, tile_stride, y_rows,
                              c->axis[1].target_stride, accumulate, relu);
        }
        done += pitch - w;
        w = 0;
        if (++h * pitch >= image) {
            h = 0;
            n++;
        }
    }
}

/* Elements of the array from the first plane of `terms` in image 0 to its end. */
static ptrdiff_t readable(const fc_gemm_stage *p, const fc_terms *terms) {
    const fc_correlation *c = p->c;
    ptrdiff_t end = p->last_plane - c->x_plane[terms->block_first / fc_taps(p)] + 1;
    for (int i = 0; i < 2; i++) end += (c->axis[i].size - 1) * c->axis[i].source_stride;
    return end + max(c->x_image, 0) * (c->images - 1);
}

typedef struct {
    ptrdiff_t row, rows;
    ptrdiff_t tile_vectors;    /* of a tile of whole lines */
    ptrdiff_t highest; /* offset of a tap */
    int accumulate, relu;
    int at_once; /* all terms */
    const fc_terms *terms;
} panel;

static ptrdiff_t even_tile_vectors(const fc_gemm_stage *p, ptrdiff_t rows, ptrdiff_t length) {
    return even_block(max(1, quotient_up(length, p->kernels->lanes)), fc_widest_tile(p->kernels, rows));
}

/* Columns [0, length) of a line whose first output is `first` of the block. Where the sums are complete, vectors
 * that would leave the line, or end before a cache line, compute some columns twice, to the same bits. */
static void multiply_line(const fc_gemm_stage *p, fc_workspace *ws, const fc_block *block,
                          const panel *q, fc_tile *tile, const ptrdiff_t first[3], ptrdiff_t length) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t offset = first[0] * b->pitch[0] + first[1] * b->pitch[1];
    const char *x = fc_input(p, ws, block, q->terms) + offset * p->size;
    const ptrdiff_t lead = p->by_cache_line ? min(length, to_line(p, x)) : 0;
    const ptrdiff_t tile_vectors = lead ? even_tile_vectors(p, q->rows, length - lead) : q->tile_vectors;
    const ptrdiff_t widest_tile = tile_vectors * k->lanes;
    const int direct = p->by_line && c->axis[1].target_stride == 1;
    char *y = (char *)c->y + (q->row * c->y_row + (block->start[0] + first[0]) * c->y_image +
                              (block->start[1] + first[1]) * c->axis[0].target_stride +
                              block->start[2] * c->axis[1].target_stride) * p->size;
    for (ptrdiff_t done = 0, width; done < length; done += width) {
        width = min(widest_tile, (done < lead ? lead : length) - done);
        /* A division takes longer than a few terms. */
        const ptrdiff_t wide = width == widest_tile ? tile_vectors : quotient_up(width, k->lanes);
        const ptrdiff_t full = wide * k->lanes;
        const int twice = direct && q->at_once && width < full && full <= length;
        const ptrdiff_t column = twice ? min(done, length - full) : done;
        tile->b = x + column * p->size;
        tile->b_offsets = ws->x_offsets;
        if (b->in_place && width < full && !twice &&
            fc_block_offset(b, block) + offset + q->highest + column + full > readable(p, q->terms)) {
            /* A vector would end beyond the array. */
            const ptrdiff_t depth = q->terms->last - q->terms->first;
            for (ptrdiff_t d = 0; d < depth; d++)
                k->copy(width, (const char *)tile->b + ws->x_offsets[d] * p->size, 1, ws->copy + d * full * p->size);
            for (ptrdiff_t d = 0; d < depth + FC_AHEAD; d++) ws->pixels[d] = d * full;
            tile->b = ws->copy;
            tile->b_offsets = ws->pixels;
        }
        const int whole = direct && (twice || width == full);
        tile->c = whole ? y + column * p->size : ws->stage[0];
        tile->c_row = whole ? c->y_row : full;
        tile->relu = whole && q->relu;
        tile->accumulate = whole && q->accumulate;
        fc_fetch_ahead(&ws->fetch, tile);
        k->gemm[q->rows - 1][wide - 1](tile);
        if (whole) continue;
        const ptrdiff_t at = p->by_line ? first[0] * (block->count[0] > 1 ? b->pitch[0] : 0) +
                                              first[1] * max(b->pitch[1], block->count[2]) : 0;
        store_positions(p, ws->stage[0], full, block, q->row, q->rows, at + column, width, q->accumulate, q->relu);
    }
}

void fc_multiply_pixels(const fc_gemm_stage *p, fc_workspace *ws, const fc_block *block, ptrdiff_t row0, ptrdiff_t row1,
                        const fc_terms *terms) {
    const fc_correlation *c = p->c;
    const ptrdiff_t total = c->planes * fc_taps(p), depth = terms->last - terms->first;
    panel q = {.highest = ws->x_offsets[0], .accumulate = terms->first > 0,
               .relu = c->relu && terms->last == total, .at_once = depth == total, .terms = terms};
    for (ptrdiff_t d = 1; d < depth; d++) q.highest = max(q.highest, ws->x_offsets[d]);
    for (q.row = row0; q.row < row1; q.row += p->panel) {
        if (fc_stopped(p->run)) return;
        const void *w_rows[FC_MAX_TILE_ROWS];
        q.rows = min(p->panel, row1 - q.row);
        for (ptrdiff_t i = 0; i < q.rows; i++)
            w_rows[i] = p->weights ? p->weights + (q.row * total + terms->first * p->panel + i) * p->size
                                   : (const char *)c->w + (q.row + i) * c->w_row * p->size;
        fc_tile tile = {.depth = depth, .a_rows = w_rows, .a_offsets = ws->w_offsets,
                        .bias_is_column = 1, .rows_of_b = p->rows_of_b};
        if (c->bias && terms->first == 0) tile.bias = (const char *)c->bias + q.row * p->size;
        ptrdiff_t first[3] = {0, 0, 0};
        const ptrdiff_t length = p->by_line ? fc_line_length(p, block) : positions(&p->blocks, block->count);
        q.tile_vectors = even_tile_vectors(p, q.rows, length);
        if (!p->by_line) {
            multiply_line(p, ws, block, &q, &tile, first, length);
            continue;
        }
        for (first[0] = 0; first[0] < block->count[0]; first[0]++)
            for (first[1] = 0; first[1] < fc_lines(p, block); first[1]++)
                multiply_line(p, ws, block, &q, &tile, first, length);
    }
}
