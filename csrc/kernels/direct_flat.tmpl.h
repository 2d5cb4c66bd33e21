/* Kernels of direct_narrow.h where lanes are not picked: a plane becomes one line. Its lines are copied with zeros
 * between them, enough for the taps that reach beyond either end, and so are those of the outputs: output i of this
 * long line reads i + offset for each tap, whichever lines they belong to, and vectors are full but for the zeros. What
 * is summed between the lines is dropped. The next plane is copied before one is summed: its stores should be done. */
#if defined(VLOAD_LANES) && !defined(VPICK)

/* The lines of a plane that is copied after those of all images: theirs are far apart. */
FC_INLINE FC_TARGET void FC_NAME(fetch_lines)(const FC_DTYPE *lines, ptrdiff_t elements) {
    for (ptrdiff_t i = 0; i < elements; i += FC_CACHE_LINE / (ptrdiff_t)sizeof *lines) FC_PREFETCH(lines + i);
}

enum {
    FC_NAME(flat_lines) = 16, /* of outputs at a time */
    FC_NAME(flat_before) = FC_FLAT_PITCH * LANES,
    FC_NAME(flat_elements) = FC_FLAT_PITCH * LANES * (FC_NAME(flat_lines) + FC_NARROW_TAPS + 1) + 8 * LANES,
};

/* How a block of lines of outputs, and what they read, is laid out. */
typedef struct {
    ptrdiff_t pitch;       /* from line to line, in both */
    ptrdiff_t lines;       /* of outputs */
    ptrdiff_t first, last; /* lines of x that are copied, */
    ptrdiff_t to;          /* and where the first one goes */
    ptrdiff_t vectors;     /* of all lines of outputs */
} FC_NAME(flat);

FC_INLINE FC_TARGET FC_NAME(flat) FC_NAME(flat_of)(const fc_direct_narrow *n, ptrdiff_t p) {
    const fc_direct_lines *d = &n->each;
    FC_ASSERT(d->residues == 1 && d->stride == 1 && d->column_stride == 1 && d->line_step == 1);
    FC_ASSERT((d->lines == 1 || d->pitch == d->columns) && (d->outputs == 1 || d->y_step == d->width));
    FC_ASSERT(d->columns <= FC_FLAT_COLUMNS * LANES && d->width <= FC_FLAT_COLUMNS * LANES && n->planes > 0);
    FC_ASSERT(d->taps <= FC_NARROW_TAPS && n->images > 0);
    FC_NAME(flat) f = {.lines = d->outputs - p};
    f.pitch = fc_flat_pitch(d->columns, d->width, d->residue[0].origin, d->residue[0].taps, d->tap_step);
    FC_ASSERT(f.pitch <= FC_FLAT_PITCH * LANES);
    if (f.lines > FC_NAME(flat_lines)) f.lines = FC_NAME(flat_lines);
    const ptrdiff_t start = p + d->origin, end = start + f.lines + d->taps - 1;
    f.first = start > 0 ? start : 0;
    f.last = end < d->lines ? end : d->lines;
    f.to = FC_NAME(flat_before) + (f.first - start) * f.pitch;
    f.vectors = (f.lines * f.pitch + LANES - 1) / LANES;
    return f;
}

/* Lines of `columns` elements to lines `pitch` apart, one after the other: what a store brings beyond one is zeros. */
FC_INLINE FC_TARGET void FC_NAME(spread_lines)(const FC_DTYPE *x, ptrdiff_t count, ptrdiff_t columns, FC_DTYPE *to,
                                               ptrdiff_t pitch) {
    const VSUBSET rest = VNOT_ALL(VLANES(0, columns > LANES ? columns - LANES : columns));
    if (columns > LANES)
        for (; count > 0; count--, x += columns, to += pitch) {
            VSTORE(to, VLOAD(x));
            VSTORE(to + LANES, VLOAD_LANES(x + LANES, rest));
        }
    else
        for (; count > 0; count--, x += columns, to += pitch) VSTORE(to, VLOAD_LANES(x, rest));
}

/* So many vectors of the long line of outputs. */
FC_INLINE FC_TARGET void FC_NAME(flat_sums)(const int vectors, const fc_direct_lines *d, const FC_DTYPE *x,
                                            ptrdiff_t pitch, const FC_DTYPE *w, VEC bias, FC_DTYPE *sums) {
    VEC acc[8];
    FC_UNROLL for (int v = 0; v < vectors; v++) acc[v] = bias;
    for (ptrdiff_t t = 0; t < d->residue[0].taps; t++, x += d->tap_step, w += d->w_column) {
        const FC_DTYPE *from = x, *weight = w;
        for (ptrdiff_t r = 0; r < d->taps; r++, from += pitch, weight += d->w_row) {
            const VEC s = VSET1(*weight);
            FC_UNROLL for (int v = 0; v < vectors; v++) acc[v] = VFMA(s, VLOAD(from + v * LANES), acc[v]);
        }
    }
    FC_UNROLL for (int v = 0; v < vectors; v++) VSTORE(sums + v * LANES, acc[v]);
}

