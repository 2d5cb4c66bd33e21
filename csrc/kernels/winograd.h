/* Transforms and products of Winograd's algorithms: winograd.tmpl.h. */
#ifndef FC_KERNELS_WINOGRAD_H
#define FC_KERNELS_WINOGRAD_H

#include <stddef.h>

enum {
    FC_WINOGRAD_CHAIN = 64,          /* terms of Winograd's sums in a register: longer chains lose accuracy */
    FC_WINOGRAD_PRODUCT_VECTORS = 3, /* vectors across the widest register tile of fc_winograd_product */
};

/* The algorithms, by their taps: F(4x4, 3x3); F(2x2, 3x3), whose error is that of direct sums; F(4x2, 5x5);
 * F(5x5, 2x2), for the residues of a stride; and along one axis F(5, 2), F(4, 3), F(4, 5), F(2, 7). */
typedef enum {
    FC_WINOGRAD_3X3,
    FC_WINOGRAD_3X3_ACCURATE,
    FC_WINOGRAD_5X5,
    FC_WINOGRAD_2X2,
    FC_WINOGRAD_1X2,
    FC_WINOGRAD_1X3,
    FC_WINOGRAD_1X5,
    FC_WINOGRAD_1X7,
    FC_WINOGRAD_SHAPES,
} fc_winograd_shape;

/* Tiles along a line, `tile_step` apart in the source; elements between a tile's lines and between its positions;
 * between the target's tiles and points. */
typedef struct {
    ptrdiff_t tiles, tile_step, line_step, position_step;
    ptrdiff_t target_step, point_step;
} fc_winograd_tiles;

/* Tiles along a line, their points in the source; the target's tiles, lines and positions, and what of a tile, of the
 * last one, and of a vector is written. */
typedef struct {
    ptrdiff_t tiles, tile_step, point_step;
    ptrdiff_t target_step, line_step, position_step;
    ptrdiff_t lines, columns, last_columns, width;
    int relu;
} fc_winograd_outputs;

/* c[i][j] (+)= sum over d < depth of a[i][d] * b[d][j], i < rows: rows of a are FC_WINOGRAD_CHAIN apart, those of b
 * and c, whole vectors, follow each other. */
typedef struct {
    ptrdiff_t rows, depth;
    const void *a, *b;
    void *c;
    int accumulate;
    const void *next; /* `fetched` elements that the next product reads, brought to L2 meanwhile */
    ptrdiff_t fetched;
} fc_winograd_product;

/* fc_winograd_product with rows of a that begin channel[i] bytes from a, their elements a vector apart; rows of c
 * follow each other within a register tile. */
typedef struct {
    ptrdiff_t rows, depth;
    const void *a, *b;
    const ptrdiff_t *channel;
    void *c;
    ptrdiff_t c_tile; /* elements between register tiles */
    int accumulate;
    const void *next; /* as in fc_winograd_product */
    ptrdiff_t fetched;
} fc_winograd_reduction;

/* winograd.tmpl.h says what each does. */
typedef struct {
    void (*input)(const fc_winograd_tiles *tiles, const void *source, void *target);
    int (*output)(const fc_winograd_outputs *tiles, const void *source, const void *bias, void *target);
    void (*weights)(const void *w, ptrdiff_t tap_step, void *target, ptrdiff_t point_step);
    void (*output_gradient)(const fc_winograd_tiles *tiles, const void *source, void *target);
    int (*weights_gradient)(const void *source, ptrdiff_t point_step, void *dw);
} fc_winograd_kernels;

#endif
