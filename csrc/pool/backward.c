/* The gradient of an average pool, line by line of dx.
 *
 * pool/windows: where channels fill the vectors and all divisors are the same, dx is a sum of windows of dy.
 * pool/rows: a line of dx is the sum of the quotients dy / divisor of the windows that reach it. Quotients of whole
 * lines of dy are added first, in double, then those along the line, one residue of the stride after the other. */
#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"
#include "pool.h"
#include "windows.h"

/* A call, or without arrays what is kept of it in a plan. */
typedef struct {
    fc_pool pool;
    int direct;       /* sums of windows of dy */
    double divisor;   /* of every window, where one is */
    ptrdiff_t slots;  /* lines of quotients kept for each output of the depth axis */
    ptrdiff_t depths; /* outputs of the depth axis that reach one position, at most */
    ptrdiff_t margin; /* positions of zeros before and after the totals */
    ptrdiff_t pitch;  /* elements of a residue of a line of dx; 0: positions are summed one by one */
    ptrdiff_t tasks, units;
    fc_run run;
    const char *dy;
    char *dx;
} job;

/* What one thread has. */
typedef struct {
    double *quotients;
    ptrdiff_t *held; /* which line of dy each line of quotients is, or NONE */
    const double **lines;
    double *cells; /* what the last axis contributes to the divisor of each output */
    double *divisors;
    double *totals;
    char *residues;
} scratch;

/* No line of dy. */
enum { NONE = -1 };

static ptrdiff_t line_elements(const job *j) { return j->pool.p.out_size[2] * j->pool.inner + FC_POOL_SLACK; }

/* Residues of the stride that dx has. */
static ptrdiff_t residues_of(const job *j) { return min(j->pool.p.stride[2], j->pool.p.in_size[2]); }

static size_t lay_out(const job *j, scratch *s, char *base) {
    const ptrdiff_t size = sizeof(double), elements = line_elements(j), kept = j->depths * j->slots;
    size_t used = 0;
    s->quotients = fc_carve(base, &used, kept * elements * size);
    s->held = fc_carve(base, &used, kept * (ptrdiff_t)sizeof *s->held);
    s->lines = fc_carve(base, &used, kept * (ptrdiff_t)sizeof *s->lines);
    s->cells = fc_carve(base, &used, j->pool.p.out_size[2] * size);
    s->divisors = fc_carve(base, &used, elements * size);
    s->totals = fc_carve(base, &used, (elements + 2 * j->margin * j->pool.inner) * size);
    s->residues = fc_carve(base, &used, residues_of(j) * j->pitch * j->pool.size);
    return used;
}

static void divide_line(const job *j, scratch *s, ptrdiff_t plane, ptrdiff_t depth, ptrdiff_t height,
                        double *quotients) {
    const fc_pool_problem *p = &j->pool.p;
    const ptrdiff_t outputs = p->out_size[2], elements = outputs * j->pool.inner;
    const double others = fc_pool_cells(p, 0, depth) * fc_pool_cells(p, 1, height);
    for (ptrdiff_t i = 0; i < outputs; i++) {
        const double divisor = p->divisor != 0 ? p->divisor : others * s->cells[i];
        const double taken = j->pool.size == 4 ? 1 / divisor : divisor;
        for (ptrdiff_t c = 0; c < j->pool.inner; c++) s->divisors[i * j->pool.inner + c] = taken;
    }
    const ptrdiff_t line = (plane * p->out_size[0] + depth) * p->out_size[1] + height;
    j->pool.kernels->pool.divide(elements, j->dy + line * elements * j->pool.size, s->divisors, quotients);
}

static void repeat(const job *j, const char *value, ptrdiff_t count, char *target) {
    if (j->pool.size == 4)
        for (ptrdiff_t i = 0; i < count; i++) ((float *)target)[i] = *(const float *)value;
    else
        for (ptrdiff_t i = 0; i < count; i++) ((double *)target)[i] = *(const double *)value;
}

