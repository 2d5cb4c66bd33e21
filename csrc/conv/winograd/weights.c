/* dw by the adjoints of Winograd's algorithms in the weights, F(3x3, 4x4) for F(4x4, 3x3): as many products
 * as forward. Tiles of x and of dy are transformed, a block of them at a time, and multiplied by a GEMM a point, whose
 * depth is the tiles; sums of all blocks are transformed back at the end.
 *
 * Threads share out ranges of channels, for each of which one transforms all that it needs (tiles that
 * another one transformed would come from its cache: 0.5 to 0.9 of the speed on two threads), and, where
 * tiles are many, splits of them, whose number depends on the problem alone. */
#include "weights.h"

#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "../../tuning.h"

enum { CHAIN = FC_WINOGRAD_CHAIN };

/* What a task keeps. */
typedef struct {
    char *copy;         /* [line][position][channel] of x or dy */
    char *v, *m;        /* [panel][point][tile][plane] of x, [vector][point][tile][output channel] of dy */
    char *sums;         /* [panel][strip][point][row][plane] */
    char *taps;         /* [tap][plane] of a vector of planes */
    ptrdiff_t *channel; /* bytes from the first output channel to each in m */
} scratch;

/* The sums of a group as a call runs them. */
typedef struct {
    const fc_winograd_gradient *s;
    const fc_weights_gradient *gradient;
    fc_run *run;
    char *sums;        /* [split][range] as in scratch, if there are several splits */
    double *bias_sums; /* [split][output channel], or NULL */
    FC_ATOMIC int not_finite;
} job;

static ptrdiff_t ranges_of(const fc_winograd_gradient *s) { return s->out_ranges * s->in_ranges; }

static ptrdiff_t taps_of(const fc_winograd_gradient *s) { return s->grid.form.taps[0] * s->grid.form.taps[1]; }

static size_t taps_bytes(const fc_winograd_gradient *s) { return (size_t)(taps_of(s) * s->lanes * s->size); }

/* Lines of x in a copy of so many lines of tiles. */
static ptrdiff_t copied_lines(const fc_winograd_gradient *s, ptrdiff_t lines_of_tiles) {
    const fc_winograd_form *form = &s->grid.form;
    return form->stride * (form->tile[0] * lines_of_tiles + form->taps[0] - 1);
}

/* Elements of a line of the copy, of x or of dy, whichever has more. */
static ptrdiff_t copy_line(const fc_winograd_range *r) {
    return max(r->x.width * r->x.copy_channels, r->dy.width * r->dy.copy_channels);
}

static fc_winograd_range range_of(const fc_winograd_gradient *s, ptrdiff_t number) {
    fc_winograd_range r = {
        .first_out = number / s->in_ranges * s->range_out_channels,
        .first_plane = number % s->in_ranges * s->range_in_planes,
        .x = s->x,
        .dy = s->dy,
    };
    FC_ASSERT(0 <= number && number < ranges_of(s));
    r.out_channels = min(s->range_out_channels, s->out_channels - r.first_out);
    const ptrdiff_t channels = min(s->range_in_planes, s->in_planes - r.first_plane);
    fc_winograd_read(&r.x, r.first_plane, channels, s->lanes);
    fc_winograd_read(&r.dy, 0, r.out_channels, s->lanes);
    r.planes = fc_winograd_planes(&s->grid.form, channels, s->lanes);
    r.panels = quotient_up(r.planes, s->panel);
    r.strips = quotient_up(r.out_channels, s->tile_rows);
    return r;
}

static size_t lay_out(const fc_winograd_gradient *s, const fc_winograd_range *r, scratch *w, char *base) {
    const ptrdiff_t size = s->size;
    const ptrdiff_t tiles = s->whole ? s->group : s->splits > 1 ? 0 : r->panels * r->strips;
    size_t used = 0;
    w->copy = fc_carve(base, &used, copied_lines(s, s->copy_lines) * copy_line(r) * size);
    w->v = fc_carve(base, &used, r->panels * s->v_panel * size);
    w->m = fc_carve(base, &used, r->dy.pitch / s->lanes * s->m_vector * size);
    w->sums = fc_carve(base, &used, tiles * s->sums_tile * size);
    w->taps = fc_carve(base, &used, (ptrdiff_t)taps_bytes(s));
    w->channel = fc_carve(base, &used, r->out_channels * (ptrdiff_t)sizeof *w->channel);
    return used;
}

