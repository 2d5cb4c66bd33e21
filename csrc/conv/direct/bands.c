#include "bands.h"

#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"

/* The size of the units of all residues, none of which may pass what fits. */
static fc_direct_cut common_cut(const fc_direct_layout *layout, int count) {
    fc_direct_cut cut = fc_direct_largest_cut(layout);
    for (int i = 1; i < count; i++) {
        const fc_direct_cut own = fc_direct_largest_cut(&layout[i]);
        cut.lines = min(cut.lines, own.lines);
        cut.columns = min(cut.columns, own.columns);
        cut.together = min(cut.together, own.together);
        cut.inner = min(cut.inner, own.inner);
    }
    return cut;
}

/* The scratch of a task, and what a call packs. */
static void measure(fc_direct_bands *s, const fc_direct_job *job) {
    const fc_direct_layout *l = s->layout;
    const ptrdiff_t lanes = l->kernels->lanes, size = l->size, count = fc_direct_count(job);
    const ptrdiff_t *band = s->largest->blocks.size;
    s->copies = s->copy * count <= FC_DIRECT_SMALL_COPY_BYTES ? 2 : 1;
    s->residue_pitch = quotient_up(band[2], lanes) * lanes;
    s->line_pitch[1] = s->residues * s->residue_pitch;
    s->line_pitch[0] = band[1] * s->line_pitch[1];
    s->copy_bytes = (size_t)(s->copy * count * s->copies);
    s->table_bytes = fc_aligned(2 * count * s->others * (ptrdiff_t)sizeof(ptrdiff_t));
    if (l->planar) s->line_bytes = fc_aligned(band[1] * band[2] * lanes * size);
    else if (!s->to_y) s->line_bytes = fc_aligned(l->together * job->residue->out_channels * s->line_pitch[0] * size);
    if (!l->by_channel) return;
    const ptrdiff_t vectors = quotient_up(l->groups.count, lanes);
    s->weight_bytes = fc_aligned(vectors * s->packed[count] * size);
    s->bias_bytes = fc_aligned(vectors * lanes * size);
    s->list_bytes = fc_aligned(2 * s->others * (ptrdiff_t)sizeof(ptrdiff_t));
}

fc_direct_bands *fc_direct_plan_bands(fc_plan *plan, const fc_direct_job *job, fc_direct_arrangement arrangement) {
    const int count = fc_direct_count(job);
    FC_ASSERT(arrangement != FC_DIRECT_TRANSPOSED || count == 1);
    FC_ASSERT(count <= FC_MAX_RESIDUES);
    fc_direct_bands *s = fc_plan_allocate(plan, sizeof *s + (size_t)count * sizeof *s->layout);
    if (!s) return NULL;
    s->lines = job->lines;
    s->residues = job->residues;
    for (int i = 0; i < count; i++) fc_direct_start_layout(&s->layout[i], job, &job->residue[i], arrangement);
    const fc_direct_cut cut = common_cut(s->layout, count);
    double outputs = 0;
    s->largest = s->layout;
    for (int i = 0; i < count; i++) {
        fc_direct_layout *l = &s->layout[i];
        if (!fc_direct_finish_layout(plan, l, cut)) return NULL;
        s->copy = max(s->copy, (ptrdiff_t)fc_aligned(l->copy));
        s->others = max(s->others, l->others);
        s->packed[i + 1] = s->packed[i] + l->others * l->axis[1].taps * l->kernels->lanes;
        const double own = (double)l->axis[0].outputs * (double)l->axis[1].outputs;
        if (own > outputs) s->largest = l;
        outputs = own > outputs ? own : outputs;
    }
    const fc_direct_layout *l = s->layout;
    const fc_axis *w = &l->axis[1];
    s->interleaved = job->interleaved && !l->by_channel && l->together == 1;
    s->to_y = l->by_channel || (s->residues == 1 && (w->outputs == 1 || w->target_stride == 1));
    s->units = fc_direct_units(s->largest);
    s->tasks = min(s->units, job->conv->run.threads);
    measure(s, job);
    return s;
}

/* A stage and the call that runs it. */
typedef struct {
    const fc_direct_bands *stage;
    const fc_direct_job *job;
    fc_run *run;
    const char *weights; /* by channel: [vector][residue][other][tap][lane] */
    const char *bias;
} bound_call;

