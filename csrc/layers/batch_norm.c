/* Batch norm: two passes over memory forward, and backward unless a channel fits L2. Statistics are those of
 * chunks that stay in L1, combined in one order (Chan, Golub & LeVeque 1983), so that the bits do not depend on the
 * threads. Runs too short for vectors are taken for channels of their own, side by side. */
#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../platform/memory.h"
#include "../platform/threads.h"
#include "../tuning.h"

typedef struct {
    const fc_norm_problem *p;
    const fc_kernels *kernels;
    fc_run run;
    const char *x, *dy;
    char *y;
    const char *residual; /* of y, or NULL */
    int relu;             /* of y */
    const char *result;   /* of the ReLU whose gradient is to be taken first, or NULL */
    char *dz;             /* ... what becomes of dy */
    FC_ATOMIC int has_negative; /* ... whether an element of the result is below 0 */
    const double *mean, *a, *b, *d;
    double *first, *second; /* [chunk][channel] */
    ptrdiff_t size;
    ptrdiff_t length, chunks; /* elements of a run, or rows, in a chunk; chunks of a run, or of all rows */
    ptrdiff_t images;         /* whose runs share a chunk: 1 unless there are very many */
    ptrdiff_t slices;         /* of the channels */
    ptrdiff_t units, tasks;
} job;

/* One chunk: `count` elements of channel c from `at` on, or `count` rows of `channels` channels. */
typedef struct {
    ptrdiff_t row, channel, channels, at, count, runs;
} chunk;

static int by_rows(const job *j) { return j->p->inner == 1; }

static chunk chunk_of(const job *j, ptrdiff_t u) {
    const fc_norm_problem *p = j->p;
    if (by_rows(j)) {
        const ptrdiff_t i = u / j->slices, channel = u % j->slices * FC_NORM_CHANNELS;
        return (chunk){i, channel, min(FC_NORM_CHANNELS, p->channels - channel),
                       i * j->length * p->channels + channel, min(j->length, p->outer - i * j->length), 1};
    }
    const ptrdiff_t run = u / j->chunks, begin = u % j->chunks * j->length;
    const ptrdiff_t group = run / p->channels, channel = run % p->channels, image = group * j->images;
    return (chunk){group * j->chunks + u % j->chunks, channel, 1,
                   (image * p->channels + channel) * p->inner + begin, min(j->length, p->inner - begin),
                   min(j->images, p->outer - image)};
}

/* Stretches of adjacent elements of a chunk: their number, the elements of one, and from one to the next. */
typedef struct {
    ptrdiff_t count, length, step;
} stretches;

static stretches stretches_of(const job *j, const chunk *o) {
    const ptrdiff_t C = j->p->channels;
    if (!by_rows(j)) return (stretches){o->runs, o->count, C * j->p->inner};
    if (o->channels == C) return (stretches){1, o->count * C, 0};
    return (stretches){o->count, o->channels, C};
}

/* Adds the residual of what a chunk has of y, and takes its ReLU, while it is in L1. */
static void finish(const job *j, const chunk *o) {
    const stretches s = stretches_of(j, o);
    for (ptrdiff_t i = 0, at = o->at * j->size; i < s.count; i++, at += s.step * j->size)
        j->kernels->norm.finish(s.length, j->residual ? j->residual + at : NULL, j->relu, j->y + at);
}

/* dz of a chunk. */
static void take_relu_gradient(job *j, const chunk *o) {
    const stretches s = stretches_of(j, o);
    for (ptrdiff_t i = 0, at = o->at * j->size; i < s.count; i++, at += s.step * j->size)
        if (j->kernels->norm.relu_gradient(s.length, j->result + at, j->dy + at, j->dz + at))
            j->has_negative = 1;
}

/* The statistics of the runs of a channel in `runs` images. */
static void statistics_of_runs(const job *j, const chunk *o, const char *x, const char *dy, double *first,
                               double *second) {
    const fc_norm_kernels *k = &j->kernels->norm;
    const ptrdiff_t step = j->p->channels * j->p->inner * j->size;
    double before = 0, added[2];
    *first = *second = 0;
    for (ptrdiff_t i = 0; i < o->runs; i++, x += step) {
        if (dy) {
            k->products_run(o->count, dy + i * step, x, j->mean[o->channel], &added[0], &added[1]);
            *first += added[0];
        } else {
            k->moments_run(o->count, x, &added[0], &added[1]);
            const double distance = added[0] - *first, now = before + (double)o->count;
            *first += distance * (double)o->count / now;
            *second += distance * distance * before * (double)o->count / now;
            before = now;
        }
        *second += added[1];
    }
}

