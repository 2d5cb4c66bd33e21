/* dw by the adjoints of Winograd's algorithms in the weights, F(3x3, 4x4) for F(4x4, 3x3): as many products
 * as forward. Tiles of x and of dy are transformed, a block of them at a time, and multiplied by a GEMM a point, whose
 * depth is the tiles; sums of all blocks are transformed back at the end.
 *
 * Threads share out ranges of channels, for each of which one transforms all that it needs (tiles that
 * another one transformed would come from its cache: 0.5 to 0.9 of the speed on two threads), and, where
 * tiles are many, parts of them, whose number depends on the problem alone. Sums that are not finite are
 * left to gathered GEMMs. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"

enum { CHAIN = FC_WINOGRAD_CHAIN };
/* Of the workspace of one thread and the sums of all parts; channels are cut until it is enough. */
static const ptrdiff_t MAX_BYTES = 15 << 20;
/* Transformed tiles of a block, which should stay in L2, but no fewer tiles than make the adding of sums cheap:
 * 128 took 1.0 to 1.2 times as long as 64 with 64 and 128 channels, which 48 to 96 do alike. */
static const ptrdiff_t BLOCK_BYTES = 1 << 20, MIN_TILES = 64;
/* Sums of register tiles that share the points of a panel: one at a time took 1.1 to 1.3 times as long. */
static const ptrdiff_t GROUP_BYTES = 320 << 10;
/* Tiles of a part, and bytes of the sums of all parts, which must be added: in one part of up to
 * 1024 tiles rn50_l1_3x3 and unet_valid took 1.16 times as long on two threads, on one thread 0.97 to 0.99 times. */
static const ptrdiff_t PART_TILES = 512, PARTS_BYTES = 6 << 20;
enum { MAX_PARTS = 16 };
/* Channels of a range that threads make do with. */
enum { MIN_RANGE = 32 };

/* A range of channels, for which a thread has this. */
typedef struct {
    const fc_weights_gradient *gradient; /* of these channels */
    const fc_correlation *c;             /* the gradient's */
    const fc_kernels *kernels;
    fc_run *run;
    ptrdiff_t size, lanes;
    fc_winograd_images x, dy;
    const fc_winograd_kernels *transforms;
    fc_winograd_grid grid;
    ptrdiff_t lines;             /* rows of tiles of a block */
    ptrdiff_t copied;            /* ... of a copy */
    ptrdiff_t rows, tile_vectors;        /* output channels and vectors of input channels of a register tile */
    ptrdiff_t planes;            /* input channels, with a stride of all its residues */
    ptrdiff_t panel, panels, strips; /* planes of a panel; register tiles along output channels */
    ptrdiff_t group;             /* strips whose sums are in L2 */
    ptrdiff_t v_point, v_panel, m_point, m_strip; /* elements between points, and between (panels, vectors) */
    ptrdiff_t sums_point, sums_tile;
    int whole;                   /* all tiles are one block, of which no more sums are kept than of a group */
    char *copy, *v, *m, *sums;   /* [panel][point][tile][channel], [vector][point][tile][lane], register tiles */
    char *taps;                  /* of a vector of channels */
    ptrdiff_t *channel;          /* of dy: bytes from the first one */
} range;

/* A problem cut into ranges and parts. */
typedef struct {
    const fc_weights_gradient *gradient;
    const fc_correlation *c;     /* the gradient's, of all planes */
    const fc_axis *depth;
    fc_conv_job *job;
    ptrdiff_t rows, planes;      /* channels of a range */
    ptrdiff_t row_ranges, plane_ranges, parts;
    fc_winograd_grid grid;
    fc_weights_gradient first;   /* the first range, than which none is larger: others have its register tiles */
    range largest;
    char *sums;                  /* [part][range][register tile] if there are several parts */
    ptrdiff_t sums_bytes;        /* of a range */
    double *bias_sums;           /* [part][output channel] */
    FC_ATOMIC int not_finite;
} plan;

/* Of x, for so many rows of tiles. */
static ptrdiff_t copied_rows(const range *j, ptrdiff_t lines) {
    return j->grid.form.stride * (j->grid.form.tile[0] * lines + j->grid.form.taps[0] - 1);
}

