/* y and dx by tiles. A block of tiles is transformed into L2, some channels after others; the GEMMs of its points go by
 * panels of output channels, whose points are transformed back at once. Lines of tiles with sums that are not finite
 * are done again by the defining sums, if they are few.
 *
 * 3x3 with stride 2 is the sum of the four residues of x, each with the taps that it meets, 2x2, 2x1, 1x2 or one:
 * planes of F(5x5, 2x2), whose products with weights that are zero for want of a tap are left out, 121 instead of 225.
 * dx of stride 2 has four residues of outputs, a `spread`: each a panel of channels with the taps that it sees of the
 * same tiles of dy, of which the two that stand in turn in a line go back to outputs together. */
#include "sums.h"

#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "../../tuning.h"

enum { CHAIN = FC_WINOGRAD_CHAIN };

/* What a task keeps. */
typedef struct {
    char *copy;     /* [line][position][channel] */
    char *v;        /* [chunk of channels][point][tile][channel] */
    char *m;        /* [panel that stands in turn][point][tile][channel] */
    char *u, *taps; /* [point][plane][channel] of a chunk of planes of a panel; [tap][channel] of a vector */
    char *stage;
} scratch;

/* Elements between points of a chunk of weights: not a multiple of a page, which would be one set of the cache. */
static ptrdiff_t chunk_point(const fc_winograd_sums *s) { return CHAIN * s->panel + s->lanes; }

/* Lines of a copy of so many lines of tiles. */
static ptrdiff_t copied_lines(const fc_winograd_sums *s, ptrdiff_t lines_of_tiles) {
    const fc_winograd_form *form = &s->grid.form;
    return form->stride * (form->tile[0] * lines_of_tiles + form->taps[0] - 1);
}

static ptrdiff_t copy_bytes(const fc_winograd_sums *s) {
    return copied_lines(s, s->copy_lines) * s->x.width * s->x.copy_channels * s->size;
}

static ptrdiff_t weights_bytes(const fc_winograd_sums *s) {
    return s->panels * s->grid.form.points * s->u_point * s->size;
}

static size_t lay_out(const fc_winograd_sums *s, int has_weights, scratch *w, char *base) {
    const ptrdiff_t size = s->size, points = s->grid.form.points;
    size_t used = 0;
    w->copy = fc_carve(base, &used, copy_bytes(s));
    w->v = fc_carve(base, &used, quotient_up(s->planes, CHAIN) * points * s->v_point * size);
    w->m = fc_carve(base, &used, s->turns * points * s->m_point * size);
    w->u = fc_carve(base, &used, has_weights ? 0 : points * chunk_point(s) * size);
    w->taps = fc_carve(base, &used, FC_WINOGRAD_MAX_TAPS * s->lanes * size);
    w->stage = fc_carve(base, &used, fc_winograd_stage_bytes(s));
    return used;
}

size_t fc_winograd_task_bytes(const fc_winograd_sums *s, int has_weights) {
    scratch w;
    return lay_out(s, has_weights, &w, NULL);
}

size_t fc_winograd_weights_bytes(const fc_winograd_sums *s) { return fc_aligned(weights_bytes(s)); }

/* ---- Planning ---- */

/* Where tiles are read, lines being cut until one of them is enough for the workspace. */
static void plan_tiles(fc_winograd_sums *s, const fc_correlation *c, fc_winograd_form form) {
    s->grid = fc_winograd_grid_of(c, &s->depth, form);
    s->x = fc_winograd_input(c, &s->depth, &s->grid, s->lanes);
    s->planes = fc_winograd_planes(&form, c->planes, s->lanes);
    const double tile_bytes = fc_winograd_tile_bytes(&form, s->size, c->planes, s->x.channel == 1);
    if (tile_bytes * (double)s->grid.across <= FC_WINOGRAD_LINE_BYTES) return;
    fc_winograd_cut(&s->grid, c, (ptrdiff_t)(FC_WINOGRAD_LINE_BYTES / tile_bytes));
    s->x = fc_winograd_input(c, &s->depth, &s->grid, s->lanes);
}

