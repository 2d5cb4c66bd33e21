/* One register tile of a GEMM whose operands are gathered through offset tables:
 *
 *     c[i][j] (+)= bias + sum over d < depth of a_rows[i][a_offsets[d]] * b[b_offsets[d] + j]
 *
 * with i < tile_rows and j < tile_vectors * LANES. a_rows[i] is broadcast, b and c are vectors at any alignment.
 * The tables let one kernel serve all of a convolution: taps are offsets into the input or a padded
 * copy of it, and no im2col columns exist (Dukhan 2019, arXiv:1907.02129, gathers by pointers per
 * pixel; here by offsets per tap). Weights may be `a` and pixels `b`, or the other way round.
 *
 * Between terms what the tile names is fetched to L2. Rows of b are fetched to L1, eight ahead: packed ones follow
 * one another (4 % on processors that bring them to L2 alone), scattered ones are found in the table
 * (rn50_l1_1x1_reduce took 1.15 times as long without); near ones are not (cifar_rn20_down 0.96, rn50_stem 0.97).
 *
 * Contract: depth >= 0; every b[b_offsets[d] + j] of the full width is readable; c aliases nothing. tile_rows and
 * tile_vectors are constants where this is inlined, so all of acc is registers. */
FC_INLINE FC_TARGET void FC_NAME(gemm_term)(const int tile_rows, const int tile_vectors, const FC_DTYPE *const a[],
                                            ptrdiff_t offset, const FC_DTYPE *row, 
                                            VEC acc[FC_MAX_TILE_ROWS][FC_MAX_TILE_VECTORS]) {
    VEC v[FC_MAX_TILE_VECTORS];
    FC_UNROLL for (int j = 0; j < tile_vectors; j++) v[j] = VLOAD(row + j * LANES);
    FC_UNROLL for (int i = 0; i < tile_rows; i++) {
        const VEC s = VSET1(a[i][offset]);
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
    }
}

/* acc to c. accumulate and relu are constants where this is inlined: a branch for each vector, read again after
 * each store, took 5 to 10 % of a tile of 64 terms. */
FC_INLINE FC_TARGET void FC_NAME(gemm_store)(const int tile_rows, const int tile_vectors, const int accumulate,
                                             const int relu, VEC acc[FC_MAX_TILE_ROWS][FC_MAX_TILE_VECTORS],
                                             FC_DTYPE *c, ptrdiff_t c_row) {
    const VEC zero = VZERO();
    FC_UNROLL for (int i = 0; i < tile_rows; i++, c += c_row)
        FC_UNROLL for (int j = 0; j < tile_vectors; j++) {
            const VEC sum = accumulate ? VADD(acc[i][j], VLOAD(c + j * LANES)) : acc[i][j];
            VSTORE(c + j * LANES, relu ? VMAX(zero, sum) : sum);
        }
}

