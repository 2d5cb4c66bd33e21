/* The blocks of a unit: planes are filled, dy is transposed, and tiles add their products to the sums. */
#include <string.h>

#include "weights_shared.h"

/* What is multiplied of a block at a time: planes and channels [first, end), the latter's dy. */
typedef struct {
    fc_block block;
    ptrdiff_t first_plane, end_plane, first_channel, end_channel;
    const char *dy;
    int accumulate; /* earlier blocks have been summed */
} step;

static ptrdiff_t tile_channels(const fc_weights_job *j) { return fc_weights_tile_channels(&j->layout, j->kernels); }

static ptrdiff_t pixels_of(const fc_block *b) { return b->count[0] * b->count[1] * b->count[2]; }

/* Offsets of the block's pixels in a plane, and in dy. */
static void set_offsets(const fc_weights_job *j, const fc_weights_scratch *s, const fc_block *block) {
    const fc_weights_layout *l = &j->layout;
    const fc_correlation *c = j->c;
    const ptrdiff_t *pitch = l->blocks.pitch, tile = tile_channels(j);
    const ptrdiff_t y_line = c->axis[0].target_stride, y_column = c->axis[1].target_stride;
    ptrdiff_t i = 0;
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t h = 0; h < block->count[1]; h++)
            for (ptrdiff_t w = 0; w < block->count[2]; w++, i++) {
                s->x_offsets[i] = l->panel ? i * l->panel : n * pitch[0] + h * pitch[1] + w * pitch[2];
                s->y_offsets[i] = l->dy_in_place ? n * c->y_image + h * y_line + w * y_column : i * tile;
            }
}

/* Image 0 and channel 0 of the block, in dy. */
static const char *find_dy(const fc_weights_job *j, const fc_block *block) {
    const fc_correlation *c = j->c;
    return j->gradient->dy +
           (block->start[0] * c->y_image + block->start[1] * c->axis[0].target_stride +
            block->start[2] * c->axis[1].target_stride) * j->size;
}

/* Lines of the block's outputs in an image, and their length: one where whole lines follow each other. */
static void find_lines(const fc_weights_job *j, const fc_block *block, ptrdiff_t *lines, ptrdiff_t *length) {
    const fc_axis *h = &j->c->axis[0], *w = &j->c->axis[1];
    *lines = block->count[1];
    *length = block->count[2];
    if (*length != w->outputs || h->target_stride != *length * w->target_stride) return;
    *length *= *lines;
    *lines = 1;
}

/* dy of the block's pixels and of channels [first, end) of a tile, channels adjacent. */
static void transpose_dy(const fc_weights_job *j, const fc_block *block, ptrdiff_t first, ptrdiff_t end, char *target) {
    const fc_correlation *c = j->c;
    const fc_kernels *k = j->kernels;
    const ptrdiff_t y_line = c->axis[0].target_stride, y_column = c->axis[1].target_stride;
    const ptrdiff_t pitch = tile_channels(j), size = j->size;
    ptrdiff_t lines, length;
    find_lines(j, block, &lines, &length);
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t line = 0; line < lines; line++, target += length * pitch * size) {
            const char *source = find_dy(j, block) + (n * c->y_image + first * c->y_channel + line * y_line) * size;
            if (y_column == 1) {
                k->transpose(end - first, length, source, c->y_channel, target, pitch);
                continue;
            }
            for (ptrdiff_t i = 0; i < length; i++)
                k->copy(end - first, source + i * y_column * size, c->y_channel, target + i * pitch * size);
        }
}

/* Fetches what transpose_dy reads next, of a block and of channels [first, end), while `terms` terms are multiplied:
 * rn50_l2_down1x1 takes 0.95 of the time, vgg_c1_1 0.91. */
static void plan_fetch(const fc_weights_job *j, fc_fetch *f, const fc_block *next, ptrdiff_t first, ptrdiff_t end,
                       ptrdiff_t terms) {
    const fc_correlation *c = j->c;
    ptrdiff_t lines, length;
    find_lines(j, next, &lines, &length);
    *f = (fc_fetch){.from = find_dy(j, next), .offsets = f->offsets};
    if (!terms || j->layout.dy_in_place || c->axis[1].target_stride != 1) return;
    if (next->count[0] * (end - first) * lines > FC_WEIGHTS_MAX_RUNS) return;
    for (ptrdiff_t n = 0; n < next->count[0]; n++)
        for (ptrdiff_t channel = first; channel < end; channel++)
            for (ptrdiff_t line = 0; line < lines; line++)
                f->offsets[f->runs++] = n * c->y_image + channel * c->y_channel + line * c->axis[0].target_stride;
    fc_spread_fetch(f, j->size, length, terms);
}

