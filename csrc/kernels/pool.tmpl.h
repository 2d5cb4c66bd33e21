/* Kernels of pooling. A window is pooled along its rows first, then across them, so that a row serves
 * all windows that overlap it.
 *
 * Maxima: VTAKES(v, best) says where v is greater, or the first NaN. Rows before columns, each from its
 * start: of equal elements the first in row-major order stays. Sums are kept in double, by vectors of
 * DLANES. Arguments may be read, and results be written, up to two vectors beyond their end, except y,
 * its indices, dy and dx. */
#include <math.h>
#include <string.h>

/* values[i], columns[i]: of the taps tap[t][i]. */
static FC_TARGET void FC_NAME(max_along)(const fc_line_windows *row, void *values_, void *columns_) {
    FC_ASSERT(row->outputs > 0 && row->taps >= 0);
    FC_DTYPE *values = values_;
    COLUMN *columns = columns_;
    const COLUMN *first = row->first_column, *column = row->column;
    const FC_DTYPE *const *tap = (const FC_DTYPE *const *)row->tap;
    const VEC lowest = VSET1((FC_DTYPE)-INFINITY);
    for (ptrdiff_t i = 0; i < row->outputs; i += LANES) {
        VEC best = lowest;
        VCOLUMN at = VCOLUMN_LOAD(first + i), here = VCOLUMN_LOAD(column + i);
        const VCOLUMN step = VCOLUMN_SET1((COLUMN)row->step);
        for (ptrdiff_t t = 0; t < row->taps; t++) {
            const VEC value = VLOAD(tap[t] + i);
            const VMASK takes = VTAKES(value, best);
            best = VSELECT(takes, value, best);
            at = VCOLUMN_SELECT(takes, here, at);
            here = VCOLUMN_ADD(here, step);
        }
        VSTORE(values + i, best);
        VCOLUMN_STORE(columns + i, at);
    }
}

/* Maxima of each channel of one window, and their columns; source: the first of its `taps` positions, `step` elements
 * apart. The source is readable up to a vector beyond its end. */
static FC_TARGET void FC_NAME(max_channels)(ptrdiff_t channels, ptrdiff_t taps, const void *source_,
                                            ptrdiff_t step, ptrdiff_t column, ptrdiff_t column_step,
                                            void *values_, void *columns_) {
    FC_ASSERT(channels > 0 && taps > 0);
    const FC_DTYPE *source = source_;
    FC_DTYPE *values = values_;
    COLUMN *columns = columns_;
    for (ptrdiff_t i = 0; i < channels; i += LANES) {
        VEC best = VLOAD(source + i);
        VCOLUMN at = VCOLUMN_SET1((COLUMN)column);
        for (ptrdiff_t t = 1; t < taps; t++) {
            const VEC value = VLOAD(source + t * step + i);
            const VMASK takes = VTAKES(value, best);
            best = VSELECT(takes, value, best);
            at = VCOLUMN_SELECT(takes, VCOLUMN_SET1((COLUMN)(column + t * column_step)), at);
        }
        VSTORE(values + i, best);
        VCOLUMN_STORE(columns + i, at);
    }
}

FC_INLINE int FC_NAME(takes)(FC_DTYPE value, FC_DTYPE best) { return !(value <= best) && best == best; }

