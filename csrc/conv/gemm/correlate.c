#include "correlate.h"

#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "stage.h"

/* Cycles below which a choice takes longer than it gains. */
static const double TOO_SHORT_TO_CHOOSE = 2000;

double fc_fill_cycles(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    if (b->in_place) return 0;
    const double blocks = (double)(b->count[0] * b->count[1] * b->count[2]);
    const double elements = blocks * (double)p->c->planes * (double)(b->plane_stride / b->inner);
    /* An element of a row that follows itself, that is transposed, that is fetched alone. */
    return elements * (b->inner > 1 || b->axis[1].source_stride == 1 ? 0.2 : b->adjacent ? 0.5 : 2);
}

static ptrdiff_t count_blocks(const fc_blocks *b) { return b->count[0] * b->count[1] * b->count[2]; }

/* Whether blocks that are a little smaller are a multiple of the threads; then they are that. */
static int cut_evenly(fc_gemm_stage *p, ptrdiff_t threads) {
    fc_blocks *b = &p->blocks;
    const ptrdiff_t outputs[3] = {b->images, b->axis[0].outputs, b->axis[1].outputs};
    if (p->by_piece && !p->by_row) return 0;
    for (int a = 0; a < (p->is_dense ? 2 : 3); a++) { /* rows that are parts of rows are not dense */
        const fc_blocks before = *b;
        const ptrdiff_t others = count_blocks(b) / b->count[a];
        for (ptrdiff_t n = b->count[a] + 1; n <= min(outputs[a], b->count[a] + threads); n++) {
            b->size[a] = quotient_up(outputs[a], n);
            fc_lay_out(b);
            if (b->count[a] * others % threads == 0) return 1;
            *b = before;
        }
    }
    return 0;
}

/* Bytes of an input that stays in a core's L2 beside a panel of weights. */
enum { FEW_BYTES = 1 << 20 };

/* Whether tasks share the panels of output channels out, not the blocks: the input is read again for each panel then,
 * and the weights of a panel are packed into L2 by the task that multiplies them. */
static int suits_by_panel(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    const double outputs = (double)c->images * (double)c->axis[0].outputs * (double)c->axis[1].outputs;
    const ptrdiff_t panels = quotient_up(c->rows, p->panel), threads = p->run->threads;
    const ptrdiff_t max_of_a_task = quotient_up(panels, threads);
    if (!p->by_channel || p->by_piece || !p->blocks.in_place || p->planes < c->planes) return 0;
    if (outputs * (double)c->planes * (double)p->size > FEW_BYTES) return 0;
    return 8 * max_of_a_task * threads <= 9 * panels; /* shares are nearly the same */
}

/* How tasks share the blocks out, or the panels. */
static void share_out(fc_gemm_stage *p) {
    const int threads = p->run->threads;
    const ptrdiff_t blocks = count_blocks(&p->blocks), panels = quotient_up(p->c->rows, p->panel);
    p->by_panel = suits_by_panel(p);
    if (p->by_panel) {
        p->parts = threads;
        return;
    }
    p->by_chunk = p->by_channel && p->planes < p->c->planes;
    /* Few blocks are cut, by rows or smaller, so that every thread gets the same: no sum is another then. */
    p->row_parts = 1;
    while (blocks < 8 * threads && p->row_parts < panels && blocks * p->row_parts % threads)
        p->row_parts++;
    if (blocks < 8 * threads && blocks * p->row_parts % threads && cut_evenly(p, threads)) p->row_parts = 1;
    p->parts = (int)min(threads, count_blocks(&p->blocks) * p->row_parts);
}

/* Whether copies whose rows follow each other would make one line of an image: those of a tap each. */
static int may_be_dense(const fc_gemm_stage *p) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    return !p->is_dense && !p->blocks.in_place && w->stride <= 2 && w->target_stride == 1 &&
           h->target_stride == w->outputs;
}

/* Of copies, beside what their elements take. 577 problems of 1 to 32 channels by 4 to 128, outputs 2 to 112 wide, take
 * 0.944 of the time with copies of a tap each where these are taken (the best of both: 0.930); 565 of float64 0.967. */
