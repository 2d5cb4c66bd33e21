/* Backward of pools: the average's dx row by row, the maximum's by its indices.
 *
 * Where channels fill the vectors and all divisors are the same, dx is a sum of windows of dy. Elsewhere
 * a row of dx is the sum of the shares dy / divisor of the windows that reach it: those of whole rows
 * first, in double, then along the row, one residue of the stride after the other. */
#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "shared.h"

typedef struct {
    fc_pool_problem p;
    const fc_kernels *kernels;
    fc_run run;
    const char *dy;
    char *dx;
    ptrdiff_t size, inner, planes;
    ptrdiff_t slots;  /* rows of shares kept for each output of the depth axis */
    ptrdiff_t depths; /* outputs of the depth axis that reach one position, at most */
    ptrdiff_t margin; /* positions of zeros before and after the totals */
    ptrdiff_t pitch;  /* elements of a residue of a row of dx */
    double divisor;   /* of every window, where one is */
    ptrdiff_t parts, units;
} job;

typedef struct {
    double *shares;
    ptrdiff_t *held; /* which row of dy each row of shares is, or -1 */
    const double **rows;
    double *cells; /* what the last axis contributes to the divisor of each output */
    double *divisors;
    double *totals;
    char *residues;
} lane;

static ptrdiff_t row_elements(const job *j) { return j->p.out_size[2] * j->inner + FC_POOL_SLACK; }

/* Those of the stride that dx has. */
static ptrdiff_t residues_of(const job *j) { return min(j->p.stride[2], j->p.in_size[2]); }

static size_t lay_out(const job *j, lane *l, char *base) {
    const ptrdiff_t size = sizeof(double), elements = row_elements(j), kept = j->depths * j->slots;
    size_t used = 0;
    l->shares = fc_carve(base, &used, kept * elements * size);
    l->held = fc_carve(base, &used, kept * (ptrdiff_t)sizeof *l->held);
    l->rows = fc_carve(base, &used, kept * (ptrdiff_t)sizeof *l->rows);
    l->cells = fc_carve(base, &used, j->p.out_size[2] * size);
    l->divisors = fc_carve(base, &used, elements * size);
    l->totals = fc_carve(base, &used, (elements + 2 * j->margin * j->inner) * size);
    l->residues = fc_carve(base, &used, residues_of(j) * j->pitch * j->size);
    return used;
}

static void share_row(const job *j, lane *l, ptrdiff_t plane, ptrdiff_t depth, ptrdiff_t height,
                      double *shares) {
    const fc_pool_problem *p = &j->p;
    const ptrdiff_t outputs = p->out_size[2], elements = outputs * j->inner;
    const double others = fc_pool_cells(p, 0, depth) * fc_pool_cells(p, 1, height);
    for (ptrdiff_t i = 0; i < outputs; i++) {
        const double divisor = p->divisor != 0 ? p->divisor : others * l->cells[i];
        const double quotient = j->size == 4 ? 1 / divisor : divisor;
        for (ptrdiff_t c = 0; c < j->inner; c++) l->divisors[i * j->inner + c] = quotient;
    }
    const ptrdiff_t row = (plane * p->out_size[0] + depth) * p->out_size[1] + height;
    j->kernels->pool.shares(elements, j->dy + row * elements * j->size, l->divisors, shares);
}

static void repeat(const job *j, const char *value, ptrdiff_t count, char *target) {
    if (j->size == 4)
        for (ptrdiff_t i = 0; i < count; i++) ((float *)target)[i] = *(const float *)value;
    else
        for (ptrdiff_t i = 0; i < count; i++) ((double *)target)[i] = *(const double *)value;
}

/* dx from the totals of its row; totals[0] is that of output 0, zeros beside them. */
static void spread_row(const job *j, lane *l, const double *totals, char *dx) {
    const fc_pool_problem *p = &j->p;
    const fc_pool_kernels *k = &j->kernels->pool;
    const ptrdiff_t width = p->in_size[2], stride = p->stride[2], pad = p->pad[2], inner = j->inner;
    if (j->pitch) {
        for (ptrdiff_t f = 0; f < residues_of(j); f++) {
            const ptrdiff_t residue = (f + pad) % stride, count = (width - f - 1) / stride + 1;
            const ptrdiff_t taps = residue < p->kernel[2] ? (p->kernel[2] - 1 - residue) / stride + 1 : 0;
            char *target = stride == 1 ? dx : l->residues + f * j->pitch * j->size;
            k->spread(count, taps, totals + (f + pad) / stride - max(taps - 1, 0), 1, target);
        }
        if (stride > 1) k->interleave(width, residues_of(j), l->residues, j->pitch, dx);
        return;
    }
    for (ptrdiff_t i = 0; i < width;) {
        const fc_range reached = fc_pool_outputs(p, 2, i);
        ptrdiff_t alike = 1; /* positions that the same outputs reach */
        if (p->out_size[2] == 1)
            while (i + alike < width && fc_pool_outputs(p, 2, i + alike).count == reached.count) alike++;
        char *target = dx + i * inner * j->size;
        k->spread(inner, reached.count, totals + reached.first * inner, inner, target);
        if (inner == 1) repeat(j, target, alike - 1, target + j->size);
        else
            for (ptrdiff_t a = 1; a < alike; a++)
                memcpy(target + a * inner * j->size, target, (size_t)(inner * j->size));
        i += alike;
    }
}