/* The maximum of one window of adjacent taps; returns the position of the maximum among them. */
static FC_TARGET ptrdiff_t FC_NAME(max_run)(ptrdiff_t taps, const void *source_, ptrdiff_t step,
                                            void *value) {
    FC_ASSERT(taps > 0);
    const FC_DTYPE *source = source_;
    FC_DTYPE best = source[0];
    ptrdiff_t at = 0, t = 1;
    if (step == 1 && taps >= 2 * LANES) {
        FC_DTYPE lanes[LANES];
        COLUMN starts[LANES];
        VEC best_of_lane = VLOAD(source);
        VCOLUMN start = VCOLUMN_SET1(0);
        for (t = LANES; t + LANES <= taps; t += LANES) {
            const VEC v = VLOAD(source + t);
            const VMASK takes = VTAKES(v, best_of_lane);
            best_of_lane = VSELECT(takes, v, best_of_lane);
            start = VCOLUMN_SELECT(takes, VCOLUMN_SET1((COLUMN)t), start);
        }
        VSTORE(lanes, best_of_lane);
        VCOLUMN_STORE(starts, start);
        best = lanes[0];
        at = (ptrdiff_t)starts[0];
        for (ptrdiff_t lane = 1; lane < LANES; lane++) {
            const FC_DTYPE v = lanes[lane];
            const ptrdiff_t position = (ptrdiff_t)starts[lane] + lane;
            const int both_nan = v != v && best != best;
            if (FC_NAME(takes)(v, best) || ((v == best || both_nan) && position < at)) {
                best = v;
                at = position;
            }
        }
    }
    for (; t < taps; t++)
        if (FC_NAME(takes)(source[t * step], best)) {
            best = source[t * step];
            at = t;
        }
    *(FC_DTYPE *)value = best;
    return at;
}

/* y[i], indices[i]: of rows[r].values[i]; the index is rows[r].base + rows[r].columns[i]. indices may be NULL. */
static FC_TARGET void FC_NAME(max_across)(ptrdiff_t count, ptrdiff_t rows, const fc_pooled_line *row,
                                        void *y_, int64_t *indices) {
    FC_ASSERT(count > 0 && rows > 0);
    FC_DTYPE *y = y_;
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        VEC best = VLOAD((const FC_DTYPE *)row[0].values + i);
        VCOLUMN at = VCOLUMN_ADD(VCOLUMN_LOAD((const COLUMN *)row[0].columns + i),
                               VCOLUMN_SET1((COLUMN)row[0].base));
        for (ptrdiff_t r = 1; r < rows; r++) {
            const VEC value = VLOAD((const FC_DTYPE *)row[r].values + i);
            const VCOLUMN here = VCOLUMN_ADD(VCOLUMN_LOAD((const COLUMN *)row[r].columns + i),
                                           VCOLUMN_SET1((COLUMN)row[r].base));
            const VMASK takes = VTAKES(value, best);
            best = VSELECT(takes, value, best);
            at = VCOLUMN_SELECT(takes, here, at);
        }
        if (i + LANES <= count) {
            VSTORE(y + i, best);
            if (indices) VCOLUMN_STORE_WIDE(indices + i, at);
        } else {
            FC_DTYPE values[LANES];
            int64_t positions[LANES];
            VSTORE(values, best);
            VCOLUMN_STORE_WIDE(positions, at);
            memcpy(y + i, values, (size_t)(count - i) * sizeof *y);
            if (indices) memcpy(indices + i, positions, (size_t)(count - i) * sizeof *indices);
        }
    }
}

/* Divisors of floats are their reciprocals: the error is 2**-29 of what rounding to float adds. */
FC_INLINE FC_TARGET DVEC FC_NAME(quotient)(DVEC sum, const double *divisors) {
    return sizeof(FC_DTYPE) == 4 ? DMUL(sum, DLOAD(divisors)) : DDIV(sum, DLOAD(divisors));
}

