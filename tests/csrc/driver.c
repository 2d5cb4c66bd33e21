/* Sweeps small problems through every algorithm and instruction set against the naive loops.
 *
 * Data are small integers, so every order of summation is exact. Every array lies against a page
 * that may not be touched: at the end of its own pages in one run, at their start in the next.
 * Built and run by tests/test_csrc.py, also with sanitizers, and for aarch64 under emulation. */
#include "guarded.h"
#include "kernels/kernels.h"
#include "operators.h"

typedef struct {
    ptrdiff_t N, C, K, G, size[3], kernel[3], stride[3], dilation[3], pad[3], pad_after[3];
} shape;

static void describe(char *text, size_t room, const shape *s) {
    snprintf(text, room,
             "N%td C%td K%td G%td in %tdx%tdx%td kernel %tdx%tdx%td stride %td,%td,%td dilation "
             "%td,%td,%td pad %td,%td,%td",
             s->N, s->C, s->K, s->G, s->size[0], s->size[1], s->size[2], s->kernel[0], s->kernel[1],
             s->kernel[2], s->stride[0], s->stride[1], s->stride[2], s->dilation[0],
             s->dilation[1], s->dilation[2], s->pad[0], s->pad[1], s->pad[2]);
}

/* Strides of an array (n, c, *size), channels last or first. */
static void set_strides(ptrdiff_t *strides, ptrdiff_t channels, const ptrdiff_t size[3], int last) {
    const ptrdiff_t plane = size[0] * size[1] * size[2];
    strides[0] = channels * plane;
    strides[1] = last ? 1 : plane;
    strides[4] = last ? channels : 1;
    strides[3] = size[2] * strides[4];
    strides[2] = size[1] * strides[3];
}

static int problem_of(const shape *s, fc_dtype dtype, int last, fc_conv_problem *p) {
    memset(p, 0, sizeof *p);
    p->call.dtype = dtype;
    p->batch = s->N;
    p->groups = s->G;
    p->in_channels = s->C * s->G;
    p->out_channels = s->K * s->G;
    for (int a = 0; a < 3; a++) {
        const ptrdiff_t extent = (s->kernel[a] - 1) * s->dilation[a] + 1;
        const ptrdiff_t padded = s->size[a] + s->pad[a] + s->pad_after[a];
        if (extent > padded) return 0;
        p->in_size[a] = s->size[a];
        p->kernel[a] = s->kernel[a];
        p->stride[a] = s->stride[a];
        p->dilation[a] = s->dilation[a];
        p->pad[a] = s->pad[a];
        p->out_size[a] = (padded - extent) / s->stride[a] + 1;
    }
    set_strides(p->x_strides, p->in_channels, p->in_size, last);
    set_strides(p->y_strides, p->out_channels, p->out_size, last);
    const ptrdiff_t taps = s->kernel[0] * s->kernel[1] * s->kernel[2];
    const ptrdiff_t C = s->C;
    ptrdiff_t w_strides[5] = {C * taps, taps, s->kernel[1] * s->kernel[2], s->kernel[2], 1};
    if (last) /* of w, too */
        for (int i = 1; i < 5; i++) w_strides[i] = i == 1 ? 1 : C * w_strides[i];
    memcpy(p->w_strides, w_strides, sizeof w_strides);
    return 1;
}

static void check(const char *what, const shape *s, const void *actual, const void *expected,
                  size_t bytes) {
    if (!memcmp(actual, expected, bytes)) {
        passed++;
        return;
    }
    char text[300];
    describe(text, sizeof text, s);
    printf("FAILED %s: %s\n", what, text);
    failed++;
}