/* Planes [first, end) of the block's pixels, a few pixels at a time: few cache lines are read side by side. */
static void fill_panels(const fc_weights_job *j, const fc_weights_scratch *s, const fc_block *block, ptrdiff_t first,
                        ptrdiff_t end) {
    enum { AT_ONCE = 8 };
    const fc_weights_layout *l = &j->layout;
    const ptrdiff_t *pitch = l->blocks.pitch, panel = l->panel, size = j->size;
    const ptrdiff_t offset = fc_block_offset(&l->blocks, block) + fc_tap_offset(&l->blocks, 0, 0);
    const char *image = fc_plane(j->c, first, size) + offset * size;
    const ptrdiff_t whole = (end - first) / panel, rest = (end - first) % panel;
    char *target = s->planes;
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t h = 0; h < block->count[1]; h++)
            for (ptrdiff_t w = 0; w < block->count[2]; w += AT_ONCE) {
                const char *source = image + (n * pitch[0] + h * pitch[1] + w * pitch[2]) * size;
                fc_padded_lines lines = {.lines = whole, .count = min(AT_ONCE, block->count[2] - w),
                                         .source_pitch = panel, .step = pitch[2], .target_pitch = l->panel_stride,
                                         .inner = panel, .adjacent = panel};
                j->kernels->pad(&lines, source, target);
                if (rest) {
                    lines.lines = 1;
                    lines.adjacent = rest;
                    j->kernels->pad(&lines, source + whole * panel * size, target + whole * l->panel_stride * size);
                }
                target += lines.count * panel * size;
            }
}

/* Where the sums of a column of tiles find dy, the first of them `dy`: in place, or in a copy. */
static const char *find_column(const fc_weights_job *j, const char *dy, ptrdiff_t column) {
    const ptrdiff_t *size = j->layout.blocks.size;
    return dy + column * (j->layout.dy_in_place ? 1 : size[0] * size[1] * size[2]) * j->size;
}

/* All tiles of some rows of sums, the first at `sums`: columns [first_channel, end_channel). */
static void multiply_rows(const fc_weights_job *j, const step *s, ptrdiff_t height, fc_fetch *fetch, fc_tile *tile,
                          char *sums) {
    const fc_kernels *k = j->kernels;
    const ptrdiff_t width = tile_channels(j);
    for (ptrdiff_t channel = s->first_channel; channel < s->end_channel; channel += width) {
        const ptrdiff_t tile_vectors = min(j->layout.tile_vectors, quotient_up(s->end_channel - channel, k->lanes));
        tile->b = find_column(j, s->dy, channel - s->first_channel);
        tile->c = sums + (channel - s->first_channel) * j->size;
        if (fetch) fc_fetch_ahead(fetch, tile);
        k->gemm[height - 1][tile_vectors - 1](tile);
    }
}

/* Tap 0 of a plane for the block's first pixel, of the planes from first_plane on that are filled. */
static const char *find_plane(const fc_weights_job *j, const fc_weights_scratch *s, const step *t, ptrdiff_t plane) {
    const fc_blocks *b = &j->layout.blocks;
    if (b->in_place)
        return fc_plane(j->c, t->first_plane + plane, j->size) + fc_block_offset(b, &t->block) * j->size;
    return s->planes + plane * (b->inner > 1 ? 1 : b->plane_stride) * j->size;
}