static void plan_panels(fc_winograd_sums *s, const fc_conv_problem *p, const fc_correlation *c) {
    s->turns = 1;
    if (s->grid.form.spread) {
        s->turns = 2;
        for (int i = 0; i < 2; i++) {
            s->two_taps[i] = p->pad[i + 1] % 2;
            s->dx_size[i] = p->in_size[i + 1];
        }
    }
    s->tile_vectors = fc_winograd_tile_vectors(s->kernels, quotient_up(c->out_channels, s->lanes),
                                               FC_WINOGRAD_PRODUCT_VECTORS);
    s->panel = s->tile_vectors * s->lanes;
    s->residue_panels = quotient_up(c->out_channels, s->panel);
    s->panels = s->turns * s->turns * s->residue_panels;
    s->u_point = s->planes * s->panel + s->lanes;
}

/* Blocks and tasks. A block's transformed tiles should stay in L2; where weights are transformed for every block,
 * blocks are as large as the workspace allows. */
static void plan_blocks(fc_winograd_sums *s, int threads) {
    const ptrdiff_t lines = s->grid.lines, across = s->grid.across, tile = s->grid.form.points * s->size;
    const int many = weights_bytes(s) > FC_WINOGRAD_WEIGHTS_BYTES;
    const ptrdiff_t planes = quotient_up(s->planes, s->lanes) * s->lanes;
    const ptrdiff_t wanted = max(FC_WINOGRAD_MIN_TILES,
                                 (many ? FC_WINOGRAD_LARGE_BLOCK_BYTES : FC_WINOGRAD_BLOCK_BYTES) / (tile * planes));
    const ptrdiff_t v = quotient_up(s->planes, CHAIN) * CHAIN;
    const ptrdiff_t fit = (many ? FC_WINOGRAD_MAX_BYTES : FC_WINOGRAD_MAX_BYTES_SHARED) /
                          (tile * (v + s->turns * s->panel));
    const ptrdiff_t max_lines = max(1, min(wanted, fit) / across), blocks = quotient_up(lines, max_lines);
    /* Each task gets as many lines of tiles, if their blocks have enough tiles and share the weights. */
    const ptrdiff_t enough = many || blocks == 1 ? 0 : lines * across / FC_WINOGRAD_MIN_TILES;
    s->line_tasks = min(min(lines, threads), max(blocks, enough));
    /* A thread more than all products would only wait. */
    s->panel_tasks = min(s->panels / s->turns, threads / s->line_tasks);
    s->block_lines = even_block(quotient_up(lines, s->line_tasks), max_lines);
    s->blocks = s->line_tasks * quotient_up(quotient_up(lines, s->line_tasks), s->block_lines);
    s->block_tiles = s->block_lines * across;
    s->v_point = s->block_tiles * CHAIN + s->lanes;
    s->m_point = s->block_tiles * s->panel + s->lanes;
    s->shares_weights = s->blocks > 1 && !many;
    const ptrdiff_t copy = s->grid.form.stride * s->grid.form.tile[0] * s->x.width * s->x.copy_channels * s->size;
    s->copy_lines = max(1, min(min(s->block_lines, s->grid.down), FC_WINOGRAD_COPY_BYTES / copy));
}

fc_winograd_sums fc_winograd_plan_sums(const fc_conv_job *cj, fc_op op, fc_winograd_form form, const fc_correlation *c,
                                       const fc_axis *depth) {
    fc_winograd_sums s = {
        .kernels = cj->kernels,
        .transforms = &cj->kernels->winograd[form.shape],
        .size = cj->size,
        .lanes = cj->kernels->lanes,
        .depth = *depth,
        .straight = c->y_channel == 1,
    };
    FC_ASSERT(op != FC_BACKWARD_WEIGHTS && s.lanes * s.size <= FC_WINOGRAD_VECTOR_BYTES);
    plan_tiles(&s, c, form);
    plan_panels(&s, cj->p, c);
    plan_blocks(&s, cj->run.threads);
    /* Alone, as many as take less time than all by gathered GEMMs; the outputs of a spread lie elsewhere. */
    const double enough = (double)s.grid.lines * (double)s.panels / FC_WINOGRAD_REDO_RATIO;
    if (!form.spread) s.max_redone = enough < FC_WINOGRAD_MAX_REDONE ? (int)enough : FC_WINOGRAD_MAX_REDONE;
    return s;
}