/* Whole windows of adjacent channels, straight to y; channels are a multiple of LANES. indices may be NULL. */
static FC_TARGET void FC_NAME(max_windows)(const fc_pool_windows *windows, void *y_,
                                           int64_t *indices) {
    FC_ASSERT(windows->channels % LANES == 0 && windows->rows > 0);
    const fc_pool_windows w = *windows;
    FC_DTYPE *y = y_;
    for (ptrdiff_t o = 0; o < w.outputs; o++, y += w.channels) {
        const ptrdiff_t first = w.first[o], taps = w.taps[o];
        for (ptrdiff_t i = 0; i < w.channels; i += LANES) {
            VEC best = VLOAD((const FC_DTYPE *)w.row[0] + first * w.channels + i);
            VCOLUMN at = VCOLUMN_SET1((COLUMN)(w.base[0] + first));
            for (ptrdiff_t r = 0; r < w.rows; r++) {
                const FC_DTYPE *source = (const FC_DTYPE *)w.row[r] + first * w.channels + i;
                for (ptrdiff_t t = r == 0; t < taps; t++) {
                    const VEC value = VLOAD(source + t * w.step * w.channels);
                    const VMASK takes = VTAKES(value, best);
                    const COLUMN here = (COLUMN)(w.base[r] + first + t * w.step);
                    best = VSELECT(takes, value, best);
                    at = VCOLUMN_SELECT(takes, VCOLUMN_SET1(here), at);
                }
            }
            VSTORE(y + i, best);
            if (indices) VCOLUMN_STORE_WIDE(indices + o * w.channels + i, at);
        }
    }
}

/* A vector of FC_DTYPE as doubles. */
#define VECTORS (LANES / DLANES)
/* Elements ahead that are fetched: sums of windows take 1.1 times as long without. */
#define AHEAD (2048 / (ptrdiff_t)sizeof(FC_DTYPE))

/* `vectors` vectors of the sum over all rows and taps of a window, times or by the divisor. */
FC_INLINE FC_TARGET void FC_NAME(sum_window)(const fc_pool_windows *windows, const int vectors, const ptrdiff_t rows,
                                             const ptrdiff_t taps, ptrdiff_t from, const double *divisors,
                                             FC_DTYPE *y) {
    const ptrdiff_t step = windows->step * windows->channels;
    DVEC sums[4 * VECTORS];
    FC_PREFETCH_TO_WRITE(y + AHEAD);
    FC_UNROLL for (int v = 0; v < vectors; v++) sums[v] = DSET1(0);
    for (ptrdiff_t r = 0; r < rows; r++) {
        const FC_DTYPE *source = (const FC_DTYPE *)windows->row[r] + from;
        for (ptrdiff_t t = 0; t < taps; t++)
            FC_UNROLL for (int v = 0; v < vectors; v++) {
                if (v % VECTORS == 0) FC_PREFETCH(source + t * step + v * DLANES + AHEAD);
                sums[v] = DADD(sums[v], DWIDEN(source + t * step + v * DLANES));
            }
    }
    FC_UNROLL for (int v = 0; v < vectors; v++) DNARROW(y + v * DLANES, FC_NAME(quotient)(sums[v], divisors));
}

/* Windows that share no position, or few; rows and taps may be constants. */
FC_INLINE FC_TARGET void FC_NAME(sum_apart)(const fc_pool_windows *windows, const ptrdiff_t rows,
                                            const ptrdiff_t taps_of_all, const double *divisors,
                                            FC_DTYPE *y) {
    const fc_pool_windows *w = windows;
    for (ptrdiff_t o = 0; o < w->outputs; o++, y += w->channels, divisors += w->divisor_step) {
        const ptrdiff_t taps = taps_of_all ? taps_of_all : w->taps[o], from = w->first[o] * w->channels;
        ptrdiff_t i = 0;
        /* Several lines of each position at once: of large windows these are far apart. */
        for (; i + 4 * LANES <= w->channels; i += 4 * LANES)
            FC_NAME(sum_window)(w, 4 * VECTORS, rows, taps, from + i, divisors, y + i);
        for (; i < w->channels; i += LANES)
            FC_NAME(sum_window)(w, VECTORS, rows, taps, from + i, divisors, y + i);
    }
}

/* Sums of columns of positions, a place for each of the latest. */
enum { FC_NAME(column_channels) = 256 };
typedef double FC_NAME(columns)[FC_POOL_COLUMNS][FC_NAME(column_channels)];