/* Weights and bias with the groups of a vector side by side; lanes beyond the last are zeros. */
static char *pack(bound_call *call) {
    const fc_direct_bands *s = call->stage;
    const fc_direct_layout *l = s->layout;
    const fc_correlation *residue = call->job->residue;
    const int count = s->lines * s->residues;
    const ptrdiff_t lanes = l->kernels->lanes, size = l->size, vectors = quotient_up(l->groups.count, lanes);
    char *base = fc_scratch_acquire(s->weight_bytes + s->bias_bytes + s->list_bytes);
    if (!base) return NULL;
    if (l->groups.count % lanes) memset(base, 0, s->weight_bytes + s->bias_bytes);
    ptrdiff_t *other_x = (ptrdiff_t *)(base + s->weight_bytes + s->bias_bytes), *other_w = other_x + s->others;
    for (int i = 0; i < count; i++, l++) {
        const fc_axis *w = &l->axis[1];
        const ptrdiff_t step = l->blocks.residues[1].reversed ? -w->weight_step : w->weight_step;
        fc_direct_tables(l, &residue[i], other_x, other_w);
        for (ptrdiff_t v = 0; v < vectors; v++) {
            char *target = base + (v * s->packed[count] + s->packed[i]) * size;
            const char *source = residue[i].w + v * lanes * l->groups.w * size;
            const ptrdiff_t groups = min(lanes, l->groups.count - v * lanes);
            for (ptrdiff_t k = 0; k < l->others; k++)
                for (ptrdiff_t t = 0; t < w->taps; t++, target += lanes * size)
                    l->kernels->copy(groups, source + (other_w[k] + t * step) * size, l->groups.w, target);
        }
    }
    const ptrdiff_t bias_bytes = s->layout->groups.count * size;
    if (residue->bias) memcpy(base + s->weight_bytes, residue->bias, (size_t)bias_bytes);
    call->weights = base;
    call->bias = residue->bias ? base + s->weight_bytes : NULL;
    return base;
}

/* Outputs of one residue, with channels in the vector, to y, or to `lines` if planes are to be transposed. */
static void sum_channels(const bound_call *call, int residue, const fc_direct_place *place, fc_direct *d,
                         const char *copy, char *lines, char *y) {
    const fc_direct_bands *s = call->stage;
    const fc_direct_layout *l = &s->layout[residue];
    const fc_axis *h = &l->axis[0], *w = &l->axis[1];
    const ptrdiff_t size = l->size, lanes = l->kernels->lanes, elements = s->packed[s->lines * s->residues];
    const ptrdiff_t line_step = l->planar ? w->outputs * lanes : h->target_stride;
    char *target = l->planar ? lines : y;
    d->y_step = l->planar ? lanes : w->target_stride;
    const char *weights = call->weights + (place->group / lanes * elements + s->packed[residue]) * size;
    for (ptrdiff_t line = 0; line < place->block.count[1]; line++) {
        d->w = weights;
        for (ptrdiff_t g = 0; g < place->groups; g += lanes) {
            d->width = l->planar ? lanes : min(lanes, place->groups - g);
            d->bias = call->bias ? call->bias + (place->group + g) * size : NULL;
            l->kernels->direct_channels(d, copy + (line * l->blocks.pitch[1] + g) * size,
                                        target + (line * line_step + g) * size);
            d->w = (const char *)d->w + elements * size;
        }
    }
    if (l->planar) l->kernels->transpose(h->outputs * w->outputs, place->groups, lines, lanes, y, l->groups.y);
}

/* Outputs of one residue in a band, to y or to lines on their way there. */
static void sum_residue(const bound_call *call, int residue, const fc_direct_place *place, const ptrdiff_t *tables,
                        const char *copy, char *lines) {
    const fc_direct_bands *s = call->stage;
    const fc_direct_layout *l = &s->layout[residue];
    const fc_correlation *c = &call->job->residue[residue];
    const fc_block *block = &place->block;
    const fc_axis *h = &l->axis[0], *w = &l->axis[1];
    const ptrdiff_t size = l->size, h_step = l->blocks.residues[0].reversed ? -h->weight_step : h->weight_step;
    fc_direct d = {
        .outputs = block->count[1 + l->blocked],
        .width = block->count[2],
        .taps = l->axis[l->blocked].taps,
        .tap_step = l->tap_step,
        .w_tap = l->by_channel ? l->kernels->lanes : h_step,
        .x_step = l->blocks.pitch[1 + l->blocked],
        .others = l->others,
        .other_x = tables,
        .other_w = tables + s->others,
        .relu = c->relu,
    };
    char *y = c->y + (block->start[0] * c->y_image + block->start[1] * h->target_stride +
                      block->start[2] * w->target_stride + place->group * l->groups.y) * size;
    if (l->by_channel) {
        sum_channels(call, residue, place, &d, copy, lines, y);
        return;
    }
    d.y_step = s->to_y ? h->target_stride : s->line_pitch[1];
    for (ptrdiff_t g = 0; g < place->groups; g++, y += l->groups.y * size, copy += fc_direct_group_copy(l) * size)
        for (ptrdiff_t k = 0; k < c->out_channels; k++, lines += s->line_pitch[0] * size) {
            d.w = c->w + ((place->group + g) * l->groups.w + k * c->w_out_channel) * size;
            d.bias = c->bias ? c->bias + ((place->group + g) * c->out_channels + k) * size : NULL;
            l->kernels->direct_pixels(&d, copy, s->to_y ? y + k * c->y_channel * size : lines);
        }
}