/* Rows of tiles of x, or, not `of_x`, of dy, which the block has from its row `first` on. */
static void transform(const range *j, int of_x, ptrdiff_t first, ptrdiff_t lines, double *bias_sums) {
    const fc_winograd_images *m = of_x ? &j->x : &j->dy;
    const fc_winograd_grid *g = &j->grid;
    const ptrdiff_t size = j->size, row = m->width * m->part, width = of_x ? j->panel : j->lanes;
    const ptrdiff_t stride = m->stride, down = stride * g->form.tile[0], more = stride * (g->form.taps[0] - 1);
    const fc_winograd_tiles tiles = fc_winograd_tiles_of(g, m, width, of_x ? j->v_point : j->m_point);
    /* What is not copied, beside the channels. */
    if (m->part > m->channels) memset(j->copy, 0, (size_t)(copied_rows(j, j->copied) * row * size));
    for (ptrdiff_t line = first; line < first + lines && !fc_stopped(j->run);) {
        const fc_winograd_place place = fc_winograd_find(g, line);
        const ptrdiff_t count = min(min(j->copied, first + lines - line), place.below);
        const ptrdiff_t rows = down * count + (of_x ? more : 0);
        for (ptrdiff_t channel = 0; channel < m->pitch; channel += j->lanes) {
            const ptrdiff_t of_part = channel % m->part;
            if (!of_part) {
                fc_winograd_copy(j->kernels, size, m, &place, rows, channel, j->copy);
                if (bias_sums)
                    j->kernels->sum(rows * m->width, min(m->part, m->channels - channel), j->copy, m->part,
                                    bias_sums + channel);
            }
            for (ptrdiff_t i = 0; i < count * g->column_step * stride * stride; i++) {
                const ptrdiff_t residue = i % (stride * stride), plane = residue * m->pitch + channel;
                const ptrdiff_t line_of = i / (stride * stride) / g->column_step;
                const ptrdiff_t column = i / (stride * stride) % g->column_step;
                const ptrdiff_t position = (down * line_of + residue / stride) * m->width + column + residue % stride;
                const char *source = j->copy + (position * m->part + of_part) * size;
                const ptrdiff_t tile = (line - first + line_of) * g->across + column * g->of_residue;
                const ptrdiff_t panel = plane / width, at = tile * width + plane % width;
                if (of_x) j->transforms->input(&tiles, source, j->v + (panel * j->v_panel + at) * size);
                else j->transforms->output_gradient(&tiles, source, j->m + (panel * j->m_strip + at) * size);
            }
        }
        line += count;
    }
}

/* The products of register tiles `strip` to `end` of a panel, whose points stay in L1. */
static void multiply(const range *j, ptrdiff_t panel, ptrdiff_t strip, ptrdiff_t end, ptrdiff_t tiles, int accumulate,
                     char *sums) {
    const ptrdiff_t size = j->size, k = strip * j->rows;
    for (ptrdiff_t point = 0; point < j->grid.form.points; point++) {
        if (fc_winograd_lacks(&j->grid.form, point, j->x.pitch, panel * j->panel,
                              min(j->planes, (panel + 1) * j->panel))) {
            for (ptrdiff_t i = 0; i < end - strip && !accumulate; i++)
                memset(sums + (i * j->sums_tile + point * j->sums_point) * size, 0, (size_t)(j->sums_point * size));
            continue;
        }
        for (ptrdiff_t d = 0; d < tiles; d += CHAIN) {
            const ptrdiff_t depth = min(CHAIN, tiles - d);
            const char *v = j->v + (panel * j->v_panel + point * j->v_point + d * j->panel) * size;
            const fc_winograd_reduction reduction = {
                .rows = min(end * j->rows, j->c->rows) - k,
                .depth = depth,
                .a = j->m + (point * j->m_point + d * j->lanes) * size,
                .channel = j->channel + k,
                .b = v,
                .c = sums + point * j->sums_point * size,
                .c_tile = j->sums_tile,
                .accumulate = accumulate || d > 0,
                .next = v + depth * j->panel * size,
                .fetched = depth * j->panel,
            };
            j->kernels->winograd_reduction[j->tile_vectors - 1](&reduction);
        }
    }
}

