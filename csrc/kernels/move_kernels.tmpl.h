/* Kernels that move elements: plain loops, vectorised by the compiler for the target. */

/* y_rows[i][j * y_step] = tile[i][j] (+ bias) (+ y), then ReLU; i < rows, j < cols. */
static FC_TARGET void FC_NAME(store)(ptrdiff_t rows, ptrdiff_t cols, const void *tile,
                                     ptrdiff_t tile_stride, void *const *y_rows, ptrdiff_t y_step,
                                     const fc_store *store) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const FC_DTYPE *FC_RESTRICT t = (const FC_DTYPE *)tile + i * tile_stride;
        FC_DTYPE *FC_RESTRICT y = y_rows[i];
        const FC_DTYPE bias = store->bias ? *(const FC_DTYPE *)store->bias[i] : 0;
        if (y_step == 1 && !store->accumulate && !store->relu) {
            for (ptrdiff_t j = 0; j < cols; j++) y[j] = t[j] + bias;
        } else if (y_step == 1 && store->accumulate && !store->relu) {
            for (ptrdiff_t j = 0; j < cols; j++) y[j] += t[j] + bias;
        } else {
            for (ptrdiff_t j = 0; j < cols; j++) {
                FC_DTYPE value = t[j] + bias;
                if (store->accumulate) value += y[j * y_step];
                if (store->relu && value < 0) value = 0;
                y[j * y_step] = value;
            }
        }
    }
}

static FC_TARGET void FC_NAME(store_columns)(ptrdiff_t rows, ptrdiff_t cols, const void *tile,
                                             ptrdiff_t tile_stride, void *const *y_rows,
                                             ptrdiff_t y_step, int accumulate) {
    const FC_DTYPE *FC_RESTRICT t = tile;
    for (ptrdiff_t j = 0; j < cols; j++)
        for (ptrdiff_t i = 0; i < rows; i++) {
            FC_DTYPE *y = (FC_DTYPE *)y_rows[i] + j * y_step;
            *y = accumulate ? *y + t[i * tile_stride + j] : t[i * tile_stride + j];
        }
}

static FC_TARGET void FC_NAME(sum)(ptrdiff_t rows, ptrdiff_t cols, const void *matrix,
                                   ptrdiff_t stride, double *FC_RESTRICT sums) {
    const FC_DTYPE *FC_RESTRICT row = matrix;
    for (ptrdiff_t i = 0; i < rows; i++, row += stride)
        for (ptrdiff_t j = 0; j < cols; j++) sums[j] += row[j];
}

static FC_TARGET void FC_NAME(add)(ptrdiff_t count, const void *source_, void *target_) {
    const FC_DTYPE *FC_RESTRICT source = source_;
    FC_DTYPE *FC_RESTRICT target = target_;
    for (ptrdiff_t i = 0; i < count; i++) target[i] += source[i];
}

/* x - x is 0 if x is finite, else NaN. Blocks keep the loop free of branches. */
static FC_TARGET int FC_NAME(finite)(ptrdiff_t count, const void *source_) {
    const FC_DTYPE *source = source_;
    for (ptrdiff_t i = 0; i < count;) {
        const ptrdiff_t end = count - i > 1024 ? i + 1024 : count;
        int bad = 0;
        for (; i < end; i++) bad |= !(source[i] - source[i] == 0);
        if (bad) return 0;
    }
    return 1;
}

static FC_TARGET void FC_NAME(transpose)(ptrdiff_t rows, ptrdiff_t cols, const void *source_,
                                         ptrdiff_t source_stride, void *target_,
                                         ptrdiff_t target_stride) {
    const FC_DTYPE *FC_RESTRICT source = source_;
    FC_DTYPE *FC_RESTRICT target = target_;
    enum { BLOCK = 16 };
    for (ptrdiff_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (ptrdiff_t c0 = 0; c0 < cols; c0 += BLOCK) {
            const ptrdiff_t r1 = r0 + BLOCK < rows ? r0 + BLOCK : rows;
            const ptrdiff_t c1 = c0 + BLOCK < cols ? c0 + BLOCK : cols;
            for (ptrdiff_t c = c0; c < c1; c++)
                for (ptrdiff_t r = r0; r < r1; r++)
                    target[c * target_stride + r] = source[r * source_stride + c];
        }
}

static FC_TARGET void FC_NAME(copy)(ptrdiff_t count, const void *source_, ptrdiff_t step,
                                    void *target_) {
    const FC_DTYPE *FC_RESTRICT source = source_;
    FC_DTYPE *FC_RESTRICT target = target_;
    if (step == 1) {
        for (ptrdiff_t i = 0; i < count; i++) target[i] = source[i];
    } else if (step == 2) {
        for (ptrdiff_t i = 0; i < count; i++) target[i] = source[2 * i];
    } else {
        for (ptrdiff_t i = 0; i < count; i++) target[i] = source[i * step];
    }
}

/* Short runs are copied in whole vectors: each overwrites what the last one wrote too much. */
static FC_TARGET void FC_NAME(pack)(ptrdiff_t rows, ptrdiff_t run, const void *source_,
                                    ptrdiff_t pitch, void *target_) {
    const FC_DTYPE *source = source_;
    FC_DTYPE *target = target_;
    if (run <= LANES) {
        for (ptrdiff_t i = 0; i < rows; i++)
            VSTORE(target + i * run, VLOAD(source + i * pitch));
    } else {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < run; j += LANES)
                VSTORE(target + i * run + j, VLOAD(source + i * pitch + j));
    }
}
