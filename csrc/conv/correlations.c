/* Forward is a correlation as it stands. Backward data is one per residue of the stride: positions of dx that
 * are congruent modulo the stride see the same taps of w, and dy with stride 1. */
#include "correlations.h"

#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"

/* Element `offset` of an array; of a plan, which has none, NULL. */
static char *element(const fc_conv_job *j, void *base, ptrdiff_t offset) {
    return base ? (char *)base + offset * j->size : NULL;
}

/* What a correlation reads and writes, of a call; `first`: its first weight and element of the bias. */
static void bind(const fc_conv_job *j, fc_op op, ptrdiff_t first_w, ptrdiff_t first_bias, fc_correlation *c) {
    if (!j->a) return;
    const int back = op == FC_BACKWARD_DATA;
    c->x = back ? j->a->y : j->a->x;
    c->w = element(j, j->a->w, first_w);
    c->bias = element(j, j->a->b, first_bias);
    c->y = element(j, back ? j->a->x : j->a->y, c->y_first);
}

fc_axis fc_conv_forward_axis(const fc_conv_problem *p, int axis) {
    return (fc_axis){
        .size = p->in_size[axis],
        .source_stride = p->x_strides[axis + 2],
        .outputs = p->out_size[axis],
        .target_stride = p->y_strides[axis + 2],
        .stride = p->stride[axis],
        .taps = p->kernel[axis],
        .tap = -p->pad[axis],
        .tap_step = p->dilation[axis],
        .weight_step = p->w_strides[axis + 2],
    };
}

/* Completes the lists up to `planes`, of which the first channel's are there; the others are so far apart. */
static void repeat_channels(const fc_conv_job *j, ptrdiff_t first, ptrdiff_t planes, ptrdiff_t x, ptrdiff_t w) {
    for (ptrdiff_t i = first; i < planes; i++) {
        j->plane[i] = j->plane[i - first] == FC_ZEROS ? FC_ZEROS : j->plane[i - first] + x;
        j->w_plane[i] = j->w_plane[i - first] + w;
    }
}

fc_correlation fc_conv_forward_correlation(const fc_conv_job *j, ptrdiff_t g, ptrdiff_t o) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t planes = j->C * p->kernel[0];
    for (ptrdiff_t t = 0; t < p->kernel[0]; t++) {
        const ptrdiff_t d = o * p->stride[0] - p->pad[0] + t * p->dilation[0];
        const int on_data = d >= 0 && d < p->in_size[0];
        j->plane[t] = on_data ? g * j->C * p->x_strides[1] + d * p->x_strides[2] : FC_ZEROS;
        j->w_plane[t] = t * p->w_strides[2];
    }
    repeat_channels(j, p->kernel[0], planes, p->x_strides[1], p->w_strides[1]);
    fc_correlation c = {
        .images = p->batch,
        .x_image = p->x_strides[0],
        .y_image = p->y_strides[0],
        .out_channels = j->K,
        .w_out_channel = p->w_strides[0],
        .y_channel = p->y_strides[1],
        .planes = planes,
        .x_plane = j->plane,
        .w_plane = j->w_plane,
        .axis = {fc_conv_forward_axis(p, 1), fc_conv_forward_axis(p, 2)},
        .y_first = g * j->K * p->y_strides[1] + o * p->y_strides[2],
        .relu = p->relu,
        .padding_counts = 1,
    };
    bind(j, FC_FORWARD, g * j->K * p->w_strides[0], g * j->K, &c);
    return c;
}

fc_weights_gradient fc_conv_weights_gradient(const fc_conv_job *j, ptrdiff_t g, const fc_correlation *c) {
    const fc_conv_problem *p = j->p;
    fc_weights_gradient gradient = {.c = *c, .has_dw = p->has_w, .has_db = p->has_b};
    gradient.c.w = gradient.c.bias = NULL;
    gradient.c.y = NULL;
    if (!j->a) return gradient;
    gradient.dy = element(j, j->a->y, c->y_first);
    if (p->has_w) gradient.dw = element(j, j->a->w, g * j->K * p->w_strides[0]);
    if (p->has_b) gradient.db = element(j, j->a->b, g * j->K);
    return gradient;
}

/* Whether outputs are the positions of the axis, one for one. */
static int is_identity(const fc_axis *a) {
    return a->taps == 1 && a->stride == 1 && a->tap == 0 && a->size == a->outputs;
}

