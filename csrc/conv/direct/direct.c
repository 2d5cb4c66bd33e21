/* Depthwise convolutions, groups of few channels, dx of few input channels: every tap in place, over the planes
 * themselves (in_place.c), or over a padded copy of a band in L1 (kernels/direct.tmpl.h), all groups and
 * images shared out among the threads. Pixels of a row are the vector, or, with channels last and one channel a
 * group, the channels are. */
#include "shared.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"

/* Copies that are filled a unit ahead. */
static const ptrdiff_t SMALL_COPY = 16 << 10;
static const ptrdiff_t MAX_BYTES = 8 << 20;
/* Channels of a group, and products of an input and an output one, beyond which gathered GEMMs win. */
enum { MAX_CHANNELS = 8, MAX_PRODUCTS = 16 };

/* A correlation of all groups, or several whose targets differ by their residues of the stride. */
typedef struct {
    fc_run *run;
    fc_direct_plan plan[FC_MAX_RESIDUES]; /* [line][residue] */
    int lines, residues;
    int interleaved;     /* the residues are all of the stride, in order: rows leave whole */
    int in_place;        /* sums go straight to y */
    const fc_direct_plan *widest; /* whose last axis has the most outputs */
    ptrdiff_t copy, others;
    ptrdiff_t copies;    /* 2: small ones are filled a unit ahead, since loads wait for fresh stores */
    const char *weights; /* by channel: [vector][residue][other][tap][lane] */
    const char *bias;
    ptrdiff_t packed[FC_MAX_RESIDUES + 1]; /* elements before each residue's weights; of a vector's */
    ptrdiff_t units, parts;
    /* Bytes of a thread's copies, of its tables, of rows on their way to y: [channel][row][residue][column]. */
    size_t copy_room, table_room, stage_room;
    ptrdiff_t stage_pitch[2], residue_pitch; /* elements between channels and rows; between residues */
} forward_job;

/* Weights and bias with the groups of a vector side by side; lanes beyond the last are zeros. */
static char *pack(forward_job *f, const fc_correlation *residue) {
    const fc_direct_plan *p = &f->plan[0];
    const ptrdiff_t lanes = p->kernels->lanes, size = p->size, vectors = quotient_up(p->groups.count, lanes);
    const ptrdiff_t elements = f->packed[f->lines * f->residues];
    const size_t weights = fc_aligned(vectors * elements * size), bias = fc_aligned(vectors * lanes * size);
    char *base = fc_scratch_acquire(weights + bias + fc_aligned(2 * f->others * (ptrdiff_t)sizeof(ptrdiff_t)));
    if (!base) return NULL;
    if (p->groups.count % lanes) memset(base, 0, weights + bias);
    ptrdiff_t *other_x = (ptrdiff_t *)(base + weights + bias), *other_w = other_x + f->others;
    for (int i = 0; i < f->lines * f->residues; i++) {
        const fc_direct_plan *q = &f->plan[i];
        const fc_axis *w = &residue[i].axis[1];
        const ptrdiff_t step = q->blocks.residues[1].reversed ? -w->weight_step : w->weight_step;
        fc_direct_tables(q, other_x, other_w);
        for (ptrdiff_t v = 0; v < vectors; v++) {
            char *target = base + (v * elements + f->packed[i]) * size;
            const char *source = (const char *)residue[i].w + v * lanes * p->groups.w * size;
            const ptrdiff_t groups = min(lanes, p->groups.count - v * lanes);
            for (ptrdiff_t k = 0; k < q->others; k++)
                for (ptrdiff_t t = 0; t < w->taps; t++, target += lanes * size)
                    p->kernels->copy(groups, source + (other_w[k] + t * step) * size, p->groups.w, target);
        }
    }
    if (residue->bias) memcpy(base + weights, residue->bias, (size_t)(p->groups.count * size));
    f->weights = base;
    f->bias = residue->bias ? base + weights : NULL;
    return base;
}