/* ---- Planning ---- */

/* Where dy lies, without an address. */
static fc_winograd_images output_images(const fc_correlation *c, const fc_axis *depth, const fc_winograd_grid *g) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    return (fc_winograd_images){
        .image = c->y_image,
        .plane = depth->target_stride,
        .planes = depth->outputs,
        .plane_stride = 1,
        .tap_channels = c->out_channels,
        .line = h->target_stride,
        .line_step = g->line_step,
        .stride = 1,
        .column = w->target_stride,
        .channel = c->y_channel,
        .lines = h->outputs,
        .columns = w->outputs,
        .width = g->form.tile[1] * g->across,
    };
}

/* Sets ranges of so many channels, and what the first of them has in common with all. */
static void set_ranges(fc_winograd_gradient *s, ptrdiff_t out_channels, ptrdiff_t in_planes) {
    const ptrdiff_t lanes = s->lanes, points = s->grid.form.points, tiles = s->block_lines * s->grid.across;
    s->range_out_channels = out_channels;
    s->range_in_planes = in_planes;
    s->out_ranges = quotient_up(s->out_channels, out_channels);
    s->in_ranges = quotient_up(s->in_planes, in_planes);
    const ptrdiff_t planes = fc_winograd_planes(&s->grid.form, in_planes, lanes);
    s->tile_vectors = fc_winograd_tile_vectors(s->kernels, quotient_up(planes, lanes), FC_MAX_TILE_VECTORS);
    s->tile_rows = s->kernels->winograd_tile_rows[s->tile_vectors - 1];
    s->panel = s->tile_vectors * lanes;
    s->first = range_of(s, 0);
    s->sums_point = s->tile_rows * s->panel;
    s->sums_tile = points * s->sums_point;
    s->sums_range = s->first.panels * s->first.strips * s->sums_tile;
    s->group = min(s->first.strips, max(1, FC_WINOGRAD_DW_GROUP_BYTES / (s->sums_tile * s->size)));
    s->whole = s->block_lines == s->grid.lines && s->splits == 1;
    s->v_point = tiles * s->panel + lanes;
    s->v_panel = points * s->v_point;
    s->m_point = tiles * lanes + lanes;
    s->m_vector = points * s->m_point;
    const ptrdiff_t line = copied_lines(s, 1) * s->size * copy_line(&s->first);
    s->copy_lines = max(1, min(min(s->block_lines, s->grid.down), FC_WINOGRAD_COPY_BYTES / line));
}

static ptrdiff_t half(ptrdiff_t channels, ptrdiff_t lanes) { return quotient_up(channels, 2 * lanes) * lanes; }

/* Cuts channels until a thread's workspace is enough, and until there are units for all threads. */
static void plan_ranges(fc_winograd_gradient *s, int threads) {
    ptrdiff_t out_channels = s->out_channels, in_planes = s->in_planes;
    for (;;) {
        scratch w;
        set_ranges(s, out_channels, in_planes);
        const ptrdiff_t larger = max(out_channels, in_planes), units = ranges_of(s) * s->splits;
        const ptrdiff_t shared = s->splits > 1 ? units * s->sums_range * s->size : 0;
        const int fits = (ptrdiff_t)lay_out(s, &s->first, &w, NULL) + shared <= FC_WINOGRAD_DW_MAX_BYTES;
        if (larger <= s->lanes || (fits && (units >= threads || larger < 2 * FC_WINOGRAD_DW_MIN_RANGE))) {
            s->tasks = min(units, threads);
            return;
        }
        if (out_channels > in_planes) out_channels = half(out_channels, s->lanes);
        else in_planes = half(in_planes, s->lanes);
    }
}

