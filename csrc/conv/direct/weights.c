/* dw and db of few channels a group: lanes of sums over the bands of an image, added to totals in double
 * after so many terms. Threads share the groups or, where a vector holds channels, chunks of the images,
 * cut and combined alike at any number of threads. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"

/* Longest chain of terms in a lane. */
static const ptrdiff_t CHAIN = 1024;
/* Chunks of images with totals of their own, and bytes of all of these. */
enum { CHUNKS = 8, FEW_BUNDLES = 64 };
/* Groups whose planes in place are read one after the other, as they lie, and bundles that remain for the threads. */
enum { MAX_TOGETHER = 16, MIN_BUNDLES = 16 };
static const ptrdiff_t MAX_TOTALS = 8 << 20;
/* Of the groups of a bundle in place, which should stay in L2. */
static const ptrdiff_t SUMS_BYTES = 512 << 10;

typedef struct {
    fc_conv_job *j;
    const fc_weights_gradient *gradient;
    const fc_correlation *c; /* the gradient's */
    fc_direct_plan plan;
    int accumulate, last;
    int one_row;          /* of outputs: its vectors are blocked, not rows */
    int in_place;         /* neither x nor dy is copied */
    int narrow;           /* and planes are: kernels->direct_narrow_gradient */
    fc_direct_lines rows;  /* then */
    ptrdiff_t taps;       /* of the blocked axis */
    ptrdiff_t sums;       /* of an output channel: those of dw, and of db */
    ptrdiff_t elements;   /* of the lanes of all sums of a bundle */
    ptrdiff_t dy_size[2]; /* rows and columns of the copy of dy, in positions */
    ptrdiff_t chunks, parts;
    double *totals; /* [bundle][chunk][vector, or channel][sum][lane] if there are several chunks */
} gradient_job;

typedef struct {
    ptrdiff_t *other_x, *other_w;
    char *copy, *dy, *gathered, *lanes, *ones, *zeros;
    const void **table;
    double *totals;
} workspace;

static size_t lay_out(const gradient_job *g, workspace *w, char *base) {
    const fc_direct_plan *p = &g->plan;
    size_t used = 0;
    const ptrdiff_t bytes[] = {
        p->copy,
        (g->dy_size[0] * g->dy_size[1] * p->blocks.inner + FC_GRADIENT_BLOCK * p->blocks.inner) * p->size,
        p->planar ? g->c->axis[0].outputs * g->c->axis[1].outputs * p->blocks.inner * p->size : 0,
        p->kernels->lanes * p->size,
        2 * p->others * (ptrdiff_t)sizeof(ptrdiff_t),
        g->elements * p->size,
        g->elements * (ptrdiff_t)sizeof(double),
        g->in_place ? g->rows.columns * p->size : 0,
        g->in_place ? fc_direct_lines_entries(&g->rows) * (ptrdiff_t)sizeof(void *) : 0,
    };
    void **parts[] = {(void **)&w->copy,    (void **)&w->dy,    (void **)&w->gathered,
                      (void **)&w->ones,    (void **)&w->other_x, (void **)&w->lanes,
                      (void **)&w->totals,  (void **)&w->zeros, (void **)&w->table};
    for (int i = 0; i < 9; i++) {
        if (base) *parts[i] = base + used;
        used += fc_aligned(bytes[i]);
    }
    if (base) w->other_w = w->other_x + p->others;
    return used;
}

/* dy of one output channel, or of a bundle's: zeros up to whole blocks and vectors. */
static void copy_dy(const gradient_job *g, const fc_block *block, ptrdiff_t offset, ptrdiff_t channels,
                    char *gathered, char *target) {
    const fc_direct_plan *p = &g->plan;
    const fc_axis *h = &g->c->axis[0], *w = &g->c->axis[1];
    const ptrdiff_t pitch = g->dy_size[1] * p->blocks.inner;
    fc_padded_lines shape = {
        .lines = block->count[1],
        .count = block->count[2],
        .after = g->dy_size[1] - block->count[2],
        .source_pitch = block->count[1] > 1 ? h->target_stride : 0,
        .step = block->count[2] > 1 ? w->target_stride : channels,
        .target_pitch = pitch,
        .inner = p->blocks.inner,
        .adjacent = channels,
    };
    const char *source = g->gradient->dy + offset * p->size;
    if (p->planar) {
        p->kernels->transpose(channels, h->outputs * w->outputs, source, p->groups.y, gathered, shape.inner);
        source = gathered;
        shape.source_pitch = w->outputs * shape.inner;
        shape.step = shape.adjacent = shape.inner;
    }
    p->kernels->pad(&shape, source, target);
    memset(target + block->count[1] * pitch * p->size, 0,
           (size_t)((g->dy_size[0] - block->count[1]) * pitch * p->size));
}