/* Outputs of one residue in a band, to y or to rows of a stage. */
static void sums(const forward_job *f, int residue, const fc_direct_place *place, const ptrdiff_t *tables,
                 const char *copy, char *stage) {
    const fc_block *block = &place->block;
    const fc_direct_plan *p = &f->plan[residue];
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1], *blocked = &c->axis[p->blocked];
    const ptrdiff_t size = p->size, lanes = p->kernels->lanes;
    fc_direct d = {
        .outputs = block->count[1 + p->blocked],
        .width = block->count[2],
        .taps = blocked->taps,
        .tap_step = p->tap_step,
        .w_tap = p->by_channel ? lanes : p->blocks.residues[0].reversed ? -h->weight_step : h->weight_step,
        .x_step = p->blocks.pitch[1 + p->blocked],
        .others = p->others,
        .other_x = tables,
        .other_w = tables + f->others,
        .relu = c->relu,
    };
    char *y = (char *)c->y + (block->start[0] * c->y_image + block->start[1] * h->target_stride +
                              block->start[2] * w->target_stride + place->group * p->groups.y) * size;
    if (p->by_channel) {
        const ptrdiff_t row_step = p->planar ? w->outputs * lanes : h->target_stride;
        char *target = p->planar ? stage : y;
        d.y_step = p->planar ? lanes : w->target_stride;
        const ptrdiff_t vector = place->group / lanes;
        const char *weights = f->weights + (vector * f->packed[f->lines * f->residues] + f->packed[residue]) * size;
        for (ptrdiff_t row = 0; row < block->count[1]; row++) {
            d.w = weights;
            for (ptrdiff_t g = 0; g < place->groups; g += lanes) {
                d.width = p->planar ? lanes : min(lanes, place->groups - g);
                d.bias = f->bias ? f->bias + (place->group + g) * size : NULL;
                p->kernels->direct_channels(&d, copy + (row * p->blocks.pitch[1] + g) * size,
                                            target + (row * row_step + g) * size);
                d.w = (const char *)d.w + f->packed[f->lines * f->residues] * size;
            }
        }
        if (p->planar)
            p->kernels->transpose(h->outputs * w->outputs, place->groups, stage, lanes, y, p->groups.y);
        return;
    }
    d.y_step = f->in_place ? h->target_stride : f->stage_pitch[1];
    for (ptrdiff_t g = 0; g < place->groups; g++, y += p->groups.y * size, copy += fc_direct_group_copy(p) * size)
        for (ptrdiff_t k = 0; k < c->rows; k++, stage += f->stage_pitch[0] * size) {
            d.w = (const char *)c->w + ((place->group + g) * p->groups.w + k * c->w_row) * size;
            d.bias = c->bias ? (const char *)c->bias + ((place->group + g) * c->rows + k) * size : NULL;
            p->kernels->direct_pixels(&d, copy, f->in_place ? y + k * c->y_row * size : stage);
        }
}

/* Staged rows of a line to y. */
static void store_stage(const forward_job *f, int line, const fc_direct_place *place, const ptrdiff_t counts[],
                  const char *stage) {
    const fc_block *block = &place->block;
    const ptrdiff_t *stage_pitch = f->stage_pitch, residue_pitch = f->residue_pitch;
    const fc_direct_plan *p = &f->plan[line * f->residues];
    const fc_correlation *c = p->c;
    const ptrdiff_t size = p->size, channels = place->groups * c->rows;
    const int side_by_side = channels > 1 && p->groups.y == c->rows && (c->rows == 1 || c->y_row == 1);
    for (int i = 0; i < (f->interleaved ? 1 : f->residues); i++) {
        const fc_correlation *own = p[i].c;
        const fc_axis *h = &own->axis[0], *w = &own->axis[1];
        char *y = (char *)own->y + (block->start[0] * c->y_image + block->start[1] * h->target_stride +
                                    block->start[2] * w->target_stride + place->group * p->groups.y) * size;
        const char *source = stage + i * residue_pitch * size;
        ptrdiff_t total = 0;
        for (int other = 0; other < f->residues; other++) total += counts[other];
        for (ptrdiff_t row = 0; row < block->count[1]; row++) {
            const char *from = source + row * stage_pitch[1] * size;
            char *to = y + row * h->target_stride * size;
            if (side_by_side && !f->interleaved) {
                p->kernels->transpose(channels, counts[i], from, stage_pitch[0], to, w->target_stride);
                continue;
            }
            for (ptrdiff_t k = 0; k < channels; k++, from += stage_pitch[0] * size) {
                void *target = to + (k / c->rows * p->groups.y + k % c->rows * c->y_row) * size;
                if (f->interleaved) p->kernels->pool.interleave(total, f->residues, from, residue_pitch, target);
                else p->kernels->store(1, counts[i], from, 0, &target, w->target_stride, 0, 0);
            }
        }
    }
}