static ptrdiff_t taps_of(const range *j) { return j->grid.form.taps[0] * j->grid.form.taps[1]; }

/* One row of a register tile's sums to dw: those of one output channel. */
static int store_row(const range *j, char *sums, ptrdiff_t k, ptrdiff_t c0) {
    const fc_correlation *c = j->c;
    const ptrdiff_t size = j->size, lanes = j->lanes, planes = min(j->panel, j->planes - c0);
    const ptrdiff_t stride = j->grid.form.stride;
    const ptrdiff_t down = c->axis[0].weight_step, along = c->axis[1].weight_step;
    char *dw = j->gradient->dw + (k * c->w_row + c->axis[0].weight + c->axis[1].weight) * size;
    const ptrdiff_t across = j->grid.form.taps[1], all = taps_of(j);
    const int packed = stride == 1 && (across == 1 || along == 1) && (across == all || down == across);
    char *taps = j->taps;
    int finite = 1;
    for (ptrdiff_t i = 0; i < planes; i += lanes) {
        const ptrdiff_t residue = stride == 1 ? 0 : (c0 + i) / j->x.pitch, channel = c0 + i - residue * j->x.pitch;
        const ptrdiff_t count = min(lanes, c->planes - channel);
        const ptrdiff_t *at = c->w_plane + channel;
        /* Not needed, and summed or not by what else is in the panel: whether they are finite must not count. */
        for (ptrdiff_t point = 0; point < j->grid.form.points; point++)
            if (fc_winograd_lacks(&j->grid.form, point, j->x.pitch, c0 + i, c0 + i + 1))
                memset(sums + (point * j->sums_point + i) * size, 0, (size_t)(lanes * size));
        finite &= j->transforms->weights_gradient(sums + i * size, j->sums_point, taps);
        if (packed && (count == 1 || at[1] - at[0] == all)) {
            j->kernels->transpose(all, count, taps, lanes, dw + at[0] * size, all);
            continue;
        }
        for (ptrdiff_t t = 0; t < all; t++) {
            const ptrdiff_t r = residue / stride + t / across * stride, s = residue % stride + t % across * stride;
            const ptrdiff_t tap = r * down + s * along;
            if (r >= c->axis[0].taps || s >= c->axis[1].taps) continue;
            for (ptrdiff_t n = 0; n < count; n++)
                memcpy(dw + (at[n] + tap) * size, taps + (t * lanes + n) * size, (size_t)size);
        }
    }
    return finite;
}

/* Sums of register tiles `strip` to `end` of a panel to dw. */
static int store_sums(const range *j, char *sums, ptrdiff_t panel, ptrdiff_t strip, ptrdiff_t end) {
    const ptrdiff_t first = strip * j->rows;
    int finite = 1;
    for (ptrdiff_t k = first; k < min(end * j->rows, j->c->rows); k++) {
        const ptrdiff_t i = k - first, at = i / j->rows * j->sums_tile + i % j->rows * j->panel;
        finite &= store_row(j, sums + at * j->size, k, panel * j->panel);
    }
    return finite;
}

/* Output channels k to k + rows, and input channels i to i + planes. */
static fc_weights_gradient cut(const fc_weights_gradient *all, ptrdiff_t size, ptrdiff_t k, ptrdiff_t rows,
                               ptrdiff_t i, ptrdiff_t planes) {
    fc_weights_gradient g = *all;
    g.c.rows = min(rows, all->c.rows - k);
    if (all->dw) g.dw = all->dw + k * all->c.w_row * size;
    if (all->dy) g.dy = all->dy + k * all->c.y_row * size;
    g.c.planes = min(planes, all->c.planes - i);
    g.c.x_plane += i;
    g.c.w_plane += i;
    return g;
}

