/* Pools of small windows of channels first: whole lines straight from x to y (kernels/pool_lines_kernel.tmpl.h). Rows
 * that windows share are read again, but nothing is copied or kept: that took most of the time of short rows. */
#include "../arithmetic.h"
#include "../memory.h"
#include "../threads.h"
#include "pool.h"

typedef struct {
    fc_pool_problem p;
    const fc_kernels *kernels;
    fc_run run;
    const char *x;
    char *y;
    long long *indices; /* NULL: average */
    ptrdiff_t size, planes, units, parts;
    ptrdiff_t whole; /* lines of an output plane before the first that lacks rows below */
} job;

/* Of x at a time: in between a call can be interrupted. */
enum { RUN_BYTES = 512 << 10 };

/* Longer lines are cut into blocks, which threads share, where rows are pooled first. */
enum { LONGEST = 1 << 16 };

/* Whether all taps of all windows take less than pooling each row that windows share once and combining what is kept
 * of it. TAP and KEPT: cycles of an element and tap either way; ROW: what a row takes beside its taps. Fitted to pools
 * of 2 to 32 taps, strides 1 and 2, rows of 12 to 56 outputs, AVX2 and AVX-512 on Zen 4, float and double; to fit them
 * again return 0 from here, and 1. Windows of one row share none: of those, maxima of signals take 0.4 to 0.95 of the
 * time, averages 0.6 to 2. */
static int pays(const job *j) {
    const fc_pool_problem *p = &j->p;
    const double size = (double)j->size, ROW = 170;
    const double TAP = j->indices ? 0.11 * size : 0.31, KEPT = j->indices ? 0.081 * size : 0.28;
    const double rows = (double)(p->kernel[0] * p->kernel[1]), taps = (double)p->kernel[2];
    const double width = (double)(quotient_up(p->out_size[2], j->kernels->lanes) * j->kernels->lanes);
    const double fresh = (double)(p->kernel[0] * least(p->kernel[1], p->stride[1]));
    if (rows == 1) return j->indices != NULL;
    return rows * taps * width * TAP <= fresh * (ROW + taps * width * KEPT) + rows * width * KEPT;
}

static int suits(const job *j) {
    const fc_pool_problem *p = &j->p;
    if (!j->kernels->pool.max_lines || j->size != fc_element_size(p->element)) return 0;
    if (p->adaptive || p->channels_last || p->dilation[2] > 1) return 0;
    if (p->stride[2] > 2 || p->stride[2] > p->kernel[2] || p->kernel[2] > FC_POOL_LINE_TAPS) return 0;
    if (p->kernel[0] > FC_POOL_LINE_ROWS || p->kernel[0] * p->kernel[1] > FC_POOL_LINE_ROWS) return 0;
    if (p->out_size[2] > LONGEST) return 0;
    return pays(j);
}

static void set_divisors(const job *j, double others, double *divisors) {
    const fc_pool_problem *p = &j->p;
    for (ptrdiff_t o = 0; o < p->out_size[2] + FC_POOL_SLACK; o++) {
        const ptrdiff_t of = least(o, p->out_size[2] - 1);
        const double cells = p->divisor != 0 ? p->divisor : others * fc_pool_cells(p, 2, of);
        divisors[o] = j->size == 4 ? 1 / cells : cells;
    }
}

/* Units are lines of y: [plane][output plane][output row]. */
static void lines_part(void *context, int index) {
    job *j = context;
    const fc_pool_problem *p = &j->p;
    const fc_share share = fc_share_of(j->units, j->parts, index);
    const ptrdiff_t width = p->in_size[2], outputs = p->out_size[2];
    const ptrdiff_t plane = p->in_size[0] * p->in_size[1] * width, elements = j->planes * plane;
    double *divisors = NULL, divided_by = 0;
    if (!j->indices && !(divisors = fc_scratch_acquire((size_t)(outputs + FC_POOL_SLACK) * sizeof *divisors))) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    ptrdiff_t row[FC_POOL_LINE_ROWS], lines, calls = 0;
    for (ptrdiff_t u = share.begin; u < share.end; u += lines) {
        const ptrdiff_t group = u / p->out_size[1], o_height = u % p->out_size[1];
        const ptrdiff_t o_depth = group % p->out_size[0], first = group / p->out_size[0] * plane;
        const fc_range d = fc_pool_window(p, 0, o_depth), h = fc_pool_window(p, 1, o_height);
        const ptrdiff_t step = p->stride[1] * width;
        lines = h.count < p->kernel[1] ? 1 : least(j->whole - o_height, most(1, RUN_BYTES / (step * j->size)));
        lines = least(lines, share.end - u);
        if (fc_stopped_at(&j->run, calls++, lines * step * j->size)) break;
        fc_pool_lines run = {lines, outputs, width, p->pad[2], p->kernel[2], p->stride[2], 0, row, step,
                             first, elements - first, (share.end - u) * outputs};
        for (ptrdiff_t a = 0; a < d.count; a++)
            for (ptrdiff_t b = 0; b < h.count; b++)
                row[run.rows++] =
                    ((d.first + a * p->dilation[0]) * p->in_size[1] + h.first + b * p->dilation[1]) * width;
        const char *x = j->x + first * j->size;
        char *y = j->y + u * outputs * j->size;
        if (j->indices) {
            j->kernels->pool.max_lines(&run, x, y, (int64_t *)j->indices + u * outputs);
            continue;
        }
        const double others = fc_pool_cells(p, 0, o_depth) * fc_pool_cells(p, 1, o_height);
        if (others != divided_by) set_divisors(j, divided_by = others, divisors);
        j->kernels->pool.sum_lines(&run, x, divisors, y);
    }
    fc_scratch_release(divisors);
}

fc_status fc_pool_by_lines(const fc_pool_problem *p, const fc_kernels *kernels, const void *x, void *y,
                           long long *indices) {
    job j = {
        .p = *p,
        .kernels = kernels,
        .run = fc_start(p->threads, p->interrupted),
        .x = x,
        .y = y,
        .indices = indices,
        .size = fc_pool_dtype(p->element) == FC_FLOAT32 ? 4 : 8,
        .planes = p->batch * p->channels,
    };
    if (!suits(&j)) return FC_REFUSED;
    const ptrdiff_t beyond = p->in_size[1] + p->pad[1] - (p->kernel[1] - 1) * p->dilation[1] - 1;
    j.whole = beyond < 0 ? 0 : least(p->out_size[1], beyond / p->stride[1] + 1);
    j.units = j.planes * p->out_size[0] * p->out_size[1];
    j.parts = least(j.units, fc_pool_threads(p));
    fc_parallel(&j.run, (int)j.parts, lines_part, &j);
    return (fc_status)j.run.status;
}
