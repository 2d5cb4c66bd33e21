/* Kernels of direct_narrow.h where lanes are not picked: a plane becomes one line. Its lines are copied with zeros
 * between them, enough for the taps that reach beyond either end, and so are those of the outputs: output i of this
 * long line reads i + offset for each tap, whichever lines they belong to, and vectors are full but for the zeros. What
 * is summed between the lines is dropped. The next plane is copied before one is summed: its stores should be done.
 * With stride 2 there are four copies, of every other line and every other column, and i is the same in all. */
#if defined(VLOAD_LANES) && !defined(VPICK)

/* The lines of a plane that is copied after those of all images: theirs are far apart. */
FC_INLINE FC_TARGET void FC_NAME(fetch_lines)(const FC_DTYPE *lines, ptrdiff_t elements) {
    for (ptrdiff_t i = 0; i < elements; i += FC_CACHE_LINE / (ptrdiff_t)sizeof *lines) FC_PREFETCH(lines + i);
}

enum {
    FC_NAME(flat_lines) = 16,                     /* of outputs at a time */
    FC_NAME(flat_before) = FC_FLAT_PITCH * LANES, /* zeros before the first line of stride 1 */
    FC_NAME(flat_beyond) = 9 * LANES,             /* read, or stored, behind the last line */
    FC_NAME(flat_outputs) = FC_NAME(flat_lines) * FC_FLAT_PITCH * LANES + FC_NAME(flat_beyond),
    FC_NAME(flat_copies) = 4 * ((FC_NAME(flat_lines) + FC_NARROW_TAPS / 2 + 1) * FC_FLAT_PITCH * LANES +
                                FC_NAME(flat_beyond)),
};
_Static_assert(FC_NAME(flat_copies) >= (FC_NAME(flat_lines) + FC_NARROW_TAPS + 1) * FC_FLAT_PITCH * LANES +
                                           FC_NAME(flat_beyond), "the copy of stride 1 fits as well");

/* How a block of lines of outputs, and what they read, is laid out. */
typedef struct {
    ptrdiff_t pitch;       /* from line to line, in all */
    ptrdiff_t lines;       /* of outputs */
    ptrdiff_t first, last; /* lines of x that are copied, */
    ptrdiff_t start;       /* of those that taps read, x's or not, the first */
    ptrdiff_t vectors;     /* of all lines of outputs */
    ptrdiff_t copy;        /* elements of a copy, of which stride 2 has [line's parity][column's parity] */
    ptrdiff_t line[FC_NARROW_TAPS], column[FC_NARROW_TAPS]; /* of each tap, where output 0 reads */
} FC_NAME(flat);