/* The outputs that a residue has of the widest one's band; whether there are any. */
static int shorten(const fc_direct_plan *p, const fc_direct_place *place, fc_direct_place *own) {
    for (int i = 1; i < 3; i++)
        own->block.count[i] = min(place->block.count[i], p->c->axis[i - 1].outputs - place->block.start[i]);
    return own->block.count[1] > 0 && own->block.count[2] > 0;
}

static void fill(const forward_job *f, const fc_direct_place *place, char *copy) {
    fc_direct_place own = *place;
    for (int i = 0; i < f->lines * f->residues; i++, copy += f->copy)
        if (shorten(&f->plan[i], place, &own)) fc_direct_fill(&f->plan[i], &own, copy);
}

static void forward_task(void *context, int index) {
    forward_job *f = context;
    const fc_direct_plan *p = &f->plan[0];
    const fc_units share = fc_units_of(f->units, f->parts, index);
    const ptrdiff_t size = p->size, lanes = p->kernels->lanes, plans = f->lines * f->residues;
    const ptrdiff_t channels = p->c->rows;
    char *copy = fc_scratch_acquire(f->copy_room + f->table_room + f->stage_room);
    if (!copy) {
        fc_stop(f->run, FC_NO_MEMORY);
        return;
    }
    memset(copy, 0, f->copy_room);
    ptrdiff_t *tables = (ptrdiff_t *)(copy + f->copy_room);
    char *stage = copy + f->copy_room + f->table_room;
    for (int i = 0; i < plans; i++) {
        ptrdiff_t *own = tables + 2 * i * f->others, *other_w = own + f->others;
        fc_direct_tables(&f->plan[i], own, other_w);
        for (ptrdiff_t k = 0; p->by_channel && k < f->plan[i].others; k++)
            other_w[k] = k * f->plan[i].c->axis[1].taps * lanes;
    }
    fc_direct_place place = fc_direct_find(f->widest, share.begin), next = place;
    if (f->copies > 1) fill(f, &place, copy);
    ptrdiff_t turn = 0;
    const ptrdiff_t work = f->copy * plans * f->others * channels;
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(f->run, u - share.begin, work); u++) {
        char *own = copy + turn * plans * f->copy;
        fc_direct_place part = place;
        ptrdiff_t counts[FC_MAX_RESIDUES];
        fc_direct_next(f->widest, &next);
        if (f->copies == 1) fill(f, &place, own);
        else if (u + 1 < share.end) fill(f, &next, copy + (turn = 1 - turn) * plans * f->copy);
        for (int line = 0; line < f->lines; line++) {
            int any = 0;
            for (int i = 0; i < f->residues; i++, own += f->copy) {
                const int index = line * (int)f->residues + i;
                const int has = shorten(&f->plan[index], &place, &part);
                counts[i] = has ? part.block.count[2] : 0;
                any |= has;
                if (has)
                    sums(f, index, &part, tables + 2 * index * f->others, own,
                         stage + i * f->residue_pitch * size);
            }
            if (any && !f->in_place) store_stage(f, line, &part, counts, stage);
        }
        place = next;
    }
    fc_scratch_release(copy);
}

/* Whether the residues are all those of the stride; brings them into the order of their targets. */
static int order_residues(fc_correlation *residue, int residues) {
    for (int i = 1; i < residues; i++)
        for (int k = i; k > 0 && residue[k].y_first < residue[k - 1].y_first; k--) {
            const fc_correlation other = residue[k];
            residue[k] = residue[k - 1];
            residue[k - 1] = other;
        }
    for (int i = 0; i < residues; i++) {
        if (residue[i].y_first != residue[0].y_first + i) return 0;
        if (residue[i].axis[1].outputs > 1 && residue[i].axis[1].target_stride != residues) return 0;
    }
    return residues > 1;
}