/* Results of an algorithm that is not exact on integers, against those that are. */
static void check_near(const char *what, const shape *s, fc_dtype dtype, const void *actual,
                       const void *expected, size_t count) {
    const double near = dtype == FC_FLOAT32 ? 1e-5 : 1e-13;
    double largest = 1, worst = 0;
    for (size_t i = 0; i < count; i++) {
        const double a = dtype == FC_FLOAT32 ? ((const float *)actual)[i] : ((const double *)actual)[i];
        const double e = dtype == FC_FLOAT32 ? ((const float *)expected)[i] : ((const double *)expected)[i];
        if (fabs(e) > largest) largest = fabs(e);
        if (!(fabs(a - e) <= worst)) worst = fabs(a - e);
        if (worst != worst) break;
    }
    if (worst <= near * largest) {
        passed++;
        return;
    }
    char text[300];
    describe(text, sizeof text, s);
    printf("FAILED %s by %g: %s\n", what, worst, text);
    failed++;
}

/* A forward call whose y is there, with its weights arranged before: it gives the same bits. */
static void run_prepared(const char *what, const shape *s, const char *name, const fc_problem *p, fc_arrays arrays,
                         size_t bytes) {
    fc_plan *plan;
    fc_weights *weights;
    fc_description description;
    char label[140];
    snprintf(label, sizeof label, "y of prepared %s", what);
    if (fc_plan_create(FC_FORWARD, name, p, &plan) != FC_OK) printf("FAILED to plan\n"), failed++;
    if (fc_plan_prepare(plan, arrays.w, NULL, &weights) != FC_OK) printf("FAILED to prepare\n"), failed++;
    arrays.weights = weights;
    void *y = arrays.y;
    void *own = malloc(bytes);
    memcpy(own, y, bytes);
    memset(y, 0x7e, bytes);
    if (fc_plan_run(plan, &arrays, NULL) != FC_OK) printf("FAILED to run prepared\n"), failed++;
    check(label, s, y, own, bytes);
    memcpy(y, own, bytes);
    free(own);
    fc_plan_describe(plan, &description);
    if (strcmp(description.path, name)) printf("FAILED to describe %s\n", name), failed++;
    fc_weights_free(weights);
    fc_plan_free(plan);
}

static void run(const shape *s, fc_dtype dtype, int last, int at_end, int relu) {
    fc_conv_problem p;
    if (!problem_of(s, dtype, last, &p)) return;
    const size_t size = dtype == FC_FLOAT32 ? 4 : 8;
    const size_t nx = (size_t)(p.batch * p.x_strides[0]), ny = (size_t)(p.batch * p.y_strides[0]);
    const size_t nw = (size_t)(p.out_channels * p.w_strides[0]), nb = (size_t)p.out_channels;
    void *x = guarded(nx * size, at_end), *w = guarded(nw * size, at_end);
    void *b = guarded(nb * size, at_end), *dy = guarded(ny * size, at_end);
    void *y[2], *dx[2], *dw[2], *db[2];
    for (int i = 0; i < 2; i++) {
        y[i] = guarded(ny * size, at_end);
        dx[i] = guarded(nx * size, at_end);
        dw[i] = guarded(nw * size, at_end);
        db[i] = guarded(nb * size, at_end);
    }
    fill(x, nx, dtype);
    fill(w, nw, dtype);
    fill(b, nb, dtype);
    fill(dy, ny, dtype);
    p.relu = relu;
    p.accurate = (int)(s->K % 2);
    p.has_w = p.has_b = 1;
    fc_arrays forward[2], data[2], weights[2];
    for (int i = 0; i < 2; i++) {
        forward[i] = (fc_arrays){.x = x, .w = w, .b = b, .y = y[i]};
        data[i] = (fc_arrays){.x = dx[i], .w = w, .y = dy};
        weights[i] = (fc_arrays){.x = x, .w = dw[i], .b = db[i], .y = dy};
    }
    const fc_arrays *const arrays[] = {forward, data, weights};
    static const char *const names[] = {"y", "dx", "dw", "db"};
    void *const *results[] = {y, dx, dw, db};
    const size_t counts[] = {ny, nx, nw, nb};
    for (int op = 0; op < 3; op++) {
        fc_problem problem = {.conv = p};
        problem.conv.has_b = op != FC_BACKWARD_DATA;
        problem.call.isa = 0;
        problem.call.threads = 1;
        if (run_plan((fc_op)op, "naive", &problem, &arrays[op][0]) != FC_OK) printf("FAILED to run naive\n"), failed++;
        for (int isa = 0; fc_isa_name(isa); isa++) {
            if (!fc_isa_available(isa)) continue;
            problem.call.isa = isa;
            problem.call.threads = 1 + (isa + (int)s->N) % 3;
            fc_candidate candidate;
            for (int index = 0; fc_find_candidate((fc_op)op, &problem, index, &candidate); index++) {
                char what[120], label[140];
                if (candidate.refusal || !strcmp(candidate.name, "naive")) continue;
                for (int r = op; r < (op < 2 ? op + 1 : 4); r++) memset(results[r][1], 0x7e, counts[r] * size);
                if (run_plan((fc_op)op, candidate.name, &problem, &arrays[op][1]) != FC_OK)
                    printf("FAILED to run %s\n", candidate.name), failed++;
                snprintf(what, sizeof what, "%s %s %s%s", candidate.name, fc_isa_name(isa),
                         dtype == FC_FLOAT32 ? "float32" : "float64", last ? " channels last" : "");
                if (op == FC_FORWARD) run_prepared(what, s, candidate.name, &problem, forward[1], ny * size);
                for (int r = op; r < (op < 2 ? op + 1 : 4); r++) {
                    snprintf(label, sizeof label, "%s of %s", names[r], what);
                    if (candidate.exact) check(label, s, results[r][1], results[r][0], counts[r] * size);
                    else check_near(label, s, dtype, results[r][1], results[r][0], counts[r]);
                }
            }
        }
    }
    release_all();
}

