/* Pools, columns and batch norm at every instruction set against plain loops, between guard pages. */
#ifndef OPERATORS_H
#define OPERATORS_H

#include <math.h>

#include "guarded.h"

static fc_call call_of(fc_dtype dtype, int isa) {
    return (fc_call){.dtype = dtype, .isa = isa, .threads = 1 + isa % 3};
}

/* What a plan of the op gives. */
static fc_status run_plan(fc_op op, const char *path, const fc_problem *problem, const fc_arrays *arrays) {
    fc_plan *plan;
    fc_status status = fc_plan_create(op, path, problem, &plan);
    if (status == FC_OK) status = fc_plan_run(plan, arrays, NULL);
    fc_plan_free(plan);
    return status;
}

/* The next path from *index on that does not refuse; whether there is one. */
static int next_path(fc_op op, const fc_problem *problem, int *index, const char **path) {
    fc_candidate candidate;
    while (fc_find_candidate(op, problem, (*index)++, &candidate)) {
        *path = candidate.name;
        if (!candidate.refusal) return 1;
    }
    return 0;
}

/* Runs one path, which must describe itself by its name. */
static void run_path(fc_op op, const char *path, const fc_problem *problem, const fc_arrays *arrays, fc_status wanted) {
    fc_plan *plan;
    fc_description description = {0};
    fc_status status = fc_plan_create(op, path, problem, &plan);
    if (status == FC_OK) {
        status = fc_plan_run(plan, arrays, NULL);
        fc_plan_describe(plan, &description);
        fc_plan_free(plan);
    }
    if (status == wanted && !strcmp(description.path, path) && description.how[0] && description.tasks >= 1) return;
    printf("FAILED to run %s: status %d, tasks %td\n", path, status, description.tasks);
    failed++;
}

/* One random problem, used by every operator. */
typedef struct {
    ptrdiff_t N, C, size[3], kernel[3], stride[3], dilation[3], pad[3], pad_after[3], out[3];
    int last, at_end, adaptive;
    fc_element element;
    const char *isa;
} operand;

static size_t bytes_of(fc_element element) {
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 8};
    return sizes[element];
}

static double get(const void *array, ptrdiff_t i, fc_element element) {
    switch (element) {
    case FC_UINT8: return ((const uint8_t *)array)[i];
    case FC_INT8: return ((const int8_t *)array)[i];
    case FC_UINT16: return ((const uint16_t *)array)[i];
    case FC_INT16: return ((const int16_t *)array)[i];
    case FC_ELEMENT_FLOAT32: return ((const float *)array)[i];
    case FC_UINT32: return ((const uint32_t *)array)[i];
    case FC_INT32: return ((const int32_t *)array)[i];
    default: return ((const double *)array)[i];
    }
}

static void put(void *array, ptrdiff_t i, fc_element element, double value) {
    switch (element) {
    case FC_UINT8: ((uint8_t *)array)[i] = (uint8_t)value; break;
    case FC_INT8: ((int8_t *)array)[i] = (int8_t)value; break;
    case FC_UINT16: ((uint16_t *)array)[i] = (uint16_t)value; break;
    case FC_INT16: ((int16_t *)array)[i] = (int16_t)value; break;
    case FC_ELEMENT_FLOAT32: ((float *)array)[i] = (float)value; break;
    case FC_UINT32: ((uint32_t *)array)[i] = (uint32_t)value; break;
    case FC_INT32: ((int32_t *)array)[i] = (int32_t)value; break;
    default: ((double *)array)[i] = value;
    }
}

static ptrdiff_t volume(const ptrdiff_t size[3]) { return size[0] * size[1] * size[2]; }

/* Element (n, c, i) of an array whose planes have `plane` positions. */
static ptrdiff_t place(const operand *o, ptrdiff_t n, ptrdiff_t c, ptrdiff_t i, ptrdiff_t plane) {
    return o->last ? (n * plane + i) * o->C + c : (n * o->C + c) * plane + i;
}