fc_winograd_gradient fc_winograd_plan_weights(const fc_conv_job *cj, fc_winograd_form form, const fc_correlation *c,
                                              const fc_axis *depth) {
    fc_winograd_gradient s = {
        .kernels = cj->kernels,
        .transforms = &cj->kernels->winograd[form.shape],
        .size = cj->size,
        .lanes = cj->kernels->lanes,
        .depth = *depth,
        .grid = fc_winograd_grid_of(c, depth, form),
        .out_channels = c->out_channels,
        .in_planes = c->planes,
        .splits = 1,
    };
    FC_ASSERT(!form.spread && s.lanes * s.size <= FC_WINOGRAD_VECTOR_BYTES);
    s.x = fc_winograd_input(c, depth, &s.grid, s.lanes);
    s.dy = output_images(c, depth, &s.grid);
    /* Blocks and splits depend neither on ranges nor on threads, so that the sums do not. */
    const ptrdiff_t tile = form.points * s.size * (fc_winograd_planes(&form, c->planes, s.lanes) + c->out_channels);
    const ptrdiff_t tiles = max(FC_WINOGRAD_DW_MIN_TILES, FC_WINOGRAD_DW_BLOCK_BYTES / tile);
    s.block_lines = min(s.grid.lines, max(1, tiles / s.grid.across));
    set_ranges(&s, c->out_channels, c->planes);
    const ptrdiff_t splits = min(s.grid.lines * s.grid.across / FC_WINOGRAD_DW_SPLIT_TILES,
                                 FC_WINOGRAD_DW_SPLIT_BYTES / (s.sums_range * s.size));
    while (2 * s.splits <= min(splits, FC_WINOGRAD_DW_MAX_SPLITS)) s.splits *= 2;
    plan_ranges(&s, cj->run.threads);
    return s;
}

/* Bytes that the tasks share: sums of all splits, and of db. */
static size_t shared_sums_bytes(const fc_winograd_gradient *s) {
    return s->splits > 1 ? (size_t)(s->splits * ranges_of(s) * s->sums_range * s->size) : 0;
}

static size_t bias_sums_bytes(const fc_winograd_gradient *s, int has_db) {
    return has_db ? (size_t)(s->splits * s->out_channels) * sizeof(double) : 0;
}

size_t fc_winograd_gradient_bytes(const fc_winograd_gradient *s, int has_db) {
    scratch w;
    return (size_t)s->tasks * lay_out(s, &s->first, &w, NULL) + shared_sums_bytes(s) + bias_sums_bytes(s, has_db);
}

/* ---- Tiles, products ---- */

/* A range with the addresses of a call. */
static fc_winograd_range bind(const job *j, ptrdiff_t number) {
    const fc_correlation *c = &j->gradient->c;
    fc_winograd_range r = range_of(j->s, number);
    r.x.base = c->x + c->x_plane[0] * j->s->size;
    r.dy.base = j->gradient->dy + r.first_out * c->y_channel * j->s->size;
    return r;
}

/* Transforms the tiles of x, or, not `of_x`, of dy, of a block from its line `first` on. `bias_sums`: NULL, or where
 * the sum of each channel is added. */