static double row_cycles(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    return 8 * (double)count_blocks(b) * (double)p->c->planes * (double)(b->plane_stride / b->row_stride);
}

/* The arrangement that is estimated to take the least time; with cut_rows also that by pieces of rows. */
static void choose(fc_gemm_stage *p, int cut_rows) {
    const fc_correlation *c = p->c;
    p->blocks = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image};
    p->blocks.adjacent = fc_are_adjacent(c);
    for (int a = 0; a < 2; a++)
        p->blocks.residues[a] = fc_split_axis(&c->axis[a], min(c->axis[a].outputs, a ? 2048 : 64));
    fc_gemm_stage channels = *p, pieces = *p, rows = *p, apart = *p;
    fc_plan_pixels(p);
    if (cut_rows && may_be_dense(p)) {
        apart.blocks.residues[1] = fc_taps_apart(&c->axis[1]);
        fc_plan_pixels(&apart);
        if (apart.is_dense && apart.cycles + row_cycles(&apart) < p->cycles + row_cycles(p)) *p = apart;
    }
    if (p->cycles < TOO_SHORT_TO_CHOOSE) {
        share_out(p);
        return;
    }
    fc_plan_channels(&channels);
    if (fc_weight_elements(&channels) * p->size <= FC_PACKED_BYTES) {
        fc_plan_pieces(&pieces);
        fc_plan_row_pieces(&rows);
        if (channels.cycles < p->cycles) *p = channels;
        if (pieces.cycles < p->cycles) *p = pieces;
        if (cut_rows && rows.cycles < p->cycles) *p = rows;
    }
    share_out(p);
}

static void set_taps(const fc_gemm_stage *p, const fc_workspace *ws) {
    const ptrdiff_t taps_w = p->c->axis[1].taps;
    for (ptrdiff_t tap = 0; tap < fc_taps(p); tap++) {
        ws->tap_weight[tap] = fc_tap_weight(p->c, tap / taps_w, tap % taps_w);
        ws->tap_offset[tap] = fc_tap_offset(&p->blocks, tap / taps_w, tap % taps_w);
    }
}

/* Bytes of each part of a task's scratch. */
typedef struct {
    size_t copy, table, tables, pixels, pieces, taps, stage, panel, runs;
} layout;

static const ptrdiff_t SLACK = 2 * FC_MAX_TILE_COLS; /* elements that may be read beyond the copy */

static layout lay_out(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t word = sizeof(ptrdiff_t), terms = min(FC_CHAIN, p->planes * fc_taps(p));
    const ptrdiff_t pieces = p->by_row ? FC_MAX_ROW_PIECES : p->by_piece ? FC_MAX_PIECES : 1;
    ptrdiff_t elements = b->inner > 1 ? b->plane_stride : p->planes * b->plane_stride;
    if (b->in_place) elements = p->by_channel ? 0 : terms * FC_MAX_TILE_COLS;
    layout l = {.copy = fc_aligned((elements + SLACK) * p->size), .table = fc_aligned(word * (terms + FC_AHEAD))};
    l.tables = l.table * (size_t)pieces;
    l.pixels = fc_aligned(word * (p->by_channel ? b->size[0] * b->size[1] * b->size[2] : terms + FC_AHEAD));
    l.pieces = fc_aligned((ptrdiff_t)sizeof(fc_piece) * pieces);
    l.taps = fc_aligned(word * fc_taps(p));
    l.stage = fc_aligned(FC_STAGE * p->size);
    l.runs = fc_aligned(word * min(FC_MAX_RUNS, p->planes * b->size[0]));
    if (p->by_panel && !p->weights) l.panel = fc_aligned(p->panel * p->planes * fc_taps(p) * p->size);
    return l;
}

static size_t scratch_bytes(const layout *l) {
    return l->copy + 2 * (l->tables + l->taps + l->stage) + 3 * l->pixels + l->pieces + l->runs + l->panel;
}

