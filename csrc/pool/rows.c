/* Max and average pools, forward, by lines of outputs: pool/rows pools lines of x along first, keeps them while windows
 * need them, and combines them (kernels/pool.tmpl.h); pool/windows reads whole windows of channels straight from x,
 * averages by sums of columns that windows share.
 *
 * The output is cut into lines, and these into blocks. With channels last the channels are the vector, else, or where
 * they are few, the outputs of a line are: x is split into the residues of the stride, so that the same tap of
 * neighbouring outputs is neighbouring elements. Long and adaptive windows are pooled one by one. */
#include <math.h>
#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"
#include "lines.h"
#include "pool.h"
#include "windows.h"

/* A call, or without arrays what is kept of it in a plan. */
typedef struct {
    fc_pool pool;
    int direct;              /* whole windows of channels at once: no lines are kept */
    ptrdiff_t column;        /* bytes of the column of a value while pooling */
    ptrdiff_t taps[3];       /* at most so many of a window on each axis */
    ptrdiff_t block, blocks; /* outputs of a line at a time */
    ptrdiff_t slots;         /* lines kept for each tap of the depth axis: a power of 2 */
    ptrdiff_t pitch;         /* elements of a residue of a line; 0: windows are pooled one by one */
    ptrdiff_t tasks, units;
    fc_run run;
    const char *x;
    char *y;
    long long *indices;
} job;

/* Every stride-th element of a line from x + offset on goes to target[first] ... target[last - 1]; what is
 * beside them is padding, written once. */
typedef struct {
    char *target;
    ptrdiff_t first, last, offset;
} residue;

/* What one thread has. */
typedef struct {
    char *values, *columns;      /* the lines kept */
    ptrdiff_t *held;             /* which line of x each is, or NONE */
    fc_pooled_line *lines;       /* the lines of one window that were pooled along: maxima, */
    const double **sums;         /* sums, */
    const void **line;           /* or lines of x, */
    ptrdiff_t *base;             /* and their places in the plane */
    ptrdiff_t *start, *count_on; /* first tap, and number of taps, on the data: of each output */
    ptrdiff_t from, end;         /* the positions that the block reaches */
    const void **tap;
    char *first, *column;        /* fc_line_windows */
    residue *residues;
    ptrdiff_t residue_count;
    char *split, *wide;          /* x split into residues, x widened */
    double *divisors;            /* as fc_pool_divisor gives them */
    double divided_by;           /* what the other axes contribute to these */
    char *result;                /* y before it is narrowed */
    ptrdiff_t plane, o_depth, q0, count; /* the block at hand */
} scratch;

/* No line of x. */
enum { NONE = -1 };

static ptrdiff_t pooled_size(const job *j) {
    return j->pool.has_indices ? j->pool.size + j->column : (ptrdiff_t)sizeof(double);
}

static ptrdiff_t line_elements(const job *j) { return j->block * j->pool.inner + FC_POOL_SLACK; }

/* Positions of x that a block reaches, at most. */
static ptrdiff_t reach(const job *j) {
    const fc_pool_problem *p = &j->pool.p;
    if (p->adaptive) return p->in_size[2];
    return (j->block - 1) * p->stride[2] + (p->kernel[2] - 1) * p->dilation[2] + 1;
}

