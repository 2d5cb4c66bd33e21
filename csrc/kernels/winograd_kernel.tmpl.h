/* Transforms of Winograd's F(4x4, 3x3) and F(2x2, 5x5) (Lavin & Gray 2016, arXiv:1509.09308) with the points 0,
 * +-5/8, +-3/2 and infinity, which keep its error near that of direct sums (Barabasz et al. 2020,
 * arXiv:1803.10986). Vectors hold channels. Along one axis, with p(x) = x (x^2 - a^2) (x^2 - b^2):
 *   input    row of point q: the coefficients of p(x) / (x - q), of infinity: those of p
 *   weights  1, q, q^2 ... over the value of p(x) / (x - q) at q; of infinity: only the last
 *   output   powers of the points, from 0 on; infinity adds to the last
 * `outputs` (4 or 2) and `taps` (3 or 5) are constants where functions are inlined. */
#define FC_POINT_A ((FC_DTYPE)0.625)
#define FC_POINT_B ((FC_DTYPE)1.5)
#define FC_A2 ((FC_DTYPE)0.390625)
#define FC_B2 ((FC_DTYPE)2.25)
#define FC_A2B2 ((FC_DTYPE)0.87890625)
#define FC_A2_B2 ((FC_DTYPE)2.640625)

#define FC_OF_0 (1 / (0.390625 * 2.25))
#define FC_OF_A (1 / (2 * 0.390625 * (0.390625 - 2.25)))
#define FC_OF_B (1 / (2 * 2.25 * (2.25 - 0.390625)))

FC_INLINE FC_TARGET void FC_NAME(winograd_input_line)(const VEC d[6], VEC t[6]) {
    const VEC a = VSET1(FC_POINT_A), b = VSET1(FC_POINT_B), minus_a = VSET1(-FC_POINT_A);
    const VEC minus_b = VSET1(-FC_POINT_B), minus_a2 = VSET1(-FC_A2), minus_b2 = VSET1(-FC_B2);
    const VEC product = VSET1(FC_A2B2), minus_sum = VSET1(-FC_A2_B2);
    const VEC even_a = VFMA(minus_b2, d[2], d[4]), odd_a = VFMA(minus_b2, d[1], d[3]);
    const VEC even_b = VFMA(minus_a2, d[2], d[4]), odd_b = VFMA(minus_a2, d[1], d[3]);
    t[0] = VFMA(product, d[0], VFMA(minus_sum, d[2], d[4]));
    t[1] = VFMA(a, odd_a, even_a);
    t[2] = VFMA(minus_a, odd_a, even_a);
    t[3] = VFMA(b, odd_b, even_b);
    t[4] = VFMA(minus_b, odd_b, even_b);
    t[5] = VFMA(product, d[1], VFMA(minus_sum, d[3], d[5]));
}

/* Tiles of a row, `tile_step` apart in the source: 6 x 6 positions to the 36 points of the target. */
static FC_TARGET void FC_NAME(winograd_input)(const fc_winograd_tiles *s, const void *source_,
                                              void *target_) {
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    for (ptrdiff_t tile = 0; tile < s->tiles; tile++, source += s->tile_step, target += s->target_step) {
        VEC half[6][6]; /* [column][row] */
        FC_UNROLL for (int i = 0; i < 6; i++) {
            VEC d[6];
            FC_UNROLL for (int r = 0; r < 6; r++) d[r] = VLOAD(source + r * s->row_step + i * s->position_step);
            FC_NAME(winograd_input_line)(d, half[i]);
        }
        FC_DTYPE *out = target;
        FC_UNROLL for (int r = 0; r < 6; r++) {
            VEC d[6], t[6];
            FC_UNROLL for (int i = 0; i < 6; i++) d[i] = half[i][r];
            FC_NAME(winograd_input_line)(d, t);
            FC_UNROLL for (int i = 0; i < 6; i++, out += s->point_step) VSTORE(out, t[i]);
        }
    }
}

FC_INLINE FC_TARGET void FC_NAME(winograd_output_line)(const int outputs, const VEC m[6], VEC y[4]) {
    const VEC a = VSET1(FC_POINT_A), b = VSET1(FC_POINT_B), a2 = VSET1(FC_A2), b2 = VSET1(FC_B2);
    const VEC a3 = VSET1(FC_A2 * FC_POINT_A), b3 = VSET1(FC_B2 * FC_POINT_B), minus_one = VSET1(-1);
    const VEC sum_a = VADD(m[1], m[2]), difference_a = VFMA(minus_one, m[2], m[1]);
    const VEC sum_b = VADD(m[3], m[4]), difference_b = VFMA(minus_one, m[4], m[3]);
    y[0] = VADD(VADD(m[0], sum_a), sum_b);
    y[1] = VFMA(a, difference_a, VFMA(b, difference_b, outputs == 2 ? m[5] : VZERO()));
    if (outputs == 2) return;
    y[2] = VFMA(a2, sum_a, VFMA(b2, sum_b, VZERO()));
    y[3] = VFMA(a3, difference_a, VFMA(b3, difference_b, m[5]));
}