static char *acquire(const fc_gemm_stage *p, fc_workspace *ws) {
    const layout l = lay_out(p);
    char *scratch = fc_scratch_acquire(scratch_bytes(&l));
    if (!scratch) return NULL;
    ws->copy = scratch;
    ws->table = (ptrdiff_t)(l.table / sizeof(ptrdiff_t));
    ws->w_offsets = (ptrdiff_t *)(scratch + l.copy);
    ws->x_offsets = (ptrdiff_t *)((char *)ws->w_offsets + l.tables);
    ws->pixels = (ptrdiff_t *)((char *)ws->x_offsets + l.tables);
    ws->targets = (ptrdiff_t *)((char *)ws->pixels + l.pixels);
    ws->ends = (ptrdiff_t *)((char *)ws->targets + l.pixels);
    ws->tap_weight = (ptrdiff_t *)((char *)ws->ends + l.pixels);
    ws->count = 0;
    ws->tap_offset = (ptrdiff_t *)((char *)ws->tap_weight + l.taps);
    ws->pieces = (fc_piece *)((char *)ws->tap_offset + l.taps);
    ws->stage[0] = (char *)ws->pieces + l.pieces;
    ws->stage[1] = ws->stage[0] + l.stage;
    ws->fetch.offsets = (ptrdiff_t *)(ws->stage[1] + l.stage);
    ws->panel = ws->stage[1] + l.stage + l.runs;
    ws->weights = p->weights;
    ws->first_row = 0;
    memset(ws->copy + l.copy - SLACK * p->size, 0, (size_t)(SLACK * p->size));
    set_taps(p, ws);
    return scratch;
}

/* Fills the tables of a piece: where each term that it has is in the weights and in the block. */
static void set_offsets(const fc_gemm_stage *p, const fc_workspace *ws, const fc_terms *terms,
                        fc_piece *piece) {
    const fc_correlation *c = p->c;
    const fc_blocks *blocks = &p->blocks;
    const ptrdiff_t taps = fc_taps(p), taps_w = c->axis[1].taps, plane0 = terms->block_first / taps;
    const ptrdiff_t between_planes = blocks->inner > 1 ? 1 : blocks->plane_stride;
    ptrdiff_t *w = ws->w_offsets + (piece - ws->pieces) * ws->table, *first_w = w;
    ptrdiff_t *x = ws->x_offsets + (piece - ws->pieces) * ws->table;
    for (ptrdiff_t d = terms->first; d < terms->last;) {
        const ptrdiff_t plane = d / taps, end = min(terms->last, (plane + 1) * taps);
        const ptrdiff_t x_plane =
            blocks->in_place ? c->x_plane[plane] - c->x_plane[plane0]
                             : (plane - plane0) * between_planes;
        ptrdiff_t s = d % taps / taps_w, t = d % taps % taps_w;
        for (ptrdiff_t row_end; d < end; d = row_end, s++, t = 0) {
            row_end = min(end, d + taps_w - t);
            if (s < piece->taps[0].first || s >= piece->taps[0].last) continue;
            const ptrdiff_t first = max(t, piece->taps[1].first), last = min(t + row_end - d, piece->taps[1].last);
            const ptrdiff_t *offset = ws->tap_offset + s * taps_w, *weight = ws->tap_weight + s * taps_w;
            const ptrdiff_t packed = (d - t - terms->first) * p->panel;
            for (ptrdiff_t i = first; i < last; i++) {
                *w++ = ws->weights ? packed + i * p->panel : c->w_plane[plane] + weight[i];
                *x++ = x_plane + offset[i];
            }
        }
    }
    piece->depth = w - first_w;
    const ptrdiff_t last = piece->depth > 0 ? x[-1] : 0;
    for (int i = 0; i < FC_AHEAD; i++) x[i] = last; /* what prefetches of a tile read */
}

/* What a task does at a time: output channels [row0, row1) of a block, terms of planes [plane, end). */
typedef struct {
    fc_block block;
    ptrdiff_t row0, row1, plane, end;
} step;

/* A task's: panels [first, last) of all blocks with by_panel, otherwise parts of blocks. */
typedef struct {
    ptrdiff_t first, last, steps;
} share;

static ptrdiff_t count_chunks(const fc_gemm_stage *p) { return quotient_up(p->c->planes, p->planes); }