/* Lines of sums of one line of residues to y. */
static void store_lines(const bound_call *call, int line, const fc_direct_place *place, const ptrdiff_t counts[],
                        const char *lines) {
    const fc_direct_bands *s = call->stage;
    const fc_block *block = &place->block;
    const fc_direct_layout *l = &s->layout[line * s->residues];
    const fc_correlation *c = &call->job->residue[line * s->residues];
    const ptrdiff_t size = l->size, channels = place->groups * c->out_channels;
    const int side_by_side = channels > 1 && l->groups.y == c->out_channels &&
                             (c->out_channels == 1 || c->y_channel == 1);
    ptrdiff_t total = 0;
    for (int other = 0; other < s->residues; other++) total += counts[other];
    for (int i = 0; i < (s->interleaved ? 1 : s->residues); i++) {
        const fc_axis *h = &l[i].axis[0], *w = &l[i].axis[1];
        char *y = c[i].y + (block->start[0] * c->y_image + block->start[1] * h->target_stride +
                            block->start[2] * w->target_stride + place->group * l->groups.y) * size;
        const char *source = lines + i * s->residue_pitch * size;
        for (ptrdiff_t p = 0; p < block->count[1]; p++) {
            const char *from = source + p * s->line_pitch[1] * size;
            char *to = y + p * h->target_stride * size;
            if (side_by_side && !s->interleaved) {
                l->kernels->transpose(channels, counts[i], from, s->line_pitch[0], to, w->target_stride);
                continue;
            }
            for (ptrdiff_t k = 0; k < channels; k++, from += s->line_pitch[0] * size) {
                void *target = to + (k / c->out_channels * l->groups.y + k % c->out_channels * c->y_channel) * size;
                if (s->interleaved) l->kernels->pool.interleave(total, s->residues, from, s->residue_pitch, target);
                else l->kernels->store(1, counts[i], from, 0, &target, w->target_stride, 0, 0);
            }
        }
    }
}

/* The outputs that a residue has of the largest one's band: `place` itself, or `own`; NULL: none. */
static const fc_direct_place *shorten(const fc_direct_bands *s, int index, const fc_direct_place *place,
                                      fc_direct_place *own) {
    const fc_direct_layout *l = &s->layout[index];
    if (l == s->largest) return place;
    *own = *place;
    for (int i = 1; i < 3; i++)
        own->block.count[i] = min(place->block.count[i], l->axis[i - 1].outputs - place->block.start[i]);
    return own->block.count[1] > 0 && own->block.count[2] > 0 ? own : NULL;
}

static void fill(const bound_call *call, const fc_direct_place *place, char *copy) {
    const fc_direct_bands *s = call->stage;
    fc_direct_place own;
    for (int i = 0; i < s->lines * s->residues; i++, copy += s->copy) {
        const fc_direct_place *its = shorten(s, i, place, &own);
        if (its) fc_direct_fill(&s->layout[i], &call->job->residue[i], its, copy);
    }
}

static void list_offsets(const bound_call *call, ptrdiff_t *tables) {
    const fc_direct_bands *s = call->stage;
    for (int i = 0; i < s->lines * s->residues; i++) {
        const fc_direct_layout *l = &s->layout[i];
        ptrdiff_t *other_x = tables + 2 * i * s->others, *other_w = other_x + s->others;
        fc_direct_tables(l, &call->job->residue[i], other_x, other_w);
        for (ptrdiff_t k = 0; l->by_channel && k < l->others; k++)
            other_w[k] = k * l->axis[1].taps * l->kernels->lanes; /* of what is packed */
    }
}