static ptrdiff_t in_blocks(ptrdiff_t outputs) {
    return quotient_up(outputs, FC_GRADIENT_BLOCK) * FC_GRADIENT_BLOCK;
}

/* Adds what a band gives to the sums of one output channel, or of a vector's. */
static void add_band(const gradient_job *g, const fc_block *block, const char *copy, const char *dy,
                     const workspace *w, char *sums) {
    const fc_direct_plan *p = &g->plan;
    const ptrdiff_t lanes = p->kernels->lanes, inner = p->blocks.inner, pitch = g->dy_size[1] * inner;
    fc_direct_gradient d = {
        .outputs = in_blocks(g->one_row ? quotient_up(block->count[2], lanes) : block->count[1 + p->blocked]),
        .repeats = p->by_channel ? block->count[1] : g->one_row ? 1 : quotient_up(block->count[2], lanes),
        .x_repeat = p->by_channel ? p->blocks.pitch[1] : lanes,
        .dy_repeat = p->by_channel ? pitch : lanes,
        .taps = g->taps,
        .tap_step = p->tap_step,
        .x_step = g->one_row ? lanes : p->blocks.pitch[1 + p->blocked],
        .dy_step = p->by_channel ? inner : g->one_row ? lanes : pitch,
        .others = p->others,
        .other = w->other_x,
    };
    if (g->gradient->has_dw) p->kernels->direct_gradient(&d, copy, dy, sums);
    if (!g->gradient->has_db) return;
    const ptrdiff_t nowhere = 0;
    d.x_repeat = d.x_step = 0;
    d.taps = d.others = d.tap_step = 1;
    d.other = &nowhere;
    p->kernels->direct_gradient(&d, w->ones, dy, sums + (g->sums - 1) * lanes * p->size);
}

/* The same of a group's band in place. */
static void add_rows(const gradient_job *g, const fc_direct_place *place, const char *dy, const workspace *w,
                     char *lanes_of_group) {
    const fc_direct_plan *p = &g->plan;
    const fc_correlation *c = g->c;
    const ptrdiff_t lanes = p->kernels->lanes, *start = place->block.start, *count = place->block.count;
    fc_direct_lines d = g->rows;
    d.origin += start[1] * d.stride;
    d.residue[0].origin += start[2] * d.column_stride;
    d.outputs = count[1];
    d.width = count[2];
    d.zeros = w->zeros;
    d.table = w->table;
    for (ptrdiff_t k = 0, channels; k < c->rows; k += channels) {
        channels = min(2, c->rows - k);
        for (ptrdiff_t plane = 0; plane < c->planes; plane++) {
            const char *x = fc_plane(c, plane, p->size);
            if (x) x += (start[0] * c->x_image + place->group * p->groups.x) * p->size;
            char *sums = lanes_of_group + k * g->sums * lanes * p->size;
            p->kernels->direct_lines_gradient[channels - 1](
                &d, x, dy + k * c->y_row * p->size, sums + plane * d.residue[0].taps * d.taps * lanes * p->size,
                g->sums * lanes, g->gradient->has_db && plane == 0 ? sums + (g->sums - 1) * lanes * p->size : NULL);
        }
    }
}

/* Of all groups of narrow planes, of several images. */
static void add_narrow(const gradient_job *g, const fc_direct_place *place, ptrdiff_t images, const char *dy,
                       const workspace *w) {
    const fc_direct_plan *p = &g->plan;
    const fc_correlation *c = g->c;
    const ptrdiff_t lanes = p->kernels->lanes, *start = place->block.start;
    fc_direct_narrow n = {
        .each = g->rows,
        .planes = place->groups,
        .x_plane = p->groups.x, .y_plane = p->groups.y, .w_plane = g->sums * lanes,
        .images = images,
        .x_image = c->x_image, .y_image = c->y_image,
    };
    n.each.origin += start[1];
    n.each.outputs = place->block.count[1];
    p->kernels->direct_narrow_gradient(
        &n, fc_plane(c, 0, p->size) + (start[0] * c->x_image + place->group * p->groups.x) * p->size, dy, w->lanes,
        g->gradient->has_db ? w->lanes + (g->sums - 1) * lanes * p->size : NULL);
}

