/* Pools of small windows of channels first: whole lines straight from x to y (kernels/pool_lines.tmpl.h). Lines of x
 * that windows share are read again, but nothing is copied or kept: that took most of the time of short lines. */
#include "lines.h"

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"
#include "pool.h"

/* A call, or without arrays what is kept of it in a plan. */
typedef struct {
    fc_pool pool;
    ptrdiff_t units, tasks;
    ptrdiff_t whole; /* lines of an output plane before the first whose windows lack lines below */
    fc_run run;
    const char *x;
    char *y;
    long long *indices;
} job;

/* Bytes of the divisors of a line, and of what the last axis contributes to them: of an average alone. */
static ptrdiff_t divisor_bytes(const fc_pool *pool) {
    return pool->has_indices ? 0 : (pool->p.out_size[2] + FC_POOL_SLACK) * (ptrdiff_t)sizeof(double);
}

static size_t scratch_of(const fc_pool *pool) {
    return fc_aligned((ptrdiff_t)pool->kernels->pool.cut_size) + 2 * fc_aligned(divisor_bytes(pool));
}

/* Units are lines of y: [plane][output plane][output line]. */
static void lines_task(void *context, int task) {
    job *j = context;
    const fc_pool_problem *p = &j->pool.p;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    const ptrdiff_t width = p->in_size[2], outputs = p->out_size[2], step = p->stride[1] * width;
    const ptrdiff_t plane = p->in_size[0] * p->in_size[1] * width, elements = j->pool.planes * plane;
    const ptrdiff_t slots = divisor_bytes(&j->pool), at_a_time = max(1, FC_POOL_RUN_BYTES / (step * j->pool.size));
    size_t used = 0;
    char *base = fc_scratch_acquire(scratch_of(&j->pool));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    void *cut = fc_carve(base, &used, (ptrdiff_t)j->pool.kernels->pool.cut_size);
    double *cells = fc_carve(base, &used, slots), *divisors = fc_carve(base, &used, slots), divided_by = 0;
    for (ptrdiff_t o = 0; o < slots / (ptrdiff_t)sizeof(double); o++) {
        cells[o] = fc_pool_cells(p, 2, min(o, outputs - 1));
        divisors[o] = 1;
    }
    ptrdiff_t row[FC_POOL_LINE_ROWS], lines, calls = 0;
    fc_pool_lines run = {.outputs = outputs, .width = width, .pad = p->pad[2], .taps = p->kernel[2],
                         .stride = p->stride[2], .row = row, .row_step = step};
    j->pool.kernels->pool.cut_line(&run, j->pool.has_indices, cut);
    for (ptrdiff_t u = units.begin; u < units.end; u += lines) {
        const ptrdiff_t group = u / p->out_size[1], o_height = u % p->out_size[1];
        const ptrdiff_t o_depth = group % p->out_size[0], first = group / p->out_size[0] * plane;
        const fc_range d = fc_pool_window(p, 0, o_depth), h = fc_pool_window(p, 1, o_height);
        lines = h.count < p->kernel[1] ? 1 : min(j->whole - o_height, at_a_time);
        lines = min(lines, units.end - u);
        if (fc_stopped_at(&j->run, calls++, lines * step * j->pool.size)) break;
        run.lines = lines;
        run.x_before = first;
        run.x_after = elements - first;
        run.y_after = (units.end - u) * outputs;
        run.rows = 0;
        for (ptrdiff_t a = 0; a < d.count; a++)
            for (ptrdiff_t b = 0; b < h.count; b++)
                row[run.rows++] =
                    ((d.first + a * p->dilation[0]) * p->in_size[1] + h.first + b * p->dilation[1]) * width;
        const char *x = j->x + first * j->pool.size;
        char *y = j->y + u * outputs * j->pool.size;
        if (j->pool.has_indices) {
            j->pool.kernels->pool.max_lines(&run, cut, x, y,
                                                 j->indices ? (int64_t *)j->indices + u * outputs : NULL);
            continue;
        }
        const double others = fc_pool_cells(p, 0, o_depth) * fc_pool_cells(p, 1, o_height);
        for (ptrdiff_t o = 0; o < outputs && others != divided_by; o++)
            divisors[o] = fc_pool_divisor(p, others * cells[o]);
        divided_by = others;
        j->pool.kernels->pool.sum_lines(&run, cut, x, divisors, y);
    }
    fc_scratch_release(base);
}

/* Whether padding cuts no more windows at an end of a line than a vector has. */
static int one_vector_is_cut(const fc_pool *pool) {
    const fc_pool_problem *p = &pool->p;
    const ptrdiff_t lanes = pool->kernels->lanes / (pool->has_indices || pool->size == 8 ? 1 : 2);
    const ptrdiff_t beyond = p->in_size[2] + p->pad[2] - p->kernel[2];
    const ptrdiff_t whole = beyond < 0 ? 0 : beyond / p->stride[2] + 1;
    return quotient_up(p->pad[2], p->stride[2]) <= lanes && p->out_size[2] - whole <= lanes;
}

