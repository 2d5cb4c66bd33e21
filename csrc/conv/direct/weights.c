#include "weights.h"

#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "in_place.h"

_Static_assert(FC_DIRECT_BLOCK % FC_GRADIENT_BLOCK == 0, "bands of whole blocks of y are bands of whole blocks of dw");

static ptrdiff_t in_blocks(ptrdiff_t outputs) {
    return quotient_up(outputs, FC_GRADIENT_BLOCK) * FC_GRADIENT_BLOCK;
}

/* Bundles of groups whose planes are read where they lie: as many together as leave bundles for the threads, and whose
 * sums fit. */
static void bundle_in_place(fc_direct_weights *s, const fc_direct_job *job) {
    const fc_correlation *c = &job->residue[0];
    const ptrdiff_t lanes = job->conv->kernels->lanes, groups = job->groups.count;
    const ptrdiff_t of_group = c->out_channels * (c->planes * c->axis[0].taps * c->axis[1].taps + 1) * lanes;
    const ptrdiff_t fit = FC_DIRECT_SUMS_BYTES / (of_group * (job->conv->size + (ptrdiff_t)sizeof(double)));
    s->lines = fc_direct_lines_of(c, 1);
    s->lines.fetch = fc_direct_fetches(job, s->lines.width);
    s->together = max(1, min(min(FC_DIRECT_TOGETHER, fit), groups / FC_DIRECT_MIN_BUNDLES));
    s->bundles = quotient_up(groups, s->together);
}

/* Chunks with totals of their own, where there are fewer bundles than threads might be. */
static ptrdiff_t count_chunks(const fc_direct_weights *s, ptrdiff_t groups) {
    const fc_blocks *b = &s->layout.blocks;
    if (!s->layout.by_channel && (s->in_place ? groups : s->bundles) >= FC_DIRECT_FEW_BUNDLES) return 1;
    const ptrdiff_t fit = FC_DIRECT_TOTALS_BYTES / (s->bundles * s->elements * (ptrdiff_t)sizeof(double));
    return max(1, min(min(FC_DIRECT_CHUNKS, fit), b->images * b->count[1] * b->count[2]));
}

fc_direct_weights *fc_direct_plan_weights(fc_plan *plan, const fc_direct_job *job, fc_direct_arrangement arrangement) {
    const fc_correlation *c = &job->residue[0];
    fc_direct_weights *s = fc_plan_allocate(plan, sizeof *s);
    if (!s) return NULL;
    fc_direct_layout *l = &s->layout;
    s->narrow = arrangement == FC_DIRECT_NARROW;
    s->in_place = s->narrow || arrangement == FC_DIRECT_IN_PLACE;
    fc_direct_start_layout(l, job, c, s->in_place ? FC_DIRECT_COPIES : arrangement);
    if (!fc_direct_finish_layout(plan, l, fc_direct_largest_cut(l))) return NULL;
    s->together = l->together;
    s->bundles = l->bundles;
    if (s->in_place) bundle_in_place(s, job);
    const ptrdiff_t lanes = l->kernels->lanes;
    s->one_line = !l->by_channel && c->axis[0].outputs == 1;
    const ptrdiff_t multiple[2] = {l->by_channel || s->one_line ? 1 : FC_GRADIENT_BLOCK,
                                   l->by_channel ? FC_GRADIENT_BLOCK : lanes * (s->one_line ? FC_GRADIENT_BLOCK : 1)};
    for (int i = 0; i < 2; i++) s->dy_size[i] = quotient_up(l->blocks.size[1 + i], multiple[i]) * multiple[i];
    s->taps = c->axis[l->blocked].taps;
    s->sums = l->others * s->taps + 1;
    s->elements = s->together * (l->by_channel ? 1 : c->out_channels * lanes) * s->sums;
    s->chunks = count_chunks(s, job->groups.count);
    s->tasks = min(s->bundles * s->chunks, job->conv->run.threads);
    return s;
}

/* A stage and the call that runs it. */
typedef struct {
    const fc_direct_weights *stage;
    const fc_direct_job *job;
    const fc_weights_gradient *gradient;
    const fc_correlation *c; /* the gradient's */
    fc_run *run;
    int accumulate, last;
    double *totals; /* [bundle][chunk][vector, or channel][sum][lane] if there are several chunks */
} bound_call;