static void work(job *j, ptrdiff_t u) {
    const fc_norm_kernels *k = &j->kernels->norm;
    const chunk o = chunk_of(j, u);
    const ptrdiff_t C = j->p->channels, c = o.channel;
    const char *x = j->x + o.at * j->size, *dys = j->dz ? j->dz : j->dy, *dy = dys ? dys + o.at * j->size : NULL;
    if (j->result) take_relu_gradient(j, &o);
    double *first = j->first ? j->first + o.row * C + c : NULL;
    double *second = j->first ? j->second + o.row * C + c : NULL;
    if (j->y && by_rows(j))
        k->apply_rows(o.count, o.channels, x, C, j->mean + c, j->a + c, j->b + c, dy,
                      dy ? j->d + c : NULL, j->y + o.at * j->size);
    else if (j->y)
        k->apply_run(o.count, x, j->mean[c], j->a[c], j->b[c], dy, dy ? j->d[c] : 0,
                     j->y + o.at * j->size);
    else if (dy && by_rows(j))
        k->products_rows(o.count, o.channels, dy, x, C, j->mean + c, first, second);
    else if (by_rows(j))
        k->moments_rows(o.count, o.channels, x, C, first, second);
    else
        statistics_of_runs(j, &o, x, dy, first, second);
    if (j->residual || j->relu) finish(j, &o);
}

static void run_task(void *context, int task) {
    job *j = context;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    for (ptrdiff_t u = units.begin; u < units.end; u++) {
        if (fc_stopped_at(&j->run, u - units.begin, FC_LAYER_CHUNK_BYTES)) return;
        work(j, u);
    }
}

static job start(const fc_norm_problem *p, const double *mean, const void *x, const void *dy, void *y) {
    job j = {.p = p, .kernels = fc_find_kernels(p->call.isa, p->call.dtype), .x = x, .dy = dy, .y = y, .mean = mean};
    j.size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    const double bytes = (double)p->outer * (double)p->channels * (double)p->inner * (double)j.size;
    j.run = fc_start(fc_useful_threads(p->call.threads, bytes, FC_LAYER_THREAD_BYTES), p->call.interrupted);
    const ptrdiff_t length = by_rows(&j) ? p->outer : p->inner;
    j.images = by_rows(&j) || y ? 1 : quotient_up(p->outer, max(1, FC_NORM_MAX_STATISTICS / p->channels));
    const ptrdiff_t others = by_rows(&j) ? 1 : quotient_up(p->outer, j.images);
    const ptrdiff_t wanted = FC_LAYER_CHUNK_BYTES / j.size / (by_rows(&j) ? min(p->channels, FC_NORM_CHANNELS) : 1);
    const ptrdiff_t max_chunks = max(1, FC_NORM_MAX_STATISTICS / others / p->channels);
    j.length = max(even_block(length, wanted), quotient_up(length, max_chunks));
    j.chunks = quotient_up(length, j.length);
    j.slices = by_rows(&j) ? quotient_up(p->channels, FC_NORM_CHANNELS) : 1;
    j.units = by_rows(&j) ? j.chunks * j.slices : others * p->channels * j.chunks;
    j.tasks = min(j.units, j.run.threads);
    return j;
}

/* Chunks that hold elements of each channel. */
static ptrdiff_t rows_of(const job *j) {
    return by_rows(j) ? j->chunks : quotient_up(j->p->outer, j->images) * j->chunks;
}

static ptrdiff_t elements_of(const job *j, ptrdiff_t row) {
    const ptrdiff_t begin = row % j->chunks * j->length;
    if (by_rows(j)) return min(j->length, j->p->outer - begin);
    const ptrdiff_t images = min(j->images, j->p->outer - row / j->chunks * j->images);
    return min(j->length, j->p->inner - begin) * images;
}

static int statistics(job *j) {
    const ptrdiff_t count = rows_of(j) * j->p->channels;
    j->first = fc_scratch_acquire((size_t)(2 * count) * sizeof(double));
    if (!j->first) return 0;
    j->second = j->first + count;
    fc_parallel(&j->run, (int)j->tasks, run_task, j);
    return 1;
}

