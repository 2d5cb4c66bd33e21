/* Max and average pools, forward: rows of windows first, then across rows (kernels/pool.tmpl.h); but small
 * windows of channels first by lines.c.
 *
 * The output is cut into rows, and these into blocks. Rows of x are pooled along once, kept while
 * windows need them, and combined. With channels last the channels are the vector, else, or where they
 * are few, the outputs of a row are: x is split into the residues of the stride, so that the same tap of
 * neighbouring outputs is neighbouring elements. Long and adaptive windows are pooled one by one. Small
 * windows of channels that fill vectors go straight from x to y, averages by sums of columns that windows
 * share. */
#include "shared.h"

#include <math.h>
#include <string.h>

#include "../arithmetic.h"
#include "../platform/memory.h"
#include "../platform/threads.h"

/* Pooled rows that are kept should stay in L2 beside what is read and written. */
static const ptrdiff_t CACHE = 96 << 10;

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
    return fc_pool_dtype(p->element) == FC_FLOAT32 ? 1 / divisor : divisor;
}

fc_pool_problem fc_pool_regular(const fc_pool_problem *p) {
    fc_pool_problem q = *p;
    if (!p->adaptive) return q;
    for (int axis = 0; axis < 3; axis++) {
        if (p->in_size[axis] % p->out_size[axis]) return *p;
        q.kernel[axis] = q.stride[axis] = p->in_size[axis] / p->out_size[axis];
    }
    q.adaptive = 0;
    return q;
}

/* Where every window has whole rows, each is one run of elements: the last two axes become one. */
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

ptrdiff_t fc_element_size(fc_element element) {
    static const ptrdiff_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 8};
    return sizes[element];
}

fc_dtype fc_pool_dtype(fc_element element) {
    return element <= FC_ELEMENT_FLOAT32 ? FC_FLOAT32 : FC_FLOAT64;
}

int fc_pool_threads(const fc_pool_problem *p) {
    double in = 1, out = 1;
    for (int axis = 0; axis < 3; axis++) {
        in *= (double)p->in_size[axis];
        out *= (double)p->out_size[axis];
    }
    const double bytes = (double)p->batch * (double)p->channels * (in + 3 * out) *
                         (double)fc_element_size(p->element);
    return fc_useful_threads(p->call.threads, bytes, FC_POOL_THREAD_BYTES);
}

typedef struct {
    fc_pool_problem p;
    const fc_kernels *kernels;
    fc_run run;
    const char *x;
    char *y;
    int has_indices;    /* a maximum */
    long long *indices; /* NULL: average */
    ptrdiff_t element, size, column; /* bytes: of x and y, of a value while pooling, of its column */
    ptrdiff_t inner;                 /* channels that lie side by side, or 1 */
    ptrdiff_t planes;
    ptrdiff_t block, blocks; /* outputs of a row at a time */
    ptrdiff_t slots;         /* rows kept for each tap of the depth axis: a power of 2 */
    int direct;              /* whole windows of channels at once: no rows are kept */
    ptrdiff_t taps[3];       /* at most so many */
    ptrdiff_t pitch;         /* elements of a residue of a row; 0: windows are pooled one by one */
    ptrdiff_t parts, units;
} job;

/* Every stride-th element of a row from x + offset on goes to target[first] ... target[last - 1]; what is
 * beside them is padding, written once. */
typedef struct {
    char *target;
    ptrdiff_t first, last, offset;
} residue;

/* What one thread has. */
typedef struct {
    char *values, *columns; /* the rows kept */
    ptrdiff_t *held;        /* which row of x each is, or -1 */
    fc_pooled_line *rows;    /* those of one window */
    const double **sums;
    const void **row;       /* ... or rows of x */
    ptrdiff_t *base;        /* and their places in the plane */
    ptrdiff_t *start, *count_on; /* first tap, and number of taps, on the data: of each output */
    ptrdiff_t from, end;    /* the positions that the block reaches */
    const void **tap;
    char *first, *column;   /* fc_line_windows */
    residue *residues;
    ptrdiff_t residue_count;
    char *split, *wide;     /* x split into residues, x widened */
    double *divisors;       /* of floats: their reciprocals */
    double divided_by;     /* what the other axes contribute to these */
    char *result;          /* y before it is narrowed */
    ptrdiff_t plane, o_depth, q0, count; /* the block at hand */
} lane;