/* All residues of one unit. */
static void sum_unit(const bound_call *call, const fc_direct_place *place, const ptrdiff_t *tables, const char *copy,
                     char *lines) {
    const fc_direct_bands *s = call->stage;
    const ptrdiff_t size = s->layout->size;
    fc_direct_place own;
    for (int line = 0; line < s->lines; line++) {
        ptrdiff_t counts[FC_MAX_RESIDUES];
        const fc_direct_place *any = NULL;
        for (int i = 0; i < s->residues; i++, copy += s->copy) {
            const int index = line * s->residues + i;
            const fc_direct_place *its = shorten(s, index, place, &own);
            counts[i] = its ? its->block.count[2] : 0;
            if (!its) continue;
            any = its;
            char *target = lines + i * s->residue_pitch * size;
            sum_residue(call, index, its, tables + 2 * index * s->others, copy, target);
        }
        if (any && !s->to_y) store_lines(call, line, any, counts, lines);
    }
}

static void bands_task(void *context, int task) {
    const bound_call *call = context;
    const fc_direct_bands *s = call->stage;
    const fc_units units = fc_units_of(s->units, s->tasks, task);
    const ptrdiff_t copies = s->copy * s->lines * s->residues; /* of one unit */
    char *scratch = fc_scratch_acquire(s->copy_bytes + s->table_bytes + s->line_bytes);
    if (!scratch) {
        fc_stop(call->run, FC_NO_MEMORY);
        return;
    }
    memset(scratch, 0, s->copy_bytes);
    ptrdiff_t *tables = (ptrdiff_t *)(scratch + s->copy_bytes);
    char *lines = scratch + s->copy_bytes + s->table_bytes;
    list_offsets(call, tables);
    fc_direct_place place = fc_direct_find(s->largest, units.begin), next = place;
    if (s->copies > 1) fill(call, &place, scratch);
    ptrdiff_t turn = 0;
    const ptrdiff_t work = copies * s->others * call->job->residue->out_channels;
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(call->run, u - units.begin, work); u++) {
        char *own = scratch + turn * copies;
        fc_direct_next(s->largest, &next);
        if (s->copies == 1) fill(call, &place, own);
        else if (u + 1 < units.end) fill(call, &next, scratch + (turn = 1 - turn) * copies);
        sum_unit(call, &place, tables, own, lines);
        place = next;
    }
    fc_scratch_release(scratch);
}

void fc_direct_run_bands(const fc_direct_bands *stage, const fc_direct_job *job) {
    bound_call call = {.stage = stage, .job = job, .run = &job->conv->run};
    FC_ASSERT(job->lines == stage->lines && job->residues == stage->residues);
    FC_ASSERT(job->residue[0].planes == stage->layout[0].planes && job->residue[0].x);
    char *packed = NULL;
    if (stage->layout->by_channel) {
        packed = pack(&call);
        if (!packed) {
            fc_stop(call.run, FC_NO_MEMORY);
            return;
        }
    }
    fc_parallel(call.run, (int)stage->tasks, bands_task, &call);
    fc_scratch_release(packed);
}

/* The register tiles of direct.tmpl.h. */
static void describe_tile(const fc_direct_layout *l, ptrdiff_t tile[2]) {
    const ptrdiff_t outputs = l->blocks.size[1 + l->blocked], lanes = l->kernels->lanes;
    const ptrdiff_t taps = l->axis[l->blocked].taps, x_step = l->blocks.pitch[1 + l->blocked];
    const int strided = x_step == 2 * l->tap_step && x_step != l->tap_step && (taps == 3 || taps == 5);
    const int one_vector = l->by_channel || l->blocks.size[2] <= lanes;
    tile[0] = one_vector && !strided ? FC_DIRECT_BLOCK : 4;
    tile[1] = one_vector ? lanes : 2 * lanes;
    if (!l->by_channel && outputs == 1) {
        tile[0] = 1;
        tile[1] = 4 * lanes;
    }
}

void fc_direct_describe_bands(const fc_direct_bands *stage, fc_description *d) {
    const fc_direct_layout *l = stage->largest;
    for (int i = 0; i < 3; i++) d->block[i] = l->blocks.size[i];
    describe_tile(l, d->tile);
    d->tasks = stage->tasks;
    d->workspace = (stage->copy_bytes + stage->table_bytes + stage->line_bytes) * (size_t)stage->tasks;
    d->workspace += stage->weight_bytes + stage->bias_bytes + stage->list_bytes; /* which each run arranges */
    snprintf(d->how, sizeof d->how, "%s in the vector%s, over padded copies of bands of %td x %td outputs",
             l->by_channel ? "channels" : "pixels of a line", l->planar ? " (planes are transposed)" : "",
             l->blocks.size[1], l->blocks.size[2]);
}