fc_correlation fc_merge_axes(const fc_correlation *correlation) {
    fc_correlation c = *correlation;
    fc_axis *h = &c.axis[0], *w = &c.axis[1];
    if (is_identity(h) && is_identity(w) && h->source_stride == w->size * w->source_stride &&
        h->target_stride == w->size * w->target_stride) {
        w->size = w->outputs = h->size * w->size;
        w->weight += h->weight;
        h->size = h->outputs = 1;
        h->weight = 0;
    }
    return c;
}

/* Taps so many apart reach the same positions of dx, modulo the stride. */
static ptrdiff_t period_of(const fc_conv_problem *p, int axis) {
    return p->stride[axis] / greatest_common_divisor(p->stride[axis], p->dilation[axis]);
}

/* The positions of dx that tap t0 reaches, and every period-th tap with it: position first + m *
 * stride reads dy at m + tap + i * tap_step for tap t0 + i * period. */
static fc_axis backward_axis(const fc_conv_problem *p, int axis, ptrdiff_t t0, ptrdiff_t period,
                             ptrdiff_t *first) {
    const ptrdiff_t stride = p->stride[axis], dilation = p->dilation[axis], pad = p->pad[axis];
    const ptrdiff_t below = (t0 * dilation - pad) % stride;
    *first = below < 0 ? below + stride : below;
    if (*first >= p->in_size[axis]) return (fc_axis){.outputs = 0};
    const ptrdiff_t outputs = (p->in_size[axis] - *first - 1) / stride + 1;
    const ptrdiff_t taps = (p->kernel[axis] - t0 - 1) / period + 1;
    return (fc_axis){
        .size = p->out_size[axis],
        .source_stride = p->y_strides[axis + 2],
        .outputs = outputs,
        .target_stride = outputs > 1 ? p->x_strides[axis + 2] * stride : 0,
        .stride = 1,
        .taps = taps,
        .tap = (*first + pad - t0 * dilation) / stride,
        .tap_step = -(dilation / (stride / period)),
        .weight = t0 * p->w_strides[axis + 2],
        .weight_step = taps > 1 ? period * p->w_strides[axis + 2] : 0,
    };
}

/* Fills the lists with the (k, t) whose output plane lies on dy, for input plane i of group g. */
static ptrdiff_t backward_planes(const fc_conv_job *j, ptrdiff_t g, ptrdiff_t i) {
    const fc_conv_problem *p = j->p;
    ptrdiff_t planes = 0;
    /* 0 <= i + pad - t * dilation <= (out_size - 1) * stride */
    const ptrdiff_t beyond = i + p->pad[0] - (p->out_size[0] - 1) * p->stride[0];
    const ptrdiff_t low = beyond > 0 ? (beyond - 1) / p->dilation[0] + 1 : 0;
    const ptrdiff_t reachable = (i + p->pad[0]) / p->dilation[0] + 1;
    const ptrdiff_t high = reachable < p->kernel[0] ? reachable : p->kernel[0];
    for (ptrdiff_t t = low; t < high; t++) {
        const ptrdiff_t scaled = i + p->pad[0] - t * p->dilation[0];
        if (scaled % p->stride[0]) continue;
        j->plane[planes] = g * j->K * p->y_strides[1] + scaled / p->stride[0] * p->y_strides[2];
        j->w_plane[planes++] = t * p->w_strides[2];
    }
    repeat_channels(j, planes, planes * j->K, p->y_strides[1], p->w_strides[0]);
    return planes * j->K;
}

fc_axis fc_conv_backward_axis(const fc_conv_problem *p, int axis) {
    ptrdiff_t first;
    return backward_axis(p, axis, 0, period_of(p, axis), &first);
}

fc_axis fc_conv_backward_bound(const fc_conv_problem *p, int axis) {
    const ptrdiff_t period = period_of(p, axis), stride = p->stride[axis];
    return (fc_axis){
        .size = p->out_size[axis],
        .outputs = (p->in_size[axis] - 1) / stride + 1,
        .stride = 1,
        .taps = (p->kernel[axis] - 1) / period + 1,
        .tap_step = -(p->dilation[axis] / (stride / period)),
    };
}

