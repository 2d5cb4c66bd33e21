/* Products of matrices whose rows lie in memory as they are, for fully connected layers: nothing is copied or
 * transposed, so weights that are used once are read once. */

#if FC_REGISTERS >= 32
#define FC_DOT_FILTERS(tile_rows) ((tile_rows) == 4 ? 6 : 8)
#define FC_OUTER_TILE_ROWS 8
#define FC_OUTER_TILE_VECTORS(tile_rows) ((tile_rows) < 4 ? 8 : 24 / (tile_rows))
#else
#define FC_DOT_FILTERS(tile_rows) ((tile_rows) == 4 ? 3 : (tile_rows) == 3 ? 4 : 6)
#define FC_OUTER_TILE_ROWS 4
#define FC_OUTER_TILE_VECTORS(tile_rows) ((tile_rows) == 1 ? 6 : (tile_rows) == 2 ? 5 : 12 / (tile_rows))
#endif

/* sums[i] (+)= the lanes of acc[i], added pair by pair: in the same order wherever a sum stands in its tile. There is
 * room for whole vectors. */
FC_INLINE FC_TARGET void FC_NAME(sum_lanes)(const int count, const VEC *acc, int accumulate, FC_DTYPE *sums) {
#ifdef VEVEN
#define FC_HALVE(nodes)                                                                                  \
    FC_UNROLL for (int j = 0; j < (nodes); j++) v[j] =                                                   \
        2 * j < live ? VADD(VEVEN(v[2 * j], v[2 * j + 1]), VODD(v[2 * j], v[2 * j + 1])) : VZERO();      \
    live = (live + 1) / 2;
    FC_UNROLL for (int i = 0; i < count; i += LANES) {
        int live = count - i < LANES ? count - i : LANES;
        VEC v[LANES];
        FC_UNROLL for (int j = 0; j < LANES; j++) v[j] = j < live ? acc[i + j] : VZERO();
#if LANES >= 16
        FC_HALVE(8)
#endif
#if LANES >= 8
        FC_HALVE(4)
#endif
#if LANES >= 4
        FC_HALVE(2)
#endif
        FC_HALVE(1)
        VSTORE(sums + i, accumulate ? VADD(VLOAD(sums + i), v[0]) : v[0]);
    }
#undef FC_HALVE
#else
    for (int i = 0; i < count; i++) {
        FC_DTYPE lanes[LANES], sum = 0;
        VSTORE(lanes, acc[i]);
        for (int j = 0; j < LANES; j++) sum += lanes[j];
        sums[i] = accumulate ? sums[i] + sum : sum;
    }
#endif
}

/* A register tile: the lanes of x and w are multiplied pair by pair, and added up at the end. tile_rows
 * and filters, those of a tile, are constants where this is inlined; of fewer, the last one stands in for those that
 * lack. */
