/* Pools of lines: windows one column apart, or two, straight from x to y; outputs of a line are the vector.
 *
 * Of windows two columns apart a tap is every other element of two vectors, the tap after it those between. The last
 * vector of a line ends with it, over the end of the one before; what a vector has beyond a shorter line the next lines
 * overwrite. Where padding cuts windows a mask says which columns are on the data: what is read beside it is of other
 * rows. Lines whose vectors would read beyond x, and outputs between two such masks that are fewer than a vector with
 * whole windows, go one at a time. Maxima and sums are those of pool.tmpl.h. */
#ifdef VEVEN

#define FC_TAKE(element, place)                                                          \
    do {                                                                                 \
        const VEC value_ = element;                                                      \
        const VMASK takes_ = VTAKES(value_, best);                                       \
        best = VSELECT(takes_, value_, best);                                            \
        if (indices) at = VCOLUMN_SELECT(takes_, VCOLUMN_SET1((COLUMN)(place)), at);     \
    } while (0)

/* mask: 0, or -infinity for columns beside the data; or NULL, as a constant. */
FC_INLINE FC_TARGET VEC FC_NAME(load_on_data)(const FC_DTYPE *source, const FC_DTYPE *mask) {
    const VEC lowest = VSET1((FC_DTYPE)-INFINITY);
    return mask ? VSELECT(VTAKES(VLOAD(mask), lowest), VLOAD(source), lowest) : VLOAD(source);
}

/* LANES windows, the first of which begins at x + row[0]. `skipped`: columns of each before the data; `places`: where
 * each is in the plane, less row[0]. indices may be NULL, as a constant. */
FC_INLINE FC_TARGET void FC_NAME(max_vector)(const ptrdiff_t rows, const ptrdiff_t taps, const ptrdiff_t stride,
                                             const ptrdiff_t *row, const FC_DTYPE *x, const FC_DTYPE *mask,
                                             VCOLUMN skipped, VCOLUMN places, FC_DTYPE *y, int64_t *indices) {
    VEC best = VSET1((FC_DTYPE)-INFINITY);
    VCOLUMN at = VCOLUMN_ADD(skipped, VCOLUMN_SET1((COLUMN)row[0]));
    /* Processors stop fetching at the end of a page. Rows that lines of as large a stride share are fetched once.
     * Without it maxima take 1.0 to 1.2 times as long, averages less. */
    for (ptrdiff_t r = rows > stride ? rows - stride : 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < stride * LANES; i += FC_CACHE_LINE / (int)sizeof(FC_DTYPE))
            FC_PREFETCH(x + row[r] + i + 2048 / sizeof(FC_DTYPE));
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t t = stride == 1 ? 0 : -(taps % 2); t < taps; t += stride) {
            /* The first of an odd number of taps two columns apart has no partner. */
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
    if (indices) VCOLUMN_STORE_WIDE(indices, VCOLUMN_ADD(at, places));
}

#undef FC_TAKE

/* Sums of all rows at some columns. */
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
    const ptrdiff_t end = start + p->taps < p->width ? start + p->taps : p->width, to = line * p->outputs + o;
    if (divisors) {
        double sum = 0;
        for (ptrdiff_t i = place + first; i < place + end; i++) {
            double column = plane[i + p->row[0]];
            for (ptrdiff_t r = 1; r < p->rows; r++) column += plane[i + p->row[r]];
            sum += column;
        }
        y[to] = (FC_DTYPE)(sizeof(FC_DTYPE) == 4 ? sum * divisors[o] : sum / divisors[o]);
        return;
    }
    ptrdiff_t at = place + p->row[0] + first;
    for (ptrdiff_t r = 0; r < p->rows; r++)
        for (ptrdiff_t i = place + p->row[r] + first; i < place + p->row[r] + end; i++)
            if (FC_NAME(takes)(plane[i], plane[at])) at = i;
    y[to] = plane[at];
    if (indices) indices[to] = at;
}

