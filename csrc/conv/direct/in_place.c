#include "in_place.h"

#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"

/* An axis whose taps are counted from the one that reads the lowest position. */
static fc_axis ascending(fc_axis axis) {
    if (axis.tap_step < 0) {
        axis.tap += (axis.taps - 1) * axis.tap_step;
        axis.weight += (axis.taps - 1) * axis.weight_step;
        axis.tap_step = -axis.tap_step;
        axis.weight_step = -axis.weight_step;
    }
    return axis;
}

fc_direct_lines fc_direct_lines_of(const fc_correlation *residue, int residues) {
    const fc_axis h = ascending(residue->axis[0]), w = ascending(residue->axis[1]);
    FC_ASSERT(residues == 1 || residues == 2);
    fc_direct_lines d = {
        .lines = h.size, .columns = w.size, .pitch = h.source_stride,
        .stride = h.stride, .origin = h.tap, .taps = h.taps, .line_step = h.taps > 1 ? h.tap_step : 1,
        .column_stride = w.stride, .tap_step = 1,
        .residues = residues,
        .planes = residue->planes,
        .w_channel = residue->w_out_channel, .w_row = h.weight_step,
        .outputs = h.outputs, .y_step = h.target_stride, .y_channel = residue->y_channel,
        .relu = residue->relu,
    };
    for (int f = 0; f < residues; f++) {
        const fc_axis own = ascending(residue[f].axis[1]);
        d.residue[f].origin = own.tap;
        d.residue[f].taps = own.taps;
        d.residue[f].w = h.weight + own.weight;
        if (own.taps > 1) { /* alike in all residues that have several */
            d.tap_step = own.tap_step;
            d.w_column = own.weight_step;
        }
        d.width += own.outputs;
    }
    return d;
}

int fc_direct_fetches(const fc_direct_job *job, ptrdiff_t width) {
    const fc_conv_problem *p = job->conv->p;
    ptrdiff_t x = p->batch * p->in_channels, y = p->batch * p->out_channels;
    for (int i = 0; i < 3; i++) {
        x *= p->in_size[i];
        y *= p->out_size[i];
    }
    return width * job->conv->size >= FC_DIRECT_FETCH_LINE_BYTES && (x + y) * job->conv->size >= FC_DIRECT_FETCH_BYTES;
}

fc_direct_in_place *fc_direct_plan_in_place(fc_plan *plan, const fc_direct_job *job,
                                            fc_direct_arrangement arrangement) {
    const fc_correlation *c = &job->residue[0];
    const ptrdiff_t size = job->conv->size, groups = job->groups.count;
    FC_ASSERT(arrangement == FC_DIRECT_IN_PLACE || arrangement == FC_DIRECT_NARROW);
    fc_direct_in_place *s = fc_plan_allocate(plan, sizeof *s + (size_t)job->lines * sizeof *s->geometry);
    if (!s) return NULL;
    s->lines = job->lines;
    s->residues = job->residues;
    s->narrow = arrangement == FC_DIRECT_NARROW;
    ptrdiff_t outputs = 0, width = 0, entries = 0;
    for (int line = 0; line < job->lines; line++) {
        const fc_direct_lines d = fc_direct_lines_of(&job->residue[line * job->residues], job->residues);
        s->geometry[line] = d;
        outputs = max(outputs, d.outputs);
        width = max(width, d.width);
        entries = max(entries, fc_direct_lines_entries(&d));
    }
    for (int line = 0; line < job->lines; line++) s->geometry[line].fetch = fc_direct_fetches(job, width);
    s->pairs = c->out_channels > 1 && s->residues == 1 && s->geometry[0].column_stride == 1;
    if (s->narrow) {
        s->images = min(FC_DIRECT_NARROW_IMAGES, c->images);
        s->run = FC_DIRECT_NARROW_PLANES / s->images;
        s->runs = quotient_up(groups, s->run);
        s->units = quotient_up(c->images, s->images) * s->runs;
    } else {
        s->band_lines = quotient_up(max(1, FC_DIRECT_BAND_OUTPUTS / width), FC_DIRECT_BLOCK) * FC_DIRECT_BLOCK;
        s->bands = quotient_up(outputs, s->band_lines);
        s->units = c->images * groups * s->bands;
        s->zeros_bytes = fc_aligned(c->axis[1].size * size);
        s->table_bytes = fc_aligned(entries * (ptrdiff_t)sizeof(void *));
        s->planes_bytes = fc_aligned(c->planes * (ptrdiff_t)sizeof(void *));
    }
    s->tasks = min(s->units, job->conv->run.threads);
    return s;
}

