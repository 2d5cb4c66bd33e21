/* Kernels that move elements: plain loops, vectorised by the compiler for the target. */

/* y[j] = t[j] (+ y[j]), then ReLU; the choices are constants where it is inlined. */
FC_INLINE FC_TARGET void FC_NAME(store_row)(ptrdiff_t cols, const FC_DTYPE *t, FC_DTYPE *y,
                                            const int accumulate, const int relu) {
    ptrdiff_t j = 0;
    const VEC zero = VZERO();
    for (; j + LANES <= cols; j += LANES) {
        VEC value = VLOAD(t + j);
        if (accumulate) value = VADD(value, VLOAD(y + j));
        if (relu) value = VMAX(zero, value);
        VSTORE(y + j, value);
    }
    if (!accumulate && j < cols && cols >= LANES) { /* overlaps the one before */
        const VEC value = VLOAD(t + cols - LANES);
        VSTORE(y + cols - LANES, relu ? VMAX(zero, value) : value);
        return;
    }
#ifdef VLOAD_FIRST
    if (cols - j > 4) {
        VEC value = VLOAD_FIRST(t + j, cols - j);
        if (accumulate) value = VADD(value, VLOAD_FIRST(y + j, cols - j));
        if (relu) value = VMAX(zero, value);
        VSTORE_FIRST(y + j, cols - j, value);
        return;
    }
#endif
    for (; j < cols; j++) {
        const FC_DTYPE value = accumulate ? t[j] + y[j] : t[j];
        y[j] = relu && value < 0 ? 0 : value;
    }
}

#ifdef VSTORE_EVERY_OTHER
FC_INLINE FC_TARGET void FC_NAME(store_apart)(const ptrdiff_t count, const FC_DTYPE *t, FC_DTYPE *y,
                                              const int accumulate, const int relu) {
    const VEC read = VLOAD_FIRST(t, count);
    VEC value = VZIP_LOW(read, read);
    if (accumulate) value = VADD(value, VLOAD_EVERY_OTHER(y, 2 * count));
    if (relu) value = VMAX(VZERO(), value);
    VSTORE_EVERY_OTHER(y, 2 * count, value);
}

/* y[2 * j] = t[j] (+ y[2 * j]), then ReLU. What lies between is not read: another thread may write it. */
FC_INLINE FC_TARGET void FC_NAME(store_row_apart)(ptrdiff_t cols, const FC_DTYPE *t, FC_DTYPE *y,
                                                  const int accumulate, const int relu) {
    ptrdiff_t j = 0;
    for (; j + LANES / 2 <= cols; j += LANES / 2)
        FC_NAME(store_apart)(LANES / 2, t + j, y + 2 * j, accumulate, relu);
    if (j < cols) FC_NAME(store_apart)(cols - j, t + j, y + 2 * j, accumulate, relu);
}
#endif

static FC_TARGET void FC_NAME(store)(ptrdiff_t rows, ptrdiff_t cols, const void *tile,
                                     ptrdiff_t tile_stride, void *const *y_rows, ptrdiff_t y_step,
                                     int accumulate, int relu) {
    FC_ASSERT(rows >= 0 && cols >= 0 && tile_stride >= 0 && (cols <= 1 || y_step != 0));
    for (ptrdiff_t i = 0; i < rows; i++) {
        const FC_DTYPE *t = (const FC_DTYPE *)tile + i * tile_stride;
        FC_DTYPE *y = y_rows[i];
#ifdef VSTORE_EVERY_OTHER
        if (y_step == 2) {
            FC_NAME(store_row_apart)(cols, t, y, accumulate, relu);
            continue;
        }
#endif
        if (y_step != 1) {
            for (ptrdiff_t j = 0; j < cols; j++) {
                const FC_DTYPE value = accumulate ? t[j] + y[j * y_step] : t[j];
                y[j * y_step] = relu && value < 0 ? 0 : value;
            }
        } else if (relu) {
            FC_NAME(store_row)(cols, t, y, accumulate, 1);
        } else if (accumulate) {
            FC_NAME(store_row)(cols, t, y, 1, 0);
        } else {
            FC_NAME(store_row)(cols, t, y, 0, 0);
        }
    }
}

