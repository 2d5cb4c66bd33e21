/* Kernels that move elements: move.tmpl.h. */
#ifndef FC_KERNELS_MOVE_H
#define FC_KERNELS_MOVE_H

#include <stddef.h>

enum { FC_TRANSPOSE_BLOCK = 16 }; /* columns of a matrix that are transposed at a time */

/* y_rows[i][j * y_step] = tile[i][j] (+ what y holds), then max(y, 0), NaN kept; i < rows, j < cols. */
typedef void (*fc_store_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *tile, ptrdiff_t tile_stride,
                                void *const *y_rows, ptrdiff_t y_step, int accumulate, int relu);

/* sums[j] += sum over i < rows of matrix[i * stride + j], j < cols. */
typedef void (*fc_sum_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *matrix, ptrdiff_t stride, double *sums);

/* Whether no element is infinite or NaN. */
typedef int (*fc_finite_kernel)(ptrdiff_t count, const void *source);

/* target[i] += source[i]. */
typedef void (*fc_add_kernel)(ptrdiff_t count, const void *source, void *target);

/* target[c * target_stride + r] = source[r * source_stride + c]. */
typedef void (*fc_transpose_kernel)(ptrdiff_t rows, ptrdiff_t cols, const void *source, ptrdiff_t source_stride,
                                    void *target, ptrdiff_t target_stride);

/* target[i] = source[i * step], i < count, count > 0. */
typedef void (*fc_copy_kernel)(ptrdiff_t count, const void *source, ptrdiff_t step, void *target);

/* Lines of a padded block: `before` positions of zeros, `count` from the source, `step` apart, `after`
 * of zeros. A position is `inner` elements, of which the source has the first `adjacent`. */
typedef struct {
    ptrdiff_t lines, before, count, after;
    ptrdiff_t source_pitch, step, target_pitch;
    ptrdiff_t inner, adjacent;
} fc_padded_lines;

typedef void (*fc_pad_kernel)(const fc_padded_lines *shape, const void *source, void *target);

#endif