static size_t lay_out(const job *j, scratch *s, char *base) {
    const ptrdiff_t kept = j->taps[0] * j->slots, window = j->taps[0] * j->taps[1];
    const ptrdiff_t elements = line_elements(j), span = min(reach(j), j->pool.p.in_size[2]);
    size_t used = 0;
    s->values = fc_carve(base, &used, kept * elements * (j->pool.has_indices ? j->pool.size : 8));
    s->columns = fc_carve(base, &used, j->pool.has_indices ? kept * elements * j->column : 0);
    s->held = fc_carve(base, &used, kept * (ptrdiff_t)sizeof *s->held);
    s->lines = fc_carve(base, &used, window * (ptrdiff_t)sizeof *s->lines);
    s->sums = fc_carve(base, &used, window * (ptrdiff_t)sizeof *s->sums);
    s->line = fc_carve(base, &used, window * (ptrdiff_t)sizeof *s->line);
    s->base = fc_carve(base, &used, window * (ptrdiff_t)sizeof *s->base);
    s->start = fc_carve(base, &used, j->block * (ptrdiff_t)sizeof *s->start);
    s->count_on = fc_carve(base, &used, j->block * (ptrdiff_t)sizeof *s->count_on);
    s->tap = fc_carve(base, &used, j->pitch ? j->taps[2] * (ptrdiff_t)sizeof *s->tap : 0);
    s->first = fc_carve(base, &used, j->pitch ? elements * j->column : 0);
    s->column = fc_carve(base, &used, j->pitch ? elements * j->column : 0);
    const ptrdiff_t residues = j->pitch ? min(j->taps[2], j->pool.p.stride[2]) : 0;
    s->residues = fc_carve(base, &used, residues * (ptrdiff_t)sizeof *s->residues);
    s->split = fc_carve(base, &used, residues * j->pitch * j->pool.size);
    s->wide = fc_carve(base, &used, j->direct ? 0 : (span * j->pool.inner + FC_POOL_SLACK) * j->pool.size);
    s->divisors = fc_carve(base, &used, j->pool.has_indices ? 0 : elements * 8);
    s->result = fc_carve(base, &used, j->pool.element != j->pool.size ? elements * j->pool.size : 0);
    return used;
}

static void set_column(const job *j, char *table, ptrdiff_t i, ptrdiff_t value) {
    if (j->column == 4) ((int32_t *)table)[i] = (int32_t)value;
    else ((int64_t *)table)[i] = value;
}

static void fill(const job *j, char *target, ptrdiff_t first, ptrdiff_t last) {
    const double value = j->pool.has_indices ? -INFINITY : 0;
    if (j->pool.size == 4)
        for (ptrdiff_t i = first; i < last; i++) ((float *)target)[i] = (float)value;
    else
        for (ptrdiff_t i = first; i < last; i++) ((double *)target)[i] = value;
}

/* Where the taps of the block find their residues of a line, and the padding beside these. */
static void begin_residues(const job *j, scratch *s) {
    const fc_pool_problem *p = &j->pool.p;
    const ptrdiff_t stride = p->stride[2], dilation = p->dilation[2], taps = p->kernel[2], inner = j->pool.inner;
    const ptrdiff_t start = s->q0 * stride - p->pad[2];
    const ptrdiff_t end = start + (s->count - 1) * stride + (taps - 1) * dilation + 1;
    const ptrdiff_t low = max(start, 0), high = min(end, p->in_size[2]);
    s->from = low;
    s->end = high;
    s->residue_count = 0;
    for (ptrdiff_t i = 0; i < line_elements(j); i++) {
        const ptrdiff_t output = i / inner;
        const int real = output < s->count;
        set_column(j, s->first, i, real ? s->start[output] : 0);
        set_column(j, s->column, i, real ? (s->q0 + output) * stride - p->pad[2] : 0);
    }
    if (stride == 1 && low == start && high == end) return; /* no copy is needed */
    const ptrdiff_t period = stride / greatest_common_divisor(stride, dilation);
    for (ptrdiff_t t = 0; t < taps; t++) {
        if (t >= period) { /* the same residue as an earlier tap */
            s->tap[t] = (const char *)s->tap[t - period] + dilation * period / stride * inner * j->pool.size;
            continue;
        }
        const ptrdiff_t at = t * dilation % stride, slots = (end - 1 - start - at) / stride + 1;
        residue *f = &s->residues[s->residue_count++];
        f->target = s->split + t * j->pitch * j->pool.size;
        f->first = min(slots, max(0, quotient_up(low - start - at, stride)));
        f->last = max(f->first, min(slots, quotient_up(high - start - at, stride)));
        f->offset = start + at + f->first * stride - low;
        fill(j, f->target, 0, f->first * inner);
        fill(j, f->target, f->last * inner, slots * inner + FC_POOL_SLACK);
        s->tap[t] = f->target + t * dilation / stride * inner * j->pool.size;
    }
}