/* Sums of `vectors` vectors of columns, in registers. The last ends with the columns and adds to `fresh` of them. */
FC_INLINE FC_TARGET void FC_NAME(sum_vectors)(const int vectors, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t fresh,
                                           const FC_DTYPE *row, ptrdiff_t stride, double *sums) {
    const ptrdiff_t last = cols - DLANES;
    DVEC acc[4];
    double lanes[DLANES];
    FC_UNROLL for (int j = 0; j < vectors; j++) acc[j] = DLOAD(sums + (j < vectors - 1 ? j * DLANES : last));
    for (ptrdiff_t i = 0; i < rows; i++, row += stride)
        FC_UNROLL for (int j = 0; j < vectors; j++)
            acc[j] = DADD(acc[j], DWIDEN(row + (j < vectors - 1 ? j * DLANES : last)));
    FC_UNROLL for (int j = 0; j < vectors - 1; j++) DSTORE(sums + j * DLANES, acc[j]);
    DSTORE(lanes, acc[vectors - 1]);
    for (ptrdiff_t j = DLANES - fresh; j < DLANES; j++) sums[last + j] = lanes[j];
}

static FC_TARGET void FC_NAME(sum)(ptrdiff_t rows, ptrdiff_t cols, const void *matrix, ptrdiff_t stride,
                                   double *sums) {
    FC_ASSERT(rows >= 0 && cols >= 0);
    const FC_DTYPE *row = matrix;
    if (cols < DLANES) {
        for (ptrdiff_t i = 0; i < rows; i++, row += stride)
            for (ptrdiff_t j = 0; j < cols; j++) sums[j] += row[j];
        return;
    }
    for (ptrdiff_t c = 0; c < cols; c += 4 * DLANES) {
        const ptrdiff_t left = cols - c, fresh = (left - 1) % DLANES + 1;
        if (left > 3 * DLANES) {
            const ptrdiff_t width = left < 4 * DLANES ? left : 4 * DLANES;
            FC_NAME(sum_vectors)(4, rows, width, width - 3 * DLANES, row + c, stride, sums + c);
        } else if (left > 2 * DLANES) {
            FC_NAME(sum_vectors)(3, rows, left, fresh, row + c, stride, sums + c);
        } else if (left > DLANES) {
            FC_NAME(sum_vectors)(2, rows, left, fresh, row + c, stride, sums + c);
        } else { /* a vector that began before c, perhaps */
            const ptrdiff_t from = cols - DLANES;
            FC_NAME(sum_vectors)(1, rows, DLANES, fresh, row + from, stride, sums + from);
        }
    }
}

static FC_TARGET void FC_NAME(add)(ptrdiff_t count, const void *source_, void *target_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *FC_RESTRICT source = source_;
    FC_DTYPE *FC_RESTRICT target = target_;
    for (ptrdiff_t i = 0; i < count; i++) target[i] += source[i];
}

/* 0 * x is 0 if x is finite, else NaN, and a sum with a NaN stays NaN. */
static FC_TARGET int FC_NAME(finite)(ptrdiff_t count, const void *source_) {
    FC_ASSERT(count >= 0);
    const FC_DTYPE *source = source_;
    const VEC zero = VZERO();
    VEC sums[4] = {VZERO(), VZERO(), VZERO(), VZERO()};
    FC_DTYPE lanes[LANES], sum = 0;
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        FC_UNROLL for (int j = 0; j < 4; j++)
            sums[j] = VFMA(zero, VLOAD(source + i + j * LANES), sums[j]);
    for (; i < count; i++) sum += 0 * source[i];
    VSTORE(lanes, VADD(VADD(sums[0], sums[1]), VADD(sums[2], sums[3])));
    for (int j = 0; j < LANES; j++) sum += lanes[j];
    return sum == 0;
}