/* `residue` must outlive the job; its residues are put in order. */
static void plan_forward(forward_job *f, fc_conv_job *j, fc_correlation *residue, int lines, int residues,
                         const fc_groups *groups) {
    const int count = lines * residues;
    *f = (forward_job){.run = &j->run, .lines = lines, .residues = residues, .interleaved = 1};
    for (int line = 0; line < lines; line++)
        f->interleaved &= order_residues(residue + line * residues, residues);
    fc_direct_plan like = fc_plan_direct(j->kernels, j->size, residue, groups, count, NULL);
    for (int i = 1; i < count; i++) {
        const fc_direct_plan p = fc_plan_direct(j->kernels, j->size, &residue[i], groups, count, NULL);
        for (int axis = 1; axis < 3; axis++)
            like.blocks.size[axis] = min(like.blocks.size[axis], p.blocks.size[axis]);
        like.together = min(like.together, p.together);
        like.blocks.inner = min(like.blocks.inner, p.blocks.inner);
    }
    double outputs = 0;
    for (int i = 0; i < count; i++) {
        const fc_direct_plan *p = &f->plan[i];
        f->plan[i] = fc_plan_direct(j->kernels, j->size, &residue[i], groups, count, &like);
        f->copy = max(f->copy, (ptrdiff_t)fc_aligned(p->copy));
        f->others = max(f->others, p->others);
        f->packed[i + 1] = f->packed[i] + p->others * residue[i].axis[1].taps * j->kernels->lanes;
        const double own = (double)residue[i].axis[0].outputs * (double)residue[i].axis[1].outputs;
        if (own > outputs) f->widest = p;
        outputs = own > outputs ? own : outputs;
    }
    const fc_direct_plan *p = &f->plan[0];
    const fc_axis *w = &residue->axis[1];
    if (p->by_channel || p->together > 1) f->interleaved = 0;
    f->in_place = p->by_channel || (residues == 1 && (w->outputs == 1 || w->target_stride == 1));
    f->units = fc_direct_units(f->widest);
    f->parts = min(f->units, j->run.threads);
    f->copies = f->copy * count <= SMALL_COPY ? 2 : 1;
    const fc_blocks *b = &f->widest->blocks;
    f->residue_pitch = quotient_up(b->size[2], j->kernels->lanes) * j->kernels->lanes;
    f->stage_pitch[1] = residues * f->residue_pitch;
    f->stage_pitch[0] = b->size[1] * f->stage_pitch[1];
    f->copy_room = (size_t)(f->copy * count * f->copies);
    f->table_room = fc_aligned(2 * count * f->others * (ptrdiff_t)sizeof(ptrdiff_t));
    if (p->planar) f->stage_room = fc_aligned(b->size[1] * b->size[2] * j->kernels->lanes * j->size);
    else if (!f->in_place) f->stage_room = fc_aligned(p->together * p->c->rows * f->stage_pitch[0] * j->size);
}

static void correlate(fc_conv_job *j, const fc_correlation *given, int lines, int residues,
                      const fc_groups *groups) {
    fc_correlation residue[FC_MAX_RESIDUES];
    forward_job f;
    memcpy(residue, given, (size_t)(lines * residues) * sizeof *residue);
    plan_forward(&f, j, residue, lines, residues, groups);
    if (!f.plan->by_channel && (residues == 1 || f.interleaved) &&
        fc_direct_in_place(j, residue, lines, residues, groups))
        return;
    char *packed = f.plan->by_channel ? pack(&f, residue) : NULL;
    if (f.plan->by_channel && !packed) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    fc_parallel(&j->run, (int)f.parts, forward_task, &f);
    fc_scratch_release(packed);
}

static void correlate_each(fc_conv_job *j, void *context, const fc_correlation *residue, int lines, int residues) {
    (void)context;
    const fc_conv_problem *p = j->p;
    const fc_groups groups = {p->groups, j->K * p->y_strides[1], j->K * p->w_strides[0], j->C * p->x_strides[1]};
    correlate(j, residue, lines, residues, &groups);
}

