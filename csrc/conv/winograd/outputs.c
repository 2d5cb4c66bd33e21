/* Points of Winograd's tiles back to outputs in y; and outputs again by the defining sums. */
#include <string.h>

#include "../../arithmetic.h"
#include "shared.h"

/* Outputs in a line of tiles, of all panels that stand in turn. */
static ptrdiff_t stage_line(const fc_winograd_sums *s) {
    return s->grid.form.tile[1] * s->grid.across * s->turns;
}

ptrdiff_t fc_winograd_stage_bytes(const fc_winograd_sums *s) {
    return s->straight ? 0 : s->grid.form.tile[0] * stage_line(s) * s->panel * s->size;
}

/* Points of a line of tiles and a panel back to outputs: `lines` x `columns` of them, y being the first, channels
 * adjacent. Returns whether they are finite. */
static int store_panel(const fc_winograd_job *j, ptrdiff_t lines, ptrdiff_t columns, ptrdiff_t k0, const char *points,
                       char *y) {
    const fc_winograd_sums *s = j->s;
    const fc_correlation *c = j->c;
    const fc_axis *h = &c->axis[0], *axis = &c->axis[1];
    const fc_winograd_grid *g = &s->grid;
    const ptrdiff_t size = s->size, k1 = min(c->out_channels, k0 + s->panel), along = g->form.tile[1];
    const int straight = s->straight, upright = g->form.upright;
    const ptrdiff_t position = straight ? axis->target_stride : s->panel * s->turns;
    const ptrdiff_t line = straight ? g->line_step * h->target_stride : stage_line(s) * s->panel;
    fc_winograd_outputs o = {.tile_step = s->panel, .point_step = s->m_point, .lines = upright ? 1 : lines,
                             .columns = upright ? lines : along, .width = s->lanes,
                             .position_step = upright ? line : g->column_step * position,
                             .target_step = along * g->column_step * position, .line_step = line, .relu = c->relu};
    int finite = 1;
    for (ptrdiff_t residue = 0; residue < min(g->column_step, columns); residue++) {
        const ptrdiff_t outputs = quotient_up(columns - residue, g->column_step);
        o.tiles = quotient_up(outputs, along);
        o.last_columns = upright ? lines : outputs - along * (o.tiles - 1);
        for (ptrdiff_t k = k0; k < k1; k += s->lanes) {
            char padded[FC_WINOGRAD_VECTOR_BYTES];
            const char *bias = c->bias ? (const char *)c->bias + k * size : NULL;
            if (straight) o.width = min(s->lanes, k1 - k);
            if (bias && k1 - k < s->lanes)
                bias = memcpy(memset(padded, 0, sizeof padded), bias, (size_t)((k1 - k) * size));
            finite &= s->transforms->output(&o, points + (residue * g->tiles * s->panel + k - k0) * size, bias,
                                            y + (residue * position + k - k0) * size);
        }
    }
    return finite;
}

/* Outputs of a residue of a spread along an axis, else all. */
static ptrdiff_t outputs_of(const fc_winograd_job *j, int axis, ptrdiff_t residue) {
    return j->s->grid.form.spread ? (j->s->dx_size[axis] + 1 - residue) / 2 : j->c->axis[axis].outputs;
}