/* The points of a row of tiles, one vector of channels, to the outputs of each; `rows` of them, and `columns`
 * of the last tile, and `width` channels are written. Returns whether all sums are finite. */
FC_INLINE FC_TARGET int FC_NAME(winograd_output)(const int outputs, const fc_winograd_outputs *s,
                                                 const void *source_, const void *bias_, void *target_) {
    const FC_DTYPE *source = source_, *bias = bias_;
    FC_DTYPE *target = target_;
    const VEC first = bias ? VLOAD(bias) : VZERO(), zero = VZERO();
    VEC check = VZERO();
    for (ptrdiff_t tile = 0; tile < s->tiles; tile++, source += s->tile_step, target += s->target_step) {
        VEC half[6][4]; /* [column][row] */
        FC_UNROLL for (int i = 0; i < 6; i++) {
            VEC m[6];
            FC_UNROLL for (int r = 0; r < 6; r++) m[r] = VLOAD(source + (6 * r + i) * s->point_step);
            FC_NAME(winograd_output_line)(outputs, m, half[i]);
        }
        const ptrdiff_t columns = tile == s->tiles - 1 ? s->columns : outputs;
        FC_UNROLL for (int r = 0; r < outputs; r++) {
            VEC m[6], y[4];
            FC_UNROLL for (int i = 0; i < 6; i++) m[i] = half[i][r];
            FC_NAME(winograd_output_line)(outputs, m, y);
            if (r >= s->rows) break;
            FC_DTYPE *out = target + r * s->row_step;
            FC_UNROLL for (int i = 0; i < outputs; i++, out += s->position_step) {
                if (i >= columns) break;
                const VEC sum = VADD(y[i], first), value = s->relu ? VMAX(zero, sum) : sum;
                check = VFMA(zero, sum, check);
                if (s->width == LANES) {
                    VSTORE(out, value);
                } else {
                    FC_DTYPE lanes[LANES];
                    VSTORE(lanes, value);
                    for (ptrdiff_t k = 0; k < s->width; k++) out[k] = lanes[k];
                }
            }
        }
    }
    FC_DTYPE lanes[LANES], sum = 0;
    VSTORE(lanes, check);
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum == 0;
}

FC_INLINE FC_TARGET void FC_NAME(winograd_weights_line)(const int taps, const VEC g[5], VEC t[6]) {
    const double a2 = 0.390625, b2 = 2.25, of_a = FC_OF_A, of_b = FC_OF_B;
    const VEC zero = VZERO();
    VEC even_a = VFMA(VSET1((FC_DTYPE)of_a), g[0], VFMA(VSET1((FC_DTYPE)(of_a * a2)), g[2], zero));
    VEC even_b = VFMA(VSET1((FC_DTYPE)of_b), g[0], VFMA(VSET1((FC_DTYPE)(of_b * b2)), g[2], zero));
    VEC odd_a = VFMA(VSET1((FC_DTYPE)(of_a * 0.625)), g[1], zero);
    VEC odd_b = VFMA(VSET1((FC_DTYPE)(of_b * 1.5)), g[1], zero);
    const VEC minus_one = VSET1(-1);
    if (taps == 5) {
        even_a = VFMA(VSET1((FC_DTYPE)(of_a * a2 * a2)), g[4], even_a);
        even_b = VFMA(VSET1((FC_DTYPE)(of_b * b2 * b2)), g[4], even_b);
        odd_a = VFMA(VSET1((FC_DTYPE)(of_a * a2 * 0.625)), g[3], odd_a);
        odd_b = VFMA(VSET1((FC_DTYPE)(of_b * b2 * 1.5)), g[3], odd_b);
    }
    t[0] = VFMA(VSET1((FC_DTYPE)FC_OF_0), g[0], zero);
    t[1] = VADD(even_a, odd_a);
    t[2] = VFMA(minus_one, odd_a, even_a);
    t[3] = VADD(even_b, odd_b);
    t[4] = VFMA(minus_one, odd_b, even_b);
    t[5] = g[taps - 1];
}

