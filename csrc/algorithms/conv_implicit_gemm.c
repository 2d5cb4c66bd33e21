/* Dense convolution by gathered GEMMs (gemm/correlate.h): any geometry, any strides.
 *
 * Forward is a correlation as it stands. Backward data is one per phase of the stride: positions
 * of dx that are congruent modulo the stride see the same taps of w, and dy with stride 1. A third
 * spatial axis adds planes: (channel, tap of the depth axis). */
#include <stdlib.h>
#include <string.h>

#include "../arithmetic.h"
#include "../gemm/correlate.h"
#include "../memory.h"
#include "conv_algorithm.h"

typedef struct {
    const fc_conv_problem *p;
    const fc_conv_arrays *a;
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    ptrdiff_t C, K; /* channels of a group */
    fc_run run;
    const void **plane; /* lists of C or K times the taps of the depth axis */
    ptrdiff_t *w_plane;
} job;

static const void *element(const job *j, const void *base, ptrdiff_t offset) {
    return base ? (const char *)base + offset * j->size : NULL;
}

static fc_axis forward_axis(const fc_conv_problem *p, int axis) {
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

/* The correlation whose y is output plane o of group g: of the forward, and of dw. */
static fc_correlation forward_correlation(const job *j, ptrdiff_t g, ptrdiff_t o) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t planes = j->C * p->kernel[0];
    for (ptrdiff_t i = 0; i < planes; i++) {
        const ptrdiff_t channel = i / p->kernel[0], t = i % p->kernel[0];
        const ptrdiff_t d = o * p->stride[0] - p->pad[0] + t * p->dilation[0];
        const int on_data = d >= 0 && d < p->in_size[0];
        const ptrdiff_t offset =
            (g * j->C + channel) * p->x_strides[1] + (on_data ? d * p->x_strides[2] : 0);
        j->plane[i] = on_data ? element(j, j->a->x, offset) : NULL;
        j->w_plane[i] = channel * p->w_strides[1] + t * p->w_strides[2];
    }
    return (fc_correlation){
        .images = p->batch,
        .x_image = p->x_strides[0],
        .y_image = p->y_strides[0],
        .rows = j->K,
        .w_row = p->w_strides[0],
        .y_row = p->y_strides[1],
        .planes = planes,
        .x_plane = j->plane,
        .w_plane = j->w_plane,
        .axis = {forward_axis(p, 1), forward_axis(p, 2)},
        .w = element(j, j->a->w, g * j->K * p->w_strides[0]),
        .bias = element(j, j->a->b, g * j->K),
        .y = (void *)element(j, j->a->y, g * j->K * p->y_strides[1] + o * p->y_strides[2]),
        .relu = p->relu,
        .padding_counts = 1,
    };
}

/* The weights of each group in the arrangement of its correlations. */
typedef struct {
    fc_conv_weights common;
    ptrdiff_t groups;
    fc_packed packed[];
} prepared;

static const prepared *find_prepared(const job *j) {
    const fc_conv_weights *weights = j->a->prepared;
    if (!weights || weights->algorithm != &fc_conv_implicit_gemm || weights->isa != j->p->isa) return NULL;
    return (const prepared *)weights;
}

static void forward(job *j) {
    const prepared *weights = find_prepared(j);
    const ptrdiff_t depth = j->p->out_size[0];
    for (ptrdiff_t g = 0; g < j->p->groups; g++) {
        fc_packed own = {0};
        if (!weights && depth > 1) { /* once for all output planes */
            const fc_correlation middle = forward_correlation(j, g, depth / 2);
            fc_pack_weights(j->kernels, j->size, &j->run, &middle, &own);
        }
        for (ptrdiff_t o = 0; o < depth && j->run.status == FC_OK; o++) {
            fc_correlation c = forward_correlation(j, g, o);
            c.packed = weights ? &weights->packed[g] : &own;
            fc_correlate(j->kernels, j->size, &j->run, &c);
        }
        fc_scratch_release(own.weights);
    }
}