static ptrdiff_t pooled_size(const job *j) {
    return j->has_indices ? j->size + j->column : (ptrdiff_t)sizeof(double);
}

static ptrdiff_t row_elements(const job *j) { return j->block * j->inner + FC_POOL_SLACK; }

/* Positions of x that a block reaches, at most. */
static ptrdiff_t reach(const job *j) {
    const fc_pool_problem *p = &j->p;
    if (p->adaptive) return p->in_size[2];
    return (j->block - 1) * p->stride[2] + (p->kernel[2] - 1) * p->dilation[2] + 1;
}

static size_t lay_out(const job *j, lane *l, char *base) {
    const ptrdiff_t kept = j->taps[0] * j->slots, window = j->taps[0] * j->taps[1];
    const ptrdiff_t elements = row_elements(j), span = min(reach(j), j->p.in_size[2]);
    size_t used = 0;
    l->values = fc_carve(base, &used, kept * elements * (j->has_indices ? j->size : 8));
    l->columns = fc_carve(base, &used, j->has_indices ? kept * elements * j->column : 0);
    l->held = fc_carve(base, &used, kept * (ptrdiff_t)sizeof *l->held);
    l->rows = fc_carve(base, &used, window * (ptrdiff_t)sizeof *l->rows);
    l->sums = fc_carve(base, &used, window * (ptrdiff_t)sizeof *l->sums);
    l->row = fc_carve(base, &used, window * (ptrdiff_t)sizeof *l->row);
    l->base = fc_carve(base, &used, window * (ptrdiff_t)sizeof *l->base);
    l->start = fc_carve(base, &used, j->block * (ptrdiff_t)sizeof *l->start);
    l->count_on = fc_carve(base, &used, j->block * (ptrdiff_t)sizeof *l->count_on);
    l->tap = fc_carve(base, &used, j->pitch ? j->taps[2] * (ptrdiff_t)sizeof *l->tap : 0);
    l->first = fc_carve(base, &used, j->pitch ? elements * j->column : 0);
    l->column = fc_carve(base, &used, j->pitch ? elements * j->column : 0);
    const ptrdiff_t residues = j->pitch ? min(j->taps[2], j->p.stride[2]) : 0;
    l->residues = fc_carve(base, &used, residues * (ptrdiff_t)sizeof *l->residues);
    l->split = fc_carve(base, &used, residues * j->pitch * j->size);
    l->wide = fc_carve(base, &used, j->direct ? 0 : (span * j->inner + FC_POOL_SLACK) * j->size);
    l->divisors = fc_carve(base, &used, j->has_indices ? 0 : elements * 8);
    l->result = fc_carve(base, &used, j->element != j->size ? elements * j->size : 0);
    return used;
}

static void set_column(const job *j, char *table, ptrdiff_t i, ptrdiff_t value) {
    if (j->column == 4) ((int32_t *)table)[i] = (int32_t)value;
    else ((int64_t *)table)[i] = value;
}

static void fill(const job *j, char *target, ptrdiff_t first, ptrdiff_t last) {
    const double value = j->has_indices ? -INFINITY : 0;
    if (j->size == 4)
        for (ptrdiff_t i = first; i < last; i++) ((float *)target)[i] = (float)value;
    else
        for (ptrdiff_t i = first; i < last; i++) ((double *)target)[i] = value;
}