/* The long line's lines to y, whose `total` elements end with them or later. In order: a vector that passes the end of
 * a line is overwritten by the next. */
FC_INLINE FC_TARGET void FC_NAME(store_flat)(const FC_NAME(flat) *f, const FC_DTYPE *sums, ptrdiff_t outputs,
                                             ptrdiff_t total, int relu, FC_DTYPE *y) {
    for (ptrdiff_t m = 0; m < f->lines; m++, sums += f->pitch, y += outputs, total -= outputs)
        for (ptrdiff_t q = 0; q < outputs; q += LANES) {
            const VEC sum = VLOAD(sums + q), value = relu ? VMAX(VZERO(), sum) : sum;
            if (q + LANES <= total) VSTORE(y + q, value);
            else VSTORE_LANES(y + q, VLANES(0, total - q), value);
        }
}

/* What follows plane g of an image: the next image's, or the next plane of the first image; NULL behind the last. */
FC_INLINE FC_TARGET const FC_DTYPE *FC_NAME(next_plane)(const fc_direct_narrow *n, const FC_DTYPE *planes, ptrdiff_t g,
                                                        ptrdiff_t image, ptrdiff_t plane_step, ptrdiff_t image_step) {
    if (image + 1 < n->images) return planes + g * plane_step + (image + 1) * image_step;
    return g + 1 < n->planes ? planes + (g + 1) * plane_step : NULL;
}

static FC_TARGET void FC_NAME(direct_narrow)(const fc_direct_narrow *n, const void *x_, const void *w_,
                                             const void *bias_, void *y_) {
    const fc_direct_lines *d = &n->each;
    const FC_DTYPE *x = x_, *w = w_, *bias = bias_;
    FC_DTYPE *y = y_, spread[2][FC_NAME(flat_elements)], sums[FC_NAME(flat_elements)];
    for (ptrdiff_t p = 0; p < d->outputs; p += FC_NAME(flat_lines)) {
        const FC_NAME(flat) f = FC_NAME(flat_of)(n, p);
        int own = 0;
        for (ptrdiff_t i = 0; i < FC_NAME(flat_elements); i++) spread[0][i] = spread[1][i] = 0;
        FC_NAME(spread_lines)(x + f.first * d->columns, f.last - f.first, d->columns, spread[0] + f.to, f.pitch);
        for (ptrdiff_t g = 0; g < n->planes; g++) {
            const VEC first = bias ? VSET1(bias[g]) : VZERO();
            for (ptrdiff_t image = 0; image < n->images; image++, own = !own) {
                const FC_DTYPE *next = FC_NAME(next_plane)(n, x, g, image, n->x_plane, n->x_image);
                const FC_DTYPE *from = spread[own] + FC_NAME(flat_before) + d->residue[0].origin;
                FC_NAME(fetch_lines)(x + (g + 1) * n->x_plane + image * n->x_image, d->lines * d->columns);
                if (next)
                    FC_NAME(spread_lines)(next + f.first * d->columns, f.last - f.first, d->columns,
                                          spread[!own] + f.to, f.pitch);
                for (ptrdiff_t v = 0, count; v < f.vectors; v += count) {
                    const ptrdiff_t left = f.vectors - v;
                    const FC_DTYPE *x_at = from + v * LANES;
                    FC_DTYPE *to = sums + v * LANES;
                    count = left >= 8 ? 8 : left > 4 ? 7 : 4;
                    if (count == 8) FC_NAME(flat_sums)(8, d, x_at, f.pitch, w + g * n->w_plane, first, to);
                    else if (count == 7) FC_NAME(flat_sums)(7, d, x_at, f.pitch, w + g * n->w_plane, first, to);
                    else FC_NAME(flat_sums)(4, d, x_at, f.pitch, w + g * n->w_plane, first, to);
                }
                FC_NAME(store_flat)(&f, sums, d->width, (d->outputs - p) * d->width, d->relu,
                                    y + g * n->y_plane + image * n->y_image + p * d->width);
            }
        }
    }
}