/* A stage and the call that runs it. */
typedef struct {
    const fc_direct_in_place *stage;
    const fc_direct_job *job;
    fc_run *run;
} bound_call;

static void sum_unit(const bound_call *call, ptrdiff_t unit, const void **planes, const void *zeros,
                     const void **table) {
    const fc_direct_in_place *s = call->stage;
    const fc_groups *groups = &call->job->groups;
    const fc_kernels *kernels = call->job->conv->kernels;
    const ptrdiff_t band = unit % s->bands, group = unit / s->bands % groups->count;
    const ptrdiff_t image = unit / s->bands / groups->count, size = call->job->conv->size;
    for (int line = 0; line < s->lines; line++) {
        const fc_correlation *c = &call->job->residue[line * s->residues];
        fc_direct_lines d = s->geometry[line];
        const ptrdiff_t first = band * s->band_lines;
        if (first >= d.outputs) continue;
        d.origin += first * d.stride;
        d.outputs = min(s->band_lines, d.outputs - first);
        d.w_plane = c->w_plane;
        d.zeros = zeros;
        d.table = table;
        for (ptrdiff_t i = 0; i < c->planes; i++) {
            const char *plane = fc_plane(c, i, size);
            planes[i] = plane ? plane + (image * c->x_image + group * groups->x) * size : NULL;
        }
        const char *w = c->w + group * groups->w * size;
        const char *bias = c->bias ? c->bias + group * c->out_channels * size : NULL;
        char *y = c->y + (image * c->y_image + group * groups->y + first * d.y_step) * size;
        for (ptrdiff_t k = 0; k < c->out_channels;) {
            const ptrdiff_t channels = s->pairs && k + 1 < c->out_channels ? 2 : 1;
            /* The next group's, while the last channels are summed. */
            d.to_next = k + channels == c->out_channels && s->bands == 1 && groups->count > 1 ? groups->x : 0;
            kernels->direct_lines[channels - 1](&d, planes, w + k * c->w_out_channel * size,
                                                bias ? bias + k * size : NULL,
                                                y + k * c->y_channel * size);
            k += channels;
        }
    }
}

static void sum_narrow(const bound_call *call, ptrdiff_t unit, int line) {
    const fc_direct_in_place *s = call->stage;
    const fc_correlation *c = &call->job->residue[line * s->residues];
    const fc_groups *groups = &call->job->groups;
    const ptrdiff_t image = unit / s->runs * s->images, group = unit % s->runs * s->run, size = call->job->conv->size;
    fc_direct_narrow n = {
        .each = s->geometry[line],
        .planes = min(s->run, groups->count - group),
        .x_plane = groups->x, .y_plane = groups->y, .w_plane = groups->w,
        .images = min(s->images, c->images - image),
        .x_image = c->x_image, .y_image = c->y_image,
    };
    n.each.w_plane = c->w_plane;
    call->job->conv->kernels->direct_narrow(
        &n, fc_plane(c, 0, size) + (image * c->x_image + group * groups->x) * size,
        c->w + (group * groups->w + c->w_plane[0] + n.each.residue[0].w) * size,
        c->bias ? c->bias + group * size : NULL, c->y + (image * c->y_image + group * groups->y) * size);
}

static void narrow_task(void *context, int task) {
    const bound_call *call = context;
    const fc_direct_in_place *s = call->stage;
    const fc_units units = fc_units_of(s->units, s->tasks, task);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(call->run, u - units.begin, FC_DIRECT_BAND_OUTPUTS);
         u++)
        for (int line = 0; line < s->lines; line++)
            if (s->geometry[line].outputs > 0 && s->geometry[line].width > 0) sum_narrow(call, u, line);
}