/* dx from the totals of its line; totals[0] is that of output 0, zeros beside them. */
static void spread_line(const job *j, scratch *s, const double *totals, char *dx) {
    const fc_pool_problem *p = &j->pool.p;
    const fc_pool_kernels *k = &j->pool.kernels->pool;
    const ptrdiff_t width = p->in_size[2], stride = p->stride[2], pad = p->pad[2], inner = j->pool.inner;
    if (j->pitch) {
        for (ptrdiff_t f = 0; f < residues_of(j); f++) {
            const ptrdiff_t residue = (f + pad) % stride, count = (width - f - 1) / stride + 1;
            const ptrdiff_t taps = residue < p->kernel[2] ? (p->kernel[2] - 1 - residue) / stride + 1 : 0;
            char *target = stride == 1 ? dx : s->residues + f * j->pitch * j->pool.size;
            k->spread(count, taps, totals + (f + pad) / stride - max(taps - 1, 0), 1, target);
        }
        if (stride > 1) k->interleave(width, residues_of(j), s->residues, j->pitch, dx);
        return;
    }
    for (ptrdiff_t i = 0; i < width;) {
        const fc_range reached = fc_pool_outputs(p, 2, i);
        ptrdiff_t alike = 1; /* positions that the same outputs reach */
        if (p->out_size[2] == 1)
            while (i + alike < width && fc_pool_outputs(p, 2, i + alike).count == reached.count) alike++;
        char *target = dx + i * inner * j->pool.size;
        k->spread(inner, reached.count, totals + reached.first * inner, inner, target);
        if (inner == 1) repeat(j, target, alike - 1, target + j->pool.size);
        else
            for (ptrdiff_t a = 1; a < alike; a++)
                memcpy(target + a * inner * j->pool.size, target, (size_t)(inner * j->pool.size));
        i += alike;
    }
}

/* Units are lines of dx. */
static void lines_task(void *context, int task) {
    job *j = context;
    const fc_pool_problem *p = &j->pool.p;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    const ptrdiff_t elements = line_elements(j), count = p->out_size[2] * j->pool.inner;
    scratch s = {0};
    char *base = fc_scratch_acquire(lay_out(j, &s, NULL));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    memset(base, 0, lay_out(j, &s, base));
    for (ptrdiff_t i = 0; i < p->out_size[2]; i++) s.cells[i] = fc_pool_cells(p, 2, i);
    for (ptrdiff_t i = 0; i < elements; i++) s.divisors[i] = 1;
    double *totals = s.totals + j->margin * j->pool.inner;
    const ptrdiff_t bytes = p->in_size[2] * j->pool.inner * j->pool.size * min(j->depths * j->slots, 64);
    ptrdiff_t before = NONE;
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(&j->run, u - units.begin, bytes); u++) {
        const ptrdiff_t height = u % p->in_size[1], group = u / p->in_size[1];
        const ptrdiff_t depth = group % p->in_size[0], plane = group / p->in_size[0];
        if (group != before) {
            before = group;
            for (ptrdiff_t i = 0; i < j->depths * j->slots; i++) s.held[i] = NONE;
        }
        const fc_range d = fc_pool_outputs(p, 0, depth), h = fc_pool_outputs(p, 1, height);
        ptrdiff_t lines = 0;
        for (ptrdiff_t a = 0; a < d.count; a++)
            for (ptrdiff_t b = h.first; b < h.first + h.count; b++) {
                const ptrdiff_t line = (d.first + a) * p->out_size[1] + b, kept = a * j->slots + b % j->slots;
                double *quotients = s.quotients + kept * elements;
                if (s.held[kept] != line) divide_line(j, &s, plane, d.first + a, b, quotients);
                s.held[kept] = line;
                s.lines[lines++] = quotients;
            }
        j->pool.kernels->pool.total_across(count, lines, s.lines, totals);
        /* The last vector may have passed the end of the line, where zeros belong. */
        for (ptrdiff_t i = count; i < count + FC_POOL_SLACK / 2; i++) totals[i] = 0;
        spread_line(j, &s, totals, j->dx + u * p->in_size[2] * j->pool.inner * j->pool.size);
    }
    fc_scratch_release(base);
}