fc_correlation fc_conv_deep_correlation(const fc_conv_job *j, fc_op op, ptrdiff_t g, fc_axis *depth) {
    const fc_conv_problem *p = j->p;
    const int back = op == FC_BACKWARD_DATA;
    const ptrdiff_t C = back ? j->K : j->C, K = back ? j->C : j->K;
    const ptrdiff_t *from = back ? p->y_strides : p->x_strides, *to = back ? p->x_strides : p->y_strides;
    const ptrdiff_t w_channel = p->w_strides[back ? 0 : 1];
    fc_axis axis[3];
    for (int i = 0; i < 3; i++) axis[i] = back ? fc_conv_backward_axis(p, i) : fc_conv_forward_axis(p, i);
    for (ptrdiff_t i = 0; i < C * p->kernel[0]; i++) {
        j->plane[i] = (g * C + i % C) * from[1];
        j->w_plane[i] = i % C * w_channel + i / C * p->w_strides[2];
    }
    *depth = axis[0];
    fc_correlation c = {
        .images = p->batch * axis[0].outputs,
        .x_image = from[0],
        .y_image = to[0],
        .out_channels = K,
        .w_out_channel = p->w_strides[back ? 1 : 0],
        .y_channel = to[1],
        .planes = C * p->kernel[0],
        .x_plane = j->plane,
        .w_plane = j->w_plane,
        .axis = {axis[1], axis[2]},
        .y_first = g * K * to[1],
        .relu = op == FC_FORWARD && p->relu,
        .padding_counts = !back,
    };
    bind(j, op, g * j->K * p->w_strides[0], g * K, &c);
    return c;
}

void fc_conv_backward_plane(fc_conv_job *j, ptrdiff_t g, ptrdiff_t i, fc_conv_each each, void *context) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t period[3] = {0, period_of(p, 1), period_of(p, 2)};
    fc_correlation c = {
        .images = p->batch,
        .x_image = p->y_strides[0],
        .y_image = p->x_strides[0],
        .out_channels = j->C,
        .w_out_channel = p->w_strides[1],
        .y_channel = p->x_strides[1],
        .planes = backward_planes(j, g, i),
        .x_plane = j->plane,
        .w_plane = j->w_plane,
    };
    if (!c.planes) return;
    fc_correlation residue[FC_MAX_RESIDUES];
    int lines = 0, residues = 0;
    for (ptrdiff_t s = 0; s < p->kernel[1] && s < period[1]; s++) {
        ptrdiff_t first[2];
        c.axis[0] = backward_axis(p, 1, s, period[1], &first[0]);
        if (!c.axis[0].outputs) continue;
        int count = 0;
        for (ptrdiff_t t = 0; t < p->kernel[2] && t < period[2]; t++) {
            c.axis[1] = backward_axis(p, 2, t, period[2], &first[1]);
            if (!c.axis[1].outputs) continue;
            c.y_first = g * j->C * p->x_strides[1] + i * p->x_strides[2] + first[0] * p->x_strides[3] +
                        first[1] * p->x_strides[4];
            bind(j, FC_BACKWARD_DATA, g * j->K * p->w_strides[0], g * j->C, &c);
            if (lines * residues + count == FC_MAX_RESIDUES) { /* too many for one call */
                if (lines && j->run.status == FC_OK) each(j, context, residue, lines, residues);
                memmove(residue, residue + lines * residues, (size_t)count * sizeof *residue);
                lines = 0;
            }
            if (count == FC_MAX_RESIDUES) {
                if (j->run.status == FC_OK) each(j, context, residue, 1, count);
                count = 0;
            }
            residue[lines * residues + count++] = c;
        }
        if (lines && count != residues) {
            if (j->run.status == FC_OK) each(j, context, residue, lines, residues);
            memmove(residue, residue + lines * residues, (size_t)count * sizeof *residue);
            lines = 0;
        }
        residues = count;
        lines += count > 0;
    }
    if (lines && j->run.status == FC_OK) each(j, context, residue, lines, residues);
}

/* Whether every position of dx is reached by some tap, so that all of dx will be written. */
static int covers(const fc_conv_problem *p, const ptrdiff_t period[3]) {
    if (p->in_size[0] > 1 || p->kernel[0] > 1 || p->pad[0] > 0) return 0;
    for (int axis = 1; axis < 3; axis++)
        if (period[axis] != p->stride[axis] || p->kernel[axis] < period[axis]) return 0;
    return 1;
}

/* The strides of an axis of size 1 mean nothing. */
static int weights_are_contiguous(const fc_conv_job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t size[5] = {p->out_channels, j->C, p->kernel[0], p->kernel[1], p->kernel[2]};
    ptrdiff_t expected = 1;
    for (int axis = 4; axis >= 0; expected *= size[axis--])
        if (size[axis] > 1 && p->w_strides[axis] != expected) return 0;
    return 1;
}

int fc_conv_weights_are_finite(const fc_conv_job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t *s = p->w_strides, *n = p->kernel, taps = n[0] * n[1] * n[2];
    if (weights_are_contiguous(j)) return j->kernels->finite(p->out_channels * j->C * taps, j->a->w);
    for (ptrdiff_t k = 0; k < p->out_channels; k++)
        for (ptrdiff_t c = 0; c < j->C; c++)
            for (ptrdiff_t t = 0; t < taps; t++) {
                const ptrdiff_t offset = k * s[0] + c * s[1] + t / (n[1] * n[2]) * s[2] +
                                         t / n[2] % n[1] * s[3] + t % n[2] * s[4];
                if (!j->kernels->finite(1, element(j, j->a->w, offset))) return 0;
            }
    return 1;
}