static void same(const char *what, const char *path, const operand *o, const void *actual, const void *expected,
                 ptrdiff_t count, fc_element element, double tolerance) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const double a = get(actual, i, element), b = get(expected, i, element);
        if (a == b || (a != a && b != b) || fabs(a - b) <= tolerance * (1 + fabs(b))) continue;
        printf("FAILED %s by %s %s element %d last %d adaptive %d N%td C%td in %tdx%tdx%td kernel %tdx%tdx%td "
               "stride %td,%td,%td dilation %td,%td,%td pad %td,%td,%td at %td: %g, expected %g\n",
               what, path, o->isa, element, o->last, o->adaptive, o->N, o->C, o->size[0], o->size[1], o->size[2],
               o->kernel[0], o->kernel[1], o->kernel[2], o->stride[0], o->stride[1], o->stride[2],
               o->dilation[0], o->dilation[1], o->dilation[2], o->pad[0], o->pad[1], o->pad[2], i, a, b);
        failed++;
        return;
    }
    passed++;
}

/* The position of tap t of output q on an axis, or -1; the number of taps. */
static ptrdiff_t taps_of(const operand *o, int axis, ptrdiff_t q) {
    if (!o->adaptive) return o->kernel[axis];
    const ptrdiff_t in = o->size[axis], out = o->out[axis];
    return ((q + 1) * in + out - 1) / out - q * in / out;
}

static ptrdiff_t position(const operand *o, int axis, ptrdiff_t q, ptrdiff_t t) {
    const ptrdiff_t i = o->adaptive ? q * o->size[axis] / o->out[axis] + t
                                    : q * o->stride[axis] - o->pad[axis] + t * o->dilation[axis];
    return i >= 0 && i < o->size[axis] ? i : -1;
}

/* All positions of the window of output q, flat, and their number. */
static int window_of(const operand *o, ptrdiff_t q, ptrdiff_t *positions) {
    const ptrdiff_t at[3] = {q / (o->out[1] * o->out[2]), q / o->out[2] % o->out[1], q % o->out[2]};
    int count = 0;
    for (ptrdiff_t a = 0; a < taps_of(o, 0, at[0]); a++)
        for (ptrdiff_t b = 0; b < taps_of(o, 1, at[1]); b++)
            for (ptrdiff_t c = 0; c < taps_of(o, 2, at[2]); c++) {
                const ptrdiff_t d = position(o, 0, at[0], a), h = position(o, 1, at[1], b);
                const ptrdiff_t w = position(o, 2, at[2], c);
                if (d >= 0 && h >= 0 && w >= 0)
                    positions[count++] = (d * o->size[1] + h) * o->size[2] + w;
            }
    return count;
}

static fc_pool_problem pool_of(const operand *o, int isa) {
    fc_pool_problem p = {.call = call_of(FC_FLOAT32, isa), .element = o->element, .batch = o->N,
                         .channels = o->C, .channels_last = o->last, .adaptive = o->adaptive};
    memcpy(p.in_size, o->size, sizeof p.in_size);
    memcpy(p.kernel, o->kernel, sizeof p.kernel);
    memcpy(p.out_size, o->out, sizeof p.out_size);
    memcpy(p.stride, o->stride, sizeof p.stride);
    memcpy(p.dilation, o->dilation, sizeof p.dilation);
    memcpy(p.pad, o->pad, sizeof p.pad);
    memcpy(p.pad_after, o->pad_after, sizeof p.pad_after);
    return p;
}