/* The scratch of a task. */
typedef struct {
    ptrdiff_t *other_x, *other_w;
    char *copy;      /* of x */
    char *dy;        /* a copy of it, */
    char *gathered;  /* and of the transposed planes that it is made of */
    char *ones;      /* a vector, whose products with dy are db */
    char *zeros;     /* in place: a line */
    const void **table;
    char *lanes;     /* [vector, or channel][sum][lane] */
    double *totals;  /* of these */
} scratch;

/* Elements of a line of zeros in place: of x or of dy. */
static ptrdiff_t zeros_of(const fc_direct_weights *s) {
    return max(s->lines.columns, s->lines.width);
}

/* Lays it out in `base`; NULL: counts its bytes only. */
static size_t carve(const fc_direct_weights *s, char *base, scratch *t) {
    const fc_direct_layout *l = &s->layout;
    const ptrdiff_t size = l->size, inner = l->blocks.inner;
    size_t used = 0;
    *t = (scratch){0};
    if (s->in_place) {
        t->zeros = fc_carve(base, &used, zeros_of(s) * size);
        t->table = fc_carve(base, &used, fc_direct_lines_entries(&s->lines) * (ptrdiff_t)sizeof(void *));
    } else {
        t->copy = fc_carve(base, &used, l->copy);
        t->dy = fc_carve(base, &used, (s->dy_size[0] * s->dy_size[1] + FC_GRADIENT_BLOCK) * inner * size);
        t->gathered = fc_carve(base, &used, l->planar ? l->axis[0].outputs * l->axis[1].outputs * inner * size : 0);
        t->ones = fc_carve(base, &used, l->kernels->lanes * size);
    }
    t->other_x = fc_carve(base, &used, l->others * (ptrdiff_t)sizeof *t->other_x);
    t->other_w = fc_carve(base, &used, l->others * (ptrdiff_t)sizeof *t->other_w);
    t->lanes = fc_carve(base, &used, s->elements * size);
    t->totals = fc_carve(base, &used, s->elements * (ptrdiff_t)sizeof *t->totals);
    return used;
}

/* dy of one output channel, or of a bundle's: zeros up to whole blocks and vectors. */
static void copy_dy(const bound_call *call, const fc_block *block, ptrdiff_t offset, ptrdiff_t channels,
                    char *gathered, char *target) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_axis *h = &l->axis[0], *w = &l->axis[1];
    const ptrdiff_t pitch = s->dy_size[1] * l->blocks.inner;
    fc_padded_lines shape = {
        .lines = block->count[1],
        .count = block->count[2],
        .after = s->dy_size[1] - block->count[2],
        .source_pitch = block->count[1] > 1 ? h->target_stride : 0,
        .step = block->count[2] > 1 ? w->target_stride : channels,
        .target_pitch = pitch,
        .inner = l->blocks.inner,
        .adjacent = channels,
    };
    const char *source = call->gradient->dy + offset * l->size;
    if (l->planar) {
        l->kernels->transpose(channels, h->outputs * w->outputs, source, l->groups.y, gathered, shape.inner);
        source = gathered;
        shape.source_pitch = w->outputs * shape.inner;
        shape.step = shape.adjacent = shape.inner;
    }
    l->kernels->pad(&shape, source, target);
    memset(target + block->count[1] * pitch * l->size, 0,
           (size_t)((s->dy_size[0] - block->count[1]) * pitch * l->size));
}

/* Adds what a band gives to the sums of one output channel, or of a vector's. */
static void add_band(const bound_call *call, const fc_block *block, const char *copy, const char *dy,
                     const scratch *t, char *sums) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const ptrdiff_t lanes = l->kernels->lanes, inner = l->blocks.inner, pitch = s->dy_size[1] * inner;
    fc_direct_gradient d = {
        .outputs = in_blocks(s->one_line ? quotient_up(block->count[2], lanes) : block->count[1 + l->blocked]),
        .repeats = l->by_channel ? block->count[1] : s->one_line ? 1 : quotient_up(block->count[2], lanes),
        .x_repeat = l->by_channel ? l->blocks.pitch[1] : lanes,
        .dy_repeat = l->by_channel ? pitch : lanes,
        .taps = s->taps,
        .tap_step = l->tap_step,
        .x_step = s->one_line ? lanes : l->blocks.pitch[1 + l->blocked],
        .dy_step = l->by_channel ? inner : s->one_line ? lanes : pitch,
        .others = l->others,
        .other = t->other_x,
    };
    if (call->gradient->has_dw) l->kernels->direct_gradient(&d, copy, dy, sums);
    if (!call->gradient->has_db) return;
    const ptrdiff_t nowhere = 0;
    d.x_repeat = d.x_step = 0;
    d.taps = d.others = d.tap_step = 1;
    d.other = &nowhere;
    l->kernels->direct_gradient(&d, t->ones, dy, sums + (s->sums - 1) * lanes * l->size);
}