static void begin_block(const job *j, scratch *s, ptrdiff_t q0) {
    s->q0 = q0;
    s->count = min(j->block, j->pool.p.out_size[2] - q0);
    s->divided_by = 0;
    s->from = j->pool.p.in_size[2];
    s->end = 0;
    for (ptrdiff_t i = 0; i < s->count; i++) {
        const fc_range w = fc_pool_window(&j->pool.p, 2, q0 + i);
        s->start[i] = w.first;
        s->count_on[i] = w.count;
        /* With dilation the first output need not have the first tap. */
        s->from = min(s->from, w.first);
        s->end = max(s->end, w.first + (w.count - 1) * j->pool.p.dilation[2] + 1);
    }
    if (j->pitch) begin_residues(j, s);
}

/* The elements of x from position `first` on as values, readable with slack: x itself, or a copy. */
static const char *values_of(const job *j, const scratch *s, const char *x, ptrdiff_t count,
                             int needs_slack) {
    const fc_pool_problem *p = &j->pool.p;
    if (j->pool.element != j->pool.size) {
        j->pool.kernels->pool.widen(p->element, count, x, s->wide);
        return s->wide;
    }
    if (!needs_slack) return x;
    const ptrdiff_t elements = p->batch * p->channels * p->in_size[0] * p->in_size[1] * p->in_size[2];
    if (x + (count + FC_POOL_SLACK) * j->pool.size <= j->x + elements * j->pool.size) return x;
    memcpy(s->wide, x, (size_t)(count * j->pool.size));
    return s->wide;
}

/* Points the taps to the residues of the line: to x where it needs no padding, else to copies. */
static void split_line(const job *j, scratch *s, const char *x) {
    const fc_pool_problem *p = &j->pool.p;
    const ptrdiff_t position = j->pool.inner * j->pool.size, count = (s->end - s->from) * j->pool.inner;
    const char *data = values_of(j, s, x + s->from * j->pool.inner * j->pool.element, count, !s->residue_count);
    if (!s->residue_count)
        for (ptrdiff_t t = 0; t < p->kernel[2]; t++) s->tap[t] = data + t * p->dilation[2] * position;
    for (ptrdiff_t i = 0; i < s->residue_count; i++) {
        const residue *f = &s->residues[i];
        const fc_padded_lines line = {.lines = 1, .count = f->last - f->first, .step = p->stride[2] * j->pool.inner,
                                    .inner = j->pool.inner, .adjacent = j->pool.inner};
        if (line.count > 0)
            j->pool.kernels->pad(&line, data + f->offset * position, f->target + f->first * position);
    }
}

/* Pools the windows of the block along line x into line `kept`. */
static void pool_line(const job *j, scratch *s, const char *x, ptrdiff_t kept) {
    const fc_pool_kernels *k = &j->pool.kernels->pool;
    const fc_pool_problem *p = &j->pool.p;
    const ptrdiff_t elements = line_elements(j), inner = j->pool.inner, step = p->dilation[2];
    char *values = s->values + kept * elements * (j->pool.has_indices ? j->pool.size : 8);
    char *columns = s->columns + kept * elements * j->column;
    if (j->pitch) {
        split_line(j, s, x);
        const fc_line_windows line = {s->count * inner, p->kernel[2], s->tap, s->first, s->column, step};
        if (j->pool.has_indices) k->max_along(&line, values, columns);
        else k->sum_along(&line, (double *)values);
        return;
    }
    const ptrdiff_t from = s->from;
    const char *data = values_of(j, s, x + from * inner * j->pool.element, (s->end - from) * inner,
                                 inner % j->pool.kernels->lanes != 0 && inner > 1);
    for (ptrdiff_t i = 0; i < s->count; i++) {
        const fc_range w = {s->start[i], s->count_on[i]};
        const char *source = data + (w.first - from) * inner * j->pool.size;
        char *value = values + i * inner * (j->pool.has_indices ? j->pool.size : 8);
        char *column = columns + i * inner * j->column;
        if (inner > 1 && j->pool.has_indices)
            k->max_channels(inner, w.count, source, step * inner, w.first, step, value, column);
        else if (inner > 1)
            k->sum_channels(inner, w.count, source, step * inner, (double *)value);
        else if (j->pool.has_indices)
            set_column(j, column, 0, w.first + step * k->max_run(w.count, source, step, value));
        else
            *(double *)value = k->sum_run(w.count, source);
    }
}

