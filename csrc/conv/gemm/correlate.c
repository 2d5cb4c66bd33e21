#include "correlate.h"

#include <string.h>

#include "../../platform/memory.h"
#include "multiply.h"
#include "pack.h"

/* Where each tap of a plane is in the weights and in a block. */
static void set_taps(const fc_gemm_stage *p, const fc_gemm_scratch *scratch) {
    const ptrdiff_t taps_w = p->c->axis[1].taps;
    for (ptrdiff_t tap = 0; tap < fc_taps(p); tap++) {
        scratch->tap_weight[tap] = fc_tap_weight(p->c, tap / taps_w, tap % taps_w);
        scratch->tap_offset[tap] = fc_tap_offset(&p->blocks, tap / taps_w, tap % taps_w);
    }
}

/* ---- Scratch ---- */

static const ptrdiff_t SLACK = 2 * FC_MAX_TILE_COLS; /* elements that may be read beyond the copy */

/* Parts of a task's scratch, from `base` on; returns their bytes. NULL: they are counted only. */
static size_t carve(const fc_gemm_stage *p, int prepared, char *base, fc_gemm_scratch *scratch) {
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t word = sizeof(ptrdiff_t), terms = min(FC_GEMM_CHAIN, p->planes * fc_taps(p));
    const ptrdiff_t pieces = p->arrangement == FC_GEMM_ROW_PIECES ? FC_GEMM_MAX_ROW_PIECES
                             : p->arrangement == FC_GEMM_PIECES   ? FC_GEMM_MAX_PIECES
                                                                  : 1;
    const ptrdiff_t table = (ptrdiff_t)fc_aligned(word * (terms + FC_AHEAD));
    const ptrdiff_t outputs = fc_by_channel(p) ? b->size[0] * b->size[1] * b->size[2] : terms + FC_AHEAD;
    ptrdiff_t elements = b->inner > 1 ? b->plane_stride : p->planes * b->plane_stride;
    if (b->in_place) elements = fc_by_channel(p) ? 0 : terms * FC_MAX_TILE_COLS; /* of copy_last_columns */
    size_t used = 0;
    *scratch = (fc_gemm_scratch){.table = table / word};
    scratch->copy = fc_carve(base, &used, (elements + SLACK) * p->size);
    if (base) memset(base + used - SLACK * p->size, 0, (size_t)(SLACK * p->size));
    scratch->w_offsets = fc_carve(base, &used, table * pieces);
    scratch->x_offsets = fc_carve(base, &used, table * pieces);
    scratch->pixels = fc_carve(base, &used, word * outputs);
    scratch->targets = fc_carve(base, &used, word * outputs);
    scratch->ends = fc_carve(base, &used, word * outputs);
    scratch->tap_weight = fc_carve(base, &used, word * fc_taps(p));
    scratch->tap_offset = fc_carve(base, &used, word * fc_taps(p));
    scratch->pieces = fc_carve(base, &used, (ptrdiff_t)sizeof(fc_piece) * pieces);
    for (int i = 0; i < 2; i++) scratch->stage[i] = fc_carve(base, &used, FC_GEMM_GROUP_SIZE * p->size);
    scratch->fetch.offsets = fc_carve(base, &used, word * min(FC_GEMM_MAX_RUNS, p->planes * b->size[0]));
    if (p->by_panel && !prepared) scratch->panel = fc_carve(base, &used, p->panel * p->planes * fc_taps(p) * p->size);
    return used;
}

size_t fc_scratch_bytes(const fc_gemm_stage *p, int prepared) {
    fc_gemm_scratch scratch;
    return carve(p, prepared, NULL, &scratch) * (size_t)p->tasks;
}