/* Blocks that a share touches. The parts of a block that are the task's are one step: it is copied once. */
static ptrdiff_t count_visits(const fc_gemm_stage *p, const share *s) {
    return s->last > s->first ? (s->last - 1) / p->row_parts - s->first / p->row_parts + 1 : 0;
}

static share find_share(const fc_gemm_stage *p, int part) {
    const ptrdiff_t blocks = count_blocks(&p->blocks);
    const ptrdiff_t units = p->by_panel ? quotient_up(p->c->rows, p->panel) : blocks * p->row_parts;
    share s = {.first = units * part / p->parts, .last = units * (part + 1) / p->parts};
    s.steps = p->by_panel ? (s.last - s.first) * blocks : count_visits(p, &s) * count_chunks(p);
    return s;
}

static step find_step(const fc_gemm_stage *p, const share *s, ptrdiff_t index) {
    const ptrdiff_t panels = quotient_up(p->c->rows, p->panel), blocks = count_blocks(&p->blocks);
    if (p->by_panel) {
        const ptrdiff_t row = (s->first + index / blocks) * p->panel;
        return (step){fc_find_block(&p->blocks, index % blocks), row, min(p->c->rows, row + p->panel), 0,
                      p->c->planes};
    }
    const ptrdiff_t visits = count_visits(p, s), chunks = count_chunks(p), parts = p->row_parts;
    const ptrdiff_t chunk = p->by_chunk ? index / visits : index % chunks;
    const ptrdiff_t block = s->first / parts + (p->by_chunk ? index % visits : index / chunks);
    const ptrdiff_t part0 = max(0, s->first - block * parts), part1 = min(parts, s->last - block * parts);
    step found = {fc_find_block(&p->blocks, block), panels * part0 / parts * p->panel,
                  min(p->c->rows, panels * part1 / parts * p->panel), chunk * p->planes,
                  min(p->c->planes, (chunk + 1) * p->planes)};
    fc_align_block(p, &found.block);
    return found;
}

/* Terms of all tiles of a step. */
static ptrdiff_t count_terms(const fc_gemm_stage *p, const step *s) {
    const ptrdiff_t *count = s->block.count, columns = p->tile_vectors * p->kernels->lanes;
    const ptrdiff_t outputs = count[0] * count[1] * count[2];
    const ptrdiff_t tiles = p->by_channel ? quotient_up(outputs, p->tile_rows)
                            : p->by_line  ? count[0] * fc_lines(p, &s->block) *
                                                quotient_up(fc_line_length(p, &s->block), columns)
                                          : quotient_up(outputs, columns);
    return tiles * quotient_up(s->row1 - s->row0, p->panel) * (s->end - s->plane) * fc_taps(p);
}

/* All residues together; those with a row or column less count as if they had it, and the fetch is spread a little
 * thinner. */
static ptrdiff_t count_all_terms(const fc_gemm_stage *p, const step *s) {
    ptrdiff_t terms = 0;
    for (int i = 0; i < p->residues; i++) terms += count_terms(&p->residue[i], s);
    return terms;
}

/* Planes are fetched one after the other, each from end to end: all planes line by line took 1.25 times as long
 * (256 -> 64 channels of 56x56, 1x1), no fetch 1.6 times; rn50_l3_3x3s2, from a copy, 1.06 times. */
static void plan_fetch(const fc_gemm_stage *p, fc_workspace *ws, const step *now, const step *next) {
    fc_fetch *f = &ws->fetch;
    *f = (fc_fetch){.offsets = f->offsets};
    if (!next) return;
    const fc_runs runs = fc_find_runs(&p->blocks, &next->block, p->c->x_plane, next->plane, next->end, f->offsets,
                                      FC_MAX_RUNS);
    f->from = fc_plane(p->c, next->plane, p->size);
    f->rows = runs.count;
    fc_spread_fetch(f, p->size, runs.length, count_all_terms(p, now));
}

/* The part of a step's block that a residue has, which may have one row or column less; it may be empty. */
static fc_block block_of(const fc_gemm_stage *residue, const step *s) {
    fc_block block = s->block;
    for (int i = 1; i < 3; i++) block.count[i] = min(block.count[i], residue->c->axis[i - 1].outputs - block.start[i]);
    return block;
}