static void max_pools(const operand *o, int isa, const void *x, ptrdiff_t *positions) {
    const ptrdiff_t plane = volume(o->size), outputs = volume(o->out), count = o->N * o->C * outputs;
    const size_t size = bytes_of(o->element);
    void *y = guarded((size_t)count * size, o->at_end), *expected = malloc((size_t)count * size);
    long long *indices = guarded((size_t)count * sizeof *indices, o->at_end);
    double *index = malloc((size_t)count * sizeof *index), *found = malloc((size_t)count * sizeof *found);
    const fc_pool_problem p = pool_of(o, isa);
    for (ptrdiff_t n = 0; n < o->N; n++)
        for (ptrdiff_t c = 0; c < o->C; c++)
            for (ptrdiff_t q = 0; q < outputs; q++) {
                const int taps = window_of(o, q, positions);
                ptrdiff_t best = positions[0];
                double greatest = get(x, place(o, n, c, best, plane), o->element);
                for (int t = 1; t < taps && greatest == greatest; t++) {
                    const double value = get(x, place(o, n, c, positions[t], plane), o->element);
                    if (!(value <= greatest)) best = positions[t], greatest = value;
                }
                put(expected, place(o, n, c, q, outputs), o->element, greatest);
                index[place(o, n, c, q, outputs)] = (double)best;
            }
    const fc_arrays arrays = {.x = (void *)x, .y = y, .indices = indices};
    const fc_problem problem = {.pool = p};
    const char *path;
    for (int i = 0; next_path(FC_MAX_POOL, &problem, &i, &path);) {
        memset(y, 0x7e, (size_t)count * size);
        memset(indices, 0x7e, (size_t)count * sizeof *indices);
        run_path(FC_MAX_POOL, path, &problem, &arrays, FC_OK);
        for (ptrdiff_t q = 0; q < count; q++) found[q] = (double)indices[q];
        same("max pool", path, o, y, expected, count, o->element, 0);
        same("index of max pool", path, o, found, index, count, FC_ELEMENT_FLOAT64, 0);
    }
    if (o->element == FC_ELEMENT_FLOAT32 || o->element == FC_ELEMENT_FLOAT64) {
        const fc_scatter_problem s = {
            .call = call_of(size == 4 ? FC_FLOAT32 : FC_FLOAT64, isa),
            .channels_last = o->last, .add = 1, .batch = o->N, .channels = o->C, .count = outputs,
            .plane = plane};
        const ptrdiff_t elements = o->N * o->C * plane;
        void *dx = guarded((size_t)elements * size, o->at_end);
        void *sums = calloc((size_t)elements, size);
        for (ptrdiff_t n = 0; n < o->N; n++)
            for (ptrdiff_t c = 0; c < o->C; c++)
                for (ptrdiff_t q = 0; q < outputs; q++) {
                    const ptrdiff_t from = place(o, n, c, q, outputs);
                    const ptrdiff_t to = place(o, n, c, (ptrdiff_t)indices[from], plane);
                    put(sums, to, o->element, get(sums, to, o->element) + get(y, from, o->element));
                }
        const fc_arrays scattered = {.x = dx, .y = y, .indices = indices};
        const fc_problem scatter = {.scatter = s};
        for (int i = 0; next_path(FC_SCATTER, &scatter, &i, &path);) {
            const long long right = indices[count / 2];
            memset(dx, 0x7e, (size_t)elements * size);
            run_path(FC_SCATTER, path, &scatter, &scattered, FC_OK);
            same("scatter", path, o, dx, sums, elements, o->element, 0);
            indices[count / 2] = plane;
            run_path(FC_SCATTER, path, &scatter, &scattered, FC_OUT_OF_RANGE);
            indices[count / 2] = right;
        }
        free(sums);
    }
    free(expected), free(index), free(found);
}