/* Fills the tables of a piece: where each term that it has is in the weights and in the block. */
static void set_offsets(const fc_gemm_stage *p, const fc_gemm_scratch *scratch, const fc_terms *terms,
                        fc_piece *piece) {
    const fc_correlation *c = p->c;
    const fc_blocks *blocks = &p->blocks;
    const ptrdiff_t taps = fc_taps(p), taps_w = c->axis[1].taps, plane0 = terms->block_first / taps;
    const ptrdiff_t between_planes = blocks->inner > 1 ? 1 : blocks->plane_stride;
    ptrdiff_t *w = scratch->w_offsets + (piece - scratch->pieces) * scratch->table, *first_w = w;
    ptrdiff_t *x = scratch->x_offsets + (piece - scratch->pieces) * scratch->table;
    FC_ASSERT(terms->last - terms->first <= FC_GEMM_CHAIN);
    for (ptrdiff_t d = terms->first; d < terms->last;) {
        const ptrdiff_t plane = d / taps, end = min(terms->last, (plane + 1) * taps);
        const ptrdiff_t x_plane = blocks->in_place ? c->x_plane[plane] - c->x_plane[plane0]
                                                   : (plane - plane0) * between_planes;
        ptrdiff_t s = d % taps / taps_w, t = d % taps % taps_w;
        for (ptrdiff_t line_end; d < end; d = line_end, s++, t = 0) {
            line_end = min(end, d + taps_w - t);
            if (s < piece->taps[0].first || s >= piece->taps[0].last) continue;
            const ptrdiff_t first = max(t, piece->taps[1].first), last = min(t + line_end - d, piece->taps[1].last);
            const ptrdiff_t *offset = scratch->tap_offset + s * taps_w, *weight = scratch->tap_weight + s * taps_w;
            const ptrdiff_t packed = (d - t - terms->first) * p->panel;
            for (ptrdiff_t i = first; i < last; i++) {
                *w++ = scratch->weights ? packed + i * p->panel : c->w_plane[plane] + weight[i];
                *x++ = x_plane + offset[i];
            }
        }
    }
    piece->depth = w - first_w;
    const ptrdiff_t last = piece->depth > 0 ? x[-1] : 0;
    for (int i = 0; i < FC_AHEAD; i++) x[i] = last; /* what prefetches of a tile read */
}

/* ---- Steps of a task ---- */

/* What a task does at a time: some output channels of a block, terms of planes [plane, end). */
typedef struct {
    fc_block block;
    fc_units channels;
    ptrdiff_t plane, end;
} step;

/* What a task does: panels of all blocks with by_panel, otherwise runs of panels of blocks. */
typedef struct {
    fc_units units;
    ptrdiff_t steps;
} turn;

static ptrdiff_t count_chunks(const fc_gemm_stage *p) { return quotient_up(p->c->planes, p->planes); }

/* Blocks that a turn touches. The runs of a block that are the task's are one step: it is copied once. */
static ptrdiff_t count_visits(const fc_gemm_stage *p, const turn *all) {
    const fc_units u = all->units;
    return u.end > u.begin ? (u.end - 1) / p->panel_runs - u.begin / p->panel_runs + 1 : 0;
}

static turn find_turn(const fc_gemm_stage *p, int task) {
    const ptrdiff_t blocks = fc_count_blocks(&p->blocks);
    turn all = {fc_units_of(p->by_panel ? fc_panels(p) : blocks * p->panel_runs, p->tasks, task), 0};
    all.steps = p->by_panel ? (all.units.end - all.units.begin) * blocks : count_visits(p, &all) * count_chunks(p);
    return all;
}

static step find_step(const fc_gemm_stage *p, const turn *all, ptrdiff_t index) {
    const ptrdiff_t channels = p->c->out_channels, blocks = fc_count_blocks(&p->blocks);
    if (p->by_panel) {
        const ptrdiff_t channel = (all->units.begin + index / blocks) * p->panel;
        return (step){fc_find_block(&p->blocks, index % blocks), {channel, min(channels, channel + p->panel)}, 0,
                      p->c->planes};
    }
    const ptrdiff_t visits = count_visits(p, all), chunks = count_chunks(p), runs = p->panel_runs;
    const ptrdiff_t chunk = p->by_chunk ? index / visits : index % chunks;
    const ptrdiff_t block = all->units.begin / runs + (p->by_chunk ? index % visits : index / chunks);
    const ptrdiff_t run0 = max(0, all->units.begin - block * runs), run1 = min(runs, all->units.end - block * runs);
    const ptrdiff_t panels = fc_panels(p);
    step found = {fc_find_block(&p->blocks, block),
                  {panels * run0 / runs * p->panel, min(channels, panels * run1 / runs * p->panel)},
                  chunk * p->planes,
                  min(p->c->planes, (chunk + 1) * p->planes)};
    fc_align_block(p, &found.block);
    return found;
}

/* Terms of all tiles of a step. */
static ptrdiff_t count_terms(const fc_gemm_stage *p, const step *s) {
    const ptrdiff_t *count = s->block.count, columns = p->tile_vectors * p->kernels->lanes;
    const ptrdiff_t outputs = count[0] * count[1] * count[2];
    const ptrdiff_t tiles = fc_by_channel(p) ? quotient_up(outputs, p->tile_rows)
                            : p->by_line     ? count[0] * fc_lines(p, &s->block) *
                                               quotient_up(fc_line_length(p, &s->block), columns)
                                             : quotient_up(outputs, columns);
    return tiles * quotient_up(s->channels.end - s->channels.begin, p->panel) * (s->end - s->plane) * fc_taps(p);
}

