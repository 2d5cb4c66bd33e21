/* Convolutions of stride 1, dilated or not, by Winograd's algorithms (kernels/winograd.tmpl.h): 3x3 with 36
 * products where the definition has 144, 5x5 with 48 instead of 200; 2, 3, 5 and 7 taps along one axis with 6
 * instead of 10 and 12, 8 instead of 20 and 14. A block of tiles is transformed into L2, some channels after others;
 * the GEMMs of its points go by panels of output channels, whose points are transformed back at once. Forward, and
 * backward data, whose taps are reversed (dw: weights.c). A third axis adds planes: of each of its taps
 * all channels. Rows of tiles with sums that are not finite are done again by the definition, or all of it by
 * gathered GEMMs if there are many or the weights are not finite.
 *
 * 3x3 with stride 2 is the sum of the four residues of x, each with the taps that it meets, 2x2, 2x1, 1x2 or one:
 * planes of F(5x5, 2x2), whose products with weights that are zero for want of a tap are left out, 121 instead of 225.
 * Its dx
 * has four residues of outputs, a `spread`: each a panel of channels with the taps that it sees of the same tiles of
 * dy, of which the two that stand in turn in a row go back to outputs together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"

enum {
    CHAIN = FC_WINOGRAD_CHAIN,
    MAX_REDONE = 8, /* rows of tiles of a panel */
};
/* A block's transformed input should stay in L2; with weights that are transformed for every block, blocks
 * are as large as the workspace allows. */
static const ptrdiff_t BLOCK_BYTES = 384 << 10, LARGE_BLOCK_BYTES = 7 << 20;
/* Of a block's transformed tiles and their products, and where weights are shared, which are part of the workspace. */
static const ptrdiff_t MAX_BYTES = 11 << 20, MAX_BYTES_SHARED = 5 << 20;
static const ptrdiff_t MIN_TILES = 32;
/* Transformed weights of all panels; of larger ones, each block transforms a chunk of a panel at a time. */
static const ptrdiff_t WEIGHTS_BYTES = 10 << 20;

/* The weights of each group, transformed. */
typedef struct {
    fc_weights common;
    fc_winograd_shape shape;
    ptrdiff_t groups;
    char *transformed[];
} prepared;

typedef struct {
    const fc_correlation *c;   /* of all planes */
    const fc_axis *depth;
    const fc_kernels *kernels;
    fc_run *run;
    ptrdiff_t size, lanes, points;
    fc_winograd_images x;
    const fc_winograd_kernels *transforms;
    fc_winograd_grid grid;
    ptrdiff_t lines, blocks;   /* rows of tiles of a block; of blocks: both at most */
    ptrdiff_t copied;          /* rows of tiles of a copy */
    ptrdiff_t tiles;           /* of a block */
    ptrdiff_t tile_vectors;            /* of a panel */
    ptrdiff_t panel, panels;   /* output channels of a panel; panels of all residues of a spread */
    ptrdiff_t side_by_side;    /* panels of outputs that stand in turn in a row: those of 2 residues, or 1 */
    ptrdiff_t of_residue;        /* panels of all channels */
    fc_winograd_filters filters;
    ptrdiff_t dx_size[2];      /* rows and columns of dx */
    ptrdiff_t planes;          /* of x, or of all residues of a stride: 4 times whole vectors of them */
    ptrdiff_t v_point, m_point, u_point; /* elements between points */
    ptrdiff_t shares, ranges;  /* of the rows of tiles, and of the panels: a task has one of each */
    FC_ATOMIC int not_finite;  /* rows of tiles of a panel; of the first, which */
    struct {
        ptrdiff_t line, first;
    } redone[MAX_REDONE];
    char *weights;             /* [panel][point][channel][channel of the panel], or NULL */
} job;

typedef struct {
    char *copy, *v, *m; /* [chunk of channels][point][tile][channel], [point][tile][channel] */
    char *u, *taps, *stage;
} workspace;

/* Residues of a spread, along rows and columns, that a panel is of; else 0. Panels of the same rows follow each
 * other. */