static void average_pools(const operand *o, int isa, const void *x, int count_include_pad,
                          ptrdiff_t *positions) {
    const ptrdiff_t plane = volume(o->size), outputs = volume(o->out), count = o->N * o->C * outputs;
    const size_t size = bytes_of(o->element);
    void *y = guarded((size_t)count * size, o->at_end), *expected = malloc((size_t)count * size);
    void *dx = guarded((size_t)(o->N * o->C * plane) * size, o->at_end);
    double *sums = calloc((size_t)(o->N * o->C * plane), sizeof *sums);
    void *rounded = malloc((size_t)(o->N * o->C * plane) * size);
    fc_pool_problem p = pool_of(o, isa);
    p.count_include_pad = count_include_pad;
    for (ptrdiff_t n = 0; n < o->N; n++)
        for (ptrdiff_t c = 0; c < o->C; c++)
            for (ptrdiff_t q = 0; q < outputs; q++) {
                const ptrdiff_t at[3] = {q / (o->out[1] * o->out[2]), q / o->out[2] % o->out[1],
                                         q % o->out[2]};
                const int taps = window_of(o, q, positions);
                double sum = 0, cells = taps;
                if (count_include_pad && !o->adaptive) {
                    cells = 1;
                    for (int axis = 0; axis < 3; axis++) {
                        const ptrdiff_t start = at[axis] * o->stride[axis] - o->pad[axis];
                        const ptrdiff_t ahead = o->size[axis] + o->pad_after[axis] - start;
                        cells *= (double)(ahead < o->kernel[axis] ? ahead : o->kernel[axis]);
                    }
                }
                for (int t = 0; t < taps; t++)
                    sum += get(x, place(o, n, c, positions[t], plane), o->element);
                put(expected, place(o, n, c, q, outputs), o->element, sum / cells);
                for (int t = 0; t < taps; t++)
                    sums[place(o, n, c, positions[t], plane)] +=
                        get(expected, place(o, n, c, q, outputs), o->element) / cells;
            }
    for (ptrdiff_t i = 0; i < o->N * o->C * plane; i++) put(rounded, i, o->element, sums[i]);
    const fc_arrays forward = {.x = (void *)x, .y = y}, backward = {.x = dx, .y = y};
    const fc_problem problem = {.pool = p};
    const double tolerance = size == 4 ? 2e-7 : 1e-14;
    const char *path;
    for (int i = 0; next_path(FC_AVG_POOL, &problem, &i, &path);) {
        memset(y, 0x7e, (size_t)count * size);
        run_path(FC_AVG_POOL, path, &problem, &forward, FC_OK);
        same("average pool", path, o, y, expected, count, o->element, 0);
    }
    const int is_dilated = o->dilation[0] > 1 || o->dilation[1] > 1 || o->dilation[2] > 1;
    for (int i = 0; !is_dilated && next_path(FC_AVG_POOL_BACKWARD, &problem, &i, &path);) {
        memset(dx, 0x7e, (size_t)(o->N * o->C * plane) * size);
        run_path(FC_AVG_POOL_BACKWARD, path, &problem, &backward, FC_OK);
        same("dx of average pool", path, o, dx, rounded, o->N * o->C * plane, o->element, tolerance);
    }
    free(expected), free(sums), free(rounded);
}

static void columns(const operand *o, int isa, const void *x) {
    fc_columns_problem p = {.call = call_of(bytes_of(o->element) == 4 ? FC_FLOAT32 : FC_FLOAT64, isa), .batch = o->N,
                            .channels = o->C};
    memcpy(p.in_size, o->size, sizeof p.in_size);
    memcpy(p.kernel, o->kernel, sizeof p.kernel);
    memcpy(p.out_size, o->out, sizeof p.out_size);
    memcpy(p.stride, o->stride, sizeof p.stride);
    memcpy(p.dilation, o->dilation, sizeof p.dilation);
    memcpy(p.pad, o->pad, sizeof p.pad);
    const ptrdiff_t plane = volume(o->size), outputs = volume(o->out), taps = volume(o->kernel);
    const ptrdiff_t count = o->N * o->C * taps * outputs, elements = o->N * o->C * plane;
    const size_t size = bytes_of(o->element);
    void *cols = guarded((size_t)count * size, o->at_end), *back = guarded((size_t)elements * size, o->at_end);
    void *expected = malloc((size_t)count * size), *sums = calloc((size_t)elements, size);
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t q = i % outputs, t = i / outputs % taps, image = i / outputs / taps;
        const ptrdiff_t d = position(o, 0, q / (o->out[1] * o->out[2]), t / (o->kernel[1] * o->kernel[2]));
        const ptrdiff_t h = position(o, 1, q / o->out[2] % o->out[1], t / o->kernel[2] % o->kernel[1]);
        const ptrdiff_t w = position(o, 2, q % o->out[2], t % o->kernel[2]);
        const int inside = d >= 0 && h >= 0 && w >= 0;
        const ptrdiff_t at = image * plane + (d * o->size[1] + h) * o->size[2] + w;
        const double value = inside ? get(x, at, o->element) : 0;
        put(expected, i, o->element, value);
        if (inside) put(sums, at, o->element, get(sums, at, o->element) + value);
    }
    const fc_problem problem = {.columns = p};
    const fc_arrays there = {.x = (void *)x, .y = cols}, and_back = {.x = back, .y = cols};
    const char *path;
    for (int i = 0; next_path(FC_IM2COL, &problem, &i, &path);) {
        memset(cols, 0x7e, (size_t)count * size);
        run_path(FC_IM2COL, path, &problem, &there, FC_OK);
        same("im2col", path, o, cols, expected, count, o->element, 0);
    }
    for (int i = 0; next_path(FC_COL2IM, &problem, &i, &path);) {
        memset(back, 0x7e, (size_t)elements * size);
        run_path(FC_COL2IM, path, &problem, &and_back, FC_OK);
        same("col2im", path, o, back, sums, elements, o->element, 0);
    }
    free(expected), free(sums);
}

