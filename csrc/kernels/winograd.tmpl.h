/* Transforms of Winograd's F(m x m', r x r') (Lavin & Gray 2016, arXiv:1509.09308). Vectors hold channels. An axis has
 * the points 0, infinity and pairs +-q, which keep the error near that of direct sums (Barabasz et al. 2020,
 * arXiv:1803.10986; a search for the least gain of rounding errors ends within 2 % of them):
 *   1 pair   +-1               F(2, 3)
 *   2 pairs  +-5/8, +-3/2      F(5, 2), F(4, 3), F(2, 5)
 *   3 pairs  +-1/2, +-1, +-2   F(4, 5), F(2, 7)
 * or no point and one tap. With p(x) = x times all (x^2 - q^2):
 *   input    row of point q: the coefficients of p(x) / (x - q), of infinity: those of p
 *   weights  1, q, q^2 ... over the value of p(x) / (x - q) at q; of infinity: only the last
 *   output   powers of the points, from 0 on; infinity adds to the last
 * Pairs, outputs and taps are constants where functions are inlined: `h` and `w` are the pairs of rows and columns. */
static const double FC_NAME(winograd_q)[4][3] = {{0}, {1}, {0.625, 1.5}, {0.5, 1, 2}};
/* Coefficients of x^0, x^2 ... of p(x) / x, and of that without a pair. */
static const double FC_NAME(winograd_all)[4][4] = {{0}, {-1, 1}, {0.87890625, -2.640625, 1}, {-1, 5.25, -5.25, 1}};
static const double FC_NAME(winograd_others)[4][3][3] = {
    {{0}}, {{1}}, {{-2.25, 1}, {-0.390625, 1}}, {{4, -5, 1}, {1, -4.25, 1}, {0.25, -1.25, 1}}};
/* One over the value of p(x) / (x - q) at 0 and at the pairs. */
static const double FC_NAME(winograd_of_0)[4] = {1, -1, 1 / 0.87890625, -1};
static const double FC_NAME(winograd_of)[4][3] = {
    {0}, {0.5}, {1 / (2 * 0.390625 * (0.390625 - 2.25)), 1 / (2 * 2.25 * (2.25 - 0.390625))},
    {1 / 1.40625, -1 / 4.5, 1.0 / 90}};

#define FC_POINTS_OF(pairs) ((pairs) ? 2 * (pairs) + 2 : 1)
#define FC_SET(value) VSET1((FC_DTYPE)(value))

/* The sum of d[0], d[2] ... times the coefficients, `count` of them, the last of which is 1. */
FC_INLINE FC_TARGET VEC FC_NAME(winograd_even)(const int count, const double *of, const VEC *d) {
    VEC sum = d[2 * (count - 1)];
    FC_UNROLL for (int i = count - 2; i >= 0; i--)
        sum = of[i] == 1 ? VADD(d[2 * i], sum) : VFMA(FC_SET(of[i]), d[2 * i], sum);
    return sum;
}

FC_INLINE FC_TARGET void FC_NAME(winograd_input_line)(const int pairs, const VEC *d, VEC *t) {
    if (!pairs) {
        t[0] = d[0];
        return;
    }
    t[0] = FC_NAME(winograd_even)(pairs + 1, FC_NAME(winograd_all)[pairs], d);
    FC_UNROLL for (int k = 0; k < pairs; k++) {
        const double q = FC_NAME(winograd_q)[pairs][k];
        const VEC even = FC_NAME(winograd_even)(pairs, FC_NAME(winograd_others)[pairs][k], d + 2);
        const VEC odd = FC_NAME(winograd_even)(pairs, FC_NAME(winograd_others)[pairs][k], d + 1);
        t[1 + 2 * k] = VFMA(FC_SET(q), odd, even);
        t[2 + 2 * k] = VFMA(FC_SET(-q), odd, even);
    }
    t[2 * pairs + 1] = FC_NAME(winograd_even)(pairs + 1, FC_NAME(winograd_all)[pairs], d + 1);
}

