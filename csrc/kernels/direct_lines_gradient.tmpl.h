/* The adjoint of direct_lines.tmpl.h in the weights: sums over the outputs of a plane, lane by lane. Where dy
 * ends within a vector or a block its lanes are zeros, which meet what x has there. */
#ifdef VLOAD_LANES

/* The vectors that taps t < group of a row of x read, if they are adjacent, from the two or three that hold them. */
FC_INLINE FC_TARGET void FC_NAME(lines_neighbours)(const int group, const int every_other, const int masked,
                                                  const FC_DTYPE *row, const VSUBSET *inside, VEC *value) {
    VEC own[2], next[2];
    own[0] = masked ? VLOAD_LANES(row, inside[0]) : VLOAD(row);
    if (every_other) {
        const VEC low = own[0], high = masked ? VLOAD_LANES(row + LANES, inside[1]) : VLOAD(row + LANES);
        own[0] = VEVEN(low, high);
        if (group > 1) own[1] = VODD(low, high);
        if (group > 2) /* its first lane counts */
            next[0] = masked ? VLOAD_LANES(row + 2 * LANES, inside[2]) : VLOAD(row + 2 * LANES);
    } else if (group > 1) {
        next[0] = masked ? VLOAD_LANES(row + LANES, inside[1]) : VLOAD(row + LANES);
    }
    value[0] = own[0];
    if (group > 1) value[1] = every_other ? own[1] : VNEXT(own[0], next[0], 1);
    if (group > 2) value[2] = every_other ? VNEXT(own[0], next[0], 1) : VNEXT(own[0], next[0], 2);
}

/* What a tile is: constants where these functions are inlined. The instances stand below. */
typedef struct {
    int block;       /* lines of outputs */
    int group;       /* adjacent taps of the columns that share the loads of x: 1 to 3 */
    int channels;    /* of dy, which share them too: 1 or 2 */
    int taps;        /* of the lines */
    int columns;     /* adjacent taps of the columns, or 0: any number, at any distance */
    int stride;      /* lines of x between those of two outputs */
    int every_other; /* columns of x are two apart */
    int single;      /* one tap of the lines, whatever their distances: taps and stride are 1 */
} fc_lines_gradient_tile;

/* Adds to acc[channel][tap of the columns][tap of the lines], and to total[channel] the sum of dy, what the vector of
 * outputs from q on gives in a block: `left` lines of dy are left, of `width` elements. x's lines stand in d's table.
 * (q and y_step are arguments of their own: with dy moved on by q, planes of 112x112 took 1.11 of the time.) With
 * `listed` dy's lines are those of `line`, zeros where none is left: 0.87 to 0.98 of the time with AVX-512, else gcc
 * branches at every vector; with AVX2, or two channels' lines, its pointers would spill: up to 1.15. */
FC_INLINE FC_TARGET void FC_NAME(lines_gradient_step)(const fc_lines_gradient_tile tile, const int masked,
                                                      const int listed, const fc_direct_lines *d, ptrdiff_t column,
                                                      const FC_DTYPE *dy, const FC_DTYPE *const line[4],
                                                      ptrdiff_t y_step, ptrdiff_t q, ptrdiff_t left, ptrdiff_t width,
                                                      VEC acc[2][3][8], VEC total[2]) {
    const int block = tile.block, group = tile.group, channels = tile.channels, taps = tile.taps;
    const int stride = tile.stride, every_other = tile.every_other;
    const FC_DTYPE *const *table = (const FC_DTYPE *const *)d->table;
    VSUBSET inside[3];
    VEC gradient[2][4];
    if (masked)
        for (int v = 0; v < (every_other ? 3 : 2); v++) inside[v] = VLANES(column + v * LANES, d->columns);
    const VSUBSET outputs = VLANES(0, width - q), none = VLANES(0, 0);
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_UNROLL for (int m = 0; m < block; m++) {
            const FC_DTYPE *own = listed ? line[m] + q : dy + k * d->y_channel + m * y_step + q;
            gradient[k][m] = masked ? VLOAD_LANES(own, listed || m < left ? outputs : none) : VLOAD(own);
        }
        VEC sum = gradient[k][0];
        if (block > 1) sum = VADD(sum, gradient[k][1]);
        if (block > 2) sum = VADD(sum, VADD(gradient[k][2], gradient[k][3]));
        total[k] = VADD(total[k], sum);
    }
    FC_KEEP_POINTER(table);
    FC_UNROLL for (int i = 0; i < (block - 1) * stride + taps; i++) {
        VEC value[3];
        FC_NAME(lines_neighbours)(group, every_other, masked, table[i] + column, inside, value);
        FC_UNROLL for (int t = 0; t < group; t++) {
            FC_KEEP(value[t]);
            FC_UNROLL for (int k = 0; k < channels; k++)
                FC_UNROLL for (int m = 0; m < block; m++)
                    if (i - m * stride >= 0 && i - m * stride < taps)
                        acc[k][t][i - m * stride] = VFMA(gradient[k][m], value[t], acc[k][t][i - m * stride]);
        }
    }
}