/* A window whose columns from `fresh` on have not been summed; rows and taps may be constants. */
FC_INLINE FC_TARGET void FC_NAME(sum_columns)(const fc_pool_windows *windows, const ptrdiff_t rows,
                                              const ptrdiff_t taps, ptrdiff_t first, ptrdiff_t fresh,
                                              ptrdiff_t channel, ptrdiff_t channels,
                                              FC_NAME(columns) columns, const double *divisors, FC_DTYPE *y) {
    const fc_pool_windows w = *windows;
    const ptrdiff_t end = first + taps;
    for (ptrdiff_t i = 0; i < channels; i += LANES) {
        DVEC sums[VECTORS];
        FC_PREFETCH_TO_WRITE(y + i + AHEAD);
        if (rows) /* the only one not read before */
            FC_PREFETCH((const FC_DTYPE *)w.row[rows - 1] + fresh * w.channels + channel + i + AHEAD);
        for (ptrdiff_t t = fresh; t < end; t++) {
            FC_UNROLL for (int v = 0; v < VECTORS; v++) sums[v] = DSET1(0);
            FC_UNROLL for (ptrdiff_t r = 0; r < rows; r++) {
                const FC_DTYPE *source = (const FC_DTYPE *)w.row[r] + t * w.channels + channel + i;
                FC_UNROLL for (int v = 0; v < VECTORS; v++)
                    sums[v] = DADD(sums[v], DWIDEN(source + v * DLANES));
            }
            FC_UNROLL for (int v = 0; v < VECTORS; v++)
                DSTORE(columns[t & (FC_POOL_COLUMNS - 1)] + i + v * DLANES, sums[v]);
        }
        FC_UNROLL for (int v = 0; v < VECTORS; v++) sums[v] = DSET1(0);
        FC_UNROLL for (ptrdiff_t t = 0; t < taps; t++)
            FC_UNROLL for (int v = 0; v < VECTORS; v++)
                sums[v] = DADD(sums[v], DLOAD(columns[(first + t) & (FC_POOL_COLUMNS - 1)] + i + v * DLANES));
        FC_UNROLL for (int v = 0; v < VECTORS; v++)
            DNARROW(y + i + v * DLANES, FC_NAME(quotient)(sums[v], divisors));
    }
}

/* Windows that overlap: sums of columns, which the windows that see them share, come first. */
static FC_TARGET void FC_NAME(sum_overlapping)(const fc_pool_windows *windows, const double *divisors,
                                               FC_DTYPE *y) {
    const fc_pool_windows *w = windows;
    FC_NAME(columns) columns;
    for (ptrdiff_t c = 0; c < w->channels; c += FC_NAME(column_channels)) {
        const ptrdiff_t rest = w->channels - c;
        const ptrdiff_t channels = rest < FC_NAME(column_channels) ? rest : FC_NAME(column_channels);
        ptrdiff_t next = 0;
        for (ptrdiff_t o = 0; o < w->outputs; o++) {
            const ptrdiff_t first = w->first[o], taps = w->taps[o], fresh = next < first ? first : next;
            const double *divisor = divisors + o * w->divisor_step;
            FC_DTYPE *target = y + o * w->channels + c;
            if (w->rows == 3 && taps == 3)
                FC_NAME(sum_columns)(w, 3, 3, first, fresh, c, channels, columns, divisor, target);
            else if (w->rows == 5 && taps == 5)
                FC_NAME(sum_columns)(w, 5, 5, first, fresh, c, channels, columns, divisor, target);
            else
                FC_NAME(sum_columns)(w, w->rows, taps, first, fresh, c, channels, columns, divisor, target);
            next = first + taps > next ? first + taps : next;
        }
    }
}