FC_INLINE FC_TARGET void FC_NAME(dot_tile)(const int tile_rows, const int filters, const int ahead,
                                           const fc_dots *p, ptrdiff_t filter, FC_DTYPE *target) {
    const ptrdiff_t left = p->filters - filter, depth = p->depth, distance = p->ahead;
    const FC_DTYPE *x[FC_DOT_ROWS], *w[8];
    FC_DTYPE sums[FC_DOT_SUMS];
    VEC acc[24];
    FC_UNROLL for (int i = 0; i < tile_rows; i++) x[i] = (const FC_DTYPE *)p->x + i * p->x_row;
    w[0] = (const FC_DTYPE *)p->w + filter * p->w_row;
    FC_UNROLL for (int f = 1; f < filters; f++) w[f] = f < left ? w[f - 1] + p->w_row : w[f - 1];
    FC_UNROLL for (int i = 0; i < tile_rows * filters; i++) acc[i] = VZERO();
    ptrdiff_t d = 0;
    for (; d + LANES <= depth; d += LANES) {
        VEC v[8];
        if (ahead)
            FC_UNROLL for (int f = 0; f < filters; f++) FC_PREFETCH_TO_L2(w[f] + d + distance);
        if (tile_rows <= filters) {
            FC_UNROLL for (int i = 0; i < tile_rows; i++) v[i] = VLOAD(x[i] + d);
            FC_UNROLL for (int f = 0; f < filters; f++) {
                const VEC u = VLOAD(w[f] + d);
                FC_UNROLL for (int i = 0; i < tile_rows; i++)
                    acc[i * filters + f] = VFMA(v[i], u, acc[i * filters + f]);
            }
        } else {
            FC_UNROLL for (int f = 0; f < filters; f++) v[f] = VLOAD(w[f] + d);
            FC_UNROLL for (int i = 0; i < tile_rows; i++) {
                const VEC u = VLOAD(x[i] + d);
                FC_UNROLL for (int f = 0; f < filters; f++) acc[i * filters + f] = VFMA(v[f], u, acc[i * filters + f]);
            }
        }
    }
#ifdef VLOAD_FIRST
    if (d < depth) {
        VEC v[FC_DOT_ROWS];
        FC_UNROLL for (int i = 0; i < tile_rows; i++) v[i] = VLOAD_FIRST(x[i] + d, depth - d);
        FC_UNROLL for (int f = 0; f < filters; f++) {
            const VEC u = VLOAD_FIRST(w[f] + d, depth - d);
            FC_UNROLL for (int i = 0; i < tile_rows; i++) acc[i * filters + f] = VFMA(v[i], u, acc[i * filters + f]);
        }
    }
    FC_NAME(sum_lanes)(tile_rows * filters, acc, p->accumulate, target);
    (void)sums;
#else
    if (d == depth) {
        FC_NAME(sum_lanes)(tile_rows * filters, acc, p->accumulate, target);
        return;
    }
    FC_NAME(sum_lanes)(tile_rows * filters, acc, 0, sums);
    for (int i = 0; i < tile_rows; i++)
        for (int f = 0; f < filters; f++) {
            FC_DTYPE sum = sums[i * filters + f];
            for (ptrdiff_t j = d; j < depth; j++) sum += x[i][j] * w[f][j];
            target[i * filters + f] = p->accumulate ? target[i * filters + f] + sum : sum;
        }
#endif
}

FC_INLINE FC_TARGET void FC_NAME(dots)(const int tile_rows, const int filters, const fc_dots *p) {
    FC_ASSERT(p->filters > 0 && p->depth >= 0 && (p->ahead_first == -1 || (p->ahead_first >= 0 && p->ahead_every > 0)));
    FC_ASSERT(tile_rows * filters <= FC_DOT_SUMS);
    FC_DTYPE *sums = p->sums;
    ptrdiff_t wait = p->ahead_first;
    for (ptrdiff_t f = 0; f < p->filters; f += filters, sums += FC_DOT_SUMS) {
        if (wait--) {
            FC_NAME(dot_tile)(tile_rows, filters, 0, p, f, sums);
        } else {
            FC_NAME(dot_tile)(tile_rows, filters, 1, p, f, sums);
            wait = p->ahead_every - 1;
        }
    }
}

#ifdef VLOAD_FIRST
#define FC_PIXEL_DOTS_TAPS 6

/* A register tile, as dot_tile: `channels` and `taps`, those of a tile, are constants; of fewer taps, the last one
 * stands in for those that lack. */