/* Whether runs are too short for vectors, and channels few enough for each position of a run to be one. */
static int has_short_runs(const fc_norm_problem *p) {
    return p->inner > 1 && p->inner < FC_NORM_SHORT_RUN && p->outer >= 8 &&
           p->channels <= FC_NORM_MAX_STATISTICS / 8 / p->inner;
}

/* The problem whose channels are the positions of all runs. */
static fc_norm_problem by_positions(const fc_norm_problem *p) {
    fc_norm_problem q = *p;
    q.channels *= p->inner;
    q.inner = 1;
    return q;
}

/* target[c * inner + i] = source[c]. */
static void repeat(const fc_norm_problem *p, const double *source, double *target) {
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t i = 0; i < p->inner; i++) target[c * p->inner + i] = source[c];
}

/* The sum over i of source[c * inner + i]. */
static double sum_of_run(const fc_norm_problem *p, ptrdiff_t c, const double *source) {
    double sum = 0;
    for (ptrdiff_t i = c * p->inner; i < (c + 1) * p->inner; i++) sum += source[i];
    return sum;
}

static fc_status moments(const fc_norm_problem *p, const void *x, double *mean, double *squares) {
    job j = start(p, NULL, x, NULL, NULL);
    if (!statistics(&j)) return FC_NO_MEMORY;
    const ptrdiff_t rows = rows_of(&j), C = p->channels;
    for (ptrdiff_t c = 0; c < C; c++) mean[c] = squares[c] = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < C; c++) mean[c] += j.first[r * C + c] * (double)elements_of(&j, r);
    for (ptrdiff_t c = 0; c < C; c++) mean[c] /= (double)p->outer * (double)p->inner;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < C; c++) {
            const double distance = j.first[r * C + c] - mean[c];
            squares[c] += j.second[r * C + c] + (double)elements_of(&j, r) * distance * distance;
        }
    fc_scratch_release(j.first);
    return (fc_status)j.run.status;
}

fc_status fc_moments(const fc_norm_problem *p, const void *x, double *mean, double *squares) {
    FC_ASSERT(p->outer >= 1 && p->channels >= 1 && p->inner >= 1);
    if (!has_short_runs(p)) return moments(p, x, mean, squares);
    const fc_norm_problem q = by_positions(p);
    double *means = fc_scratch_acquire((size_t)(2 * q.channels) * sizeof *means);
    if (!means) return FC_NO_MEMORY;
    const fc_status status = moments(&q, x, means, means + q.channels);
    for (ptrdiff_t c = 0; c < p->channels && status == FC_OK; c++) {
        mean[c] = sum_of_run(p, c, means) / (double)p->inner;
        squares[c] = 0;
        for (ptrdiff_t i = c * p->inner; i < (c + 1) * p->inner; i++) {
            const double distance = means[i] - mean[c];
            squares[c] += means[q.channels + i] + (double)p->outer * distance * distance;
        }
    }
    fc_scratch_release(means);
    return status;
}

/* Sums over dy, or, if there is a ReLU's y, over dz, which is made on the way. */
static fc_status sums_of(const fc_norm_problem *p, fc_norm_gradient *g, const double *mean, double *sum,
                         double *product) {
    job j = start(p, mean, g->x, g->dy, NULL);
    j.result = g->y;
    j.dz = g->dz;
    if (!statistics(&j)) return FC_NO_MEMORY;
    g->has_negative = j.has_negative;
    const ptrdiff_t rows = rows_of(&j);
    for (ptrdiff_t c = 0; c < p->channels; c++) sum[c] = product[c] = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < p->channels; c++) {
            sum[c] += j.first[r * p->channels + c];
            product[c] += j.second[r * p->channels + c];
        }
    fc_scratch_release(j.first);
    return (fc_status)j.run.status;
}

static fc_status sums(const fc_norm_problem *p, fc_norm_gradient *g, double *sum, double *product) {
    if (!has_short_runs(p)) return sums_of(p, g, g->mean, sum, product);
    const fc_norm_problem q = by_positions(p);
    double *sums = fc_scratch_acquire((size_t)(3 * q.channels) * sizeof *sums);
    if (!sums) return FC_NO_MEMORY;
    double *products = sums + q.channels, *means = products + q.channels;
    repeat(p, g->mean, means);
    const fc_status status = sums_of(&q, g, means, sums, products);
    for (ptrdiff_t c = 0; c < p->channels && status == FC_OK; c++) {
        sum[c] = sum_of_run(p, c, sums);
        product[c] = sum_of_run(p, c, products);
    }
    fc_scratch_release(sums);
    return status;
}