/* Every run of channels as a row of scores, its label the row's number; y and expected: as large as the gradient. */
static void softmax(const operand *o, int isa, int threads, const void *scores, void *y, void *expected) {
    const ptrdiff_t classes = o->C, batch = o->N * volume(o->size);
    const fc_softmax_problem p = {{bytes_of(o->element) == 4 ? FC_FLOAT32 : FC_FLOAT64, isa, threads, NULL}, batch,
                                  classes};
    long long *labels = guarded((size_t)batch * sizeof *labels, o->at_end);
    double got, loss = 0;
    for (ptrdiff_t n = 0; n < batch; n++) {
        double total = 0;
        labels[n] = n % classes;
        for (ptrdiff_t c = 0; c < classes; c++) total += exp(get(scores, n * classes + c, o->element));
        for (ptrdiff_t c = 0; c < classes; c++) {
            const double softmax = exp(get(scores, n * classes + c, o->element)) / total;
            put(expected, n * classes + c, o->element, (softmax - (c == labels[n])) / (double)batch);
        }
        loss += (log(total) - get(scores, n * classes + labels[n], o->element)) / (double)batch;
    }
    if (fc_softmax_cross_entropy(&p, scores, labels, &got, y) != FC_OK)
        printf("FAILED to run softmax\n"), failed++;
    const int is_single = p.call.dtype == FC_FLOAT32;
    same("softmax's gradient", "layers", o, y, expected, batch * classes, o->element, is_single ? 3e-7 : 1e-14);
    same("softmax's loss", "layers", o, &got, &loss, 1, FC_ELEMENT_FLOAT64, is_single ? 3e-8 : 1e-13);
}

/* Every run of channels as a row of y. */
static void affine(const operand *o, int isa, int threads, const void *x, void *y, void *expected) {
    const ptrdiff_t cols = o->C, rows = o->N * volume(o->size);
    const fc_affine_problem p = {{bytes_of(o->element) == 4 ? FC_FLOAT32 : FC_FLOAT64, isa, threads, NULL}, rows, cols};
    double *got = guarded((size_t)cols * sizeof *got, o->at_end), *sums = calloc((size_t)cols, sizeof *sums);
    for (ptrdiff_t i = 0; i < rows * cols; i++) {
        sums[i % cols] += get(x, i, o->element);
        put(y, i, o->element, get(x, i, o->element));
        put(expected, i, o->element, get(x, i, o->element) + get(x, i % cols, o->element));
    }
    if (fc_add_bias(&p, x, y) != FC_OK || fc_sum_rows(&p, x, got) != FC_OK)
        printf("FAILED to run affine\n"), failed++;
    const double tolerance = p.call.dtype == FC_FLOAT32 ? 1e-7 : 1e-15;
    same("y with its bias", "layers", o, y, expected, rows * cols, o->element, tolerance);
    same("db", "layers", o, got, sums, cols, FC_ELEMENT_FLOAT64, 1e-12);
    free(sums);
}