/* Adds dw of `group` neighbouring taps of the columns, of all lines of taps, to sums[tap of the columns][line]. */
FC_INLINE FC_TARGET void FC_NAME(flat_gradient)(const int taps, const int group, const FC_NAME(flat) *f,
                                                ptrdiff_t tap_step, const FC_DTYPE *x, const FC_DTYPE *dy,
                                                FC_DTYPE *sums) {
    VEC acc[3][FC_NARROW_TAPS];
    FC_UNROLL for (int k = 0; k < group; k++)
        FC_UNROLL for (int r = 0; r < taps; r++) acc[k][r] = VLOAD(sums + (k * taps + r) * LANES);
    for (ptrdiff_t v = 0; v < f->vectors; v++, x += LANES, dy += LANES) {
        const VEC gradient = VLOAD(dy);
        FC_UNROLL for (int k = 0; k < group; k++)
            FC_UNROLL for (int r = 0; r < taps; r++)
                acc[k][r] = VFMA(gradient, VLOAD(x + r * f->pitch + k * tap_step), acc[k][r]);
    }
    FC_UNROLL for (int k = 0; k < group; k++)
        FC_UNROLL for (int r = 0; r < taps; r++) VSTORE(sums + (k * taps + r) * LANES, acc[k][r]);
}

/* flat_gradient of all taps of the columns, so many at a time as registers hold. */
FC_INLINE FC_TARGET void FC_NAME(flat_gradients)(const int taps, const int group, const fc_direct_lines *d,
                                                 const FC_NAME(flat) *f, const FC_DTYPE *x, const FC_DTYPE *dy,
                                                 FC_DTYPE *sums) {
    const ptrdiff_t columns = d->residue[0].taps, step = d->tap_step;
    ptrdiff_t t = 0;
    for (; t + group <= columns; t += group, x += group * step, sums += group * taps * LANES)
        FC_NAME(flat_gradient)(taps, group, f, step, x, dy, sums);
    if (group > 1)
        for (; t < columns; t++, x += step, sums += taps * LANES) FC_NAME(flat_gradient)(taps, 1, f, step, x, dy, sums);
}

static FC_TARGET void FC_NAME(direct_narrow_gradient)(const fc_direct_narrow *n, const void *x_, const void *dy_,
                                                      void *sums_, void *bias_) {
    const fc_direct_lines *d = &n->each;
    const FC_DTYPE *x = x_, *dy = dy_;
    FC_DTYPE *all = sums_, *bias = bias_, spread[2][FC_NAME(flat_elements)], gradient[2][FC_NAME(flat_elements)];
    for (ptrdiff_t p = 0; p < d->outputs; p += FC_NAME(flat_lines)) {
        const FC_NAME(flat) f = FC_NAME(flat_of)(n, p);
        const ptrdiff_t at = f.first * d->columns, lines = f.last - f.first;
        int own = 0;
        for (int k = 0; k < 2; k++)
            for (ptrdiff_t i = 0; i < FC_NAME(flat_elements); i++) spread[k][i] = gradient[k][i] = 0;
        FC_NAME(spread_lines)(x + at, lines, d->columns, spread[0] + f.to, f.pitch);
        FC_NAME(spread_lines)(dy + p * d->width, f.lines, d->width, gradient[0], f.pitch);
        for (ptrdiff_t g = 0; g < n->planes; g++)
            for (ptrdiff_t image = 0; image < n->images; image++, own = !own) {
                const FC_DTYPE *next = FC_NAME(next_plane)(n, x, g, image, n->x_plane, n->x_image);
                const FC_DTYPE *next_dy = FC_NAME(next_plane)(n, dy, g, image, n->y_plane, n->y_image);
                const FC_DTYPE *from = spread[own] + FC_NAME(flat_before) + d->residue[0].origin;
                FC_DTYPE *sums = all + g * n->w_plane;
                FC_NAME(fetch_lines)(x + (g + 1) * n->x_plane + image * n->x_image, d->lines * d->columns);
                FC_NAME(fetch_lines)(dy + (g + 1) * n->y_plane + image * n->y_image, d->outputs * d->width);
                if (next) {
                    FC_NAME(spread_lines)(next + at, lines, d->columns, spread[!own] + f.to, f.pitch);
                    FC_NAME(spread_lines)(next_dy + p * d->width, f.lines, d->width, gradient[!own], f.pitch);
                }
                if (bias) {
                    VEC total = VLOAD(bias + g * n->w_plane);
                    for (ptrdiff_t v = 0; v < f.vectors; v++) total = VADD(total, VLOAD(gradient[own] + v * LANES));
                    VSTORE(bias + g * n->w_plane, total);
                }
                if (d->taps == 3) FC_NAME(flat_gradients)(3, 3, d, &f, from, gradient[own], sums);
                else if (d->taps == 5) FC_NAME(flat_gradients)(5, 2, d, &f, from, gradient[own], sums);
                else FC_NAME(flat_gradients)(7, 1, d, &f, from, gradient[own], sums);
            }
    }
}
#endif
