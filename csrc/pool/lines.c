/* Pools of small windows of channels first: whole lines straight from x to y (kernels/pool_lines.tmpl.h). Rows
 * that windows share are read again, but nothing is copied or kept: that took most of the time of short rows. */
#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "shared.h"

typedef struct {
    fc_pool_problem p;
    const fc_kernels *kernels;
    fc_run run;
    const char *x;
    char *y;
    int has_indices;    /* a maximum */
    long long *indices; /* NULL: average */
    ptrdiff_t size, planes, units, parts;
    ptrdiff_t whole; /* lines of an output plane before the first that lacks rows below */
} job;

/* Of x at a time: in between a call can be interrupted. */
enum { RUN_BYTES = 512 << 10 };

/* Longer lines are cut into blocks, which threads share, where rows are pooled first. */
enum { LONGEST = 1 << 13 };

/* Whether all taps of all windows take less than pooling each row that windows share once and combining what is kept
 * of it. TAP and KEPT: cycles of an element and tap either way; ROW: what a row takes beside its taps. Fitted to pools
 * of 2 to 32 taps, strides 1 and 2, rows of 12 to 56 outputs, AVX2 and AVX-512 on Zen 4, float and double; to fit them
 * again return 0 from here, and 1. Windows of one row share none: of those, maxima of signals take 0.4 to 0.95 of the
 * time, averages 0.6 to 2. */
static int pays(const job *j) {
    const fc_pool_problem *p = &j->p;
    const double size = (double)j->size, ROW = 170;
    const double TAP = j->has_indices ? 0.11 * size : 0.31, KEPT = j->has_indices ? 0.081 * size : 0.28;
    const double rows = (double)(p->kernel[0] * p->kernel[1]), taps = (double)p->kernel[2];
    const double width = (double)(quotient_up(p->out_size[2], j->kernels->lanes) * j->kernels->lanes);
    const double fresh = (double)(p->kernel[0] * min(p->kernel[1], p->stride[1]));
    if (rows == 1) return j->has_indices;
    return rows * taps * width * TAP <= fresh * (ROW + taps * width * KEPT) + rows * width * KEPT;
}

/* Whether padding cuts no more windows at an end of a line than a vector has. */
static int one_vector_is_cut(const job *j) {
    const fc_pool_problem *p = &j->p;
    const ptrdiff_t lanes = j->has_indices || j->size == 8 ? j->kernels->lanes : j->kernels->lanes / 2;
    const ptrdiff_t beyond = p->in_size[2] + p->pad[2] - p->kernel[2];
    const ptrdiff_t whole = beyond < 0 ? 0 : beyond / p->stride[2] + 1;
    return quotient_up(p->pad[2], p->stride[2]) <= lanes && p->out_size[2] - whole <= lanes;
}

static int suits(const job *j) {
    const fc_pool_problem *p = &j->p;
    if (!j->kernels->pool.max_lines || j->size != fc_element_size(p->element)) return 0;
    if (p->adaptive || p->channels_last || p->dilation[2] > 1) return 0;
    if (p->stride[2] > 2 || p->stride[2] > p->kernel[2] || p->kernel[2] > FC_POOL_LINE_TAPS) return 0;
    if (p->kernel[0] > FC_POOL_LINE_ROWS || p->kernel[0] * p->kernel[1] > FC_POOL_LINE_ROWS) return 0;
    return p->out_size[2] <= LONGEST && one_vector_is_cut(j) && pays(j);
}