/* Units are rows of dx. */
static void backward_task(void *context, int index) {
    job *j = context;
    const fc_pool_problem *p = &j->p;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    const ptrdiff_t elements = row_elements(j), count = p->out_size[2] * j->inner;
    lane l = {0};
    char *base = fc_scratch_acquire(lay_out(j, &l, NULL));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    memset(base, 0, lay_out(j, &l, base));
    for (ptrdiff_t i = 0; i < p->out_size[2]; i++) l.cells[i] = fc_pool_cells(p, 2, i);
    for (ptrdiff_t i = 0; i < elements; i++) l.divisors[i] = 1;
    double *totals = l.totals + j->margin * j->inner;
    const ptrdiff_t bytes = p->in_size[2] * j->inner * j->size * min(j->depths * j->slots, 64);
    ptrdiff_t before = -1;
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, bytes); u++) {
        const ptrdiff_t height = u % p->in_size[1], group = u / p->in_size[1];
        const ptrdiff_t depth = group % p->in_size[0], plane = group / p->in_size[0];
        if (group != before) {
            before = group;
            for (ptrdiff_t i = 0; i < j->depths * j->slots; i++) l.held[i] = -1;
        }
        const fc_range d = fc_pool_outputs(p, 0, depth), h = fc_pool_outputs(p, 1, height);
        ptrdiff_t rows = 0;
        for (ptrdiff_t a = 0; a < d.count; a++)
            for (ptrdiff_t b = h.first; b < h.first + h.count; b++) {
                const ptrdiff_t row = (d.first + a) * p->out_size[1] + b, kept = a * j->slots + b % j->slots;
                double *shares = l.shares + kept * elements;
                if (l.held[kept] != row) share_row(j, &l, plane, d.first + a, b, shares);
                l.held[kept] = row;
                l.rows[rows++] = shares;
            }
        j->kernels->pool.total_across(count, rows, l.rows, totals);
        /* The last vector may have passed the end of the row, where zeros belong. */
        for (ptrdiff_t i = count; i < count + FC_POOL_SLACK / 2; i++) totals[i] = 0;
        spread_row(j, &l, totals, j->dx + u * p->in_size[2] * j->inner * j->size);
    }
    fc_scratch_release(base);
}

/* Where all divisors are the same and channels fill the vectors, dx is a sum of windows of dy. */
static void direct_task(void *context, int index) {
    job *j = context;
    const fc_pool_problem *p = &j->p;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    const ptrdiff_t width = p->in_size[2], row_bytes = p->out_size[2] * j->inner * j->size;
    const ptrdiff_t table = width * (ptrdiff_t)sizeof(ptrdiff_t);
    const ptrdiff_t pointers = j->depths * j->slots * (ptrdiff_t)sizeof(void *);
    size_t used = 0;
    char *base = fc_scratch_acquire((size_t)(2 * table + pointers) + 256);
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    ptrdiff_t *first = fc_carve(base, &used, table), *taps = fc_carve(base, &used, table);
    const void **row = fc_carve(base, &used, pointers);
    for (ptrdiff_t i = 0; i < width; i++) {
        const fc_range reached = fc_pool_outputs(p, 2, i);
        first[i] = reached.first;
        taps[i] = reached.count;
    }
    double divisors[FC_POOL_SLACK];
    for (int i = 0; i < FC_POOL_SLACK; i++) divisors[i] = j->size == 4 ? 1 / j->divisor : j->divisor;
    const ptrdiff_t bytes = width * j->inner * j->size * min(j->depths * j->slots, 64);
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, bytes); u++) {
        const ptrdiff_t height = u % p->in_size[1], group = u / p->in_size[1];
        const ptrdiff_t depth = group % p->in_size[0], plane = group / p->in_size[0];
        const fc_range d = fc_pool_outputs(p, 0, depth), h = fc_pool_outputs(p, 1, height);
        ptrdiff_t rows = 0;
        for (ptrdiff_t a = d.first; a < d.first + d.count; a++)
            for (ptrdiff_t b = h.first; b < h.first + h.count; b++)
                row[rows++] = j->dy + ((plane * p->out_size[0] + a) * p->out_size[1] + b) * row_bytes;
        const fc_pool_windows windows = {j->inner, width, rows, 1, row, NULL, first, taps, 0};
        j->kernels->pool.sum_windows(&windows, divisors, j->dx + u * width * j->inner * j->size);
    }
    fc_scratch_release(base);
}