static void backward_weights(job *j) {
    for (ptrdiff_t g = 0; g < j->p->groups; g++)
        for (ptrdiff_t o = 0; o < j->p->out_size[0] && j->run.status == FC_OK; o++) {
            const fc_correlation c = forward_correlation(j, g, o);
            fc_correlate_weights(j->kernels, j->size, &j->run, &c, o > 0);
        }
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
static ptrdiff_t backward_planes(const job *j, ptrdiff_t g, ptrdiff_t i) {
    const fc_conv_problem *p = j->p;
    ptrdiff_t planes = 0;
    /* 0 <= i + pad - t * dilation <= (out_size - 1) * stride */
    const ptrdiff_t beyond = i + p->pad[0] - (p->out_size[0] - 1) * p->stride[0];
    const ptrdiff_t low = beyond > 0 ? (beyond - 1) / p->dilation[0] + 1 : 0;
    const ptrdiff_t reachable = (i + p->pad[0]) / p->dilation[0] + 1;
    const ptrdiff_t high = reachable < p->kernel[0] ? reachable : p->kernel[0];
    for (ptrdiff_t k = 0; k < j->K; k++)
        for (ptrdiff_t t = low; t < high; t++) {
            const ptrdiff_t scaled = i + p->pad[0] - t * p->dilation[0];
            if (scaled % p->stride[0]) continue;
            const ptrdiff_t o = scaled / p->stride[0];
            j->plane[planes] =
                element(j, j->a->y, (g * j->K + k) * p->y_strides[1] + o * p->y_strides[2]);
            j->w_plane[planes++] = k * p->w_strides[0] + t * p->w_strides[2];
        }
    return planes;
}

static void backward_plane(job *j, ptrdiff_t g, ptrdiff_t i, const ptrdiff_t period[3]) {
    const fc_conv_problem *p = j->p;
    fc_correlation c = {
        .images = p->batch,
        .x_image = p->y_strides[0],
        .y_image = p->x_strides[0],
        .rows = j->C,
        .w_row = p->w_strides[1],
        .y_row = p->x_strides[1],
        .planes = backward_planes(j, g, i),
        .x_plane = j->plane,
        .w_plane = j->w_plane,
        .w = element(j, j->a->w, g * j->K * p->w_strides[0]),
        .bias = element(j, j->a->b, g * j->C),
    };
    if (!c.planes) return;
    for (ptrdiff_t s = 0; s < p->kernel[1] && s < period[1]; s++)
        for (ptrdiff_t t = 0; t < p->kernel[2] && t < period[2]; t++) {
            ptrdiff_t first[2];
            c.axis[0] = backward_axis(p, 1, s, period[1], &first[0]);
            c.axis[1] = backward_axis(p, 2, t, period[2], &first[1]);
            if (!c.axis[0].outputs || !c.axis[1].outputs) continue;
            c.y = (void *)element(j, j->a->x,
                                  g * j->C * p->x_strides[1] + i * p->x_strides[2] +
                                      first[0] * p->x_strides[3] + first[1] * p->x_strides[4]);
            if (j->run.status == FC_OK) fc_correlate(j->kernels, j->size, &j->run, &c);
        }
}

/* Whether every position of dx is reached by some tap, so that all of dx will be written. */
static int covers(const fc_conv_problem *p, const ptrdiff_t period[3]) {
    if (p->in_size[0] > 1 || p->kernel[0] > 1 || p->pad[0] > 0) return 0;
    for (int axis = 1; axis < 3; axis++)
        if (period[axis] != p->stride[axis] || p->kernel[axis] < period[axis]) return 0;
    return 1;
}

/* The strides of an axis of size 1 mean nothing. */
static int weights_are_contiguous(const job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t size[5] = {p->out_channels, j->C, p->kernel[0], p->kernel[1], p->kernel[2]};
    ptrdiff_t expected = 1;
    for (int axis = 4; axis >= 0; expected *= size[axis--])
        if (size[axis] > 1 && p->w_strides[axis] != expected) return 0;
    return 1;
}

static int weights_are_finite(const job *j) {
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

/* Fills dx with what no tap adds to: zeros, or the bias of the channel. */
static void fill(job *j) {
    const fc_conv_problem *p = j->p;
    const ptrdiff_t *s = p->x_strides, *n = p->in_size;
    const ptrdiff_t elements = p->batch * p->in_channels * n[0] * n[1] * n[2];
    char *dx = j->a->x;
    if (!j->a->b) {
        memset(dx, 0, (size_t)(elements * j->size));
        return;
    }
    for (ptrdiff_t image = 0; image < p->batch && !fc_stopped(&j->run); image++)
        for (ptrdiff_t c = 0; c < p->in_channels; c++)
            for (ptrdiff_t i = 0; i < n[0] * n[1] * n[2]; i++) {
                const ptrdiff_t offset = image * s[0] + c * s[1] + i / (n[1] * n[2]) * s[2] +
                                         i / n[2] % n[1] * s[3] + i % n[2] * s[4];
                memcpy(dx + offset * j->size, element(j, j->a->b, c), (size_t)j->size);
            }
}

static void backward_data(job *j) {
    const fc_conv_problem *p = j->p;
    ptrdiff_t period[3];
    for (int axis = 0; axis < 3; axis++) period[axis] = period_of(p, axis);
    if (!covers(p, period)) fill(j);
    for (ptrdiff_t g = 0; g < p->groups; g++)
        for (ptrdiff_t i = 0; i < p->in_size[0] && !fc_stopped(&j->run); i++)
            backward_plane(j, g, i, period);
    if (!weights_are_finite(j)) fc_conv_repair_edges(p, j->a, &j->run);
}

/* Elements of the copy that one row of outputs needs of one plane, at least. */
static double elements_of_a_row(const fc_axis axis[2]) {
    double elements = 1;
    for (int i = 0; i < 2; i++) {
        if (!axis[i].outputs) return 0;
        const ptrdiff_t most = i ? 2048 : 1;
        const ptrdiff_t count = axis[i].outputs < most ? axis[i].outputs : most;
        const fc_phases phases = fc_split_axis(&axis[i], count);
        elements *= (double)phases.phases * ((double)count + (double)phases.reach);
    }
    return elements;
}

/* Kernels of that many taps are nobody's; without the bound their copies would not fit memory. */
static const double MOST_ELEMENTS = 1 << 20;

static const char *refuses(fc_conv_op op, const fc_conv_problem *p) {
    fc_axis axis[2];
    for (int i = 0; i < 2; i++) {
        ptrdiff_t first;
        axis[i] = forward_axis(p, i + 1);
        if (op == FC_BACKWARD_DATA) axis[i] = backward_axis(p, i + 1, 0, period_of(p, i + 1), &first);
    }
    return elements_of_a_row(axis) > MOST_ELEMENTS
               ? "the taps of one row of outputs span more than 2**20 elements"
               : NULL;
}

/* Without images there is nothing to sum. */
static void clear_weight_gradients(const fc_conv_problem *p, const fc_conv_arrays *a) {
    const size_t size = p->dtype == FC_FLOAT32 ? 4 : 8, K = (size_t)p->out_channels;
    const ptrdiff_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    if (a->w) memset(a->w, 0, K * (size_t)(p->in_channels / p->groups * taps) * size);
    if (a->b) memset(a->b, 0, K * size);
}

/* Multiply-adds worth a thread more: about the 5 us that waking one takes (tests of 1x4x8x8 with 3x3
 * against 1x32x16x16 at 1 and 2 threads). */
static const double THREAD_WORK = 512 << 10;

static int useful_threads(const fc_conv_problem *p) {
    double work = (double)p->batch * (double)p->out_channels *
                  ((double)p->in_channels / (double)p->groups);
    for (int axis = 0; axis < 3; axis++)
        work *= (double)p->kernel[axis] * (double)p->out_size[axis];
    const double threads = 1 + work / THREAD_WORK;
    return threads < p->threads ? (int)threads : p->threads;
}

/* NULL planes if there is no memory. */
static job start(const fc_conv_problem *p, const fc_conv_arrays *a) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    job j = {p, a, fc_find_kernels(p->isa, p->dtype), p->dtype == FC_FLOAT32 ? 4 : 8, C, K,
             fc_start(useful_threads(p), p->interrupted), NULL, NULL};
    const ptrdiff_t planes = (C > K ? C : K) * p->kernel[0];
    j.plane = fc_scratch_acquire((sizeof *j.plane + sizeof *j.w_plane) * (size_t)planes);
    if (j.plane) j.w_plane = (ptrdiff_t *)(j.plane + planes);
    return j;
}

static fc_status run(fc_conv_op op, const fc_conv_problem *p, const fc_conv_arrays *a) {
    if (p->batch == 0) {
        if (op == FC_BACKWARD_WEIGHTS) clear_weight_gradients(p, a);
        return FC_OK;
    }
    job j = start(p, a);
    if (!j.plane) return FC_NO_MEMORY;
    if (op == FC_FORWARD) forward(&j);
    else if (op == FC_BACKWARD_DATA) backward_data(&j);
    else backward_weights(&j);
    fc_scratch_release(j.plane);
    return (fc_status)j.run.status;
}

/* Arrays that are not there yet: only their strides and that they differ from NULL matter. */
static fc_conv_arrays with_any_images(const fc_conv_arrays *a) {
    static char image[FC_ALIGNMENT];
    return (fc_conv_arrays){.x = image, .w = a ? a->w : image, .b = a ? a->b : NULL, .y = image};
}

static void free_prepared(fc_conv_weights *weights) {
    prepared *all = (prepared *)weights;
    for (ptrdiff_t g = 0; g < all->groups; g++) fc_scratch_release(all->packed[g].weights);
    free(all);
}

static fc_status prepare(const fc_conv_problem *p, const fc_conv_arrays *a, fc_conv_weights **weights) {
    if (p->batch == 0) return FC_OK;
    const fc_conv_arrays arrays = with_any_images(a);
    prepared *all = calloc(1, sizeof *all + (size_t)p->groups * sizeof *all->packed);
    if (!all) return FC_NO_MEMORY;
    all->common = (fc_conv_weights){&fc_conv_implicit_gemm, p->isa, free_prepared};
    all->groups = p->groups;
    job j = start(p, &arrays);
    if (!j.plane) fc_stop(&j.run, FC_NO_MEMORY);
    for (ptrdiff_t g = 0; g < p->groups && j.run.status == FC_OK; g++) {
        const fc_correlation c = forward_correlation(&j, g, p->out_size[0] / 2);
        fc_pack_weights(j.kernels, j.size, &j.run, &c, &all->packed[g]);
    }
    fc_scratch_release(j.plane);
    if (j.run.status == FC_OK) *weights = &all->common;
    else free_prepared(&all->common);
    return (fc_status)j.run.status;
}

static void describe(const fc_conv_problem *p, fc_conv_description *d) {
    if (p->batch == 0) return;
    const fc_conv_arrays arrays = with_any_images(NULL);
    job j = start(p, &arrays);
    if (!j.plane) return;
    const fc_correlation c = forward_correlation(&j, 0, p->out_size[0] / 2);
    d->workspace = fc_describe_correlation(j.kernels, j.size, &j.run, &c, d->how, sizeof d->how, &d->packed);
    d->packed *= (size_t)p->groups;
    fc_scratch_release(j.plane);
}

const fc_conv_algorithm fc_conv_implicit_gemm = {"implicit_gemm", refuses, run, prepare, describe};