static void lines_task(void *context, int task) {
    const bound_call *call = context;
    const fc_direct_in_place *s = call->stage;
    const fc_correlation *c = &call->job->residue[0];
    const fc_units units = fc_units_of(s->units, s->tasks, task);
    char *scratch = fc_scratch_acquire(s->zeros_bytes + s->table_bytes + s->planes_bytes);
    if (!scratch) {
        fc_stop(call->run, FC_NO_MEMORY);
        return;
    }
    memset(scratch, 0, s->zeros_bytes);
    const void **table = (const void **)(scratch + s->zeros_bytes);
    const void **planes = (const void **)(scratch + s->zeros_bytes + s->table_bytes);
    const ptrdiff_t work = FC_DIRECT_BAND_OUTPUTS * c->planes * c->out_channels * s->lines * s->residues;
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(call->run, u - units.begin, work); u++)
        sum_unit(call, u, planes, scratch, table);
    fc_scratch_release(scratch);
}

void fc_direct_run_in_place(const fc_direct_in_place *stage, const fc_direct_job *job) {
    bound_call call = {stage, job, &job->conv->run};
    FC_ASSERT(job->lines == stage->lines && job->residues == stage->residues);
    FC_ASSERT(job->residue[0].planes == stage->geometry[0].planes && job->residue[0].x);
    FC_ASSERT(!stage->narrow || job->residue[0].x_plane[0] != FC_ZEROS);
    fc_parallel(call.run, (int)stage->tasks, stage->narrow ? narrow_task : lines_task, &call);
}

/* The register tiles of direct_lines.tmpl.h, of the first line of residues; of one of two output channels, or one. */
static void describe_tile(const fc_direct_lines *d, const fc_kernels *kernels, int is_pair, ptrdiff_t tile[2]) {
    const ptrdiff_t lanes = kernels->lanes;
    const int adjacent = d->line_step == 1 && d->stride == d->column_stride;
    const int few_registers = kernels->few_registers, seven = d->taps == 7 && !few_registers;
    const int is_tall = d->stride == 1 && fc_lines_are_tall(d, lanes, few_registers);
    const int five = d->taps == 5 && (!few_registers || is_tall || d->stride == 2);
    const int whole = adjacent && (d->taps == 3 || five || (d->stride == 1 && (d->taps == 2 || seven)));
    tile[0] = 4;
    tile[1] = lanes;
    if (is_pair && !few_registers) {
        if (d->stride == 1 && d->line_step == 1 && d->taps == 3 && d->width <= lanes) tile[0] = 8;
        else tile[1] = 2 * lanes;
    } else if (d->residues > 1) {
        tile[1] = 2 * lanes;
    } else if (whole) {
        if (is_tall) tile[0] = 8;
        else tile[1] = 2 * lanes;
    } else if (d->outputs == 1) {
        tile[0] = 1;
        tile[1] = 4 * lanes;
    } else if (d->column_stride == 1) {
        tile[1] = 2 * lanes;
    }
}

void fc_direct_describe_in_place(const fc_direct_in_place *stage, const fc_kernels *kernels, fc_description *d) {
    const fc_direct_lines *first = &stage->geometry[0];
    d->tasks = stage->tasks;
    d->block[0] = stage->narrow ? stage->images : 1;
    d->block[1] = stage->narrow ? first->outputs : min(stage->band_lines, first->outputs);
    d->block[2] = first->width;
    d->workspace = (stage->zeros_bytes + stage->table_bytes + stage->planes_bytes) * (size_t)stage->tasks;
    if (stage->narrow) {
        d->tile[0] = kernels->flat_pitch ? 1 : 8; /* in four vectors */
        d->tile[1] = kernels->flat_pitch ? 8 * kernels->lanes : kernels->lanes / 2;
        snprintf(d->how, sizeof d->how, "%s, %td planes of %td images at a time",
                 kernels->flat_pitch ? "pixels of a plane in the vector, one line with zeros between its own"
                                     : "pixels of two lines in the vector, in place",
                 stage->run, stage->images);
    } else {
        describe_tile(first, kernels, stage->pairs, d->tile);
        snprintf(d->how, sizeof d->how, "pixels of a line in the vector, in place");
    }
}