/* Tiles of a row, `tile_step` apart in the source: their positions to the points of the target. */
FC_INLINE FC_TARGET void FC_NAME(winograd_input)(const int h, const int w, const fc_winograd_tiles *s,
                                                 const void *source_, void *target_) {
    FC_ASSERT(s->tiles >= 0);
    const int rows = FC_POINTS_OF(h), columns = FC_POINTS_OF(w);
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    for (ptrdiff_t tile = 0; tile < s->tiles; tile++, source += s->tile_step, target += s->target_step) {
        VEC half[8][8]; /* [column][row] */
        FC_UNROLL for (int i = 0; i < columns; i++) {
            VEC d[8];
            FC_UNROLL for (int r = 0; r < rows; r++)
                d[r] = VLOAD(source + r * s->line_step + i * s->position_step);
            FC_NAME(winograd_input_line)(h, d, half[i]);
        }
        FC_DTYPE *out = target;
        FC_UNROLL for (int r = 0; r < rows; r++) {
            VEC d[8], t[8];
            FC_UNROLL for (int i = 0; i < columns; i++) d[i] = half[i][r];
            FC_NAME(winograd_input_line)(w, d, t);
            FC_UNROLL for (int i = 0; i < columns; i++, out += s->point_step) VSTORE(out, t[i]);
        }
    }
}

/* q^i times `of`. */
FC_INLINE double FC_NAME(winograd_power)(const double q, const int i, double of) {
    FC_UNROLL for (int n = 0; n < i; n++) of *= q;
    return of;
}

FC_INLINE FC_TARGET void FC_NAME(winograd_output_line)(const int pairs, const int outputs, const VEC *m, VEC *y) {
    VEC sum[3], difference[3];
    FC_UNROLL for (int k = 0; k < pairs; k++) {
        sum[k] = VADD(m[1 + 2 * k], m[2 + 2 * k]);
        difference[k] = VFMA(VSET1(-1), m[2 + 2 * k], m[1 + 2 * k]);
    }
    FC_UNROLL for (int i = 0; i < outputs; i++) {
        y[i] = i == 0 ? m[0] : i == outputs - 1 ? m[2 * pairs + 1] : VZERO();
        FC_UNROLL for (int k = pairs - 1; k >= 0; k--) {
            const VEC of_pair = i % 2 ? difference[k] : sum[k];
            const double power = FC_NAME(winograd_power)(FC_NAME(winograd_q)[pairs][k], i, 1);
            y[i] = power == 1 ? VADD(y[i], of_pair) : VFMA(FC_SET(power), of_pair, y[i]);
        }
    }
}

/* The points of a row of tiles, one vector of channels, to the outputs of each: `rows` of them, `columns`, of the
 * last tile `last_columns`, and `width` channels are written. Returns whether all sums are finite. */