static void set_divisors(const job *j, scratch *s, double others) {
    if (others == s->divided_by) return;
    s->divided_by = others;
    for (ptrdiff_t i = 0; i < s->count; i++) {
        const double divisor = fc_pool_divisor(&j->pool.p, others * fc_pool_cells(&j->pool.p, 2, s->q0 + i));
        for (ptrdiff_t c = 0; c < j->pool.inner; c++) s->divisors[i * j->pool.inner + c] = divisor;
    }
}

/* The block of line o_height of the output. */
static void output_line(const job *j, scratch *s, ptrdiff_t o_height) {
    const fc_pool_problem *p = &j->pool.p;
    const fc_range d = fc_pool_window(p, 0, s->o_depth), h = fc_pool_window(p, 1, o_height);
    const ptrdiff_t elements = line_elements(j), count = s->count * j->pool.inner;
    const ptrdiff_t plane = s->plane * p->in_size[0] * p->in_size[1];
    ptrdiff_t lines = 0;
    for (ptrdiff_t a = 0; a < d.count; a++)
        for (ptrdiff_t b = 0; b < h.count; b++) {
            const ptrdiff_t depth = d.first + a * p->dilation[0], height = h.first + b * p->dilation[1];
            const ptrdiff_t line = depth * p->in_size[1] + height;
            const char *x = j->x + (plane + line) * p->in_size[2] * j->pool.inner * j->pool.element;
            if (j->direct) {
                s->line[lines] = x;
                s->base[lines++] = line * p->in_size[2];
                continue;
            }
            const ptrdiff_t kept = a * j->slots + (height & (j->slots - 1));
            if (s->held[kept] != line) {
                pool_line(j, s, x, kept);
                s->held[kept] = line;
            }
            const char *values = s->values + kept * elements * (j->pool.has_indices ? j->pool.size : 8);
            s->sums[lines] = (const double *)values;
            s->lines[lines++] = (fc_pooled_line){values, s->columns + kept * elements * j->column,
                                              line * p->in_size[2]};
        }
    const ptrdiff_t o_row = (s->plane * p->out_size[0] + s->o_depth) * p->out_size[1] + o_height;
    const ptrdiff_t at = (o_row * p->out_size[2] + s->q0) * j->pool.inner;
    char *y = j->y + at * j->pool.element, *target = j->pool.element == j->pool.size ? y : s->result;
    const fc_pool_windows windows = {j->pool.inner, s->count, lines, p->dilation[2], s->line, s->base,
                                     s->start, s->count_on, j->pool.inner};
    const fc_pool_kernels *k = &j->pool.kernels->pool;
    if (!j->pool.has_indices)
        set_divisors(j, s, fc_pool_cells(p, 0, s->o_depth) * fc_pool_cells(p, 1, o_height));
    int64_t *indices = j->indices ? (int64_t *)j->indices + at : NULL;
    if (j->pool.has_indices && j->direct) k->max_windows(&windows, target, indices);
    else if (j->pool.has_indices) k->max_across(count, lines, s->lines, target, indices);
    else if (j->direct) k->sum_windows(&windows, s->divisors, target);
    else k->sum_across(count, lines, s->sums, s->divisors, target);
    if (target != y) j->pool.kernels->pool.narrow(p->element, count, target, y);
}