#ifdef TRANSPOSE
/* Strips of `height` rows that the instruction set transposes in registers; the last overlap those before them. */
FC_INLINE FC_TARGET void FC_NAME(transpose_strips)(const int height, ptrdiff_t rows, ptrdiff_t cols,
                                                   const FC_DTYPE *source, ptrdiff_t source_stride,
                                                   FC_DTYPE *target, ptrdiff_t target_stride) {
    enum { WIDTH = 16 / sizeof(FC_DTYPE) };
    for (ptrdiff_t c0 = 0; c0 < cols; c0 += FC_TRANSPOSE_BLOCK) {
        const ptrdiff_t end = c0 + FC_TRANSPOSE_BLOCK < cols ? c0 + FC_TRANSPOSE_BLOCK : cols;
        for (ptrdiff_t r0 = 0; r0 < rows; r0 += height) {
            const ptrdiff_t r = r0 + height < rows ? r0 : rows - height;
            const FC_DTYPE *ahead = source + r * source_stride + c0 + 2 * FC_TRANSPOSE_BLOCK;
            for (int i = 0; i < height; i++, ahead += source_stride) FC_PREFETCH(ahead);
            for (ptrdiff_t c = c0; c < end; c += WIDTH) {
                const ptrdiff_t at = c + WIDTH < cols ? c : cols - WIDTH;
                const FC_DTYPE *from = source + r * source_stride + at;
                FC_DTYPE *to = target + at * target_stride + r;
                if (height == LANES) TRANSPOSE(from, source_stride, to, target_stride);
                else TRANSPOSE_FEW(from, source_stride, to, target_stride);
            }
        }
    }
}
#endif

/* In blocks of 16 columns, so that a line of the target is complete before it leaves the cache. Rows are often
 * pages apart, where the processor does not prefetch by itself: dw of vgg_c1_1 took 1.4 times as long. */
static FC_TARGET void FC_NAME(transpose)(ptrdiff_t rows, ptrdiff_t cols, const void *source_, ptrdiff_t source_stride,
                                         void *target_, ptrdiff_t target_stride) {
    FC_ASSERT(rows >= 0 && cols >= 0 && (cols <= 1 || target_stride >= rows));
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
#ifdef TRANSPOSE
    enum { FEW = 16 / sizeof(FC_DTYPE) };
    if (cols >= FEW && rows >= LANES) {
        FC_NAME(transpose_strips)(LANES, rows, cols, source, source_stride, target, target_stride);
        return;
    }
    if (cols >= FEW && rows >= FEW) {
        FC_NAME(transpose_strips)(FEW, rows, cols, source, source_stride, target, target_stride);
        return;
    }
#endif
    for (ptrdiff_t c0 = 0; c0 < cols; c0 += FC_TRANSPOSE_BLOCK)
        for (ptrdiff_t r0 = 0; r0 < rows; r0 += FC_TRANSPOSE_BLOCK) {
            const ptrdiff_t r1 = r0 + FC_TRANSPOSE_BLOCK < rows ? r0 + FC_TRANSPOSE_BLOCK : rows;
            const ptrdiff_t c1 = c0 + FC_TRANSPOSE_BLOCK < cols ? c0 + FC_TRANSPOSE_BLOCK : cols;
            for (ptrdiff_t r = r0; r < r1; r++) FC_PREFETCH(source + r * source_stride + c0 + 2 * FC_TRANSPOSE_BLOCK);
            for (ptrdiff_t c = c0; c < c1; c++)
                for (ptrdiff_t r = r0; r < r1; r++) target[c * target_stride + r] = source[r * source_stride + c];
        }
}