static fc_groups forward_groups(const fc_conv_job *j) {
    const fc_conv_problem *p = j->p;
    return (fc_groups){p->groups, j->C * p->x_strides[1], j->K * p->w_strides[0], j->K * p->y_strides[1]};
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    (void)path;
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const double planes = (double)(op == FC_BACKWARD_DATA ? K : C) * (double)p->kernel[0];
    double bytes = 8 * (planes > FC_SIDE_BY_SIDE ? planes : FC_SIDE_BY_SIDE);
    double sums = planes * (double)K * FC_SIDE_BY_SIDE * (4 + 8);
    for (int i = 1; i < 3; i++) {
        const fc_axis axis = op == FC_BACKWARD_DATA ? fc_conv_backward_axis(p, i) : fc_conv_forward_axis(p, i);
        const double outputs = (double)min(axis.outputs, i == 1 ? FC_DIRECT_BLOCK : 8 * FC_SIDE_BY_SIDE);
        sums *= (double)axis.taps;
        const double step = axis.tap_step < 0 ? -(double)axis.tap_step : (double)axis.tap_step;
        bytes *= (outputs - 1) * (double)axis.stride + (double)(axis.taps - 1) * step + 1;
    }
    if (op == FC_BACKWARD_WEIGHTS && sums > MAX_BYTES) return "the sums of a group pass the workspace";
    return bytes > MAX_BYTES ? "the taps of a block of outputs span more than the workspace" : NULL;
}

/* Forward of few input channels, channels first: a regression of the logarithm of the time over that of gathered GEMMs,
 * whose tiles are better filled by multiples of 8 channels. It takes direct sums for a third of 2400 problems of 1 to 8
 * channels by 1 to 128, 2x2 to 7x7 taps, outputs 8 to 224 wide, which take 0.933 of the time of GEMMs alone (the best
 * of both: 0.917); of 640 with AVX2 0.921 (0.894). */
static int suits_forward(ptrdiff_t C, ptrdiff_t K, const fc_conv_problem *p, double fill) {
    const ptrdiff_t taps = p->kernel[1] * p->kernel[2];
    const double unfilled = log((double)(quotient_up(K, 8) * 8) / (double)K);
    const double strided = p->stride[2] > 1 ? 0.09 * log((double)taps) : 0;
    return 0.12 * log((double)C) + 0.07 * log((double)K) - 0.49 * log(fill) - 0.23 * unfilled + strided +
               (taps <= 4 ? 0.22 : 0) < 0.34;
}

/* dx of few input channels. A regression of the logarithm of the time over that of gathered GEMMs. These took 1.5 to
 * 4 times as long where residues are of unlike widths, where each has one tap, and of several channels in a line. */
static int suits_gradient(const fc_conv_problem *p, ptrdiff_t C, ptrdiff_t K, double fill, int one_vector) {
    if (p->in_size[2] % p->stride[2]) return 0;
    if (p->stride[1] >= p->kernel[1] && p->stride[2] >= p->kernel[2]) return 0;
    if (C > 1 && (p->kernel[1] == 1 || p->out_size[1] == 1)) return 0;
    /* On Zen 4 67 problems of these, of all that the regression would take, took 1.07 times as long. */
    if (!one_vector && C > 2 && K > 8 && p->kernel[1] * p->kernel[2] > 9) return 0;
    const double taps = log((double)(p->kernel[1] * p->kernel[2]));
    const double strided = p->stride[2] > 1 ? 0.19 * taps - 0.41 : 0;
    return 0.32 * log((double)C) + 0.12 * log((double)K) - 0.15 * taps - 0.17 * log(fill) + strided <
           (one_vector ? 0.59 : 0.35);
}

/* Measured against gathered GEMMs: these win where an input is used for more products than a register
 * tile of few channels has, kernels of one tap, or vectors of pixels that rows of outputs do not fill.
 * Of 1728 problems of 1 to 8 channels by 8 to 64, 3x3 to 7x7 taps, strides 1 and 2, outputs 8 to 112 wide, and of
 * 250 of them in float64, the rules take 0.91 of the time of GEMMs alone in dx (the best of both: 0.90).
 * bench/choose.py --layers measures one. */
