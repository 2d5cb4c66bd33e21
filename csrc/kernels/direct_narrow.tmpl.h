/* Depthwise convolution over planes whose rows have at most half a vector: two rows at a time, each at the beginning
 * of its half, picked from the run of both. Stride 1, taps of the rows adjacent; planes without gaps. */
#ifdef VPICK

enum { FC_NAME(half) = LANES / 2 };

/* Picks lane l from element row * width + column + shift, if it lies in its row: of half l / half, `width` elements;
 * else -1. Not inlined: gcc makes some hundred instructions of it. */
static FC_NOINLINE FC_TARGET void FC_NAME(list_picks)(ptrdiff_t width, ptrdiff_t shift, COLUMN *pick) {
    for (ptrdiff_t l = 0; l < LANES; l++) {
        const ptrdiff_t row = l / FC_NAME(half), column = l % FC_NAME(half) + shift;
        pick[l] = column >= 0 && column < width ? (COLUMN)(row * width + column) : -1;
    }
}

/* `count`, but from 0 to `limit`. */
FC_INLINE FC_TARGET ptrdiff_t FC_NAME(clamp)(ptrdiff_t count, ptrdiff_t limit) {
    return count < 0 ? 0 : count < limit ? count : limit;
}

/* The plane that is read after those of all images: theirs are far apart. */
FC_INLINE FC_TARGET void FC_NAME(fetch_plane)(const FC_DTYPE *plane, ptrdiff_t elements) {
    for (ptrdiff_t i = 0; i < elements; i += FC_CACHE_LINE / (ptrdiff_t)sizeof *plane) FC_PREFETCH(plane + i);
}

/* acc[rows of outputs] += what adjacent taps of the columns give, which share the loads of x. */
FC_INLINE FC_TARGET void FC_NAME(narrow_taps)(const int taps, const int group, const fc_direct_lines *d,
                                              const FC_DTYPE *x, const VSUBSET *inside,
                                              const COLUMN (*pick)[LANES], const FC_DTYPE *w, VEC *acc) {
    VCOLUMN picks[3];
    VSUBSET picked[3];
    VEC weight[3][8];
    FC_UNROLL for (int k = 0; k < group; k++) {
        picks[k] = VCOLUMN_LOAD(pick[k]);
        picked[k] = VNOT_NEGATIVE(picks[k]);
        FC_UNROLL for (int r = 0; r < taps; r++) weight[k][r] = VSET1(w[r * d->w_row + k * d->w_column]);
    }
    FC_UNROLL for (int i = 0; i < 6 + taps; i++) {
        const VEC run = VLOAD_LANES(x + i * d->columns, inside[i]);
        FC_UNROLL for (int k = 0; k < group; k++) {
            VEC value = VPICK(picked[k], picks[k], run);
            FC_KEEP(value);
            FC_UNROLL for (int m = 0; m < 4; m++)
                if (i - 2 * m >= 0 && i - 2 * m < taps) acc[m] = VFMA(weight[k][i - 2 * m], value, acc[m]);
        }
    }
}

