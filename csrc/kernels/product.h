/* Products of matrices that are read where they lie: product.tmpl.h. */
#ifndef FC_KERNELS_PRODUCT_H
#define FC_KERNELS_PRODUCT_H

#include <stddef.h>

enum {
    FC_DOT_ROWS = 4,  /* images of a tile of dot products */
    FC_DOT_SUMS = 32, /* elements for its sums, whole vectors of them */
};

/* Rows of x, at most FC_DOT_ROWS, times rows of w, any number, of `depth` elements that lie side by side. A register
 * tile has all rows of x and dots_filters of w; its sums, a row of x after another, begin FC_DOT_SUMS elements after
 * those of the one before. Tile ahead_first, unless it is -1, and every ahead_every-th from it on fetch w to L2,
 * `ahead` elements after what they read. */
typedef struct {
    ptrdiff_t filters, depth;
    const void *x, *w;
    ptrdiff_t x_row, w_row; /* elements between rows */
    void *sums;
    int accumulate;
    ptrdiff_t ahead, ahead_first, ahead_every;
} fc_dots;

/* Adds to `sums` products of channels of dy, at most FC_DOT_ROWS, with what taps of x read, over `width` elements that
 * lie side by side of so many lines of so many images: of channel i and tap f,
 *   sum of y[i * y_channel + element] * x[tap[f] + element].
 * A register tile has all the channels and pixel_dots_taps; its sums stand as those of fc_dots. */
typedef struct {
    ptrdiff_t images, lines, width;
    ptrdiff_t x_image, x_line, y_image, y_line; /* elements between them */
    const void *x, *y;
    ptrdiff_t y_channel;
    ptrdiff_t taps;
    const ptrdiff_t *tap;
    void *sums;
    const void *next; /* channels that are read next: each tile fetches one of them */
} fc_pixel_dots;

/* Where sums of fc_dots go: y[i * y_row + f * y_step] = bias[f] + sum, or without a bias. */
typedef struct {
    ptrdiff_t filters;
    const void *sums, *bias;
    void *y;
    ptrdiff_t y_row, y_step;
    int relu;
} fc_dot_outputs;

/* c[i][j] = from[i][j] + sum over t < depth of a[i * a_row + t * a_step] * b[t][j], j < width. from may be c, or NULL:
 * zeros. Register tiles are rows by some vectors; of these, those fetch ahead that do in fc_dots. */
typedef struct {
    ptrdiff_t depth, width;
    const void *a, *b, *from;
    ptrdiff_t a_row, a_step, b_row, from_row, c_row;
    void *c;
    ptrdiff_t ahead, ahead_first, ahead_every;
} fc_outer;

#endif