static int suits(fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    if (C == 1 && K == 1) return 1;
    if (p->kernel[1] * p->kernel[2] == 1 || p->out_size[2] < 8 || p->out_size[1] * p->out_size[2] < 32) return 0;
    const ptrdiff_t lanes = fc_find_kernels(p->call.isa, p->call.dtype)->lanes;
    const ptrdiff_t vectors = quotient_up(p->out_size[2], lanes);
    const double fill = (double)p->out_size[2] / (double)(vectors * lanes);
    const int few = C * K <= MAX_PRODUCTS && C <= MAX_CHANNELS && K <= MAX_CHANNELS;
    const int planes = p->kernel[0] == 1 && p->out_size[1] > 1 && p->y_strides[4] == 1;
    if (op == FC_FORWARD && planes && !(few && p->groups > 1)) /* groups of few are read in place */
        return (few || (C <= MAX_CHANNELS && C * p->kernel[1] * p->kernel[2] <= 108)) && suits_forward(C, K, p, fill);
    if (few) return 1;
    if (C > MAX_CHANNELS || p->kernel[0] > 1 || op != FC_BACKWARD_DATA) return 0;
    return suits_gradient(p, C, K, fill, vectors == 1);
}

static void forward(fc_conv_job *j) {
    const fc_groups groups = forward_groups(j);
    for (ptrdiff_t o = 0; o < j->p->out_size[0] && j->run.status == FC_OK; o++) {
        const fc_correlation c = fc_conv_forward_correlation(j, 0, o);
        correlate(j, &c, 1, 1, &groups);
    }
}

static void backward_weights(fc_conv_job *j) {
    const fc_groups groups = forward_groups(j);
    for (ptrdiff_t o = 0; o < j->p->out_size[0] && j->run.status == FC_OK; o++) {
        const fc_correlation c = fc_conv_forward_correlation(j, 0, o);
        const fc_weights_gradient gradient = fc_conv_weights_gradient(j, 0, &c);
        fc_direct_weights(j, &gradient, &groups, o > 0, o == j->p->out_size[0] - 1);
    }
}

static const char *doubt(fc_op op, const fc_problem *problem) {
    return suits(op, &problem->conv) ? NULL : "gathered GEMMs are estimated to take less time";
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    fc_conv_job j = fc_conv_start(&plan->problem.conv, a, interrupted);
    if (!j.plane) return FC_NO_MEMORY;
    if (plan->op == FC_FORWARD) forward(&j);
    else if (plan->op == FC_BACKWARD_DATA) fc_conv_backward_data(&j, 1, correlate_each, NULL);
    else backward_weights(&j);
    return fc_conv_end(&j);
}

static void describe(const fc_plan *plan, fc_description *d) {
    const fc_conv_problem *p = &plan->problem.conv;
    if (plan->op != FC_FORWARD) return;
    fc_conv_job j = fc_conv_start(p, NULL, NULL);
    if (!j.plane) return;
    const fc_groups groups = forward_groups(&j);
    fc_correlation c = fc_conv_forward_correlation(&j, 0, p->out_size[0] / 2);
    forward_job f;
    plan_forward(&f, &j, &c, 1, 1, &groups);
    const size_t in_place = f.plan->by_channel ? 0 : fc_direct_in_place_room(&j, &c, &groups);
    if (in_place) {
        snprintf(d->how, sizeof d->how, "pixels of a row in the vector, in place");
        d->workspace = in_place;
    } else {
        snprintf(d->how, sizeof d->how, "%s in the vector%s, over padded copies of bands of %td x %td outputs",
                 f.plan->by_channel ? "channels" : "pixels of a row",
                 f.plan->planar ? " (planes are transposed)" : "", f.plan->blocks.size[1], f.plan->blocks.size[2]);
        d->workspace = (f.copy_room + f.table_room + f.stage_room) * (size_t)f.parts;
    }
    fc_conv_end(&j);
}

static const fc_algorithm algorithm = {doubt};

const fc_path fc_path_direct = {
    .name = "direct", .algorithm = &algorithm, .exact = 1, .refuses = refuses, .run = run, .describe = describe,
};