/* What one thread has for windows: the outputs that reach each position of a line, and lines of dy. */
typedef struct {
    ptrdiff_t *first, *taps;
    const void **line;
} tables;

static size_t lay_out_tables(const job *j, tables *t, char *base) {
    const ptrdiff_t table = j->pool.p.in_size[2] * (ptrdiff_t)sizeof(ptrdiff_t);
    size_t used = 0;
    t->first = fc_carve(base, &used, table);
    t->taps = fc_carve(base, &used, table);
    t->line = fc_carve(base, &used, j->depths * j->slots * (ptrdiff_t)sizeof *t->line);
    return used;
}

/* Units are lines of dx: each a sum of windows of dy. */
static void windows_task(void *context, int task) {
    job *j = context;
    const fc_pool_problem *p = &j->pool.p;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    const ptrdiff_t width = p->in_size[2], line_bytes = p->out_size[2] * j->pool.inner * j->pool.size;
    tables t;
    char *base = fc_scratch_acquire(lay_out_tables(j, &t, NULL));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    lay_out_tables(j, &t, base);
    for (ptrdiff_t i = 0; i < width; i++) {
        const fc_range reached = fc_pool_outputs(p, 2, i);
        t.first[i] = reached.first;
        t.taps[i] = reached.count;
    }
    double divisors[FC_POOL_SLACK];
    for (int i = 0; i < FC_POOL_SLACK; i++) divisors[i] = j->pool.size == 4 ? 1 / j->divisor : j->divisor;
    const ptrdiff_t bytes = width * j->pool.inner * j->pool.size * min(j->depths * j->slots, 64);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(&j->run, u - units.begin, bytes); u++) {
        const ptrdiff_t height = u % p->in_size[1], group = u / p->in_size[1];
        const ptrdiff_t depth = group % p->in_size[0], plane = group / p->in_size[0];
        const fc_range d = fc_pool_outputs(p, 0, depth), h = fc_pool_outputs(p, 1, height);
        ptrdiff_t lines = 0;
        for (ptrdiff_t a = d.first; a < d.first + d.count; a++)
            for (ptrdiff_t b = h.first; b < h.first + h.count; b++)
                t.line[lines++] = j->dy + ((plane * p->out_size[0] + a) * p->out_size[1] + b) * line_bytes;
        const fc_pool_windows windows = {j->pool.inner, width, lines, 1, t.line, NULL, t.first, t.taps, 0};
        j->pool.kernels->pool.sum_windows(&windows, divisors, j->dx + u * width * j->pool.inner * j->pool.size);
    }
    fc_scratch_release(base);
}

/* Whether every window has the divisor of the first. */
static int is_divided_alike(const fc_pool_problem *p) {
    for (int axis = 0; axis < 3 && p->divisor == 0; axis++)
        for (ptrdiff_t o = 1; o < p->out_size[axis]; o++)
            if (fc_pool_cells(p, axis, o) != fc_pool_cells(p, axis, 0)) return 0;
    return 1;
}

/* Outputs of an axis that reach one position, at most, before the axis ends. */
static ptrdiff_t max_reached(const fc_pool_problem *p, int axis) {
    return p->adaptive ? p->out_size[axis] / p->in_size[axis] + 2 : (p->kernel[axis] - 1) / p->stride[axis] + 1;
}

enum { ROWS, WINDOWS }; /* fc_path.variant */

