/* Convolution of few channels over planes where they lie, pixels of a row in the vector: a lane outside its row is
 * masked, a row outside its plane is one of zeros. Where the instruction set masks loads. */
#ifdef VLOAD_LANES

/* Rows start + i * step of a plane, i < count: a loop that gcc cannot unroll, which it would do at length. */
static FC_TARGET void FC_NAME(list_lines)(const fc_direct_lines *d, const void *plane, ptrdiff_t start, ptrdiff_t step,
                                         ptrdiff_t count, const FC_DTYPE **table) {
    const FC_DTYPE *zeros = d->zeros, *row = plane ? (const FC_DTYPE *)plane + start * d->pitch : zeros;
    const ptrdiff_t pitch = step * d->pitch, last = start + (count - 1) * step;
    FC_KEEP_POINTER(count);
    if (!plane) {
        for (ptrdiff_t i = 0; i < count; i++) table[i] = zeros;
        return;
    }
    if (start >= 0 && last < d->lines) {
        for (ptrdiff_t i = 0; i < count; i++, row += pitch) table[i] = row;
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++, start += step, row += pitch)
        table[i] = start >= 0 && start < d->lines ? row : zeros;
}

/* Fetches `count` lines of so many elements, a pitch apart. */
static FC_TARGET void FC_NAME(fetch_ahead)(ptrdiff_t count, const FC_DTYPE *line, ptrdiff_t pitch, ptrdiff_t columns) {
    for (; count > 0; count--, line += pitch)
        for (ptrdiff_t i = 0; i < columns; i += FC_CACHE_LINE / (int)sizeof *line) FC_PREFETCH_TO_L2(line + i);
}

/* What the functions below are told of a tile, constants where they are inlined. As one struct they cost 5 % of mbv2_dw
 * and effnet_dw5 (gcc 12, AVX-512: a pointer of the loop in a vector register).
 *   block        lines of outputs
 *   vectors      across each
 *   channels     output channels, which share the loads of x: 1 or 2
 *   residues     1, or 2, whose outputs stand in a line in turn
 *   taps         of an axis of adjacent lines, or 0: any number, whose lines stand in the table one by one
 *   stride       lines of x between those of two outputs, where taps is not 0
 *   every_other  columns of x are two apart
 *   both         two taps of these are summed, whose elements stand in a line in turn
 *   masked       vectors may reach beyond a line */

/* acc[channel][output][vector] += what one tap of the columns gives, and with `both` the next one, for all taps of
 * the lines. w: of the tap, taps of the lines w_row apart. `table`: the lines of a block, each for all that use it. */
FC_INLINE FC_TARGET void FC_NAME(lines_taps_of)(const int block, const int vectors, const int channels, const int taps,
                                               const int stride, const int every_other, const int both,
                                               const int masked, const fc_direct_lines *d,
                                               const FC_DTYPE *const *table, ptrdiff_t column, const FC_DTYPE *w,
                                               VEC acc[2][FC_DIRECT_BLOCK][4]) {
    VSUBSET inside[2 * 4];
    VEC weight[2][2][8];
    const int halves = every_other ? 2 : 1;
    const ptrdiff_t w_row = d->w_row, w_channel = d->w_channel;
    FC_UNROLL for (int v = 0; v < halves * vectors; v++)
        if (masked) inside[v] = VNOT_ALL(VLANES(column + v * LANES, d->columns));
    FC_UNROLL for (int k = 0; k < channels; k++)
        FC_UNROLL for (int r = 0; r < taps; r++) {
            weight[0][k][r] = VSET1(w[k * w_channel + r * w_row]);
            if (both) weight[1][k][r] = VSET1(w[k * w_channel + r * w_row + d->w_column]);
        }
    FC_KEEP_POINTER(table); /* gcc would keep its pointers in vector registers */
    FC_UNROLL for (int i = 0; i < (block - 1) * stride + taps; i++) {
        const FC_DTYPE *line = table[i] + column;
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            VEC value[2];
            value[0] = masked ? VLOAD_LANES(line + halves * v * LANES, inside[halves * v])
                              : VLOAD(line + halves * v * LANES);
            if (every_other) {
                const VEC low = value[0], high = masked ? VLOAD_LANES(line + (2 * v + 1) * LANES, inside[2 * v + 1])
                                                        : VLOAD(line + (2 * v + 1) * LANES);
                value[0] = VEVEN(low, high);
                if (both) value[1] = VODD(low, high);
            }
            FC_KEEP(value[0]);
            FC_UNROLL for (int h = 0; h <= both; h++)
                FC_UNROLL for (int k = 0; k < channels; k++)
                    FC_UNROLL for (int m = 0; m < block; m++)
                        if (i - m * stride >= 0 && i - m * stride < taps)
                            acc[k][m][v] = VFMA(weight[h][k][i - m * stride], value[h], acc[k][m][v]);
        }
    }
}