/* Lanes beside the outputs multiply inputs by zeros, which must not matter where an input is infinite or
 * NaN: such a group is done again by the defining sums. */
static void redo(const gradient_job *g, ptrdiff_t group) {
    fc_conv_job *j = g->j;
    fc_conv_problem p = *j->p;
    fc_arrays a = *j->a;
    p.groups = 1;
    p.in_channels = j->C;
    p.out_channels = j->K;
    a.x = (char *)a.x + group * g->plan.groups.x * j->size;
    a.y = (char *)a.y + group * g->plan.groups.y * j->size;
    a.w = (char *)a.w + group * g->plan.groups.w * j->size;
    a.b = NULL;
    const fc_status status = fc_naive_weights(&p, &a, fc_question_here(&j->run));
    if (status != FC_OK) fc_stop(&j->run, status);
}

/* Whether an element of dy of an output channel is NaN: then all of its dw is, rightly. */
static int has_nan(const gradient_job *g, ptrdiff_t group, ptrdiff_t k) {
    const fc_conv_problem *p = g->j->p;
    const ptrdiff_t *s = p->y_strides, *n = p->out_size;
    const char *dy = (const char *)g->j->a->y + (group * g->plan.groups.y + k * s[1]) * g->plan.size;
    for (ptrdiff_t i = 0; i < p->batch * n[0] * n[1]; i++) {
        const ptrdiff_t at = i / (n[0] * n[1]) * s[0] + i / n[1] % n[0] * s[2] + i % n[1] * s[3];
        for (ptrdiff_t q = 0; q < n[2]; q++) {
            const char *element = dy + (at + q * s[4]) * g->plan.size;
            if (g->plan.size == 4 ? *(const float *)element != *(const float *)element
                                  : *(const double *)element != *(const double *)element)
                return 1;
        }
    }
    return 0;
}