static void transform(const job *j, const fc_winograd_range *r, const scratch *w, int of_x, ptrdiff_t first,
                      ptrdiff_t lines, double *bias_sums) {
    const fc_winograd_gradient *s = j->s;
    const fc_winograd_images *m = of_x ? &r->x : &r->dy;
    const fc_winograd_grid *g = &s->grid;
    const ptrdiff_t size = s->size, width = of_x ? s->panel : s->lanes, together = m->copy_channels;
    const ptrdiff_t stride = m->stride, down = stride * g->form.tile[0];
    const fc_winograd_tiles tiles = fc_winograd_tiles_of(g, m, width, of_x ? s->v_point : s->m_point);
    /* What is not copied, beside the channels. */
    if (together > m->channels)
        memset(w->copy, 0, (size_t)(copied_lines(s, s->copy_lines) * m->width * together * size));
    for (ptrdiff_t line = first; line < first + lines && !fc_stopped(j->run);) {
        const fc_winograd_place place = fc_winograd_find(g, line);
        const ptrdiff_t count = min(min(s->copy_lines, first + lines - line), place.below);
        const ptrdiff_t copied = of_x ? copied_lines(s, count) : down * count;
        for (ptrdiff_t channel = 0; channel < m->pitch; channel += s->lanes) {
            const ptrdiff_t beside = channel % together;
            if (!beside) {
                fc_winograd_copy(s->kernels, size, m, &place, copied, channel, w->copy);
                if (bias_sums)
                    s->kernels->sum(copied * m->width, min(together, m->channels - channel), w->copy, together,
                                    bias_sums + channel);
            }
            for (ptrdiff_t i = 0; i < count * g->column_step * stride * stride; i++) {
                const ptrdiff_t residue = i % (stride * stride), plane = residue * m->pitch + channel;
                const ptrdiff_t below = i / (stride * stride) / g->column_step;
                const ptrdiff_t column = i / (stride * stride) % g->column_step;
                const ptrdiff_t position = (down * below + residue / stride) * m->width + column + residue % stride;
                const char *source = w->copy + (position * together + beside) * size;
                const ptrdiff_t tile = (line - first + below) * g->across + column * g->tiles;
                const ptrdiff_t panel = plane / width, at = tile * width + plane % width;
                if (of_x) s->transforms->input(&tiles, source, w->v + (panel * s->v_panel + at) * size);
                else s->transforms->output_gradient(&tiles, source, w->m + (panel * s->m_vector + at) * size);
            }
        }
        line += count;
    }
}

/* The products of some register tiles of a panel, whose points stay in L1. */
static void multiply(const job *j, const fc_winograd_range *r, const scratch *w, ptrdiff_t panel, fc_units strips,
                     ptrdiff_t tiles, int accumulate, char *sums) {
    const fc_winograd_gradient *s = j->s;
    const ptrdiff_t size = s->size, k = strips.begin * s->tile_rows;
    for (ptrdiff_t point = 0; point < s->grid.form.points; point++) {
        if (fc_winograd_lacks(&s->grid.form, point, r->x.pitch, panel * s->panel,
                              min(r->planes, (panel + 1) * s->panel))) {
            for (ptrdiff_t i = 0; i < strips.end - strips.begin && !accumulate; i++)
                memset(sums + (i * s->sums_tile + point * s->sums_point) * size, 0, (size_t)(s->sums_point * size));
            continue;
        }
        for (ptrdiff_t d = 0; d < tiles; d += CHAIN) {
            const ptrdiff_t depth = min(CHAIN, tiles - d);
            const char *v = w->v + (panel * s->v_panel + point * s->v_point + d * s->panel) * size;
            const fc_winograd_reduction reduction = {
                .rows = min(strips.end * s->tile_rows, r->out_channels) - k,
                .depth = depth,
                .a = w->m + (point * s->m_point + d * s->lanes) * size,
                .channel = w->channel + k,
                .b = v,
                .c = sums + point * s->sums_point * size,
                .c_tile = s->sums_tile,
                .accumulate = accumulate || d > 0,
                .next = v + depth * s->panel * size,
                .fetched = depth * s->panel,
            };
            s->kernels->winograd_reduction[s->tile_vectors - 1](&reduction);
        }
    }
}

/* ---- Sums to dw ---- */

/* One row of a register tile's sums to dw: those of an output channel, and of planes from c0 on. Returns whether they
 * are finite. */