static const char *refusal_of(const fc_pool *pool) {
    const fc_pool_problem *p = &pool->p;
    if (!pool->kernels->pool.max_lines) return "the instruction set has no vectors of every other element";
    if (pool->size != pool->element) return "elements are not of the type that is pooled in";
    if (p->channels_last) return "channels are last";
    if (p->adaptive) return "windows differ in size";
    if (p->dilation[2] > 1) return "columns of windows are apart";
    if (p->stride[2] > 2 || p->stride[2] > p->kernel[2]) return "windows are more than 2 columns, or a window, apart";
    if (p->kernel[2] > FC_POOL_LINE_TAPS) return "windows have more than 32 columns";
    if (p->kernel[0] > FC_POOL_LINE_ROWS || p->kernel[0] * p->kernel[1] > FC_POOL_LINE_ROWS)
        return "windows have more than 16 lines";
    if (p->out_size[2] > FC_POOL_LINE_OUTPUTS) return "lines have more than 8192 outputs";
    return one_vector_is_cut(pool) ? NULL : "padding cuts more windows of a line than a vector has";
}
_Static_assert(FC_POOL_LINE_TAPS == 32 && FC_POOL_LINE_ROWS == 16 && FC_POOL_LINE_OUTPUTS == 8192,
               "refusal_of says them");

/* Lines of x in a window; elements that a kernel works on for a line of outputs. */
static double window_lines(const fc_pool *pool) { return (double)(pool->p.kernel[0] * pool->p.kernel[1]); }
static double line_elements(const fc_pool *pool) {
    return (double)(quotient_up(pool->p.out_size[2], pool->kernels->lanes) * pool->kernels->lanes);
}

static double output_lines(const fc_pool *pool) {
    return (double)pool->planes * (double)pool->p.out_size[0] * (double)pool->p.out_size[1];
}

/* The windows of one line of outputs. */
static double cycles_of_lines(const fc_pool *pool) {
    const double tap = pool->has_indices ? FC_POOL_CYCLES.max_tap * (double)pool->size : FC_POOL_CYCLES.sum_tap;
    return window_lines(pool) * (double)pool->p.kernel[2] * line_elements(pool) * tap;
}

/* The windows of one line of outputs where lines of x are pooled along first: fresh ones, then all that are kept. */
static double cycles_of_rows(const fc_pool *pool) {
    const fc_pool_problem *p = &pool->p;
    const double kept = pool->has_indices ? FC_POOL_CYCLES.max_kept * (double)pool->size : FC_POOL_CYCLES.sum_kept;
    const double fresh = (double)(p->kernel[0] * min(p->kernel[1], p->stride[1])), elements = line_elements(pool);
    return fresh * (FC_POOL_CYCLES.line + (double)p->kernel[2] * elements * kept) +
           window_lines(pool) * elements * kept;
}

double fc_pool_lines_cycles(const fc_pool *pool) {
    return refusal_of(pool) || window_lines(pool) == 1 ? 0 : output_lines(pool) * cycles_of_lines(pool);
}

double fc_pool_rows_cycles(const fc_pool *pool) {
    return refusal_of(pool) || window_lines(pool) == 1 ? 0 : output_lines(pool) * cycles_of_rows(pool);
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    if (fc_pool_is_too_large(&problem->pool)) return "a plane has 2**31 positions or more";
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    (void)path;
    return refusal_of(&pool);
}

/* Windows of one line share none: maxima of signals take 0.4 to 0.95 of the time of pool/rows, averages 0.6 to 2. */
static const char *doubt(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    (void)path;
    if (window_lines(&pool) == 1) return pool.has_indices ? NULL : "averages of single lines may take twice as long";
    return cycles_of_lines(&pool) <= cycles_of_rows(&pool) ? NULL : "lines pooled along and kept take fewer cycles";
}

static double cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    (void)path;
    return fc_pool_lines_cycles(&pool);
}

static fc_status create(fc_plan *plan) {
    job *j = plan->state = fc_plan_allocate(plan, sizeof *j);
    if (!j) return FC_NO_MEMORY;
    j->pool = fc_pool_of(plan->op, &plan->problem.pool);
    const fc_pool_problem *p = &j->pool.p;
    const ptrdiff_t beyond = p->in_size[1] + p->pad[1] - (p->kernel[1] - 1) * p->dilation[1] - 1;
    j->whole = beyond < 0 ? 0 : min(p->out_size[1], beyond / p->stride[1] + 1);
    j->units = j->pool.planes * p->out_size[0] * p->out_size[1];
    j->tasks = min(j->units, fc_pool_threads(p));
    FC_ASSERT(!refusal_of(&j->pool) && j->tasks >= 1);
    return FC_OK;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    job j = *(const job *)plan->state;
    FC_ASSERT(a->x && a->y);
    j.x = a->x;
    j.y = a->y;
    j.indices = a->indices;
    j.run = fc_start((int)j.tasks, interrupted);
    fc_parallel(&j.run, (int)j.tasks, lines_task, &j);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *description) {
    const job *j = plan->state;
    fc_pool_describe(description, "whole lines of outputs, straight from x", j->pool.p.out_size[2], j->tasks,
                     scratch_of(&j->pool));
}

const fc_path fc_path_pool_lines = {
    .name = "pool/lines",
    .exact = 1,
    .refuses = refuses,
    .doubt = doubt,
    .cycles = cycles,
    .create = create,
    .run = run,
    .describe = describe,
};