/* lines_taps_of, masked where it must be. */
FC_INLINE FC_TARGET void FC_NAME(lines_taps)(const int block, const int vectors, const int channels, const int taps,
                                            const int stride, const int every_other, const int both,
                                            const fc_direct_lines *d, const FC_DTYPE *const *table, ptrdiff_t column,
                                            const FC_DTYPE *w, VEC acc[2][FC_DIRECT_BLOCK][4]) {
    const ptrdiff_t read = (ptrdiff_t)(every_other ? 2 : 1) * vectors * LANES;
    if (VMASKED_IS_SLOW && column >= 0 && column + read <= d->columns)
        FC_NAME(lines_taps_of)(block, vectors, channels, taps, stride, every_other, both, 0, d, table, column, w, acc);
    else
        FC_NAME(lines_taps_of)(block, vectors, channels, taps, stride, every_other, both, 1, d, table, column, w, acc);
}

/* Sums of a block to y, all of them, or those of `left` outputs, `width` elements of each. */
FC_INLINE FC_TARGET void FC_NAME(store_lines_of)(const int block, const int vectors, const int channels,
                                                 const int residues, const int all, const fc_direct_lines *d,
                                                 ptrdiff_t left, ptrdiff_t width, VEC acc[2][2][FC_DIRECT_BLOCK][4],
                                                 FC_DTYPE *y) {
    VSUBSET inside[2 * 4];
    const ptrdiff_t y_step = d->y_step;
    FC_UNROLL for (int v = 0; v < residues * vectors; v++)
        if (!all) inside[v] = VLANES(v * LANES, width);
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_DTYPE *target = y + k * d->y_channel;
        FC_UNROLL for (int m = 0; m < block; m++, target += y_step) {
            if (!all && m >= left) break;
            FC_UNROLL for (int v = 0; v < vectors; v++) {
                const VEC a = acc[0][k][m][v], b = residues > 1 ? acc[1][k][m][v] : a;
                const VEC first = residues > 1 ? VZIP_LOW(a, b) : a;
                FC_DTYPE *to = target + residues * v * LANES;
                if (all) VSTORE(to, first);
                else VSTORE_LANES(to, inside[residues * v], first);
                if (residues == 1) continue;
                if (all) VSTORE(to + LANES, VZIP_HIGH(a, b));
                else VSTORE_LANES(to + LANES, inside[residues * v + 1], VZIP_HIGH(a, b));
            }
        }
    }
}

/* store_lines_of, after relu, of all where they are all wanted and masks are slow. */
FC_INLINE FC_TARGET void FC_NAME(store_lines)(const int block, const int vectors, const int channels,
                                              const int residues, const fc_direct_lines *d, ptrdiff_t left,
                                              ptrdiff_t width, VEC acc[2][2][FC_DIRECT_BLOCK][4], FC_DTYPE *y) {
    if (d->relu)
        FC_UNROLL for (int f = 0; f < residues; f++)
            FC_UNROLL for (int k = 0; k < channels; k++)
                FC_UNROLL for (int m = 0; m < block; m++)
                    FC_UNROLL for (int v = 0; v < vectors; v++) acc[f][k][m][v] = VMAX(VZERO(), acc[f][k][m][v]);
    if (VMASKED_IS_SLOW && left >= block && width >= residues * vectors * LANES)
        FC_NAME(store_lines_of)(block, vectors, channels, residues, 1, d, left, width, acc, y);
    else FC_NAME(store_lines_of)(block, vectors, channels, residues, 0, d, left, width, acc, y);
}