FC_INLINE FC_TARGET void FC_NAME(gemm_tile)(const int tile_rows, const int tile_vectors, const fc_tile *tile) {
    FC_ASSERT(tile->depth >= 0 && tile->c != tile->b);
    FC_ASSERT(tile_rows == 1 || tile->c_row >= tile_vectors * LANES);
    FC_ASSERT(!tile->fetch_step || (tile->fetch && 0 <= tile->fetch_done && tile->fetch_done <= tile->fetch_terms));
    VEC acc[FC_MAX_TILE_ROWS][FC_MAX_TILE_VECTORS];
    const FC_DTYPE *a[FC_MAX_TILE_ROWS], *bias = tile->bias;
    const FC_DTYPE *FC_RESTRICT b = tile->b;
    const ptrdiff_t depth = tile->depth;
    FC_DTYPE *c = tile->c;
    FC_UNROLL for (int i = 0; i < tile_rows; i++)
        FC_UNROLL for (int j = 0; j < tile_vectors; j++)
            FC_PREFETCH_TO_WRITE(c + i * tile->c_row + j * LANES);
    if (!bias) {
        FC_UNROLL for (int i = 0; i < tile_rows; i++)
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VZERO();
    } else if (tile->bias_is_column) {
        FC_UNROLL for (int i = 0; i < tile_rows; i++)
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VSET1(bias[i]);
    } else {
        FC_UNROLL for (int i = 0; i < tile_rows; i++)
            FC_UNROLL for (int j = 0; j < tile_vectors; j++) acc[i][j] = VLOAD(bias + j * LANES);
    }
    /* Tables from their ends, so that d counts to zero: a pointer more and one of a[] leaves its register. */
    const ptrdiff_t *FC_RESTRICT a_end = tile->a_offsets + depth, *FC_RESTRICT b_end = tile->b_offsets + depth;
    FC_UNROLL for (int i = 0; i < tile_rows; i++) a[i] = tile->a_rows[i];
    const ptrdiff_t step = tile->fetch_step, *fetch_offsets = tile->fetch_offsets;
    const FC_DTYPE *line = step ? (const FC_DTYPE *)tile->fetch + *fetch_offsets + step * tile->fetch_done : b;
    ptrdiff_t end = step ? tile->fetch_terms - tile->fetch_done - depth : 0;
    for (ptrdiff_t d = -depth; d < 0;) {
        if (end > 0) end = 0;
        if (tile->rows_of_b == FC_ROWS_SCATTERED)
            for (; d < end; d++) {
                const FC_DTYPE *row = b + b_end[d], *ahead = b + b_end[d + FC_AHEAD];
                FC_UNROLL for (int j = 0; j < tile_vectors; j++) FC_PREFETCH(ahead + j * LANES);
                FC_PREFETCH_TO_L2(line);
                line += step;
                FC_NAME(gemm_term)(tile_rows, tile_vectors, a, a_end[d], row, acc);
            }
        else if (tile->rows_of_b == FC_ROWS_FOLLOW)
            for (; d < end; d++) {
                const FC_DTYPE *row = b + b_end[d];
                FC_UNROLL for (int j = 0; j < tile_vectors; j++)
                    FC_PREFETCH(row + (FC_AHEAD * tile_vectors + j) * LANES);
                FC_PREFETCH_TO_L2(line);
                line += step;
                FC_NAME(gemm_term)(tile_rows, tile_vectors, a, a_end[d], row, acc);
            }
        else if (step)
            for (; d < end; d++) {
                FC_PREFETCH_TO_L2(line);
                line += step;
                FC_NAME(gemm_term)(tile_rows, tile_vectors, a, a_end[d], b + b_end[d], acc);
            }
        else
            for (; d < end; d++) FC_NAME(gemm_term)(tile_rows, tile_vectors, a, a_end[d], b + b_end[d], acc);
        if (d < 0) line = (const FC_DTYPE *)tile->fetch + *++fetch_offsets;
        end += tile->fetch_terms;
    }
    if (tile->accumulate) {
        if (tile->relu) FC_NAME(gemm_store)(tile_rows, tile_vectors, 1, 1, acc, c, tile->c_row);
        else FC_NAME(gemm_store)(tile_rows, tile_vectors, 1, 0, acc, c, tile->c_row);
    } else {
        if (tile->relu) FC_NAME(gemm_store)(tile_rows, tile_vectors, 0, 1, acc, c, tile->c_row);
        else FC_NAME(gemm_store)(tile_rows, tile_vectors, 0, 0, acc, c, tile->c_row);
    }
}

#define FC_GEMM_INSTANCE(tile_rows, tile_vectors)                                             \
    static FC_TARGET void FC_NAME(gemm_##tile_rows##x##tile_vectors)(const fc_tile *tile) {   \
        FC_NAME(gemm_tile)(tile_rows, tile_vectors, tile);                                    \
    }

FC_GEMM_INSTANCE(1, 1) FC_GEMM_INSTANCE(1, 2) FC_GEMM_INSTANCE(1, 3) FC_GEMM_INSTANCE(1, 4)
FC_GEMM_INSTANCE(2, 1) FC_GEMM_INSTANCE(2, 2) FC_GEMM_INSTANCE(2, 3) FC_GEMM_INSTANCE(2, 4)
FC_GEMM_INSTANCE(3, 1) FC_GEMM_INSTANCE(3, 2) FC_GEMM_INSTANCE(3, 3)
FC_GEMM_INSTANCE(4, 1) FC_GEMM_INSTANCE(4, 2) FC_GEMM_INSTANCE(4, 3)
FC_GEMM_INSTANCE(5, 1) FC_GEMM_INSTANCE(5, 2)
FC_GEMM_INSTANCE(6, 1) FC_GEMM_INSTANCE(6, 2)
#if FC_REGISTERS >= 32
FC_GEMM_INSTANCE(3, 4) FC_GEMM_INSTANCE(4, 4)
FC_GEMM_INSTANCE(5, 3) FC_GEMM_INSTANCE(5, 4)
FC_GEMM_INSTANCE(6, 3) FC_GEMM_INSTANCE(6, 4)
FC_GEMM_INSTANCE(7, 1) FC_GEMM_INSTANCE(7, 2) FC_GEMM_INSTANCE(7, 3)
FC_GEMM_INSTANCE(8, 1) FC_GEMM_INSTANCE(8, 2) FC_GEMM_INSTANCE(8, 3)
#endif

#undef FC_GEMM_INSTANCE