static ptrdiff_t residue_down(const job *j, ptrdiff_t panel) { return panel / j->side_by_side / j->of_residue; }
static ptrdiff_t residue_along(const job *j, ptrdiff_t panel) { return panel % j->side_by_side; }
static ptrdiff_t first_channel(const job *j, ptrdiff_t panel) {
    return panel / j->side_by_side % j->of_residue * j->panel;
}

/* Elements between points of a chunk of weights: not a multiple of a page, which would be one set of the cache. */
static ptrdiff_t chunk_point(const job *j) { return CHAIN * j->panel + j->lanes; }

/* Planes [begin, end) of a panel. */
static void transform_weights(const job *j, ptrdiff_t panel, ptrdiff_t begin, ptrdiff_t end, char *taps, char *target,
                              ptrdiff_t point) {
    const ptrdiff_t size = j->size, lanes = j->lanes, first = first_channel(j, panel);
    const ptrdiff_t rows = min(j->panel, j->c->rows - first), all = j->grid.form.taps[0] * j->grid.form.taps[1];
    const ptrdiff_t residue[2] = {residue_down(j, panel), residue_along(j, panel)};
    memset(taps, 0, (size_t)(all * lanes * size));
    for (ptrdiff_t v = 0; v < j->tile_vectors; v++) {
        const ptrdiff_t count = max(0, min(lanes, rows - v * lanes));
        if (count < lanes) memset(taps, 0, (size_t)(all * lanes * size));
        for (ptrdiff_t plane = begin; plane < end; plane++) {
            const int back = count > 0 &&
                             fc_winograd_gather(&j->filters, residue, first + v * lanes, count, plane, taps);
            j->transforms->weights(taps + (back ? all - 1 : 0) * lanes * size, back ? -lanes : lanes,
                                   target + ((plane - begin) * j->panel + v * lanes) * size, point);
        }
    }
}

static void weights_task(void *context, int index) {
    job *j = context;
    const fc_units share = fc_units_of(j->panels, j->run->threads, index);
    char *taps = fc_scratch_acquire((size_t)(FC_WINOGRAD_MOST_TAPS * j->lanes * j->size));
    if (!taps) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t i = share.begin; i < share.end && !fc_stopped(j->run); i++)
        transform_weights(j, i, 0, j->planes, taps, j->weights + i * j->points * j->u_point * j->size, j->u_point);
    fc_scratch_release(taps);
}

/* Transforms the input of a block. */
static void transform_block(const job *j, ptrdiff_t first, ptrdiff_t lines, const workspace *w) {
    const ptrdiff_t size = j->size;
    const ptrdiff_t part = j->x.part, row = j->x.width * part;
    const fc_winograd_grid *g = &j->grid;
    const ptrdiff_t stride = g->form.stride, down = stride * g->form.tile[0], more = stride * (g->form.taps[0] - 1);
    const fc_winograd_tiles tiles = fc_winograd_tiles_of(g, &j->x, CHAIN, j->v_point);
    for (ptrdiff_t line = first; line < first + lines;) {
        const fc_winograd_place place = fc_winograd_find(g, line);
        const ptrdiff_t count = min(min(j->copied, first + lines - line), place.below);
        for (ptrdiff_t channel = 0; channel < j->x.pitch; channel += j->lanes) {
            const ptrdiff_t of_part = channel % part;
            if (!of_part) fc_winograd_copy(j->kernels, size, &j->x, &place, down * count + more, channel, w->copy);
            for (ptrdiff_t residue = 0; residue < stride * stride; residue++) {
                const ptrdiff_t plane = residue * j->x.pitch + channel, chunk = plane / CHAIN * j->points * j->v_point;
                const char *source = w->copy + (residue / stride * row + residue % stride * part + of_part) * size;
                for (ptrdiff_t i = 0; i < count * g->column_step; i++) {
                    const ptrdiff_t at = down * (i / g->column_step) * row + i % g->column_step * part;
                    const ptrdiff_t tile = (line - first) * g->across + i * g->of_residue;
                    j->transforms->input(&tiles, source + at * size,
                                         w->v + (chunk + tile * CHAIN + plane % CHAIN) * size);
                }
            }
        }
        line += count;
    }
}