/* Sums of `left` outputs of a block from column q on. */
FC_INLINE FC_TARGET void FC_NAME(lines_tile)(const int block, const int vectors, const int channels, const int residues,
                                            const int taps, const int stride, const int every_other,
                                            const fc_direct_lines *d, const FC_DTYPE *const *table, ptrdiff_t left,
                                            ptrdiff_t q, const FC_DTYPE *w, const FC_DTYPE *bias, FC_DTYPE *y) {
    VEC acc[2][2][FC_DIRECT_BLOCK][4];
    const ptrdiff_t y_step = d->y_step, ahead = block * y_step;
    const ptrdiff_t repeats = taps ? 1 : d->taps, step = d->tap_step;
    FC_UNROLL for (int f = 0; f < residues; f++)
        FC_UNROLL for (int k = 0; k < channels; k++)
            FC_UNROLL for (int m = 0; m < block; m++)
                FC_UNROLL for (int v = 0; v < vectors; v++) acc[f][k][m][v] = bias ? VSET1(bias[k]) : VZERO();
    FC_UNROLL for (int m = 0; m < block; m++)
        FC_UNROLL for (int v = 0; v < residues * vectors; v++)
            FC_PREFETCH_TO_WRITE(y + m * y_step + ahead + v * LANES);
    if (taps && d->fetch)
        FC_UNROLL for (int m = 0; m < block; m++)
            FC_UNROLL for (int e = 0; e < stride * vectors * LANES; e += FC_CACHE_LINE / (int)sizeof *w)
                FC_PREFETCH_TO_L2(table[m] + (block + taps - 1) * stride * d->pitch + q * stride + e);
    /* The taps of the columns are unrolled for one plane with AVX2: 1.1 of the speed of loops. (With AVX-512 1.02 in a
     * cache, and 0.95 of planes of 56x56 in memory.) */
    const int square = VMASKED_IS_SLOW && channels == 1 && residues == 1 && (taps == 3 || (taps == 5 && !every_other));
    if (square && d->planes == 1 && d->residue[0].taps == taps && step == 1) {
        const FC_DTYPE *weights = w + d->w_plane[0] + d->residue[0].w;
        const ptrdiff_t column = q * (every_other ? 2 : 1) + d->residue[0].origin;
        FC_UNROLL for (int t = 0; t < taps; t += every_other ? 2 : 1)
            FC_NAME(lines_taps)(block, vectors, channels, taps ? taps : 1, taps ? stride : 1, every_other,
                                every_other && t + 1 < taps, d, table, column + t, weights + t * d->w_column, acc[0]);
        FC_NAME(store_lines)(block, vectors, channels, residues, d, left, d->width - residues * q, acc, y);
        return;
    }
    /* One or two taps of the residues of a stride are unrolled as well: AVX2's dx took 0.85 of the time. */
    const int few = channels == 1 && residues == 2 && (taps == 1 || taps == 2);
    if (few && d->planes == 1 && d->residue[0].taps + d->residue[1].taps == 3 && d->residue[0].taps % 3) {
        FC_UNROLL for (int f = 0; f < residues; f++) {
            const FC_DTYPE *weights = w + d->w_plane[0] + d->residue[f].w;
            const ptrdiff_t column = q + d->residue[f].origin;
            FC_NAME(lines_taps)(block, vectors, channels, taps ? taps : 1, 1, 0, 0, d, table, column, weights, acc[f]);
            if (d->residue[f].taps == 2)
                FC_NAME(lines_taps)(block, vectors, channels, taps ? taps : 1, 1, 0, 0, d, table, column + step,
                                    weights + d->w_column, acc[f]);
        }
        FC_NAME(store_lines)(block, vectors, channels, residues, d, left, d->width - residues * q, acc, y);
        return;
    }
    FC_UNROLL for (int f = 0; f < residues; f++) {
        const FC_DTYPE *const *lines = table;
        const ptrdiff_t columns = d->residue[f].taps;
        for (ptrdiff_t c = 0; c < d->planes; c++) {
            for (int m = 0; channels > 1 && taps && d->to_next && m < block; m++)
                for (int v = 0; v < vectors; v++)
                    FC_PREFETCH_TO_L2(lines[m + taps / 2] + d->to_next + q + v * LANES);
            for (ptrdiff_t r = 0; r < repeats; r++, lines += taps ? (block - 1) * stride + taps : block) {
                const FC_DTYPE *weights = w + d->w_plane[c] + d->residue[f].w + r * d->w_row;
                ptrdiff_t column = q * (every_other ? 2 : 1) + d->residue[f].origin, t = 0;
                if (every_other && step == 1)
                    for (; t + 1 < columns; t += 2, column += 2, weights += 2 * d->w_column)
                        FC_NAME(lines_taps)(block, vectors, channels, taps ? taps : 1, taps ? stride : 1, every_other,
                                           every_other, d, lines, column, weights, acc[f]);
                for (; t < columns; t++, column += step, weights += d->w_column)
                    FC_NAME(lines_taps)(block, vectors, channels, taps ? taps : 1, taps ? stride : 1, every_other, 0, d,
                                        lines, column, weights, acc[f]);
            }
        }
    }
    FC_NAME(store_lines)(block, vectors, channels, residues, d, left, d->width - residues * q, acc, y);
}

