/* Pools of lines: windows one column apart, or two, straight from x to y; outputs of a line are the vector.
 *
 * Of windows two columns apart a tap is every other element of two vectors, the tap after it those between. The last
 * vector of a line ends with it, over the end of the one before; what a vector has beyond a shorter line the next lines
 * overwrite. Where padding cuts windows a mask says which columns are on the data: what is read beside it is of other
 * rows. Lines whose vectors would touch what is not the caller's go one output at a time. Maxima and sums are those of
 * pool_kernel.tmpl.h. */
#ifdef VEVEN

#define FC_TAKE(element, place)                                         \
    do {                                                                \
        const VEC value_ = element;                                     \
        const VMASK takes_ = VTAKES(value_, best);                      \
        best = VSELECT(takes_, value_, best);                           \
        at = VCOLUMN_SELECT(takes_, VCOLUMN_SET1((COLUMN)(place)), at); \
    } while (0)

/* mask: 0, or -infinity for columns beside the data; or NULL, as a constant. */
FC_INLINE FC_TARGET VEC FC_NAME(load_on_data)(const FC_DTYPE *source, const FC_DTYPE *mask) {
    const VEC lowest = VSET1((FC_DTYPE)-INFINITY);
    return mask ? VSELECT(VTAKES(VLOAD(mask), lowest), VLOAD(source), lowest) : VLOAD(source);
}

/* LANES windows, the first of which begins at x + row[0]; `first`: the place of each one's first tap on the data. */
FC_INLINE FC_TARGET void FC_NAME(max_vector)(const ptrdiff_t rows, const ptrdiff_t taps, const ptrdiff_t stride,
                                             const ptrdiff_t *row, const FC_DTYPE *x, const FC_DTYPE *mask,
                                             VCOLUMN first, VCOLUMN places, FC_DTYPE *y, int64_t *indices) {
    VEC best = VSET1((FC_DTYPE)-INFINITY);
    VCOLUMN at = VCOLUMN_ADD(first, VCOLUMN_SET1((COLUMN)row[0]));
    /* Processors stop fetching at the end of a page; of rows that lines share once. Without: 1.0 to 1.2 times as long,
     * averages are faster without. */
    for (ptrdiff_t r = rows > stride ? rows - stride : 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < stride * LANES; i += FC_LINE / (int)sizeof(FC_DTYPE))
            FC_PREFETCH(x + row[r] + i + 2048 / sizeof(FC_DTYPE));
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t t = stride == 1 ? 0 : -(taps % 2); t < taps; t += stride) {
            /* Of an odd number of taps two columns apart the first has no partner. */
            const ptrdiff_t from = t < 0 ? 0 : t;
            const FC_DTYPE *source = x + row[r] + from;
            const VEC low = FC_NAME(load_on_data)(source, mask ? mask + from : NULL);
            if (stride == 1) {
                FC_TAKE(low, row[r] + t);
                continue;
            }
            const VEC high = FC_NAME(load_on_data)(source + LANES, mask ? mask + from + LANES : NULL);
            FC_TAKE(VEVEN(low, high), row[r] + from);
            if (t >= 0) FC_TAKE(VODD(low, high), row[r] + t + 1);
        }
    VSTORE(y, best);
    VCOLUMN_STORE_WIDE(indices, VCOLUMN_ADD(at, places));
}

#undef FC_TAKE

/* Of all rows at some columns. */
FC_INLINE FC_TARGET DVEC FC_NAME(sum_on_data)(const ptrdiff_t rows, const ptrdiff_t *row, const FC_DTYPE *x,
                                              const FC_DTYPE *mask) {
    DVEC sum = DWIDEN(x + row[0]);
    for (ptrdiff_t r = 1; r < rows; r++) sum = DADD(sum, DWIDEN(x + row[r]));
    return mask ? DIF_NEGATIVE(DWIDEN(mask), DSET1(0), sum) : sum;
}