static void run_residue(const fc_gemm_stage *p, fc_workspace *ws, const step *s, const fc_block *block) {
    const fc_correlation *c = p->c;
    const ptrdiff_t taps = fc_taps(p), chain = even_block((s->end - s->plane) * taps, FC_CHAIN);
    if (p->by_channel) {
        fc_set_pixels(p, ws, block);
    } else {
        ws->count = 1;
        ws->pieces[0] = (fc_piece){.taps = {{0, c->axis[0].taps}, {0, c->axis[1].taps}}};
    }
    fc_terms terms = {.block_first = s->plane * taps};
    for (terms.first = s->plane * taps; terms.first < s->end * taps; terms.first = terms.last) {
        terms.last = min(s->end * taps, terms.first + chain);
        for (ptrdiff_t i = 0; i < ws->count; i++) set_offsets(p, ws, &terms, &ws->pieces[i]);
        if (p->by_channel) fc_multiply_channels(p, ws, block, s->row0, s->row1, &terms);
        else fc_multiply_pixels(p, ws, block, s->row0, s->row1, &terms);
    }
}

static void run_step(const fc_gemm_stage *p, fc_workspace *ws, const step *s) {
    if (!p->blocks.in_place)
        fc_fill_block(p->kernels, p->size, &p->blocks, &s->block, p->c->x, p->c->x_plane, s->plane, s->end, ws->copy);
    for (int i = 0; i < p->residues; i++) {
        const fc_gemm_stage *residue = &p->residue[i];
        const fc_block block = block_of(residue, s);
        if (block.count[1] <= 0 || block.count[2] <= 0) continue;
        if (p->residues > 1) {
            set_taps(residue, ws);
            ws->weights = residue->weights;
            ws->count = 0;
        }
        run_residue(residue, ws, s, &block);
    }
}

static void run_task(void *context, int part) {
    const fc_gemm_stage *p = context;
    fc_workspace ws;
    char *scratch = acquire(p, &ws);
    if (!scratch) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    const share all = find_share(p, part);
    const ptrdiff_t blocks = count_blocks(&p->blocks), fresh = p->by_panel ? blocks : all.steps; /* not yet in L2 */
    for (ptrdiff_t i = 0; i < all.steps && !fc_stopped(p->run); i++) {
        const step now = find_step(p, &all, i), next = find_step(p, &all, min(i + 1, all.steps - 1));
        if (p->by_panel && !p->weights && i % blocks == 0) fc_pack_own(p, &ws, now.row0);
        plan_fetch(p, &ws, &now, i + 1 < fresh ? &next : NULL);
        run_step(p, &ws, &now);
    }
    fc_scratch_release(scratch);
}

/* Whether outputs are the positions of the axis, one for one. */
static int is_identity(const fc_axis *a) {
    return a->taps == 1 && a->stride == 1 && a->tap == 0 && a->size == a->outputs;
}

/* Images that are read and written pixel by pixel, without a gap, are lines. */
static fc_correlation merge_axes(const fc_correlation *correlation) {
    fc_correlation c = *correlation;
    fc_axis *h = &c.axis[0], *w = &c.axis[1];
    if (is_identity(h) && is_identity(w) && h->source_stride == w->size * w->source_stride &&
        h->target_stride == w->size * w->target_stride) {
        w->size = w->outputs = h->size * w->size;
        w->weight += h->weight;
        h->size = h->outputs = 1;
        h->weight = 0;
    }
    return c;
}

/* Outputs for which a copy of the weights is worth its time. */
enum { WORTH_PACKING = 64 };

/* Output channels whose weights fit FC_PACKED_BYTES: all, unless one panel of them does not. */
static ptrdiff_t rows_at_once(const fc_correlation *c, ptrdiff_t size) {
    const ptrdiff_t of_row = c->planes * c->axis[0].taps * c->axis[1].taps * size;
    const ptrdiff_t max_rows = FC_PACKED_BYTES / of_row / FC_MAX_TILE_COLS * FC_MAX_TILE_COLS;
    const double outputs = (double)c->images * (double)c->axis[0].outputs * (double)c->axis[1].outputs;
    if (c->rows <= max_rows || !max_rows || outputs < WORTH_PACKING) return c->rows;
    return min(max_rows, quotient_up(even_block(c->rows, max_rows), FC_MAX_TILE_COLS) * FC_MAX_TILE_COLS);
}