/* Terms of all residues together; those with a line or column less count as if they had it, and the fetch is spread a
 * little thinner. */
static ptrdiff_t count_all_terms(const fc_gemm_stage *p, const step *s) {
    ptrdiff_t terms = 0;
    for (int i = 0; i < p->residues; i++) terms += count_terms(&p->residue[i], s);
    return terms;
}

/* Spreads what the next step reads over the tiles of this one. Planes are fetched one after the other, each from end to
 * end: all planes line by line took 1.25 times as long (256 -> 64 channels of 56x56, 1x1), no fetch 1.6 times;
 * rn50_l3_3x3s2, from a copy, 1.06 times. */
static void plan_fetch(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const step *now, const step *next) {
    fc_fetch *f = &scratch->fetch;
    *f = (fc_fetch){.offsets = f->offsets};
    if (!next) return;
    const fc_runs runs = fc_find_runs(&p->blocks, &next->block, p->c->x_plane, next->plane, next->end, f->offsets,
                                      FC_GEMM_MAX_RUNS);
    f->from = fc_plane(p->c, next->plane, p->size);
    f->runs = runs.count;
    fc_spread_fetch(f, p->size, runs.length, count_all_terms(p, now));
}

/* The part of a step's block that a residue has, which may have one line or column less; it may be empty. */
static fc_block block_of(const fc_gemm_stage *residue, const step *s) {
    fc_block block = s->block;
    for (int i = 1; i < 3; i++) block.count[i] = min(block.count[i], residue->c->axis[i - 1].outputs - block.start[i]);
    return block;
}

/* One residue of a step, whose planes are there. */
static void run_residue(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const step *s, const fc_block *block) {
    const fc_correlation *c = p->c;
    const ptrdiff_t taps = fc_taps(p), chain = even_block((s->end - s->plane) * taps, FC_GEMM_CHAIN);
    if (fc_by_channel(p)) {
        fc_set_pixels(p, scratch, block);
    } else {
        scratch->count = 1;
        scratch->pieces[0] = (fc_piece){.taps = {{0, c->axis[0].taps}, {0, c->axis[1].taps}}};
    }
    fc_terms terms = {.block_first = s->plane * taps};
    for (terms.first = s->plane * taps; terms.first < s->end * taps; terms.first = terms.last) {
        terms.last = min(s->end * taps, terms.first + chain);
        for (ptrdiff_t i = 0; i < scratch->count; i++) set_offsets(p, scratch, &terms, &scratch->pieces[i]);
        if (fc_by_channel(p)) fc_multiply_channels(p, scratch, block, s->channels, &terms);
        else fc_multiply_pixels(p, scratch, block, s->channels, &terms);
    }
}

static void run_step(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const step *s) {
    if (!p->blocks.in_place)
        fc_fill_block(p->kernels, p->size, &p->blocks, &s->block, p->c->x, p->c->x_plane + s->plane,
                      s->end - s->plane, scratch->copy);
    for (int i = 0; i < p->residues; i++) {
        const fc_gemm_stage *residue = &p->residue[i];
        const fc_block block = block_of(residue, s);
        if (block.count[1] <= 0 || block.count[2] <= 0) continue;
        if (p->residues > 1) {
            set_taps(residue, scratch);
            scratch->weights = residue->weights;
            scratch->count = 0;
        }
        run_residue(residue, scratch, s, &block);
    }
}

static void correlate_task(void *context, int task) {
    const fc_gemm_stage *p = context;
    fc_gemm_scratch scratch;
    char *base = fc_scratch_acquire(carve(p, p->weights != NULL, NULL, &scratch));
    if (!base) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    carve(p, p->weights != NULL, base, &scratch);
    scratch.weights = p->weights;
    set_taps(p, &scratch);
    const turn all = find_turn(p, task);
    const ptrdiff_t blocks = fc_count_blocks(&p->blocks), fresh = p->by_panel ? blocks : all.steps; /* not yet in L2 */
    for (ptrdiff_t i = 0; i < all.steps && !fc_stopped(p->run); i++) {
        const step now = find_step(p, &all, i), next = find_step(p, &all, min(i + 1, all.steps - 1));
        if (p->by_panel && !p->weights && i % blocks == 0) fc_pack_own(p, &scratch, now.channels.begin);
        plan_fetch(p, &scratch, &now, i + 1 < fresh ? &next : NULL);
        run_step(p, &scratch, &now);
    }
    fc_scratch_release(base);
}

/* ---- Stages of a call ---- */