/* Channels by the taps of planes, of one block; `sums`: of the first plane's first tap and the first channel. */
static void multiply(const fc_weights_job *j, fc_weights_scratch *s, const step *t, char *sums) {
    const fc_weights_layout *l = &j->layout;
    const ptrdiff_t taps_w = j->c->axis[1].taps, taps = fc_weights_taps(j->c), panel = l->panel;
    const ptrdiff_t rows = (t->end_plane - t->first_plane) * taps;
    const void *x_rows[FC_MAX_TILE_ROWS];
    fc_tile tile = {
        .depth = pixels_of(&t->block),
        .a_rows = x_rows,
        .a_offsets = s->x_offsets,
        .b_offsets = s->y_offsets,
        .c_row = l->pitch,
        .accumulate = t->accumulate,
    };
    for (ptrdiff_t row = 0; row < rows; row += l->tile_rows) {
        const ptrdiff_t height = min(l->tile_rows, rows - row);
        if (fc_stopped(j->run)) return;
        for (ptrdiff_t i = 0; i < height; i++) {
            const ptrdiff_t plane = (row + i) / taps, tap = (row + i) % taps;
            const char *first = panel ? s->planes + (row / panel * l->panel_stride + row % panel + i) * j->size
                                      : find_plane(j, s, t, plane);
            x_rows[i] = first + fc_tap_offset(&l->blocks, tap / taps_w, tap % taps_w) * j->size;
        }
        multiply_rows(j, t, height, &s->fetch, &tile, sums + row * l->pitch * j->size);
    }
}

/* Sets the offsets of those of the block's pixels for which tap (r, q) lies inside; returns their number. */
static ptrdiff_t set_offsets_of_tap(const fc_weights_job *j, const fc_weights_scratch *s, const fc_block *block,
                                    ptrdiff_t r, ptrdiff_t q) {
    const fc_axis *axis = j->c->axis;
    const ptrdiff_t *pitch = j->layout.blocks.pitch, tile = tile_channels(j);
    ptrdiff_t i = 0, pixel = 0;
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t h = 0; h < block->count[1]; h++) {
            const ptrdiff_t line = (block->start[1] + h) * axis[0].stride + axis[0].tap + r * axis[0].tap_step;
            for (ptrdiff_t w = 0; w < block->count[2]; w++, pixel++) {
                const ptrdiff_t position = (block->start[2] + w) * axis[1].stride + axis[1].tap + q * axis[1].tap_step;
                if (line < 0 || line >= axis[0].size || position < 0 || position >= axis[1].size) continue;
                s->x_offsets[i] = n * pitch[0] + h * pitch[1] + w * pitch[2];
                s->y_offsets[i++] = pixel * tile;
            }
        }
    return i;
}

/* What `multiply` does, tap by tap; it leaves the offsets of all pixels to be set again. */
static void multiply_by_tap(const fc_weights_job *j, const fc_weights_scratch *s, const step *t, char *sums) {
    const fc_weights_layout *l = &j->layout;
    const ptrdiff_t taps_w = j->c->axis[1].taps, taps = fc_weights_taps(j->c);
    const void *x_rows[FC_MAX_TILE_ROWS];
    fc_tile tile = {
        .a_rows = x_rows,
        .a_offsets = s->x_offsets,
        .b_offsets = s->y_offsets,
        .c_row = taps * l->pitch,
        .accumulate = t->accumulate,
    };
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        const ptrdiff_t x = fc_tap_offset(&l->blocks, tap / taps_w, tap % taps_w);
        tile.depth = set_offsets_of_tap(j, s, &t->block, tap / taps_w, tap % taps_w);
        if (fc_stopped(j->run)) return;
        for (ptrdiff_t plane = t->first_plane; plane < t->end_plane; plane += l->tile_rows) {
            const ptrdiff_t height = min(l->tile_rows, t->end_plane - plane), row = plane - t->first_plane;
            for (ptrdiff_t i = 0; i < height; i++) x_rows[i] = find_plane(j, s, t, row + i) + x * j->size;
            multiply_rows(j, t, height, NULL, &tile, sums + (row * taps + tap) * l->pitch * j->size);
        }
    }
}

/* db of the block, in double. */
static void sum_dy(const fc_weights_job *j, const fc_weights_scratch *s, const fc_block *block, const char *dy,
                   ptrdiff_t channels, double *sums) {
    const ptrdiff_t *at = s->y_offsets, run = j->layout.dy_in_place ? block->count[2] : pixels_of(block);
    for (ptrdiff_t i = 0; i < pixels_of(block); i += run)
        j->kernels->sum(run, channels, dy + at[i] * j->size, run > 1 ? at[i + 1] - at[i] : 0, sums);
}

/* Finds dy of the step's channels, in place or transposed, and adds it to `bias_sums` unless that is NULL. By tap, it
 * tells whether all of it is finite. */