FC_INLINE FC_TARGET void FC_NAME(copy_row)(ptrdiff_t count, const FC_DTYPE *FC_RESTRICT source,
                                           ptrdiff_t step, FC_DTYPE *FC_RESTRICT target) {
    if (step == 1 && count >= LANES) {
        /* The last vector overlaps the one before it. Rows are short: a call of memmove, which the
         * compiler would make of the loop, takes longer. */
        for (ptrdiff_t i = 0; i < count - LANES; i += LANES) {
            VEC value = VLOAD(source + i);
            FC_KEEP(value);
            VSTORE(target + i, value);
        }
        VSTORE(target + count - LANES, VLOAD(source + count - LANES));
#ifdef VLOAD_FIRST
    } else if (step == 1) {
        VSTORE_FIRST(target, count, VLOAD_FIRST(source, count));
#else
    } else if (step == 1) {
        for (ptrdiff_t i = 0; i < count; i++) target[i] = source[i];
#endif
    } else if (step == 2) {
        ptrdiff_t i = 0;
#ifdef VEVEN
#ifdef VLOAD_FIRST
        if (count <= LANES) {
            const ptrdiff_t length = 2 * count - 1, first = length < LANES ? length : LANES;
            VSTORE_FIRST(target, count, VEVEN(VLOAD_FIRST(source, first), VLOAD_FIRST(source + LANES, length - first)));
            return;
        }
#endif
        for (; i + LANES < count; i += LANES)
            VSTORE(target + i, VEVEN(VLOAD(source + 2 * i), VLOAD(source + 2 * i + LANES)));
        if (count > LANES) { /* the last ends with the source, and overlaps the one before it */
            const FC_DTYPE *last = source + 2 * (count - LANES) - 1;
            VSTORE(target + count - LANES, VODD(VLOAD(last), VLOAD(last + LANES)));
            return;
        }
#endif
        for (; i < count; i++) target[i] = source[2 * i];
    } else {
        for (ptrdiff_t i = 0; i < count; i++) target[i] = source[i * step];
    }
}

static FC_TARGET void FC_NAME(copy)(ptrdiff_t count, const void *source, ptrdiff_t step,
                                    void *target) {
    FC_ASSERT(count > 0);
    FC_NAME(copy_row)(count, source, step, target);
}

/* Mostly one or two elements, for which a call of memset would take longer. */
FC_INLINE FC_TARGET void FC_NAME(clear)(ptrdiff_t count, FC_DTYPE *target) {
    if (count <= 0) return;
    target[0] = target[count - 1] = 0;
    for (ptrdiff_t j = 1; j < count - 1; j++) target[j] = 0;
}

/* Rows of adjacent elements, whole vectors of them: a loop of its own keeps its variables in registers. */
static FC_TARGET void FC_NAME(pad_vectors)(const fc_padded_lines *s, const FC_DTYPE *source, FC_DTYPE *target) {
    const ptrdiff_t count = s->count, before = s->before, after = s->after;
    const ptrdiff_t source_pitch = s->source_pitch, target_pitch = s->target_pitch;
    target += before;
    for (ptrdiff_t i = s->lines; i > 0; i--, source += source_pitch, target += target_pitch) {
        FC_NAME(clear)(before, target - before);
        FC_NAME(copy_row)(count, source, 1, target);
        FC_NAME(clear)(after, target + count);
    }
}

#ifdef VLOAD_LANES
/* Rows of so many vectors, with the zeros beside them: lanes that are masked once for all rows. */
FC_INLINE FC_TARGET void FC_NAME(pad_lanes)(const int vectors, const int every_other, const fc_padded_lines *s,
                                            const FC_DTYPE *source, FC_DTYPE *target) {
    enum { MAX_VECTORS = 4 };
    const ptrdiff_t step = every_other ? 2 : 1, length = (s->count - 1) * step + 1;
    const ptrdiff_t source_pitch = s->source_pitch, target_pitch = s->target_pitch;
    VSUBSET from[2 * MAX_VECTORS];
    FC_UNROLL for (int v = 0; v < 2 * MAX_VECTORS; v++)
        if (v < vectors * step) from[v] = VLANES(v * LANES - s->before * step, length);
    const VSUBSET last = VLANES(0, s->before + s->count + s->after - (vectors - 1) * LANES);
    source -= s->before * step;
    for (ptrdiff_t i = s->lines; i > 0; i--, source += source_pitch, target += target_pitch)
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            const VEC value = every_other ? VEVEN(VLOAD_LANES(source + 2 * v * LANES, from[2 * v]),
                                                  VLOAD_LANES(source + (2 * v + 1) * LANES, from[2 * v + 1]))
                                          : VLOAD_LANES(source + v * LANES, from[v]);
            if (v < vectors - 1) VSTORE(target + v * LANES, value);
            else VSTORE_LANES(target + v * LANES, last, value);
        }
}