/* All outputs, by tiles of block x vectors. */
FC_INLINE FC_TARGET void FC_NAME(lines_all)(const int block, const int vectors, const int channels, const int residues,
                                           const int taps, const int stride, const int every_other,
                                           const fc_direct_lines *d, const void *const *x, const FC_DTYPE *w,
                                           const FC_DTYPE *bias, FC_DTYPE *y) {
    FC_ASSERT(d->outputs > 0 && d->width > 0 && d->planes >= 0 && d->taps > 0 && d->zeros);
    FC_ASSERT(d->residues == residues && (residues == 1 || (d->stride == 1 && d->column_stride == 1)));
    FC_ASSERT(d->column_stride == (every_other ? 2 : 1) && (!taps || (d->taps == taps && d->stride == stride)));
    const FC_DTYPE **table = (const FC_DTYPE **)d->table;
    const ptrdiff_t width = (d->width + residues - 1) / residues;
    for (ptrdiff_t m = 0; m < d->outputs; m += block, y += block * d->y_step) {
        const FC_DTYPE **entry = table;
        for (ptrdiff_t c = 0; c < d->planes; c++) {
            const ptrdiff_t start = m * d->stride + d->origin, count = (block - 1) * stride + taps;
            if (taps) {
                FC_NAME(list_lines)(d, x[c], start, 1, count, entry);
                entry += count;
            }
            for (ptrdiff_t r = 0; !taps && r < d->taps; r++, entry += block)
                FC_NAME(list_lines)(d, x[c], start + r * d->line_step, d->stride, block, entry);
        }
        ptrdiff_t q = 0;
        if (vectors > 1)
            for (; q + LANES < width; q += vectors * LANES)
                FC_NAME(lines_tile)(block, vectors, channels, residues, taps, stride, every_other, d, table,
                                    d->outputs - m, q, w, bias, y + residues * q);
        for (; q < width; q += LANES) {
            /* In tiles of 8 lines, of slow masks, the last vector is whole: it sums some outputs again, to the bit. */
            if (VMASKED_IS_SLOW && block == FC_DIRECT_BLOCK && q && q + LANES > width) q = width - LANES;
            FC_NAME(lines_tile)(block, 1, channels, residues, taps, stride, every_other, d, table, d->outputs - m, q, w,
                                bias, y + residues * q);
        }
    }
}

#define FC_LINES_CASE(block, vectors, channels, residues, taps, stride, every_other)                                   \
    FC_NAME(lines_all)(block, vectors, channels, residues, taps, stride, every_other, d, x, w, bias, y); return