static shape random_shape(int axes) {
    shape s = {.N = 1 + random_below(3), .C = 1 + random_below(4), .K = 1 + random_below(20),
               .G = 1 + random_below(2)};
    for (int a = 0; a < 3; a++) {
        const int used = a >= 3 - axes;
        s.size[a] = used ? 1 + random_below(a == 2 ? 24 : axes == 3 ? 5 : 12) : 1;
        s.kernel[a] = used ? 1 + random_below(4) : 1;
        s.stride[a] = used ? 1 + random_below(3) : 1;
        s.dilation[a] = used ? 1 + random_below(3) : 1;
        s.pad[a] = used ? random_below(4) : 0;
        s.pad_after[a] = used ? random_below(4) : 0;
    }
    return s;
}

/* What Winograd's algorithms take: 3x3 and 5x5, 2 to 7 taps along one axis, 3x3 with a stride of 2. */
static shape random_tiled(void) {
    static const ptrdiff_t lengths[] = {2, 3, 5, 7};
    shape s = random_shape(2 + random_below(2));
    const int kind = random_below(4), along = 1 + random_below(2);
    s.C += random_below(40);
    s.K += random_below(60);
    if (random_below(8) == 0) s.N = 1, s.G = 1, s.C = 1 + s.C % 8, s.size[2] += 400; /* several segments */
    for (int a = 1; a < 3; a++) {
        s.kernel[a] = kind == 0 ? 5 : 3;
        s.stride[a] = kind == 2 ? 2 : 1;
        if (kind == 2) s.dilation[a] = 1;
        if (kind == 3) s.kernel[a] = a == along ? lengths[random_below(4)] : 1;
    }
    return s;
}