/* Copies rows of at most four vectors, with a step of 2 two; returns whether they are. */
static FC_TARGET int FC_NAME(pad_short)(const fc_padded_lines *s, const FC_DTYPE *source, FC_DTYPE *target) {
    if (s->inner != 1 || s->lines < 2) return 0;
    const ptrdiff_t vectors = (s->before + s->count + s->after + LANES - 1) / LANES;
    if (s->step == 1) {
        switch (vectors) {
            case 1: FC_NAME(pad_lanes)(1, 0, s, source, target); return 1;
            case 2: FC_NAME(pad_lanes)(2, 0, s, source, target); return 1;
            case 3: FC_NAME(pad_lanes)(3, 0, s, source, target); return 1;
            case 4: FC_NAME(pad_lanes)(4, 0, s, source, target); return 1;
        }
    } else if (s->step == 2) {
        switch (vectors) {
            case 1: FC_NAME(pad_lanes)(1, 1, s, source, target); return 1;
            case 2: FC_NAME(pad_lanes)(2, 1, s, source, target); return 1;
        }
    }
    return 0;
}
#endif

static FC_TARGET void FC_NAME(pad)(const fc_padded_lines *shape, const void *source_,
                                   void *target_) {
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    const fc_padded_lines s = *shape;
    FC_ASSERT(s.lines >= 0 && s.before >= 0 && s.count >= 0 && s.after >= 0);
    FC_ASSERT(!s.count || (0 < s.adjacent && s.adjacent <= s.inner));
    FC_ASSERT(s.lines <= 1 || s.target_pitch >= (s.before + s.count + s.after) * s.inner);
#ifdef VLOAD_LANES
    if (FC_NAME(pad_short)(&s, source, target)) return;
#endif
    if (s.inner == 1 && s.step == 1 && s.count >= LANES) {
        FC_NAME(pad_vectors)(&s, source, target);
        return;
    }
    for (ptrdiff_t i = 0; i < s.lines; i++, source += s.source_pitch, target += s.target_pitch) {
        FC_DTYPE *first = target + s.before * s.inner, *end = first + s.count * s.inner;
        FC_NAME(clear)(s.before * s.inner, target);
        if (s.inner == 1) {
            FC_NAME(copy_row)(s.count, source, s.step, first);
        } else if (s.step == s.inner && s.adjacent == s.inner) {
            FC_NAME(copy_row)(s.count * s.inner, source, 1, first);
        } else {
            ptrdiff_t j = 0;
            /* Whole vectors, each overwriting what the one before had too much. */
            const int whole = s.adjacent == s.inner && s.inner < LANES && s.step > 0;
            const ptrdiff_t target_end = (s.count + s.after) * s.inner - LANES;
            const ptrdiff_t source_end = (s.count - 1) * s.step + s.inner - LANES;
            for (; whole && j * s.inner <= target_end && j * s.step <= source_end; j++)
                VSTORE(first + j * s.inner, VLOAD(source + j * s.step));
            for (; j < s.count; j++)
                FC_NAME(copy_row)(s.adjacent, source + j * s.step, 1, first + j * s.inner);
        }
        FC_NAME(clear)(s.after * s.inner, end);
    }
}