FC_INLINE FC_TARGET void FC_NAME(pixel_dots_tile)(const int channels, const int taps, const fc_pixel_dots *p,
                                                  const ptrdiff_t *offsets, ptrdiff_t left, const FC_DTYPE *next,
                                                  FC_DTYPE *target) {
    const FC_DTYPE *x_image = p->x, *y_image = p->y;
    const ptrdiff_t ahead = next - y_image;
    const ptrdiff_t width = p->width, channel = p->y_channel;
    ptrdiff_t tap[FC_PIXEL_DOTS_TAPS];
    VEC acc[FC_DOT_ROWS * FC_PIXEL_DOTS_TAPS]; /* set in short loops: gcc would clear memory for a long one */
    FC_UNROLL for (int f = 0; f < taps; f++) tap[f] = offsets[f < left ? f : left - 1];
    FC_UNROLL for (int i = 0; i < channels; i++)
        FC_UNROLL for (int f = 0; f < taps; f++) acc[i * taps + f] = VZERO();
    for (ptrdiff_t n = 0; n < p->images; n++, x_image += p->x_image, y_image += p->y_image) {
        const FC_DTYPE *x_row = x_image, *y_row = y_image;
        for (ptrdiff_t row = 0; row < p->lines; row++, x_row += p->x_line, y_row += p->y_line) {
            const FC_DTYPE *x = x_row, *y = y_row;
            ptrdiff_t rest = width;
            VEC v[FC_DOT_ROWS];
            for (; rest >= LANES; rest -= LANES, x += LANES, y += LANES) {
                FC_PREFETCH(y + ahead);
                FC_UNROLL for (int i = 0; i < channels; i++) {
                    v[i] = VLOAD(y + i * channel);
                    FC_KEEP(v[i]);
                }
                FC_UNROLL for (int f = 0; f < taps; f++) {
                    const VEC u = VLOAD(x + tap[f]);
                    FC_UNROLL for (int i = 0; i < channels; i++) acc[i * taps + f] = VFMA(v[i], u, acc[i * taps + f]);
                }
            }
            if (!rest) continue;
            FC_UNROLL for (int i = 0; i < channels; i++) v[i] = VLOAD_FIRST(y + i * channel, rest);
            FC_UNROLL for (int f = 0; f < taps; f++) {
                const VEC u = VLOAD_FIRST(x + tap[f], rest);
                FC_UNROLL for (int i = 0; i < channels; i++) acc[i * taps + f] = VFMA(v[i], u, acc[i * taps + f]);
            }
        }
    }
    FC_NAME(sum_lanes)(channels * taps, acc, 1, target);
}

FC_INLINE FC_TARGET void FC_NAME(pixel_dots)(const int channels, const fc_pixel_dots *p) {
    FC_ASSERT(p->images > 0 && p->lines > 0 && p->width > 0 && p->taps > 0 && p->next);
    enum { MAX_TAPS = FC_PIXEL_DOTS_TAPS };
    FC_DTYPE *sums = p->sums;
    const FC_DTYPE *next = p->next;
    for (ptrdiff_t f = 0, i = 0; f < p->taps; f += MAX_TAPS, i++, sums += FC_DOT_SUMS) {
        const ptrdiff_t left = p->taps - f < MAX_TAPS ? p->taps - f : MAX_TAPS;
        const FC_DTYPE *fetched = next + i % channels * p->y_channel;
        if (2 * left > MAX_TAPS)
            FC_NAME(pixel_dots_tile)(channels, MAX_TAPS, p, p->tap + f, left, fetched, sums);
        else
            FC_NAME(pixel_dots_tile)(channels, MAX_TAPS / 2, p, p->tap + f, left, fetched, sums);
    }
}

#define FC_PIXEL_DOTS_INSTANCE(channels)                                          \
    static FC_TARGET void FC_NAME(pixel_dots_##channels)(const fc_pixel_dots *p) { \
        FC_NAME(pixel_dots)(channels, p);                                         \
    }

FC_PIXEL_DOTS_INSTANCE(1) FC_PIXEL_DOTS_INSTANCE(2) FC_PIXEL_DOTS_INSTANCE(3) FC_PIXEL_DOTS_INSTANCE(4)
#undef FC_PIXEL_DOTS_INSTANCE
#endif