int fc_winograd_store(const fc_winograd_job *j, const fc_winograd_place *place, ptrdiff_t panel, const char *points,
                      char *stage) {
    const fc_winograd_sums *s = j->s;
    const fc_correlation *c = j->c;
    const fc_axis *h = &c->axis[0], *axis = &c->axis[1];
    const fc_winograd_grid *g = &s->grid;
    const ptrdiff_t size = s->size, k0 = fc_winograd_first_channel(s, panel), turns = s->turns;
    const ptrdiff_t down = fc_winograd_residue_down(s, panel);
    const ptrdiff_t lines = min(g->form.tile[0], quotient_up(outputs_of(j, 0, down) - place->line, g->line_step));
    const ptrdiff_t line = h->target_stride, column = axis->target_stride / turns;
    const int straight = s->straight;
    char *y = c->y + (place->image * c->y_image + place->plane * s->depth.target_stride + place->line * line +
                      down * (line / 2) + place->column * axis->target_stride + k0 * c->y_channel) * size;
    ptrdiff_t all = 0;
    int finite = 1;
    FC_ASSERT(panel % turns == 0);
    for (ptrdiff_t i = 0; lines > 0 && i < turns; i++) {
        const ptrdiff_t columns = min(g->form.tile[1] * g->across, outputs_of(j, 1, i) - place->column);
        if (columns <= 0) continue;
        finite &= store_panel(j, lines, columns, k0, points + i * g->form.points * s->m_point * size,
                              straight ? y + i * column * size : stage + i * s->panel * size);
        all += columns;
    }
    for (ptrdiff_t i = 0; !straight && i < lines; i++)
        s->kernels->transpose(all, min(c->out_channels, k0 + s->panel) - k0,
                              stage + i * stage_line(s) * s->panel * size,
                              s->panel, y + i * g->line_step * line * size, c->y_channel);
    return finite;
}

static double value_at(ptrdiff_t size, const void *array, ptrdiff_t at) {
    return size == 4 ? ((const float *)array)[at] : ((const double *)array)[at];
}

/* Output (p, q) of channel k by the defining sum. */
static void redo_output(const fc_winograd_job *j, const fc_winograd_place *place, ptrdiff_t k, ptrdiff_t p,
                        ptrdiff_t q) {
    const fc_correlation *c = j->c;
    const fc_axis *d = &j->s->depth, *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t size = j->s->size;
    double sum = c->bias ? value_at(size, c->bias, k) : 0;
    for (ptrdiff_t i = 0; i < c->planes; i++) {
        const ptrdiff_t plane = place->plane * d->stride + d->tap + i / j->x.tap_channels * d->tap_step;
        for (ptrdiff_t t = 0; t < h->taps * w->taps; t++) {
            const ptrdiff_t r = t / w->taps, s = t % w->taps;
            const ptrdiff_t line = p * h->stride + h->tap + r * h->tap_step;
            const ptrdiff_t column = q * w->stride + w->tap + s * w->tap_step;
            const int inside = plane >= 0 && plane < d->size && line >= 0 && line < h->size && column >= 0 &&
                               column < w->size;
            if (!inside && !c->padding_counts) continue;
            const ptrdiff_t at = place->image * c->x_image + plane * d->source_stride + line * h->source_stride +
                                 column * w->source_stride;
            const ptrdiff_t tap = h->weight + r * h->weight_step + w->weight + s * w->weight_step;
            sum += (inside ? value_at(size, c->x, c->x_plane[i] + at) : 0) *
                   value_at(size, c->w, k * c->w_out_channel + c->w_plane[i] + tap);
        }
    }
    if (c->relu && sum < 0) sum = 0;
    const ptrdiff_t at = place->image * c->y_image + place->plane * d->target_stride + k * c->y_channel +
                         p * h->target_stride + q * w->target_stride;
    if (size == 4) ((float *)c->y)[at] = (float)sum;
    else ((double *)c->y)[at] = sum;
}

/* The outputs of a spread have other places. */
void fc_winograd_redo(const fc_winograd_job *j, ptrdiff_t line_of_tiles, ptrdiff_t k0) {
    const fc_winograd_grid *g = &j->s->grid;
    const fc_winograd_place place = fc_winograd_find(g, line_of_tiles);
    const ptrdiff_t end = min(j->c->axis[0].outputs, place.line + g->form.tile[0] * g->line_step);
    const ptrdiff_t last = min(j->c->axis[1].outputs, place.column + g->form.tile[1] * g->across);
    FC_ASSERT(!g->form.spread);
    for (ptrdiff_t k = k0; k < min(j->c->out_channels, k0 + j->s->panel) && !fc_stopped(j->run); k++)
        for (ptrdiff_t p = place.line; p < end; p += g->line_step)
            for (ptrdiff_t q = place.column; q < last; q++) redo_output(j, &place, k, p, q);
}