/* w: vectors, tap after tap, `tap_step` apart. */
FC_INLINE FC_TARGET void FC_NAME(winograd_weights)(const int taps, const void *w_, ptrdiff_t tap_step,
                                                   void *target_, ptrdiff_t point_step) {
    const FC_DTYPE *w = w_;
    FC_DTYPE *target = target_;
    VEC half[5][6]; /* [column][row] */
    FC_UNROLL for (int i = 0; i < taps; i++) {
        VEC g[5];
        FC_UNROLL for (int r = 0; r < taps; r++) g[r] = VLOAD(w + (taps * r + i) * tap_step);
        FC_NAME(winograd_weights_line)(taps, g, half[i]);
    }
    FC_UNROLL for (int r = 0; r < 6; r++) {
        VEC g[5], t[6];
        FC_UNROLL for (int i = 0; i < taps; i++) g[i] = half[i][r];
        FC_NAME(winograd_weights_line)(taps, g, t);
        FC_UNROLL for (int i = 0; i < 6; i++, target += point_step) VSTORE(target, t[i]);
    }
}

/* The adjoints of output and weights, which give the gradient of the weights. */
FC_INLINE FC_TARGET void FC_NAME(winograd_output_gradient_line)(const int outputs, const VEC y[4], VEC m[6]) {
    const VEC zero = VZERO(), minus_one = VSET1(-1);
    VEC even_a = y[0], even_b = y[0];
    VEC odd_a = VFMA(VSET1(FC_POINT_A), y[1], zero), odd_b = VFMA(VSET1(FC_POINT_B), y[1], zero);
    if (outputs == 4) {
        even_a = VFMA(VSET1(FC_A2), y[2], even_a);
        even_b = VFMA(VSET1(FC_B2), y[2], even_b);
        odd_a = VFMA(VSET1(FC_A2 * FC_POINT_A), y[3], odd_a);
        odd_b = VFMA(VSET1(FC_B2 * FC_POINT_B), y[3], odd_b);
    }
    m[0] = y[0];
    m[1] = VADD(even_a, odd_a);
    m[2] = VFMA(minus_one, odd_a, even_a);
    m[3] = VADD(even_b, odd_b);
    m[4] = VFMA(minus_one, odd_b, even_b);
    m[5] = y[outputs - 1];
}

/* Tiles of a row: their positions to the 36 points of the target. */
FC_INLINE FC_TARGET void FC_NAME(winograd_output_gradient)(const int outputs, const fc_winograd_tiles *s,
                                                           const void *source_, void *target_) {
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    for (ptrdiff_t tile = 0; tile < s->tiles; tile++, source += s->tile_step, target += s->target_step) {
        VEC half[4][6]; /* [column][row] */
        FC_UNROLL for (int i = 0; i < outputs; i++) {
            VEC y[4];
            FC_UNROLL for (int r = 0; r < outputs; r++)
                y[r] = VLOAD(source + r * s->row_step + i * s->position_step);
            FC_NAME(winograd_output_gradient_line)(outputs, y, half[i]);
        }
        FC_DTYPE *out = target;
        FC_UNROLL for (int r = 0; r < 6; r++) {
            VEC y[4], m[6];
            FC_UNROLL for (int i = 0; i < outputs; i++) y[i] = half[i][r];
            FC_NAME(winograd_output_gradient_line)(outputs, y, m);
            FC_UNROLL for (int i = 0; i < 6; i++, out += s->point_step) VSTORE(out, m[i]);
        }
    }
}

FC_INLINE FC_TARGET void FC_NAME(winograd_weights_gradient_line)(const int taps, const VEC t[6], VEC g[5]) {
    const double a2 = 0.390625, b2 = 2.25, of_a = FC_OF_A, of_b = FC_OF_B;
    const VEC zero = VZERO(), minus_one = VSET1(-1), last = taps == 5 ? zero : t[5];
    const VEC sum_a = VADD(t[1], t[2]), difference_a = VFMA(minus_one, t[2], t[1]);
    const VEC sum_b = VADD(t[3], t[4]), difference_b = VFMA(minus_one, t[4], t[3]);
    g[0] = VFMA(VSET1((FC_DTYPE)FC_OF_0), t[0],
                VFMA(VSET1((FC_DTYPE)of_a), sum_a, VFMA(VSET1((FC_DTYPE)of_b), sum_b, zero)));
    g[1] = VFMA(VSET1((FC_DTYPE)(of_a * 0.625)), difference_a,
                VFMA(VSET1((FC_DTYPE)(of_b * 1.5)), difference_b, zero));
    g[2] = VFMA(VSET1((FC_DTYPE)(of_a * a2)), sum_a, VFMA(VSET1((FC_DTYPE)(of_b * b2)), sum_b, last));
    if (taps == 3) return;
    g[3] = VFMA(VSET1((FC_DTYPE)(of_a * a2 * 0.625)), difference_a,
                VFMA(VSET1((FC_DTYPE)(of_b * b2 * 1.5)), difference_b, zero));
    g[4] = VFMA(VSET1((FC_DTYPE)(of_a * a2 * a2)), sum_a, VFMA(VSET1((FC_DTYPE)(of_b * b2 * b2)), sum_b, t[5]));
}