/* Up to eight rows of outputs from row p on, of all planes. */
FC_INLINE FC_TARGET void FC_NAME(narrow_block)(const int taps, const fc_direct_narrow *n, ptrdiff_t p,
                                               const FC_DTYPE *x, const FC_DTYPE *w, const FC_DTYPE *bias,
                                               FC_DTYPE *y) {
    const fc_direct_lines *d = &n->each;
    const ptrdiff_t width = d->columns, outputs = d->width, columns = d->residue[0].taps, first = p + d->origin;
    FC_ASSERT(d->residues == 1 && d->stride == 1 && d->column_stride == 1 && d->line_step == 1 && d->taps == taps);
    FC_ASSERT((d->lines == 1 || d->pitch == width) && (d->outputs == 1 || d->y_step == outputs));
    FC_ASSERT(width <= FC_NAME(half) && outputs <= FC_NAME(half));
    FC_ASSERT(d->residue[0].taps <= FC_NARROW_TAPS && n->planes > 0 && n->images > 0);
    VSUBSET inside[6 + 8], written[4];
    COLUMN pick[FC_NARROW_TAPS][LANES], keep[LANES];
    for (int i = 0; i < 6 + taps; i++) inside[i] = VLANES((first + i) * width, d->lines * width);
    for (int t = 0; t < columns; t++)
        FC_NAME(list_picks)(width, d->residue[0].origin + t * d->tap_step, pick[t]);
    for (ptrdiff_t l = 0; l < LANES; l++)
        keep[l] = (COLUMN)(l < outputs ? l : l < 2 * outputs ? FC_NAME(half) + l - outputs : 0);
    for (int m = 0; m < 4; m++)
        written[m] = VLANES(0, FC_NAME(clamp)((d->outputs - p - 2 * m) * outputs, 2 * outputs));
    const VCOLUMN kept = VCOLUMN_LOAD(keep);
    x += first * width;
    y += p * outputs;
    for (ptrdiff_t g = 0; g < n->planes; g++, x += n->x_plane, y += n->y_plane, w += n->w_plane) {
        const FC_DTYPE *source = x;
        FC_DTYPE *target = y;
        for (ptrdiff_t image = 0; image < n->images; image++, source += n->x_image, target += n->y_image) {
            VEC acc[4];
            FC_NAME(fetch_plane)(source + n->x_plane, d->lines * width);
            FC_UNROLL for (int m = 0; m < 4; m++) acc[m] = bias ? VSET1(bias[g]) : VZERO();
            ptrdiff_t t = 0;
            for (; t + 3 <= columns; t += 3)
                FC_NAME(narrow_taps)(taps, 3, d, source, inside, pick + t, w + t * d->w_column, acc);
            for (; t < columns; t++)
                FC_NAME(narrow_taps)(taps, 1, d, source, inside, pick + t, w + t * d->w_column, acc);
            FC_UNROLL for (int m = 0; m < 4; m++) {
                const VEC sum = d->relu ? VMAX(VZERO(), acc[m]) : acc[m];
                VSTORE_LANES(target + 2 * m * outputs, written[m], VPICK(VLANES(0, LANES), kept, sum));
            }
        }
    }
}

static FC_TARGET void FC_NAME(direct_narrow)(const fc_direct_narrow *n, const void *x, const void *w, const void *bias,
                                             void *y) {
    for (ptrdiff_t p = 0; p < n->each.outputs; p += 8) {
        if (n->each.taps == 3) FC_NAME(narrow_block)(3, n, p, x, w, bias, y);
        else if (n->each.taps == 5) FC_NAME(narrow_block)(5, n, p, x, w, bias, y);
        else FC_NAME(narrow_block)(7, n, p, x, w, bias, y);
    }
}

