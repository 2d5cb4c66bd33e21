/* The tiles of images that Winograd's transforms read: where they lie, and their copy with channels side by side. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../tuning.h"
#include "shared.h"

static ptrdiff_t lowest(const fc_axis *axis) {
    return axis->tap + (fc_is_reversed(axis) ? (axis->taps - 1) * axis->tap_step : 0);
}

static ptrdiff_t step_of(const fc_axis *axis) {
    return axis->taps == 1 ? 1 : fc_is_reversed(axis) ? -axis->tap_step : axis->tap_step;
}

fc_winograd_grid fc_winograd_grid_of(const fc_correlation *c, const fc_axis *depth, fc_winograd_form form) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_winograd_grid g = {.form = form, .line_step = step_of(h), .column_step = step_of(w),
                          .depth = depth->outputs};
    FC_ASSERT(form.points > 0);
    g.down = quotient_up(quotient_up(h->outputs, g.line_step), g.form.tile[0]);
    fc_winograd_cut(&g, c, FC_WINOGRAD_LINE_POINTS / form.points);
    return g;
}

void fc_winograd_cut(fc_winograd_grid *g, const fc_correlation *c, ptrdiff_t max_across) {
    const ptrdiff_t of_residue = quotient_up(quotient_up(c->axis[1].outputs, g->column_step), g->form.tile[1]);
    g->tiles = even_block(of_residue, max(1, max_across / g->column_step));
    g->segments = quotient_up(of_residue, g->tiles);
    g->across = g->column_step * g->tiles;
    g->lines = c->images * g->line_step * g->segments * g->down;
}

fc_winograd_place fc_winograd_find(const fc_winograd_grid *g, ptrdiff_t line_of_tiles) {
    FC_ASSERT(0 <= line_of_tiles && line_of_tiles < g->lines);
    const ptrdiff_t segment = line_of_tiles / g->down, down = line_of_tiles % g->down;
    const ptrdiff_t residue = segment / g->segments;
    return (fc_winograd_place){
        .image = residue / g->line_step / g->depth,
        .plane = residue / g->line_step % g->depth,
        .line = residue % g->line_step + down * g->form.tile[0] * g->line_step,
        .column = segment % g->segments * g->across * g->form.tile[1],
        .below = g->down - down,
    };
}

/* All channels of a position are copied at a time where they are adjacent, else a vector, whose lines stay in L1 and
 * come from few streams (all at once, vgg_c1_2 took 1.05 times as long, unet_hi 1.12). */
void fc_winograd_read(fc_winograd_images *images, ptrdiff_t first, ptrdiff_t channels, ptrdiff_t lanes) {
    images->first = first;
    images->channels = channels;
    images->pitch = quotient_up(channels, lanes) * lanes;
    images->copy_channels = images->channel == 1 ? images->pitch : lanes;
}

fc_winograd_images fc_winograd_input(const fc_correlation *c, const fc_axis *depth, const fc_winograd_grid *g,
                                     ptrdiff_t lanes) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t tap_channels = c->planes / depth->taps;
    fc_winograd_images images = {
        .image = c->x_image,
        .plane = depth->source_stride,
        .line = h->source_stride,
        .line_step = g->line_step,
        .column = w->source_stride,
        .channel = tap_channels > 1 ? c->x_plane[1] - c->x_plane[0] : 1,
        .planes = depth->size,
        .lines = h->size,
        .columns = w->size,
        .first_line = lowest(h),
        .first_column = lowest(w),
        .first_plane = depth->tap,
        .plane_step = depth->tap_step,
        .plane_stride = depth->stride,
        .tap_channels = tap_channels,
        .stride = g->form.stride,
        .width = g->form.stride * (g->form.tile[1] * g->across + (g->form.taps[1] - 1) * g->column_step),
    };
    fc_winograd_read(&images, 0, c->planes, lanes);
    return images;
}

/* Copies so many channels of a plane, which begin at `source`; zeros if that is NULL. */
static void copy_lines(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *m,
                       const fc_winograd_place *place, ptrdiff_t count, const char *source, ptrdiff_t channels,
                       char *copy) {
    const ptrdiff_t position = m->copy_channels * size, bytes = channels * size;
    const ptrdiff_t first = m->first_column + m->stride * place->column;
    const ptrdiff_t left = min(m->width, max(0, -first)), from = first + left;
    const ptrdiff_t columns = max(0, min(m->width - left, m->columns - from));
    for (ptrdiff_t n = 0; n < count; n++, copy += m->width * position) {
        const ptrdiff_t i = m->first_line + m->stride * place->line + n * m->line_step;
        const int inside = source && i >= 0 && i < m->lines && columns > 0;
        for (ptrdiff_t q = 0; q < (inside ? left : m->width); q++) memset(copy + q * position, 0, (size_t)bytes);
        for (ptrdiff_t q = left + columns; inside && q < m->width; q++) memset(copy + q * position, 0, (size_t)bytes);
        if (!inside) continue;
        const char *line = source + (i * m->line + from * m->column) * size;
        if (m->channel != 1) {
            kernels->transpose(channels, columns, line, m->channel, copy + left * position, m->copy_channels);
            continue;
        }
        const fc_padded_lines shape = {.lines = 1, .count = columns, .step = m->column,
                                      .inner = m->copy_channels, .adjacent = channels};
        kernels->pad(&shape, line, copy + left * position);
    }
}

void fc_winograd_copy(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *m,
                      const fc_winograd_place *place, ptrdiff_t count, ptrdiff_t channel, char *copy) {
    const ptrdiff_t end = min(m->channels, channel + m->copy_channels), first = channel;
    FC_ASSERT(m->base && channel % m->copy_channels == 0);
    if (channel > 0 && end < channel + m->copy_channels)
        memset(copy, 0, (size_t)(count * m->width * m->copy_channels * size));
    for (ptrdiff_t channels; channel < end; channel += channels) {
        const ptrdiff_t tap = (m->first + channel) / m->tap_channels, of_tap = (m->first + channel) % m->tap_channels;
        const ptrdiff_t plane = m->first_plane + place->plane * m->plane_stride + tap * m->plane_step;
        const ptrdiff_t at = place->image * m->image + plane * m->plane + of_tap * m->channel;
        channels = min(end - channel, m->tap_channels - of_tap);
        copy_lines(kernels, size, m, place, count,
                   plane >= 0 && plane < m->planes ? (const char *)m->base + at * size : NULL, channels,
                   copy + (channel - first) * size);
    }
}

fc_winograd_tiles fc_winograd_tiles_of(const fc_winograd_grid *g, const fc_winograd_images *m, ptrdiff_t target_step,
                                       ptrdiff_t point_step) {
    const ptrdiff_t line = m->stride * m->width * m->copy_channels;
    const ptrdiff_t column = m->stride * g->column_step * m->copy_channels;
    return (fc_winograd_tiles){.tiles = g->tiles, .tile_step = g->form.tile[1] * column, .line_step = line,
                               .position_step = g->form.upright ? line : column,
                               .target_step = target_step, .point_step = point_step};
}