/* A vector of 36 points, `point_step` apart, to vectors, tap after tap. Returns whether all are finite. */
FC_INLINE FC_TARGET int FC_NAME(winograd_weights_gradient)(const int taps, const void *source_,
                                                           ptrdiff_t point_step, void *dw_) {
    const FC_DTYPE *source = source_;
    FC_DTYPE *dw = dw_, lanes[LANES], sum = 0;
    const VEC zero = VZERO();
    VEC half[6][5], check = VZERO(); /* [column][row] */
    FC_UNROLL for (int i = 0; i < 6; i++) {
        VEC t[6];
        FC_UNROLL for (int r = 0; r < 6; r++) t[r] = VLOAD(source + (6 * r + i) * point_step);
        FC_NAME(winograd_weights_gradient_line)(taps, t, half[i]);
    }
    FC_UNROLL for (int r = 0; r < taps; r++) {
        VEC t[6], g[5];
        FC_UNROLL for (int i = 0; i < 6; i++) t[i] = half[i][r];
        FC_NAME(winograd_weights_gradient_line)(taps, t, g);
        FC_UNROLL for (int i = 0; i < taps; i++, dw += LANES) {
            check = VFMA(zero, g[i], check);
            VSTORE(dw, g[i]);
        }
    }
    VSTORE(lanes, check);
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum == 0;
}

/* Rows of a register tile: as many as the registers hold beside a row of b and an element of a. */
#define FC_WINOGRAD_ROWS(vecs) (FC_REGISTERS >= 32 ? (vecs == 4 ? 6 : 8) : vecs == 4 ? 2 : vecs == 3 ? 4 : 6)

/* A register tile of the products. Operands without tables leave the multipliers 1.05 times as busy as gemm_kernel's;
 * what is fetched comes from L3 otherwise (rn50_l2_3x3: 1.2 times as fast). */