/* A matrix whose rows are longer than what is read of them, and what lies between rows of the target untouched. */
static void transpose(ptrdiff_t rows, ptrdiff_t cols, fc_dtype dtype, int isa, int at_end) {
    const size_t size = dtype == FC_FLOAT32 ? 4 : 8;
    const ptrdiff_t read = (rows - 1) * (cols + 3) + cols, written = (cols - 1) * (rows + 2) + rows;
    char *source = guarded((size_t)read * size, at_end), *target = guarded((size_t)written * size, at_end);
    int right = 1;
    fill(source, (size_t)read, dtype);
    memset(target, 0x55, (size_t)written * size);
    fc_find_kernels(isa, dtype)->transpose(rows, cols, source, cols + 3, target, rows + 2);
    for (ptrdiff_t i = 0; i < written * (ptrdiff_t)size; i++) {
        const ptrdiff_t element = i / (ptrdiff_t)size, row = element % (rows + 2), col = element / (rows + 2);
        const char *from = source + (row * (cols + 3) + col) * (ptrdiff_t)size + i % (ptrdiff_t)size;
        right &= target[i] == (row < rows ? *from : 0x55);
    }
    if (!right) printf("FAILED transpose %s %tdx%td at_end %d\n", fc_isa_name(isa), rows, cols, at_end);
    if (right) passed++;
    else failed++;
    release_all();
}