/* Adds what a band of one group gives, where it lies. */
static void add_lines(const bound_call *call, const fc_direct_place *place, const char *dy, const scratch *t,
                      char *lanes_of_group) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_correlation *c = call->c;
    const ptrdiff_t lanes = l->kernels->lanes, *start = place->block.start, *count = place->block.count;
    fc_direct_lines d = s->lines;
    d.origin += start[1] * d.stride;
    d.residue[0].origin += start[2] * d.column_stride;
    d.outputs = count[1];
    d.width = count[2];
    d.zeros = t->zeros;
    d.table = t->table;
    for (ptrdiff_t k = 0, channels; k < c->out_channels; k += channels) {
        channels = min(2, c->out_channels - k);
        for (ptrdiff_t plane = 0; plane < c->planes; plane++) {
            const char *x = fc_plane(c, plane, l->size);
            if (x) x += (start[0] * c->x_image + place->group * l->groups.x) * l->size;
            char *sums = lanes_of_group + k * s->sums * lanes * l->size;
            l->kernels->direct_lines_gradient[channels - 1](
                &d, x, dy + k * c->y_channel * l->size, sums + plane * d.residue[0].taps * d.taps * lanes * l->size,
                s->sums * lanes,
                call->gradient->has_db && plane == 0 ? sums + (s->sums - 1) * lanes * l->size : NULL);
        }
    }
}

/* Adds what a band of narrow planes of all groups of a bundle gives, of several images. */
static void add_narrow(const bound_call *call, const fc_direct_place *place, ptrdiff_t images, const char *dy,
                       const scratch *t) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_correlation *c = call->c;
    const ptrdiff_t lanes = l->kernels->lanes, *start = place->block.start;
    fc_direct_narrow n = {
        .each = s->lines,
        .planes = place->groups,
        .x_plane = l->groups.x, .y_plane = l->groups.y, .w_plane = s->sums * lanes,
        .images = images,
        .x_image = c->x_image, .y_image = c->y_image,
    };
    n.each.origin += start[1];
    n.each.outputs = place->block.count[1];
    l->kernels->direct_narrow_gradient(
        &n, fc_plane(c, 0, l->size) + (start[0] * c->x_image + place->group * l->groups.x) * l->size, dy, t->lanes,
        call->gradient->has_db ? t->lanes + (s->sums - 1) * lanes * l->size : NULL);
}

/* Lanes beside the outputs multiply inputs by zeros, which must not matter where an input is infinite or
 * NaN: such a group is done again by the defining sums. */
static void redo(const bound_call *call, ptrdiff_t group) {
    fc_conv_job *conv = call->job->conv;
    const fc_groups *groups = &call->job->groups;
    fc_conv_problem p = *conv->p;
    fc_arrays a = *conv->a;
    p.groups = 1;
    p.in_channels = conv->C;
    p.out_channels = conv->K;
    a.x = (char *)a.x + group * groups->x * conv->size;
    a.y = (char *)a.y + group * groups->y * conv->size;
    a.w = (char *)a.w + group * groups->w * conv->size;
    a.b = NULL;
    const fc_status status = fc_naive_weights(&p, &a, fc_question_here(call->run));
    if (status != FC_OK) fc_stop(call->run, status);
}