/* Terms from `d` on of a point of a panel: weights that stay in L1 for all tiles. */
static void multiply_chunk(const job *j, ptrdiff_t tiles, ptrdiff_t point, ptrdiff_t d, const char *u,
                           const workspace *w, char *m) {
    const ptrdiff_t size = j->size, depth = min(CHAIN, j->planes - d);
    const char *v = w->v + (d / CHAIN * j->points + point) * j->v_point * size;
    fc_winograd_product product = {
        .rows = tiles,
        .depth = depth,
        .a = v,
        .b = u,
        .c = m + point * j->m_point * size,
        .accumulate = d > 0,
        .next = u + depth * j->panel * size,
        .fetched = depth * j->panel,
    };
    if (!j->weights) { /* these are in L2 */
        product.next = v + j->v_point * size;
        product.fetched = depth == CHAIN ? tiles * CHAIN : 0;
    }
    j->kernels->winograd_product[j->tile_vectors - 1](&product);
}

static int lacks(const job *j, ptrdiff_t point, ptrdiff_t d) {
    return fc_winograd_lacks(&j->grid.form, point, j->x.pitch, d, min(d + CHAIN, j->planes));
}

static int panel_lacks(const job *j, ptrdiff_t panel, ptrdiff_t point) {
    const ptrdiff_t residue[2] = {residue_down(j, panel), residue_along(j, panel)};
    return fc_winograd_residue_lacks(&j->filters, residue, point);
}

/* The products of all points of a panel, to m. Weights that are not there yet are transformed a chunk at a time, in
 * L2. */
static void multiply(const job *j, ptrdiff_t tiles, ptrdiff_t panel, const workspace *w, char *m) {
    const ptrdiff_t size = j->size, channels = j->planes;
    for (ptrdiff_t point = 0; point < j->points; point++)
        if (panel_lacks(j, panel, point))
            memset(m + point * j->m_point * size, 0, (size_t)(tiles * j->panel * size));
    if (j->weights) {
        const char *u = j->weights + panel * j->points * j->u_point * size;
        for (ptrdiff_t point = 0; point < j->points; point++)
            for (ptrdiff_t d = 0; d < channels && !panel_lacks(j, panel, point); d += CHAIN)
                if (!lacks(j, point, d))
                    multiply_chunk(j, tiles, point, d, u + (point * j->u_point + d * j->panel) * size, w, m);
        return;
    }
    for (ptrdiff_t d = 0; d < channels && !fc_stopped(j->run); d += CHAIN) {
        transform_weights(j, panel, d, min(d + CHAIN, channels), w->taps, w->u, chunk_point(j));
        for (ptrdiff_t point = 0; point < j->points; point++)
            if (!lacks(j, point, d) && !panel_lacks(j, panel, point))
                multiply_chunk(j, tiles, point, d, w->u + point * chunk_point(j) * size, w, m);
    }
}

static double value_at(const job *j, const void *array, ptrdiff_t at) {
    return j->size == 4 ? ((const float *)array)[at] : ((const double *)array)[at];
}

