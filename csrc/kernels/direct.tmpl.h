/* Convolution of few channels in place over padded planes, forward and its adjoint in the weights.
 *
 * Outputs stand along two axes: the vectors' own (pixels of a row, or channels that lie side by side) and
 * a blocked one, whose neighbouring outputs share inputs: a register tile of `block` x `vectors` vectors loads
 * each input once for all the taps of that axis. All other taps, and input channels, are offsets. */

/* One tile: sums of `left` of the block's outputs, `width` elements of its vectors, go to y. taps 0: any
 * number of taps and any distances. per_channel: a weight is a vector, else one element for all. */
FC_INLINE FC_TARGET void FC_NAME(direct_tile)(const int block, const int vectors, const int taps,
                                              const int stride, const int per_channel,
                                              const fc_direct *d, const FC_DTYPE *x, ptrdiff_t left,
                                              ptrdiff_t width, FC_DTYPE *y) {
    VEC acc[FC_DIRECT_BLOCK][4];
    const FC_DTYPE *w = d->w, *bias = d->bias;
    const VEC first = !bias ? VZERO() : per_channel ? VLOAD(bias) : VSET1(*bias);
    FC_UNROLL for (int m = 0; m < block; m++)
        FC_UNROLL for (int v = 0; v < vectors; v++) acc[m][v] = first;
    const ptrdiff_t tap_step = d->tap_step, w_tap = d->w_tap, y_step = d->y_step;
    FC_UNROLL for (int m = 0; m < block; m++)
        FC_UNROLL for (int v = 0; v < vectors; v++)
            FC_PREFETCH_TO_WRITE(y + m * y_step + (per_channel ? LANES : v * LANES + block * y_step));
    for (ptrdiff_t k = 0; k < d->others; k++) {
        const FC_DTYPE *source = x + d->other_x[k], *weights = w + d->other_w[k];
        if (taps) {
            VEC weight[8];
            FC_UNROLL for (int r = 0; r < taps; r++)
                weight[r] = per_channel ? VLOAD(weights + r * w_tap) : VSET1(weights[r * w_tap]);
            FC_UNROLL for (int i = 0; i < (block - 1) * stride + taps; i++, source += tap_step)
                FC_UNROLL for (int v = 0; v < vectors; v++) {
                    VEC value = VLOAD(source + v * LANES);
                    FC_KEEP(value);
                    FC_UNROLL for (int m = 0; m < block; m++)
                        if (i - m * stride >= 0 && i - m * stride < taps)
                            acc[m][v] = VFMA(weight[i - m * stride], value, acc[m][v]);
                }
        } else {
            for (ptrdiff_t r = 0; r < d->taps; r++, source += tap_step, weights += w_tap) {
                const VEC weight = per_channel ? VLOAD(weights) : VSET1(*weights);
                FC_UNROLL for (int m = 0; m < block; m++)
                    FC_UNROLL for (int v = 0; v < vectors; v++)
                        acc[m][v] = VFMA(weight, VLOAD(source + m * d->x_step + v * LANES), acc[m][v]);
            }
        }
    }
    const VEC zero = VZERO();
    const int relu = d->relu;
    FC_UNROLL for (int m = 0; m < block; m++, y += y_step) {
        if (m >= left) break;
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            const VEC sum = relu ? VMAX(zero, acc[m][v]) : acc[m][v];
            const ptrdiff_t count = width - v * LANES;
            if (count >= LANES) {
                VSTORE(y + v * LANES, sum);
            } else if (count > 0) {
#ifdef VSTORE_FIRST
                VSTORE_FIRST(y + v * LANES, count, sum);
#else
                FC_DTYPE lanes[LANES];
                VSTORE(lanes, sum);
                for (ptrdiff_t i = 0; i < count; i++) y[v * LANES + i] = lanes[i];
#endif
            }
        }
    }
}