FC_INLINE FC_TARGET int FC_NAME(winograd_output)(const int h, const int down, const int w, const int along,
                                                 const fc_winograd_outputs *s, const void *source_,
                                                 const void *bias_, void *target_) {
    FC_ASSERT(s->tiles > 0 && 0 < s->lines && s->lines <= down && 0 < s->width && s->width <= LANES);
    FC_ASSERT(0 < s->last_columns && s->last_columns <= s->columns && s->columns <= along);
    const int rows = FC_POINTS_OF(h), columns = FC_POINTS_OF(w);
    const FC_DTYPE *source = source_, *bias = bias_;
    FC_DTYPE *target = target_;
    const VEC first = bias ? VLOAD(bias) : VZERO(), zero = VZERO();
    VEC check = VZERO();
    for (ptrdiff_t tile = 0; tile < s->tiles; tile++, source += s->tile_step, target += s->target_step) {
        VEC half[8][5]; /* [column][row] */
        FC_UNROLL for (int i = 0; i < columns; i++) {
            VEC m[8];
            FC_UNROLL for (int r = 0; r < rows; r++)
                m[r] = VLOAD(source + (columns * r + i) * s->point_step);
            FC_NAME(winograd_output_line)(h, down, m, half[i]);
        }
        const ptrdiff_t written = tile == s->tiles - 1 ? s->last_columns : s->columns;
        FC_UNROLL for (int r = 0; r < down; r++) {
            VEC m[8], y[5];
            FC_UNROLL for (int i = 0; i < columns; i++) m[i] = half[i][r];
            FC_NAME(winograd_output_line)(w, along, m, y);
            if (r >= s->lines) break;
            FC_DTYPE *out = target + r * s->line_step;
            FC_UNROLL for (int i = 0; i < along; i++, out += s->position_step) {
                if (i >= written) break;
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

/* Even or odd vectors of v times powers of q, and `of`; `odd` is 0 or 1. */
FC_INLINE FC_TARGET VEC FC_NAME(winograd_value)(const int count, const int odd, const double q, const double of,
                                                const VEC *v) {
    VEC sum = VZERO();
    FC_UNROLL for (int i = odd; i < count; i += 2) {
        const double power = FC_NAME(winograd_power)(q, i, of);
        sum = power == 1 ? (i < 2 ? v[i] : VADD(v[i], sum)) : VFMA(FC_SET(power), v[i], sum);
    }
    return sum;
}

FC_INLINE FC_TARGET void FC_NAME(winograd_weights_line)(const int pairs, const int taps, const VEC *g, VEC *t) {
    if (!pairs) {
        t[0] = g[0];
        return;
    }
    t[0] = VFMA(FC_SET(FC_NAME(winograd_of_0)[pairs]), g[0], VZERO());
    FC_UNROLL for (int k = 0; k < pairs; k++) {
        const double q = FC_NAME(winograd_q)[pairs][k], of = FC_NAME(winograd_of)[pairs][k];
        const VEC even = FC_NAME(winograd_value)(taps, 0, q, of, g), odd = FC_NAME(winograd_value)(taps, 1, q, of, g);
        t[1 + 2 * k] = VADD(even, odd);
        t[2 + 2 * k] = VFMA(VSET1(-1), odd, even);
    }
    t[2 * pairs + 1] = g[taps - 1];
}

/* taps: vectors, tap after tap, `tap_step` apart; r and s: how many. */
FC_INLINE FC_TARGET void FC_NAME(winograd_weights)(const int h, const int r, const int w, const int s,
                                                   const void *taps_, ptrdiff_t tap_step, void *target_,
                                                   ptrdiff_t point_step) {
    const int rows = FC_POINTS_OF(h), columns = FC_POINTS_OF(w);
    const FC_DTYPE *taps = taps_;
    FC_DTYPE *target = target_;
    VEC half[8][8]; /* [column][row] */
    FC_UNROLL for (int i = 0; i < s; i++) {
        VEC g[8];
        FC_UNROLL for (int k = 0; k < r; k++) g[k] = VLOAD(taps + (s * k + i) * tap_step);
        FC_NAME(winograd_weights_line)(h, r, g, half[i]);
    }
    FC_UNROLL for (int k = 0; k < rows; k++) {
        VEC g[8], t[8];
        FC_UNROLL for (int i = 0; i < s; i++) g[i] = half[i][k];
        FC_NAME(winograd_weights_line)(w, s, g, t);
        FC_UNROLL for (int i = 0; i < columns; i++, target += point_step) VSTORE(target, t[i]);
    }
}

/* The adjoints of output and weights, which give the gradient of the weights. */
FC_INLINE FC_TARGET void FC_NAME(winograd_output_gradient_line)(const int pairs, const int outputs, const VEC *y,
                                                                VEC *m) {
    m[0] = y[0];
    if (!pairs) return;
    FC_UNROLL for (int k = 0; k < pairs; k++) {
        const double q = FC_NAME(winograd_q)[pairs][k];
        const VEC even = FC_NAME(winograd_value)(outputs, 0, q, 1, y);
        const VEC odd = FC_NAME(winograd_value)(outputs, 1, q, 1, y);
        m[1 + 2 * k] = VADD(even, odd);
        m[2 + 2 * k] = VFMA(VSET1(-1), odd, even);
    }
    m[2 * pairs + 1] = y[outputs - 1];
}

/* Tiles of a row: their positions to the points of the target. */
FC_INLINE FC_TARGET void FC_NAME(winograd_output_gradient)(const int h, const int down, const int w, const int along,
                                                           const fc_winograd_tiles *s, const void *source_,
                                                           void *target_) {
    FC_ASSERT(s->tiles >= 0);
    const int rows = FC_POINTS_OF(h), columns = FC_POINTS_OF(w);
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    for (ptrdiff_t tile = 0; tile < s->tiles; tile++, source += s->tile_step, target += s->target_step) {
        VEC half[5][8]; /* [column][row] */
        FC_UNROLL for (int i = 0; i < along; i++) {
            VEC y[5];
            FC_UNROLL for (int r = 0; r < down; r++) y[r] = VLOAD(source + r * s->line_step + i * s->position_step);
            FC_NAME(winograd_output_gradient_line)(h, down, y, half[i]);
        }
        FC_DTYPE *out = target;
        FC_UNROLL for (int r = 0; r < rows; r++) {
            VEC y[5], m[8];
            FC_UNROLL for (int i = 0; i < along; i++) y[i] = half[i][r];
            FC_NAME(winograd_output_gradient_line)(w, along, y, m);
            FC_UNROLL for (int i = 0; i < columns; i++, out += s->point_step) VSTORE(out, m[i]);
        }
    }
}

FC_INLINE FC_TARGET void FC_NAME(winograd_weights_gradient_line)(const int pairs, const int taps, const VEC *t,
                                                                 VEC *g) {
    VEC sum[3], difference[3];
    FC_UNROLL for (int k = 0; k < pairs; k++) {
        sum[k] = VADD(t[1 + 2 * k], t[2 + 2 * k]);
        difference[k] = VFMA(VSET1(-1), t[2 + 2 * k], t[1 + 2 * k]);
    }
    FC_UNROLL for (int i = 0; i < taps; i++) {
        g[i] = i == 0     ? (pairs ? VFMA(FC_SET(FC_NAME(winograd_of_0)[pairs]), t[0], VZERO()) : t[0])
               : i == taps - 1 ? t[2 * pairs + 1] : VZERO();
        FC_UNROLL for (int k = pairs - 1; k >= 0; k--) {
            const double q = FC_NAME(winograd_q)[pairs][k], of = FC_NAME(winograd_of)[pairs][k];
            g[i] = VFMA(FC_SET(FC_NAME(winograd_power)(q, i, of)), i % 2 ? difference[k] : sum[k], g[i]);
        }
    }
}

/* A vector of points, `point_step` apart, to vectors, tap after tap. Returns whether all are finite. */
FC_INLINE FC_TARGET int FC_NAME(winograd_weights_gradient)(const int h, const int r, const int w, const int s,
                                                           const void *source_, ptrdiff_t point_step, void *dw_) {
    const int rows = FC_POINTS_OF(h), columns = FC_POINTS_OF(w);
    const FC_DTYPE *source = source_;
    FC_DTYPE *dw = dw_, lanes[LANES], sum = 0;
    const VEC zero = VZERO();
    VEC half[8][8], check = VZERO(); /* [column][row] */
    FC_UNROLL for (int i = 0; i < columns; i++) {
        VEC t[8];
        FC_UNROLL for (int k = 0; k < rows; k++) t[k] = VLOAD(source + (columns * k + i) * point_step);
        FC_NAME(winograd_weights_gradient_line)(h, r, t, half[i]);
    }
    FC_UNROLL for (int k = 0; k < r; k++) {
        VEC t[8], g[8];
        FC_UNROLL for (int i = 0; i < columns; i++) t[i] = half[i][k];
        FC_NAME(winograd_weights_gradient_line)(w, s, t, g);
        FC_UNROLL for (int i = 0; i < s; i++, dw += LANES) {
            check = VFMA(zero, g[i], check);
            VSTORE(dw, g[i]);
        }
    }
    VSTORE(lanes, check);
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum == 0;
}

/* Rows of a register tile: as many as the registers hold beside a row of b and an element of a. */
#define FC_WINOGRAD_TILE_ROWS(tile_vectors)                   \
    (FC_REGISTERS >= 32 ? (tile_vectors == 4 ? 6 : 8)         \
                        : tile_vectors == 4 ? 2 : tile_vectors == 3 ? 4 : 6)

/* A register tile of the products. Operands without tables leave the multipliers 1.05 times as busy as gemm's;
 * what is fetched comes from L3 otherwise (rn50_l2_3x3: 1.2 times as fast). */
FC_INLINE FC_TARGET void FC_NAME(winograd_product)(const int tile_rows, const int tile_vectors,
                                                   const fc_winograd_product *p, ptrdiff_t row, const FC_DTYPE *next,
                                                   ptrdiff_t step) {
    const int cols = tile_vectors * LANES;
    const FC_DTYPE *a = (const FC_DTYPE *)p->a + row * FC_WINOGRAD_CHAIN, *b = p->b;
    VEC acc[FC_MAX_TILE_ROWS][FC_MAX_TILE_VECTORS];
    FC_UNROLL for (int i = 0; i < tile_rows; i++)
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VZERO();
    for (ptrdiff_t d = p->depth; d > 0; d--, a++, b += cols, next += step) {
        VEC v[FC_MAX_TILE_VECTORS];
        FC_PREFETCH_TO_L2(next);
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) v[j] = VLOAD(b + j * LANES);
        FC_UNROLL for (int i = 0; i < tile_rows; i++) {
            const VEC s = VSET1(a[i * FC_WINOGRAD_CHAIN]);
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
        }
    }
    FC_DTYPE *c = (FC_DTYPE *)p->c + row * cols;
    if (p->accumulate) FC_NAME(gemm_store)(tile_rows, tile_vectors, 1, 0, acc, c, cols);
    else FC_NAME(gemm_store)(tile_rows, tile_vectors, 0, 0, acc, c, cols);
}

/* Tiles of the reductions, whose sums come from L3. */
FC_INLINE FC_TARGET void FC_NAME(winograd_reduction)(const int tile_rows, const int tile_vectors,
                                                     const fc_winograd_reduction *p, ptrdiff_t row,
                                                     const FC_DTYPE *next, ptrdiff_t step) {
    const int cols = tile_vectors * LANES;
    const FC_DTYPE *a[FC_MAX_TILE_ROWS], *b = p->b;
    FC_DTYPE *c = (FC_DTYPE *)p->c + row / FC_WINOGRAD_TILE_ROWS(tile_vectors) * p->c_tile;
    VEC acc[FC_MAX_TILE_ROWS][FC_MAX_TILE_VECTORS];
    FC_UNROLL for (int i = 0; i < tile_rows; i++) {
        a[i] = (const FC_DTYPE *)((const char *)p->a + p->channel[row + i]);
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) {
            FC_PREFETCH_TO_WRITE(c + i * cols + j * LANES);
            acc[i][j] = VZERO();
        }
    }
    for (ptrdiff_t d = 0; d < p->depth * LANES; d += LANES, b += cols, next += step) {
        VEC v[FC_MAX_TILE_VECTORS];
        FC_PREFETCH_TO_L2(next);
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) v[j] = VLOAD(b + j * LANES);
        FC_UNROLL for (int i = 0; i < tile_rows; i++) {
            const VEC s = VSET1(a[i][d]);
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
        }
    }
    if (p->accumulate) FC_NAME(gemm_store)(tile_rows, tile_vectors, 1, 0, acc, c, cols);
    else FC_NAME(gemm_store)(tile_rows, tile_vectors, 0, 0, acc, c, cols);
}

/* All rows: whole register tiles, then one of those left. */
#define FC_WINOGRAD_REST(tile_rows, tile_vectors, kind)                                                       \
    case tile_rows:                                                                                           \
        if (tile_rows < MAX_ROWS) FC_NAME(winograd_##kind)(tile_rows, tile_vectors, p, row, next, step);      \
        break;

#define FC_WINOGRAD_GEMM(tile_vectors, kind)                                                                  \
    static FC_TARGET void FC_NAME(winograd_##kind##_##tile_vectors)(const fc_winograd_##kind *p) {            \
        enum { MAX_ROWS = FC_WINOGRAD_TILE_ROWS(tile_vectors) };                                              \
        FC_ASSERT(p->rows > 0 && p->depth > 0 && p->depth <= FC_WINOGRAD_CHAIN && p->fetched >= 0);            \
        const ptrdiff_t step = p->fetched / ((p->rows + MAX_ROWS - 1) / MAX_ROWS * p->depth) + 1;             \
        const FC_DTYPE *next = p->next;                                                                       \
        ptrdiff_t row = 0;                                                                                    \
        for (; row + MAX_ROWS <= p->rows; row += MAX_ROWS, next += p->depth * step)                           \
            FC_NAME(winograd_##kind)(MAX_ROWS, tile_vectors, p, row, next, step);                             \
        switch (p->rows - row) {                                                                              \
            FC_WINOGRAD_REST(1, tile_vectors, kind)                                                           \
            FC_WINOGRAD_REST(2, tile_vectors, kind)                                                           \
            FC_WINOGRAD_REST(3, tile_vectors, kind)                                                           \
            FC_WINOGRAD_REST(4, tile_vectors, kind)                                                           \
            FC_WINOGRAD_REST(5, tile_vectors, kind)                                                           \
            FC_WINOGRAD_REST(6, tile_vectors, kind)                                                           \
            FC_WINOGRAD_REST(7, tile_vectors, kind)                                                           \
        default:                                                                                              \
            break;                                                                                            \
        }                                                                                                     \
    }

FC_WINOGRAD_GEMM(1, product) FC_WINOGRAD_GEMM(2, product) FC_WINOGRAD_GEMM(3, product)
FC_WINOGRAD_GEMM(1, reduction) FC_WINOGRAD_GEMM(2, reduction)
FC_WINOGRAD_GEMM(3, reduction) FC_WINOGRAD_GEMM(4, reduction)

#define FC_WINOGRAD_INSTANCE(name, h, down, r, w, along, s)                                                       \
    static FC_TARGET void FC_NAME(winograd_input_##name)(const fc_winograd_tiles *tiles, const void *source,    \
                                                         void *target) {                                        \
        FC_NAME(winograd_input)(h, w, tiles, source, target);                                                   \
    }                                                                                                           \
    static FC_TARGET int FC_NAME(winograd_output_##name)(const fc_winograd_outputs *tiles, const void *source,  \
                                                         const void *bias, void *target) {                      \
        return FC_NAME(winograd_output)(h, down, w, along, tiles, source, bias, target);                        \
    }                                                                                                           \
    static FC_TARGET void FC_NAME(winograd_weights_##name)(const void *taps, ptrdiff_t tap_step, void *target,  \
                                                           ptrdiff_t point_step) {                              \
        FC_NAME(winograd_weights)(h, r, w, s, taps, tap_step, target, point_step);                              \
    }                                                                                                           \
    static FC_TARGET void FC_NAME(winograd_output_gradient_##name)(const fc_winograd_tiles *tiles,              \
                                                                   const void *source, void *target) {          \
        FC_NAME(winograd_output_gradient)(h, down, w, along, tiles, source, target);                            \
    }                                                                                                           \
    static FC_TARGET int FC_NAME(winograd_weights_gradient_##name)(const void *source, ptrdiff_t point_step,    \
                                                                   void *dw) {                                  \
        return FC_NAME(winograd_weights_gradient)(h, r, w, s, source, point_step, dw);                          \
    }

/* Pairs, outputs and taps of rows and of columns, as conv/winograd/choice.c has them. */
FC_WINOGRAD_INSTANCE(3x3, 2, 4, 3, 2, 4, 3)
FC_WINOGRAD_INSTANCE(3x3_accurate, 1, 2, 3, 1, 2, 3)
FC_WINOGRAD_INSTANCE(5x5, 3, 4, 5, 2, 2, 5)
FC_WINOGRAD_INSTANCE(2x2, 2, 5, 2, 2, 5, 2)
FC_WINOGRAD_INSTANCE(1x2, 0, 1, 1, 2, 5, 2)
FC_WINOGRAD_INSTANCE(1x3, 0, 1, 1, 2, 4, 3)
FC_WINOGRAD_INSTANCE(1x5, 0, 1, 1, 3, 4, 5)
FC_WINOGRAD_INSTANCE(1x7, 0, 1, 1, 3, 2, 7)

#define FC_WINOGRAD_KERNELS(name)                                                                                 \
    {FC_NAME(winograd_input_##name), FC_NAME(winograd_output_##name), FC_NAME(winograd_weights_##name),         \
     FC_NAME(winograd_output_gradient_##name), FC_NAME(winograd_weights_gradient_##name)}

#undef FC_WINOGRAD_GEMM
#undef FC_WINOGRAD_REST
#undef FC_WINOGRAD_INSTANCE
#undef FC_POINTS_OF
#undef FC_SET