FC_INLINE FC_TARGET void FC_NAME(winograd_product)(const int rows, const int vecs, const fc_winograd_product *p,
                                                   ptrdiff_t row, const FC_DTYPE *next, ptrdiff_t step) {
    const int cols = vecs * LANES;
    const FC_DTYPE *a = (const FC_DTYPE *)p->a + row * FC_WINOGRAD_CHAIN, *b = p->b;
    VEC acc[FC_MAX_ROWS][FC_MAX_VECS];
    FC_UNROLL for (int i = 0; i < rows; i++)
        FC_UNROLL for (int j = 0; j < vecs; j++) acc[i][j] = VZERO();
    for (ptrdiff_t d = p->depth; d > 0; d--, a++, b += cols, next += step) {
        VEC v[FC_MAX_VECS];
        FC_PREFETCH_TO_L2(next);
        FC_UNROLL for (int j = 0; j < vecs; j++) v[j] = VLOAD(b + j * LANES);
        FC_UNROLL for (int i = 0; i < rows; i++) {
            const VEC s = VSET1(a[i * FC_WINOGRAD_CHAIN]);
            FC_UNROLL for (int j = 0; j < vecs; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
        }
    }
    FC_DTYPE *c = (FC_DTYPE *)p->c + row * cols;
    if (p->accumulate) FC_NAME(gemm_store)(rows, vecs, 1, 0, acc, c, cols);
    else FC_NAME(gemm_store)(rows, vecs, 0, 0, acc, c, cols);
}

/* The same of the reductions, whose sums come from L3. */
FC_INLINE FC_TARGET void FC_NAME(winograd_reduction)(const int rows, const int vecs, const fc_winograd_reduction *p,
                                                     ptrdiff_t row, const FC_DTYPE *next, ptrdiff_t step) {
    const int cols = vecs * LANES;
    const FC_DTYPE *a[FC_MAX_ROWS], *b = p->b;
    FC_DTYPE *c = (FC_DTYPE *)p->c + row / FC_WINOGRAD_ROWS(vecs) * p->c_tile;
    VEC acc[FC_MAX_ROWS][FC_MAX_VECS];
    FC_UNROLL for (int i = 0; i < rows; i++) {
        a[i] = (const FC_DTYPE *)((const char *)p->a + p->channel[row + i]);
        FC_UNROLL for (int j = 0; j < vecs; j++) {
            FC_PREFETCH_TO_WRITE(c + i * cols + j * LANES);
            acc[i][j] = VZERO();
        }
    }
    for (ptrdiff_t d = 0; d < p->depth * LANES; d += LANES, b += cols, next += step) {
        VEC v[FC_MAX_VECS];
        FC_PREFETCH_TO_L2(next);
        FC_UNROLL for (int j = 0; j < vecs; j++) v[j] = VLOAD(b + j * LANES);
        FC_UNROLL for (int i = 0; i < rows; i++) {
            const VEC s = VSET1(a[i][d]);
            FC_UNROLL for (int j = 0; j < vecs; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
        }
    }
    if (p->accumulate) FC_NAME(gemm_store)(rows, vecs, 1, 0, acc, c, cols);
    else FC_NAME(gemm_store)(rows, vecs, 0, 0, acc, c, cols);
}

/* All rows: whole register tiles, then one of those left. */
#define FC_WINOGRAD_REST(rows, vecs, kind)                                                         \
    case rows:                                                                                     \
        if (rows < MOST) FC_NAME(winograd_##kind)(rows, vecs, p, row, next, step);                 \
        break;

#define FC_WINOGRAD_GEMM(vecs, kind)                                                               \
    static FC_TARGET void FC_NAME(winograd_##kind##_##vecs)(const fc_winograd_##kind *p) {         \
        enum { MOST = FC_WINOGRAD_ROWS(vecs) };                                                    \
        const ptrdiff_t step = p->fetched / ((p->rows + MOST - 1) / MOST * p->depth) + 1;          \
        const FC_DTYPE *next = p->next;                                                            \
        ptrdiff_t row = 0;                                                                         \
        for (; row + MOST <= p->rows; row += MOST, next += p->depth * step)                        \
            FC_NAME(winograd_##kind)(MOST, vecs, p, row, next, step);                              \
        switch (p->rows - row) {                                                                   \
            FC_WINOGRAD_REST(1, vecs, kind)                                                        \
            FC_WINOGRAD_REST(2, vecs, kind)                                                        \
            FC_WINOGRAD_REST(3, vecs, kind)                                                        \
            FC_WINOGRAD_REST(4, vecs, kind)                                                        \
            FC_WINOGRAD_REST(5, vecs, kind)                                                        \
            FC_WINOGRAD_REST(6, vecs, kind)                                                        \
            FC_WINOGRAD_REST(7, vecs, kind)                                                        \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }

FC_WINOGRAD_GEMM(1, product) FC_WINOGRAD_GEMM(2, product) FC_WINOGRAD_GEMM(3, product)
FC_WINOGRAD_GEMM(1, reduction) FC_WINOGRAD_GEMM(2, reduction)
FC_WINOGRAD_GEMM(3, reduction) FC_WINOGRAD_GEMM(4, reduction)

#define FC_WINOGRAD_INSTANCE(outputs, taps)                                                                   \
    static FC_TARGET int FC_NAME(winograd_output_##outputs)(const fc_winograd_outputs *tiles, const void *source, \
                                                            const void *bias, void *target) {                 \
        return FC_NAME(winograd_output)(outputs, tiles, source, bias, target);                                \
    }                                                                                                         \
    static FC_TARGET void FC_NAME(winograd_weights_##taps)(const void *w, ptrdiff_t tap_step, void *target,   \
                                                           ptrdiff_t point_step) {                            \
        FC_NAME(winograd_weights)(taps, w, tap_step, target, point_step);                                     \
    }                                                                                                         \
    static FC_TARGET void FC_NAME(winograd_output_gradient_##outputs)(const fc_winograd_tiles *tiles,         \
                                                                      const void *source, void *target) {     \
        FC_NAME(winograd_output_gradient)(outputs, tiles, source, target);                                    \
    }                                                                                                         \
    static FC_TARGET int FC_NAME(winograd_weights_gradient_##taps)(const void *source, ptrdiff_t point_step,  \
                                                                   void *dw) {                                \
        return FC_NAME(winograd_weights_gradient)(taps, source, point_step, dw);                              \
    }

FC_WINOGRAD_INSTANCE(4, 3) FC_WINOGRAD_INSTANCE(2, 5)

#undef FC_WINOGRAD_GEMM
#undef FC_WINOGRAD_REST
#undef FC_WINOGRAD_INSTANCE
#undef FC_OF_0
#undef FC_OF_A
#undef FC_OF_B
#undef FC_POINT_A
#undef FC_POINT_B
#undef FC_A2
#undef FC_B2
#undef FC_A2B2
#undef FC_A2_B2
