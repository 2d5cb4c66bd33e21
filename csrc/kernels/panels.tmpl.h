/* One register tile of a product with a packed panel. Terms are a few loads apart and nothing else: a panel is read in
 * order, rows of a by their pointers and one offset. Without FC_KEEP gcc loads the panel again for every multiply-add,
 * and tiles of AVX2 took 1.3 times as long.
 *
 * Contract: depth >= 0; c aliases nothing; rows and vectors are constants where this is inlined. */
FC_INLINE FC_TARGET void FC_NAME(panel_store)(const int rows, const int vectors, const int accumulate, const int relu,
                                              VEC acc[FC_MAX_TILE_ROWS][FC_PANEL_VECTORS], FC_DTYPE *c,
                                              ptrdiff_t c_row) {
    const VEC zero = VZERO();
    FC_UNROLL for (int i = 0; i < rows; i++, c += c_row)
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const VEC sum = accumulate ? VADD(acc[i][j], VLOAD(c + j * LANES)) : acc[i][j];
            VSTORE(c + j * LANES, relu ? VMAX(zero, sum) : sum);
        }
}

FC_INLINE FC_TARGET void FC_NAME(panel_tile)(const int rows, const int vectors, const fc_panel_tile *t) {
    FC_ASSERT(t->depth >= 0 && !(t->accumulate && t->bias) && (rows == 1 || t->c_row >= vectors * LANES));
    const FC_DTYPE *a[FC_MAX_TILE_ROWS], *b = t->b, *bias = t->bias;
    const ptrdiff_t step = t->a_step;
    VEC acc[FC_MAX_TILE_ROWS][FC_PANEL_VECTORS];
    FC_UNROLL for (int i = 0; i < rows; i++) a[i] = t->a_rows[i];
    FC_UNROLL for (int i = 0; i < rows; i++)
        FC_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = bias ? VSET1(bias[i]) : VZERO();
    FC_UNROLL for (int i = 0; i < rows; i++) FC_PREFETCH_TO_WRITE((const FC_DTYPE *)t->c + i * t->c_row);
    for (ptrdiff_t left = t->depth, offset = 0; left > 0; left--, offset += step, b += vectors * LANES) {
        VEC v[FC_PANEL_VECTORS];
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            v[j] = VLOAD(b + j * LANES);
            FC_KEEP(v[j]);
        }
        FC_UNROLL for (int i = 0; i < rows; i++) {
            const VEC s = VSET1(a[i][offset]);
            FC_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
        }
    }
    if (t->accumulate && t->relu) FC_NAME(panel_store)(rows, vectors, 1, 1, acc, t->c, t->c_row);
    else if (t->accumulate) FC_NAME(panel_store)(rows, vectors, 1, 0, acc, t->c, t->c_row);
    else if (t->relu) FC_NAME(panel_store)(rows, vectors, 0, 1, acc, t->c, t->c_row);
    else FC_NAME(panel_store)(rows, vectors, 0, 0, acc, t->c, t->c_row);
}

#define FC_PANEL_INSTANCE(rows)                                              \
    static FC_TARGET void FC_NAME(panel_##rows##x1)(const fc_panel_tile *t) { \
        FC_NAME(panel_tile)(rows, 1, t);                                     \
    }                                                                        \
    static FC_TARGET void FC_NAME(panel_##rows##x2)(const fc_panel_tile *t) { \
        FC_NAME(panel_tile)(rows, 2, t);                                     \
    }

_Static_assert(FC_PANEL_VECTORS == 2, "instances have one vector or two");
FC_PANEL_INSTANCE(1) FC_PANEL_INSTANCE(2) FC_PANEL_INSTANCE(3) FC_PANEL_INSTANCE(4) FC_PANEL_INSTANCE(5)
#if FC_REGISTERS >= 32
FC_PANEL_INSTANCE(6) FC_PANEL_INSTANCE(7) FC_PANEL_INSTANCE(8)
#endif
#undef FC_PANEL_INSTANCE

static FC_TARGET void FC_NAME(to_panels)(ptrdiff_t panels, const void *source, void *target, ptrdiff_t target_step) {
    const FC_DTYPE *from = source;
    FC_DTYPE *to = target;
    for (ptrdiff_t i = 0; i < panels; i++, from += FC_PANEL_VECTORS * LANES, to += target_step)
        FC_UNROLL for (int j = 0; j < FC_PANEL_VECTORS; j++) VSTORE(to + j * LANES, VLOAD(from + j * LANES));
}