#define FC_LINES_TALL fc_lines_are_tall(d, LANES, FC_REGISTERS < 32)

/* Tiles of 8 x 1 vectors where lines are tall, of 4 x 2 else, of 4 x 1 of two residues. */
static FC_TARGET void FC_NAME(direct_lines)(const fc_direct_lines *d, const void *const *x, const void *w_,
                                           const void *bias_, void *y_) {
    const FC_DTYPE *w = w_, *bias = bias_;
    FC_DTYPE *y = y_;
    if (d->column_stride == 1 && d->stride == 1 && d->line_step == 1) {
        switch (d->taps) {
            case 1:
                if (d->residues > 1) { FC_LINES_CASE(4, 1, 1, 2, 1, 1, 0); }
                break;
            case 2:
                if (d->residues > 1) { FC_LINES_CASE(4, 1, 1, 2, 2, 1, 0); }
                if (FC_LINES_TALL) { FC_LINES_CASE(8, 1, 1, 1, 2, 1, 0); }
                FC_LINES_CASE(4, 2, 1, 1, 2, 1, 0);
            case 3:
                if (d->residues > 1) { FC_LINES_CASE(4, 1, 1, 2, 3, 1, 0); }
                if (FC_LINES_TALL) { FC_LINES_CASE(8, 1, 1, 1, 3, 1, 0); }
                FC_LINES_CASE(4, 2, 1, 1, 3, 1, 0);
            case 5:
                if (d->residues > 1) break;
                if (FC_LINES_TALL) { FC_LINES_CASE(8, 1, 1, 1, 5, 1, 0); }
#if FC_REGISTERS >= 32 /* elsewhere the weights spill */
                FC_LINES_CASE(4, 2, 1, 1, 5, 1, 0);
            case 7:
                if (d->residues > 1) break;
                if (FC_LINES_TALL) { FC_LINES_CASE(8, 1, 1, 1, 7, 1, 0); }
                FC_LINES_CASE(4, 2, 1, 1, 7, 1, 0);
#endif
        }
    } else if (d->column_stride == 2 && d->stride == 2 && d->line_step == 1) {
        switch (d->taps) {
            case 3: FC_LINES_CASE(4, 2, 1, 1, 3, 2, 1);
            case 5: FC_LINES_CASE(4, 2, 1, 1, 5, 2, 1);
        }
    }
    if (d->residues > 1) { FC_LINES_CASE(4, 1, 1, 2, 0, 1, 0); }
    if (d->column_stride == 2 && d->outputs == 1) { FC_LINES_CASE(1, 4, 1, 1, 0, 1, 1); }
    if (d->column_stride == 2) { FC_LINES_CASE(4, 1, 1, 1, 0, 1, 1); }
    if (d->outputs == 1) { FC_LINES_CASE(1, 4, 1, 1, 0, 1, 0); }
    FC_LINES_CASE(4, 2, 1, 1, 0, 1, 0);
}

/* direct_lines of two channels, whose loads are shared: stride 1, one residue. */
static FC_TARGET void FC_NAME(direct_lines_pair)(const fc_direct_lines *d, const void *const *x, const void *w_,
                                                const void *bias_, void *y_) {
    const FC_DTYPE *w = w_, *bias = bias_;
    FC_DTYPE *y = y_;
#if FC_REGISTERS >= 32
    if (d->stride == 1 && d->line_step == 1 && d->taps == 3) {
        if (d->width <= LANES) { FC_LINES_CASE(8, 1, 2, 1, 3, 1, 0); }
        FC_LINES_CASE(4, 2, 2, 1, 3, 1, 0);
    }
    FC_LINES_CASE(4, 2, 2, 1, 0, 1, 0);
#else /* two channels' sums would spill */
    for (int k = 0; k < 2; k++)
        FC_NAME(direct_lines)(d, x, w + k * d->w_channel, bias ? bias + k : NULL, y + k * d->y_channel);
#endif
}

#undef FC_LINES_TALL
#undef FC_LINES_CASE
#endif