/* Whether an element of dy of an output channel is NaN: then all of its dw is, rightly. */
static int has_nan(const bound_call *call, ptrdiff_t group, ptrdiff_t k) {
    const fc_conv_problem *p = call->job->conv->p;
    const ptrdiff_t *s = p->y_strides, *n = p->out_size, size = call->job->conv->size;
    const char *dy = (const char *)call->job->conv->a->y + (group * call->job->groups.y + k * s[1]) * size;
    for (ptrdiff_t i = 0; i < p->batch * n[0] * n[1]; i++) {
        const ptrdiff_t at = i / (n[0] * n[1]) * s[0] + i / n[1] % n[0] * s[2] + i % n[1] * s[3];
        for (ptrdiff_t q = 0; q < n[2]; q++) {
            const char *element = dy + (at + q * s[4]) * size;
            if (size == 4 ? *(const float *)element != *(const float *)element
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

/* Writes dw and db of one output channel of a group; whether a sum of dw is NaN. */
static int store_channel(const bound_call *call, ptrdiff_t group, ptrdiff_t k, const ptrdiff_t *other_w,
                         const double *totals) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_correlation *c = call->c;
    const fc_weights_gradient *gradient = call->gradient;
    const ptrdiff_t lanes = l->kernels->lanes, others = l->others, taps = s->taps;
    const ptrdiff_t first = group * l->groups.w + k * c->w_out_channel, tap_step = c->axis[l->blocked].weight_step;
    const int by_channel = l->by_channel;
    int is_nan = 0;
    for (ptrdiff_t other = 0; gradient->has_dw && other < others; other++) {
        const double *own = totals + other * taps * lanes;
        ptrdiff_t at = first + other_w[other];
        for (ptrdiff_t t = 0; t < taps; t++, own += lanes, at += tap_step) {
            const double value = by_channel ? *own : sum_of_lanes(own, lanes);
            const double stored = fc_put_gradient(l->size, gradient->dw, at, value, call->accumulate);
            is_nan |= stored != stored;
        }
    }
    totals += (s->sums - 1) * lanes;
    if (gradient->has_db)
        fc_put_gradient(l->size, gradient->db, group * c->out_channels + k,
                        by_channel ? *totals : sum_of_lanes(totals, lanes), call->accumulate);
    return is_nan;
}

/* Writes dw and db of group i of a bundle. */
static void store_group(const bound_call *call, ptrdiff_t bundle, ptrdiff_t i, const ptrdiff_t *other_w,
                        const double *bundle_totals) {
    const fc_direct_weights *s = call->stage;
    const ptrdiff_t lanes = s->layout.kernels->lanes, channels = call->c->out_channels;
    const ptrdiff_t group = bundle * s->together + i;
    int wrong = 0;
    for (ptrdiff_t k = 0; k < channels; k++) {
        const ptrdiff_t row = s->layout.by_channel ? i / lanes : i * channels + k;
        const double *totals = bundle_totals + row * s->sums * lanes + (s->layout.by_channel ? i % lanes : 0);
        if (store_channel(call, group, k, other_w, totals) && call->last && !wrong) wrong = !has_nan(call, group, k);
    }
    if (wrong && !fc_stopped(call->run)) redo(call, group);
}

/* Adds one band, or one narrow band of so many images, to the lanes. */
static void add_unit(const bound_call *call, const fc_direct_place *place, ptrdiff_t images, const scratch *t) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_correlation *c = call->c;
    const ptrdiff_t lanes = l->kernels->lanes, size = l->size, *start = place->block.start;
    const ptrdiff_t bytes = s->sums * lanes * size; /* of the lanes of a channel */
    ptrdiff_t at = start[0] * c->y_image + start[1] * c->axis[0].target_stride + start[2] * c->axis[1].target_stride +
                   place->group * l->groups.y;
    if (s->narrow) {
        add_narrow(call, place, images, call->gradient->dy + at * size, t);
    } else if (s->in_place) {
        fc_direct_place own = *place;
        for (ptrdiff_t i = 0; i < place->groups; i++, own.group++, at += l->groups.y)
            add_lines(call, &own, call->gradient->dy + at * size, t, t->lanes + i * c->out_channels * bytes);
    } else if (l->by_channel) {
        copy_dy(call, &place->block, at, place->groups, t->gathered, t->dy);
        for (ptrdiff_t i = 0; i < place->groups; i += lanes)
            add_band(call, &place->block, t->copy + i * size, t->dy + i * size, t, t->lanes + i * s->sums * size);
    } else {
        for (ptrdiff_t i = 0; i < place->groups; i++, at += l->groups.y)
            for (ptrdiff_t k = 0; k < c->out_channels; k++) {
                copy_dy(call, &place->block, at + k * c->y_channel, 1, t->gathered, t->dy);
                add_band(call, &place->block, t->copy + i * fc_direct_group_copy(l) * size, t->dy, t,
                         t->lanes + (i * c->out_channels + k) * bytes);
            }
    }
}

/* The sums of a bundle over one chunk of its bands. */
static void sum_chunk(const bound_call *call, ptrdiff_t bundle, ptrdiff_t chunk, const scratch *t, double *totals) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const ptrdiff_t bands = l->blocks.images * l->blocks.count[1] * l->blocks.count[2];
    const fc_units units = fc_units_of(bands, s->chunks, chunk);
    fc_direct_place place = {.group = bundle * s->together};
    place.groups = min(s->together, l->groups.count - place.group);
    const size_t bytes = (size_t)(s->elements * l->size);
    memset(t->lanes, 0, bytes);
    memset(totals, 0, (size_t)s->elements * sizeof *totals);
    const ptrdiff_t terms = s->dy_size[0] * s->dy_size[1] / (l->by_channel ? 1 : l->kernels->lanes);
    const ptrdiff_t at_once = s->narrow && bands == l->blocks.images ? max(1, FC_DIRECT_CHAIN / terms) : 1;
    ptrdiff_t chain = 0;
    for (ptrdiff_t b = units.begin, images; b < units.end; b += images) {
        if (fc_stopped_at(call->run, b, l->copy * s->sums * call->c->out_channels)) break;
        images = min(at_once, units.end - b);
        place.block = fc_find_block(&l->blocks, b);
        if (!s->in_place) fc_direct_fill(l, call->c, &place, t->copy);
        add_unit(call, &place, images, t);
        chain += images * terms;
        if (chain + terms > FC_DIRECT_CHAIN || b + images == units.end) {
            l->kernels->sum(1, s->elements, t->lanes, 0, totals);
            memset(t->lanes, 0, bytes);
            chain = 0;
        }
    }
}

static void weights_task(void *context, int task) {
    const bound_call *call = context;
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_units units = fc_units_of(s->bundles * s->chunks, s->tasks, task);
    scratch t;
    char *base = fc_scratch_acquire(carve(s, NULL, &t));
    if (!base) {
        fc_stop(call->run, FC_NO_MEMORY);
        return;
    }
    carve(s, base, &t);
    if (s->in_place) {
        memset(t.zeros, 0, (size_t)(zeros_of(s) * l->size));
    } else {
        memset(t.copy, 0, (size_t)l->copy);
        for (ptrdiff_t i = 0; i < l->kernels->lanes; i++)
            if (l->size == 4) ((float *)t.ones)[i] = 1;
            else ((double *)t.ones)[i] = 1;
    }
    fc_direct_tables(l, call->c, t.other_x, t.other_w);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped(call->run); u++) {
        const ptrdiff_t bundle = u / s->chunks, first = bundle * s->together;
        sum_chunk(call, bundle, u % s->chunks, &t, call->totals ? call->totals + u * s->elements : t.totals);
        for (ptrdiff_t i = 0; !call->totals && i < min(s->together, l->groups.count - first); i++)
            store_group(call, bundle, i, t.other_w, t.totals);
    }
    fc_scratch_release(base);
}