/* What does not depend on ranges nor threads: rows of tiles of a block. */
static ptrdiff_t lines_of(const plan *p) {
    const ptrdiff_t planes = fc_winograd_planes(&p->grid.form, p->c->planes, p->job->kernels->lanes);
    const ptrdiff_t bytes = p->grid.form.points * p->job->size * (planes + p->c->rows);
    return min(p->grid.all, max(1, max(MIN_TILES, BLOCK_BYTES / bytes) / p->grid.across));
}

/* `like`: the largest range, whose register tiles, groups and copies it shall have; or NULL. */
static range find_range(const plan *p, const fc_weights_gradient *gradient, const range *like) {
    const fc_correlation *c = &gradient->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    range j = {.gradient = gradient, .c = c, .kernels = p->job->kernels, .run = &p->job->run, .size = p->job->size};
    j.lanes = j.kernels->lanes;
    j.grid = p->grid;
    j.transforms = &j.kernels->winograd[j.grid.form.shape];
    j.x = fc_winograd_input(p->c, p->depth, c->x_plane - p->c->x_plane, c->planes, &j.grid, j.size, j.lanes);
    j.dy = (fc_winograd_images){
        .base = gradient->dy,
        .image = c->y_image,
        .plane = p->depth->target_stride,
        .planes = p->depth->outputs,
        .plane_stride = 1,
        .of_tap = c->rows,
        .row = h->target_stride,
        .row_step = j.grid.row_step,
        .stride = 1,
        .column = w->target_stride,
        .channel = c->y_row,
        .rows = h->outputs,
        .columns = w->outputs,
        .channels = c->rows,
        .width = j.grid.form.tile[1] * j.grid.across,
        .pitch = quotient_up(c->rows, j.lanes) * j.lanes,
    };
    j.dy.part = fc_winograd_part(&j.dy, j.lanes);
    j.planes = fc_winograd_planes(&j.grid.form, c->planes, j.lanes);
    j.tile_vectors = like ? like->tile_vectors : fc_winograd_tile_vectors(j.kernels, quotient_up(j.planes, j.lanes),
                                                                            FC_MAX_TILE_VECTORS);
    j.rows = j.kernels->winograd_tile_rows[j.tile_vectors - 1];
    j.panel = j.tile_vectors * j.lanes;
    j.panels = quotient_up(j.planes, j.panel);
    j.strips = quotient_up(c->rows, j.rows);
    j.sums_point = j.rows * j.panel;
    j.sums_tile = j.grid.form.points * j.sums_point;
    j.group = like ? like->group : min(j.strips, max(1, GROUP_BYTES / (j.sums_tile * j.size)));
    j.lines = lines_of(p);
    j.whole = j.lines == p->grid.all && p->parts == 1;
    const ptrdiff_t tiles = j.lines * j.grid.across;
    j.v_point = tiles * j.panel + j.lanes;
    j.v_panel = j.grid.form.points * j.v_point;
    j.m_point = tiles * j.lanes + j.lanes;
    j.m_strip = j.grid.form.points * j.m_point;
    const ptrdiff_t line = copied_rows(&j, 1) * j.size * max(j.x.width * j.x.part, j.dy.width * j.dy.part);
    j.copied = like ? like->copied : max(1, min(min(j.lines, j.grid.down), FC_WINOGRAD_COPY_BYTES / line));
    return j;
}

static ptrdiff_t sums_bytes(const range *j) { return j->panels * j->strips * j->sums_tile * j->size; }
static ptrdiff_t taps_bytes(const range *j) { return taps_of(j) * j->lanes * j->size; }

static size_t lay_out(const plan *p, range *j, char *base) {
    const ptrdiff_t width = max(j->x.width * j->x.part, j->dy.width * j->dy.part);
    const ptrdiff_t sums = j->whole ? j->group * j->sums_tile * j->size : p->parts > 1 ? 0 : sums_bytes(j);
    size_t used = 0;
    j->copy = fc_carve(base, &used, copied_rows(j, j->copied) * width * j->size);
    j->v = fc_carve(base, &used, j->panels * j->v_panel * j->size);
    j->m = fc_carve(base, &used, j->dy.pitch / j->lanes * j->m_strip * j->size);
    j->sums = fc_carve(base, &used, sums);
    j->taps = fc_carve(base, &used, taps_bytes(j));
    j->channel = fc_carve(base, &used, j->c->rows * (ptrdiff_t)sizeof *j->channel);
    return used;
}