/* ---- Weights ---- */

/* Transforms planes [begin, end) of a panel. */
static void transform_weights(const fc_winograd_job *j, ptrdiff_t panel, ptrdiff_t begin, ptrdiff_t end, char *taps,
                              char *target, ptrdiff_t point) {
    const fc_winograd_sums *s = j->s;
    const ptrdiff_t size = s->size, lanes = s->lanes, first = fc_winograd_first_channel(s, panel);
    const ptrdiff_t channels = min(s->panel, j->c->out_channels - first);
    const ptrdiff_t all = s->grid.form.taps[0] * s->grid.form.taps[1];
    const ptrdiff_t residue[2] = {fc_winograd_residue_down(s, panel), fc_winograd_residue_along(s, panel)};
    memset(taps, 0, (size_t)(all * lanes * size));
    for (ptrdiff_t v = 0; v < s->tile_vectors; v++) {
        const ptrdiff_t count = max(0, min(lanes, channels - v * lanes));
        if (count < lanes) memset(taps, 0, (size_t)(all * lanes * size));
        for (ptrdiff_t plane = begin; plane < end; plane++) {
            const int back = count > 0 &&
                             fc_winograd_gather(&j->filters, residue, first + v * lanes, count, plane, taps);
            s->transforms->weights(taps + (back ? all - 1 : 0) * lanes * size, back ? -lanes : lanes,
                                   target + ((plane - begin) * s->panel + v * lanes) * size, point);
        }
    }
}

/* Binds what a call has to the sums of a group. */
static fc_winograd_job bind(const fc_winograd_sums *s, const fc_correlation *c, fc_run *run) {
    fc_winograd_job j = {.s = s, .c = c, .run = run, .x = s->x};
    if (c->x) j.x.base = c->x + c->x_plane[0] * s->size;
    j.filters = (fc_winograd_filters){.c = c, .kernels = s->kernels, .size = s->size, .lanes = s->lanes,
                                      .form = s->grid.form, .pitch = s->x.pitch,
                                      .two_taps = {s->two_taps[0], s->two_taps[1]}};
    return j;
}

typedef struct {
    fc_winograd_job *j;
    char *weights; /* as in fc_winograd_job */
} transform;