/* In four chains, each of which a processor waits for. */
static double sum_of_lanes(const double *lanes, ptrdiff_t count) {
    double sum[4] = {0};
    ptrdiff_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (int k = 0; k < 4; k++) sum[k] += lanes[i + k];
    for (; i < count; i++) sum[0] += lanes[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Writes dw and db of a group. */
static void store_group(const gradient_job *g, ptrdiff_t bundle, ptrdiff_t i, const ptrdiff_t *other_w,
                  const double *bundle_totals) {
    const fc_direct_plan *p = &g->plan;
    const ptrdiff_t lanes = p->kernels->lanes, group = bundle * p->together + i;
    const ptrdiff_t tap = g->c->axis[p->blocked].weight_step;
    int nan = 0; /* 1: of no dy; -k - 1: those of channel k are rightly */
    for (ptrdiff_t k = 0; k < g->c->rows; k++) {
        const ptrdiff_t row = p->by_channel ? i / lanes : i * g->c->rows + k;
        const double *totals = bundle_totals + row * g->sums * lanes + (p->by_channel ? i % lanes : 0);
        for (ptrdiff_t t = 0; t < g->sums; t++, totals += lanes) {
            double value = p->by_channel ? *totals : sum_of_lanes(totals, lanes);
            if (t == g->sums - 1) {
                if (g->gradient->has_db)
                    fc_put_gradient(p->size, g->gradient->db, group * g->c->rows + k, value, g->accumulate);
            } else if (g->gradient->has_dw) {
                const ptrdiff_t at = group * p->groups.w + k * g->c->w_row + other_w[t / g->taps];
                value = fc_put_gradient(p->size, g->gradient->dw, at + t % g->taps * tap, value, g->accumulate);
                if (g->last && value != value && nan <= 0 && nan != -(int)k - 1)
                    nan = has_nan(g, group, k) ? -(int)k - 1 : 1;
            }
        }
    }
    if (nan > 0 && !fc_stopped(&g->j->run)) redo(g, group);
}

static void flush(const gradient_job *g, workspace *w, double *totals) {
    g->plan.kernels->sum(1, g->elements, w->lanes, 0, totals);
    memset(w->lanes, 0, (size_t)(g->elements * g->plan.size));
}

/* The sums of a bundle over one chunk of its units. */
static void chunk_sums(gradient_job *g, ptrdiff_t bundle, ptrdiff_t chunk, workspace *w, double *totals) {
    const fc_direct_plan *p = &g->plan;
    const fc_correlation *c = g->c;
    const ptrdiff_t lanes = p->kernels->lanes, bytes = p->size;
    const ptrdiff_t blocks = p->c->images * p->blocks.count[1] * p->blocks.count[2];
    const fc_units share = fc_units_of(blocks, g->chunks, chunk);
    fc_direct_place place = {.group = bundle * p->together};
    place.groups = min(p->together, p->groups.count - place.group);
    ptrdiff_t chain = 0;
    memset(w->lanes, 0, (size_t)(g->elements * bytes));
    memset(totals, 0, (size_t)g->elements * sizeof *totals);
    const ptrdiff_t terms = g->dy_size[0] * g->dy_size[1] / (p->by_channel ? 1 : lanes);
    const ptrdiff_t at_once = g->narrow && blocks == c->images ? max(1, CHAIN / terms) : 1;
    for (ptrdiff_t b = share.begin, images; b < share.end; b += images) {
        if (fc_stopped_at(&g->j->run, b, p->copy * g->sums * c->rows)) break;
        images = min(at_once, share.end - b);
        place.block = fc_find_block(&p->blocks, b);
        if (!g->in_place) fc_direct_fill(p, &place, w->copy);
        const ptrdiff_t *start = place.block.start;
        ptrdiff_t at = start[0] * c->y_image + start[1] * c->axis[0].target_stride +
                       start[2] * c->axis[1].target_stride + place.group * p->groups.y;
        if (g->in_place) {
            fc_direct_place own = place;
            if (g->narrow) add_narrow(g, &place, images, g->gradient->dy + at * bytes, w);
            for (ptrdiff_t i = 0; !g->narrow && i < place.groups; i++, own.group++, at += p->groups.y)
                add_rows(g, &own, g->gradient->dy + at * bytes, w, w->lanes + i * c->rows * g->sums * lanes * bytes);
        } else if (p->by_channel) {
            copy_dy(g, &place.block, at, place.groups, w->gathered, w->dy);
            for (ptrdiff_t i = 0; i < place.groups; i += lanes)
                add_band(g, &place.block, w->copy + i * bytes, w->dy + i * bytes, w,
                         w->lanes + i * g->sums * bytes);
        } else {
            for (ptrdiff_t i = 0; i < place.groups; i++, at += p->groups.y)
                for (ptrdiff_t k = 0; k < c->rows; k++) {
                    copy_dy(g, &place.block, at + k * c->y_row, 1, w->gathered, w->dy);
                    add_band(g, &place.block, w->copy + i * fc_direct_group_copy(p) * bytes, w->dy, w,
                             w->lanes + (i * c->rows + k) * g->sums * lanes * bytes);
                }
        }
        chain += images * terms;
        if (chain + terms > CHAIN || b + images == share.end) {
            flush(g, w, totals);
            chain = 0;
        }
    }
}

static void run_task(void *context, int index) {
    gradient_job *g = context;
    const fc_direct_plan *p = &g->plan;
    const fc_units share = fc_units_of(p->bundles * g->chunks, g->parts, index);
    workspace w = {0};
    char *base = fc_scratch_acquire(lay_out(g, &w, NULL));
    if (!base) {
        fc_stop(&g->j->run, FC_NO_MEMORY);
        return;
    }
    lay_out(g, &w, base);
    if (g->in_place) memset(w.zeros, 0, (size_t)(g->rows.columns * p->size));
    else memset(base, 0, fc_aligned(p->copy));
    for (ptrdiff_t i = 0; i < p->kernels->lanes; i++)
        if (p->size == 4) ((float *)w.ones)[i] = 1;
        else ((double *)w.ones)[i] = 1;
    fc_direct_tables(p, w.other_x, w.other_w);
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped(&g->j->run); u++) {
        const ptrdiff_t bundle = u / g->chunks, first = bundle * p->together;
        chunk_sums(g, bundle, u % g->chunks, &w, g->totals ? g->totals + u * g->elements : w.totals);
        for (ptrdiff_t i = 0; !g->totals && i < min(p->together, p->groups.count - first); i++)
            store_group(g, bundle, i, w.other_w, w.totals);
    }
    fc_scratch_release(base);
}

/* Adds the totals of the chunks, one after the other. */
static void combine(gradient_job *g, ptrdiff_t *tables) {
    const fc_direct_plan *p = &g->plan;
    const fc_kernels *doubles = fc_find_kernels(g->j->p->call.isa, FC_FLOAT64);
    fc_direct_tables(p, tables, tables + p->others);
    for (ptrdiff_t bundle = 0; bundle < p->bundles; bundle++) {
        double *totals = g->totals + bundle * g->chunks * g->elements;
        for (ptrdiff_t chunk = 1; chunk < g->chunks; chunk++)
            doubles->add(g->elements, totals + chunk * g->elements, totals);
        for (ptrdiff_t i = 0; i < min(p->together, p->groups.count - bundle * p->together); i++)
            store_group(g, bundle, i, tables + p->others, totals);
    }
}

void fc_direct_weights(fc_conv_job *j, const fc_weights_gradient *gradient, const fc_groups *groups, int accumulate,
                       int last) {
    const fc_correlation *c = &gradient->c;
    gradient_job g = {.j = j, .gradient = gradient, .c = c,
                      .plan = fc_plan_direct(j->kernels, j->size, c, groups, 1, NULL),
                      .accumulate = accumulate, .last = last, .chunks = 1};
    const fc_direct_plan *p = &g.plan;
    const ptrdiff_t lanes = p->kernels->lanes;
    g.in_place = gradient->has_dw && !p->by_channel && fc_direct_lines_fit(p->kernels, c) &&
                 (c->axis[1].outputs == 1 || c->axis[1].target_stride == 1);
    if (g.in_place) {
        g.rows = fc_direct_lines_of(c, 1);
        g.narrow = fc_direct_is_narrow(p->kernels, c);
        const ptrdiff_t of_group = c->rows * (c->planes * c->axis[0].taps * c->axis[1].taps + 1) * lanes;
        const ptrdiff_t fit = SUMS_BYTES / (of_group * (p->size + (ptrdiff_t)sizeof(double)));
        g.plan.together = max(1, min(min(MAX_TOGETHER, fit), groups->count / MIN_BUNDLES));
        g.plan.bundles = quotient_up(groups->count, p->together);
    }
    g.one_row = !p->by_channel && c->axis[0].outputs == 1;
    const ptrdiff_t multiple[2] = {p->by_channel || g.one_row ? 1 : FC_GRADIENT_BLOCK,
                                   p->by_channel ? FC_GRADIENT_BLOCK
                                                 : lanes * (g.one_row ? FC_GRADIENT_BLOCK : 1)};
    for (int i = 0; i < 2; i++)
        g.dy_size[i] = quotient_up(p->blocks.size[1 + i], multiple[i]) * multiple[i];
    g.taps = c->axis[p->blocked].taps;
    g.sums = p->others * g.taps + 1;
    g.elements = p->together * (p->by_channel ? 1 : c->rows * lanes) * g.sums;
    if (p->by_channel || (g.in_place ? groups->count : p->bundles) < FEW_BUNDLES) {
        const ptrdiff_t room = MAX_TOTALS / (p->bundles * g.elements * (ptrdiff_t)sizeof(double));
        g.chunks = max(1, min(min(CHUNKS, room), c->images * p->blocks.count[1] * p->blocks.count[2]));
    }
    ptrdiff_t *tables = NULL;
    if (g.chunks > 1) {
        const size_t room = fc_aligned(2 * p->others * (ptrdiff_t)sizeof *tables);
        tables = fc_scratch_acquire(room + (size_t)(p->bundles * g.chunks * g.elements) * sizeof *g.totals);
        if (!tables) {
            fc_stop(&j->run, FC_NO_MEMORY);
            return;
        }
        g.totals = (double *)((char *)tables + room);
    }
    g.parts = min(p->bundles * g.chunks, j->run.threads);
    fc_parallel(&j->run, (int)g.parts, run_task, &g);
    if (g.totals && j->run.status == FC_OK) combine(&g, tables);
    fc_scratch_release(tables);
}