static int store_row(const job *j, const fc_winograd_range *r, char *taps, char *sums, ptrdiff_t k, ptrdiff_t c0) {
    const fc_winograd_gradient *s = j->s;
    const fc_correlation *c = &j->gradient->c;
    const ptrdiff_t size = s->size, lanes = s->lanes, planes = min(s->panel, r->planes - c0);
    const ptrdiff_t stride = s->grid.form.stride;
    const ptrdiff_t down = c->axis[0].weight_step, along = c->axis[1].weight_step;
    const ptrdiff_t first = (r->first_out + k) * c->w_out_channel + c->axis[0].weight + c->axis[1].weight;
    char *dw = j->gradient->dw + first * size;
    const ptrdiff_t across = s->grid.form.taps[1], all = taps_of(s);
    const int packed = stride == 1 && (across == 1 || along == 1) && (across == all || down == across);
    int finite = 1;
    for (ptrdiff_t i = 0; i < planes; i += lanes) {
        const ptrdiff_t residue = stride == 1 ? 0 : (c0 + i) / r->x.pitch, channel = c0 + i - residue * r->x.pitch;
        const ptrdiff_t count = min(lanes, r->x.channels - channel);
        const ptrdiff_t *at = c->w_plane + r->first_plane + channel;
        /* Points that a residue lacks are summed or not by what else is in the panel, and must not count. */
        for (ptrdiff_t point = 0; point < s->grid.form.points; point++)
            if (fc_winograd_lacks(&s->grid.form, point, r->x.pitch, c0 + i, c0 + i + 1))
                memset(sums + (point * s->sums_point + i) * size, 0, (size_t)(lanes * size));
        finite &= s->transforms->weights_gradient(sums + i * size, s->sums_point, taps);
        if (packed && (count == 1 || at[1] - at[0] == all)) {
            s->kernels->transpose(all, count, taps, lanes, dw + at[0] * size, all);
            continue;
        }
        for (ptrdiff_t t = 0; t < all; t++) {
            const ptrdiff_t down_tap = residue / stride + t / across * stride;
            const ptrdiff_t along_tap = residue % stride + t % across * stride;
            if (down_tap >= c->axis[0].taps || along_tap >= c->axis[1].taps) continue;
            const ptrdiff_t tap = down_tap * down + along_tap * along;
            for (ptrdiff_t n = 0; n < count; n++)
                memcpy(dw + (at[n] + tap) * size, taps + (t * lanes + n) * size, (size_t)size);
        }
    }
    return finite;
}

/* Sums of some register tiles of a panel to dw. Returns whether they are finite. */
static int store_sums(const job *j, const fc_winograd_range *r, char *taps, char *sums, ptrdiff_t panel,
                      fc_units strips) {
    const fc_winograd_gradient *s = j->s;
    const ptrdiff_t first = strips.begin * s->tile_rows;
    int finite = 1;
    for (ptrdiff_t k = first; k < min(strips.end * s->tile_rows, r->out_channels); k++) {
        const ptrdiff_t i = k - first, at = i / s->tile_rows * s->sums_tile + i % s->tile_rows * s->panel;
        finite &= store_row(j, r, taps, sums + at * s->size, k, panel * s->panel);
    }
    return finite;
}

/* ---- Tasks ---- */

/* One split of the tiles of one range. */
static void sum_tiles(job *j, const fc_winograd_range *r, const scratch *w, ptrdiff_t number, ptrdiff_t split) {
    const fc_winograd_gradient *s = j->s;
    const fc_units lines = fc_units_of(s->grid.lines, s->splits, split);
    const int sums_bias = j->bias_sums && r->first_plane == 0;
    double *bias_sums = sums_bias ? j->bias_sums + split * s->out_channels + r->first_out : NULL;
    char *all = s->splits > 1 ? j->sums + (split * ranges_of(s) + number) * s->sums_range * s->size : w->sums;
    for (ptrdiff_t first = lines.begin; first < lines.end && !fc_stopped(j->run); first += s->block_lines) {
        const ptrdiff_t count = min(s->block_lines, lines.end - first), tiles = count * s->grid.across;
        const int last = s->splits == 1 && first + count == lines.end;
        transform(j, r, w, 1, first, count, NULL);
        transform(j, r, w, 0, first, count, bias_sums);
        for (ptrdiff_t panel = 0; panel < r->panels && !fc_stopped(j->run); panel++)
            for (ptrdiff_t strip = 0; strip < r->strips; strip += s->group) {
                const fc_units strips = {strip, min(strip + s->group, r->strips)};
                char *sums = all + (s->whole ? 0 : (panel * r->strips + strip) * s->sums_tile * s->size);
                multiply(j, r, w, panel, strips, tiles, first > lines.begin, sums);
                if (last && !store_sums(j, r, w->taps, sums, panel, strips)) j->not_finite = 1;
            }
    }
}