static fc_correlation rows_of(const fc_correlation *whole, ptrdiff_t size, ptrdiff_t row, ptrdiff_t rows) {
    fc_correlation c = *whole;
    if (rows == whole->rows) return c;
    c.rows = rows;
    c.w = (const char *)whole->w + row * whole->w_row * size;
    c.y = (char *)whole->y + row * whole->y_row * size;
    if (c.bias) c.bias = (const char *)whole->bias + row * size;
    c.packed = NULL;
    return c;
}

void fc_pack_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                     const fc_correlation *correlation, fc_packed *packed) {
    const fc_correlation c = merge_axes(correlation);
    FC_ATOMIC int not_finite = 0;
    fc_gemm_stage p = {.c = &c, .kernels = kernels, .size = element_size, .run = run, .not_finite = &not_finite};
    *packed = (fc_packed){0};
    if (rows_at_once(&c, element_size) < c.rows) return;
    choose(&p, 1);
    if (!fc_needs_packed(&p)) return;
    packed->weights = fc_pack_all(&p);
    if (packed->weights) packed->panel = p.panel;
    packed->finite = !not_finite;
}

size_t fc_describe_correlation(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                               const fc_correlation *correlation, char *how, size_t length,
                               size_t *packed_bytes) {
    const fc_correlation whole = merge_axes(correlation);
    const fc_correlation c = rows_of(&whole, element_size, 0, rows_at_once(&whole, element_size));
    fc_gemm_stage p = {.c = &c, .kernels = kernels, .size = element_size, .run = run};
    choose(&p, 1);
    const ptrdiff_t *size = p.blocks.size;
    const ptrdiff_t vectors = p.tile_vectors * kernels->lanes;
    snprintf(how, length,
             "%s in the vector, register tiles of %td %s x %td %s, blocks of %td x %td x %td outputs "
             "and %td of %td input planes%s, %s%s%s",
             p.by_channel ? "output channels" : "pixels", p.tile_rows,
             p.by_channel ? "outputs" : "output channels", vectors,
             p.by_channel ? "output channels" : "outputs", size[0], size[1], size[2], p.planes, c.planes,
             p.by_chunk ? " at a time" : "",
             p.blocks.in_place ? "read in place" : "from a padded copy",
             p.by_row ? ", taps above and below left out" : p.by_piece ? ", taps in the padding left out" : "",
             p.by_panel ? ", output channels shared out" : "");
    const size_t packed = fc_needs_packed(&p) ? fc_aligned(fc_weight_elements(&p) * p.size) : 0;
    const int kept = c.rows == whole.rows; /* parts are packed by each call */
    if (kept && packed) p.weights = how; /* they are there */
    const layout l = lay_out(&p);
    *packed_bytes = kept ? packed : 0;
    return scratch_bytes(&l) * (size_t)p.parts + (kept || p.by_panel ? 0 : packed);
}

/* Weights of a plan, as it needs them. */
static void find_weights(fc_gemm_stage *p) {
    const fc_packed *packed = p->c->packed;
    if (!fc_needs_packed(p)) return;
    if (packed && packed->panel == p->panel) {
        p->weights = packed->weights;
        if (!packed->finite) *p->not_finite = 1;
    } else if (!p->by_panel) {
        p->weights = p->own = fc_pack_all(p);
    }
}