fc_status fc_norm_sums(const fc_norm_problem *p, const void *dy, const void *x, const double *mean,
                       double *sum, double *product) {
    fc_norm_gradient g = {.dy = dy, .x = x, .mean = mean};
    FC_ASSERT(p->outer >= 1 && p->channels >= 1 && p->inner >= 1);
    return sums(p, &g, sum, product);
}

/* y = a * (x - mean) + b, then + d * dy, or + residual; then its ReLU. */
typedef struct {
    const double *mean, *a, *b, *d; /* of each channel; d only with dy */
    const void *x, *dy, *residual;
    int relu;
} expression;

static fc_status evaluate(const fc_norm_problem *p, const expression *e, void *y) {
    job j = start(p, e->mean, e->x, e->dy, y);
    j.a = e->a;
    j.b = e->b;
    j.d = e->d;
    j.residual = e->residual;
    j.relu = e->relu;
    fc_parallel(&j.run, (int)j.tasks, run_task, &j);
    return (fc_status)j.run.status;
}

static fc_status apply(const fc_norm_problem *p, const expression *e, void *y) {
    if (!p->outer || !p->channels || !p->inner) return FC_OK;
    if (!has_short_runs(p)) return evaluate(p, e, y);
    const fc_norm_problem q = by_positions(p);
    double *repeated = fc_scratch_acquire((size_t)(4 * q.channels) * sizeof *repeated);
    if (!repeated) return FC_NO_MEMORY;
    const double *sources[4] = {e->mean, e->a, e->b, e->d};
    for (int i = 0; i < (e->d ? 4 : 3); i++) repeat(p, sources[i], repeated + i * q.channels);
    expression of_positions = *e;
    of_positions.mean = repeated;
    of_positions.a = repeated + q.channels;
    of_positions.b = repeated + 2 * q.channels;
    if (e->d) of_positions.d = repeated + 3 * q.channels;
    const fc_status status = evaluate(&q, &of_positions, y);
    fc_scratch_release(repeated);
    return status;
}

fc_status fc_norm_apply(const fc_norm_problem *p, const void *x, const double *mean, const double *a,
                        const double *b, const void *residual, void *y) {
    const expression e = {.mean = mean, .a = a, .b = b, .x = x, .residual = residual, .relu = p->relu};
    return apply(p, &e, y);
}

/* a, b and d of the expression that is a channel's dx. */
typedef struct {
    double of_x, constant, of_dy;
} terms;

static terms terms_of(const fc_norm_problem *p, double inv_std, double gamma, double dgamma, double dbeta) {
    const double count = (double)(p->outer * p->inner), factor = gamma * inv_std;
    return (terms){-factor * inv_std * dgamma / count, -factor * dbeta / count, factor};
}

typedef struct {
    job j;
    const fc_norm_gradient *gradient;
} backward_job;

/* Sums over one channel of dy and of dy * (x - mean), and of dz, if it has to be made. */
static void sum_channel(job *j, ptrdiff_t c, double *sum, double *product) {
    const fc_norm_problem *p = j->p;
    *sum = *product = 0;
    for (ptrdiff_t n = 0; n < p->outer; n++)
        for (ptrdiff_t i = 0; i < p->inner; i += j->length) {
            const chunk o = {.channel = c, .channels = 1, .at = (n * p->channels + c) * p->inner + i,
                             .count = min(j->length, p->inner - i), .runs = 1};
            double added[2];
            if (j->result) take_relu_gradient(j, &o);
            j->kernels->norm.products_run(o.count, (j->dz ? j->dz : j->dy) + o.at * j->size, j->x + o.at * j->size,
                                          j->mean[c], &added[0], &added[1]);
            *sum += added[0];
            *product += added[1];
        }
}

