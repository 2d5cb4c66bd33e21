/* Pools of lines, straight from x to y: pool_lines.tmpl.h. */
#ifndef FC_KERNELS_POOL_LINES_H
#define FC_KERNELS_POOL_LINES_H

#include <stddef.h>

enum {
    FC_POOL_LINE_ROWS = 16, /* rows of windows that are pooled line by line, at most, */
    FC_POOL_LINE_TAPS = 32, /* and their columns */
};

/* Lines of y, of the windows of one plane of contiguous lines. Windows are `stride` columns apart, 1 or 2, and have at
 * least as many taps, at most FC_POOL_LINE_TAPS; row[r], ascending: place of row r of the first line's windows,
 * row_step before that of the next line's. x_before elements may be read before the plane and x_after from it on,
 * y_after be written from y, and indices, on. */
typedef struct {
    ptrdiff_t lines, outputs;
    ptrdiff_t width, pad, taps, stride; /* of lines of x; pad: columns before the first */
    ptrdiff_t rows;                     /* of a window, 1 to FC_POOL_LINE_ROWS */
    const ptrdiff_t *row;
    ptrdiff_t row_step, x_before, x_after, y_after;
} fc_pool_lines;

#endif