/* The adjoint of narrow sums: one tap of the columns of all planes. */
FC_INLINE FC_TARGET void FC_NAME(narrow_gradient)(const int taps, const int group, const fc_direct_narrow *n,
                                                  ptrdiff_t p, ptrdiff_t t, const FC_DTYPE *x, const FC_DTYPE *dy,
                                                  FC_DTYPE *sums, FC_DTYPE *bias) {
    const fc_direct_lines *d = &n->each;
    const ptrdiff_t width = d->columns, outputs = d->width, first = p + d->origin;
    FC_ASSERT(d->residues == 1 && d->stride == 1 && d->column_stride == 1 && d->line_step == 1 && d->taps == taps);
    FC_ASSERT((d->lines == 1 || d->pitch == width) && (d->outputs == 1 || d->y_step == outputs));
    FC_ASSERT(width <= FC_NAME(half) && outputs <= FC_NAME(half));
    FC_ASSERT(d->residue[0].taps <= FC_NARROW_TAPS && n->planes > 0 && n->images > 0);
    VSUBSET inside[6 + 8], picked[3], own[4], whole;
    COLUMN pick[3][LANES], spread[LANES];
    VCOLUMN picks[3];
    for (int i = 0; i < 6 + taps; i++) inside[i] = VLANES((first + i) * width, d->lines * width);
    FC_UNROLL for (int k = 0; k < group; k++) {
        FC_NAME(list_picks)(width, d->residue[0].origin + (t + k) * d->tap_step, pick[k]);
        picks[k] = VCOLUMN_LOAD(pick[k]);
        picked[k] = VNOT_NEGATIVE(picks[k]);
    }
    FC_NAME(list_picks)(outputs, 0, spread);
    const VCOLUMN spreads = VCOLUMN_LOAD(spread);
    whole = VNOT_NEGATIVE(spreads);
    for (int m = 0; m < 4; m++) own[m] = VLANES((p + 2 * m) * outputs, d->outputs * outputs);
    x += first * width;
    dy += p * outputs;
    sums += t * taps * LANES;
    for (ptrdiff_t g = 0; g < n->planes; g++, x += n->x_plane, dy += n->y_plane, sums += n->w_plane) {
        const FC_DTYPE *source = x, *target = dy;
        VEC acc[3][8], total = VZERO();
        FC_UNROLL for (int k = 0; k < group; k++)
            FC_UNROLL for (int r = 0; r < taps; r++) acc[k][r] = VLOAD(sums + (k * taps + r) * LANES);
        for (ptrdiff_t image = 0; image < n->images; image++, source += n->x_image, target += n->y_image) {
            VEC gradient[4];
            FC_NAME(fetch_plane)(source + n->x_plane, d->lines * width);
            FC_NAME(fetch_plane)(target + n->y_plane, d->outputs * outputs);
            FC_UNROLL for (int m = 0; m < 4; m++)
                gradient[m] = VPICK(whole, spreads, VLOAD_LANES(target + 2 * m * outputs, own[m]));
            total = VADD(total, VADD(VADD(gradient[0], gradient[1]), VADD(gradient[2], gradient[3])));
            FC_UNROLL for (int i = 0; i < 6 + taps; i++) {
                const VEC run = VLOAD_LANES(source + i * width, inside[i]);
                FC_UNROLL for (int k = 0; k < group; k++) {
                    VEC value = VPICK(picked[k], picks[k], run);
                    FC_KEEP(value);
                    FC_UNROLL for (int m = 0; m < 4; m++)
                        if (i - 2 * m >= 0 && i - 2 * m < taps)
                            acc[k][i - 2 * m] = VFMA(gradient[m], value, acc[k][i - 2 * m]);
                }
            }
        }
        if (bias) VSTORE(bias + g * n->w_plane, VADD(VLOAD(bias + g * n->w_plane), total));
        FC_UNROLL for (int k = 0; k < group; k++)
            FC_UNROLL for (int r = 0; r < taps; r++) VSTORE(sums + (k * taps + r) * LANES, acc[k][r]);
    }
}

FC_INLINE FC_TARGET void FC_NAME(narrow_gradients)(const int taps, const fc_direct_narrow *n, const FC_DTYPE *x,
                                                   const FC_DTYPE *dy, FC_DTYPE *sums, FC_DTYPE *bias) {
    for (ptrdiff_t p = 0; p < n->each.outputs; p += 8) {
        FC_DTYPE *total = bias;
        ptrdiff_t t = 0;
        for (; t + 3 <= n->each.residue[0].taps; t += 3, total = NULL)
            FC_NAME(narrow_gradient)(taps, 3, n, p, t, x, dy, sums, total);
        for (; t < n->each.residue[0].taps; t++, total = NULL)
            FC_NAME(narrow_gradient)(taps, 1, n, p, t, x, dy, sums, total);
    }
}

static FC_TARGET void FC_NAME(direct_narrow_gradient)(const fc_direct_narrow *n, const void *x, const void *dy,
                                                      void *sums, void *bias) {
    if (n->each.taps == 3) FC_NAME(narrow_gradients)(3, n, x, dy, sums, bias);
    else if (n->each.taps == 5) FC_NAME(narrow_gradients)(5, n, x, dy, sums, bias);
    else FC_NAME(narrow_gradients)(7, n, x, dy, sums, bias);
}
#endif