/* How a line is cut into vectors. Padding may cut windows of the first and of the last one, at output `last`, whose
 * `mask` and `skipped` these are. Those between begin before end_of_whole, and at last_whole at the latest. */
typedef struct {
    ptrdiff_t last, last_whole, end_of_whole;
    int is_cut[2];
    FC_DTYPE mask[2][2 * LANES + FC_POOL_LINE_TAPS];
    COLUMN skipped[2][LANES], columns[LANES];
} FC_NAME(line_cut);

static void FC_NAME(cut_line)(const fc_pool_lines *p, int max, void *cut) {
    FC_ASSERT(p->outputs > 0 && p->width > 0 && p->pad >= 0 && (p->stride == 1 || p->stride == 2));
    FC_ASSERT(p->stride <= p->taps && p->taps <= FC_POOL_LINE_TAPS);
    FC_NAME(line_cut) *l = cut;
    const ptrdiff_t step = max ? LANES : DLANES, stride = p->stride, outputs = p->outputs;
    /* Outputs from `low` on before `high` have whole windows. */
    const ptrdiff_t low = (p->pad + stride - 1) / stride, beyond = p->width + p->pad - p->taps;
    const ptrdiff_t high = beyond < 0 ? 0 : beyond / stride + 1 < outputs ? beyond / stride + 1 : outputs;
    const ptrdiff_t last = outputs < step ? 0 : outputs - step;
    l->last = last;
    l->is_cut[0] = low > 0 || high < (outputs < step ? outputs : step);
    l->is_cut[1] = last > 0 && (last < low || high < outputs);
    l->last_whole = l->is_cut[1] ? high - step : last;
    l->end_of_whole = l->last_whole < low ? 0 : l->is_cut[1] ? last : last + step;
    for (int i = 0; i < LANES; i++) l->columns[i] = (COLUMN)(i * stride);
    for (int end = 0; end < 2; end++) {
        if (!l->is_cut[end]) continue;
        const ptrdiff_t start = (end ? last : 0) * stride - p->pad;
        for (ptrdiff_t i = 0; i < step * stride + p->taps; i++)
            l->mask[end][i] = start + i >= 0 && start + i < p->width ? 0 : (FC_DTYPE)-INFINITY;
        for (ptrdiff_t i = 0; i < LANES; i++)
            l->skipped[end][i] = (COLUMN)(start + i * stride < 0 ? -(start + i * stride) : 0);
    }
}

/* All lines, of maxima if `max`, a constant, and with indices or without, else of averages; constants may be rows, taps
 * and stride, too. */