/* Channel after channel: dx while x and dy are still in L2. The sums are added in fc_norm_sums' order. */
static void backward_task(void *context, int task) {
    backward_job *b = context;
    job *j = &b->j;
    const fc_norm_gradient *g = b->gradient;
    const fc_norm_problem *p = j->p;
    const char *dy = j->dz ? j->dz : j->dy;
    const fc_units channels = fc_units_of(p->channels, j->tasks, task);
    const ptrdiff_t bytes = p->outer * p->inner * j->size;
    for (ptrdiff_t c = channels.begin; c < channels.end && !fc_stopped_at(&j->run, c - channels.begin, bytes); c++) {
        double sum, product;
        sum_channel(j, c, &sum, &product);
        g->dbeta[c] = sum;
        g->dgamma[c] = product * g->inv_std[c];
        const terms t = terms_of(p, g->inv_std[c], g->gamma[c], g->dgamma[c], sum);
        for (ptrdiff_t n = 0; n < p->outer; n++) {
            const ptrdiff_t at = (n * p->channels + c) * p->inner * j->size;
            j->kernels->norm.apply_run(p->inner, j->x + at, j->mean[c], t.of_x, t.constant, dy + at, t.of_dy,
                                       j->y + at);
        }
    }
}

static void relu_gradient_task(void *context, int task) {
    job *j = context;
    const fc_units units = fc_units_of(j->units, j->tasks, task);
    for (ptrdiff_t u = units.begin; u < units.end && !fc_stopped_at(&j->run, u - units.begin, FC_LAYER_CHUNK_BYTES);
         u++) {
        const chunk o = chunk_of(j, u);
        take_relu_gradient(j, &o);
    }
}

/* dz, in the order of memory. */
static fc_status make_dz(const fc_norm_problem *p, fc_norm_gradient *g) {
    fc_norm_problem flat = *p;
    flat.inner *= p->outer * p->channels;
    flat.outer = flat.channels = 1;
    job j = start(&flat, NULL, g->x, g->dy, NULL);
    j.result = g->y;
    j.dz = g->dz;
    fc_parallel(&j.run, (int)j.tasks, relu_gradient_task, &j);
    g->has_negative = j.has_negative;
    return (fc_status)j.run.status;
}

static fc_status backward(const fc_norm_problem *p, fc_norm_gradient *g) {
    backward_job b = {.j = start(p, g->mean, g->x, g->dy, g->dx), .gradient = g};
    job *j = &b.j;
    j->result = g->y;
    j->dz = g->dz;
    const double bytes = (g->y ? 4 : 2) * (double)p->outer * (double)p->inner * (double)j->size;
    if (!by_rows(j) && !has_short_runs(p) && bytes <= FC_NORM_CHANNEL_BYTES && p->channels >= 4 * j->run.threads &&
        p->outer * p->channels <= FC_NORM_MAX_STATISTICS) {
        j->tasks = j->run.threads;
        fc_parallel(&j->run, (int)j->tasks, backward_task, &b);
        g->has_negative = j->has_negative;
        return (fc_status)j->run.status;
    }
    double *all = fc_scratch_acquire((size_t)(3 * p->channels) * sizeof *all);
    if (!all) return FC_NO_MEMORY;
    double *of_x = all, *constant = of_x + p->channels, *of_dy = constant + p->channels;
    fc_status status = sums(p, g, g->dbeta, g->dgamma);
    for (ptrdiff_t c = 0; c < p->channels; c++) {
        g->dgamma[c] *= g->inv_std[c];
        const terms t = terms_of(p, g->inv_std[c], g->gamma[c], g->dgamma[c], g->dbeta[c]);
        of_x[c] = t.of_x;
        constant[c] = t.constant;
        of_dy[c] = t.of_dy;
    }
    const expression e = {.mean = g->mean, .a = of_x, .b = constant, .d = of_dy, .x = g->x,
                          .dy = g->dz ? g->dz : g->dy};
    if (status == FC_OK) status = apply(p, &e, g->dx);
    fc_scratch_release(all);
    return status;
}

fc_status fc_norm_backward(const fc_norm_problem *p, fc_norm_gradient *g) {
    FC_ASSERT(p->outer >= 1 && p->channels >= 1 && p->inner >= 1 && !g->y == !g->dz);
    const ptrdiff_t size = p->call.dtype == FC_FLOAT32 ? 4 : 8;
    if (!g->y || p->inner == 1 || p->inner * size >= FC_NORM_FUSED_BYTES) return backward(p, g);
    const fc_status status = make_dz(p, g);
    fc_norm_gradient of_dz = *g;
    of_dz.dy = g->dz;
    of_dz.y = of_dz.dz = NULL;
    return status == FC_OK ? backward(p, &of_dz) : status;
}
