/* The tiles of images that Winograd's transforms read: where they lie, and their copy with channels side by side. */
#include <string.h>

#include "../arithmetic.h"
#include "conv_winograd.h"

static ptrdiff_t lowest(const fc_axis *axis) {
    return axis->tap + (fc_is_reversed(axis) ? (axis->taps - 1) * axis->tap_step : 0);
}

void fc_winograd_copy(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *m, ptrdiff_t image,
                      ptrdiff_t row, ptrdiff_t count, ptrdiff_t channel, char *copy) {
    const ptrdiff_t channels = least(m->part, m->channels - channel);
    const ptrdiff_t position = m->part * size, bytes = channels * size;
    const ptrdiff_t left = most(0, -m->first_column), from = m->first_column + left;
    const ptrdiff_t columns = most(0, least(m->width - left, m->columns - from));
    if (channel > 0 && channels < m->part) memset(copy, 0, (size_t)(count * m->width * position));
    for (ptrdiff_t n = 0; n < count; n++, copy += m->width * position) {
        const ptrdiff_t i = m->first_row + image % m->row_step + (row + n) * m->row_step;
        const int inside = i >= 0 && i < m->rows && columns > 0;
        for (ptrdiff_t q = 0; q < (inside ? left : m->width); q++) memset(copy + q * position, 0, (size_t)bytes);
        for (ptrdiff_t q = left + columns; inside && q < m->width; q++) memset(copy + q * position, 0, (size_t)bytes);
        if (!inside) continue;
        const char *source = (const char *)m->base + (image / m->row_step * m->image + i * m->row + from * m->column +
                                                      channel * m->channel) * size;
        if (m->channel != 1) {
            kernels->transpose(channels, columns, source, m->channel, copy + left * position, m->part);
            continue;
        }
        const fc_padded_rows shape = {.rows = 1, .count = columns, .step = m->column,
                                      .inner = m->part, .adjacent = m->channels};
        kernels->pad(&shape, source, copy + left * position);
    }
}

fc_winograd_grid fc_winograd_grid_of(const fc_correlation *c) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_winograd_grid g = {.taps = w->taps, .tile = fc_winograd_outputs_of(w->taps)};
    g.row_step = fc_is_reversed(h) ? -h->tap_step : h->tap_step;
    g.column_step = fc_is_reversed(w) ? -w->tap_step : w->tap_step;
    g.of_phase = quotient_up(quotient_up(w->outputs, g.column_step), g.tile);
    g.across = g.column_step * g.of_phase;
    g.down = quotient_up(quotient_up(h->outputs, g.row_step), g.tile);
    g.all = c->images * g.row_step * g.down;
    return g;
}

fc_winograd_images fc_winograd_input(const fc_correlation *c, const fc_winograd_grid *g, ptrdiff_t size,
                                     ptrdiff_t lanes) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const char *const *plane = (const char *const *)c->x_plane;
    fc_winograd_images images = {
        .base = plane[0],
        .image = c->x_image,
        .row = h->source_stride,
        .row_step = g->row_step,
        .column = w->source_stride,
        .channel = c->planes > 1 ? (plane[1] - plane[0]) / size : 1,
        .rows = h->size,
        .columns = w->size,
        .first_row = lowest(h),
        .first_column = lowest(w),
        .channels = c->planes,
        .width = g->tile * g->across + (g->taps - 1) * g->column_step,
        .pitch = quotient_up(c->planes, lanes) * lanes,
    };
    images.part = fc_winograd_part(&images, lanes);
    return images;
}