FC_INLINE FC_TARGET void FC_NAME(pool_lines)(const fc_pool_lines *p, const FC_NAME(line_cut) *l, const int max,
                                             const int has_indices, const ptrdiff_t rows, const ptrdiff_t taps,
                                             const ptrdiff_t stride, const FC_DTYPE *plane, const double *divisors,
                                             FC_DTYPE *y, int64_t *indices) {
    const ptrdiff_t step = max ? LANES : DLANES, last = l->last, outputs = p->outputs;
    const VCOLUMN apart = VCOLUMN_LOAD(l->columns);
    FC_DTYPE spare_y[LANES];
    int64_t spare_indices[LANES];
    ptrdiff_t row[FC_POOL_LINE_ROWS];
    for (ptrdiff_t r = 0; r < rows; r++) row[r] = p->row[r] - p->pad;
    const ptrdiff_t end_of_read = row[rows - 1] + (last + step - 1) * stride + taps;
    for (ptrdiff_t line = 0; line < p->lines; line++) {
        const ptrdiff_t place = line * p->row_step, to = line * outputs;
        const int is_short = to + last + step > p->y_after; /* its only vector reaches beyond what may be written */
        FC_DTYPE *const line_y = is_short ? spare_y : y + to;
        int64_t *const line_indices = is_short ? spare_indices : indices + to;
        ptrdiff_t next = 0;
        if (place + row[0] + p->x_before < 0 || place + end_of_read > p->x_after) {
            for (; next < outputs; next++) FC_NAME(pool_one)(p, plane, line, next, divisors, y, indices);
            continue;
        }
        for (int end = 0; end < 2; end++) {
            const ptrdiff_t o = end ? last : 0, column = place + o * stride;
            if (!l->is_cut[end]) continue;
            if (max)
                FC_NAME(max_vector)(rows, taps, stride, row, plane + column, l->mask[end],
                                    VCOLUMN_LOAD(l->skipped[end]),
                                    VCOLUMN_ADD(apart, VCOLUMN_SET1((COLUMN)column)), line_y + o,
                                    has_indices ? line_indices + o : NULL);
            else
                FC_NAME(sum_vector)(rows, taps, stride, row, plane + column, l->mask[end], divisors + o, line_y + o);
        }
        for (next = l->is_cut[0] ? step : 0; next < l->end_of_whole; next += step) {
            if (next > l->last_whole) next = l->last_whole;
            const ptrdiff_t column = place + next * stride;
            if (max)
                FC_NAME(max_vector)(rows, taps, stride, row, plane + column, NULL, VCOLUMN_SET1(0),
                                    VCOLUMN_ADD(apart, VCOLUMN_SET1((COLUMN)column)), line_y + next,
                                    has_indices ? line_indices + next : NULL);
            else
                FC_NAME(sum_vector)(rows, taps, stride, row, plane + column, NULL, divisors + next, line_y + next);
        }
        for (; next < last; next++) FC_NAME(pool_one)(p, plane, line, next, divisors, y, indices);
        if (is_short) {
            memcpy(y + to, spare_y, (size_t)outputs * sizeof *y);
            if (has_indices) memcpy(indices + to, spare_indices, (size_t)outputs * sizeof *indices);
        }
    }
}

/* The windows of most networks, and any other. */
FC_INLINE FC_TARGET void FC_NAME(pool_any_lines)(const fc_pool_lines *p, const void *cut, const int max,
                                                 const int has_indices, const FC_DTYPE *plane,
                                                 const double *divisors, FC_DTYPE *y,
                                                 int64_t *indices) {
    FC_ASSERT(p->lines > 0 && 0 < p->rows && p->rows <= FC_POOL_LINE_ROWS && max == !divisors);
    if (p->rows == 2 && p->taps == 2 && p->stride == 2)
        FC_NAME(pool_lines)(p, cut, max, has_indices, 2, 2, 2, plane, divisors, y, indices);
    else if (p->rows == 3 && p->taps == 3 && p->stride == 2)
        FC_NAME(pool_lines)(p, cut, max, has_indices, 3, 3, 2, plane, divisors, y, indices);
    else if (p->rows == 3 && p->taps == 3 && p->stride == 1)
        FC_NAME(pool_lines)(p, cut, max, has_indices, 3, 3, 1, plane, divisors, y, indices);
    else
        FC_NAME(pool_lines)(p, cut, max, has_indices, p->rows, p->taps, p->stride, plane, divisors, y, indices);
}

static FC_TARGET void FC_NAME(max_lines)(const fc_pool_lines *p, const void *cut, const void *plane, void *y,
                                         int64_t *indices) {
    if (indices) FC_NAME(pool_any_lines)(p, cut, 1, 1, plane, NULL, y, indices);
    else FC_NAME(pool_any_lines)(p, cut, 1, 0, plane, NULL, y, NULL);
}

static FC_TARGET void FC_NAME(sum_lines)(const fc_pool_lines *p, const void *cut, const void *plane,
                                         const double *divisors, void *y) {
    FC_NAME(pool_any_lines)(p, cut, 0, 0, plane, divisors, y, NULL);
}
#endif