static void set_tables(range *j) {
    for (ptrdiff_t k = 0; k < j->c->rows; k++) j->channel[k] = (k / j->lanes * j->m_strip + k % j->lanes) * j->size;
}

static fc_weights_gradient gradient_of(const plan *p, ptrdiff_t number) {
    return cut(p->gradient, p->job->size, number / p->plane_ranges * p->rows, p->rows,
               number % p->plane_ranges * p->planes, p->planes);
}

/* One part of the tiles of one range. */
static void sum_tiles(plan *p, range *j, ptrdiff_t number, ptrdiff_t part) {
    const fc_units lines = fc_units_of(p->grid.all, p->parts, part);
    const ptrdiff_t k0 = number / p->plane_ranges * p->rows;
    double *bias_sums = p->bias_sums && number % p->plane_ranges == 0 ? p->bias_sums + part * p->c->rows + k0 : NULL;
    if (p->parts > 1) j->sums = p->sums + (part * p->row_ranges * p->plane_ranges + number) * p->sums_bytes;
    for (ptrdiff_t first = lines.begin; first < lines.end && !fc_stopped(j->run); first += j->lines) {
        const ptrdiff_t count = min(j->lines, lines.end - first), tiles = count * j->grid.across;
        const int last = p->parts == 1 && first + count == lines.end;
        transform(j, 1, first, count, NULL);
        transform(j, 0, first, count, bias_sums);
        for (ptrdiff_t panel = 0; panel < j->panels && !fc_stopped(j->run); panel++)
            for (ptrdiff_t strip = 0; strip < j->strips; strip += j->group) {
                const ptrdiff_t end = min(strip + j->group, j->strips);
                char *sums = j->sums + (j->whole ? 0 : (panel * j->strips + strip) * j->sums_tile * j->size);
                multiply(j, panel, strip, end, tiles, first > lines.begin, sums);
                if (last && !store_sums(j, sums, panel, strip, end)) p->not_finite = 1;
            }
    }
}

/* Units: parts of ranges. */
static void sum_task(void *context, int index) {
    plan *p = context;
    const ptrdiff_t ranges = p->row_ranges * p->plane_ranges;
    const fc_units share = fc_units_of(ranges * p->parts, p->job->run.threads, index);
    range j = p->largest;
    char *base = share.begin < share.end ? fc_scratch_acquire(lay_out(p, &j, NULL)) : NULL;
    if (share.begin < share.end && !base) fc_stop(&p->job->run, FC_NO_MEMORY);
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped(&p->job->run); u++) {
        const fc_weights_gradient g = gradient_of(p, u / p->parts);
        j = find_range(p, &g, &p->largest);
        lay_out(p, &j, base);
        set_tables(&j);
        sum_tiles(p, &j, u / p->parts, u % p->parts);
    }
    fc_scratch_release(base);
}

