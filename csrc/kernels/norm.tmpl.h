/* Kernels of batch norm. Sums are kept in double. A run is a channel's adjacent elements; in rows
 * the channels are adjacent. Runs and rows are short enough to stay in L1 while they are read twice. */

/* Elements ahead that are fetched: forward takes 1.3 times as long without, backward 1.2 times. */
enum { FC_NAME(ahead) = 2048 / (int)sizeof(FC_DTYPE) };
#define AHEAD FC_NAME(ahead)

/* mean, and the sum of the squared differences from it: two passes, so that nothing cancels. */
static FC_TARGET void FC_NAME(moments_run)(ptrdiff_t count, const void *x_, double *mean,
                                           double *squares) {
    FC_ASSERT(count > 0);
    const FC_DTYPE *x = x_;
    const double centre = FC_NAME(sum_run)(count, x) / (double)count;
    const DVEC centres = DSET1(centre);
    double lanes[DLANES], total = 0;
    DVEC sums[4] = {DSET1(0), DSET1(0), DSET1(0), DSET1(0)};
    ptrdiff_t i = 0;
    for (; i + 4 * DLANES <= count; i += 4 * DLANES)
        FC_UNROLL for (int j = 0; j < 4; j++) {
            const DVEC distance = DSUB(DWIDEN(x + i + j * DLANES), centres);
            sums[j] = DFMA(distance, distance, sums[j]);
        }
    DSTORE(lanes, DADD(DADD(sums[0], sums[1]), DADD(sums[2], sums[3])));
    for (int j = 0; j < DLANES; j++) total += lanes[j];
    for (; i < count; i++) total += (x[i] - centre) * (x[i] - centre);
    *mean = centre;
    *squares = total;
}

/* Moments of the `vectors` vectors of channels from x on. */
FC_INLINE FC_TARGET void FC_NAME(moments_vectors)(const int vectors, ptrdiff_t rows, const FC_DTYPE *x,
                                               ptrdiff_t stride, double *mean, double *squares) {
    DVEC sums[4], centres[4];
    FC_UNROLL for (int j = 0; j < vectors; j++) sums[j] = DSET1(0);
    for (ptrdiff_t r = 0; r < rows; r++)
        FC_UNROLL for (int j = 0; j < vectors; j++)
            sums[j] = DADD(sums[j], DWIDEN(x + r * stride + j * DLANES));
    FC_UNROLL for (int j = 0; j < vectors; j++) {
        centres[j] = DDIV(sums[j], DSET1((double)rows));
        DSTORE(mean + j * DLANES, centres[j]);
        sums[j] = DSET1(0);
    }
    for (ptrdiff_t r = 0; r < rows; r++)
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const DVEC distance = DSUB(DWIDEN(x + r * stride + j * DLANES), centres[j]);
            sums[j] = DFMA(distance, distance, sums[j]);
        }
    FC_UNROLL for (int j = 0; j < vectors; j++) DSTORE(squares + j * DLANES, sums[j]);
}

static FC_TARGET void FC_NAME(moments_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *x_,
                                            ptrdiff_t stride, double *mean, double *squares) {
    FC_ASSERT(rows > 0 && channels > 0 && stride >= channels);
    const FC_DTYPE *x = x_;
    ptrdiff_t c = 0;
    for (; c + 4 * DLANES <= channels; c += 4 * DLANES)
        FC_NAME(moments_vectors)(4, rows, x + c, stride, mean + c, squares + c);
    for (; c + DLANES <= channels; c += DLANES)
        FC_NAME(moments_vectors)(1, rows, x + c, stride, mean + c, squares + c);
    for (; c < channels; c++) {
        double sum = 0, square = 0;
        for (ptrdiff_t r = 0; r < rows; r++) sum += x[r * stride + c];
        const double centre = sum / (double)rows;
        for (ptrdiff_t r = 0; r < rows; r++)
            square += (x[r * stride + c] - centre) * (x[r * stride + c] - centre);
        mean[c] = centre;
        squares[c] = square;
    }
}