static void norms(const operand *o, int isa, const void *x) {
    const ptrdiff_t plane = volume(o->size), elements = o->N * o->C * plane;
    const fc_norm_problem p = {.call = call_of(bytes_of(o->element) == 4 ? FC_FLOAT32 : FC_FLOAT64, isa),
                               .outer = o->last ? o->N * plane : o->N,
                               .channels = o->C, .inner = o->last ? 1 : plane};
    fc_norm_problem with_relu = p;
    with_relu.relu = 1;
    const size_t size = bytes_of(o->element), bytes = (size_t)o->C * sizeof(double);
    double *got[4], *expected[4];
    for (int i = 0; i < 4; i++) got[i] = guarded(bytes, o->at_end), expected[i] = calloc(1, bytes);
    void *y = guarded((size_t)elements * size, o->at_end), *dx = malloc((size_t)elements * size);
    for (int pass = 0; pass < 2; pass++)
        for (ptrdiff_t c = 0; c < o->C; c++)
            for (ptrdiff_t n = 0; n < o->N; n++)
                for (ptrdiff_t i = 0; i < plane; i++) {
                    const double value = get(x, place(o, n, c, i, plane), o->element);
                    const double distance = value - expected[0][c];
                    if (!pass) expected[0][c] += value / (double)(o->N * plane);
                    else expected[1][c] += distance * distance, expected[2][c] += value,
                        expected[3][c] += value * distance;
                }
    for (ptrdiff_t i = 0; i < elements; i++) {
        const ptrdiff_t c = o->last ? i % o->C : i / plane % o->C;
        const double value = get(x, i, o->element);
        const double sum = expected[0][c] * (value - expected[0][c]) + expected[1][c] + value;
        put(dx, i, o->element, sum > 0 ? sum : 0);
    }
    if (fc_moments(&p, x, got[0], got[1]) != FC_OK ||
        fc_norm_sums(&p, x, x, expected[0], got[2], got[3]) != FC_OK ||
        fc_norm_apply(&with_relu, x, expected[0], expected[0], expected[1], x, y) != FC_OK)
        printf("FAILED to run batch norm\n"), failed++;
    double *ones = malloc(bytes), *gradients[2] = {guarded(bytes, o->at_end), guarded(bytes, o->at_end)};
    for (ptrdiff_t c = 0; c < o->C; c++) ones[c] = 1;
    void *back = guarded((size_t)elements * size, o->at_end), *right = malloc((size_t)elements * size);
    fc_norm_gradient g = {.dy = x, .x = x, .mean = expected[0], .inv_std = ones, .gamma = ones,
                          .dgamma = gradients[0], .dbeta = gradients[1], .dx = back};
    if (fc_norm_backward(&p, &g) != FC_OK)
        printf("FAILED to run batch norm backward\n"), failed++;
    for (ptrdiff_t i = 0; i < elements; i++) {
        const ptrdiff_t c = o->last ? i % o->C : i / plane % o->C;
        const double value = get(x, i, o->element), count = (double)(o->N * plane);
        const double away = expected[2][c] + expected[3][c] * (value - expected[0][c]);
        put(right, i, o->element, value - away / count);
    }
    same("dgamma", "layers", o, gradients[0], expected[3], o->C, FC_ELEMENT_FLOAT64, 1e-10);
    same("dbeta", "layers", o, gradients[1], expected[2], o->C, FC_ELEMENT_FLOAT64, 1e-10);
    same("dx of batch norm", "layers", o, back, right, elements, o->element, size == 4 ? 1e-6 : 1e-12);
    void *dz = guarded((size_t)elements * size, o->at_end);
    double *positive = calloc(1, bytes);
    int has_negative = 0;
    g.y = x;
    g.dz = dz;
    if (fc_norm_backward(&p, &g) != FC_OK) printf("FAILED to run batch norm backward of a ReLU\n"), failed++;
    for (ptrdiff_t i = 0; i < elements; i++) {
        const double value = get(x, i, o->element);
        has_negative |= value < 0;
        put(right, i, o->element, value > 0 ? value : 0);
        positive[o->last ? i % o->C : i / plane % o->C] += value > 0 ? value : 0;
    }
    same("dz of a ReLU", "layers", o, dz, right, elements, o->element, 0);
    same("dbeta of a ReLU", "layers", o, gradients[1], positive, o->C, FC_ELEMENT_FLOAT64, 1e-10);
    if (g.has_negative != has_negative) printf("FAILED to tell whether a ReLU's result is negative\n"), failed++;
    free(ones), free(right), free(positive);
    for (int i = 0; i < 4; i++)
        same("statistics", "layers", o, got[i], expected[i], o->C, FC_ELEMENT_FLOAT64, 1e-10);
    same("scaled", "layers", o, y, dx, elements, o->element, size == 4 ? 3e-7 : 1e-12);
    fc_activation_problem a = {p.call, FC_RELU, elements};
    fc_activate(&a, x, x, y);
    for (ptrdiff_t i = 0; i < elements; i++)
        put(dx, i, o->element, get(x, i, o->element) > 0 ? get(x, i, o->element) : 0);
    same("relu", "layers", o, y, dx, elements, o->element, 0);
    a.activation = FC_SIGMOID;
    fc_activate(&a, x, NULL, y);
    for (ptrdiff_t i = 0; i < elements; i++) put(dx, i, o->element, 1 / (1 + exp(-get(x, i, o->element))));
    same("sigmoid", "layers", o, y, dx, elements, o->element, size == 4 ? 3e-7 : 1e-14);
    softmax(o, isa, p.call.threads, x, y, dx);
    affine(o, isa, p.call.threads, x, y, dx);
    free(dx);
    for (int i = 0; i < 4; i++) free(expected[i]);
}