/* All outputs: by 4 x 2 vectors, the last of a line 4 x 1; where one vector holds the width, 8 x 1 without a stride. */
FC_INLINE FC_TARGET void FC_NAME(direct_all)(const int taps, const int stride, const int per_channel,
                                             const fc_direct *d, const FC_DTYPE *x, FC_DTYPE *y) {
    const ptrdiff_t outputs = d->outputs, width = d->width;
    if (per_channel || (stride == 1 && width <= LANES)) {
        const int tall = stride > 1 ? 4 : FC_DIRECT_BLOCK;
        for (ptrdiff_t m = 0; m < outputs; m += tall)
            FC_NAME(direct_tile)(tall, 1, taps, stride, per_channel, d, x + m * d->x_step, outputs - m, width,
                                 y + m * d->y_step);
        return;
    }
    for (ptrdiff_t m = 0; m < outputs; m += 4) {
        const FC_DTYPE *source = x + m * d->x_step;
        FC_DTYPE *target = y + m * d->y_step;
        ptrdiff_t i = 0;
        for (; i + LANES < width; i += 2 * LANES)
            FC_NAME(direct_tile)(4, 2, taps, stride, per_channel, d, source + i, outputs - m, width - i,
                                 target + i);
        if (i < width)
            FC_NAME(direct_tile)(4, 1, taps, stride, per_channel, d, source + i, outputs - m, width - i,
                                 target + i);
    }
}

/* One output along the blocked axis. */
FC_INLINE FC_TARGET void FC_NAME(direct_row)(const fc_direct *d, const FC_DTYPE *x, FC_DTYPE *y) {
    for (ptrdiff_t i = 0; i < d->width; i += 4 * LANES)
        FC_NAME(direct_tile)(1, 4, 0, 1, 0, d, x + i, 1, d->width - i, y + i);
}

#define FC_DIRECT_CASE(number, step, per_channel) \
    case number: FC_NAME(direct_all)(number, step, per_channel, d, x, y); return

FC_INLINE FC_TARGET void FC_NAME(direct_any)(const int per_channel, const fc_direct *d,
                                             const FC_DTYPE *x, FC_DTYPE *y) {
    FC_ASSERT(d->outputs > 0 && d->width > 0 && d->taps > 0 && d->others >= 0);
    FC_ASSERT(!per_channel || d->width <= LANES);
    if (d->x_step == d->tap_step) {
        switch (d->taps) {
            FC_DIRECT_CASE(2, 1, per_channel);
            FC_DIRECT_CASE(3, 1, per_channel);
            FC_DIRECT_CASE(5, 1, per_channel);
            FC_DIRECT_CASE(7, 1, per_channel);
        }
    } else if (d->x_step == 2 * d->tap_step) {
        switch (d->taps) {
            FC_DIRECT_CASE(3, 2, per_channel);
            FC_DIRECT_CASE(5, 2, per_channel);
        }
    }
    FC_NAME(direct_all)(0, 1, per_channel, d, x, y);
}

#undef FC_DIRECT_CASE

static FC_TARGET void FC_NAME(direct_pixels)(const fc_direct *d, const void *x, void *y) {
    if (d->outputs == 1) FC_NAME(direct_row)(d, x, y);
    else FC_NAME(direct_any)(0, d, x, y);
}

static FC_TARGET void FC_NAME(direct_channels)(const fc_direct *d, const void *x, void *y) {
    FC_NAME(direct_any)(1, d, x, y);
}

/* The adjoint in the weights: sums[k][r] += sum over outputs of dy * x, lane by lane, for `others`
 * offsets k and all taps r of the blocked axis. Blocks of 4 outputs; dy has zeros beyond its last. */