static void transform_task(void *context, int task) {
    const transform *t = context;
    const fc_winograd_sums *s = t->j->s;
    const ptrdiff_t points = s->grid.form.points;
    const fc_units panels = fc_units_of(s->panels, t->j->run->threads, task);
    char *taps = fc_scratch_acquire((size_t)(FC_WINOGRAD_MAX_TAPS * s->lanes * s->size));
    if (!taps) {
        fc_stop(t->j->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t i = panels.begin; i < panels.end && !fc_stopped(t->j->run); i++)
        transform_weights(t->j, i, 0, s->planes, taps, t->weights + i * points * s->u_point * s->size, s->u_point);
    fc_scratch_release(taps);
}

char *fc_winograd_transform(const fc_winograd_sums *s, const fc_correlation *c, fc_run *run) {
    fc_winograd_job j = bind(s, c, run);
    transform t = {.j = &j, .weights = fc_scratch_acquire((size_t)weights_bytes(s))};
    if (t.weights) fc_parallel(run, run->threads, transform_task, &t);
    else fc_stop(run, FC_NO_MEMORY);
    if (run->status == FC_OK) return t.weights;
    fc_scratch_release(t.weights);
    return NULL;
}

/* ---- Tiles, products, outputs ---- */

/* Transforms the tiles of a block. */
static void transform_block(const fc_winograd_job *j, ptrdiff_t first, ptrdiff_t lines, const scratch *w) {
    const fc_winograd_sums *s = j->s;
    const fc_winograd_grid *g = &s->grid;
    const ptrdiff_t size = s->size, together = j->x.copy_channels, line_step = j->x.width * together;
    const ptrdiff_t stride = g->form.stride, down = stride * g->form.tile[0];
    const fc_winograd_tiles tiles = fc_winograd_tiles_of(g, &j->x, CHAIN, s->v_point);
    for (ptrdiff_t line = first; line < first + lines;) {
        const fc_winograd_place place = fc_winograd_find(g, line);
        const ptrdiff_t count = min(min(s->copy_lines, first + lines - line), place.below);
        for (ptrdiff_t channel = 0; channel < j->x.pitch; channel += s->lanes) {
            const ptrdiff_t beside = channel % together;
            if (!beside) fc_winograd_copy(s->kernels, size, &j->x, &place, copied_lines(s, count), channel, w->copy);
            for (ptrdiff_t residue = 0; residue < stride * stride; residue++) {
                const ptrdiff_t plane = residue * j->x.pitch + channel;
                const ptrdiff_t chunk = plane / CHAIN * g->form.points * s->v_point;
                const char *source =
                    w->copy + (residue / stride * line_step + residue % stride * together + beside) * size;
                for (ptrdiff_t i = 0; i < count * g->column_step; i++) {
                    const ptrdiff_t at = down * (i / g->column_step) * line_step + i % g->column_step * together;
                    const ptrdiff_t tile = (line - first) * g->across + i * g->tiles;
                    s->transforms->input(&tiles, source + at * size,
                                         w->v + (chunk + tile * CHAIN + plane % CHAIN) * size);
                }
            }
        }
        line += count;
    }
}

/* Adds the terms from `d` on of a point of a panel, whose weights u stay in L1 for all tiles. */
static void multiply_chunk(const fc_winograd_job *j, ptrdiff_t tiles, ptrdiff_t point, ptrdiff_t d, const char *u,
                           const scratch *w, char *m) {
    const fc_winograd_sums *s = j->s;
    const ptrdiff_t size = s->size, depth = min(CHAIN, s->planes - d);
    const char *v = w->v + (d / CHAIN * s->grid.form.points + point) * s->v_point * size;
    fc_winograd_product product = {
        .rows = tiles,
        .depth = depth,
        .a = v,
        .b = u,
        .c = m + point * s->m_point * size,
        .accumulate = d > 0,
        .next = u + depth * s->panel * size,
        .fetched = depth * s->panel,
    };
    if (!j->weights) { /* these are in L2 */
        product.next = v + s->v_point * size;
        product.fetched = depth == CHAIN ? tiles * CHAIN : 0;
    }
    s->kernels->winograd_product[s->tile_vectors - 1](&product);
}

static int chunk_lacks(const fc_winograd_sums *s, ptrdiff_t point, ptrdiff_t d) {
    return fc_winograd_lacks(&s->grid.form, point, s->x.pitch, d, min(d + CHAIN, s->planes));
}

static int panel_lacks(const fc_winograd_sums *s, ptrdiff_t panel, ptrdiff_t point) {
    const ptrdiff_t residue[2] = {fc_winograd_residue_down(s, panel), fc_winograd_residue_along(s, panel)};
    return fc_winograd_residue_lacks(&s->grid.form, s->two_taps, residue, point);
}

/* The products of all points of a panel, to m. Weights that are not there yet are transformed a chunk at a time, in
 * L2. */
static void multiply(const fc_winograd_job *j, ptrdiff_t tiles, ptrdiff_t panel, const scratch *w, char *m) {
    const fc_winograd_sums *s = j->s;
    const ptrdiff_t size = s->size, planes = s->planes, points = s->grid.form.points;
    for (ptrdiff_t point = 0; point < points; point++)
        if (panel_lacks(s, panel, point))
            memset(m + point * s->m_point * size, 0, (size_t)(tiles * s->panel * size));
    if (j->weights) {
        const char *u = j->weights + panel * points * s->u_point * size;
        for (ptrdiff_t point = 0; point < points; point++)
            for (ptrdiff_t d = 0; d < planes && !panel_lacks(s, panel, point); d += CHAIN)
                if (!chunk_lacks(s, point, d))
                    multiply_chunk(j, tiles, point, d, u + (point * s->u_point + d * s->panel) * size, w, m);
        return;
    }
    for (ptrdiff_t d = 0; d < planes && !fc_stopped(j->run); d += CHAIN) {
        transform_weights(j, panel, d, min(d + CHAIN, planes), w->taps, w->u, chunk_point(s));
        for (ptrdiff_t point = 0; point < points; point++)
            if (!chunk_lacks(s, point, d) && !panel_lacks(s, panel, point))
                multiply_chunk(j, tiles, point, d, w->u + point * chunk_point(s) * size, w, m);
    }
}

/* Points of panels that stand in turn back to outputs; notes the lines of tiles that are not finite. */
static void store_outputs(fc_winograd_job *j, ptrdiff_t first, ptrdiff_t lines, ptrdiff_t panel, const scratch *w) {
    const fc_winograd_sums *s = j->s;
    for (ptrdiff_t i = 0; i < lines; i++) {
        const fc_winograd_place place = fc_winograd_find(&s->grid, first + i);
        const char *points = w->m + i * s->grid.across * s->panel * s->size;
        if (place.line >= j->c->axis[0].outputs || fc_winograd_store(j, &place, panel, points, w->stage)) continue;
        const int index = j->not_finite++;
        if (index >= FC_WINOGRAD_MAX_REDONE) continue;
        j->redone[index].line = first + i;
        j->redone[index].first_channel = fc_winograd_first_channel(s, panel);
    }
}

static void sum_task(void *context, int task) {
    fc_winograd_job *j = context;
    const fc_winograd_sums *s = j->s;
    const fc_units lines = fc_units_of(s->grid.lines, s->line_tasks, task / s->panel_tasks);
    const fc_units panels = fc_units_of(s->panels / s->turns, s->panel_tasks, task % s->panel_tasks);
    const int has_weights = j->weights != NULL;
    scratch w;
    char *base = fc_scratch_acquire(lay_out(s, has_weights, &w, NULL));
    if (!base) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    lay_out(s, has_weights, &w, base);
    memset(w.copy, 0, (size_t)copy_bytes(s));
    for (ptrdiff_t line = lines.begin, count; line < lines.end; line += count) {
        count = even_block(lines.end - line, s->block_lines);
        transform_block(j, line, count, &w);
        for (ptrdiff_t i = panels.begin; i < panels.end && !fc_stopped(j->run); i++) {
            const ptrdiff_t panel = i * s->turns;
            for (ptrdiff_t turn = 0; turn < s->turns; turn++)
                multiply(j, count * s->grid.across, panel + turn, &w,
                         w.m + turn * s->grid.form.points * s->m_point * s->size);
            store_outputs(j, line, count, panel, &w);
        }
        if (fc_stopped(j->run)) break;
    }
    fc_scratch_release(base);
}

int fc_winograd_sum(const fc_winograd_sums *s, const fc_correlation *c, const char *weights, fc_run *run) {
    fc_winograd_job j = bind(s, c, run);
    FC_ASSERT(c->x && c->w && c->y);
    char *own = !weights && s->shares_weights ? fc_winograd_transform(s, c, run) : NULL;
    j.weights = weights ? weights : own;
    if (run->status == FC_OK) fc_parallel(run, (int)(s->line_tasks * s->panel_tasks), sum_task, &j);
    fc_scratch_release(own);
    if (j.not_finite > s->max_redone) return 1;
    for (int i = 0; i < j.not_finite && !fc_stopped(run); i++)
        fc_winograd_redo(&j, j.redone[i].line, j.redone[i].first_channel);
    return 0;
}