/* Adds to sums[channel][tap t of the columns < group][tap r] those of all outputs, of taps of the lines from `start`
 * on. */
FC_INLINE FC_TARGET void FC_NAME(lines_gradient_tile)(const fc_lines_gradient_tile tile, const fc_direct_lines *d,
                                                      const void *x, ptrdiff_t start, ptrdiff_t origin,
                                                      const FC_DTYPE *dy, FC_DTYPE *sums, ptrdiff_t sums_step,
                                                      FC_DTYPE *bias) {
    const int block = tile.block, group = tile.group, channels = tile.channels, taps = tile.taps;
    const int stride = tile.stride, every_other = tile.every_other, single = tile.single;
    VEC acc[2][3][8], total[2];
    const int vectors = every_other ? 3 : 2; /* that taps read of a row */
    const FC_DTYPE **table = (const FC_DTYPE **)d->table;
    const ptrdiff_t y_step = d->y_step, width = d->width, row_sums = single ? d->taps : taps;
    /* So many rows at a time, in whole blocks. */
    const ptrdiff_t chain = FC_GRADIENT_CHAIN / ((width + LANES - 1) / LANES), rows = chain < block ? block : chain;
    for (ptrdiff_t left = d->outputs, until; left > 0;) {
        until = left - rows / block * block;
        FC_UNROLL for (int k = 0; k < channels; k++) {
            total[k] = VZERO();
            FC_UNROLL for (int t = 0; t < group; t++)
                FC_UNROLL for (int r = 0; r < taps; r++) acc[k][t][r] = VZERO();
        }
        for (; left > 0 && left > until; left -= block, dy += block * y_step) {
            FC_NAME(list_lines)(d, x, start + (d->outputs - left) * d->stride, single ? d->stride : 1,
                               (block - 1) * stride + taps, table);
            if (d->fetch) {
                for (int k = 0; k < channels; k++)
                    FC_NAME(fetch_ahead)(block, dy + k * d->y_channel + 2 * block * y_step, y_step, width);
                FC_NAME(fetch_ahead)(block * stride, table[taps / 2] + 2 * block * stride * d->pitch, d->pitch,
                                     d->columns);
            }
            const int listed = !VMASKED_IS_SLOW && channels == 1;
            const FC_DTYPE *line[4];
            FC_UNROLL for (int m = 0; m < block; m++)
                line[m] = m < left ? dy + m * y_step : (const FC_DTYPE *)d->zeros;
            for (ptrdiff_t q = 0; q < width; q += LANES) {
                const ptrdiff_t column = q * (every_other ? 2 : 1) + origin;
                if (VMASKED_IS_SLOW && left >= block && q + LANES <= width && column >= 0 &&
                    column + (every_other || group > 1 ? vectors : 1) * LANES <= d->columns)
                    FC_NAME(lines_gradient_step)(tile, 0, 0, d, column, dy, line, y_step, q, left, width, acc, total);
                else
                    FC_NAME(lines_gradient_step)(tile, 1, listed, d, column, dy, line, y_step, q, left, width, acc,
                                                 total);
            }
        }
        FC_UNROLL for (int k = 0; k < channels; k++) {
            if (bias) VSTORE(bias + k * sums_step, VADD(VLOAD(bias + k * sums_step), total[k]));
            FC_UNROLL for (int t = 0; t < group; t++)
                FC_UNROLL for (int r = 0; r < taps; r++) {
                    FC_DTYPE *sum = sums + k * sums_step + (t * row_sums + r) * LANES;
                    VSTORE(sum, VADD(VLOAD(sum), acc[k][t][r]));
                }
        }
    }
}

