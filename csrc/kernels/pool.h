/* Pooling: pool.tmpl.h, and of lines, pool_lines.tmpl.h. */
#ifndef FC_KERNELS_POOL_H
#define FC_KERNELS_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "../fastconv.h"
#include "pool_lines.h"

enum { FC_POOL_COLUMNS = 16 }; /* sums of columns that windows of a pool share */

/* The windows of a line: tap t of output i is tap[t][i], in column column[i] + t * step; first_column is
 * that of the first tap on the data. Columns are int32_t for float, int64_t for double. */
typedef struct {
    ptrdiff_t outputs, taps;
    const void *const *tap;
    const void *first_column, *column;
    ptrdiff_t step;
} fc_line_windows;

/* A line of x whose windows are pooled: maxima, and their columns; base is the line's place in the plane. */
typedef struct {
    const void *values, *columns;
    ptrdiff_t base;
} fc_pooled_line;

/* Whole windows: output o sees the positions first[o] + t * step, t < taps[o], of each row; sums are of any
 * number of rows and taps. */
typedef struct {
    ptrdiff_t channels, outputs, rows, step;
    const void *const *row;
    const ptrdiff_t *base; /* place of each row in the plane */
    const ptrdiff_t *first, *taps;
    ptrdiff_t divisor_step; /* doubles between the divisors of outputs, of which the first is repeated DLANES times */
} fc_pool_windows;

/* What scatter does: element [i][c] of `count` x `channels` goes to target[index * stride + c]. */
typedef struct {
    ptrdiff_t count, channels, stride; /* stride: between positions, of all three arrays */
    ptrdiff_t plane;                   /* indices are less */
    int add;                           /* or replace */
} fc_scattered;

/* pool.tmpl.h says what each does. */
typedef struct {
    int column_size; /* bytes */
    void (*max_along)(const fc_line_windows *line, void *values, void *columns);
    void (*max_channels)(ptrdiff_t channels, ptrdiff_t taps, const void *source, ptrdiff_t step, ptrdiff_t column,
                         ptrdiff_t column_step, void *values, void *columns);
    ptrdiff_t (*max_run)(ptrdiff_t taps, const void *source, ptrdiff_t step, void *value);
    void (*max_across)(ptrdiff_t count, ptrdiff_t lines, const fc_pooled_line *line, void *y, int64_t *indices);
    void (*max_windows)(const fc_pool_windows *windows, void *y, int64_t *indices);
    void (*sum_windows)(const fc_pool_windows *windows, const double *divisors, void *y);
    /* How lines are cut into vectors, from the columns of windows alone: in `cut`, of cut_size bytes. NULL, as the next
     * two, where the instruction set has no vectors of every other element. */
    void (*cut_line)(const fc_pool_lines *lines, int max, void *cut);
    size_t cut_size;
    void (*max_lines)(const fc_pool_lines *lines, const void *cut, const void *plane, void *y, int64_t *indices);
    void (*sum_lines)(const fc_pool_lines *lines, const void *cut, const void *plane, const double *divisors, void *y);
    void (*sum_along)(const fc_line_windows *line, double *sums);
    void (*sum_channels)(ptrdiff_t channels, ptrdiff_t taps, const void *source, ptrdiff_t step, double *sums);
    double (*sum_run)(ptrdiff_t taps, const void *source);
    void (*sum_across)(ptrdiff_t count, ptrdiff_t lines, const double *const *line, const double *divisors, void *y);
    void (*divide)(ptrdiff_t count, const void *dy, const double *divisors, double *quotients);
    void (*total_across)(ptrdiff_t count, ptrdiff_t lines, const double *const *line, double *totals);
    void (*spread)(ptrdiff_t count, ptrdiff_t taps, const double *totals, ptrdiff_t step, void *dx);
    void (*interleave)(ptrdiff_t count, ptrdiff_t residues, const void *source, ptrdiff_t pitch, void *target);
    int (*scatter)(const fc_scattered *shape, const void *source, const int64_t *indices, void *target);
    void (*widen)(fc_element element, ptrdiff_t count, const void *source, void *target);
    void (*narrow)(fc_element element, ptrdiff_t count, const void *source, void *target);
} fc_pool_kernels;

#endif