static const char *prepare_dy(fc_weights_job *j, const fc_weights_scratch *s, const step *t, double *bias_sums) {
    const ptrdiff_t tile = tile_channels(j);
    const int in_place = j->layout.dy_in_place;
    const char *dy = in_place ? find_dy(j, &t->block) + t->first_channel * j->size : s->dy;
    for (ptrdiff_t channel = t->first_channel; channel < t->end_channel; channel += tile) {
        const ptrdiff_t end = min(t->end_channel, channel + tile);
        const char *column = find_column(j, dy, channel - t->first_channel);
        if (!in_place) transpose_dy(j, &t->block, channel, end, s->dy + (column - dy));
        if (bias_sums) sum_dy(j, s, &t->block, column, end - channel, bias_sums + channel);
        if (j->layout.by_tap && !j->kernels->finite(pixels_of(&t->block) * tile, column)) j->not_finite = 1;
    }
    return dy;
}

/* Fetches what is read after a step of block `index`: the next channels of the block, its first ones again, or those of
 * the next block. */
static void fetch_next(const fc_weights_job *j, fc_weights_scratch *s, const fc_weights_unit *u, const step *t,
                       ptrdiff_t index) {
    const fc_weights_layout *l = &j->layout;
    const int again = t->end_channel < u->end_channel || t->end_plane < u->end_plane;
    const fc_block next = again ? t->block : fc_find_block(&l->blocks, min(index + 1, u->end_block - 1));
    const ptrdiff_t first = t->end_channel < u->end_channel ? t->end_channel : u->first_channel;
    const ptrdiff_t rows = (t->end_plane - t->first_plane) * fc_weights_taps(j->c);
    const ptrdiff_t tiles = quotient_up(rows, l->tile_rows) *
                            quotient_up(t->end_channel - t->first_channel, tile_channels(j));
    plan_fetch(j, &s->fetch, &next, first, min(u->end_channel, first + l->channels),
               again || index + 1 < u->end_block ? tiles * pixels_of(&t->block) : 0);
}

/* Adds a block to the sums of the step's planes, whose copies are filled. */
static void add_planes(fc_weights_job *j, fc_weights_scratch *s, const fc_weights_unit *u, step *t, ptrdiff_t index) {
    const fc_weights_layout *l = &j->layout;
    const ptrdiff_t row = (t->first_plane - u->first_plane) * fc_weights_taps(j->c);
    for (ptrdiff_t channel = u->first_channel; channel < u->end_channel; channel += l->channels) {
        t->first_channel = channel;
        t->end_channel = min(u->end_channel, channel + l->channels);
        if (fc_stopped(j->run)) return;
        t->dy = prepare_dy(j, s, t, t->first_plane == u->first_plane ? u->bias_sums : NULL);
        if (!j->gradient->has_dw) continue;
        char *sums = u->sums + (row * l->pitch + channel - u->first_channel) * j->size;
        if (l->by_tap) {
            multiply_by_tap(j, s, t, sums);
            set_offsets(j, s, &t->block);
        } else {
            fetch_next(j, s, u, t, index);
            multiply(j, s, t, sums);
        }
    }
}

void fc_sum_weights(fc_weights_job *j, fc_weights_scratch *s, const fc_weights_unit *u) {
    const fc_weights_layout *l = &j->layout;
    const int has_dw = j->gradient->has_dw;
    const ptrdiff_t planes = has_dw ? l->planes : u->end_plane - u->first_plane;
    fc_block before;
    FC_ASSERT(u->first_block < u->end_block && u->first_plane < u->end_plane);
    FC_ASSERT(u->end_channel - u->first_channel <= l->held_channels);
    for (ptrdiff_t index = u->first_block; index < u->end_block; index++) {
        step t = {.block = fc_find_block(&l->blocks, index), .accumulate = index > u->first_block};
        if (!t.accumulate || memcmp(before.count, t.block.count, sizeof before.count) != 0)
            set_offsets(j, s, &t.block);
        before = t.block;
        for (ptrdiff_t first = u->first_plane; first < u->end_plane; first += planes) {
            t.first_plane = first;
            t.end_plane = min(u->end_plane, first + planes);
            if (fc_stopped(j->run)) return;
            if (l->panel)
                fill_panels(j, s, &t.block, first, t.end_plane);
            else if (has_dw && !l->blocks.in_place)
                fc_fill_block(j->kernels, j->size, &l->blocks, &t.block, j->c->x, j->c->x_plane + first,
                              t.end_plane - first, s->planes);
            add_planes(j, s, u, &t, index);
        }
    }
}