/* Adds the totals of the chunks, one after the other. */
static void combine(const bound_call *call, ptrdiff_t *tables) {
    const fc_direct_weights *s = call->stage;
    const fc_direct_layout *l = &s->layout;
    const fc_kernels *doubles = fc_find_kernels(call->job->conv->p->call.isa, FC_FLOAT64);
    fc_direct_tables(l, call->c, tables, tables + l->others);
    for (ptrdiff_t bundle = 0; bundle < s->bundles; bundle++) {
        double *totals = call->totals + bundle * s->chunks * s->elements;
        for (ptrdiff_t chunk = 1; chunk < s->chunks; chunk++)
            doubles->add(s->elements, totals + chunk * s->elements, totals);
        for (ptrdiff_t i = 0; i < min(s->together, l->groups.count - bundle * s->together); i++)
            store_group(call, bundle, i, tables + l->others, totals);
    }
}

/* Tables, then totals of all chunks, if there are several. */
static size_t carve_totals(const fc_direct_weights *s, char *base, ptrdiff_t **tables, double **totals) {
    size_t used = 0;
    *tables = fc_carve(base, &used, 2 * s->layout.others * (ptrdiff_t)sizeof **tables);
    *totals = fc_carve(base, &used, s->bundles * s->chunks * s->elements * (ptrdiff_t)sizeof **totals);
    return used;
}

