/* Batch norm: two passes over memory forward, two backward. Statistics are those of
 * chunks that stay in L1, combined in one order (Chan, Golub & LeVeque 1983), so that the bits do not
 * depend on the threads. */
#include "../arithmetic.h"
#include "../kernels/kernels.h"
#include "../memory.h"
#include "../threads.h"

/* Bytes of a chunk, and channels of one whose rows are cut. */
static const ptrdiff_t CHUNK = 16 << 10;
enum { CHANNELS = 64 };
/* More would make the chunks' statistics pass 16 MiB. */
static const ptrdiff_t MOST_STATISTICS = 1 << 20;
/* Bytes worth a thread more: about 10 us. */
static const double THREAD_BYTES = 128 << 10;

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
    ptrdiff_t slices;         /* of the channels */
    ptrdiff_t units, parts;
} job;

/* One chunk: `count` elements of channel c from `at` on, or `count` rows of `channels` channels. */
typedef struct {
    ptrdiff_t row, channel, channels, at, count;
} chunk;

static int by_rows(const job *j) { return j->p->inner == 1; }

static chunk chunk_of(const job *j, ptrdiff_t u) {
    const fc_norm_problem *p = j->p;
    if (by_rows(j)) {
        const ptrdiff_t i = u / j->slices, channel = u % j->slices * CHANNELS;
        return (chunk){i, channel, least(CHANNELS, p->channels - channel),
                       i * j->length * p->channels + channel, least(j->length, p->outer - i * j->length)};
    }
    const ptrdiff_t run = u / j->chunks, begin = u % j->chunks * j->length;
    return (chunk){run / p->channels * j->chunks + u % j->chunks, run % p->channels, 1,
                   run * p->inner + begin, least(j->length, p->inner - begin)};
}

static void work(const job *j, ptrdiff_t u) {
    const fc_norm_kernels *k = &j->kernels->norm;
    const chunk o = chunk_of(j, u);
    const ptrdiff_t C = j->p->channels, c = o.channel;
    const char *x = j->x + o.at * j->size, *dy = j->dy ? j->dy + o.at * j->size : NULL;
    double *first = j->first ? j->first + o.row * C + c : NULL;
    double *second = j->first ? j->second + o.row * C + c : NULL;
    if (j->y && by_rows(j))
        k->apply_rows(o.count, o.channels, x, C, j->a + c, j->b + c, dy, dy ? j->d + c : NULL,
                      j->y + o.at * j->size);
    else if (j->y)
        k->apply_run(o.count, x, j->a[c], j->b[c], dy, dy ? j->d[c] : 0, j->y + o.at * j->size);
    else if (dy && by_rows(j))
        k->products_rows(o.count, o.channels, dy, x, C, j->mean + c, first, second);
    else if (dy)
        k->products_run(o.count, dy, x, j->mean[c], first, second);
    else if (by_rows(j))
        k->moments_rows(o.count, o.channels, x, C, first, second);
    else
        k->moments_run(o.count, x, first, second);
}

static void part(void *context, int index) {
    job *j = context;
    const ptrdiff_t begin = j->units / j->parts * index + least(index, j->units % j->parts);
    const ptrdiff_t end = begin + j->units / j->parts + (index < j->units % j->parts);
    for (ptrdiff_t u = begin; u < end && !fc_stopped_at(&j->run, u - begin); u++) work(j, u);
}

static job start(const fc_norm_problem *p, const void *x, const void *dy) {
    job j = {.p = p, .kernels = fc_find_kernels(p->isa, p->dtype), .x = x, .dy = dy};
    j.size = p->dtype == FC_FLOAT32 ? 4 : 8;
    const double bytes = (double)p->outer * (double)p->channels * (double)p->inner * (double)j.size;
    const double threads = 1 + bytes / THREAD_BYTES;
    j.run = fc_start(threads < p->threads ? (int)threads : p->threads, p->interrupted);
    const ptrdiff_t length = by_rows(&j) ? p->outer : p->inner, others = by_rows(&j) ? 1 : p->outer;
    const ptrdiff_t wanted = CHUNK / j.size / (by_rows(&j) ? least(p->channels, CHANNELS) : 1);
    const ptrdiff_t most_chunks = most(1, MOST_STATISTICS / others / p->channels);
    j.length = most(even_block(length, wanted), quotient_up(length, most_chunks));
    j.chunks = quotient_up(length, j.length);
    j.slices = by_rows(&j) ? quotient_up(p->channels, CHANNELS) : 1;
    j.units = by_rows(&j) ? j.chunks * j.slices : p->outer * p->channels * j.chunks;
    j.parts = least(j.units, j.run.threads);
    return j;
}

/* Chunks that hold elements of each channel. */
static ptrdiff_t rows_of(const job *j) { return by_rows(j) ? j->chunks : j->p->outer * j->chunks; }

static ptrdiff_t elements_of(const job *j, ptrdiff_t row) {
    const ptrdiff_t begin = row % j->chunks * j->length;
    return least(j->length, (by_rows(j) ? j->p->outer : j->p->inner) - begin);
}

static int statistics(job *j) {
    const ptrdiff_t count = rows_of(j) * j->p->channels;
    j->first = fc_scratch_acquire((size_t)(2 * count) * sizeof(double));
    if (!j->first) return 0;
    j->second = j->first + count;
    fc_parallel(&j->run, (int)j->parts, part, j);
    return 1;
}

fc_status fc_moments(const fc_norm_problem *p, const void *x, double *mean, double *squares) {
    job j = start(p, x, NULL);
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

fc_status fc_norm_sums(const fc_norm_problem *p, const void *dy, const void *x, const double *mean,
                       double *sum, double *product) {
    job j = start(p, x, dy);
    j.mean = mean;
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

fc_status fc_norm_apply(const fc_norm_problem *p, const void *x, const double *a, const double *b,
                        const void *dy, const double *d, void *y) {
    if (!p->outer || !p->channels || !p->inner) return FC_OK;
    job j = start(p, x, dy);
    j.a = a;
    j.b = b;
    j.d = d;
    j.y = y;
    fc_parallel(&j.run, (int)j.parts, part, &j);
    return (fc_status)j.run.status;
}
