/* The tiles of images that Winograd's transforms read: where they lie, and their copy with channels side by side. */
#include <string.h>

#include "../../arithmetic.h"
#include "shared.h"

static ptrdiff_t lowest(const fc_axis *axis) {
    return axis->tap + (fc_is_reversed(axis) ? (axis->taps - 1) * axis->tap_step : 0);
}

/* So many channels of a plane, which begin at `source`; all zeros if that is NULL. */
static void copy_rows(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *m,
                      const fc_winograd_place *place, ptrdiff_t count, const char *source, ptrdiff_t channels,
                      char *copy) {
    const ptrdiff_t position = m->part * size, bytes = channels * size;
    const ptrdiff_t first = m->first_column + m->stride * place->column;
    const ptrdiff_t left = min(m->width, max(0, -first)), from = first + left;
    const ptrdiff_t columns = max(0, min(m->width - left, m->columns - from));
    for (ptrdiff_t n = 0; n < count; n++, copy += m->width * position) {
        const ptrdiff_t i = m->first_row + m->stride * place->row + n * m->row_step;
        const int inside = source && i >= 0 && i < m->rows && columns > 0;
        for (ptrdiff_t q = 0; q < (inside ? left : m->width); q++) memset(copy + q * position, 0, (size_t)bytes);
        for (ptrdiff_t q = left + columns; inside && q < m->width; q++) memset(copy + q * position, 0, (size_t)bytes);
        if (!inside) continue;
        const char *row = source + (i * m->row + from * m->column) * size;
        if (m->channel != 1) {
            kernels->transpose(channels, columns, row, m->channel, copy + left * position, m->part);
            continue;
        }
        const fc_padded_lines shape = {.lines = 1, .count = columns, .step = m->column,
                                      .inner = m->part, .adjacent = channels};
        kernels->pad(&shape, row, copy + left * position);
    }
}

void fc_winograd_copy(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *m,
                      const fc_winograd_place *place, ptrdiff_t count, ptrdiff_t channel, char *copy) {
    const ptrdiff_t end = min(m->channels, channel + m->part), first = channel;
    if (channel > 0 && end < channel + m->part) memset(copy, 0, (size_t)(count * m->width * m->part * size));
    for (ptrdiff_t channels; channel < end; channel += channels) {
        const ptrdiff_t tap = (m->first + channel) / m->of_tap, of_tap = (m->first + channel) % m->of_tap;
        const ptrdiff_t plane = m->first_plane + place->plane * m->plane_stride + tap * m->plane_step;
        const ptrdiff_t at = place->image * m->image + plane * m->plane + of_tap * m->channel;
        channels = min(end - channel, m->of_tap - of_tap);
        copy_rows(kernels, size, m, place, count,
                  plane >= 0 && plane < m->planes ? (const char *)m->base + at * size : NULL, channels,
                  copy + (channel - first) * size);
    }
}

int fc_winograd_lacks(const fc_winograd_form *form, ptrdiff_t point, ptrdiff_t pitch, ptrdiff_t begin, ptrdiff_t end) {
    if (form->stride == 1) return 0;
    const ptrdiff_t rows = form->taps[0] + form->tile[0] - 1, columns = form->taps[1] + form->tile[1] - 1;
    const int down = point / columns == rows - 1, along = point % columns == columns - 1;
    for (ptrdiff_t residue = begin / pitch; residue <= (end - 1) / pitch; residue++)
        if (!(down && residue / 2 == 1) && !(along && residue % 2 == 1)) return 0;
    return 1;
}

static ptrdiff_t step_of(const fc_axis *axis) {
    return axis->taps == 1 ? 1 : fc_is_reversed(axis) ? -axis->tap_step : axis->tap_step;
}

fc_winograd_grid fc_winograd_grid_of(const fc_correlation *c, const fc_axis *depth, fc_winograd_form form) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_winograd_grid g = {.form = form, .row_step = step_of(h), .column_step = step_of(w),
                          .deep = depth->outputs};
    g.down = quotient_up(quotient_up(h->outputs, g.row_step), g.form.tile[0]);
    fc_winograd_cut(&g, c, fc_winograd_max_across(&g.form));
    return g;
}

void fc_winograd_cut(fc_winograd_grid *g, const fc_correlation *c, ptrdiff_t max_across) {
    const ptrdiff_t of_residue = quotient_up(quotient_up(c->axis[1].outputs, g->column_step), g->form.tile[1]);
    g->of_residue = even_block(of_residue, max(1, max_across / g->column_step));
    g->segments = quotient_up(of_residue, g->of_residue);
    g->across = g->column_step * g->of_residue;
    g->all = c->images * g->row_step * g->segments * g->down;
}

fc_winograd_place fc_winograd_find(const fc_winograd_grid *g, ptrdiff_t line) {
    const ptrdiff_t part = line / g->down, residue = part / g->segments, of_part = line % g->down;
    return (fc_winograd_place){
        .image = residue / g->row_step / g->deep,
        .plane = residue / g->row_step % g->deep,
        .row = residue % g->row_step + of_part * g->form.tile[0] * g->row_step,
        .column = part % g->segments * g->across * g->form.tile[1],
        .below = g->down - of_part,
    };
}

fc_winograd_tiles fc_winograd_tiles_of(const fc_winograd_grid *g, const fc_winograd_images *m, ptrdiff_t target_step,
                                       ptrdiff_t point_step) {
    const ptrdiff_t row = m->stride * m->width * m->part, column = m->stride * g->column_step * m->part;
    return (fc_winograd_tiles){.tiles = g->of_residue, .tile_step = g->form.tile[1] * column, .line_step = row,
                               .position_step = g->form.upright ? row : column,
                               .target_step = target_step, .point_step = point_step};
}

fc_winograd_images fc_winograd_input(const fc_correlation *c, const fc_axis *depth, ptrdiff_t first,
                                     ptrdiff_t channels, const fc_winograd_grid *g, ptrdiff_t size, ptrdiff_t lanes) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t of_tap = c->planes / depth->taps;
    fc_winograd_images images = {
        .base = c->x ? c->x + c->x_plane[0] * size : NULL,
        .image = c->x_image,
        .plane = depth->source_stride,
        .row = h->source_stride,
        .row_step = g->row_step,
        .column = w->source_stride,
        .channel = of_tap > 1 ? c->x_plane[1] - c->x_plane[0] : 1,
        .planes = depth->size,
        .rows = h->size,
        .columns = w->size,
        .first_row = lowest(h),
        .first_column = lowest(w),
        .first_plane = depth->tap,
        .plane_step = depth->tap_step,
        .plane_stride = depth->stride,
        .of_tap = of_tap,
        .first = first,
        .channels = channels,
        .stride = g->form.stride,
        .width = g->form.stride * (g->form.tile[1] * g->across + (g->form.taps[1] - 1) * g->column_step),
        .pitch = quotient_up(channels, lanes) * lanes,
    };
    images.part = fc_winograd_part(&images, lanes);
    return images;
}