/* Adds the sums of all parts in their order. Units: register tiles of the largest range, of all ranges. */
static void add_task(void *context, int index) {
    plan *p = context;
    const ptrdiff_t ranges = p->row_ranges * p->plane_ranges;
    const ptrdiff_t of_each = p->largest.panels * p->largest.strips, tile = p->largest.sums_tile * p->largest.size;
    const fc_units share = fc_units_of(ranges * of_each, p->job->run.threads, index);
    char *taps = fc_scratch_acquire((size_t)taps_bytes(&p->largest));
    if (!taps) {
        fc_stop(&p->job->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped(&p->job->run); u++) {
        const ptrdiff_t number = u / of_each, at = u % of_each;
        const fc_weights_gradient g = gradient_of(p, number);
        range j = find_range(p, &g, &p->largest);
        if (at >= j.panels * j.strips) continue;
        j.taps = taps;
        char *sums = p->sums + number * p->sums_bytes + at * tile;
        for (ptrdiff_t part = 1; part < p->parts; part++)
            j.kernels->add(j.sums_tile, sums + part * ranges * p->sums_bytes, sums);
        if (!store_sums(&j, sums, at / j.strips, at % j.strips, at % j.strips + 1)) p->not_finite = 1;
    }
    fc_scratch_release(taps);
}

static ptrdiff_t half(ptrdiff_t channels, ptrdiff_t lanes) { return quotient_up(channels, 2 * lanes) * lanes; }

/* Cuts channels until a thread's workspace is enough, and until there are units for all threads. */
static plan find_plan(fc_conv_job *cj, const fc_weights_gradient *gradient, const fc_axis *depth) {
    const fc_correlation *c = &gradient->c;
    plan p = {.gradient = gradient, .c = c, .depth = depth, .job = cj, .rows = c->rows, .planes = c->planes,
              .row_ranges = 1, .plane_ranges = 1, .parts = 1};
    const ptrdiff_t lanes = cj->kernels->lanes;
    p.grid = fc_winograd_grid_of(c, depth, fc_winograd_form_for(FC_BACKWARD_WEIGHTS, cj->p));
    const range whole = find_range(&p, gradient, NULL);
    const ptrdiff_t tiles = p.grid.all * p.grid.across;
    const ptrdiff_t parts = min(tiles / PART_TILES, PARTS_BYTES / sums_bytes(&whole));
    while (2 * p.parts <= min(parts, MAX_PARTS)) p.parts *= 2;
    for (;;) {
        const fc_weights_gradient first = gradient_of(&p, 0);
        p.largest = find_range(&p, &first, NULL);
        p.sums_bytes = sums_bytes(&p.largest);
        const ptrdiff_t larger = max(p.rows, p.planes), units = p.row_ranges * p.plane_ranges * p.parts;
        const ptrdiff_t shared = p.parts > 1 ? units * p.sums_bytes : 0;
        const int fits = (ptrdiff_t)lay_out(&p, &p.largest, NULL) + shared <= MAX_BYTES;
        if (larger <= lanes || (fits && (units >= cj->run.threads || larger < 2 * MIN_RANGE))) return p;
        if (p.rows > p.planes) p.rows = half(p.rows, lanes);
        else p.planes = half(p.planes, lanes);
        p.row_ranges = quotient_up(c->rows, p.rows);
        p.plane_ranges = quotient_up(c->planes, p.planes);
    }
}

static void add_bias_sums(const plan *p) {
    for (ptrdiff_t k = 0; k < p->c->rows; k++) {
        double sum = 0;
        for (ptrdiff_t part = 0; part < p->parts; part++) sum += p->bias_sums[part * p->c->rows + k];
        fc_put_gradient(p->job->size, p->gradient->db, k, sum, 0);
    }
}

double fc_winograd_weights_tile(const fc_winograd_form *form, ptrdiff_t size) {
    const ptrdiff_t lanes = 64 / size, side = (form->tile[0] + form->taps[0] - 1) + (form->tile[1] + form->taps[1] - 1);
    return (1 + (double)(form->stride * form->stride)) * (double)((form->points + 2 * side) * lanes * size);
}

int fc_winograd_weights(fc_conv_job *cj, const fc_weights_gradient *gradient, const fc_axis *depth) {
    plan p = find_plan(cj, gradient, depth);
    p.first = gradient_of(&p, 0);
    p.largest.gradient = &p.first;
    p.largest.c = &p.first.c;
    fc_run *run = &cj->run;
    const size_t sums = p.parts > 1 ? (size_t)(p.parts * p.row_ranges * p.plane_ranges * p.sums_bytes) : 0;
    const size_t bias = gradient->has_db ? (size_t)(p.parts * gradient->c.rows) * sizeof(double) : 0;
    char *base = sums + bias ? fc_scratch_acquire(sums + bias) : NULL;
    if (sums + bias && !base) {
        fc_stop(run, FC_NO_MEMORY);
        return 1;
    }
    p.sums = base;
    if (bias) p.bias_sums = memset(base + sums, 0, bias);
    fc_parallel(run, run->threads, sum_task, &p);
    if (p.parts > 1 && run->status == FC_OK) fc_parallel(run, run->threads, add_task, &p);
    if (bias) add_bias_sums(&p);
    fc_scratch_release(base);
    return !p.not_finite;
}