/* y = bias + what `dots` has summed, then ReLU, NaN kept. */
static FC_NOINLINE FC_TARGET void FC_NAME(store_dots)(int tile_rows, int filters, const fc_dot_outputs *p) {
    FC_ASSERT(p->filters > 0);
    const FC_DTYPE *sums = p->sums, *bias = p->bias;
    for (ptrdiff_t f = 0; f < p->filters; f += filters, sums += FC_DOT_SUMS) {
        const int count = (int)(p->filters - f < filters ? p->filters - f : filters);
        for (int i = 0; i < tile_rows; i++) {
            FC_DTYPE *y = (FC_DTYPE *)p->y + i * p->y_row + f * p->y_step;
#ifdef VLOAD_FIRST
            if (p->y_step == 1) {
                VEC v = VLOAD_FIRST(sums + i * filters, count);
                if (bias) v = VADD(VLOAD_FIRST(bias + f, count), v);
                VSTORE_FIRST(y, count, p->relu ? VMAX(VZERO(), v) : v);
                continue;
            }
#endif
            for (int j = 0; j < count; j++, y += p->y_step) {
                const FC_DTYPE value = bias ? bias[f + j] + sums[i * filters + j] : sums[i * filters + j];
                *y = p->relu && value < 0 ? 0 : value;
            }
        }
    }
}

#define FC_DOTS_INSTANCE(tile_rows)                                                       \
    static FC_TARGET void FC_NAME(dots_##tile_rows)(const fc_dots *p) {                   \
        FC_NAME(dots)(tile_rows, FC_DOT_FILTERS(tile_rows), p);                                \
    }                                                                                \
    static FC_TARGET void FC_NAME(store_dots_##tile_rows)(const fc_dot_outputs *p) {      \
        FC_NAME(store_dots)(tile_rows, FC_DOT_FILTERS(tile_rows), p);                          \
    }

FC_DOTS_INSTANCE(1) FC_DOTS_INSTANCE(2) FC_DOTS_INSTANCE(3) FC_DOTS_INSTANCE(4)
#undef FC_DOTS_INSTANCE

/* A tile of `tile_vectors` vectors, or, if there is but one and count is not 0, of its first elements. */
FC_INLINE FC_TARGET void FC_NAME(outer_tile)(const int tile_rows, const int tile_vectors, const int ahead,
                                             const fc_outer *p, ptrdiff_t column, ptrdiff_t count) {
    const FC_DTYPE *a[FC_OUTER_TILE_ROWS], *b = (const FC_DTYPE *)p->b + column;
    const ptrdiff_t a_step = p->a_step, b_row = p->b_row, distance = p->ahead;
    (void)count, (void)distance;
    VEC acc[FC_OUTER_TILE_ROWS][8];
    FC_UNROLL for (int i = 0; i < tile_rows; i++) a[i] = (const FC_DTYPE *)p->a + i * p->a_row;
    FC_UNROLL for (int i = 0; i < tile_rows; i++)
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VZERO();
    for (ptrdiff_t t = 0, offset = 0; t < p->depth; t++, b += b_row, offset += a_step) {
        if (ahead)
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) FC_PREFETCH_TO_L2(b + distance + j * LANES);
#ifdef VLOAD_FIRST
        if (count) {
            const VEC v = VLOAD_FIRST(b, count);
            FC_UNROLL for (int i = 0; i < tile_rows; i++) acc[i][0] = VFMA(VSET1(a[i][offset]), v, acc[i][0]);
            continue;
        }
#endif
        if (tile_rows < tile_vectors) {
            VEC s[FC_OUTER_TILE_ROWS];
            FC_UNROLL for (int i = 0; i < tile_rows; i++) s[i] = VSET1(a[i][offset]);
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) {
                const VEC v = VLOAD(b + j * LANES);
                FC_UNROLL for (int i = 0; i < tile_rows; i++) acc[i][j] = VFMA(s[i], v, acc[i][j]);
            }
        } else {
            VEC v[8];
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) v[j] = VLOAD(b + j * LANES);
            FC_UNROLL for (int i = 0; i < tile_rows; i++) {
                const VEC s = VSET1(a[i][offset]);
                FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
            }
        }
    }
    const FC_DTYPE *from = p->from ? (const FC_DTYPE *)p->from + column : NULL;
    FC_DTYPE *c = (FC_DTYPE *)p->c + column;
    FC_UNROLL for (int i = 0; i < tile_rows; i++) {
#ifdef VLOAD_FIRST
        if (count) {
            if (from) acc[i][0] = VADD(VLOAD_FIRST(from + i * p->from_row, count), acc[i][0]);
            VSTORE_FIRST(c + i * p->c_row, count, acc[i][0]);
            continue;
        }
#endif
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) {
            if (from) acc[i][j] = VADD(VLOAD(from + i * p->from_row + j * LANES), acc[i][j]);
            VSTORE(c + i * p->c_row + j * LANES, acc[i][j]);
        }
    }
}