/* Where the taps of the block find their residues of a row, and the padding beside these. */
static void begin_residues(const job *j, lane *l) {
    const fc_pool_problem *p = &j->p;
    const ptrdiff_t stride = p->stride[2], dilation = p->dilation[2], taps = p->kernel[2], inner = j->inner;
    const ptrdiff_t start = l->q0 * stride - p->pad[2];
    const ptrdiff_t end = start + (l->count - 1) * stride + (taps - 1) * dilation + 1;
    const ptrdiff_t low = max(start, 0), high = min(end, p->in_size[2]);
    l->from = low;
    l->end = high;
    l->residue_count = 0;
    for (ptrdiff_t i = 0; i < row_elements(j); i++) {
        const ptrdiff_t output = i / inner;
        const int real = output < l->count;
        set_column(j, l->first, i, real ? l->start[output] : 0);
        set_column(j, l->column, i, real ? (l->q0 + output) * stride - p->pad[2] : 0);
    }
    if (stride == 1 && low == start && high == end) return; /* no copy is needed */
    const ptrdiff_t period = stride / greatest_common_divisor(stride, dilation);
    for (ptrdiff_t t = 0; t < taps; t++) {
        if (t >= period) { /* the same residue as an earlier tap */
            l->tap[t] = (const char *)l->tap[t - period] + dilation * period / stride * inner * j->size;
            continue;
        }
        const ptrdiff_t at = t * dilation % stride, slots = (end - 1 - start - at) / stride + 1;
        residue *f = &l->residues[l->residue_count++];
        f->target = l->split + t * j->pitch * j->size;
        f->first = min(slots, max(0, quotient_up(low - start - at, stride)));
        f->last = max(f->first, min(slots, quotient_up(high - start - at, stride)));
        f->offset = start + at + f->first * stride - low;
        fill(j, f->target, 0, f->first * inner);
        fill(j, f->target, f->last * inner, slots * inner + FC_POOL_SLACK);
        l->tap[t] = f->target + t * dilation / stride * inner * j->size;
    }
}

static void begin_block(const job *j, lane *l, ptrdiff_t q0) {
    l->q0 = q0;
    l->count = min(j->block, j->p.out_size[2] - q0);
    l->divided_by = 0;
    l->from = j->p.in_size[2];
    l->end = 0;
    for (ptrdiff_t i = 0; i < l->count; i++) {
        const fc_range w = fc_pool_window(&j->p, 2, q0 + i);
        l->start[i] = w.first;
        l->count_on[i] = w.count;
        /* With dilation the first output need not have the first tap. */
        l->from = min(l->from, w.first);
        l->end = max(l->end, w.first + (w.count - 1) * j->p.dilation[2] + 1);
    }
    if (j->pitch) begin_residues(j, l);
}

/* The elements of x from position `first` on as values, readable with slack: x itself, or a copy. */
static const char *values_of(const job *j, const lane *l, const char *x, ptrdiff_t count,
                             int needs_slack) {
    const fc_pool_problem *p = &j->p;
    if (j->element != j->size) {
        j->kernels->pool.widen(p->element, count, x, l->wide);
        return l->wide;
    }
    if (!needs_slack) return x;
    const ptrdiff_t elements = p->batch * p->channels * p->in_size[0] * p->in_size[1] * p->in_size[2];
    if (x + (count + FC_POOL_SLACK) * j->size <= j->x + elements * j->size) return x;
    memcpy(l->wide, x, (size_t)(count * j->size));
    return l->wide;
}

/* Points the taps to the residues of the row: to x where it needs no padding, else to copies. */
static void split_row(const job *j, lane *l, const char *x) {
    const fc_pool_problem *p = &j->p;
    const ptrdiff_t position = j->inner * j->size, count = (l->end - l->from) * j->inner;
    const char *data = values_of(j, l, x + l->from * j->inner * j->element, count, !l->residue_count);
    if (!l->residue_count)
        for (ptrdiff_t t = 0; t < p->kernel[2]; t++) l->tap[t] = data + t * p->dilation[2] * position;
    for (ptrdiff_t i = 0; i < l->residue_count; i++) {
        const residue *f = &l->residues[i];
        const fc_padded_lines row = {.lines = 1, .count = f->last - f->first, .step = p->stride[2] * j->inner,
                                    .inner = j->inner, .adjacent = j->inner};
        if (row.count > 0) j->kernels->pad(&row, data + f->offset * position, f->target + f->first * position);
    }
}

