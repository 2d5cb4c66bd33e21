/* What the kernels of one instruction set and element type are: a table of pointers.
 * Elements are float or double throughout a table; pointers to them are void here. */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include <stddef.h>

#include "../fastconv.h"

enum {
    FC_MAX_ROWS = 8,                /* rows of the largest register tile */
    FC_MAX_VECS = 4,                /* vectors across it */
    FC_MAX_COLS = 16 * FC_MAX_VECS, /* elements across the widest tile of any instruction set */
};

/* A tile of a gathered GEMM: gemm_kernel.tmpl.h. */
typedef struct {
    ptrdiff_t depth;
    const void *const *a_rows;
    const ptrdiff_t *a_offsets;
    const void *b;
    const ptrdiff_t *b_offsets;
    void *c;
    ptrdiff_t c_row;     /* elements between its rows */
    const void *bias;    /* what the sums start from, or NULL: zeros */
    int bias_is_column;  /* one element a row of c, or one a column */
    int accumulate;      /* add what c holds */
    int relu;            /* c = max(c, 0), NaN kept */
} fc_tile;

typedef void (*fc_gemm_kernel)(const fc_tile *tile);

/* y_rows[i][j * y_step] = tile[i][j] (+ what y holds), then max(y, 0), NaN kept; i < rows, j < cols. */
typedef void (*fc_store_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *tile,
                                ptrdiff_t tile_stride, void *const *y_rows, ptrdiff_t y_step,
                                int accumulate, int relu);

/* sums[j] += sum over i < rows of matrix[i * stride + j], j < cols. */
typedef void (*fc_sum_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *matrix, ptrdiff_t stride,
                              double *sums);

/* Whether no element is infinite or NaN. */
typedef int (*fc_finite_kernel)(ptrdiff_t count, const void *source);

/* target[i] += source[i]. */
typedef void (*fc_add_kernel)(ptrdiff_t count, const void *source, void *target);

/* target[c * target_stride + r] = source[r * source_stride + c]. */
typedef void (*fc_transpose_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *source,
                                    ptrdiff_t source_stride, void *target,
                                    ptrdiff_t target_stride);

/* target[i] = source[i * step]. */
typedef void (*fc_copy_kernel)(ptrdiff_t count, const void *source, ptrdiff_t step, void *target);

/* Rows of a padded block: `before` positions of zeros, `count` from the source, `step` apart, `after`
 * of zeros. A position is `inner` elements, of which the source has the first `adjacent`. */
typedef struct {
    ptrdiff_t rows, before, count, after;
    ptrdiff_t source_pitch, step, target_pitch;
    ptrdiff_t inner, adjacent;
} fc_padded_rows;

typedef void (*fc_pad_kernel)(const fc_padded_rows *shape, const void *source, void *target);

typedef struct {
    int lanes; /* elements of a vector */
    int rows;  /* the register tile that keeps the multipliers busiest: rows x vecs * lanes */
    int vecs;
    /* [rows - 1][vecs - 1]; NULL where the accumulators would not fit the registers. */
    fc_gemm_kernel gemm[FC_MAX_ROWS][FC_MAX_VECS];
    fc_store_kernel store;
    fc_sum_kernel sum;
    fc_add_kernel add;
    fc_finite_kernel finite;
    fc_transpose_kernel transpose;
    fc_copy_kernel copy;
    fc_pad_kernel pad;
} fc_kernels;

/* The kernels of the instruction set at `isa` in fc_isa_name's order. */
const fc_kernels *fc_find_kernels(int isa, fc_dtype dtype);

#endif
