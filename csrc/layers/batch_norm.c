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

static void work(const job *j, ptrdiff_t u) {
    const fc_norm_kernels *k = &j->kernels->norm;
    const chunk o = chunk_of(j, u);
    const ptrdiff_t C = j->p->channels, c = o.channel;
    const char *x = j->x + o.at * j->size, *dy = j->dy ? j->dy + o.at * j->size : NULL;
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

static fc_status sums_of(const fc_norm_problem *p, const void *dy, const void *x, const double *mean, double *sum,
                         double *product) {
    job j = start(p, mean, x, dy, NULL);
    if (!statistics(&j)) return FC_NO_MEMORY;
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

fc_status fc_norm_sums(const fc_norm_problem *p, const void *dy, const void *x, const double *mean,
                       double *sum, double *product) {
    FC_ASSERT(p->outer >= 1 && p->channels >= 1 && p->inner >= 1);
    if (!has_short_runs(p)) return sums_of(p, dy, x, mean, sum, product);
    const fc_norm_problem q = by_positions(p);
    double *sums = fc_scratch_acquire((size_t)(3 * q.channels) * sizeof *sums);
    if (!sums) return FC_NO_MEMORY;
    double *products = sums + q.channels, *means = products + q.channels;
    repeat(p, mean, means);
    const fc_status status = sums_of(&q, dy, x, means, sums, products);
    for (ptrdiff_t c = 0; c < p->channels && status == FC_OK; c++) {
        sum[c] = sum_of_run(p, c, sums);
        product[c] = sum_of_run(p, c, products);
    }
    fc_scratch_release(sums);
    return status;
}

/* What y is of, for each channel. */
typedef struct {
    const double *mean, *a, *b, *d;
} factors;

static fc_status apply(const fc_norm_problem *p, const void *x, const factors *of, const void *dy, void *y) {
    job j = start(p, of->mean, x, dy, y);
    j.a = of->a;
    j.b = of->b;
    j.d = of->d;
    fc_parallel(&j.run, (int)j.tasks, run_task, &j);
    return (fc_status)j.run.status;
}

fc_status fc_norm_apply(const fc_norm_problem *p, const void *x, const double *mean, const double *a,
                        const double *b, const void *dy, const double *d, void *y) {
    const factors of = {mean, a, b, d};
    if (!p->outer || !p->channels || !p->inner) return FC_OK;
    if (!has_short_runs(p)) return apply(p, x, &of, dy, y);
    const fc_norm_problem q = by_positions(p);
    double *repeated = fc_scratch_acquire((size_t)(4 * q.channels) * sizeof *repeated);
    if (!repeated) return FC_NO_MEMORY;
    const double *sources[4] = {mean, a, b, d};
    for (int i = 0; i < (d ? 4 : 3); i++) repeat(p, sources[i], repeated + i * q.channels);
    const factors of_positions = {repeated, repeated + q.channels, repeated + 2 * q.channels,
                                  d ? repeated + 3 * q.channels : NULL};
    const fc_status status = apply(&q, x, &of_positions, dy, y);
    fc_scratch_release(repeated);
    return status;
}

/* The factors of fc_norm_apply for dx. */
typedef struct {
    double of_x, constant, of_dy;
} terms;

static terms terms_of(const fc_norm_problem *p, double inv_std, double gamma, double dgamma, double dbeta) {
    const double count = (double)(p->outer * p->inner), factor = gamma * inv_std;
    return (terms){-factor * inv_std * dgamma / count, -factor * dbeta / count, factor};
}

typedef struct {
    job j;
    const double *inv_std, *gamma;
    double *dgamma, *dbeta;
} backward_job;

/* Channel after channel: dx while x and dy are still in L2. The sums are added in fc_norm_sums' order. */
static void backward_task(void *context, int task) {
    backward_job *b = context;
    job *j = &b->j;
    const fc_norm_problem *p = j->p;
    const fc_norm_kernels *k = &j->kernels->norm;
    const fc_units channels = fc_units_of(p->channels, j->tasks, task);
    const ptrdiff_t bytes = p->outer * p->inner * j->size;
    for (ptrdiff_t c = channels.begin; c < channels.end && !fc_stopped_at(&j->run, c - channels.begin, bytes); c++) {
        double sum = 0, product = 0;
        for (ptrdiff_t n = 0; n < p->outer; n++)
            for (ptrdiff_t i = 0; i < p->inner; i += j->length) {
                const ptrdiff_t at = ((n * p->channels + c) * p->inner + i) * j->size;
                double added[2];
                k->products_run(min(j->length, p->inner - i), j->dy + at, j->x + at, j->mean[c], &added[0],
                                &added[1]);
                sum += added[0];
                product += added[1];
            }
        b->dbeta[c] = sum;
        b->dgamma[c] = product * b->inv_std[c];
        const terms t = terms_of(p, b->inv_std[c], b->gamma[c], b->dgamma[c], sum);
        for (ptrdiff_t n = 0; n < p->outer; n++) {
            const ptrdiff_t at = (n * p->channels + c) * p->inner * j->size;
            k->apply_run(p->inner, j->x + at, j->mean[c], t.of_x, t.constant, j->dy + at, t.of_dy, j->y + at);
        }
    }
}

fc_status fc_norm_backward(const fc_norm_problem *p, const void *dy, const void *x, const double *mean,
                           const double *inv_std, const double *gamma, double *dgamma, double *dbeta,
                           void *dx) {
    backward_job b = {start(p, mean, x, dy, dx), inv_std, gamma, dgamma, dbeta};
    job *j = &b.j;
    const double bytes = 2 * (double)p->outer * (double)p->inner * (double)j->size;
    if (!by_rows(j) && !has_short_runs(p) && bytes <= FC_NORM_CHANNEL_BYTES && p->channels >= 4 * j->run.threads &&
        p->outer * p->channels <= FC_NORM_MAX_STATISTICS) {
        j->tasks = j->run.threads;
        fc_parallel(&j->run, (int)j->tasks, backward_task, &b);
        return (fc_status)j->run.status;
    }
    double *all = fc_scratch_acquire((size_t)(3 * p->channels) * sizeof *all);
    if (!all) return FC_NO_MEMORY;
    double *of_x = all, *constant = of_x + p->channels, *of_dy = constant + p->channels;
    fc_status status = fc_norm_sums(p, dy, x, mean, dbeta, dgamma);
    for (ptrdiff_t c = 0; c < p->channels; c++) {
        dgamma[c] *= inv_std[c];
        const terms t = terms_of(p, inv_std[c], gamma[c], dgamma[c], dbeta[c]);
        of_x[c] = t.of_x;
        constant[c] = t.constant;
        of_dy[c] = t.of_dy;
    }
    if (status == FC_OK) status = fc_norm_apply(p, x, mean, of_x, constant, dy, of_dy, dx);
    fc_scratch_release(all);
    return status;
}