/* An output by the definition. */
static void redo_output(const job *j, const fc_winograd_place *place, ptrdiff_t k, ptrdiff_t p, ptrdiff_t q) {
    const fc_correlation *c = j->c;
    const fc_axis *d = j->depth, *h = &c->axis[0], *w = &c->axis[1];
    double sum = c->bias ? value_at(j, c->bias, k) : 0;
    for (ptrdiff_t i = 0; i < c->planes; i++) {
        const ptrdiff_t plane = place->plane * d->stride + d->tap + i / j->x.of_tap * d->tap_step;
        for (ptrdiff_t t = 0; t < h->taps * w->taps; t++) {
            const ptrdiff_t r = t / w->taps, s = t % w->taps;
            const ptrdiff_t row = p * h->stride + h->tap + r * h->tap_step;
            const ptrdiff_t column = q * w->stride + w->tap + s * w->tap_step;
            const int inside = plane >= 0 && plane < d->size && row >= 0 && row < h->size && column >= 0 &&
                               column < w->size;
            if (!inside && !c->padding_counts) continue;
            const ptrdiff_t at = place->image * c->x_image + plane * d->source_stride + row * h->source_stride +
                                 column * w->source_stride;
            const ptrdiff_t tap = h->weight + r * h->weight_step + w->weight + s * w->weight_step;
            sum += (inside ? value_at(j, c->x, c->x_plane[i] + at) : 0) *
                   value_at(j, c->w, k * c->w_row + c->w_plane[i] + tap);
        }
    }
    if (c->relu && sum < 0) sum = 0;
    const ptrdiff_t at = place->image * c->y_image + place->plane * d->target_stride + k * c->y_row +
                         p * h->target_stride + q * w->target_stride;
    if (j->size == 4) ((float *)c->y)[at] = (float)sum;
    else ((double *)c->y)[at] = sum;
}

static void redo(const job *j, ptrdiff_t line, ptrdiff_t k0) {
    const fc_winograd_grid *g = &j->grid;
    const fc_winograd_place place = fc_winograd_find(g, line);
    const ptrdiff_t end = min(j->c->axis[0].outputs, place.row + g->form.tile[0] * g->row_step);
    const ptrdiff_t last = min(j->c->axis[1].outputs, place.column + g->form.tile[1] * g->across);
    for (ptrdiff_t k = k0; k < min(j->c->rows, k0 + j->panel) && !fc_stopped(j->run); k++)
        for (ptrdiff_t p = place.row; p < end; p += g->row_step)
            for (ptrdiff_t q = place.column; q < last; q++) redo_output(j, &place, k, p, q);
}

/* Outputs in a row of tiles of a stage, of all panels side by side. */
static ptrdiff_t stage_row(const job *j) {
    return j->grid.form.tile[1] * j->grid.across * j->side_by_side;
}

/* Points of a row of tiles and a panel back to outputs: `rows` x `columns` of them, y being the first, channels
 * adjacent. Returns whether they are finite. */
static int store_panel(const job *j, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t k0, const char *points, char *y) {
    const fc_correlation *c = j->c;
    const fc_axis *h = &c->axis[0], *axis = &c->axis[1];
    const fc_winograd_grid *g = &j->grid;
    const ptrdiff_t size = j->size, k1 = min(c->rows, k0 + j->panel), along = g->form.tile[1];
    const int straight = c->y_row == 1, upright = g->form.upright;
    const ptrdiff_t position = straight ? axis->target_stride : j->panel * j->side_by_side;
    const ptrdiff_t row = straight ? g->row_step * h->target_stride : stage_row(j) * j->panel;
    fc_winograd_outputs o = {.tile_step = j->panel, .point_step = j->m_point, .lines = upright ? 1 : rows,
                             .columns = upright ? rows : along, .width = j->lanes,
                             .position_step = upright ? row : g->column_step * position,
                             .target_step = along * g->column_step * position, .line_step = row, .relu = c->relu};
    int finite = 1;
    for (ptrdiff_t b = 0; b < min(g->column_step, columns); b++) {
        const ptrdiff_t outputs = quotient_up(columns - b, g->column_step);
        o.tiles = quotient_up(outputs, along);
        o.last_columns = upright ? rows : outputs - along * (o.tiles - 1);
        for (ptrdiff_t k = k0; k < k1; k += j->lanes) {
            char padded[FC_ALIGNMENT * 2];
            const char *bias = c->bias ? (const char *)c->bias + k * size : NULL;
            if (straight) o.width = min(j->lanes, k1 - k);
            if (bias && k1 - k < j->lanes)
                bias = memcpy(memset(padded, 0, sizeof padded), bias, (size_t)((k1 - k) * size));
            finite &= j->transforms->output(&o, points + (b * g->of_residue * j->panel + k - k0) * size, bias,
                                            y + (b * position + k - k0) * size);
        }
    }
    return finite;
}

