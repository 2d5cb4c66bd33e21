/* Kernels of ReLU, sigmoid and softmax; exponentials and sums in double. */
#include <math.h>
#include <string.h>

/* y = max(x, 0), NaN kept; with dy: dy where x > 0, else 0. */
static FC_TARGET void FC_NAME(relu)(ptrdiff_t count, const void *x_, const void *dy_, void *y_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *FC_RESTRICT x = x_, *FC_RESTRICT dy = dy_;
    FC_DTYPE *FC_RESTRICT y = y_;
    if (dy)
        for (ptrdiff_t i = 0; i < count; i++) y[i] = x[i] > 0 ? dy[i] : 0;
    else
        for (ptrdiff_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

/* exp(x), x <= 0, to a rounding or two: 2**n times the Taylor series of what is left, |r| <= log(2) / 2,
 * whose first missing term is below an eighth of an ulp (7 terms for float, 13 for double). */
FC_INLINE FC_TARGET DVEC FC_NAME(exp)(DVEC x) {
    static const double terms[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                   1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                   1.0 / 120,        1.0 / 24,        1.0 / 6,        1.0 / 2,
                                   1.0,              1.0};
    const int is_float = sizeof(FC_DTYPE) == 4;
    /* Whose exponential is 0 in FC_DTYPE. Adding `shift` rounds to a whole number n, and leaves n + 1023 in
     * the lowest bits. */
    const DVEC lowest = DSET1(is_float ? -200 : -750), shift = DSET1(6755399441055744.0 + 1023);
    const DVEC power = DMAX(lowest, x);
    DVEC shifted = DFMA(power, DSET1(1.4426950408889634), shift);
    const DVEC n = DSUB(shifted, shift);
    DVEC rest = DFMA(n, DSET1(-0.693147180369123816490), power);
    rest = DFMA(n, DSET1(-1.90821492927058770002e-10), rest);
    DVEC sum = DSET1(terms[is_float ? 6 : 0]);
    FC_UNROLL for (int i = is_float ? 7 : 1; i < 14; i++) sum = DFMA(sum, rest, DSET1(terms[i]));
    if (is_float) return DMUL(sum, DPOWER_OF_2(shifted));
    /* 2**n as two factors, since it may be subnormal. */
    const DVEC half = DFMA(n, DSET1(0.5), shift);
    shifted = DADD(DSUB(n, DSUB(half, shift)), shift);
    return DMUL(DMUL(sum, DPOWER_OF_2(half)), DPOWER_OF_2(shifted));
}

/* The first n elements, n >= 1, and `filler` for what a vector has beyond them. */
FC_INLINE FC_TARGET DVEC FC_NAME(widen_first)(ptrdiff_t n, const FC_DTYPE *source, FC_DTYPE filler) {
    if (n >= DLANES) return DWIDEN(source);
    FC_DTYPE lanes[DLANES];
    for (int i = 0; i < DLANES; i++) lanes[i] = i < n ? source[i] : filler;
    return DWIDEN(lanes);
}

FC_INLINE FC_TARGET void FC_NAME(narrow_first)(ptrdiff_t n, FC_DTYPE *target, DVEC value) {
    FC_DTYPE lanes[DLANES];
    if (n >= DLANES) {
        DNARROW(target, value);
        return;
    }
    DNARROW(lanes, value);
    memcpy(target, lanes, (size_t)n * sizeof *target);
}

/* y = 1 / (1 + exp(-x)), for x < 0 as exp(x) / (1 + exp(x)): nothing overflows or cancels. */
static FC_TARGET void FC_NAME(sigmoid)(ptrdiff_t count, const void *x_, void *y_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *x = x_;
    FC_DTYPE *y = y_;
    const DVEC one = DSET1(1);
    for (ptrdiff_t i = 0; i < count; i += DLANES) {
        const DVEC value = FC_NAME(widen_first)(count - i, x + i, 0);
        const DVEC power = FC_NAME(exp)(DSUB(DSET1(0), DMAX(value, DSUB(DSET1(0), value))));
        FC_NAME(narrow_first)(count - i, y + i, DDIV(DIF_NEGATIVE(value, power, one), DADD(one, power)));
    }
}

/* dx = dy * y * (1 - y). */
static FC_TARGET void FC_NAME(sigmoid_gradient)(ptrdiff_t count, const void *y_, const void *dy_,
                                                void *dx_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *FC_RESTRICT y = y_, *FC_RESTRICT dy = dy_;
    FC_DTYPE *FC_RESTRICT dx = dx_;
    for (ptrdiff_t i = 0; i < count; i++) dx[i] = dy[i] * (y[i] * (1 - y[i]));
}

/* A NaN is passed over: it comes back with the exponentials. */
FC_INLINE FC_TARGET FC_DTYPE FC_NAME(largest)(ptrdiff_t count, const FC_DTYPE *x) {
    FC_DTYPE lanes[LANES], top = -INFINITY;
    VEC tops[2] = {VSET1(top), VSET1(top)};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        FC_UNROLL for (int j = 0; j < 2; j++) tops[j] = VMAX(VLOAD(x + i + j * LANES), tops[j]);
    if (i) {
        VSTORE(lanes, VMAX(tops[0], tops[1]));
        for (int j = 0; j < LANES; j++) top = lanes[j] > top ? lanes[j] : top;
    }
    for (; i < count; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* Returns -log softmax(scores)[label], the largest score being subtracted first, and fills
 * gradient = (softmax(scores) - e_label) * scale. */
static FC_TARGET double FC_NAME(softmax)(ptrdiff_t classes, const void *scores_, ptrdiff_t label,
                                         double scale, void *gradient_) {
    FC_ASSERT(0 <= label && label < classes);
    const FC_DTYPE *scores = scores_;
    FC_DTYPE *gradient = gradient_;
    const double top = FC_NAME(largest)(classes, scores);
    const DVEC tops = DSET1(top);
    double lanes[DLANES], total = 0;
    DVEC sum = DSET1(0);
    for (ptrdiff_t i = 0; i < classes; i += DLANES) {
        const DVEC score = FC_NAME(widen_first)(classes - i, scores + i, -INFINITY);
        const DVEC power = FC_NAME(exp)(DSUB(score, tops));
        sum = DADD(sum, power);
        FC_NAME(narrow_first)(classes - i, gradient + i, power);
    }
    DSTORE(lanes, sum);
    for (int i = 0; i < DLANES; i++) total += lanes[i];
    const double of_label = gradient[label], factor = scale / total;
    const DVEC factors = DSET1(factor);
    for (ptrdiff_t i = 0; i < classes; i += DLANES)
        FC_NAME(narrow_first)(classes - i, gradient + i,
                              DMUL(FC_NAME(widen_first)(classes - i, gradient + i, 0), factors));
    gradient[label] = (FC_DTYPE)((of_label - total) * factor);
    return log(total) + (top - scores[label]);
}