/* A stage for a correlation of a call. */
static fc_gemm_stage bind(fc_conv_job *j, const fc_gemm_stage *kept, const fc_correlation *c,
                          FC_ATOMIC int *not_finite) {
    fc_gemm_stage p = *kept;
    FC_ASSERT(!kept->c && c->w && p.blocks.images == c->images && p.blocks.x_image == c->x_image);
    p.blocks.axis = c->axis;
    p.c = c;
    p.kernels = j->kernels;
    p.size = j->size;
    p.run = &j->run;
    p.not_finite = not_finite;
    if (fc_by_channel(&p) || !p.blocks.in_place) return p;
    p.last_plane = c->x_plane[0];
    for (ptrdiff_t i = 1; i < c->planes; i++) p.last_plane = max(p.last_plane, c->x_plane[i]);
    return p;
}

/* Weights of a bound stage, as it needs them. */
static void find_weights(fc_gemm_stage *p) {
    const fc_packed *packed = p->c->packed;
    if (!p->packed) return;
    if (packed && packed->panel == p->panel) {
        p->weights = packed->weights;
        if (!packed->finite) *p->not_finite = 1;
    } else if (!p->by_panel) {
        p->weights = p->own = fc_pack_all(p);
    }
}

static void run_stage(fc_gemm_stage *p, fc_gemm_stage *residue, int residues) {
    const fc_correlation *c = p->c;
    char *bias = NULL;
    p->residue = residue;
    p->residues = residues;
    if (c->bias && fc_by_channel(p)) {
        const size_t bytes = fc_aligned(fc_panels(p) * p->panel * p->size);
        bias = fc_scratch_acquire(bytes);
        if (bias) memcpy(memset(bias, 0, bytes), c->bias, (size_t)(c->out_channels * p->size));
        else fc_stop(p->run, FC_NO_MEMORY);
    }
    for (int i = 0; i < residues; i++) residue[i].bias = bias;
    if (p->run->status == FC_OK) fc_parallel(p->run, p->tasks, correlate_task, p);
    fc_scratch_release(bias);
}

int fc_correlate(fc_conv_job *j, const fc_gemm_kind *kind, const fc_correlation *whole) {
    const ptrdiff_t channels = whole->out_channels, at_once = kind->at_once;
    for (ptrdiff_t first = 0; first < channels && !fc_stopped(&j->run); first += at_once) {
        FC_ATOMIC int not_finite = 0;
        const fc_correlation c = fc_channels_of(whole, j->size, first, min(at_once, channels - first));
        fc_gemm_stage p = bind(j, &kind->stage[c.out_channels < at_once], &c, &not_finite);
        find_weights(&p);
        const int counts = fc_by_piece(&p) && not_finite; /* 0 * w does: nothing may be left out */
        if (!counts) run_stage(&p, &p, 1);
        fc_scratch_release(p.own);
        if (counts) return 0;
    }
    return 1;
}

void fc_correlate_together(fc_conv_job *j, const fc_gemm_kind *kind, const fc_correlation *all,
                           const fc_correlation *residue, int residues) {
    FC_ATOMIC int not_finite = 0;
    fc_gemm_stage p = bind(j, &kind->stage[0], all, &not_finite), each[FC_MAX_RESIDUES];
    FC_ASSERT(!p.blocks.in_place && residues <= FC_MAX_RESIDUES);
    for (int i = 0; i < residues; i++) {
        each[i] = p;
        each[i].c = &residue[i];
        each[i].blocks.axis = residue[i].axis;
        for (int a = 0; a < 2; a++)
            each[i].blocks.residues[a] = fc_taps_within(&p.blocks.residues[a], &residue[i].axis[a]);
        FC_ASSERT(fc_taps(&each[i]) <= fc_taps(&p) && residue[i].out_channels == all->out_channels);
    }
    for (int i = 0; i < residues && j->run.status == FC_OK; i++) {
        const int packs = fc_by_channel(&p) || !fc_weights_are_in_order(&residue[i]);
        each[i].packed = packs ? fc_weight_elements(&each[i]) * j->size : 0;
        find_weights(&each[i]);
    }
    run_stage(&p, each, residues);
    for (int i = 0; i < residues; i++) fc_scratch_release(each[i].own);
}

void fc_pack_weights(fc_conv_job *j, const fc_gemm_kind *kind, const fc_correlation *c, fc_packed *packed) {
    FC_ATOMIC int not_finite = 0;
    *packed = (fc_packed){0};
    if (kind->at_once < c->out_channels || !kind->stage[0].packed) return;
    const fc_gemm_stage p = bind(j, &kind->stage[0], c, &not_finite);
    packed->weights = fc_pack_all(&p);
    if (packed->weights) packed->panel = p.panel;
    packed->finite = !not_finite;
}