/* sum of dy, and of dy * (x - mean). */
static FC_TARGET void FC_NAME(products_run)(ptrdiff_t count, const void *dy_, const void *x_,
                                            double mean, double *sum, double *product) {
    FC_ASSERT(count > 0);
    const FC_DTYPE *x = x_, *dy = dy_;
    const DVEC centre = DSET1(mean);
    double lanes[DLANES], total = 0, products = 0;
    DVEC sums[4], product_sums[4];
    FC_UNROLL for (int j = 0; j < 4; j++) sums[j] = product_sums[j] = DSET1(0);
    ptrdiff_t i = 0;
    for (; i + 4 * DLANES <= count; i += 4 * DLANES) {
        FC_PREFETCH(dy + i + AHEAD);
        FC_PREFETCH(x + i + AHEAD);
        FC_UNROLL for (int j = 0; j < 4; j++) {
            const DVEC d = DWIDEN(dy + i + j * DLANES);
            sums[j] = DADD(sums[j], d);
            product_sums[j] = DFMA(d, DSUB(DWIDEN(x + i + j * DLANES), centre), product_sums[j]);
        }
    }
    DSTORE(lanes, DADD(DADD(sums[0], sums[1]), DADD(sums[2], sums[3])));
    for (int j = 0; j < DLANES; j++) total += lanes[j];
    DSTORE(lanes,
           DADD(DADD(product_sums[0], product_sums[1]), DADD(product_sums[2], product_sums[3])));
    for (int j = 0; j < DLANES; j++) products += lanes[j];
    for (; i < count; i++) {
        total += dy[i];
        products += dy[i] * (x[i] - mean);
    }
    *sum = total;
    *product = products;
}

FC_INLINE FC_TARGET void FC_NAME(products_vectors)(const int vectors, ptrdiff_t rows, const FC_DTYPE *dy,
                                                const FC_DTYPE *x, ptrdiff_t stride,
                                                const double *mean, double *sum, double *product) {
    DVEC sums[4], products[4], centres[4];
    FC_UNROLL for (int j = 0; j < vectors; j++) {
        sums[j] = products[j] = DSET1(0);
        centres[j] = DLOAD(mean + j * DLANES);
    }
    for (ptrdiff_t r = 0; r < rows; r++)
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            FC_PREFETCH(dy + r * stride + j * DLANES + AHEAD);
            FC_PREFETCH(x + r * stride + j * DLANES + AHEAD);
            const DVEC d = DWIDEN(dy + r * stride + j * DLANES);
            const DVEC distance = DSUB(DWIDEN(x + r * stride + j * DLANES), centres[j]);
            sums[j] = DADD(sums[j], d);
            products[j] = DFMA(d, distance, products[j]);
        }
    FC_UNROLL for (int j = 0; j < vectors; j++) {
        DSTORE(sum + j * DLANES, sums[j]);
        DSTORE(product + j * DLANES, products[j]);
    }
}

static FC_TARGET void FC_NAME(products_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *dy_,
                                             const void *x_, ptrdiff_t stride, const double *mean,
                                             double *sum, double *product) {
    FC_ASSERT(rows > 0 && channels > 0 && stride >= channels);
    const FC_DTYPE *x = x_, *dy = dy_;
    ptrdiff_t c = 0;
    for (; c + 4 * DLANES <= channels; c += 4 * DLANES)
        FC_NAME(products_vectors)(4, rows, dy + c, x + c, stride, mean + c, sum + c, product + c);
    for (; c + DLANES <= channels; c += DLANES)
        FC_NAME(products_vectors)(1, rows, dy + c, x + c, stride, mean + c, sum + c, product + c);
    for (; c < channels; c++) {
        sum[c] = product[c] = 0;
        for (ptrdiff_t r = 0; r < rows; r++) {
            sum[c] += dy[r * stride + c];
            product[c] += dy[r * stride + c] * (x[r * stride + c] - mean[c]);
        }
    }
}

/* y = a * (x - mean) + b, + d * dy if dy is not NULL: n <= DLANES elements, always by vectors, whose
 * products and sums are rounded once. */
FC_INLINE FC_TARGET void FC_NAME(apply_part)(ptrdiff_t n, const FC_DTYPE *x, DVEC mean, DVEC a,
                                             DVEC b, const FC_DTYPE *dy, DVEC d, FC_DTYPE *y) {
    if (n >= DLANES) {
        FC_PREFETCH(x + AHEAD);
        if (dy) FC_PREFETCH(dy + AHEAD);
        FC_PREFETCH_TO_WRITE(y + AHEAD);
        const DVEC value = DFMA(a, DSUB(DWIDEN(x), mean), b);
        DNARROW(y, dy ? DFMA(d, DWIDEN(dy), value) : value);
        return;
    }
    FC_DTYPE x_lanes[DLANES] = {0}, dy_lanes[DLANES] = {0}, y_lanes[DLANES];
    memcpy(x_lanes, x, (size_t)n * sizeof *x);
    if (dy) memcpy(dy_lanes, dy, (size_t)n * sizeof *dy);
    const DVEC value = DFMA(a, DSUB(DWIDEN(x_lanes), mean), b);
    DNARROW(y_lanes, dy ? DFMA(d, DWIDEN(dy_lanes), value) : value);
    memcpy(y, y_lanes, (size_t)n * sizeof *y);
}