static FC_TARGET void FC_NAME(sum_windows)(const fc_pool_windows *windows, const double *divisors,
                                           void *y) {
    FC_ASSERT(windows->channels % LANES == 0 && windows->rows >= 0);
    const fc_pool_windows *w = windows;
    ptrdiff_t overlap = 0, min_taps = PTRDIFF_MAX, max_taps = 0;
    for (ptrdiff_t o = 0; o < w->outputs; o++) {
        overlap |= o > 0 && w->first[o] < w->first[o - 1] + w->taps[o - 1];
        min_taps = w->taps[o] < min_taps ? w->taps[o] : min_taps;
        max_taps = w->taps[o] > max_taps ? w->taps[o] : max_taps;
    }
    if (overlap && w->step == 1 && max_taps <= FC_POOL_COLUMNS && w->rows * max_taps > 4)
        FC_NAME(sum_overlapping)(w, divisors, y);
    else if (w->rows == 2 && min_taps == 2 && max_taps == 2) FC_NAME(sum_apart)(w, 2, 2, divisors, y);
    else if (w->rows == 1 && min_taps == 1 && max_taps == 1) FC_NAME(sum_apart)(w, 1, 1, divisors, y);
    else FC_NAME(sum_apart)(w, w->rows, 0, divisors, y);
}

#undef VECTORS
#undef AHEAD

/* sums[i] = sum of tap[t][i]. */
static FC_TARGET void FC_NAME(sum_along)(const fc_line_windows *row, double *sums) {
    FC_ASSERT(row->outputs > 0 && row->taps >= 0);
    const FC_DTYPE *const *tap = (const FC_DTYPE *const *)row->tap;
    for (ptrdiff_t i = 0; i < row->outputs; i += 2 * DLANES) {
        DVEC low = DSET1(0), high = DSET1(0);
        for (ptrdiff_t t = 0; t < row->taps; t++) {
            low = DADD(low, DWIDEN(tap[t] + i));
            high = DADD(high, DWIDEN(tap[t] + i + DLANES));
        }
        DSTORE(sums + i, low);
        DSTORE(sums + i + DLANES, high);
    }
}

static FC_TARGET void FC_NAME(sum_channels)(ptrdiff_t channels, ptrdiff_t taps, const void *source_,
                                            ptrdiff_t step, double *sums) {
    FC_ASSERT(channels > 0 && taps >= 0);
    const FC_DTYPE *source = source_;
    for (ptrdiff_t i = 0; i < channels; i += DLANES) {
        DVEC sum = DSET1(0);
        for (ptrdiff_t t = 0; t < taps; t++) sum = DADD(sum, DWIDEN(source + t * step + i));
        DSTORE(sums + i, sum);
    }
}

static FC_TARGET double FC_NAME(sum_run)(ptrdiff_t taps, const void *source_) {
    FC_ASSERT(taps >= 0);
    const FC_DTYPE *source = source_;
    double lanes[DLANES], total = 0;
    DVEC sums[4] = {DSET1(0), DSET1(0), DSET1(0), DSET1(0)};
    ptrdiff_t t = 0;
    for (; t + 4 * DLANES <= taps; t += 4 * DLANES)
        FC_UNROLL for (int j = 0; j < 4; j++)
            sums[j] = DADD(sums[j], DWIDEN(source + t + j * DLANES));
    for (; t + DLANES <= taps; t += DLANES) sums[0] = DADD(sums[0], DWIDEN(source + t));
    for (; t < taps; t++) total += source[t];
    DSTORE(lanes, DADD(DADD(sums[0], sums[1]), DADD(sums[2], sums[3])));
    for (int width = DLANES / 2; width; width /= 2)
        for (int j = 0; j < width; j++) lanes[j] += lanes[j + width];
    return total + lanes[0];
}