/* How a path cuts a gradient into tasks. */
static job cut(const fc_path *path, fc_op op, const fc_problem *problem) {
    job j = {.pool = fc_pool_of(op, &problem->pool), .direct = path->variant == WINDOWS};
    const fc_pool_problem *p = &j.pool.p;
    j.depths = min(max_reached(p, 0), p->out_size[0]);
    j.slots = min(max_reached(p, 1), p->out_size[1]);
    if (j.pool.inner == 1 && !p->adaptive && p->out_size[2] > 1) {
        j.margin = p->kernel[2] / p->stride[2] + 2;
        j.pitch = (p->in_size[2] - 1) / p->stride[2] + 1;
    }
    j.units = j.pool.planes * p->in_size[0] * p->in_size[1];
    j.tasks = min(j.units, fc_pool_threads(p));
    j.divisor = p->divisor != 0 ? p->divisor : fc_pool_cells(p, 0, 0) * fc_pool_cells(p, 1, 0) * fc_pool_cells(p, 2, 0);
    return j;
}

static size_t scratch_of(const job *j) {
    scratch s;
    tables t;
    return j->direct ? lay_out_tables(j, &t, NULL) : lay_out(j, &s, NULL);
}

static const char *refuses_windows(const job *j) {
    if (j->pool.inner == 1 || j->pool.inner % j->pool.kernels->lanes)
        return "channels that lie side by side do not fill vectors";
    if (j->pool.p.in_size[2] > FC_POOL_WINDOW_POSITIONS) return "a line has more than 65536 positions";
    return is_divided_alike(&j->pool.p) ? NULL : "windows differ in their divisors";
}
_Static_assert(FC_POOL_WINDOW_POSITIONS == 65536, "refuses_windows says it");

/* Bytes of the lines that pool/rows keeps, in double: sizes may be as large as they go. */
static double workspace_of(const job *j) {
    const double lines = ((double)j->depths * (double)j->slots + 3) * (double)line_elements(j);
    return 8 * (lines + 2 * (double)j->margin * (double)j->pool.inner + 2 * (double)j->pool.p.in_size[2]);
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    if (problem->pool.batch == 0) return NULL;
    if (fc_pool_is_too_large(&problem->pool)) return "a plane has 2**31 positions or more";
    const job j = cut(path, op, problem);
    const char *refusal = j.direct ? refuses_windows(&j) : NULL;
    if (refusal) return refusal;
    const double workspace = j.direct ? (double)scratch_of(&j) : workspace_of(&j);
    return workspace > (double)FC_POOL_WORKSPACE ? "the lines that windows need pass the workspace" : NULL;
}

static const char *doubts_windows(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)path, (void)op;
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    return max_reached(&pool.p, 2) <= FC_POOL_COLUMNS ? NULL : "each of many windows would be read for each position";
}

static fc_status create(fc_plan *plan) {
    job *j = plan->state = fc_plan_allocate(plan, sizeof *j);
    if (!j) return FC_NO_MEMORY;
    *j = cut(plan->path, plan->op, &plan->problem);
    FC_ASSERT(j->tasks >= 1);
    return FC_OK;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    job j = *(const job *)plan->state;
    FC_ASSERT(a->x && a->y);
    j.dy = a->y;
    j.dx = a->x;
    j.run = fc_start((int)j.tasks, interrupted);
    fc_parallel(&j.run, (int)j.tasks, j.direct ? windows_task : lines_task, &j);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *description) {
    const job *j = plan->state;
    const char *how = j->direct  ? "each line is a sum of windows of dy"
                      : j->pitch ? "quotients of whole lines are kept and added, then those along the line, by vectors"
                                 : "quotients of whole lines are kept and added, then those of each position";
    fc_pool_describe(description, how, j->pool.p.in_size[2], j->tasks, scratch_of(j));
}

const fc_path fc_path_pool_backward_windows = {
    .name = "pool/windows",
    .variant = WINDOWS,
    .exact = 1,
    .refuses = refuses,
    .doubt = doubts_windows,
    .create = create,
    .run = run,
    .describe = describe,
};

const fc_path fc_path_pool_backward_rows = {
    .name = "pool/rows",
    .variant = ROWS,
    .exact = 1,
    .refuses = refuses,
    .create = create,
    .run = run,
    .describe = describe,
};
