#include "windows.h"

#include <stdio.h>

#include "../arithmetic.h"
#include "../platform/threads.h"
#include "../tuning.h"

static ptrdiff_t element_size(fc_element element) {
    static const ptrdiff_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 8};
    return sizes[element];
}

/* The type that elements are pooled in. */
static fc_dtype dtype_of(fc_element element) { return element <= FC_ELEMENT_FLOAT32 ? FC_FLOAT32 : FC_FLOAT64; }

fc_range fc_pool_window(const fc_pool_problem *p, int axis, ptrdiff_t o) {
    const ptrdiff_t in = p->in_size[axis], out = p->out_size[axis];
    if (p->adaptive) {
        const ptrdiff_t first = o * in / out;
        return (fc_range){first, ((o + 1) * in + out - 1) / out - first};
    }
    const ptrdiff_t step = p->dilation[axis], start = o * p->stride[axis] - p->pad[axis];
    if (step == 1) {
        const ptrdiff_t first = max(start, 0);
        return (fc_range){first, min(start + p->kernel[axis], in) - first};
    }
    const ptrdiff_t low = start >= 0 ? 0 : quotient_up(-start, step);
    const ptrdiff_t high = start >= in ? 0 : min(p->kernel[axis], quotient_up(in - start, step));
    return (fc_range){start + low * step, high - low};
}

fc_range fc_pool_outputs(const fc_pool_problem *p, int axis, ptrdiff_t i) {
    const ptrdiff_t in = p->in_size[axis], out = p->out_size[axis];
    if (p->adaptive) {
        const ptrdiff_t first = i * out / in;
        return (fc_range){first, ((i + 1) * out + in - 1) / in - first};
    }
    const ptrdiff_t padded = i + p->pad[axis], beyond = padded - p->kernel[axis] + 1;
    const ptrdiff_t low = beyond > 0 ? quotient_up(beyond, p->stride[axis]) : 0;
    const ptrdiff_t high = min(out, padded / p->stride[axis] + 1);
    return (fc_range){low, max(high - low, 0)};
}

double fc_pool_cells(const fc_pool_problem *p, int axis, ptrdiff_t o) {
    if (p->adaptive || !p->count_include_pad) return (double)fc_pool_window(p, axis, o).count;
    const ptrdiff_t start = o * p->stride[axis] - p->pad[axis];
    return (double)min(p->kernel[axis], p->in_size[axis] + p->pad_after[axis] - start);
}

double fc_pool_divisor(const fc_pool_problem *p, double cells) {
    const double divisor = p->divisor != 0 ? p->divisor : cells;
    return dtype_of(p->element) == FC_FLOAT32 ? 1 / divisor : divisor;
}

/* Adaptive windows that are all of one size are regular ones. */
static fc_pool_problem regular(const fc_pool_problem *p) {
    fc_pool_problem q = *p;
    if (!p->adaptive) return q;
    for (int axis = 0; axis < 3; axis++) {
        if (p->in_size[axis] % p->out_size[axis]) return *p;
        q.kernel[axis] = q.stride[axis] = p->in_size[axis] / p->out_size[axis];
    }
    q.adaptive = 0;
    return q;
}

/* Where every window has whole lines, each is one run of elements: the last two axes become one. */
static fc_pool_problem joined(const fc_pool_problem *p) {
    fc_pool_problem q = *p;
    const ptrdiff_t width = p->in_size[2];
    if (p->adaptive || p->channels_last || p->in_size[1] == 1 || p->out_size[2] > 1 ||
        p->kernel[2] != width || p->dilation[1] > 1 || p->dilation[2] > 1 || p->pad[2] || p->pad_after[2])
        return q;
    q.in_size[2] *= p->in_size[1];
    q.kernel[2] = p->kernel[1] * width;
    q.out_size[2] = p->out_size[1];
    q.stride[2] = p->stride[1] * width;
    q.pad[2] = p->pad[1] * width;
    q.pad_after[2] = p->pad_after[1] * width;
    q.in_size[1] = q.kernel[1] = q.out_size[1] = q.stride[1] = 1;
    q.pad[1] = q.pad_after[1] = 0;
    return q;
}

fc_pool fc_pool_of(fc_op op, const fc_pool_problem *problem) {
    const fc_pool_problem p = regular(problem);
    const fc_dtype dtype = dtype_of(p.element);
    const ptrdiff_t inner = p.channels_last ? p.channels : 1;
    FC_ASSERT(op == FC_MAX_POOL || op == FC_AVG_POOL || op == FC_AVG_POOL_BACKWARD);
    return (fc_pool){
        .p = op == FC_AVG_POOL_BACKWARD ? p : joined(&p),
        .kernels = fc_find_kernels(p.call.isa, dtype),
        .has_indices = op == FC_MAX_POOL,
        .element = element_size(p.element),
        .size = dtype == FC_FLOAT32 ? 4 : 8,
        .inner = inner,
        .planes = p.batch * p.channels / inner,
    };
}

int fc_pool_is_too_large(const fc_pool_problem *p) {
    double plane = 1;
    for (int axis = 0; axis < 3; axis++)
        plane *= (double)p->in_size[axis] + (double)p->pad[axis] + (double)p->pad_after[axis] +
                 (double)p->kernel[axis] * (double)p->dilation[axis] + (double)p->stride[axis];
    return plane >= (double)INT32_MAX;
}

int fc_pool_threads(const fc_pool_problem *p) {
    double in = 1, out = 1;
    for (int axis = 0; axis < 3; axis++) {
        in *= (double)p->in_size[axis];
        out *= (double)p->out_size[axis];
    }
    const double bytes = (double)p->batch * (double)p->channels * (in + 3 * out) *
                         (double)element_size(p->element);
    return fc_useful_threads(p->call.threads, bytes, FC_POOL_THREAD_BYTES);
}

void fc_pool_describe(fc_description *description, const char *how, ptrdiff_t columns, ptrdiff_t tasks,
                      size_t scratch_of_a_task) {
    snprintf(description->how, sizeof description->how, "%s", how);
    if (columns) {
        description->block[0] = description->block[1] = 1;
        description->block[2] = columns;
    }
    description->tasks = tasks;
    description->workspace = scratch_of_a_task * (size_t)tasks;
}