/* Outputs of a residue of a spread along an axis, else all. */
static ptrdiff_t outputs_of(const job *j, int axis, ptrdiff_t residue) {
    return j->grid.form.spread ? (j->dx_size[axis] + 1 - residue) / 2 : j->c->axis[axis].outputs;
}

/* The same of all panels side by side, from `panel` on, to their places in y. */
static int store_line(const job *j, const fc_winograd_place *place, ptrdiff_t panel, const char *points, char *stage) {
    const fc_correlation *c = j->c;
    const fc_axis *h = &c->axis[0], *axis = &c->axis[1];
    const fc_winograd_grid *g = &j->grid;
    const ptrdiff_t size = j->size, k0 = first_channel(j, panel), down = residue_down(j, panel);
    const ptrdiff_t turns = j->side_by_side;
    const ptrdiff_t rows = min(g->form.tile[0], quotient_up(outputs_of(j, 0, down) - place->row, g->row_step));
    const ptrdiff_t row = h->target_stride, column = axis->target_stride / turns;
    const int straight = c->y_row == 1;
    char *y = c->y + (place->image * c->y_image + place->plane * j->depth->target_stride + place->row * row +
                              down * (row / 2) + place->column * axis->target_stride + k0 * c->y_row) * size;
    ptrdiff_t all = 0;
    int finite = 1;
    for (ptrdiff_t i = 0; rows > 0 && i < turns; i++) {
        const ptrdiff_t columns = min(g->form.tile[1] * g->across, outputs_of(j, 1, i) - place->column);
        if (columns <= 0) continue;
        finite &= store_panel(j, rows, columns, k0, points + i * j->points * j->m_point * size,
                              straight ? y + i * column * size : stage + i * j->panel * size);
        all += columns;
    }
    for (ptrdiff_t r = 0; !straight && r < rows; r++)
        j->kernels->transpose(all, min(c->rows, k0 + j->panel) - k0, stage + r * stage_row(j) * j->panel * size,
                              j->panel, y + r * g->row_step * row * size, c->y_row);
    return finite;
}

/* Points of panels side by side back to outputs. */
static void store_outputs(job *j, ptrdiff_t first, ptrdiff_t lines, ptrdiff_t panel, const workspace *w) {
    for (ptrdiff_t i = 0; i < lines; i++) {
        const fc_winograd_place place = fc_winograd_find(&j->grid, first + i);
        const char *points = w->m + i * j->grid.across * j->panel * j->size;
        if (place.row >= j->c->axis[0].outputs || store_line(j, &place, panel, points, w->stage)) continue;
        const int index = j->not_finite++;
        if (index >= MAX_REDONE) continue;
        j->redone[index].line = first + i;
        j->redone[index].first = first_channel(j, panel);
    }
}

static ptrdiff_t copy_bytes(const job *j) {
    const fc_winograd_form *form = &j->grid.form;
    return form->stride * (form->tile[0] * j->copied + form->taps[0] - 1) * j->x.width * j->x.part * j->size;
}

static size_t lay_out(const job *j, workspace *w, char *base) {
    const ptrdiff_t size = j->size;
    size_t used = 0;
    w->copy = fc_carve(base, &used, copy_bytes(j));
    w->v = fc_carve(base, &used, quotient_up(j->planes, CHAIN) * j->points * j->v_point * size);
    w->m = fc_carve(base, &used, j->side_by_side * j->points * j->m_point * size);
    w->u = fc_carve(base, &used, j->weights ? 0 : j->points * chunk_point(j) * size);
    w->taps = fc_carve(base, &used, FC_WINOGRAD_MOST_TAPS * j->lanes * size);
    w->stage = fc_carve(base, &used, j->c->y_row == 1 ? 0 : j->grid.form.tile[0] * stage_row(j) * j->panel * size);
    return used;
}