/* Units: splits of ranges. */
static void sum_task(void *context, int task) {
    job *j = context;
    const fc_winograd_gradient *s = j->s;
    const fc_units units = fc_units_of(ranges_of(s) * s->splits, s->tasks, task);
    scratch w;
    char *base = fc_scratch_acquire(lay_out(s, &s->first, &w, NULL));
    if (!base) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped(j->run); u++) {
        const fc_winograd_range r = bind(j, u / s->splits);
        lay_out(s, &r, &w, base);
        for (ptrdiff_t k = 0; k < r.out_channels; k++)
            w.channel[k] = (k / s->lanes * s->m_vector + k % s->lanes) * s->size;
        sum_tiles(j, &r, &w, u / s->splits, u % s->splits);
    }
    fc_scratch_release(base);
}

/* Adds the sums of all splits in their order. Units: register tiles of the first range, for each range. */
static void add_task(void *context, int task) {
    job *j = context;
    const fc_winograd_gradient *s = j->s;
    const ptrdiff_t each = s->first.panels * s->first.strips, step = ranges_of(s) * s->sums_range * s->size;
    const fc_units units = fc_units_of(ranges_of(s) * each, j->run->threads, task);
    char *taps = fc_scratch_acquire(taps_bytes(s));
    if (!taps) {
        fc_stop(j->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped(j->run); u++) {
        const ptrdiff_t number = u / each, at = u % each;
        const fc_winograd_range r = bind(j, number);
        if (at >= r.panels * r.strips) continue;
        const fc_units strip = {at % r.strips, at % r.strips + 1};
        char *sums = j->sums + (number * s->sums_range + at * s->sums_tile) * s->size;
        for (ptrdiff_t split = 1; split < s->splits; split++)
            s->kernels->add(s->sums_tile, sums + split * step, sums);
        if (!store_sums(j, &r, taps, sums, at / r.strips, strip)) j->not_finite = 1;
    }
    fc_scratch_release(taps);
}

static void add_bias_sums(const job *j) {
    const ptrdiff_t channels = j->s->out_channels;
    for (ptrdiff_t k = 0; k < channels; k++) {
        double sum = 0;
        for (ptrdiff_t split = 0; split < j->s->splits; split++) sum += j->bias_sums[split * channels + k];
        fc_put_gradient(j->s->size, j->gradient->db, k, sum, 0);
    }
}

int fc_winograd_sum_weights(const fc_winograd_gradient *s, const fc_weights_gradient *gradient, fc_run *run) {
    job j = {.s = s, .gradient = gradient, .run = run};
    const size_t sums = shared_sums_bytes(s), bias = bias_sums_bytes(s, gradient->has_db);
    FC_ASSERT(gradient->has_dw && gradient->dw && gradient->dy && gradient->c.x);
    char *base = sums + bias ? fc_scratch_acquire(sums + bias) : NULL;
    if (sums + bias && !base) {
        fc_stop(run, FC_NO_MEMORY);
        return 0;
    }
    j.sums = base;
    if (bias) j.bias_sums = memset(base + sums, 0, bias);
    fc_parallel(run, (int)s->tasks, sum_task, &j);
    if (s->splits > 1 && run->status == FC_OK) fc_parallel(run, run->threads, add_task, &j);
    if (bias) add_bias_sums(&j);
    fc_scratch_release(base);
    return j.not_finite;
}