static FC_TARGET void FC_NAME(apply_run)(ptrdiff_t count, const void *x_, double mean, double a,
                                         double b, const void *dy_, double d, void *y_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *x = x_, *dy = dy_;
    FC_DTYPE *y = y_;
    const DVEC vm = DSET1(mean), va = DSET1(a), vb = DSET1(b), vd = DSET1(d);
    if (dy)
        for (ptrdiff_t i = 0; i < count; i += DLANES)
            FC_NAME(apply_part)(count - i, x + i, vm, va, vb, dy + i, vd, y + i);
    else
        for (ptrdiff_t i = 0; i < count; i += DLANES)
            FC_NAME(apply_part)(count - i, x + i, vm, va, vb, NULL, vd, y + i);
}

/* The first n < DLANES doubles. */
FC_INLINE FC_TARGET DVEC FC_NAME(first_doubles)(ptrdiff_t n, const double *source) {
    double lanes[DLANES] = {0};
    memcpy(lanes, source, (size_t)n * sizeof *source);
    return DLOAD(lanes);
}

static FC_TARGET void FC_NAME(apply_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *x_,
                                          ptrdiff_t stride, const double *mean, const double *a,
                                          const double *b, const void *dy_, const double *d, void *y_) {
    FC_ASSERT(rows > 0 && channels > 0 && stride >= channels);
    const FC_DTYPE *x = x_, *dy = dy_;
    FC_DTYPE *y = y_;
    const ptrdiff_t whole = channels - channels % DLANES, rest = channels - whole;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < whole; c += DLANES) {
            const ptrdiff_t i = r * stride + c;
            FC_PREFETCH(x + i + AHEAD);
            if (dy) FC_PREFETCH(dy + i + AHEAD);
            FC_PREFETCH_TO_WRITE(y + i + AHEAD);
            const DVEC distance = DSUB(DWIDEN(x + i), DLOAD(mean + c));
            const DVEC value = DFMA(DLOAD(a + c), distance, DLOAD(b + c));
            DNARROW(y + i, dy ? DFMA(DLOAD(d + c), DWIDEN(dy + i), value) : value);
        }
    if (!rest) return;
    const DVEC va = FC_NAME(first_doubles)(rest, a + whole), vb = FC_NAME(first_doubles)(rest, b + whole);
    const DVEC vm = FC_NAME(first_doubles)(rest, mean + whole);
    const DVEC vd = dy ? FC_NAME(first_doubles)(rest, d + whole) : va;
    for (ptrdiff_t i = whole; i < rows * stride; i += stride)
        FC_NAME(apply_part)(rest, x + i, vm, va, vb, dy ? dy + i : NULL, vd, y + i);
}

/* y += residual, unless it is NULL; then max(y, 0), NaN kept, if it is to be. */
static FC_TARGET void FC_NAME(finish_norm)(ptrdiff_t count, const void *residual_, int relu, void *y_) {
    FC_ASSERT(count >= 0 && (residual_ || relu));
    const FC_DTYPE *FC_RESTRICT residual = residual_;
    FC_DTYPE *FC_RESTRICT y = y_;
    if (!residual)
        for (ptrdiff_t i = 0; i < count; i++) y[i] = y[i] < 0 ? 0 : y[i];
    else if (!relu)
        for (ptrdiff_t i = 0; i < count; i++) y[i] += residual[i];
    else
        for (ptrdiff_t i = 0; i < count; i++) {
            const FC_DTYPE sum = y[i] + residual[i];
            y[i] = sum < 0 ? 0 : sum;
        }
}

/* dz = dy where y > 0, else 0; whether an element of y is below 0. */
static FC_TARGET int FC_NAME(norm_relu_gradient)(ptrdiff_t count, const void *y_, const void *dy_, void *dz_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *FC_RESTRICT y = y_, *FC_RESTRICT dy = dy_;
    FC_DTYPE *FC_RESTRICT dz = dz_;
    int has_negative = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        has_negative |= y[i] < 0;
        dz[i] = y[i] > 0 ? dy[i] : 0;
    }
    return has_negative;
}

#undef AHEAD