void fc_direct_run_weights(const fc_direct_weights *stage, const fc_direct_job *job,
                           const fc_weights_gradient *gradient, int accumulate, int last) {
    bound_call call = {.stage = stage, .job = job, .gradient = gradient, .c = &gradient->c, .run = &job->conv->run,
                       .accumulate = accumulate, .last = last};
    ptrdiff_t *tables = NULL;
    char *base = NULL;
    FC_ASSERT(gradient->dy && (gradient->dw || !gradient->has_dw) && (gradient->db || !gradient->has_db));
    FC_ASSERT(!stage->in_place || gradient->has_dw);
    if (stage->chunks > 1) {
        base = fc_scratch_acquire(carve_totals(stage, NULL, &tables, &call.totals));
        if (!base) {
            fc_stop(call.run, FC_NO_MEMORY);
            return;
        }
        carve_totals(stage, base, &tables, &call.totals);
    }
    fc_parallel(call.run, (int)stage->tasks, weights_task, &call);
    if (call.totals && call.run->status == FC_OK) combine(&call, tables);
    fc_scratch_release(base);
}

/* Sums that a register tile of direct.tmpl.h, direct_lines_gradient.tmpl.h or direct_narrow.tmpl.h keeps, a vector of
 * lanes each. */
static ptrdiff_t sums_of_a_tile(const fc_direct_weights *s) {
    const fc_direct_layout *l = &s->layout;
    const fc_direct_lines *d = &s->lines;
    const ptrdiff_t columns = d->residue[0].taps, taps = s->in_place ? d->taps : s->taps;
    if (s->narrow && l->kernels->flat_pitch) return taps == 3 ? min(columns, 3) * taps : taps == 5 ? 2 * taps : taps;
    if (s->narrow) return (columns < 3 ? 1 : 3) * taps;
    const int unlike = s->in_place ? d->line_step != 1 || d->stride != d->column_stride || d->outputs == 1 : 0;
    const ptrdiff_t x_step = s->one_line ? l->kernels->lanes : l->blocks.pitch[1 + l->blocked];
    const ptrdiff_t stride = s->in_place ? d->stride : x_step == l->tap_step ? 1 : x_step == 2 * l->tap_step ? 2 : 0;
    const int whole = !unlike && (taps == 3 || taps == 5 || taps == 7) && (stride == 1 || (stride == 2 && taps < 7));
    if (s->in_place) return (d->tap_step == 1 ? min(columns, 3) : 1) * (whole ? taps : 1);
    return whole ? min(l->others, taps == 3 ? 3 : taps == 5 ? 2 : 1) * taps : 1;
}

void fc_direct_describe_weights(const fc_direct_weights *stage, fc_description *d) {
    const fc_direct_layout *l = &stage->layout;
    scratch t;
    ptrdiff_t *tables;
    double *totals;
    for (int i = 0; i < 3; i++) d->block[i] = l->blocks.size[i];
    d->tile[0] = sums_of_a_tile(stage);
    d->tile[1] = l->kernels->lanes;
    d->tasks = stage->tasks;
    d->workspace = carve(stage, NULL, &t) * (size_t)stage->tasks;
    if (stage->chunks > 1) d->workspace += carve_totals(stage, NULL, &tables, &totals);
    const char *const narrow = l->kernels->flat_pitch ? "pixels of a plane" : "pixels of two lines";
    const int length = snprintf(d->how, sizeof d->how, "%s in the vector, %s in bands of %td x %td outputs",
                                l->by_channel ? "channels" : stage->narrow ? narrow : "pixels of a line",
                                stage->in_place ? "in place" : l->planar ? "of transposed planes" : "of copies",
                                l->blocks.size[1], l->blocks.size[2]);
    snprintf(d->how + length, sizeof d->how - (size_t)length,
             "%s; groups whose sums are NaN though dy is not are done again by the defining sums",
             stage->chunks > 1 ? ", sums of several chunks added up" : "");
}