FC_INLINE FC_TARGET void FC_NAME(lay_out_flat)(const fc_direct_narrow *n, ptrdiff_t p, FC_NAME(flat) *f) {
    const fc_direct_lines *d = &n->each;
    const ptrdiff_t taps = d->residue[0].taps, origin = d->residue[0].origin;
    const ptrdiff_t outputs = (d->width + d->residues - 1) / d->residues;
    const int strided = d->stride == 2;
    FC_ASSERT(d->line_step == 1 && d->stride == d->column_stride && (d->residues == 1 || !strided));
    FC_ASSERT(d->stride == 1 || (strided && (taps == 1 || d->tap_step == 1)));
    FC_ASSERT(d->lines == 1 || d->pitch == d->columns);
    FC_ASSERT(d->outputs == 1 || d->residues > 1 || d->y_step == d->width);
    FC_ASSERT(d->columns <= d->stride * FC_FLAT_COLUMNS * LANES && outputs <= FC_FLAT_COLUMNS * LANES);
    FC_ASSERT(d->taps <= FC_NARROW_TAPS && taps <= FC_NARROW_TAPS && n->planes > 0 && n->images > 0);
    f->pitch = fc_flat_pitch(d->columns, outputs, origin, taps, d->tap_step, d->stride);
    if (d->residues > 1) {
        const ptrdiff_t other = fc_flat_pitch(d->columns, outputs, d->residue[1].origin, d->residue[1].taps,
                                              d->tap_step, 1);
        if (other > f->pitch) f->pitch = other;
    }
    f->lines = d->outputs - p < FC_NAME(flat_lines) ? d->outputs - p : FC_NAME(flat_lines);
    f->start = p * d->stride + d->origin;
    const ptrdiff_t end = f->start + (f->lines - 1) * d->stride + d->taps;
    f->first = f->start > 0 ? f->start : 0;
    f->last = end < d->lines ? end : d->lines;
    f->vectors = (f->lines * f->pitch + LANES - 1) / LANES;
    f->copy = (f->lines + (strided ? d->taps / 2 : d->taps) + 1) * f->pitch + FC_NAME(flat_beyond) +
              (strided ? 0 : FC_NAME(flat_before));
    FC_ASSERT(f->pitch <= FC_FLAT_PITCH * LANES && f->copy * d->stride * d->stride <= FC_NAME(flat_copies));
    for (ptrdiff_t r = 0; r < FC_NARROW_TAPS; r++)
        f->line[r] = strided ? r % 2 * 2 * f->copy + r / 2 * f->pitch : FC_NAME(flat_before) + r * f->pitch;
    for (ptrdiff_t t = 0; t < taps; t++)
        f->column[t] = strided ? t % 2 * f->copy + t / 2 : origin + t * d->tap_step;
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

/* Two vectors of a line, the even elements to one copy, the odd ones to the next. */
FC_INLINE FC_TARGET void FC_NAME(part_columns)(const FC_DTYPE *x, const VSUBSET *inside, FC_DTYPE *to, ptrdiff_t copy) {
    const VEC low = VLOAD_LANES(x, inside[0]), high = VLOAD_LANES(x + LANES, inside[1]);
    VSTORE(to, VEVEN(low, high));
    VSTORE(to + copy, VODD(low, high));
}

/* What taps read of a plane, to its copy, or its four copies. */
FC_INLINE FC_TARGET void FC_NAME(copy_plane)(const fc_direct_lines *d, const FC_NAME(flat) *f, const FC_DTYPE *x,
                                             FC_DTYPE *copies) {
    const ptrdiff_t columns = d->columns, before = f->first - f->start;
    x += f->first * columns;
    if (d->stride == 1) {
        FC_NAME(spread_lines)(x, f->last - f->first, columns, copies + FC_NAME(flat_before) + before * f->pitch,
                              f->pitch);
        return;
    }
    const ptrdiff_t origin = d->residue[0].origin, end = origin + 2 * f->pitch, limit = end < columns ? end : columns;
    VSUBSET inside[2 * FC_FLAT_PITCH];
    for (int i = 0; i < 2 * FC_FLAT_PITCH; i++) inside[i] = VNOT_ALL(VLANES(origin + i * LANES, limit));
    const ptrdiff_t to_odd = 2 * f->copy, to_even = f->pitch - to_odd; /* from the line before */
    FC_DTYPE *to = copies + before / 2 * f->pitch + (before % 2 ? to_odd : 0);
    ptrdiff_t step = before % 2 ? to_even : to_odd;
    x += origin;
    for (ptrdiff_t left = f->last - f->first; left > 0; left--, x += columns, to += step, step = f->pitch - step) {
        FC_NAME(part_columns)(x, inside, to, f->copy);
        if (f->pitch > LANES) FC_NAME(part_columns)(x + 2 * LANES, inside + 2, to + LANES, f->copy);
        if (f->pitch > 2 * LANES) FC_NAME(part_columns)(x + 4 * LANES, inside + 4, to + 2 * LANES, f->copy);
    }
}

FC_INLINE FC_TARGET void FC_NAME(set_zeros)(FC_DTYPE *to, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = 0;
}

/* So many vectors of the long line of outputs; x: where the first one reads. */
FC_INLINE FC_TARGET void FC_NAME(sum_flat)(const int vectors, const int strided, const int residue,
                                           const fc_direct_lines *d, const FC_NAME(flat) *f, const FC_DTYPE *x,
                                           const FC_DTYPE *w, VEC bias, FC_DTYPE *sums) {
    const ptrdiff_t origin = d->residue[residue].origin;
    VEC acc[8];
    FC_UNROLL for (int v = 0; v < vectors; v++) acc[v] = bias;
    for (ptrdiff_t t = 0; t < d->residue[residue].taps; t++, w += d->w_column) {
        const FC_DTYPE *from = x + f->line[0] + (strided ? f->column[t] : origin + t * d->tap_step), *weight = w;
        ptrdiff_t step = f->line[1] - f->line[0], other = f->line[2] - f->line[1]; /* they take turns */
        for (ptrdiff_t r = 0; r < d->taps; r++, weight += d->w_row) {
            const VEC s = VSET1(*weight);
            const ptrdiff_t last = step;
            FC_UNROLL for (int v = 0; v < vectors; v++) acc[v] = VFMA(s, VLOAD(from + v * LANES), acc[v]);
            from += step;
            if (strided) step = other;
            other = last;
        }
    }
    FC_UNROLL for (int v = 0; v < vectors; v++) VSTORE(sums + v * LANES, acc[v]);
}

FC_INLINE FC_TARGET void FC_NAME(sum_plane)(const int strided, const int residue, const fc_direct_lines *d,
                                            const FC_NAME(flat) *f, const FC_DTYPE *x, const FC_DTYPE *w, VEC bias,
                                            FC_DTYPE *sums) {
    w += d->residue[residue].w - d->residue[0].w;
    for (ptrdiff_t left = f->vectors, count; left > 0; left -= count, x += count * LANES, sums += count * LANES) {
        count = left >= 8 ? 8 : left > 4 ? 7 : 4;
        if (count == 8) FC_NAME(sum_flat)(8, strided, residue, d, f, x, w, bias, sums);
        else if (count == 7) FC_NAME(sum_flat)(7, strided, residue, d, f, x, w, bias, sums);
        else FC_NAME(sum_flat)(4, strided, residue, d, f, x, w, bias, sums);
    }
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

/* A vector of elements that the residues have in turn. */
FC_INLINE FC_TARGET VEC FC_NAME(residues_in_turn)(const fc_direct_lines *d, const FC_DTYPE *even, const FC_DTYPE *odd) {
    const VEC sums = VZIP_LOW(VLOAD(even), VLOAD(odd));
    return d->relu ? VMAX(VZERO(), sums) : sums;
}

/* The lines of two long ones to every so many of y. The last vector of an even number of elements overlaps another. */
FC_INLINE FC_TARGET void FC_NAME(store_residues)(const fc_direct_lines *d, const FC_NAME(flat) *f, const FC_DTYPE *even,
                                                 const FC_DTYPE *odd, FC_DTYPE *y) {
    const ptrdiff_t width = d->width, whole = width / LANES * LANES, last = width - LANES;
    const int overlaps = whole < width && last >= 0 && width % 2 == 0;
    const VSUBSET rest = VLANES(0, width - whole);
    for (ptrdiff_t m = 0; m < f->lines; m++, even += f->pitch, odd += f->pitch, y += d->y_step) {
        for (ptrdiff_t q = 0; q < whole; q += LANES)
            VSTORE(y + q, FC_NAME(residues_in_turn)(d, even + q / 2, odd + q / 2));
        if (overlaps) VSTORE(y + last, FC_NAME(residues_in_turn)(d, even + last / 2, odd + last / 2));
        else if (whole < width)
            VSTORE_LANES(y + whole, rest, FC_NAME(residues_in_turn)(d, even + whole / 2, odd + whole / 2));
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
    FC_DTYPE *y = y_;
    _Alignas(FC_CACHE_LINE) FC_DTYPE copies[2][FC_NAME(flat_copies)], sums[2][FC_NAME(flat_outputs)];
    FC_NAME(flat) f;
    for (ptrdiff_t p = 0; p < d->outputs; p += FC_NAME(flat_lines)) {
        int own = 0;
        FC_NAME(lay_out_flat)(n, p, &f);
        for (int k = 0; k < 2; k++) FC_NAME(set_zeros)(copies[k], f.copy * d->stride * d->stride);
        FC_NAME(copy_plane)(d, &f, x, copies[0]);
        for (ptrdiff_t g = 0; g < n->planes; g++) {
            const FC_DTYPE *weights = w + g * n->w_plane;
            const VEC first = bias ? VSET1(bias[g]) : VZERO();
            for (ptrdiff_t image = 0; image < n->images; image++, own = !own) {
                const FC_DTYPE *next = FC_NAME(next_plane)(n, x, g, image, n->x_plane, n->x_image);
                FC_NAME(fetch_lines)(x + (g + 1) * n->x_plane + image * n->x_image, d->lines * d->columns);
                if (next) FC_NAME(copy_plane)(d, &f, next, copies[!own]);
                FC_DTYPE *target = y + g * n->y_plane + image * n->y_image + p * d->y_step;
                if (d->stride == 1) FC_NAME(sum_plane)(0, 0, d, &f, copies[own], weights, first, sums[0]);
                else FC_NAME(sum_plane)(1, 0, d, &f, copies[own], weights, first, sums[0]);
                if (d->residues == 1) {
                    FC_NAME(store_flat)(&f, sums[0], d->width, (d->outputs - p) * d->width, d->relu, target);
                } else {
                    FC_NAME(sum_plane)(0, 1, d, &f, copies[own], weights, first, sums[1]);
                    FC_NAME(store_residues)(d, &f, sums[0], sums[1], target);
                }
            }
        }
    }
}

/* Adds dw of `group` neighbouring taps of the columns, of all lines of taps, to sums[tap of the columns][line]. */
FC_INLINE FC_TARGET void FC_NAME(flat_gradient)(const int taps, const int group, const FC_NAME(flat) *f, ptrdiff_t t,
                                                const FC_DTYPE *x, const FC_DTYPE *dy, FC_DTYPE *sums) {
    VEC acc[3][FC_NARROW_TAPS];
    sums += t * taps * LANES;
    FC_UNROLL for (int k = 0; k < group; k++)
        FC_UNROLL for (int r = 0; r < taps; r++) acc[k][r] = VLOAD(sums + (k * taps + r) * LANES);
    for (ptrdiff_t v = 0; v < f->vectors; v++, x += LANES, dy += LANES) {
        const VEC gradient = VLOAD(dy);
        FC_UNROLL for (int k = 0; k < group; k++)
            FC_UNROLL for (int r = 0; r < taps; r++)
                acc[k][r] = VFMA(gradient, VLOAD(x + f->line[r] + f->column[t + k]), acc[k][r]);
    }
    FC_UNROLL for (int k = 0; k < group; k++)
        FC_UNROLL for (int r = 0; r < taps; r++) VSTORE(sums + (k * taps + r) * LANES, acc[k][r]);
}

/* flat_gradient of all taps of the columns, so many at a time as registers hold. */
FC_INLINE FC_TARGET void FC_NAME(flat_gradients)(const int taps, const int group, ptrdiff_t columns,
                                                 const FC_NAME(flat) *f, const FC_DTYPE *x, const FC_DTYPE *dy,
                                                 FC_DTYPE *sums) {
    ptrdiff_t t = 0;
    for (; t + group <= columns; t += group) FC_NAME(flat_gradient)(taps, group, f, t, x, dy, sums);
    if (group > 1)
        for (; t < columns; t++) FC_NAME(flat_gradient)(taps, 1, f, t, x, dy, sums);
}

static FC_TARGET void FC_NAME(direct_narrow_gradient)(const fc_direct_narrow *n, const void *x_, const void *dy_,
                                                      void *sums_, void *bias_) {
    const fc_direct_lines *d = &n->each;
    const FC_DTYPE *x = x_, *dy = dy_;
    FC_DTYPE *all = sums_, *bias = bias_;
    _Alignas(FC_CACHE_LINE) FC_DTYPE copies[2][FC_NAME(flat_copies)], gradients[2][FC_NAME(flat_outputs)];
    FC_NAME(flat) f;
    for (ptrdiff_t p = 0; p < d->outputs; p += FC_NAME(flat_lines)) {
        const ptrdiff_t at = p * d->width, columns = d->residue[0].taps;
        int own = 0;
        FC_NAME(lay_out_flat)(n, p, &f);
        for (int k = 0; k < 2; k++) {
            FC_NAME(set_zeros)(copies[k], f.copy * d->stride * d->stride);
            FC_NAME(set_zeros)(gradients[k], f.lines * f.pitch + FC_NAME(flat_beyond));
        }
        FC_NAME(copy_plane)(d, &f, x, copies[0]);
        FC_NAME(spread_lines)(dy + at, f.lines, d->width, gradients[0], f.pitch);
        for (ptrdiff_t g = 0; g < n->planes; g++)
            for (ptrdiff_t image = 0; image < n->images; image++, own = !own) {
                const FC_DTYPE *next = FC_NAME(next_plane)(n, x, g, image, n->x_plane, n->x_image);
                const FC_DTYPE *next_dy = FC_NAME(next_plane)(n, dy, g, image, n->y_plane, n->y_image);
                FC_DTYPE *sums = all + g * n->w_plane;
                FC_NAME(fetch_lines)(x + (g + 1) * n->x_plane + image * n->x_image, d->lines * d->columns);
                FC_NAME(fetch_lines)(dy + (g + 1) * n->y_plane + image * n->y_image, d->outputs * d->width);
                if (next) {
                    FC_NAME(copy_plane)(d, &f, next, copies[!own]);
                    FC_NAME(spread_lines)(next_dy + at, f.lines, d->width, gradients[!own], f.pitch);
                }
                if (bias) {
                    VEC total = VLOAD(bias + g * n->w_plane);
                    for (ptrdiff_t v = 0; v < f.vectors; v++) total = VADD(total, VLOAD(gradients[own] + v * LANES));
                    VSTORE(bias + g * n->w_plane, total);
                }
                if (d->taps == 3) FC_NAME(flat_gradients)(3, 3, columns, &f, copies[own], gradients[own], sums);
                else if (d->taps == 5) FC_NAME(flat_gradients)(5, 2, columns, &f, copies[own], gradients[own], sums);
                else FC_NAME(flat_gradients)(7, 1, columns, &f, copies[own], gradients[own], sums);
            }
    }
}
#endif