static void run_task(void *context, int index) {
    job *j = context;
    const fc_units lines = fc_units_of(j->grid.all, j->shares, index / j->ranges);
    const fc_units panels = fc_units_of(j->panels / j->side_by_side, j->ranges, index % j->ranges);
    workspace w;
    char *base = fc_scratch_acquire(lay_out(j, &w, NULL));
    if (!base) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    lay_out(j, &w, base);
    memset(w.copy, 0, (size_t)copy_bytes(j));
    for (ptrdiff_t line = lines.begin, count; line < lines.end; line += count) {
        count = even_block(lines.end - line, j->lines);
        transform_block(j, line, count, &w);
        for (ptrdiff_t i = panels.begin; i < panels.end && !fc_stopped(j->run); i++) {
            const ptrdiff_t panel = i * j->side_by_side;
            for (ptrdiff_t turn = 0; turn < j->side_by_side; turn++)
                multiply(j, count * j->grid.across, panel + turn, &w, w.m + turn * j->points * j->m_point * j->size);
            store_outputs(j, line, count, panel, &w);
        }
        if (fc_stopped(j->run)) break;
    }
    fc_scratch_release(base);
}

/* The lanes without channels are counted too. */
ptrdiff_t fc_winograd_tile_vectors(const fc_kernels *kernels, ptrdiff_t vectors, int widest) {
    double best = 0;
    ptrdiff_t tile_vectors = 1;
    for (int v = 1; v <= widest; v++) {
        const int r = kernels->winograd_tile_rows[v - 1];
        const double cost = (double)(quotient_up(vectors, v) * v) * (1 + (double)(r + v) / (r * v));
        if (best != 0 && cost >= best) continue;
        best = cost;
        tile_vectors = v;
    }
    return tile_vectors;
}

static job plan(fc_op op, const fc_conv_job *cj, fc_run *run, const fc_correlation *c, const fc_axis *depth) {
    job j = {.c = c, .depth = depth, .kernels = cj->kernels, .run = run, .size = cj->size,
             .lanes = cj->kernels->lanes};
    const ptrdiff_t lanes = j.lanes, vectors = quotient_up(c->rows, lanes);
    j.grid = fc_winograd_grid_of(c, depth, fc_winograd_form_for(op, cj->p));
    j.points = j.grid.form.points;
    j.transforms = &j.kernels->winograd[j.grid.form.shape];
    j.side_by_side = 1;
    ptrdiff_t two_taps[2] = {0};
    if (j.grid.form.spread) {
        j.side_by_side = 2;
        for (int i = 0; i < 2; i++) {
            two_taps[i] = cj->p->pad[i + 1] % 2;
            j.dx_size[i] = cj->p->in_size[i + 1];
        }
    }
    j.x = fc_winograd_input(c, depth, 0, c->planes, &j.grid, j.size, lanes);
    j.planes = fc_winograd_planes(&j.grid.form, c->planes, lanes);
    const double of_a_tile = fc_winograd_tile_bytes(&j.grid.form, j.size, c->planes, j.x.channel == 1);
    if (of_a_tile * (double)j.grid.across > FC_WINOGRAD_LINE_BYTES) {
        fc_winograd_cut(&j.grid, c, (ptrdiff_t)(FC_WINOGRAD_LINE_BYTES / of_a_tile));
        j.x = fc_winograd_input(c, depth, 0, c->planes, &j.grid, j.size, lanes);
    }
    j.filters = (fc_winograd_filters){.c = c, .kernels = j.kernels, .size = j.size, .lanes = lanes, .form = j.grid.form,
                                      .pitch = j.x.pitch, .two_taps = {two_taps[0], two_taps[1]}};
    j.tile_vectors = fc_winograd_tile_vectors(j.kernels, vectors, (int)j.kernels->tile_vectors);
    j.panel = j.tile_vectors * lanes;
    j.of_residue = quotient_up(c->rows, j.panel);
    j.panels = j.side_by_side * j.side_by_side * j.of_residue;
    j.u_point = j.planes * j.panel + lanes;
    const ptrdiff_t all = j.grid.all, of_tile = j.points * j.size;
    const int many = j.panels * j.points * j.u_point * j.size > WEIGHTS_BYTES;
    const ptrdiff_t of_planes = of_tile * quotient_up(j.planes, lanes) * lanes;
    const ptrdiff_t wanted = max(MIN_TILES, (many ? LARGE_BLOCK_BYTES : BLOCK_BYTES) / of_planes);
    const ptrdiff_t of_v = quotient_up(j.planes, CHAIN) * CHAIN;
    const ptrdiff_t fit = (many ? MAX_BYTES : MAX_BYTES_SHARED) / (of_tile * (of_v + j.side_by_side * j.panel));
    const ptrdiff_t max_lines = max(1, min(wanted, fit) / j.grid.across), blocks = quotient_up(all, max_lines);
    /* Each task gets as many rows of tiles, if their blocks have enough tiles and share the weights. */
    const ptrdiff_t enough = many || blocks == 1 ? 0 : all * j.grid.across / MIN_TILES;
    j.shares = min(min(all, run->threads), max(blocks, enough));
    /* A thread more than all products would only wait. */
    j.ranges = min(j.panels / j.side_by_side, run->threads / j.shares);
    j.lines = even_block(quotient_up(all, j.shares), max_lines);
    j.blocks = j.shares * quotient_up(quotient_up(all, j.shares), j.lines);
    j.tiles = j.lines * j.grid.across;
    j.v_point = j.tiles * CHAIN + lanes;
    j.m_point = j.tiles * j.panel + lanes;
    const ptrdiff_t of_copy = j.grid.form.stride * j.grid.form.tile[0] * j.x.width * j.x.part * j.size;
    j.copied = max(1, min(min(j.lines, j.grid.down), FC_WINOGRAD_COPY_BYTES / of_copy));
    return j;
}