int main(int argc, char **argv) {
    const int count = argc > 1 ? atoi(argv[1]) : 300;
    const ptrdiff_t every = argc > 2 ? atoi(argv[2]) : 1; /* so many tails one is run */
    for (int i = 0; i < count; i++) {
        const shape s = random_shape(1 + i % 3);
        run(&s, i % 2 ? FC_FLOAT32 : FC_FLOAT64, i / 2 % 2, i / 4 % 2, i / 8 % 2);
        shape narrow = random_shape(1 + i % 3); /* few channels a group, kernels of any length */
        narrow.C = 1 + (i % 5 == 4 ? random_below(8) : 0);
        narrow.K = 1 + (i % 4 == 2 ? random_below(8) : 0);
        narrow.G = 1 + random_below(i % 7 ? 5 : 40);
        const shape tiled = random_tiled();
        if (i % 3 == 0) run(&tiled, i % 2 ? FC_FLOAT32 : FC_FLOAT64, i / 2 % 2, i / 4 % 2, i / 8 % 2);
        for (int a = 1; a < 3; a++)
            if (narrow.kernel[a] > 1) narrow.kernel[a] = 1 + random_below(8);
        run(&narrow, i % 2 ? FC_FLOAT32 : FC_FLOAT64, i / 2 % 2, i / 4 % 2, i / 8 % 2);
    }
    /* Blocks larger than the cache's, tails of every length of rows and columns. */
    for (ptrdiff_t tail = 0; tail < 17; tail += every) {
        const shape wide = {1, 3, 7 + tail, 1, {1, 3, 200 + tail}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1},
                            {0, 1, 1}, {0, 1, 1}};
        const shape deep = {1 + tail % 3, 90 + tail, 8, 1, {1, 7, 7}, {1, 3, 3}, {1, 1, 1},
                            {1, 1, 1}, {0, 1, 1}, {0, 1, 1}};
        run(&wide, FC_FLOAT32, 0, tail % 2, 0);
        run(&deep, FC_FLOAT64, 0, tail % 2, 0);
    }
    /* Planes read in place, in several blocks, of which the next is fetched; with more planes than one sum takes. */
    for (ptrdiff_t tail = 0; tail < 8; tail += every) {
        const shape lines = {2, 70 + tail, 30 + tail, 1, {1, 2, 800 + (tail % 2 ? 8 : 5) * tail}, {1, 1, 1},
                             {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}};
        const shape chunks = {1, 1200 + 8 * tail, 9, 1, {1, 16, 17 + tail}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1},
                              {0, 0, 0}, {0, 0, 0}};
        run(&lines, FC_FLOAT32, 0, tail / 2 % 2, tail % 3 == 0);
        run(&lines, FC_FLOAT64, 0, tail / 2 % 2, tail % 3 == 0);
        run(&chunks, tail % 2 ? FC_FLOAT32 : FC_FLOAT64, 0, tail / 2 % 2, 0);
    }
    /* One output an image, of every tail of images, filters and elements; sums in several parts. */
    for (int i = 0; i < count; i++) {
        shape whole = {.N = 1 + random_below(i % 5 ? 6 : 20), .C = 1 + random_below(i % 3 ? 5 : 40),
                       .K = 1 + random_below(i % 4 ? 12 : 40), .G = 1 + random_below(2)};
        for (int a = 0; a < 3; a++) {
            whole.size[a] = whole.kernel[a] = i % 2 && a ? 1 + random_below(4) : 1;
            whole.stride[a] = 1 + random_below(3), whole.dilation[a] = 1;
        }
        run(&whole, i % 2 ? FC_FLOAT32 : FC_FLOAT64, i / 2 % 2, i / 4 % 2, i / 8 % 2);
    }
    for (ptrdiff_t tail = 0; tail < 6; tail += every) {
        const shape many = {6 + 9 * tail, 600 + tail, 13 + 20 * (tail % 2), 1, {1, 2, 2}, {1, 2, 2}, {1, 1, 1},
                            {1, 1, 1}, {0, 0, 0}, {0, 0, 0}};
        const shape deep = {1 + tail, 19000 + tail, 3, 1, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0},
                            {0, 0, 0}};
        run(&many, tail % 2 ? FC_FLOAT32 : FC_FLOAT64, 0, tail / 2 % 2, tail % 3 == 0);
        run(&deep, tail % 2 ? FC_FLOAT64 : FC_FLOAT32, 0, tail / 2 % 2, tail % 3 == 0);
    }
    /* Many output channels, which take the vector: every tail of them and of the outputs, in place
     * and copied, and by pieces where much of a tap's reach is padding. */
    /* Pieces without a tap, when all of the next block has been fetched. */
    for (ptrdiff_t N = 16; N < 19; N++) {
        const shape fetched = {N, 128, 32, 1, {1, 14, 14}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}};
        run(&fetched, FC_FLOAT32, 0, 1, 0);
    }
    for (ptrdiff_t tail = 0; tail < 12; tail += every) {
        const ptrdiff_t step = 1 + tail % 2;
        const shape copied = {1 + tail % 3, 20, 40 + 3 * tail, step, {1, 5 + tail % 4, 5 + tail}, {1, 3, 3},
                              {1, step, step}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}};
        const shape pieces = {2, 24, 48 + tail, 1, {1, 9, 9 + tail % 3}, {1, 3, 3}, {1, 1, 1}, {1, 4, 4},
                              {0, 4, 4}, {0, 4, 3 + tail % 3}};
        const shape pointwise = {2, 40, 30 + tail, 1, {1, 5, 5 + tail}, {1, 1, 1}, {1, step, step},
                                 {1, 1, 1}, {0, 0, 0}, {0, 0, 0}};
        const shape panels = {2, 66 + tail, 60 + tail, 1, {1, 9, 20 + tail}, {1, 1, 1}, {1, 1, step},
                              {1, 1, 1}, {0, 0, 0}, {0, 0, 0}};
        const shape volume = {1, 12, 36 + tail, 1, {4, 6, 6}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1},
                              {1, 1, 1}};
        for (int last = 0; last < 2; last++) {
            run(&copied, FC_FLOAT32, last, tail % 2, 0);
            run(&copied, FC_FLOAT64, last, tail % 2, 1);
            run(&pieces, FC_FLOAT32, last, tail % 2, 1);
            run(&pieces, FC_FLOAT64, last, tail % 2, 0);
            run(&pointwise, FC_FLOAT32, last, tail % 2, 0);
            run(&volume, FC_FLOAT32, last, tail % 2, 1);
            run(&panels, FC_FLOAT32, last, tail % 2, 0);
            run(&panels, FC_FLOAT64, last, tail % 2, 1);
        }
    }
    for (int isa = 0; fc_isa_name(isa); isa++)
        for (ptrdiff_t i = 0; fc_isa_available(isa) && i < 20 * 37; i++)
            transpose(1 + i / 37, 1 + i % 37, i % 2 ? FC_FLOAT32 : FC_FLOAT64, isa, i / 2 % 2);
    for (int i = 0; i < count; i++) run_operators(i);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