/* DLANES windows. */
FC_INLINE FC_TARGET void FC_NAME(sum_vector)(const ptrdiff_t rows, const ptrdiff_t taps, const ptrdiff_t stride,
                                             const ptrdiff_t *row, const FC_DTYPE *x, const FC_DTYPE *mask,
                                             const double *divisors, FC_DTYPE *y) {
    DVEC sum = DSET1(0);
    for (ptrdiff_t t = stride == 1 ? 0 : -(taps % 2); t < taps; t += stride) {
        const ptrdiff_t from = t < 0 ? 0 : t, beside = from + DLANES;
        const DVEC low = FC_NAME(sum_on_data)(rows, row, x + from, mask ? mask + from : NULL);
        if (stride == 1) {
            sum = DADD(sum, low);
            continue;
        }
        const DVEC high = FC_NAME(sum_on_data)(rows, row, x + beside, mask ? mask + beside : NULL);
        sum = DADD(sum, DEVEN(low, high));
        if (t >= 0) sum = DADD(sum, DODD(low, high));
    }
    DNARROW(y, FC_NAME(quotient)(sum, divisors));
}

/* Output o of a line, from what of its window is on the data; sums in the order of those above, to the bit. */
static FC_TARGET void FC_NAME(pool_one)(const fc_pool_lines *p, const FC_DTYPE *plane, ptrdiff_t line, ptrdiff_t o,
                                        const double *divisors, FC_DTYPE *y, int64_t *indices) {
    const ptrdiff_t start = o * p->stride - p->pad, first = start < 0 ? 0 : start, place = line * p->row_step;
    const ptrdiff_t end = start + p->taps < p->width ? start + p->taps : p->width;
    if (divisors) {
        double sum = 0;
        for (ptrdiff_t i = place + first; i < place + end; i++) {
            double column = plane[i + p->row[0]];
            for (ptrdiff_t r = 1; r < p->rows; r++) column += plane[i + p->row[r]];
            sum += column;
        }
        y[o] = (FC_DTYPE)(sizeof(FC_DTYPE) == 4 ? sum * divisors[o] : sum / divisors[o]);
        return;
    }
    ptrdiff_t at = place + p->row[0] + first;
    for (ptrdiff_t r = 0; r < p->rows; r++)
        for (ptrdiff_t i = place + p->row[r] + first; i < place + p->row[r] + end; i++)
            if (FC_NAME(takes)(plane[i], plane[at])) at = i;
    y[o] = plane[at];
    indices[o] = at;
}

/* How lines are cut into vectors of `step` outputs. Windows of the first and the last may be cut; those between begin
 * before end_of_whole. */
typedef struct {
    ptrdiff_t last, end_of_whole; /* last: where the last one begins */
    ptrdiff_t before, beyond;     /* elements that the first line reads before its plane, and from that on */
    int fits;                     /* whether one at either end has all windows that are cut */
    int is_cut[2];
    FC_DTYPE mask[2][2 * LANES + FC_POOL_LINE_TAPS];
    COLUMN first[2][LANES], columns[LANES];
} FC_NAME(pool_line);

static void FC_NAME(cut_line)(const fc_pool_lines *p, ptrdiff_t step, FC_NAME(pool_line) *l) {
    const ptrdiff_t stride = p->stride, outputs = p->outputs, beyond = p->width + p->pad - p->taps;
    /* Outputs from `low` on before `high` have whole windows. */
    const ptrdiff_t low = (p->pad + stride - 1) / stride;
    const ptrdiff_t high = beyond < 0 ? 0 : beyond / stride + 1 < outputs ? beyond / stride + 1 : outputs;
    const ptrdiff_t last = outputs < step ? 0 : outputs - step;
    l->last = last;
    l->before = p->pad - p->row[0];
    l->beyond = p->row[p->rows - 1] - p->pad + (last + step - 1) * stride + p->taps;
    l->fits = low <= step && outputs - high <= step;
    l->is_cut[0] = low > 0 || (last == 0 && high < outputs);
    l->is_cut[1] = last > 0 && (last < low || high < outputs);
    l->end_of_whole = l->is_cut[1] ? high - step + 1 : outputs;
    for (int i = 0; i < LANES; i++) l->columns[i] = (COLUMN)(i * stride);
    for (int end = 0; end < 2; end++) {
        if (!l->is_cut[end]) continue;
        const ptrdiff_t start = (end ? last : 0) * stride - p->pad;
        for (ptrdiff_t i = 0; i < step * stride + p->taps; i++)
            l->mask[end][i] = start + i >= 0 && start + i < p->width ? 0 : (FC_DTYPE)-INFINITY;
        for (ptrdiff_t i = 0; i < LANES; i++)
            l->first[end][i] = (COLUMN)(start + i * stride < 0 ? -(start + i * stride) : 0);
    }
}