/* All taps of the columns, up to three at a time if they are adjacent. */
FC_INLINE FC_TARGET void FC_NAME(lines_gradient_all)(const fc_lines_gradient_tile tile, const fc_direct_lines *d,
                                                     const void *x, ptrdiff_t start, const FC_DTYPE *dy,
                                                     FC_DTYPE *sums, ptrdiff_t sums_step, FC_DTYPE *bias) {
    FC_ASSERT(d->outputs > 0 && d->width > 0 && d->taps > 0 && d->residues == 1 && d->zeros);
    FC_ASSERT(d->column_stride == (tile.every_other ? 2 : 1));
    FC_ASSERT(tile.single || (d->taps == tile.taps && d->stride == tile.stride && d->line_step == 1));
    FC_ASSERT(!tile.columns || (d->residue[0].taps == tile.columns && d->tap_step == 1));
    fc_lines_gradient_tile three = tile, two = tile, one = tile;
    three.group = 3;
    two.group = 2;
    one.group = 1;
    const int known = tile.columns > 0, rest = tile.columns % 3; /* loops that would be empty are left out */
    const ptrdiff_t columns = d->residue[0].taps, step = d->tap_step;
    const ptrdiff_t row_sums = (tile.single ? d->taps : tile.taps) * LANES;
    ptrdiff_t origin = d->residue[0].origin, t = 0;
    for (; step == 1 && t + 3 <= columns; t += 3, origin += 3, sums += 3 * row_sums, bias = NULL)
        FC_NAME(lines_gradient_tile)(three, d, x, start, origin, dy, sums, sums_step, bias);
    if (!known || rest == 2)
        for (; step == 1 && t + 2 <= columns; t += 2, origin += 2, sums += 2 * row_sums, bias = NULL)
            FC_NAME(lines_gradient_tile)(two, d, x, start, origin, dy, sums, sums_step, bias);
    if (!known || rest == 1)
        for (; t < columns; t++, origin += step, sums += row_sums, bias = NULL)
            FC_NAME(lines_gradient_tile)(one, d, x, start, origin, dy, sums, sums_step, bias);
}

/* Blocks of 4 lines of one channel, of a square of adjacent taps. */
#define FC_LINES_CASE(number, step)                                                                                \
    FC_NAME(lines_gradient_all)((fc_lines_gradient_tile){.block = 4, .channels = 1, .taps = number,                \
                                                         .columns = number, .stride = step, .every_other = step == 2}, \
                                d, x, d->origin, dy, sums, sums_step, bias);                                        \
    return

static FC_TARGET void FC_NAME(direct_lines_gradient)(const fc_direct_lines *d, const void *x, const void *dy_,
                                                     void *sums_, ptrdiff_t sums_step, void *bias_) {
    const FC_DTYPE *dy = dy_;
    FC_DTYPE *sums = sums_, *bias = bias_;
    if (d->line_step == 1 && d->tap_step == 1 && d->taps == d->residue[0].taps && d->stride == d->column_stride &&
        d->outputs > 1) {
        if (d->stride == 1 && d->taps == 3) { FC_LINES_CASE(3, 1); }
        if (d->stride == 1 && d->taps == 5) { FC_LINES_CASE(5, 1); }
        if (d->stride == 1 && d->taps == 7) { FC_LINES_CASE(7, 1); }
        if (d->stride == 2 && d->taps == 3) { FC_LINES_CASE(3, 2); }
        if (d->stride == 2 && d->taps == 5) { FC_LINES_CASE(5, 2); }
    }
    const fc_lines_gradient_tile apart = {.block = 2, .channels = 1, .taps = 1, .stride = 1, .every_other = 1,
                                          .single = 1};
    const fc_lines_gradient_tile low = {.block = 1, .channels = 1, .taps = 1, .stride = 1, .single = 1};
    const fc_lines_gradient_tile any = {.block = 4, .channels = 1, .taps = 1, .stride = 1, .single = 1};
    ptrdiff_t start = d->origin;
    for (ptrdiff_t r = 0; r < d->taps; r++, start += d->line_step, sums += LANES, bias = NULL) {
        if (d->column_stride == 2) FC_NAME(lines_gradient_all)(apart, d, x, start, dy, sums, sums_step, bias);
        else if (d->outputs == 1) FC_NAME(lines_gradient_all)(low, d, x, start, dy, sums, sums_step, bias);
        else FC_NAME(lines_gradient_all)(any, d, x, start, dy, sums, sums_step, bias);
    }
}

/* Two output channels share the loads of x where their taps are three by three and adjacent. */
static FC_TARGET void FC_NAME(direct_lines_gradient_pair)(const fc_direct_lines *d, const void *x, const void *dy,
                                                          void *sums, ptrdiff_t sums_step, void *bias) {
#if FC_REGISTERS >= 32 /* else two channels' sums would spill */
    if (d->line_step == 1 && d->stride == 1 && d->column_stride == 1 && d->tap_step == 1 && d->taps == 3 &&
        d->residue[0].taps == 3) {
        const fc_lines_gradient_tile pair = {.block = 4, .channels = 2, .taps = 3, .columns = 3, .stride = 1};
        FC_NAME(lines_gradient_all)(pair, d, x, d->origin, dy, sums, sums_step, bias);
        return;
    }
#endif
    for (int k = 0; k < 2; k++)
        FC_NAME(direct_lines_gradient)(d, x, (const FC_DTYPE *)dy + k * d->y_channel, (FC_DTYPE *)sums + k * sums_step,
                                       sums_step, bias ? (FC_DTYPE *)bias + k * sums_step : NULL);
}

#undef FC_LINES_CASE
#endif