/* y[i] = sum of rows[r][i] / divisors[i]. */
static FC_TARGET void FC_NAME(sum_across)(ptrdiff_t count, ptrdiff_t rows, const double *const *row,
                                        const double *divisors, void *y_) {
    FC_ASSERT(count > 0 && rows > 0);
    FC_DTYPE *y = y_;
    for (ptrdiff_t i = 0; i < count; i += DLANES) {
        DVEC sum = DLOAD(row[0] + i);
        for (ptrdiff_t r = 1; r < rows; r++) sum = DADD(sum, DLOAD(row[r] + i));
        sum = FC_NAME(quotient)(sum, divisors + i);
        if (i + DLANES <= count) {
            DNARROW(y + i, sum);
        } else {
            double lanes[DLANES];
            DSTORE(lanes, sum);
            for (ptrdiff_t j = i; j < count; j++) y[j] = (FC_DTYPE)lanes[j - i];
        }
    }
}

/* quotients[i] = dy[i] / divisors[i]. */
static FC_TARGET void FC_NAME(divide)(ptrdiff_t count, const void *dy_, const double *divisors,
                                      double *quotients) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *dy = dy_;
    ptrdiff_t i = 0;
    for (; i + DLANES <= count; i += DLANES)
        DSTORE(quotients + i, FC_NAME(quotient)(DWIDEN(dy + i), divisors + i));
    for (; i < count; i++)
        quotients[i] = sizeof(FC_DTYPE) == 4 ? dy[i] * divisors[i] : dy[i] / divisors[i];
}

/* totals[i] = sum of rows[r][i], rows >= 0. */
static FC_TARGET void FC_NAME(total_across)(ptrdiff_t count, ptrdiff_t rows, const double *const *row,
                                          double *totals) {
    FC_ASSERT(count >= 0 && rows >= 0);
    for (ptrdiff_t i = 0; i < count; i += DLANES) {
        DVEC sum = DSET1(0);
        for (ptrdiff_t r = 0; r < rows; r++) sum = DADD(sum, DLOAD(row[r] + i));
        DSTORE(totals + i, sum);
    }
}

/* dx[i] = sum over t < taps of totals[t * step + i], i < count. */
static FC_TARGET void FC_NAME(spread)(ptrdiff_t count, ptrdiff_t taps, const double *totals,
                                      ptrdiff_t step, void *dx_) {
    FC_ASSERT(count >= 0 && taps >= 0);
    FC_DTYPE *dx = dx_;
    for (ptrdiff_t i = 0; i < count; i += DLANES) {
        DVEC sum = DSET1(0);
        for (ptrdiff_t t = 0; t < taps; t++) sum = DADD(sum, DLOAD(totals + t * step + i));
        if (i + DLANES <= count) {
            DNARROW(dx + i, sum);
        } else {
            double lanes[DLANES];
            DSTORE(lanes, sum);
            for (ptrdiff_t j = i; j < count; j++) dx[j] = (FC_DTYPE)lanes[j - i];
        }
    }
}

/* target[i] = source[(i % residues) * pitch + i / residues]. */
static FC_TARGET void FC_NAME(interleave)(ptrdiff_t count, ptrdiff_t residues, const void *source_,
                                          ptrdiff_t pitch, void *target_) {
    FC_ASSERT(count >= 0 && residues > 0);
    const FC_DTYPE *FC_RESTRICT source = source_;
    FC_DTYPE *FC_RESTRICT target = target_;
    if (residues == 2) {
        const FC_DTYPE *FC_RESTRICT odd = source + pitch;
        ptrdiff_t i = 0;
#ifdef VZIP_LOW
        for (; i + LANES <= count / 2; i += LANES) {
            const VEC a = VLOAD(source + i), b = VLOAD(odd + i);
            VSTORE(target + 2 * i, VZIP_LOW(a, b));
            VSTORE(target + 2 * i + LANES, VZIP_HIGH(a, b));
        }
#ifdef VLOAD_FIRST
        const ptrdiff_t rest = count / 2 - i;
        if (rest) {
            const VEC a = VLOAD_FIRST(source + i, rest), b = VLOAD_FIRST(odd + i, rest);
            const ptrdiff_t first = 2 * rest < LANES ? 2 * rest : LANES;
            VSTORE_FIRST(target + 2 * i, first, VZIP_LOW(a, b));
            VSTORE_FIRST(target + 2 * i + LANES, 2 * rest - first, VZIP_HIGH(a, b));
            i += rest;
        }
#endif
#endif
        for (; i < count / 2; i++) {
            target[2 * i] = source[i];
            target[2 * i + 1] = odd[i];
        }
        if (count % 2) target[count - 1] = source[count / 2];
        return;
    }
    for (ptrdiff_t f = 0; f < residues; f++)
        for (ptrdiff_t i = f, j = f * pitch; i < count; i += residues, j++) target[i] = source[j];
}