/* All lines, of maxima if `max`, a constant, else of averages; so may be rows, taps and stride. */
FC_INLINE FC_TARGET void FC_NAME(pool_lines)(const fc_pool_lines *p, const FC_NAME(pool_line) *l, const int max,
                                             const ptrdiff_t rows, const ptrdiff_t taps, const ptrdiff_t stride,
                                             const FC_DTYPE *plane, const double *divisors, FC_DTYPE *y,
                                             int64_t *indices) {
    const ptrdiff_t step = max ? LANES : DLANES, last = l->last, outputs = p->outputs;
    const VCOLUMN apart = VCOLUMN_LOAD(l->columns);
    ptrdiff_t row[FC_POOL_LINE_ROWS];
    for (ptrdiff_t r = 0; r < rows; r++) row[r] = p->row[r] - p->pad;
    for (ptrdiff_t line = 0; line < p->lines; line++, y += outputs, indices += max ? outputs : 0) {
        const ptrdiff_t place = line * p->row_step;
        ptrdiff_t next = 0;
        if (l->fits && l->before - place <= p->x_before && place + l->beyond <= p->x_room &&
            line * outputs + last + step <= p->y_room) {
            for (int end = 0; end < 2; end++) {
                const ptrdiff_t o = end ? last : 0, column = place + o * stride;
                if (!l->is_cut[end]) continue;
                if (max)
                    FC_NAME(max_vector)(rows, taps, stride, row, plane + column, l->mask[end],
                                        VCOLUMN_LOAD(l->first[end]),
                                        VCOLUMN_ADD(apart, VCOLUMN_SET1((COLUMN)column)), y + o, indices + o);
                else
                    FC_NAME(sum_vector)(rows, taps, stride, row, plane + column, l->mask[end], divisors + o, y + o);
            }
            for (next = l->is_cut[0] ? step : 0; next < l->end_of_whole; next += step) {
                const ptrdiff_t o = next < last ? next : last, column = place + o * stride;
                if (max)
                    FC_NAME(max_vector)(rows, taps, stride, row, plane + column, NULL, VCOLUMN_SET1(0),
                                        VCOLUMN_ADD(apart, VCOLUMN_SET1((COLUMN)column)), y + o, indices + o);
                else
                    FC_NAME(sum_vector)(rows, taps, stride, row, plane + column, NULL, divisors + o, y + o);
            }
        }
        const ptrdiff_t end = next ? last : outputs;
        for (; next < end; next++) FC_NAME(pool_one)(p, plane, line, next, divisors, y, indices);
    }
}

/* The windows of most networks, and any other. */
FC_INLINE FC_TARGET void FC_NAME(pool_any_lines)(const fc_pool_lines *p, const int max, const FC_DTYPE *plane,
                                                 const double *divisors, FC_DTYPE *y, int64_t *indices) {
    FC_NAME(pool_line) line;
    FC_NAME(cut_line)(p, max ? LANES : DLANES, &line);
    if (p->rows == 2 && p->taps == 2 && p->stride == 2)
        FC_NAME(pool_lines)(p, &line, max, 2, 2, 2, plane, divisors, y, indices);
    else if (p->rows == 3 && p->taps == 3 && p->stride == 2)
        FC_NAME(pool_lines)(p, &line, max, 3, 3, 2, plane, divisors, y, indices);
    else if (p->rows == 3 && p->taps == 3 && p->stride == 1)
        FC_NAME(pool_lines)(p, &line, max, 3, 3, 1, plane, divisors, y, indices);
    else
        FC_NAME(pool_lines)(p, &line, max, p->rows, p->taps, p->stride, plane, divisors, y, indices);
}

static FC_TARGET void FC_NAME(max_lines)(const fc_pool_lines *p, const void *plane, void *y, int64_t *indices) {
    FC_NAME(pool_any_lines)(p, 1, plane, NULL, y, indices);
}

static FC_TARGET void FC_NAME(sum_lines)(const fc_pool_lines *p, const void *plane, const double *divisors, void *y) {
    FC_NAME(pool_any_lines)(p, 0, plane, divisors, y, NULL);
}
#endif