/* Units are lines of y: [plane][output plane][output row]. */
static void lines_task(void *context, int index) {
    job *j = context;
    const fc_pool_problem *p = &j->p;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    const ptrdiff_t width = p->in_size[2], outputs = p->out_size[2], step = p->stride[1] * width;
    const ptrdiff_t plane = p->in_size[0] * p->in_size[1] * width, elements = j->planes * plane;
    const ptrdiff_t slots = j->has_indices ? 0 : (outputs + FC_POOL_SLACK) * (ptrdiff_t)sizeof(double);
    size_t used = 0;
    char *base = fc_scratch_acquire(fc_aligned((ptrdiff_t)j->kernels->pool.cut_size) + 2 * fc_aligned(slots));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    void *cut = fc_carve(base, &used, (ptrdiff_t)j->kernels->pool.cut_size);
    double *cells = fc_carve(base, &used, slots), *divisors = fc_carve(base, &used, slots), divided_by = 0;
    for (ptrdiff_t o = 0; o < slots / (ptrdiff_t)sizeof(double); o++) {
        cells[o] = fc_pool_cells(p, 2, min(o, outputs - 1));
        divisors[o] = 1;
    }
    ptrdiff_t row[FC_POOL_LINE_ROWS], lines, calls = 0;
    fc_pool_lines run = {.outputs = outputs, .width = width, .pad = p->pad[2], .taps = p->kernel[2],
                         .stride = p->stride[2], .row = row, .row_step = step};
    j->kernels->pool.cut_line(&run, j->has_indices, cut);
    for (ptrdiff_t u = share.begin; u < share.end; u += lines) {
        const ptrdiff_t group = u / p->out_size[1], o_height = u % p->out_size[1];
        const ptrdiff_t o_depth = group % p->out_size[0], first = group / p->out_size[0] * plane;
        const fc_range d = fc_pool_window(p, 0, o_depth), h = fc_pool_window(p, 1, o_height);
        lines = h.count < p->kernel[1] ? 1 : min(j->whole - o_height, max(1, RUN_BYTES / (step * j->size)));
        lines = min(lines, share.end - u);
        if (fc_stopped_at(&j->run, calls++, lines * step * j->size)) break;
        run.lines = lines;
        run.x_before = first;
        run.x_room = elements - first;
        run.y_room = (share.end - u) * outputs;
        run.rows = 0;
        for (ptrdiff_t a = 0; a < d.count; a++)
            for (ptrdiff_t b = 0; b < h.count; b++)
                row[run.rows++] =
                    ((d.first + a * p->dilation[0]) * p->in_size[1] + h.first + b * p->dilation[1]) * width;
        const char *x = j->x + first * j->size;
        char *y = j->y + u * outputs * j->size;
        if (j->has_indices) {
            j->kernels->pool.max_lines(&run, cut, x, y, (int64_t *)j->indices + u * outputs);
            continue;
        }
        const double others = fc_pool_cells(p, 0, o_depth) * fc_pool_cells(p, 1, o_height);
        for (ptrdiff_t o = 0; o < outputs && others != divided_by; o++)
            divisors[o] = fc_pool_divisor(p, others * cells[o]);
        divided_by = others;
        j->kernels->pool.sum_lines(&run, cut, x, divisors, y);
    }
    fc_scratch_release(base);
}

static job job_of(const fc_pool_problem *p, const fc_kernels *kernels, int has_indices) {
    return (job){
        .p = *p,
        .kernels = kernels,
        .has_indices = has_indices,
        .size = fc_pool_dtype(p->element) == FC_FLOAT32 ? 4 : 8,
        .planes = p->batch * p->channels,
    };
}

int fc_pool_suits_lines(const fc_pool_problem *p, const fc_kernels *kernels, fc_op op) {
    const job j = job_of(p, kernels, op == FC_MAX_POOL);
    return suits(&j);
}

fc_status fc_pool_by_lines(const fc_pool_problem *p, const fc_kernels *kernels, const void *x, void *y,
                           long long *indices, fc_question interrupted) {
    job j = job_of(p, kernels, indices != NULL);
    j.run = fc_start(p->call.threads, interrupted);
    j.x = x;
    j.y = y;
    j.indices = indices;
    const ptrdiff_t beyond = p->in_size[1] + p->pad[1] - (p->kernel[1] - 1) * p->dilation[1] - 1;
    j.whole = beyond < 0 ? 0 : min(p->out_size[1], beyond / p->stride[1] + 1);
    j.units = j.planes * p->out_size[0] * p->out_size[1];
    j.parts = min(j.units, fc_pool_threads(p));
    fc_parallel(&j.run, (int)j.parts, lines_task, &j);
    return (fc_status)j.run.status;
}