static operand random_operand(int number) {
    const int axes = 1 + number % 3;
    operand o = {.N = 1 + random_below(3), .C = 1 + random_below(number % 4 ? 5 : 40),
                 .last = number / 3 % 2, .at_end = number / 6 % 2, .adaptive = number % 5 == 4};
    if (number % 8 == 4) o.C = 16 * (1 + random_below(18)), o.last = 1; /* whole vectors of channels */
    for (int a = 0; a < 3; a++) {
        const int used = a >= 3 - axes;
        o.size[a] = used ? 1 + random_below(a == 2 ? 60 : axes == 3 ? 5 : 12) : 1;
        o.kernel[a] = used ? 1 + random_below(a == 2 && number % 5 == 1 ? 20 : 5) : 1;
        o.stride[a] = used ? 1 + random_below(4) : 1;
        o.dilation[a] = used && number % 2 && !o.adaptive ? 1 + random_below(3) : 1;
        const ptrdiff_t extent = (o.kernel[a] - 1) * o.dilation[a] + 1;
        /* Every window has a tap on the data. */
        const ptrdiff_t max_pad = o.dilation[a] > o.size[a] ? 1 : extent;
        o.pad[a] = used && !o.adaptive ? random_below((int)max_pad) : 0;
        o.pad_after[a] = used && !o.adaptive ? random_below((int)max_pad) : 0;
        const ptrdiff_t steps = o.size[a] + o.pad[a] + o.pad_after[a] - extent;
        if (steps < 0) return random_operand(number);
        o.out[a] = o.adaptive ? (used ? 1 + random_below(9) : 1) : steps / o.stride[a] + 1;
    }
    return o;
}

static void run_operators(int number) {
    operand o = random_operand(number);
    static const fc_element elements[] = {FC_ELEMENT_FLOAT32, FC_ELEMENT_FLOAT64, FC_UINT8,
                                          FC_ELEMENT_FLOAT32, FC_INT16, FC_ELEMENT_FLOAT64, FC_INT32};
    o.element = elements[number % 7];
    const int is_float = o.element == FC_ELEMENT_FLOAT32 || o.element == FC_ELEMENT_FLOAT64;
    const ptrdiff_t count = o.N * o.C * volume(o.size);
    ptrdiff_t *positions = malloc((size_t)volume(o.size) * sizeof *positions);
    for (int isa = 0; fc_isa_name(isa); isa++) {
        if (!fc_isa_available(isa)) continue;
        o.isa = fc_isa_name(isa);
        void *x = guarded((size_t)count * bytes_of(o.element), o.at_end);
        for (ptrdiff_t i = 0; i < count; i++) put(x, i, o.element, random_below(9) - (is_float ? 4 : 0));
        if (is_float) {
            average_pools(&o, isa, x, number / 2 % 2, positions);
            release_all();
            x = guarded((size_t)count * bytes_of(o.element), o.at_end);
            for (ptrdiff_t i = 0; i < count; i++) put(x, i, o.element, random_below(9) - 4);
            if (!o.adaptive && !o.last) columns(&o, isa, x);
            norms(&o, isa, x);
            put(x, random_below((int)count), o.element, NAN);
        }
        max_pools(&o, isa, x, positions);
        release_all();
    }
    free(positions);
}

#endif
