/* One register tile of a GEMM whose operands are gathered through offset tables:
 *
 *     c[i][j] = sum over d < depth of a_rows[i][a_offsets[d]] * b[b_offsets[d] + j]
 *
 * with i < rows and j < vecs * LANES. a_rows[i] is broadcast, b is read as vectors at any
 * alignment, c is written contiguously. The tables let one kernel serve all of a convolution: taps
 * are offsets into a padded copy of the input, and neither im2col columns nor packed weights exist
 * (Dukhan 2019, arXiv:1907.02129, gathers by pointers per pixel; here by offsets per tap).
 *
 * Contract: depth >= 0; every b[b_offsets[d] + j] of the full width is readable; c does not alias.
 * rows and vecs are constants where this is inlined, so all of acc is registers. */
FC_INLINE FC_TARGET void FC_NAME(gemm_tile)(const int rows, const int vecs, ptrdiff_t depth,
                                            const void *const *a_rows,
                                            const ptrdiff_t *FC_RESTRICT a_offsets,
                                            const FC_DTYPE *FC_RESTRICT b,
                                            const ptrdiff_t *FC_RESTRICT b_offsets,
                                            FC_DTYPE *FC_RESTRICT c) {
    VEC acc[FC_MAX_ROWS][FC_MAX_VECS];
    const FC_DTYPE *a[FC_MAX_ROWS];
    FC_UNROLL for (int i = 0; i < rows; i++) {
        a[i] = a_rows[i];
        FC_UNROLL for (int j = 0; j < vecs; j++) acc[i][j] = VZERO();
    }
    for (ptrdiff_t d = 0; d < depth; d++) {
        const FC_DTYPE *row = b + b_offsets[d];
        const ptrdiff_t offset = a_offsets[d];
        VEC v[FC_MAX_VECS];
        FC_UNROLL for (int j = 0; j < vecs; j++) v[j] = VLOAD(row + j * LANES);
        FC_UNROLL for (int i = 0; i < rows; i++) {
            const VEC s = VSET1(a[i][offset]);
            FC_UNROLL for (int j = 0; j < vecs; j++) acc[i][j] = VFMA(s, v[j], acc[i][j]);
        }
    }
    FC_UNROLL for (int i = 0; i < rows; i++)
        FC_UNROLL for (int j = 0; j < vecs; j++) VSTORE(c + (i * vecs + j) * LANES, acc[i][j]);
}

#define FC_GEMM_INSTANCE(rows, vecs)                                                             \
    static FC_TARGET void FC_NAME(gemm_##rows##x##vecs)(                                         \
        ptrdiff_t depth, const void *const *a_rows, const ptrdiff_t *a_offsets, const void *b,   \
        const ptrdiff_t *b_offsets, void *c) {                                                   \
        FC_NAME(gemm_tile)(rows, vecs, depth, a_rows, a_offsets, b, b_offsets, c);               \
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