FC_INLINE FC_TARGET void FC_NAME(direct_gradient_tile)(const int others, const int taps,
                                                       const int stride, const fc_direct_gradient *d,
                                                       ptrdiff_t k, const FC_DTYPE *x,
                                                       const FC_DTYPE *dy, FC_DTYPE *sums) {
    VEC acc[3][8];
    FC_UNROLL for (int g = 0; g < others; g++)
        FC_UNROLL for (int r = 0; r < taps; r++) acc[g][r] = VLOAD(sums + (g * taps + r) * LANES);
    for (ptrdiff_t v = 0; v < d->repeats; v++, x += d->x_repeat, dy += d->dy_repeat) {
        const FC_DTYPE *source = x, *gradient = dy;
        for (ptrdiff_t m = 0; m < d->outputs; m += FC_GRADIENT_BLOCK) {
            VEC values[FC_GRADIENT_BLOCK];
            FC_UNROLL for (int i = 0; i < FC_GRADIENT_BLOCK; i++, gradient += d->dy_step) values[i] = VLOAD(gradient);
            FC_UNROLL for (int g = 0; g < others; g++) {
                const FC_DTYPE *row = source + d->other[k + g];
                FC_UNROLL for (int i = 0; i < 3 * stride + taps; i++, row += d->tap_step) {
                    VEC value = VLOAD(row);
                    FC_KEEP(value);
                    FC_UNROLL for (int j = 0; j < 4; j++)
                        if (i - j * stride >= 0 && i - j * stride < taps)
                            acc[g][i - j * stride] = VFMA(values[j], value, acc[g][i - j * stride]);
                }
            }
            source += 4 * d->x_step;
        }
    }
    FC_UNROLL for (int g = 0; g < others; g++)
        FC_UNROLL for (int r = 0; r < taps; r++) VSTORE(sums + (g * taps + r) * LANES, acc[g][r]);
}

/* together: offsets k that share the loads of dy. */
FC_INLINE FC_TARGET void FC_NAME(direct_gradient_all)(const int together, const int taps,
                                                      const int stride, const fc_direct_gradient *d,
                                                      const FC_DTYPE *x, const FC_DTYPE *dy,
                                                      FC_DTYPE *sums) {
    ptrdiff_t k = 0;
    for (; k + together <= d->others; k += together)
        FC_NAME(direct_gradient_tile)(together, taps, stride, d, k, x, dy, sums + k * taps * LANES);
    for (; k < d->others; k++)
        FC_NAME(direct_gradient_tile)(1, taps, stride, d, k, x, dy, sums + k * taps * LANES);
}

/* One tap at a time: any number of them, any distances. */
FC_INLINE FC_TARGET void FC_NAME(direct_gradient_tap)(const fc_direct_gradient *d, const FC_DTYPE *x,
                                                      const FC_DTYPE *dy, FC_DTYPE *sums) {
    VEC acc[4] = {VLOAD(sums), VZERO(), VZERO(), VZERO()};
    for (ptrdiff_t v = 0; v < d->repeats; v++, x += d->x_repeat, dy += d->dy_repeat)
        for (ptrdiff_t m = 0; m < d->outputs; m += 4)
            FC_UNROLL for (int i = 0; i < 4; i++)
                acc[i] = VFMA(VLOAD(dy + (m + i) * d->dy_step), VLOAD(x + (m + i) * d->x_step), acc[i]);
    VSTORE(sums, VADD(VADD(acc[0], acc[1]), VADD(acc[2], acc[3])));
}

#define FC_DIRECT_CASE(number, step, together) \
    case number: FC_NAME(direct_gradient_all)(together, number, step, d, x, dy, sums); return

static FC_TARGET void FC_NAME(direct_gradient)(const fc_direct_gradient *d, const void *x_,
                                               const void *dy_, void *sums_) {
    FC_ASSERT(d->outputs % FC_GRADIENT_BLOCK == 0 && d->repeats >= 0 && d->taps > 0 && d->others >= 0);
    const FC_DTYPE *x = x_, *dy = dy_;
    FC_DTYPE *sums = sums_;
    if (d->x_step == d->tap_step) {
        switch (d->taps) {
            FC_DIRECT_CASE(3, 1, 3);
            FC_DIRECT_CASE(5, 1, 2);
            FC_DIRECT_CASE(7, 1, 1);
        }
    } else if (d->x_step == 2 * d->tap_step) {
        switch (d->taps) {
            FC_DIRECT_CASE(3, 2, 3);
            FC_DIRECT_CASE(5, 2, 2);
        }
    }
    for (ptrdiff_t k = 0; k < d->others; k++)
        for (ptrdiff_t r = 0; r < d->taps; r++, sums += LANES)
            FC_NAME(direct_gradient_tap)(d, x + d->other[k] + r * d->tap_step, dy, sums);
}

#undef FC_DIRECT_CASE