/* Pools the windows of the block along row x into row `kept`. */
static void pool_row(const job *j, lane *l, const char *x, ptrdiff_t kept) {
    const fc_pool_kernels *k = &j->kernels->pool;
    const fc_pool_problem *p = &j->p;
    const ptrdiff_t elements = row_elements(j), inner = j->inner, step = p->dilation[2];
    char *values = l->values + kept * elements * (j->has_indices ? j->size : 8);
    char *columns = l->columns + kept * elements * j->column;
    if (j->pitch) {
        split_row(j, l, x);
        const fc_line_windows row = {l->count * inner, p->kernel[2], l->tap, l->first, l->column, step};
        if (j->has_indices) k->max_along(&row, values, columns);
        else k->sum_along(&row, (double *)values);
        return;
    }
    const ptrdiff_t from = l->from;
    const char *data = values_of(j, l, x + from * inner * j->element, (l->end - from) * inner,
                                 inner % j->kernels->lanes != 0 && inner > 1);
    for (ptrdiff_t i = 0; i < l->count; i++) {
        const fc_range w = {l->start[i], l->count_on[i]};
        const char *source = data + (w.first - from) * inner * j->size;
        char *value = values + i * inner * (j->has_indices ? j->size : 8);
        char *column = columns + i * inner * j->column;
        if (inner > 1 && j->has_indices)
            k->max_channels(inner, w.count, source, step * inner, w.first, step, value, column);
        else if (inner > 1)
            k->sum_channels(inner, w.count, source, step * inner, (double *)value);
        else if (j->has_indices)
            set_column(j, column, 0, w.first + step * k->max_run(w.count, source, step, value));
        else
            *(double *)value = k->sum_run(w.count, source);
    }
}

static void set_divisors(const job *j, lane *l, double others) {
    if (others == l->divided_by) return;
    l->divided_by = others;
    for (ptrdiff_t i = 0; i < l->count; i++) {
        const double divisor = fc_pool_divisor(&j->p, others * fc_pool_cells(&j->p, 2, l->q0 + i));
        for (ptrdiff_t c = 0; c < j->inner; c++) l->divisors[i * j->inner + c] = divisor;
    }
}

/* The block of row o_height of the output. */
static void output_row(const job *j, lane *l, ptrdiff_t o_height) {
    const fc_pool_problem *p = &j->p;
    const fc_range d = fc_pool_window(p, 0, l->o_depth), h = fc_pool_window(p, 1, o_height);
    const ptrdiff_t elements = row_elements(j), count = l->count * j->inner;
    const ptrdiff_t plane = l->plane * p->in_size[0] * p->in_size[1];
    ptrdiff_t rows = 0;
    for (ptrdiff_t a = 0; a < d.count; a++)
        for (ptrdiff_t b = 0; b < h.count; b++) {
            const ptrdiff_t depth = d.first + a * p->dilation[0], height = h.first + b * p->dilation[1];
            const ptrdiff_t row = depth * p->in_size[1] + height;
            const char *x = j->x + (plane + row) * p->in_size[2] * j->inner * j->element;
            if (j->direct) {
                l->row[rows] = x;
                l->base[rows++] = row * p->in_size[2];
                continue;
            }
            const ptrdiff_t kept = a * j->slots + (height & (j->slots - 1));
            if (l->held[kept] != row) {
                pool_row(j, l, x, kept);
                l->held[kept] = row;
            }
            const char *values = l->values + kept * elements * (j->has_indices ? j->size : 8);
            l->sums[rows] = (const double *)values;
            l->rows[rows++] = (fc_pooled_line){values, l->columns + kept * elements * j->column,
                                              row * p->in_size[2]};
        }
    const ptrdiff_t o_row = (l->plane * p->out_size[0] + l->o_depth) * p->out_size[1] + o_height;
    const ptrdiff_t at = (o_row * p->out_size[2] + l->q0) * j->inner;
    char *y = j->y + at * j->element, *target = j->element == j->size ? y : l->result;
    const fc_pool_windows windows = {j->inner, l->count, rows, p->dilation[2], l->row, l->base,
                                     l->start, l->count_on, j->inner};
    const fc_pool_kernels *k = &j->kernels->pool;
    if (!j->has_indices)
        set_divisors(j, l, fc_pool_cells(p, 0, l->o_depth) * fc_pool_cells(p, 1, o_height));
    if (j->has_indices && j->direct) k->max_windows(&windows, target, (int64_t *)j->indices + at);
    else if (j->has_indices) k->max_across(count, rows, l->rows, target, (int64_t *)j->indices + at);
    else if (j->direct) k->sum_windows(&windows, l->divisors, target);
    else k->sum_across(count, rows, l->sums, l->divisors, target);
    if (target != y) j->kernels->pool.narrow(p->element, count, target, y);
}