static int shares_weights(const job *j) {
    return j->blocks > 1 && j->panels * j->points * j->u_point * j->size <= WEIGHTS_BYTES;
}

/* Rows of tiles that take less time by the definition than all does by gathered GEMMs, which are a hundred times as
 * fast. */
static ptrdiff_t max_redone(const job *j) {
    if (j->grid.form.spread) return 0; /* redo knows no residues */
    const double rows = (double)j->grid.all * (double)j->panels;
    return rows / 100 < MAX_REDONE ? (ptrdiff_t)(rows / 100) : MAX_REDONE;
}

/* Sets j's weights to all of them, transformed. */
static void transform_all(job *j) {
    j->weights = fc_scratch_acquire((size_t)(j->panels * j->points * j->u_point * j->size));
    if (j->weights) fc_parallel(j->run, j->run->threads, weights_task, j);
    else fc_stop(j->run, FC_NO_MEMORY);
}

/* `transformed`: the weights of c, or NULL. Returns whether gathered GEMMs must do it again. */
static int correlate(fc_op op, fc_conv_job *cj, const fc_correlation *c, const fc_axis *depth, char *transformed) {
    job j = plan(op, cj, &cj->run, c, depth);
    j.weights = transformed;
    if (!transformed && shares_weights(&j)) transform_all(&j);
    if (j.run->status == FC_OK) fc_parallel(j.run, (int)(j.shares * j.ranges), run_task, &j);
    if (!transformed) fc_scratch_release(j.weights);
    if (j.not_finite > max_redone(&j)) return 1;
    for (int i = 0; i < j.not_finite && !fc_stopped(j.run); i++)
        redo(&j, j.redone[i].line, j.redone[i].first);
    return 0;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    const fc_conv_problem *p = &plan->problem.conv;
    const fc_op op = plan->op;
    fc_conv_job j = fc_conv_start(p, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    const prepared *all = (const prepared *)fc_weights_of(plan, a);
    if (all && all->shape != fc_winograd_form_for(FC_FORWARD, p).shape) all = NULL;
    int again = op == FC_BACKWARD_WEIGHTS && !p->has_w;
    for (ptrdiff_t g = 0; !again && g < p->groups && j.run.status == FC_OK; g++) {
        fc_axis depth;
        fc_correlation c = fc_conv_deep_correlation(&j, op, g, &depth);
        for (int i = 0; i < 2 && fc_winograd_form_for(op, p).spread; i++) { /* so many of the larger residue */
            c.axis[i].outputs = quotient_up(p->in_size[i + 1], 2);
            c.axis[i].target_stride = 2 * p->x_strides[i + 3];
        }
        if (op == FC_BACKWARD_WEIGHTS) {
            const fc_weights_gradient gradient = fc_conv_weights_gradient(&j, g, &c);
            again = !fc_winograd_weights(&j, &gradient, &depth);
        } else {
            again = correlate(op, &j, &c, &depth, op == FC_FORWARD && all ? all->transformed[g] : NULL);
        }
    }
    if (op == FC_BACKWARD_DATA && !again && !fc_conv_weights_are_finite(&j)) fc_naive_repair_edges(p, a, &j.run);
    const fc_status status = fc_conv_end(&j);
    return again && status == FC_OK ? plan->fallback->path->run(plan->fallback, a, interrupted) : status;
}

static void free_prepared(fc_weights *weights) {
    prepared *all = (prepared *)weights;
    for (ptrdiff_t g = 0; g < all->groups; g++) fc_scratch_release(all->transformed[g]);
    free(all);
}

static fc_status prepare(const fc_plan *made, const void *w, fc_question interrupted, fc_weights **weights) {
    const fc_conv_problem *p = &made->problem.conv;
    const fc_arrays arrays = {.w = (void *)w};
    prepared *all = calloc(1, sizeof *all + (size_t)p->groups * sizeof *all->transformed);
    if (!all) return FC_NO_MEMORY;
    all->common = (fc_weights){prepare, p->call.isa, free_prepared};
    all->shape = fc_winograd_form_for(FC_FORWARD, p).shape;
    all->groups = p->groups;
    fc_conv_job cj = fc_conv_start(p, &arrays, interrupted);
    if (!cj.plane) fc_stop(&cj.run, FC_NO_MEMORY);
    for (ptrdiff_t g = 0; g < p->groups && cj.run.status == FC_OK; g++) {
        fc_axis depth;
        const fc_correlation c = fc_conv_deep_correlation(&cj, FC_FORWARD, g, &depth);
        job j = plan(FC_FORWARD, &cj, &cj.run, &c, &depth);
        transform_all(&j);
        all->transformed[g] = j.weights;
    }
    fc_scratch_release(cj.plane);
    if (cj.run.status == FC_OK) *weights = &all->common;
    else free_prepared(&all->common);
    return (fc_status)cj.run.status;
}

static void describe(const fc_plan *made, fc_description *d) {
    const fc_conv_problem *p = &made->problem.conv;
    if (made->op != FC_FORWARD) return;
    fc_conv_job cj = fc_conv_start(p, NULL, NULL);
    if (!cj.plane) return;
    fc_axis depth;
    const fc_correlation c = fc_conv_deep_correlation(&cj, FC_FORWARD, 0, &depth);
    job j = plan(FC_FORWARD, &cj, &cj.run, &c, &depth);
    workspace w;
    static char transformed;
    j.weights = &transformed;
    const ptrdiff_t *tile = j.grid.form.tile, *taps = j.grid.form.taps;
    snprintf(d->how, sizeof d->how, "F(%tdx%td, %tdx%td): blocks of %td tiles, panels of %td output channels",
             tile[0], tile[1], taps[0], taps[1], j.tiles, j.panel);
    d->workspace = lay_out(&j, &w, NULL) * (size_t)(j.shares * j.ranges);
    d->packed = fc_aligned(j.panels * j.points * j.u_point * j.size) * (size_t)p->groups;
    fc_scratch_release(cj.plane);
}

static const fc_algorithm algorithm = {fc_winograd_doubt};

const fc_path fc_path_winograd = {
    .name = "winograd", .algorithm = &algorithm, .fallback = "implicit_gemm", .refuses = fc_winograd_refuses,
    .run = run, .prepare = prepare, .describe = describe,
};