/* Positions whose windows direct_task keeps. */
static const ptrdiff_t MAX_WIDTH = 1 << 16;

static int is_direct(const job *j) {
    const fc_pool_problem *p = &j->p;
    if (j->inner == 1 || j->inner % j->kernels->lanes || p->in_size[2] > MAX_WIDTH) return 0;
    const ptrdiff_t taps = p->adaptive ? p->out_size[2] / p->in_size[2] + 2 : (p->kernel[2] - 1) / p->stride[2] + 1;
    if (taps > FC_POOL_COLUMNS) return 0; /* each would be read for each position */
    if (p->divisor != 0) return 1;
    for (int axis = 0; axis < 3; axis++)
        for (ptrdiff_t o = 1; o < p->out_size[axis]; o++)
            if (fc_pool_cells(p, axis, o) != fc_pool_cells(p, axis, 0)) return 0;
    return 1;
}

/* One window per plane, all of it. */
static void whole_task(void *context, int index) {
    job *j = context;
    const fc_pool_problem *p = &j->p;
    const fc_units share = fc_units_of(j->planes, j->parts, index);
    const ptrdiff_t count = p->in_size[0] * p->in_size[1] * p->in_size[2];
    const double divisor = p->divisor != 0 ? p->divisor : (double)count;
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, count * j->size); u++) {
        float single;
        double share;
        if (j->size == 4) single = (float)(((const float *)j->dy)[u] / divisor);
        else share = ((const double *)j->dy)[u] / divisor;
        repeat(j, j->size == 4 ? (const char *)&single : (const char *)&share, count,
               j->dx + u * count * j->size);
    }
}

static int is_whole(const job *j) {
    const fc_pool_problem *p = &j->p;
    for (int axis = 0; axis < 3; axis++)
        if (p->kernel[axis] != p->in_size[axis] || p->pad[axis] || p->pad_after[axis]) return 0;
    return j->inner == 1 && !p->adaptive;
}

/* A job without arrays; whether its workspace is small enough. */
static int plan(const fc_pool_problem *problem, job *made) {
    const fc_pool_problem regular = fc_pool_regular(problem), *p = &regular;
    const fc_dtype dtype = fc_pool_dtype(p->element);
    job j = {
        .p = regular,
        .kernels = fc_find_kernels(p->call.isa, dtype),
        .size = dtype == FC_FLOAT32 ? 4 : 8,
        .inner = p->channels_last ? p->channels : 1,
    };
    ptrdiff_t reached[2];
    for (int axis = 0; axis < 2; axis++) {
        const ptrdiff_t max_of_all = p->adaptive ? p->out_size[axis] / p->in_size[axis] + 2
                                                  : (p->kernel[axis] - 1) / p->stride[axis] + 1;
        reached[axis] = min(max_of_all, p->out_size[axis]);
    }
    j.depths = reached[0];
    j.slots = reached[1];
    if (j.inner == 1 && !p->adaptive && p->out_size[2] > 1) {
        j.margin = p->kernel[2] / p->stride[2] + 2;
        j.pitch = (p->in_size[2] - 1) / p->stride[2] + 1;
    }
    j.planes = p->batch * p->channels / j.inner;
    j.units = j.planes * p->in_size[0] * p->in_size[1];
    j.parts = min(j.units, fc_pool_threads(p));
    if (is_whole(&j)) j.parts = min(j.planes, p->call.threads);
    j.divisor = p->divisor != 0 ? p->divisor
                                : fc_pool_cells(p, 0, 0) * fc_pool_cells(p, 1, 0) * fc_pool_cells(p, 2, 0);
    const double rows = ((double)j.depths * (double)j.slots + 3) * (double)row_elements(&j);
    const double others = 2 * (double)j.margin * (double)j.inner + 2 * (double)p->in_size[2];
    *made = j;
    return 8 * (rows + others) <= (double)FC_POOL_WORKSPACE;
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    job j;
    (void)path, (void)op;
    if (problem->pool.batch == 0) return NULL;
    if (fc_pool_is_too_large(&problem->pool)) return "a plane has 2**31 positions or more";
    return plan(&problem->pool, &j) ? NULL : "the rows that windows need pass the workspace";
}

static fc_status run(const fc_plan *made, const fc_arrays *a, fc_question interrupted) {
    job j;
    if (!plan(&made->problem.pool, &j)) return FC_REFUSED;
    j.run = fc_start(made->problem.call.threads, interrupted);
    j.dy = a->y;
    j.dx = a->x;
    fc_parallel(&j.run, (int)j.parts, is_whole(&j) ? whole_task : is_direct(&j) ? direct_task : backward_task, &j);
    return (fc_status)j.run.status;
}

const fc_path fc_path_avg_pool_backward = {.name = "pool", .exact = 1, .refuses = refuses, .run = run};