/* Units are lines of blocks: [plane][block][output plane][output line]. */
static void lines_of_blocks_task(void *context, int task) {
    job *j = context;
    const fc_pool_problem *p = &j->pool.p;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    scratch s = {0};
    char *base = fc_scratch_acquire(lay_out(j, &s, NULL));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    lay_out(j, &s, base);
    ptrdiff_t group = units.begin / p->out_size[1], o_height = units.begin % p->out_size[1];
    const ptrdiff_t bytes = p->in_size[2] * j->pool.inner * j->pool.size * min(j->taps[1], 64);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(&j->run, u - units.begin, bytes); u++) {
        if (u == units.begin || o_height == 0) {
            const ptrdiff_t block = group / p->out_size[0] % j->blocks;
            s.o_depth = group % p->out_size[0];
            s.plane = group / p->out_size[0] / j->blocks;
            if (!s.count || block * j->block != s.q0) begin_block(j, &s, block * j->block);
            for (ptrdiff_t i = 0; i < j->taps[0] * j->slots; i++) s.held[i] = NONE;
        }
        output_line(j, &s, o_height);
        if (++o_height == p->out_size[1]) {
            o_height = 0;
            group++;
        }
    }
    fc_scratch_release(base);
}

/* Whether taps straight from x, or sums of its columns that windows share, are fewer than taps along lines
 * and then across those kept. */
static int windows_have_fewer_taps(const fc_pool *pool) {
    const fc_pool_problem *p = &pool->p;
    if (p->adaptive) return 1;
    const double lines = (double)p->kernel[0] * (double)p->kernel[1], taps = (double)p->kernel[2];
    const double fresh = (double)p->kernel[0] * (double)min(p->kernel[1], p->stride[1]);
    const double kept = fresh * taps + lines + FC_POOL_KEPT_LINE;
    if (!pool->has_indices && p->dilation[2] == 1 && taps <= FC_POOL_COLUMNS &&
        lines * (double)min(p->stride[2], p->kernel[2]) <= kept) return 1;
    return lines * taps <= kept;
}

/* Whether vectors over the outputs and channels of a line take longer than one over the channels of each window,
 * where it fills half of the lanes of a maximum, or all of a sum: positions are copied, those that windows share
 * once. */
static int channels_are_enough(const fc_pool *pool) {
    const fc_pool_problem *p = &pool->p;
    const double outputs = (double)p->out_size[2], taps = (double)p->kernel[2], lanes = (double)pool->kernels->lanes;
    const double inner = (double)pool->inner, copied = (double)min(p->kernel[2], p->stride[2]);
    if (pool->has_indices ? 2 * inner > lanes : inner >= (pool->size == 4 ? lanes / 2 : lanes)) return 1;
    const double line = copied * (FC_POOL_COPIED * outputs + FC_POOL_COPY) + (outputs * inner / lanes + 1) * taps;
    return line > outputs * (taps + FC_POOL_ONE_WINDOW);
}

/* Vectors over the outputs of a line pay if there are enough of them for the taps. */
static int windows_are_few(const fc_pool *pool) {
    const fc_pool_problem *p = &pool->p;
    const ptrdiff_t lanes = pool->kernels->lanes, outputs = p->out_size[2], taps = p->kernel[2];
    if (pool->inner > 1) return channels_are_enough(pool);
    if (!pool->has_indices && p->dilation[2] > 1) return 0; /* runs are summed whole */
    return quotient_up(outputs, lanes) * taps > outputs * (quotient_up(taps, lanes) + FC_POOL_ONE_WINDOW);
}

enum { ROWS, WINDOWS }; /* fc_path.variant */