static void run_plan(fc_gemm_stage *p, fc_gemm_stage *residue, int residues) {
    const fc_correlation *c = p->c;
    char *bias = NULL;
    p->residue = residue;
    p->residues = residues;
    if (c->bias && p->by_channel) {
        const size_t bytes = fc_aligned(quotient_up(c->rows, p->panel) * p->panel * p->size);
        bias = fc_scratch_acquire(bytes);
        if (bias) memcpy(memset(bias, 0, bytes), c->bias, (size_t)(c->rows * p->size));
        else fc_stop(p->run, FC_NO_MEMORY);
    }
    for (int i = 0; i < residues; i++) residue[i].bias = bias;
    if (p->run->status == FC_OK) fc_parallel(p->run, p->parts, run_task, p);
    fc_scratch_release(bias);
    for (int i = 0; i < residues; i++) fc_scratch_release(residue[i].own);
}

static void correlate_rows(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                           const fc_correlation *c) {
    FC_ATOMIC int not_finite = 0;
    fc_gemm_stage p = {.c = c, .kernels = kernels, .size = element_size, .run = run, .not_finite = &not_finite};
    choose(&p, 1);
    find_weights(&p);
    if (p.by_piece && not_finite) { /* 0 * w counts: nothing may be left out */
        fc_plan_channels(&p);
        share_out(&p);
    }
    run_plan(&p, &p, 1);
}

void fc_correlate(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                  const fc_correlation *correlation) {
    const fc_correlation whole = merge_axes(correlation);
    const ptrdiff_t rows = rows_at_once(&whole, element_size);
    for (ptrdiff_t row = 0; row < whole.rows && !fc_stopped(run); row += rows) {
        const fc_correlation c = rows_of(&whole, element_size, row, min(rows, whole.rows - row));
        correlate_rows(kernels, element_size, run, &c);
    }
}

/* Whether residues read nearly the same positions: then *all has, as taps, those that any of them reads. */
static int find_all_positions(const fc_correlation *residue, int residues, fc_correlation *all) {
    *all = residue[0];
    for (int a = 0; a < 2; a++) {
        fc_axis *axis = &all->axis[a];
        ptrdiff_t low = axis->tap, high = axis->tap, max_taps = 1;
        for (int i = 0; i < residues; i++) {
            const fc_axis *own = &residue[i].axis[a];
            const ptrdiff_t last = own->tap + (own->taps - 1) * own->tap_step;
            if (own->stride != 1) return 0;
            low = min(low, min(own->tap, last));
            high = max(high, max(own->tap, last));
            max_taps = max(max_taps, own->taps);
            if (own->outputs > axis->outputs) {
                axis->outputs = own->outputs;
                axis->target_stride = own->target_stride;
            }
        }
        if (high - low > max_taps) return 0;
        axis->taps = high - low + 1;
        axis->tap = low;
        axis->tap_step = 1;
    }
    return 1;
}

/* Whether the residues were summed together. */
static int correlate_together(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                              const fc_correlation *residue, int residues) {
    FC_ATOMIC int not_finite = 0;
    fc_correlation all;
    if (residues == 1 || !find_all_positions(residue, residues, &all)) return 0;
    if (rows_at_once(&all, element_size) < all.rows) return 0;
    fc_gemm_stage p = {.c = &all, .kernels = kernels, .size = element_size, .run = run, .not_finite = &not_finite};
    choose(&p, 0); /* rows of other residues would end elsewhere */
    if (p.blocks.in_place) return 0;
    fc_gemm_stage each[FC_MAX_RESIDUES];
    ptrdiff_t elements = 0;
    for (int i = 0; i < residues; i++) {
        each[i] = p;
        each[i].c = &residue[i];
        each[i].blocks.axis = residue[i].axis;
        for (int a = 0; a < 2; a++)
            each[i].blocks.residues[a] = fc_taps_within(&p.blocks.residues[a], &residue[i].axis[a]);
        elements += fc_weight_elements(&each[i]);
    }
    if (elements * element_size > FC_PACKED_BYTES) return 0; /* they are all packed at once */
    for (int i = 0; i < residues && run->status == FC_OK; i++) find_weights(&each[i]);
    run_plan(&p, each, residues);
    return 1;
}

void fc_correlate_residues(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                           const fc_correlation *residue, int residues) {
    if (correlate_together(kernels, element_size, run, residue, residues)) return;
    for (int i = 0; i < residues && run->status == FC_OK; i++) fc_correlate(kernels, element_size, run, &residue[i]);
}