/* Units are rows of blocks: [plane][block][output plane][output row]. */
static void pool_task(void *context, int index) {
    job *j = context;
    const fc_pool_problem *p = &j->p;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    lane l = {0};
    char *base = fc_scratch_acquire(lay_out(j, &l, NULL));
    if (!base) {
        fc_stop(&j->run, FC_NO_MEMORY);
        return;
    }
    lay_out(j, &l, base);
    ptrdiff_t group = share.begin / p->out_size[1], o_height = share.begin % p->out_size[1];
    const ptrdiff_t bytes = p->in_size[2] * j->inner * j->size * min(j->taps[1], 64);
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, bytes); u++) {
        if (u == share.begin || o_height == 0) {
            const ptrdiff_t block = group / p->out_size[0] % j->blocks;
            l.o_depth = group % p->out_size[0];
            l.plane = group / p->out_size[0] / j->blocks;
            if (!l.count || block * j->block != l.q0) begin_block(j, &l, block * j->block);
            for (ptrdiff_t i = 0; i < j->taps[0] * j->slots; i++) l.held[i] = -1;
        }
        output_row(j, &l, o_height);
        if (++o_height == p->out_size[1]) {
            o_height = 0;
            group++;
        }
    }
    fc_scratch_release(base);
}

/* One window per plane, all of it, whose elements are adjacent. */
static void whole_task(void *context, int index) {
    job *j = context;
    const fc_units share = fc_units_of(j->units, j->parts, index);
    const ptrdiff_t count = j->p.in_size[2];
    const double divisor = j->p.divisor != 0 ? j->p.divisor : (double)count;
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(&j->run, u - share.begin, count * j->size); u++) {
        const char *x = j->x + u * count * j->size;
        if (j->has_indices) {
            j->indices[u] = j->kernels->pool.max_run(count, x, 1, j->y + u * j->size);
            continue;
        }
        const double mean = j->kernels->pool.sum_run(count, x) / divisor;
        if (j->size == 4) ((float *)j->y)[u] = (float)mean;
        else ((double *)j->y)[u] = mean;
    }
}

static int is_whole(const job *j) {
    const fc_pool_problem *p = &j->p;
    return j->inner == 1 && j->element == j->size && !p->adaptive && p->in_size[0] == 1 &&
           p->in_size[1] == 1 && p->kernel[2] == p->in_size[2] && p->dilation[2] == 1 && !p->pad[2] &&
           !p->pad_after[2] && !p->pad[0] && !p->pad_after[0] && !p->pad[1] && !p->pad_after[1];
}

/* Whether taps straight from x, or sums of its columns that windows share, are fewer than taps along rows
 * and then across those kept. */
static int is_direct(const job *j) {
    const fc_pool_problem *p = &j->p;
    if (j->inner == 1 || j->inner % j->kernels->lanes || j->element != j->size) return 0;
    if (p->adaptive) return 1;
    const double rows = (double)p->kernel[0] * (double)p->kernel[1], taps = (double)p->kernel[2];
    const double fresh = (double)p->kernel[0] * (double)min(p->kernel[1], p->stride[1]);
    const double kept = fresh * taps + rows + 2;
    if (!j->has_indices && p->dilation[2] == 1 && taps <= FC_POOL_COLUMNS &&
        rows * (double)min(p->stride[2], p->kernel[2]) + taps <= kept + taps) return 1;
    return rows * taps <= kept;
}

/* Whether vectors over the outputs and channels of a row take longer than one over the channels of each window,
 * where it fills half of the lanes of a maximum, or all of a sum: positions are copied, those that windows share
 * once. */
static int channels_are_enough(const job *j) {
    const fc_pool_problem *p = &j->p;
    const double outputs = (double)p->out_size[2], taps = (double)p->kernel[2], lanes = (double)j->kernels->lanes;
    const double copied = (double)min(p->kernel[2], p->stride[2]);
    if (j->has_indices ? 2 * j->inner > j->kernels->lanes : j->inner >= (j->size == 4 ? lanes / 2 : lanes)) return 1;
    const double rows = 1.5 * outputs * copied + 20 * copied + (outputs * (double)j->inner / lanes + 1) * taps;
    return rows > outputs * (taps + 8);
}