/* How a path cuts a pool into blocks and tasks. */
static job cut(const fc_path *path, fc_op op, const fc_problem *problem) {
    job j = {.pool = fc_pool_of(op, &problem->pool), .direct = path->variant == WINDOWS};
    const fc_pool_problem *p = &j.pool.p;
    j.column = j.pool.kernels->pool.column_size;
    for (int axis = 0; axis < 3; axis++)
        j.taps[axis] = p->adaptive ? p->in_size[axis] / p->out_size[axis] + 2 : p->kernel[axis];
    const ptrdiff_t span = p->adaptive ? j.taps[1] : (p->kernel[1] - 1) * p->dilation[1] + 1;
    for (j.slots = !j.direct; j.slots && j.slots < min(span, p->in_size[1]);) j.slots *= 2;
    const ptrdiff_t kept = max(1, j.taps[0] * j.slots) * j.pool.inner * pooled_size(&j);
    const ptrdiff_t min_block = max(FC_POOL_MIN_OUTPUTS, FC_POOL_MIN_ELEMENTS / j.pool.inner);
    j.block = even_block(p->out_size[2], max(FC_POOL_KEPT_BYTES / kept, min_block));
    j.blocks = quotient_up(p->out_size[2], j.block);
    if (!j.direct && !p->adaptive && !windows_are_few(&j.pool))
        j.pitch = ((reach(&j) - 1) / p->stride[2] + 1) * j.pool.inner + FC_POOL_SLACK;
    j.units = j.pool.planes * j.blocks * p->out_size[0] * p->out_size[1];
    j.tasks = min(j.units, fc_pool_threads(p));
    return j;
}

static size_t scratch_of(const job *j) {
    scratch s;
    return lay_out(j, &s, NULL);
}

static const char *refuses_windows(const fc_pool *pool) {
    if (pool->element != pool->size) return "elements are not of the type that is pooled in";
    if (pool->inner == 1 || pool->inner % pool->kernels->lanes)
        return "channels that lie side by side do not fill vectors";
    return NULL;
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    if (problem->pool.batch == 0) return NULL;
    if (fc_pool_is_too_large(&problem->pool)) return "a plane has 2**31 positions or more";
    const job j = cut(path, op, problem);
    const char *refusal = j.direct ? refuses_windows(&j.pool) : NULL;
    if (refusal) return refusal;
    return scratch_of(&j) > FC_POOL_WORKSPACE ? "the lines that windows need pass the workspace" : NULL;
}

static const char *doubts_windows(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    (void)path;
    return windows_have_fewer_taps(&pool) ? NULL : "lines pooled along and kept take fewer taps";
}

static double cycles(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_pool pool = fc_pool_of(op, &problem->pool);
    (void)path;
    return fc_pool_rows_cycles(&pool);
}

static fc_status create(fc_plan *plan) {
    job *j = plan->state = fc_plan_allocate(plan, sizeof *j);
    if (!j) return FC_NO_MEMORY;
    *j = cut(plan->path, plan->op, &plan->problem);
    FC_ASSERT(j->tasks >= 1 && scratch_of(j) <= FC_POOL_WORKSPACE);
    return FC_OK;
}

static fc_status run(const fc_plan *plan, const fc_arrays *a, fc_question interrupted) {
    job j = *(const job *)plan->state;
    FC_ASSERT(a->x && a->y);
    j.x = a->x;
    j.y = a->y;
    j.indices = a->indices;
    j.run = fc_start((int)j.tasks, interrupted);
    fc_parallel(&j.run, (int)j.tasks, lines_of_blocks_task, &j);
    return (fc_status)j.run.status;
}

static void describe(const fc_plan *plan, fc_description *description) {
    const job *j = plan->state;
    const char *how = j->direct  ? "whole windows of channels, straight from x"
                      : j->pitch ? "lines are pooled along, a vector of outputs at a time, kept, and pooled across"
                                 : "lines are pooled along, window by window, kept, and pooled across";
    fc_pool_describe(description, how, j->block, j->tasks, scratch_of(j));
}

const fc_path fc_path_pool_windows = {
    .name = "pool/windows",
    .variant = WINDOWS,
    .exact = 1,
    .refuses = refuses,
    .doubt = doubts_windows,
    .create = create,
    .run = run,
    .describe = describe,
};

const fc_path fc_path_pool_rows = {
    .name = "pool/rows",
    .variant = ROWS,
    .exact = 1,
    .refuses = refuses,
    .cycles = cycles,
    .create = create,
    .run = run,
    .describe = describe,
};