/* Returns whether all indices are in the plane; up to the first that is not, it is done. */
static FC_TARGET int FC_NAME(scatter)(const fc_scattered *shape, const void *source_,
                                      const int64_t *indices, void *target_) {
    FC_ASSERT(shape->count >= 0 && shape->channels > 0 && shape->stride >= shape->channels && shape->plane > 0);
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    const fc_scattered s = *shape;
    if (s.stride == 1 && s.add) {
        for (ptrdiff_t i = 0; i < s.count; i++) {
            if ((uint64_t)indices[i] >= (uint64_t)s.plane) return 0;
            target[indices[i]] += source[i];
        }
        return 1;
    }
    for (ptrdiff_t i = 0; i < s.count; i++, source += s.stride, indices += s.stride)
        for (ptrdiff_t c = 0; c < s.channels; c++) {
            if ((uint64_t)indices[c] >= (uint64_t)s.plane) return 0;
            FC_DTYPE *to = target + indices[c] * s.stride + c;
            *to = s.add ? *to + source[c] : source[c];
        }
    return 1;
}

#define FC_WIDEN(type) \
    for (ptrdiff_t i = 0; i < count; i++) target[i] = (FC_DTYPE)((const type *)source)[i]

/* Elements of a type that FC_DTYPE holds exactly. */
static FC_TARGET void FC_NAME(widen)(fc_element element, ptrdiff_t count, const void *source,
                                     void *target_) {
    FC_DTYPE *FC_RESTRICT target = target_;
    switch (element) {
    case FC_UINT8: FC_WIDEN(uint8_t); break;
    case FC_INT8: FC_WIDEN(int8_t); break;
    case FC_UINT16: FC_WIDEN(uint16_t); break;
    case FC_INT16: FC_WIDEN(int16_t); break;
    case FC_UINT32: FC_WIDEN(uint32_t); break;
    case FC_INT32: FC_WIDEN(int32_t); break;
    case FC_ELEMENT_FLOAT32: FC_WIDEN(float); break;
    case FC_ELEMENT_FLOAT64: FC_WIDEN(double); break;
    }
}

#undef FC_WIDEN
#define FC_NARROW(type) \
    for (ptrdiff_t i = 0; i < count; i++) ((type *)target)[i] = (type)source[i]

static FC_TARGET void FC_NAME(narrow)(fc_element element, ptrdiff_t count, const void *source_,
                                      void *target) {
    const FC_DTYPE *FC_RESTRICT source = source_;
    switch (element) {
    case FC_UINT8: FC_NARROW(uint8_t); break;
    case FC_INT8: FC_NARROW(int8_t); break;
    case FC_UINT16: FC_NARROW(uint16_t); break;
    case FC_INT16: FC_NARROW(int16_t); break;
    case FC_UINT32: FC_NARROW(uint32_t); break;
    case FC_INT32: FC_NARROW(int32_t); break;
    case FC_ELEMENT_FLOAT32: FC_NARROW(float); break;
    case FC_ELEMENT_FLOAT64: FC_NARROW(double); break;
    }
}

#undef FC_NARROW