/* Vectors over the outputs of a row pay if there are enough of them for the taps. */
static int windows_are_few(const job *j) {
    const fc_pool_problem *p = &j->p;
    const ptrdiff_t lanes = j->kernels->lanes, outputs = p->out_size[2], taps = p->kernel[2];
    if (j->inner > 1) return channels_are_enough(j);
    if (!j->has_indices && p->dilation[2] > 1) return 0; /* runs are summed whole */
    return quotient_up(outputs, lanes) * taps > outputs * (quotient_up(taps, lanes) + 8);
}

int fc_pool_is_too_large(const fc_pool_problem *p) {
    double plane = 1;
    for (int axis = 0; axis < 3; axis++)
        plane *= (double)p->in_size[axis] + (double)p->pad[axis] + (double)p->pad_after[axis] +
                 (double)p->kernel[axis] * (double)p->dilation[axis] + (double)p->stride[axis];
    return plane >= (double)INT32_MAX;
}

static fc_status plan(job *j) {
    const fc_pool_problem *p = &j->p;
    for (int axis = 0; axis < 3; axis++)
        j->taps[axis] = p->adaptive ? p->in_size[axis] / p->out_size[axis] + 2 : p->kernel[axis];
    const ptrdiff_t span = p->adaptive ? j->taps[1] : (p->kernel[1] - 1) * p->dilation[1] + 1;
    j->direct = is_direct(j);
    for (j->slots = !j->direct; j->slots && j->slots < min(span, p->in_size[1]);) j->slots *= 2;
    const ptrdiff_t kept = max(1, j->taps[0] * j->slots) * j->inner * pooled_size(j);
    j->block = min(p->out_size[2], max(CACHE / kept, max(4, 64 / j->inner)));
    j->block = even_block(p->out_size[2], j->block);
    j->blocks = quotient_up(p->out_size[2], j->block);
    if (!p->adaptive && !windows_are_few(j))
        j->pitch = ((reach(j) - 1) / p->stride[2] + 1) * j->inner + FC_POOL_SLACK;
    j->units = j->planes * j->blocks * p->out_size[0] * p->out_size[1];
    j->parts = min(j->units, fc_pool_threads(p));
    lane l;
    return lay_out(j, &l, NULL) > FC_POOL_WORKSPACE ? FC_REFUSED : FC_OK;
}

/* A job without arrays, of which those of one call are bound. */
static job job_of(fc_op op, const fc_pool_problem *problem) {
    const fc_pool_problem regular = fc_pool_regular(problem);
    const fc_dtype dtype = fc_pool_dtype(problem->element);
    return (job){
        .p = joined(&regular),
        .kernels = fc_find_kernels(problem->call.isa, dtype),
        .has_indices = op == FC_MAX_POOL,
        .element = fc_element_size(problem->element),
        .size = dtype == FC_FLOAT32 ? 4 : 8,
        .inner = problem->channels_last ? problem->channels : 1,
        .column = fc_find_kernels(problem->call.isa, dtype)->pool.column_size,
        .planes = problem->channels_last ? problem->batch : problem->batch * problem->channels,
    };
}

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_pool_problem *p = &problem->pool;
    (void)path;
    if (p->batch == 0) return NULL;
    if (fc_pool_is_too_large(p)) return "a plane has 2**31 positions or more";
    job j = job_of(op, p);
    if (fc_pool_suits_lines(&j.p, j.kernels, op)) return NULL;
    return plan(&j) == FC_OK ? NULL : "the rows that windows need pass the workspace";
}

static fc_status run(const fc_plan *made, const fc_arrays *a, fc_question interrupted) {
    job j = job_of(made->op, &made->problem.pool);
    long long *indices = made->op == FC_MAX_POOL ? a->indices : NULL;
    j.run = fc_start(made->problem.call.threads, interrupted);
    if (fc_pool_suits_lines(&j.p, j.kernels, made->op))
        return fc_pool_by_lines(&j.p, j.kernels, a->x, a->y, indices, interrupted);
    j.x = a->x;
    j.y = a->y;
    j.indices = indices;
    if (plan(&j) != FC_OK) return FC_REFUSED;
    fc_parallel(&j.run, (int)j.parts, is_whole(&j) ? whole_task : pool_task, &j);
    return (fc_status)j.run.status;
}

const fc_path fc_path_pool = {.name = "pool", .exact = 1, .refuses = refuses, .run = run};