#ifndef VLOAD_FIRST
/* Elements from `column` on, one by one. */
static FC_TARGET void FC_NAME(outer_rest)(const int tile_rows, const fc_outer *p, ptrdiff_t column) {
    for (int i = 0; i < tile_rows; i++)
        for (ptrdiff_t j = column; j < p->width; j++) {
            const FC_DTYPE *a = (const FC_DTYPE *)p->a + i * p->a_row, *b = (const FC_DTYPE *)p->b + j;
            FC_DTYPE sum = 0;
            for (ptrdiff_t t = 0; t < p->depth; t++) sum += a[t * p->a_step] * b[t * p->b_row];
            if (p->from) sum += ((const FC_DTYPE *)p->from)[i * p->from_row + j];
            ((FC_DTYPE *)p->c)[i * p->c_row + j] = sum;
        }
}
#endif

FC_INLINE FC_TARGET void FC_NAME(outer)(const int tile_rows, const int tile_vectors, const fc_outer *p) {
    FC_ASSERT(p->depth >= 0 && p->width > 0 && (p->ahead_first == -1 || (p->ahead_first >= 0 && p->ahead_every > 0)));
    FC_ASSERT(tile_rows == 1 || p->c_row >= p->width);
    ptrdiff_t j = 0, wait = p->ahead_first;
    for (; j + tile_vectors * LANES <= p->width; j += tile_vectors * LANES) {
        if (wait--) {
            FC_NAME(outer_tile)(tile_rows, tile_vectors, 0, p, j, 0);
        } else {
            FC_NAME(outer_tile)(tile_rows, tile_vectors, 1, p, j, 0);
            wait = p->ahead_every - 1;
        }
    }
    for (; j + LANES <= p->width; j += LANES) FC_NAME(outer_tile)(tile_rows, 1, 0, p, j, 0);
#ifdef VLOAD_FIRST
    if (j < p->width) FC_NAME(outer_tile)(tile_rows, 1, 0, p, j, p->width - j);
#else
    if (j < p->width) FC_NAME(outer_rest)(tile_rows, p, j);
#endif
}

/* c[i][j] = from[i][j] + sum over t < depth of a[i][t] * b[t][j], of so many rows of c. */
#define FC_OUTER_INSTANCE(tile_rows)                                             \
    static FC_TARGET void FC_NAME(outer_##tile_rows)(const fc_outer *p) {        \
        FC_NAME(outer)(tile_rows, FC_OUTER_TILE_VECTORS(tile_rows), p);                       \
    }

FC_OUTER_INSTANCE(1) FC_OUTER_INSTANCE(2) FC_OUTER_INSTANCE(3) FC_OUTER_INSTANCE(4)
#if FC_REGISTERS >= 32
FC_OUTER_INSTANCE(5) FC_OUTER_INSTANCE(6) FC_OUTER_INSTANCE(7) FC_OUTER_INSTANCE(8)
#endif
#undef FC_OUTER_INSTANCE