static void repeat(ptrdiff_t size, const void *value, ptrdiff_t count, ptrdiff_t step, void *target) {
    if (size == 4)
        for (ptrdiff_t i = 0; i < count; i++) ((float *)target)[i * step] = *(const float *)value;
    else
        for (ptrdiff_t i = 0; i < count; i++) ((double *)target)[i * step] = *(const double *)value;
}

/* Fills dx with the bias of each channel, to which taps add. Units are lines of an image. */
static void fill_task(void *context, int part) {
    fc_conv_job *j = context;
    const fc_conv_problem *p = j->p;
    const ptrdiff_t *s = p->x_strides, *n = p->in_size;
    const fc_units rows = fc_units_of(p->batch * n[0] * n[1], j->run.threads, part);
    for (ptrdiff_t u = rows.begin; u < rows.end && !fc_stopped_at(&j->run, u - rows.begin, 1024); u++) {
        const ptrdiff_t image = u / (n[0] * n[1]), d = u / n[1] % n[0], h = u % n[1];
        char *row = (char *)j->a->x + (image * s[0] + d * s[2] + h * s[3]) * j->size;
        if (s[1] == 1)
            for (ptrdiff_t w = 0; w < n[2]; w++)
                memcpy(row + w * s[4] * j->size, j->a->b, (size_t)(p->in_channels * j->size));
        else
            for (ptrdiff_t c = 0; c < p->in_channels; c++)
                repeat(j->size, element(j, j->a->b, c), n[2], s[4], row + c * s[1] * j->size);
    }
}

static void fill(fc_conv_job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t *n = p->in_size;
    if (j->a->b) fc_parallel(&j->run, j->run.threads, fill_task, j);
    else memset(j->a->x, 0, (size_t)(p->batch * p->in_channels * n[0] * n[1] * n[2] * j->size));
}

void fc_conv_backward_data(fc_conv_job *j, ptrdiff_t groups, fc_conv_each each, void *context) {
    const fc_conv_problem *p = j->p;
    ptrdiff_t period[3];
    for (int axis = 0; axis < 3; axis++) period[axis] = period_of(p, axis);
    if (j->a && !covers(p, period)) fill(j);
    for (ptrdiff_t g = 0; g < groups; g++)
        for (ptrdiff_t i = 0; i < p->in_size[0] && !fc_stopped(&j->run); i++)
            fc_conv_backward_plane(j, g, i, each, context);
    if (j->a && !fc_conv_weights_are_finite(j)) fc_naive_repair_edges(p, j->a, &j->run);
}

void fc_conv_clear_gradients(const fc_conv_problem *p, const fc_arrays *a) {
    const size_t size = p->call.dtype == FC_FLOAT32 ? 4 : 8, K = (size_t)p->out_channels;
    const ptrdiff_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    if (a->w) memset(a->w, 0, K * (size_t)(p->in_channels / p->groups * taps) * size);
    if (a->b) memset(a->b, 0, K * size);
}

int fc_conv_useful_threads(const fc_conv_problem *p) {
    double work = (double)p->batch * (double)p->out_channels *
                  ((double)p->in_channels / (double)p->groups);
    for (int axis = 0; axis < 3; axis++)
        work *= (double)p->kernel[axis] * (double)p->out_size[axis];
    return fc_useful_threads(p->call.threads, work, FC_CONV_THREAD_WORK);
}

fc_conv_job fc_conv_start(const fc_conv_problem *p, const fc_arrays *a, fc_question interrupted) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    fc_conv_job j = {
        .p = p,
        .a = a,
        .kernels = fc_find_kernels(p->call.isa, p->call.dtype),
        .size = p->call.dtype == FC_FLOAT32 ? 4 : 8,
        .C = C,
        .K = K,
        .run = fc_start(fc_conv_useful_threads(p), interrupted),
    };
    j.run.flush = 1;
    const ptrdiff_t planes = max(C, K) * p->kernel[0];
    j.plane = fc_scratch_acquire(2 * sizeof *j.plane * (size_t)planes);
    if (j.plane) j.w_plane = j.plane + planes;
    return j;
}

fc_status fc_conv_end(fc_conv_job *j) {
    fc_scratch_release(j->plane);
    return (fc_status)j->run.status;
}
